"""Many data sets of one paired model fitted at once, with correlated shapes as nuisances.

    lambda_B = R r b (1 + G_B a) + f_B + mu s_B,   lambda_A = b (1 + G_A a) + f_A + mu s_A

b is free in every bin and eliminated in closed form; what is left, the parameter of interest (R or
mu) and the nuisances a, is found by scoring: theta += F^-1 gradient, with the profiled gradient
(two matrix products over all data sets) and the expected information F of the nominal model,
factored once. The error of a step shrinks by about 1/sqrt(counts) per iteration. Derived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ddphf.exceptions import FitError, ModelError
from ddphf.inputs.histogram import Array
from ddphf.symmetry.split import Mask

__all__ = ["PairFits", "ShapedPair", "fit_pairs"]

EDM_TOLERANCE = 1e-8
"""Largest estimated distance to the minimum of -2 ln L."""

MAX_ITERATIONS = 200
CHUNK = 2_000_000
"""Numbers per working array: bounds the memory whatever the number of data sets."""


@dataclass(frozen=True)
class ShapedPair:
    """A paired model of M bins with k nuisances.

    Attributes:
        background: b at which data are expected, shape (M,).
        ratio: r, shape (M,).
        shapes_tested: G_B, shape (M, k).
        shapes_partner: G_A, shape (M, k).
        poi: ``"mu"``: signal strength; ``"ratio"``: a common factor R of r, without a signal.
        signal_tested: s_B at mu = 1, shape (M,).
        signal_partner: s_A.
        fakes_tested: f_B.
        fakes_partner: f_A.
        auxiliary: Per nuisance 0 for a Gaussian constraint, or delta for an auxiliary Poisson
            count of 1 / delta^2 (a shapesys), whose factor is 1 + delta a. Shape (k,).
    """

    background: Array
    ratio: Array
    shapes_tested: Array
    shapes_partner: Array
    poi: Literal["mu", "ratio"] = "mu"
    signal_tested: Array = field(default_factory=lambda: np.zeros(1))
    signal_partner: Array = field(default_factory=lambda: np.zeros(1))
    fakes_tested: Array = field(default_factory=lambda: np.zeros(1))
    fakes_partner: Array = field(default_factory=lambda: np.zeros(1))
    auxiliary: Array | None = None

    @property
    def nominal(self) -> float:
        """Value of the parameter of interest without a signal."""
        return 1.0 if self.poi == "ratio" else 0.0

    @property
    def deltas(self) -> Array:
        """See ``auxiliary``, shape (k,)."""
        size = self.shapes_tested.shape[1]
        return np.zeros(size) if self.auxiliary is None else self.auxiliary


@dataclass(frozen=True)
class PairFits:
    """Fits of T data sets.

    Attributes:
        poi: Best values, shape (T,).
        error: From the expected information at the best point, shape (T,).
        edm: Estimated distance to the minimum of -2 ln L, shape (T,).
        converged: Shape (T,).
    """

    poi: Array
    error: Array
    edm: Array
    converged: Mask

    def pulls(self, truth: float) -> Array:
        """Return (estimate - truth) / error of the converged fits."""
        return np.asarray(((self.poi - truth) / self.error)[self.converged])


def fit_pairs(
    model: ShapedPair, tested: Array, partner: Array, *, allowed_failures: float = 1e-3
) -> PairFits:
    """Fit every data set.

    Args:
        model: The model of all of them.
        tested: Counts B, shape (T, M).
        partner: Counts A, shape (T, M).
        allowed_failures: Part of the fits that may fail; they are marked.

    Raises:
        ModelError: Counts that do not fit the model.
        FitError: More fits failed.

    Example:
        >>> import numpy as np
        >>> shapes = np.full((2, 1), 0.02)
        >>> model = ShapedPair(np.full(2, 1e6), np.ones(2), shapes, 0 * shapes, poi="ratio")
        >>> fits = fit_pairs(model, np.full((1, 2), 1.01e6), np.full((1, 2), 1e6))
        >>> round(float(fits.poi[0]), 6), round(float(fits.error[0]), 6)
        (1.01, 0.020225)
    """
    if tested.shape != partner.shape or tested.shape[1:] != model.background.shape:
        raise ModelError(
            f"data sets: shapes {tested.shape} and {partner.shape}, expected (number, "
            f"{len(model.background)})"
        )
    step = max(1, CHUNK // max(1, tested.shape[1]))
    parts = [
        _fit_chunk(model, tested[i : i + step], partner[i : i + step])
        for i in range(0, len(tested), step)
    ]
    fits = PairFits(
        poi=np.concatenate([p.poi for p in parts]),
        error=np.concatenate([p.error for p in parts]),
        edm=np.concatenate([p.edm for p in parts]),
        converged=np.concatenate([p.converged for p in parts]),
    )
    failed = int(np.count_nonzero(~fits.converged))
    if failed > allowed_failures * len(fits.poi):
        raise FitError(
            f"{failed} of {len(fits.poi)} fits have no minimum (EDM above {EDM_TOLERANCE:g}); are "
            "there bins with few events? merge them"
        )
    return fits


@dataclass(frozen=True)
class _Point:
    """The model at one point per data set: rates, slope of lambda_B in b', and derivatives."""

    rate_tested: Array
    rate_partner: Array
    slope: Array
    base: Array
    factor_tested: Array
    factor_partner: Array


