"""How many events mu = 1 must mean for an optimizer to find mu.

With the POI in events stock optimizers stop at once (q0 = 7e-5 instead of 12.4): emitted templates
are scaled so that the expected error of mu is of order one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.workspace.channels import PairYields

__all__ = [
    "KnownPair",
    "LinearPair",
    "asimov_sigma",
    "choose_scale",
    "known_pair",
    "largest_mu",
    "linear_pair",
]

SIGMA_RANGE = (0.05, 5.0)


@dataclass(frozen=True)
class LinearPair:
    """The pair to first order around the null: y = B - r A, from which the shared b drops out.

    Attributes:
        signal_tested: s_B of the stated signal, shape (M,).
        signal_partner: r s_A, shape (M,).
        symmetric: dy / d ln R for a factor R of the symmetric background of B, shape (M,).
        variance: Uncorrelated variance of y, shape (M,).
        shapes: dy per sigma of every nuisance, shape (M, k).
        observed: y of the data, fakes subtracted, shape (M,).
    """

    signal_tested: Array
    signal_partner: Array
    symmetric: Array
    variance: Array
    shapes: Array
    observed: Array

    @property
    def signal(self) -> Array:
        """dy/dmu at the stated signal, shape (M,)."""
        return np.asarray(self.signal_tested - self.signal_partner)


def asimov_sigma(pair: PairYields) -> float:
    """Return the expected error of mu at the null, in units of the stated signal.

    The shared background is eliminated exactly: per bin only B - r A is left, with variance
    r b + f_B + r^2 (b + f_A) plus that of the uncorrelated fakes; correlated nuisances enter as
    Gaussian directions. Derived for Asimov data; all orders of the nuisances beyond the first are
    left out, which is enough to choose a scale.

    Args:
        pair: The checked pair, M bins.
    """
    information, _ = _information(pair)
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))


def largest_mu(pair: PairYields) -> float:
    """Return the size of the largest linear estimate of mu, in units of the stated signal.

    With the background measured, and with it known where it is.
    """
    information, right = _information(pair)
    estimates = [float(np.linalg.solve(information, right)[0])]
    if pair.known_background is not None:
        top = bottom = 0.0
        for channel in pair.channels:
            rate = channel.ratio * pair.known_background + channel.total(channel.fakes)
            signal = channel.total(channel.signal)
            variance = np.maximum(rate, 1.0)
            top += float(np.sum(signal * (channel.counts - rate) / variance))
            bottom += float(np.sum(signal**2 / variance))
        estimates.append(top / bottom if bottom > 0 else 0.0)
    return max(map(abs, estimates))


def linear_pair(pair: PairYields) -> LinearPair:
    """Return the contrast of a pair whose data are the null's expectation.

    With b free in every bin, B and A enter the estimates of everything else through y alone.
    Derived.

    Args:
        pair: The checked pair, M bins.
    """
    tested, partner = pair.channels
    ratio, b = tested.ratio, pair.background
    fakes_t, fakes_p = tested.total(tested.fakes), partner.total(partner.fakes)
    variance = ratio * b + fakes_t + ratio**2 * (b + fakes_p)
    directions: dict[str, Array] = {}

    def add(name: str, change: Array) -> None:
        directions[name] = directions.get(name, np.zeros_like(b)) + change

    for channel, sign in ((tested, np.ones_like(ratio)), (partner, -ratio)):
        if channel.residual is not None:
            variance = variance + (sign * channel.ratio * b * channel.residual) ** 2
        for variation in channel.variations:
            add(variation.name, sign * channel.ratio * b * variation.slope)
        if channel.fakes is not None:
            for variation in channel.fakes.variations:
                add(variation.name, sign * channel.fakes.yields * variation.slope)
            if channel.fakes.error is not None:
                variance = variance + sign**2 * channel.fakes.error**2
    return LinearPair(
        signal_tested=tested.total(tested.signal),
        signal_partner=np.asarray(ratio * partner.total(partner.signal)),
        symmetric=ratio * b,
        variance=variance,
        shapes=np.stack([*directions.values()], axis=1) if directions else np.zeros((len(b), 0)),
        observed=np.asarray(tested.counts - fakes_t - ratio * (partner.counts - fakes_p)),
    )


@dataclass(frozen=True)
class KnownPair:
    """The pair to first order where the background is known: the counts of B, then of A.

    Attributes:
        background: r T and T, shape (2M,).
        signal: Of the stated signal, shape (2M,).
        variance: Uncorrelated variance of the counts, shape (2M,).
        shapes: Change per sigma of every nuisance, shape (2M, k).
        observed: Counts less what is expected without a signal, shape (2M,).
    """

    background: Array
    signal: Array
    variance: Array
    shapes: Array
    observed: Array


def known_pair(pair: PairYields) -> KnownPair | None:
    """Return the counts of a pair whose background is known, None where it is not.

    Args:
        pair: The checked pair, M bins.
    """
    if pair.known_background is None:
        return None
    n_bins, rows = len(pair.background), []
    directions: dict[str, Array] = {}
    for number, channel in enumerate(pair.channels):
        background = channel.ratio * pair.known_background
        own = slice(number * n_bins, (number + 1) * n_bins)
        fakes = channel.total(channel.fakes)
        variance = background + fakes
        changes = [(v.name, background * v.slope) for v in channel.variations]
        if channel.fakes is not None:
            changes += [(v.name, fakes * v.slope) for v in channel.fakes.variations]
            if channel.fakes.error is not None:
                variance = variance + channel.fakes.error**2
        for name, change in changes:
            directions.setdefault(name, np.zeros(2 * n_bins))[own] += change
        observed = channel.counts - background - fakes
        rows.append(
            (background, channel.total(channel.signal), np.maximum(variance, 1.0), observed)
        )
    background, signal, variance, observed = (
        np.concatenate(parts) for parts in zip(*rows, strict=True)
    )
    shapes = np.stack([*directions.values()], axis=1) if directions else np.zeros((2 * n_bins, 0))
    return KnownPair(background, signal, variance, shapes, observed)


def _information(pair: PairYields) -> tuple[Array, Array]:
    tested, partner = pair.channels
    linear = linear_pair(pair)
    columns = np.column_stack([linear.signal, linear.shapes])
    information = columns.T @ (columns / linear.variance[:, None])
    information += np.diag([0.0] + [1.0] * linear.shapes.shape[1])
    # Equal up to rounding: what is left then is no signal.
    seen = linear.signal_tested + linear.signal_partner
    if information[0, 0] <= 0 or np.all(np.abs(linear.signal) <= 1e-9 * seen):
        raise ModelError(
            f"channel '{tested.name}', sample 'signal': r times the signal of "
            f"'{partner.name}' equals it in every bin, so the pair cannot see it; state the "
            "signal of one channel only, or of both with different shapes"
        )
    return information, columns.T @ (linear.observed / linear.variance)


def choose_scale(sigma: float, requested: float | str) -> float:
    """Return the number of stated signals that mu = 1 stands for.

    Args:
        sigma: Expected error of mu at scale 1.
        requested: A number, or ``"auto"`` for the power of ten that brings sigma(mu) into (.1, 1].

    Raises:
        ModelError: sigma(mu) would be outside [.05, 5]; prints the scale to set.

    Example:
        >>> choose_scale(7.98, "auto")
        10.0
        >>> choose_scale(7.98, 1.0)
        Traceback (most recent call last):
            ...
        ddphf.exceptions.ModelError: sample 'signal': the expected error of mu is 7.98, outside \
[0.05, 5], and optimizers stop early there; set 'signal_scale: 10' (or auto)
    """
    if not 0 < sigma < float("inf"):
        raise ModelError(
            f"sample 'signal': the expected error of mu is {sigma:g}; check the signal's yields"
        )
    suggested = float(10.0 ** math.ceil(math.log10(sigma)))
    if requested == "auto":
        return suggested
    scale = float(requested)
    if not SIGMA_RANGE[0] <= sigma / scale <= SIGMA_RANGE[1]:
        raise ModelError(
            f"sample 'signal': the expected error of mu is {sigma / scale:.3g}, outside "
            f"[{SIGMA_RANGE[0]:g}, {SIGMA_RANGE[1]:g}], and optimizers stop early there; set "
            f"'signal_scale: {suggested:g}' (or auto)"
        )
    return scale
