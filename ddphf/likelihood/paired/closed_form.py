"""The plain pair in closed form: the background profiled exactly, one parameter left.

Two channels share a free background b[i] >= 0 per bin:

    rate_tested[i]  = r[i] b[i] + f_tested[i]  + mu s_tested[i]
    rate_partner[i] =      b[i] + f_partner[i] + mu s_partner[i]

For given mu the best b[i] solves a quadratic, and the profiled likelihood is concave in mu: it has
one maximum, possibly at a kink where an empty bin reaches rate 0. This is Eq. 4 of Birman et al.,
Eur. Phys. J. C 82 (2022) 508, with efficiency ratio and fakes; the closed forms are derived.
A workspace that is such a pair is recognised, and every fit of it is held against this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError
from ddphf.likelihood.certificate import Minimum, compare_values
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.background import profile_background
from ddphf.workspace_json import ChannelDocument

__all__ = ["PairAt", "PairFit", "PlainPair", "RecognisedPair", "recognise_pair"]

BESIDE = 1e-12
"""Signal events beside mu = 0 at which the slopes on both sides are taken."""
CORNER = 1e-6
"""Difference of slopes, in units of the expected one, that is a corner and not rounding."""
FIRST, FARTHEST = 1e-3, 1e15
"""Least first step in mu, in expected errors, and how often as far without a maximum is none."""
NEIGHBOURS = 4e-16
"""Relative distance of two mu that have no number between them."""
ENOUGH = 1e-24
"""EDM, in -ln L, at which mu is known to 1e-12 of its error."""
DARK = 1e-12
"""Rates of empty bins below this are 0 but for the rounding of their terms."""


@dataclass(frozen=True)
class PairFit:
    """Maximum of the plain pair's likelihood.

    Attributes:
        mu: Signal strength, unbounded.
        error: 1 / sqrt of the observed information of the profiled likelihood.
        background: b, shape (M,).
        twice_nll: -2 ln L with the constants, at the maximum.
        twice_nll_null: The same at mu = 0 with b profiled.
        at_kink: True where mu sits at a kink, certified by the subdifferential.
    """

    mu: float
    error: float
    background: Array
    twice_nll: float
    twice_nll_null: float
    at_kink: bool

    @property
    def q0(self) -> float:
        """Signed discovery statistic: negative for a deficit."""
        return float(np.copysign(self.twice_nll_null - self.twice_nll, self.mu)) if self.mu else 0.0

    @property
    def z0(self) -> float:
        """Signed significance, sign(mu) sqrt(|q0|)."""
        return float(np.copysign(np.sqrt(abs(self.q0)), self.q0))


@dataclass(frozen=True)
class PlainPair:
    """Counts and known templates of a pair whose only unknowns are mu and the background.

    Args:
        tested: Counts of the tested channel (B), shape (M,); Asimov data need not be integers.
        partner: Counts of the partner channel (A), shape (M,).
        signal_tested: Signal events at mu = 1 in the tested channel, shape (M,).
        signal_partner: The same in the partner channel.
        ratio: Efficiency ratio r, shape (M,).
        fakes_tested: Known non-prompt events, shape (M,).
        fakes_partner: Known non-prompt events, shape (M,).
        known_background: b where it is known (the L1 of Birman et al., Eq. 3), else None.

    Example:
        >>> pair = PlainPair.of([18, 33, 0, 4, 80], [12, 30, 7, 0, 55], [0.1, 0.2, 0.1, 0.2, 0.4])
        >>> fit = pair.fit()
        >>> round(fit.mu, 6), round(fit.z0, 6), round(fit.error, 6)
        (17.175037, 2.226236, 7.97929)
    """

    tested: Array
    partner: Array
    signal_tested: Array
    signal_partner: Array
    ratio: Array
    fakes_tested: Array
    fakes_partner: Array
    known_background: Array | None = None

    @classmethod
    def of(
        cls,
        tested: Any,
        partner: Any,
        signal_tested: Any,
        *,
        signal_partner: Any = 0.0,
        ratio: Any = 1.0,
        fakes_tested: Any = 0.0,
        fakes_partner: Any = 0.0,
        known_background: Any = None,
    ) -> PlainPair:
        """Build from anything that numpy broadcasts to the shape of ``tested``."""
        counts = np.asarray(tested, dtype=float)

        def full(values: Any) -> Array:
            return np.broadcast_to(np.asarray(values, dtype=float), counts.shape)

        return cls(
            counts,
            full(partner),
            full(signal_tested),
            full(signal_partner),
            full(ratio),
            full(fakes_tested),
            full(fakes_partner),
            None if known_background is None else full(known_background),
        )

    @property
    def has_signal(self) -> bool:
        """Whether any bin of either channel expects signal."""
        return bool(np.any(self.signal_tested) or np.any(self.signal_partner))

    def at(self, mu: float) -> PairAt:
        """Return the pair at a given mu, its background profiled there."""
        b = self.known_background
        if b is None:
            b = profile_background(
                self.tested,
                self.partner,
                self.ratio,
                self.fakes_tested + mu * self.signal_tested,
                self.fakes_partner + mu * self.signal_partner,
            )
        tested = self.ratio * b + self.fakes_tested + mu * self.signal_tested
        partner = b + self.fakes_partner + mu * self.signal_partner
        return PairAt(self, mu, b, _clean(tested, self.tested), _clean(partner, self.partner))

    def fit(self) -> PairFit:
        """Maximise over mu and b.

        Raises:
            FitError: No signal in any bin, or data that no rate can explain.
        """
        if not self.has_signal:
            raise FitError("plain pair: the signal template is zero in every bin")
        null = self.at(0.0)
        best, at_kink = self._maximise(null)
        information = best.information
        return PairFit(
            mu=best.mu,
            error=1 / float(np.sqrt(information)) if information > 0 else float("inf"),
            background=best.background,
            twice_nll=best.twice_nll(),
            twice_nll_null=null.twice_nll(),
            at_kink=at_kink,
        )

    def _maximise(self, null: PairAt) -> tuple[PairAt, bool]:
        tiny = BESIDE / float(
            max(np.abs(self.signal_tested).max(), np.abs(self.signal_partner).max())
        )
        left, right = self.at(-tiny).score, self.at(tiny).score
        if right <= 0 <= left:
            return null, left - right > CORNER
        direction = 1.0 if null.score > 0 else -1.0
        scale = FIRST / float(np.sqrt(max(null.information, NEGLIGIBLE)))
        low, step = 0.0, direction * max(tiny, scale)
        ahead = null.score / null.information if null.information > 0 else 0.0
        high = 2 * ahead if abs(2 * ahead) > abs(step) else step
        while self.at(high).score * direction > 0:
            low, high = high, high * 2
            if abs(high) > FARTHEST * abs(step):
                raise FitError("plain pair: the likelihood has no maximum in mu")
        while True:  # the score falls monotonically: Newton kept inside a shrinking bracket
            best = self.at(0.5 * (low + high))
            for _ in range(2):
                information = best.information
                trial = best.mu + best.score / information if information > 0 else best.mu
                if min(low, high) < trial < max(low, high):
                    best = self.at(trial)
            slope = best.score
            if slope == 0 or abs(high - low) <= NEIGHBOURS * abs(best.mu):
                return best, bool(abs(slope) > CORNER * max(1.0, np.sqrt(best.information)))
            if slope * direction > 0:
                low = best.mu
            else:
                high = best.mu
            if information > 0 and slope**2 / information < ENOUGH:
                return best, False


@dataclass(frozen=True)
class PairAt:
    """A plain pair at one signal strength.

    Attributes:
        pair: The pair.
        mu: Signal strength.
        background: Best b there, shape (M,).
        tested: Expected counts of the tested channel, shape (M,).
        partner: Expected counts of the partner channel, shape (M,).
    """

    pair: PlainPair
    mu: float
    background: Array
    tested: Array
    partner: Array

    def twice_nll(self, *, constants: bool = True) -> float:
        """Return -2 ln L with the background profiled; +inf where a rate cannot be positive."""
        total = 0.0
        sides = (self.pair.tested, self.tested), (self.pair.partner, self.partner)
        for counts, rate in sides:
            if np.any(rate < 0) or np.any((rate == 0) & (counts > 0)):
                return float("inf")
            total += float(np.sum(rate - xlogy(counts, rate)))
            total += float(np.sum(gammaln(counts + 1))) if constants else 0.0
        return 2.0 * total

    @cached_property
    def score(self) -> float:
        """Slope d ln L / d mu of the profiled likelihood (the right-hand one exactly at 0)."""
        pair = self.pair
        slope_t, slope_p = pair.signal_tested.copy(), pair.signal_partner.copy()
        if pair.known_background is None:
            # Where an empty channel is held at rate 0, b moves with mu to keep it there.
            below_t = pair.fakes_tested + self.mu * pair.signal_tested < 0
            below_p = pair.fakes_partner + self.mu * pair.signal_partner < 0
            edge_t = (self.tested == 0) & below_t
            edge_p = (self.partner == 0) & below_p & ~edge_t
            slope_p = np.where(edge_t, slope_p - pair.signal_tested / pair.ratio, slope_p)
            slope_t = np.where(edge_p, slope_t - pair.ratio * pair.signal_partner, slope_t)
            slope_t = np.where(edge_t, 0.0, slope_t)
            slope_p = np.where(edge_p, 0.0, slope_p)
        with np.errstate(divide="ignore", invalid="ignore"):
            pull_t = np.where(pair.tested > 0, pair.tested / self.tested, 0.0) - 1.0
            pull_p = np.where(pair.partner > 0, pair.partner / self.partner, 0.0) - 1.0
        return float(np.sum(slope_t * pull_t) + np.sum(slope_p * pull_p))

    @cached_property
    def information(self) -> float:
        """Curvature -d^2 ln L / d mu^2 of the profiled likelihood, 0 from bins at an edge."""
        pair, tested, partner = self.pair, self.tested, self.partner
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = np.where(partner > 0, pair.partner / partner**2, 0.0)
            beta = np.where(tested > 0, pair.tested / tested**2, 0.0)
            full = alpha * pair.signal_partner**2 + beta * pair.signal_tested**2
            if pair.known_background is not None:
                return float(np.sum(full))
            contrast = pair.signal_tested - pair.ratio * pair.signal_partner
            free = pair.ratio**2 * beta + alpha
            terms = np.where(free > 0, contrast**2 * alpha * beta / free, 0.0)
            # b at its own bound 0: it cannot absorb anything.
            terms = np.where((self.background <= 0) & (free > 0), full, terms)
        return float(np.sum(terms))


def _clean(rate: Array, counts: Array) -> Array:
    """Set rates of empty bins that are zero up to rounding to zero."""
    return np.where((counts == 0) & (np.abs(rate) < DARK), 0.0, rate)


OUTSIDE = 1e-8
"""How far, in events or in a parameter, the closed form may be outside the bounds: -2 ln L knows no
difference at its certificate's precision."""
SAME = 1e-6
"""Largest difference in -2 ln L of a fit and the closed form, beside rounding: mu_hat is not known
better."""


