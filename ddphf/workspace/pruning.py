"""Which directions of the lepton-ID error the result feels: they come first, the others may go.

Let z be the independent unit nuisances of C = G G^T. With the background b shared and free, the
data tell mu through y = B - r A alone, and a direction moves it by

    D(mu) z,   D(mu) = r b (G_B - G_A) + mu (s_B H_B - r s_A H_A)

What is alike in both channels drops out of the first term, however large a part of C it is; it
still moves the signal. S is the uncorrelated variance of y, F its other nuisances, d = dy/dmu.

- **Felt by mu.** q ~ (1 + D^T V^-1 D)^-1 D^T V^-1 d with V = S + F F^T. Any set of directions that
  contains q gives the same V_all^-1 d as all of them, so the same estimate, error and test
  statistic of mu to first order. One such q for mu = 0, and one for a large mu where that differs.
- **Felt by the ratio.** What is orthogonal to these, by falling variance lambda of the whitened
  ratio S^-1/2 D(0) z, that of the signal at the large mu added. Without directions of lambda <= l
  no signal, whatever its shape, loses more than sqrt(1 + l) - 1 of its error at mu = 0: from
  D_d D_d^T <= l S follows V_all <= (1 + l) V_kept.

Derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.workspace.eigen import degenerate_groups, turn_degenerate

__all__ = ["Felt", "Ranking", "choose", "rank_directions", "sigma_of_mu"]

NEGLIGIBLE = 0.02
"""Variance that a direction may have, in units of the statistical one along it, and be left out: no
signal loses more than sqrt(1.02) - 1 = 1 % of its error."""

SECOND = 1e-3
"""Part of sigma(mu) at a large mu that may be lost before it gets a direction of its own."""

REACH = 2.0
"""The large mu is this many sigma, or the estimate where that is larger: limits are read there."""

ROUNDING = 1e-12
"""Part of the largest effect below which a direction has none."""


@dataclass(frozen=True)
class Felt:
    """What the directions of z do to y = B - r A, n directions and M bins.

    Where the background is known there is nothing to compare: y are the counts of both channels,
    less what is expected, and ``ratio`` is the change of the background in each.

    Attributes:
        ratio: r b (G_B - G_A), shape (M, n).
        signal: s_B H_B - r s_A H_A, shape (M, n): times mu.
        design: d = dy/dmu, shape (M,).
        variance: S, shape (M,).
        others: F, shape (M, k).
        observed: y of the data, shape (M,).
    """

    ratio: Array
    signal: Array
    design: Array
    variance: Array
    others: Array
    observed: Array

    def at(self, mu: float) -> Array:
        """Return D(mu), shape (M, n)."""
        return np.asarray(self.ratio + mu * self.signal)

    def solve(self, right: Array) -> Array:
        """Return (S + F F^T)^-1 times ``right``, shape (M,) or (M, k), by Woodbury's identity."""
        weight = 1.0 / self.variance
        scaled = self.others * weight[:, None]
        inner = np.eye(self.others.shape[1]) + self.others.T @ scaled
        weighted = (right.T * weight).T
        return np.asarray(weighted - scaled @ np.linalg.solve(inner, self.others.T @ weighted))


@dataclass(frozen=True)
class Ranking:
    """The directions in the order in which they are kept.

    Attributes:
        rotation: Orthonormal, columns the directions, shape (n, n).
        leading: How many of them are those that mu feels.
        variances: Of the ratio, and of the signal at the large mu, along each direction in units
            of the statistical one, shape (n,).
        points: The measurements, by number, and values of mu that were looked at.
    """

    rotation: Array
    leading: int
    variances: Array
    points: tuple[tuple[int, float], ...]

    def loss_elsewhere(self, count: int) -> float:
        """Part of sigma(mu) that the worst of all signals loses with the first ``count`` alone."""
        largest = float(self.variances[max(count, self.leading) :].max(initial=0.0))
        for variance in self.variances[count : self.leading]:
            largest += float(variance)  # not orthogonal to the others: the sum bounds it
        return float(1.0 - 1.0 / np.sqrt(1.0 + largest))

    def retained(self, count: int) -> float:
        """Part of the ratio's variance that the first ``count`` directions hold."""
        total = float(self.variances.sum())
        return 1.0 if total == 0 else float(self.variances[:count].sum() / total)


