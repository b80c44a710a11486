"""Where the asymmetry sits: the learned log ratio f(x), its bands, its region and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from ddphf.arrays import AnyArray, Array, Mask, Spec
from ddphf.compute.work import HERE, Work
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.learning.calibration import count_redraws
from ddphf.learning.labels import Labels
from ddphf.learning.pool import Pool, make_pool
from ddphf.learning.read_labels import LabelledEvents, Redrawing, begin
from ddphf.learning.redraws import check_redraws, redraw_residuals
from ddphf.learning.run_test import describe_events, provenance_of, unresolved
from ddphf.learning.variables import resolutions
from ddphf.results.learn import LearnResult
from ddphf.search.lines import LANES

__all__ = ["CURVE_WIDTHS", "LearnedRatio", "curve_of_events", "learn_curve", "learn_ratio"]

CURVE_WIDTHS = (0.1, 0.3, 1.0)
"""In standard deviations: a curve shall show narrow differences as well as wide ones."""

EVENTS_PER_RIDGE = 400.0

POINTS = {1: 200, 2: 40}
"""Of the grid along each axis, by the number of variables."""

BAND = 0.95

BAND_REDRAWS = 100
"""With fewer, bands are hardly known: five redraws leave a band of 95 %."""

DRIVING = 20
"""Events that are listed."""


@dataclass(frozen=True)
class LearnedRatio:
    """ln of the ratio of the tested sample to what its partner tells, as the kernel learns it.

    Attributes:
        pool: The events.
        coefficients: beta, (m,).
        constant: So that f is 0 on average over the events.
    """

    pool: Pool
    coefficients: Array
    constant: float

    def __call__(self, points: Array) -> Array:
        """Return f of transformed points (k, d), (k,)."""
        return np.asarray(self.pool.features(points) @ self.coefficients - self.constant)


def learn_ratio(points: Array, labels: Labels, resolution: AnyArray | None = None) -> LearnedRatio:
    """Learn f from labelled events: the mean of a Gaussian process of the kernel's features.

    Args:
        points: Variables, (n, d).
        labels: Of the events; their nuisances are profiled.
        resolution: Of each variable.
    """
    pool = make_pool(
        points, labels, ("kernel",), widths=CURVE_WIDTHS, ridge=labels.n / EVENTS_PER_RIDGE,
        resolution=resolution,
    )  # fmt: skip
    beta = _coefficients(pool, labels.residual[:, None])[:, 0]
    f = pool.features(points) @ beta
    return LearnedRatio(pool, beta, float(np.average(f, weights=labels.spread)))


def _coefficients(pool: Pool, residual: AnyArray) -> Array:
    """Return beta of residuals (n, lanes), (m, lanes), with nuisances profiled where there are."""
    kernel = pool.member("kernel", pool.treatments[-1]).kernel
    assert kernel is not None
    dense, _ = pool.sums_of(residual)
    k = 1 + (pool.labels.changes.shape[1] if len(pool.treatments) > 1 else 0)
    return np.asarray(kernel.coefficients(dense[: pool.wide], dense[pool.wide : pool.wide + k]))


def learn_curve(analysis: Analysis, **how: Unpack[Redrawing]) -> LearnResult:
    """Learn f(x) in one or two variables with its bands, and the region and events that drive it.

    Args:
        analysis: With sections ``events`` and ``learn``.
        how: See :class:`~ddphf.learning.read_labels.Redrawing`; all is done here, as the sums of a
            curve are few. Counts redraws.

    Raises:
        InputError: More than two variables, or events that cannot be used.
    """
    return curve_of_events(*begin(analysis, **how))


def curve_of_events(events: LabelledEvents, n: int, seed: int, work: Work = HERE) -> LearnResult:
    """Learn f(x) of labelled events, with n redraws; errors as of :func:`learn_curve`."""
    d = len(events.config.variables)
    if d > 2:
        raise InputError(
            f"learn curve: {d} variables, and a curve has one, a map two; name the one or two to "
            "look at in a copy of the analysis file"
        )
    check_redraws(n)
    ratio = learn_ratio(events.points, events.labels, resolutions(events.config.variables))
    grid, axes = _grid(events)
    table = ratio.pool.features(grid)
    weights = events.labels.spread / events.labels.spread.sum()
    mean = ratio.pool.columns[:, : ratio.pool.wide].astype(float).T @ weights
    values = (table - mean) @ ratio.coefficients
    work.say("redraws of the labels")
    drawn = []
    for block in range(-(-n // LANES)):
        beta = _coefficients(ratio.pool, redraw_residuals(events.labels, seed, block))
        drawn.append((table - mean) @ beta)
        if work.count is not None:
            work.count(min((block + 1) * LANES, n), n)
    null = np.concatenate(drawn, axis=1)[:, :n]
    deviation = np.sqrt(np.mean(null**2, axis=1))
    pulls = np.abs(values) / deviation
    best = int(np.argmax(pulls))
    counted = count_redraws(float(pulls[best]), _largest_pulls(null, values))
    pointwise = np.quantile(np.abs(null), BAND, axis=1)
    threshold = float(np.quantile(_largest_pulls(null), BAND))
    outside = pulls > threshold
    warnings = list(events.warnings)
    if n < BAND_REDRAWS:
        warnings.append(
            f"the bands come of {n} redraws and are hardly known; ask for {BAND_REDRAWS} or more "
            "--redraws"
        )
    if counted.above == 0:
        warnings.append(unresolved(n))
    return LearnResult(
        kind="curve", statistic="kernel", t=float(pulls[best]), p=counted.p,
        p_interval=counted.interval, z=counted.z, redraws=n, **describe_events(events),
        curve={
            "axes": [axis.tolist() for axis in axes],
            "values": values.tolist(),
            "standard_deviation": deviation.tolist(),
            "pointwise": pointwise.tolist(),
            "level": BAND,
            "simultaneous": threshold,
            "largest": {"at": [float(a) for a in _place(best, axes)], "pull": float(pulls[best])},
            "region": _region(outside, pulls, axes, events),
            "events": _driving(ratio, events),
        },
        seed=seed, warnings=tuple(warnings),
        provenance=provenance_of(events),
    )  # fmt: skip


def _largest_pulls(null: Array, values: Array | None = None) -> Array:
    """Return the largest |f| / sd of each redraw, its sd that of all others, (redraws,).

    So it is of the data, whose curve is not in the sd; with its own curve in it a redraw's pull
    would be smaller, and p too small.

    Args:
        null: Curves of redraws, (points, redraws).
        values: Curve of the data, which is one of the others for a p-value; (points,).

    Example:
        >>> _largest_pulls(np.array([[3.0, 4.0, 0.0]]), np.array([5.0])).round(3).tolist()
        [0.812, 1.188, 0.0]
    """
    square = null**2
    others = square.sum(axis=1, keepdims=True) - square
    count = null.shape[1] - 1
    if values is not None:
        others, count = others + values[:, None] ** 2, count + 1
    if count == 0:
        return np.ones(1)  # one alone has no sd but its own
    sd = np.sqrt(np.maximum(others, 0.0) / count)
    pulls = np.divide(np.abs(null), sd, out=np.zeros_like(null), where=sd > 0)
    return np.asarray(pulls.max(axis=0))


def _grid(events: LabelledEvents) -> tuple[Array, list[Array]]:
    """Return transformed points of the grid, (k, d), and its axes in the variables' own units."""
    d = events.points.shape[1]
    count = POINTS[d]
    transformed, raw = [], []
    for variable, t, x in zip(events.config.variables, events.points.T, events.raw.T, strict=True):
        places = np.linspace(t.min(), t.max(), count)
        transformed.append(places)
        if variable.transform == "log":
            raw.append(np.exp(places))
        elif variable.transform == "rank":
            raw.append(np.interp(places, np.sort(t), np.sort(x)))
        else:
            raw.append(places)
    mesh = np.meshgrid(*transformed, indexing="ij")
    return np.stack([m.ravel() for m in mesh], axis=1), raw