@dataclass(frozen=True)
class RecognisedPair:
    """A plain pair found in a workspace, and how its unknowns map to the model's parameters.

    Attributes:
        pair: The closed-form model; ``known_background`` is set where the shape is fixed.
        template: Nominal background of the partner channel, shape (M,): b = template x factor.
        shape: Where the shapefactor lies in the parameter vector.
    """

    pair: PlainPair
    template: Array
    shape: slice

    def compare(self, reference: ReferenceModel, minimum: Minimum, fixed: Mask) -> None:
        """Compare a certified fit with the closed form, where bounds are not in the way.

        Args:
            reference: The measurement.
            minimum: Its fit.
            fixed: Shape (n,): the parameters that it held.

        Raises:
            FitError: They differ.
        """
        table, pair = reference.parameters, self.pair
        if table.poi is None or not pair.has_signal:
            return
        if fixed[table.poi]:
            there = pair.at(float(minimum.parameters[table.poi]))
            mu, background, value = there.mu, there.background, there.twice_nll()
        else:
            best = pair.fit()
            mu, background, value = best.mu, best.background, best.twice_nll
        x = table.init.copy()
        x[table.poi], x[self.shape] = mu, background / self.template
        # Of bounds the closed form knows only b >= 0. That is not in those of a shapefactor, but
        # 1e-10 of the template is as good.
        moved = np.abs(np.clip(x, table.lower, table.upper) - x)
        moved[self.shape] *= self.template
        if moved.max() < OUTSIDE:
            compare_values(reference, minimum.twice_nll, value, "the closed form", SAME)


