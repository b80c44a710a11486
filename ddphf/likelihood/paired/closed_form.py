"""The plain pair in closed form: the background profiled exactly, one parameter left.

Two channels share a free background b[i] >= 0 per bin:

    rate_tested[i]  = r[i] b[i] + f_tested[i]  + mu s_tested[i]
    rate_partner[i] =      b[i] + f_partner[i] + mu s_partner[i]

For given mu the best b[i] solves a quadratic, and the profiled likelihood is concave in mu: it has
one maximum, possibly at a kink where an empty bin reaches rate 0. This is Eq. 4 of Birman et al.,
Eur. Phys. J. C 82 (2022) 508, with efficiency ratio and fakes; the closed forms are derived.
It is the oracle that the general fits are held against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy

from ddphf.arrays import Array
from ddphf.exceptions import FitError
from ddphf.likelihood.descent import NEGLIGIBLE
from ddphf.statistics.background import profile_background

__all__ = ["PairFit", "PlainPair"]

BESIDE = 1e-12
"""Signal events beside mu = 0 at which the slopes on both sides are taken."""
CORNER = 1e-6
"""Difference of slopes, in units of the expected one, that is a corner and not rounding."""
FIRST, FARTHEST = 1e-3, 1e15
"""First step in mu, in expected errors, and how often as far without a maximum is none."""
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

    def background(self, mu: float) -> Array:
        """Return the best b at a given mu, shape (M,)."""
        if self.known_background is not None:
            return self.known_background
        return profile_background(
            self.tested,
            self.partner,
            self.ratio,
            self.fakes_tested + mu * self.signal_tested,
            self.fakes_partner + mu * self.signal_partner,
        )

    def rates(self, mu: float) -> tuple[Array, Array]:
        """Return the expected counts (tested, partner) at mu with the background profiled."""
        b = self.background(mu)
        tested = self.ratio * b + self.fakes_tested + mu * self.signal_tested
        partner = b + self.fakes_partner + mu * self.signal_partner
        return _clean(tested, self.tested), _clean(partner, self.partner)

    def twice_nll(self, mu: float, *, constants: bool = True) -> float:
        """Return -2 ln L with the background profiled; +inf where a rate cannot be positive."""
        total = 0.0
        for counts, rate in zip((self.tested, self.partner), self.rates(mu), strict=True):
            if np.any(rate < 0) or np.any((rate == 0) & (counts > 0)):
                return float("inf")
            total += float(np.sum(rate - xlogy(counts, rate)))
            total += float(np.sum(gammaln(counts + 1))) if constants else 0.0
        return 2.0 * total

    def score(self, mu: float) -> float:
        """Return d ln L / d mu of the profiled likelihood (the right-hand one exactly at 0)."""
        tested, partner = self.rates(mu)
        slope_t, slope_p = self.signal_tested.copy(), self.signal_partner.copy()
        if self.known_background is None:
            # Where an empty channel is held at rate 0, b moves with mu to keep it there.
            edge_t = (tested == 0) & self._held_at_zero(mu, tested=True)
            edge_p = (partner == 0) & self._held_at_zero(mu, tested=False) & ~edge_t
            slope_p = np.where(edge_t, slope_p - self.signal_tested / self.ratio, slope_p)
            slope_t = np.where(edge_p, slope_t - self.ratio * self.signal_partner, slope_t)
            slope_t = np.where(edge_t, 0.0, slope_t)
            slope_p = np.where(edge_p, 0.0, slope_p)
        with np.errstate(divide="ignore", invalid="ignore"):
            pull_t = np.where(self.tested > 0, self.tested / tested, 0.0) - 1.0
            pull_p = np.where(self.partner > 0, self.partner / partner, 0.0) - 1.0
        return float(np.sum(slope_t * pull_t) + np.sum(slope_p * pull_p))

    def _held_at_zero(self, mu: float, *, tested: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
        signal = self.signal_tested if tested else self.signal_partner
        fakes = self.fakes_tested if tested else self.fakes_partner
        return np.asarray(fakes + mu * signal < 0)

    def information(self, mu: float) -> float:
        """Return -d^2 ln L / d mu^2 of the profiled likelihood, 0 from bins at an edge."""
        tested, partner = self.rates(mu)
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = np.where(partner > 0, self.partner / partner**2, 0.0)
            beta = np.where(tested > 0, self.tested / tested**2, 0.0)
            if self.known_background is not None:
                terms = alpha * self.signal_partner**2 + beta * self.signal_tested**2
            else:
                contrast = self.signal_tested - self.ratio * self.signal_partner
                free = self.ratio**2 * beta + alpha
                terms = np.where(free > 0, contrast**2 * alpha * beta / free, 0.0)
                # b at its own bound 0: it cannot absorb anything.
                held = (self.background(mu) <= 0) & (free > 0)
                full = alpha * self.signal_partner**2 + beta * self.signal_tested**2
                terms = np.where(held, full, terms)
        return float(np.sum(terms))

    def fit(self) -> PairFit:
        """Maximise over mu and b.

        Raises:
            FitError: No signal in any bin, or data that no rate can explain.
        """
        if not self.has_signal:
            raise FitError("plain pair: the signal template is zero in every bin")
        mu, at_kink = self._maximise()
        information = self.information(mu)
        return PairFit(
            mu=mu,
            error=1 / float(np.sqrt(information)) if information > 0 else float("inf"),
            background=self.background(mu),
            twice_nll=self.twice_nll(mu),
            twice_nll_null=self.twice_nll(0.0),
            at_kink=at_kink,
        )

    def _maximise(self) -> tuple[float, bool]:
        tiny = BESIDE / float(
            max(np.abs(self.signal_tested).max(), np.abs(self.signal_partner).max())
        )
        if self.score(tiny) <= 0 <= self.score(-tiny):
            return 0.0, self.score(-tiny) - self.score(tiny) > CORNER
        direction = 1.0 if self.score(0.0) > 0 else -1.0
        scale = FIRST / float(np.sqrt(max(self.information(0.0), NEGLIGIBLE)))
        low, step = 0.0, direction * max(tiny, scale)
        high = step
        while self.score(high) * direction > 0:
            low, high = high, high * 2
            if abs(high) > FARTHEST * abs(step):
                raise FitError("plain pair: the likelihood has no maximum in mu")
        while True:  # the score falls monotonically: Newton kept inside a shrinking bracket
            mu = 0.5 * (low + high)
            for _ in range(2):
                information = self.information(mu)
                trial = mu + self.score(mu) / information if information > 0 else mu
                mu = trial if min(low, high) < trial < max(low, high) else mu
            slope = self.score(mu)
            if slope == 0 or abs(high - low) <= NEIGHBOURS * abs(mu):
                return mu, bool(abs(slope) > CORNER * max(1.0, np.sqrt(self.information(mu))))
            if slope * direction > 0:
                low = mu
            else:
                high = mu
            if information > 0 and slope**2 / information < ENOUGH:
                return mu, False


def _clean(rate: Array, counts: Array) -> Array:
    """Set rates of empty bins that are zero up to rounding to zero."""
    return np.where((counts == 0) & (np.abs(rate) < DARK), 0.0, rate)