def sigma_of_mu(
    felt: Felt, mu: float = 0.0, directions: Array | None = None, extra: Array | float = 0.0
) -> float:
    """Return sigma(mu) = (d^T V^-1 d)^-1/2 to first order around ``mu``.

    Args:
        felt: Of all directions.
        mu: Where the signal's own errors are taken.
        directions: Those that are kept, orthonormal, shape (n, k); all by default.
        extra: Variance of y that stands for the others, shape (M,).

    Example:
        >>> one = Felt(np.array([[3.0]]), np.zeros((1, 1)), np.ones(1), np.array([16.0]),
        ...            np.zeros((1, 0)), np.zeros(1))
        >>> sigma_of_mu(one), sigma_of_mu(one, directions=np.zeros((1, 0)))
        (5.0, 4.0)
    """
    shifts = felt.at(mu) if directions is None else felt.at(mu) @ directions
    whole = Felt(
        felt.ratio, felt.signal, felt.design, felt.variance + extra,
        np.column_stack([felt.others, shifts]), felt.observed,
    )  # fmt: skip
    information = float(felt.design @ whole.solve(felt.design))
    return float(information**-0.5) if information > 0 else float("inf")


def rank_directions(measured: Sequence[Felt], columns: Array) -> Ranking:
    """Order the directions of z by what the result feels of them.

    Args:
        measured: What they do to y, and to the data of other measurements of the same pair.
        columns: Their relative effect on every template bin, signals included, shape (N, n): it
            orders those that the result does not feel, and fixes the basis of degenerate ones.

    Example:
        >>> common, own = np.array([[0.04, 0.0]]), np.array([[0.04, 0.01]])
        >>> felt = Felt(1000 * (own - common), np.zeros((1, 2)), np.ones(1), np.array([2000.0]),
        ...             np.zeros((1, 0)), np.zeros(1))
        >>> ranking = rank_directions([felt], np.concatenate([own, common]))
        >>> np.abs(ranking.rotation[:, 0]).tolist(), ranking.variances.round(3).tolist()
        ([0.0, 1.0], [0.05, 0.0])
    """
    count = measured[0].ratio.shape[1]
    large = [_large_mu(felt) for felt in measured]
    whitened = np.concatenate(
        [
            factor * effect / np.sqrt(felt.variance)[:, None]
            for felt, far in zip(measured, large, strict=True)
            for factor, effect in ((1.0, felt.ratio), (far, felt.signal))
        ]
    )
    points = [(i, mu) for i, far in enumerate(large) for mu in (0.0, far)]

    def order(leading: Array) -> Array:
        # Felt by the ratio first, then by their size; equal ones by the canonical basis.
        free = _complement(leading, count)
        groups = [free] if free.shape[1] else []
        for effect in (whitened, columns):
            size = float(np.linalg.norm(effect, ord=2)) ** 2 if effect.size else 0.0
            groups = [part for group in groups for part in _split(effect, group, size)]
        return np.column_stack([turn_degenerate(columns, group) for group in groups] or [free])

    leading = np.zeros((count, 0))
    rest = order(leading)
    for number, mu in points:
        felt = measured[number]
        if leading.shape[1]:
            kept = np.column_stack([leading, rest[:, _moves(whitened, rest)]])
            if sigma_of_mu(felt, mu, kept) >= (1 - SECOND) * sigma_of_mu(felt, mu):
                continue
        direction = _felt_by_mu(felt, mu)
        direction = direction - leading @ (leading.T @ direction)
        length = float(np.linalg.norm(direction))
        if length > ROUNDING:
            leading = np.column_stack([leading, direction / length])
            rest = order(leading)
    rotation = np.column_stack([leading, rest])
    variances = np.sum((whitened @ rotation) ** 2, axis=0)
    return Ranking(rotation, leading.shape[1], variances, tuple(points))