def recognise_pair(reference: ReferenceModel) -> RecognisedPair | None:
    """Return the plain pair that a model is, or None.

    Plain: two channels, one shapefactor shared by one sample of each, a normfactor POI on the
    others or no modifier at all.

    Args:
        reference: The model.
    """
    workspace, table = reference.workspace, reference.parameters
    if len(workspace["channels"]) != 2 or table.poi is None:
        return None
    poi = table.names[table.poi]
    parts = [_split(channel, poi) for channel in workspace["channels"]]
    if any(part is None for part in parts):
        return None
    (shape_a, base_a, signal_a, fixed_a), (shape_b, base_b, signal_b, fixed_b) = (
        part for part in parts if part is not None
    )
    if shape_a != shape_b or np.any(base_a <= 0) or np.any(base_b <= 0):
        return None
    where = reference.model.config.par_slice(shape_a)
    held = table.fixed[where]
    if held.any() and not held.all():
        return None
    slices = reference.channel_slices
    names = [channel["name"] for channel in workspace["channels"]]
    pair = PlainPair.of(
        reference.data[slices[names[1]]],
        reference.data[slices[names[0]]],
        signal_b,
        signal_partner=signal_a,
        ratio=base_b / base_a,
        fakes_tested=fixed_b,
        fakes_partner=fixed_a,
        known_background=base_a * table.init[where] if held.all() else None,
    )
    return RecognisedPair(pair=pair, template=base_a, shape=where)


def _split(channel: ChannelDocument, poi: str) -> tuple[str, Array, Array, Array] | None:
    """Return (shapefactor, its sample, signal, the rest) of a channel, None if it is not plain."""
    shape: tuple[str, Array] | None = None
    signal = np.zeros(len(channel["samples"][0]["data"]))
    rest = np.zeros_like(signal)
    for sample in channel["samples"]:
        yields = np.array(sample["data"], dtype=float)
        kinds = [(m["type"], m["name"]) for m in sample["modifiers"]]
        if not kinds:
            rest += yields
        elif kinds == [("normfactor", poi)]:
            signal += yields
        elif len(kinds) == 1 and kinds[0][0] == "shapefactor" and shape is None:
            shape = (kinds[0][1], yields)
        else:
            return None
    return None if shape is None else (shape[0], shape[1], signal, rest)
