"""The local p-value of a window of events by the law of their labels."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp

from ddphf.arrays import AnyArray, Array, Mask, Spec
from ddphf.search.histograms import SelectedHistogram
from ddphf.search.local_p import RANGE, STEP, log_tail_of_sum
from ddphf.search.many import ManyHistograms, Member
from ddphf.statistics.n_sigma import exact_p_value

__all__ = ["gaussian_law", "window_law"]


def gaussian_law(z: float, *, deficit: bool) -> Spec:
    """Return the local entry of a record from Z alone."""
    log_p = float(log_ndtr(z if deficit else -z))
    return {"z": z, "p": float(np.exp(log_p)) or None, "z_exact": None, "method": "gaussian"}


def window_law(many: ManyHistograms, member: Member, *, deficit: bool) -> Spec:
    """Return the local p-value of a member's best window given its events.

    The count of tested events in the window is a sum of Bernoulli variables: binomial where all
    events have one share q, from the saddlepoint otherwise. Nuisances of the efficiencies are
    averaged over what the bins outside the window leave of them; where those of fakes act, only the
    Gaussian p-value is told.

    Args:
        many: All histograms.
        member: One of them.
        deficit: Whether few tested events are looked for.

    Returns:
        ``n_sigma``, ``z``, ``p``, ``z_exact``, ``method``.
    """
    observable = many.observables[member.observable]
    histogram = many.flipped(member.observable).histograms[member.selection]
    inside = np.zeros(observable.boxes.shape, dtype=bool)
    inside[observable.boxes.window(member.window).slices] = True
    inside = inside.ravel()
    filled = inside & histogram.filled
    bare = float((histogram.difference * histogram.roots)[filled].sum() / np.sqrt(filled.sum()))
    coins = not many.rows.event.all() or histogram.changes.shape[1] > histogram.labels
    if coins:
        return {"n_sigma": bare, **gaussian_law(member.z, deficit=deficit)}
    rows = np.flatnonzero(
        np.append(inside, False)[observable.bins] & many.cells.inside(member.selection)
    )
    share, tested = many.rows.share[rows], many.rows.tested[rows]
    count = int(np.sum(~tested)) if deficit else int(np.sum(tested))
    values, log_weights = _nuisances(histogram, inside, many.rows.slopes[rows], share)
    if len(log_weights) == 1 and np.ptp(share) < 1e-12:
        q = 1 - share[0] if deficit else share[0]
        p, z = exact_p_value(count, len(rows) - count, ratio=float(q / (1 - q)))
        method = "binomial"
    else:
        kept = np.column_stack([share, many.rows.slopes[rows] @ values if len(values) else share])
        classes, n = np.unique(kept, axis=0, return_counts=True)
        logs = []
        for x in _grid(len(log_weights)):
            odds = classes[:, 0] / (1 - classes[:, 0])
            if len(values):
                odds = odds * np.maximum(1 + classes[:, 1:] @ np.array([1.0, x]), 1e-6)
            q = odds / (1 + odds)
            logs.append(log_tail_of_sum(count, n.astype(float), 1 - q if deficit else q))
        log_p = min(float(logsumexp(np.array(logs) + log_weights)), 0.0)
        p = float(np.exp(log_p)) or None
        z = float(-ndtri_exp(log_p)) if log_p < 0 else None
        method = "saddlepoint"
    sign = -1.0 if deficit else 1.0
    exact = None if z is None else sign * z
    return {"n_sigma": bare, "z": member.z, "p": p, "z_exact": exact, "method": method}


def _grid(n: int) -> Array:
    return np.zeros(1) if n == 1 else np.arange(-RANGE, RANGE + STEP / 2, STEP)


def _nuisances(
    histogram: SelectedHistogram, inside: Mask, slopes: AnyArray, share: Array
) -> tuple[Array, Array]:
    """Return the nuisances' centre and the direction along which they are averaged, and weights.

    Returns:
        Shape (k, 2), and log weights of the grid; without nuisances both are trivial.
    """
    k = histogram.labels
    if not k:
        return np.zeros((0, 2)), np.zeros(1)
    pulls = histogram.pulls[~inside]
    inverse = np.linalg.inv(np.eye(k) + pulls.T @ pulls)
    terms = (histogram.difference * histogram.roots)[~inside]
    centre = inverse @ (pulls.T @ terms)
    moved = slopes.T.astype(float) @ (share * (1 - share))
    spread = float(np.sqrt(moved @ inverse @ moved))
    along = inverse @ moved / (spread if spread > 0 else 1.0)
    x = _grid(2)
    log_weights = -0.5 * x**2
    return np.column_stack([centre, along]), log_weights - logsumexp(log_weights)
