"""Poisson models whose rates are linear in all parameters, as pyhf fits them.

A second way to the numbers, in a few lines of dense algebra: no links, no rounding of small rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import FitError

__all__ = ["LinearModel", "linear_z"]

STEPS = 200

ENOUGH, CERTIFIED = 1e-12, 1e-8
"""Distance from the minimum in 2NLL where a fit ends, and below which it is one."""


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Rates ``nominal + columns x``, each x_j of ``constrained`` with a unit Gaussian around 0.

    Attributes:
        nominal: Shape (n,).
        columns: Shape (n, k).
        constrained: Shape (k,).
        start: Where all rates are above 0, shape (k,).
    """

    nominal: Array
    columns: Array
    constrained: Mask
    start: Array


def linear_z(model: LinearModel, counts: Array, template: Array) -> tuple[float, float]:
    """Return signed Z and events of a signal over a linear model.

    Args:
        model: Of the background.
        counts: Shape (n,).
        template: Part of the signal in each bin, shape (n,).

    Raises:
        FitError: A fit has no minimum.

    Example:
        >>> one = LinearModel(np.zeros(3), np.ones((3, 1)), np.array([False]), np.array([9.0]))
        >>> z, events = linear_z(one, np.array([9.0, 16.0, 9.0]), np.array([0.0, 1.0, 0.0]))
        >>> round(z, 3), round(events, 6)
        (1.654, 7.0)
    """
    with np.errstate(all="ignore"):  # where there is no minimum
        null, _ = _fit(model, counts, np.zeros((len(counts), 0)))
        free, x = _fit(model, counts, template[:, None])
    mu = float(x[-1])
    return float(np.sign(mu) * np.sqrt(max(null - free, 0.0))), mu


def _fit(model: LinearModel, counts: Array, signal: Array) -> tuple[float, Array]:
    """Return the minimum of 2NLL and where it is, the signal last."""
    columns = np.hstack([model.columns, signal])
    extra = signal.shape[1]
    bound = np.append(model.constrained, np.zeros(extra, dtype=bool)).astype(float)
    x = np.append(model.start, np.zeros(extra))

    def nll(at: Array) -> float:
        r = model.nominal + columns @ at
        if np.any(r <= 0):
            return np.inf
        return float(2 * np.sum(r - counts * np.log(r)) + np.sum(bound * at**2))

    value, decrement = nll(x), np.inf
    for _ in range(STEPS):
        r = model.nominal + columns @ x
        gradient = columns.T @ (1 - counts / r) + bound * x
        hessian = (columns * (counts / r**2)[:, None]).T @ columns + np.diag(bound)
        if not (np.isfinite(value) and np.all(np.isfinite(hessian))):
            break
        step = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        decrement = float(-gradient @ step)
        if decrement < ENOUGH:
            return value, x
        length = 1.0
        while not (new := nll(x + length * step)) <= value:
            length /= 2
            if length < 1e-12:
                break
        if length < 1e-12:
            break
        value, x = new, x + length * step
    if decrement < CERTIFIED:
        return value, x
    raise FitError("the linear model of a bump has no certified minimum")
