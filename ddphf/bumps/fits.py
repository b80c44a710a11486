"""Penalised Poisson fits of very many backgrounds, with and without a bump, each certified.

Newton's method with the observed information, in which a step is taken only where it lowers the
negative log-likelihood; all fits of a call go on together until each has its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.bumps.bands import Factors, factorize, solve
from ddphf.bumps.links import LOGARITHMIC
from ddphf.bumps.newton import Models, Problem, State, evaluate_items, information

__all__ = ["EDM_TOLERANCE", "Fits", "Models", "fit", "start"]

EDM_TOLERANCE = 1e-8
"""A fit is certified below this estimated distance from the minimum, in units of 2NLL."""

ENOUGH = 1e-11
"""EDM at which no step is worth anything."""

USUAL, STEPS = 7, 150
"""Of most fits, and of those that are left then, which go on together."""

CACHED = 40_000
"""Bins of the items that go on together: their arrays stay in the cache."""

SHRINK = 0.25
"""Of a step that went too far."""

SHORTEST = 1e-9
"""Part of a step below which a fit has stopped."""

ENOUGH_OF_IT = 0.1
"""Part of what a step promises that it must keep."""

SLACK = 1e-12
"""Rise of the negative log-likelihood, relative to its terms, that is rounding."""


@dataclass(frozen=True, eq=False)
class Fits:
    """Minima of a batch.

    Attributes:
        theta: Coefficients, shape (N, p).
        mu: Signal events, 0 where none are fitted, shape (N,).
        nll: Negative log-likelihood with its penalty, without the counts' factorials, shape (N,).
        edm: Estimated distance from the minimum in 2NLL, shape (N,).
        factors: Of the coefficients' information at the minimum.
        information: Of mu, coefficients profiled, shape (N,).
        free_determinant: Log-determinant of the information of the free directions, shape (N,).
    """

    theta: Array
    mu: Array
    nll: Array
    edm: Array
    factors: Factors
    information: Array
    free_determinant: Array

    @property
    def certified(self) -> Mask:
        """Which are minima, shape (N,)."""
        return np.asarray(np.isfinite(self.nll) & (self.edm < EDM_TOLERANCE))

    def take(self, items: IntArray) -> Fits:
        """Return some of the fits."""
        lower, pivots = self.factors
        return Fits(
            self.theta[items], self.mu[items], self.nll[items], self.edm[items],
            Factors(lower[..., items], pivots[..., items]), self.information[items],
            self.free_determinant[items],
        )  # fmt: skip


def start(models: Models, counts: Array) -> Array:
    """Return coefficients to begin with: one step of least squares from the counts themselves.

    Args:
        models: The batch.
        counts: Shape (N, n).

    Returns:
        Shape (N, p).
    """
    band, right = [], []
    for g, part in models.groups():
        n, design = counts[part], models.designs[g]
        if design.link == LOGARITHMIC:
            weight, target = n + 0.5, np.log(n + 0.5) - design.offset
        else:
            weight, target = 1 / (n + 1.0), n
        band.append(information(design, weight, models.strength[part], models.diagonals))
        right.append((weight * target) @ design.columns)
    factors = factorize(np.concatenate(band, axis=2))
    return np.asarray(solve(factors, np.concatenate(right).T[:, None])[:, 0].T)


def fit(models: Models, counts: Array, theta: Array, template: Array | None = None) -> Fits:
    """Fit every item.

    Args:
        models: N models.
        counts: Observed, shape (N, n).
        theta: Where to begin, shape (N, p).
        template: Part of a signal in each bin, shape (N, n); None for no signal.
    """
    problem = Problem(models, counts, template)
    together = max(1, CACHED // counts.shape[1])
    with np.errstate(all="ignore"):  # a step that goes too far is not taken
        pieces = []
        for first in range(0, len(theta), together):
            items = np.arange(first, min(first + together, len(theta)))
            state = evaluate_items(problem.take(items), theta[items], np.zeros(len(items)))
            pieces.append(_descend(problem.take(items), state, USUAL))
        state = State.join(pieces)
        left = np.flatnonzero(~(state.edm < ENOUGH))
        if left.size:
            rest = problem.take(left)
            again = evaluate_items(rest, state.theta[left], state.mu[left])
            state.put(left, _descend(rest, again, STEPS))
    return Fits(
        state.theta, state.mu, state.nll, state.edm, state.factors, state.left_of_mu, state.free
    )


def _descend(problem: Problem, state: State, steps: int) -> State:
    """Return the points that were reached; the state is theirs then."""
    length = np.ones(len(state.theta))
    for _ in range(steps):
        moving = np.flatnonzero(~(state.edm < ENOUGH) & (length > SHORTEST))
        if not moving.size:
            break
        factor = length[moving]
        trial = evaluate_items(
            problem.take(moving),
            state.theta[moving] + factor[:, None] * state.step_theta[moving],
            state.mu[moving] + factor * state.step_mu[moving],
        )
        # a full step promises half of the EDM, which is in units of 2NLL
        promised = factor * np.where(np.isfinite(state.edm[moving]), state.edm[moving], 0.0) / 2
        wanted = state.nll[moving] - ENOUGH_OF_IT * promised + SLACK * state.size[moving]
        better = (trial.nll <= wanted) & np.isfinite(trial.edm)
        length[moving] = np.where(better, np.minimum(1.0, factor / SHRINK), factor * SHRINK)
        which = np.flatnonzero(better)
        state.put(moving[which], trial, which)
    return state