def _large_mu(felt: Felt) -> float:
    """Return the value of mu where the errors of the signal itself are looked at."""
    estimate, sigma = _estimate(felt)
    far = estimate if abs(estimate) > REACH * sigma else REACH * sigma
    return far if np.isfinite(far) else 0.0


def _moves(whitened: Array, directions: Array) -> Array:
    return np.asarray(np.sum((whitened @ directions) ** 2, axis=0) > NEGLIGIBLE)


def _estimate(felt: Felt) -> tuple[float, float]:
    """Return the linear estimate of mu with every direction profiled, and its error."""
    whole = Felt(
        felt.ratio, felt.signal, felt.design, felt.variance,
        np.column_stack([felt.others, felt.ratio]), felt.observed,
    )  # fmt: skip
    weights = whole.solve(felt.design)
    information = float(felt.design @ weights)
    if information <= 0:
        return 0.0, float("inf")
    return float(weights @ felt.observed) / information, information**-0.5


def _felt_by_mu(felt: Felt, mu: float) -> Array:
    """Return (1 + D^T V^-1 D)^-1 D^T V^-1 d in unit length, or 0 where mu feels nothing."""
    shifts = felt.at(mu)
    solved = felt.solve(shifts)
    pull = solved.T @ felt.design
    scale = np.linalg.norm(shifts / np.sqrt(felt.variance)[:, None], ord="fro")
    size = float(scale) * float(np.linalg.norm(felt.design / np.sqrt(felt.variance)))
    if float(np.linalg.norm(pull)) <= ROUNDING * size:
        return np.zeros(shifts.shape[1])
    direction = np.linalg.solve(np.eye(shifts.shape[1]) + shifts.T @ solved, pull)
    return np.asarray(direction / np.linalg.norm(direction))


def _complement(leading: Array, count: int) -> Array:
    """Return an orthonormal basis of what is orthogonal to the leading directions."""
    if not leading.shape[1]:
        return np.eye(count)
    full, _ = np.linalg.qr(leading, mode="complete")
    return np.asarray(full[:, leading.shape[1] :])


def _split(effect: Array, basis: Array, size: float) -> list[Array]:
    """Turn a basis into the eigenvectors of an effect's square, cut where these differ."""
    if basis.shape[1] < 2:
        return [basis]
    shown = effect @ basis
    values, turn = np.linalg.eigh(shown.T @ shown)
    turned = basis @ turn[:, ::-1]
    return [turned[:, a:b] for a, b in degenerate_groups(values[::-1], size)]


def choose(ranking: Ranking, *, retained: float | None, at_most: int | None) -> int:
    """Return how many directions are kept.

    Args:
        ranking: All of them.
        retained: Part of the ratio's variance to keep beside what mu feels, 1 for everything; None
            for every direction whose variance exceeds 2 % of the statistical one.
        at_most: No more than this.

    Raises:
        ModelError: ``retained`` is no part, or ``at_most`` no number of directions.
    """
    if retained is not None and not 0 < retained <= 1:
        raise ModelError(
            f"pruning: retained is {retained:g}, expected a part of the ratio's variance in (0, 1]"
        )
    if at_most is not None and at_most < 1:
        raise ModelError(f"pruning: at most {at_most} variations, expected 1 or more")
    count = len(ranking.variances)
    if retained is None:
        count = ranking.leading + int(np.sum(ranking.variances[ranking.leading :] > NEGLIGIBLE))
    elif retained < 1:
        total = np.cumsum(ranking.variances)
        if count and total[-1] > 0:
            count = int(np.searchsorted(total, retained * total[-1] * (1 - 1e-12)) + 1)
            count = max(count, ranking.leading)
        else:
            count = ranking.leading
    return count if at_most is None else min(count, at_most)