def _place(number: int, axes: list[Array]) -> list[float]:
    places = np.unravel_index(number, tuple(len(a) for a in axes))
    return [float(axis[int(i)]) for axis, i in zip(axes, places, strict=True)]


def _region(outside: Mask, pulls: Array, axes: list[Array], events: LabelledEvents) -> Spec:
    """Return where f leaves the simultaneous band, and the events there.

    Along one axis these are intervals; of two, the box around all such points; either to the next
    point of the grid. Where f stays inside, it is around the one point with the largest pull, and
    says so.
    """
    shape = tuple(len(a) for a in axes)
    significant = bool(outside.any())
    mask = outside if significant else np.arange(len(pulls)) == int(np.argmax(pulls))
    found = mask.reshape(shape)
    if len(axes) == 1:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], found.astype(int), [0]])))
        last = len(axes[0]) - 1
        boxes = [
            [[float(axes[0][max(a - 1, 0)]), float(axes[0][min(b, last)])]]
            for a, b in edges.reshape(-1, 2)
        ]
    else:
        boxes = [
            [
                [float(axis[max(i.min() - 1, 0)]), float(axis[min(i.max() + 1, len(axis) - 1)])]
                for axis, i in zip(axes, np.nonzero(found), strict=True)
            ]
        ]
    inside = np.zeros(len(events.raw), dtype=bool)
    for box in boxes:
        inside |= np.all([(x >= low) & (x <= high) for x, (low, high) in
                          zip(events.raw.T, box, strict=True)], axis=0)  # fmt: skip
    labels = events.labels
    return {
        "outside_band": significant, "boxes": boxes,
        "tested": int(np.sum(labels.tested & inside)),
        "partner": int(np.sum(~labels.tested & inside)),
        "expected_tested": float(labels.share[inside].sum()),
    }  # fmt: skip


def _driving(ratio: LearnedRatio, events: LabelledEvents) -> list[Spec]:
    """Return the events that add most to the score: (y - pi) f(x)."""
    f = ratio(events.points)
    gain = events.labels.residual * f
    order = np.argsort(-gain, kind="stable")[:DRIVING]
    names = [v.column for v in events.config.variables]
    return [
        {
            "variables": dict(zip(names, map(float, events.raw[i]), strict=True)),
            "tested": bool(events.labels.tested[i]), "pi": float(events.labels.share[i]),
            "f": float(f[i]), "gain": float(gain[i]),
        }
        for i in order
    ]  # fmt: skip