def _evaluate(model: ShapedPair, theta: Array, tested: Array, partner: Array) -> _Point:
    """Return the model with b at its best for given theta (T, 1 + k)."""
    poi, a = theta[:, :1], theta[:, 1:]
    factor_tested = np.maximum(1 + a @ model.shapes_tested.T, 1e-6)
    factor_partner = np.maximum(1 + a @ model.shapes_partner.T, 1e-6)
    slope = model.ratio * factor_tested / factor_partner
    extra_b, extra_a = model.fakes_tested, model.fakes_partner
    if model.poi == "ratio":
        slope = slope * np.maximum(poi, 1e-6)
    else:
        extra_b = extra_b + poi * model.signal_tested
        extra_a = extra_a + poi * model.signal_partner
    # b' = b (1 + G_A a): lambda_B = slope b' + extra_b, lambda_A = b' + extra_a, larger root.
    total = tested + partner
    a2 = (1 + slope) * slope
    a1 = (1 + slope) * (extra_b + slope * extra_a) - slope * total
    a0 = (1 + slope) * extra_a * extra_b - partner * extra_b - slope * tested * extra_a
    root = np.sqrt(np.maximum(a1**2 - 4 * a2 * a0, 0.0))
    base = np.maximum((root - a1) / (2 * a2), 0.0)
    return _Point(
        np.maximum(slope * base + extra_b, 1e-12), np.maximum(base + extra_a, 1e-12), slope, base,
        factor_tested, factor_partner,
    )  # fmt: skip


def _gradient(
    model: ShapedPair, theta: Array, point: _Point, tested: Array, partner: Array
) -> Array:
    """Return d ln L / d theta at the best b, shape (T, 1 + k)."""
    pull_b = tested / point.rate_tested - 1
    pull_a = partner / point.rate_partner - 1
    symmetric = pull_b * point.slope * point.base
    if model.poi == "ratio":
        poi = np.sum(symmetric, axis=1) / theta[:, 0]
    else:
        poi = np.sum(pull_b * model.signal_tested + pull_a * model.signal_partner, axis=1)
    shapes = (symmetric / point.factor_tested) @ model.shapes_tested
    shapes -= (symmetric / point.factor_partner) @ model.shapes_partner
    a, deltas = theta[:, 1:], model.deltas
    # Auxiliary Poisson count 1 / delta^2 with mean (1 + delta a) / delta^2, or a Gaussian.
    return np.column_stack([poi, shapes - a / (1 + deltas * a)])


def _information(model: ShapedPair, theta: Array, point: _Point) -> Array:
    """Return the expected information in theta, b eliminated, shape (T, 1 + k, 1 + k)."""
    symmetric = point.slope * point.base
    columns = (symmetric / point.factor_tested)[:, :, None] * model.shapes_tested
    columns = columns - (symmetric / point.factor_partner)[:, :, None] * model.shapes_partner
    if model.poi == "ratio":
        first = symmetric / theta[:, :1]
    else:
        first = np.broadcast_to(
            model.signal_tested - point.slope * model.signal_partner, symmetric.shape
        )
    rows = np.concatenate([first[:, :, None], columns], axis=2)
    variance = point.rate_tested + point.slope**2 * point.rate_partner
    out = np.swapaxes(rows, 1, 2) @ (rows / variance[:, :, None])
    deltas, a = model.deltas, theta[:, 1:]
    index = np.arange(1, out.shape[1])
    out[:, index, index] += 1 / (1 + deltas * a) ** 2
    return np.asarray(out)


def _fit_chunk(model: ShapedPair, tested: Array, partner: Array) -> PairFits:
    size = 1 + model.shapes_tested.shape[1]
    start = np.zeros((1, size))
    start[0, 0] = model.nominal
    expected_b = model.ratio * model.background + model.fakes_tested
    expected_a = model.background + model.fakes_partner
    asimov = _evaluate(model, start, expected_b[None], expected_a[None])
    covariance = np.linalg.inv(_information(model, start, asimov)[0])
    theta = np.repeat(start, len(tested), axis=0)
    edm = np.full(len(tested), np.inf)
    active = np.arange(len(tested))
    for _ in range(MAX_ITERATIONS):
        b, a = tested[active], partner[active]
        point = _evaluate(model, theta[active], b, a)
        gradient = _gradient(model, theta[active], point, b, a)
        move = gradient @ covariance
        edm[active] = np.sum(gradient * move, axis=1)
        going = edm[active] > EDM_TOLERANCE * 1e-4
        active = active[going]
        if not active.size:
            break
        theta[active] += move[going]
        if model.poi == "ratio":
            theta[active, 0] = np.maximum(theta[active, 0], 1e-3)
    error = np.full(len(tested), np.nan)
    converged = edm < EDM_TOLERANCE
    step = max(1, CHUNK // (tested.shape[1] * size))
    for i in range(0, len(tested), step):
        part = slice(i, i + step)
        point = _evaluate(model, theta[part], tested[part], partner[part])
        information = _information(model, theta[part], point)
        # Data that say nothing of the parameter, such as empty channels, have no minimum.
        converged[part] &= np.isfinite(information[:, 0, 0]) & (information[:, 0, 0] > 0)
        good = np.flatnonzero(converged[part])
        error[i + good] = np.sqrt(np.linalg.inv(information[good])[:, 0, 0])
    return PairFits(theta[:, 0], error, edm, converged)
