"""Sensitivity: median Z and power of a statistic against the events of an injected signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Unpack

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import chi2, ncx2, norm

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.compute.blas import ONE_BLAS_THREAD
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import LEARNING, block_generator, generator, seed_of_part
from ddphf.compute.tasks import Task
from ddphf.compute.work import Work
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.learning.calibration import count_redraws, smallest_p
from ddphf.learning.ideal import ideal_t, ideal_z
from ddphf.learning.labels import Labels, make_labels
from ddphf.learning.pool import LINEAR, make_pool
from ddphf.learning.read_labels import LabelledEvents, Redrawing, begin
from ddphf.learning.redraws import PLAIN, redraw_pool
from ddphf.learning.run_test import DEFAULT, describe_events, provenance_of
from ddphf.learning.variables import resolutions
from ddphf.results.learn import LearnResult

__all__ = [
    "Injected", "PowerToys", "Signal", "check_injected", "learn_power", "limit_of", "median_z",
    "power_of_events",
]  # fmt: skip

LEVEL = 0.05
"""Of a test whose power is told."""

TOYS_ENSEMBLE = 1
"""Blocks of the toys' random numbers."""

ROUNDING = 1e-9
"""An error of a median below it is that of equal numbers."""

CELLS = 400
"""Of the limit of the ideal test, along all axes together."""

MOST_GRID = 3
"""Variables whose cells of equally many events still tell something."""


MOST_SIGNAL = 10
"""Expected signal events over those of the pool: all are kept, with their features."""


@dataclass(frozen=True)
class Signal:
    """A Gaussian in the variables of the test, as they are before their transform.

    Attributes:
        means: In each variable, (d,).
        widths: Standard deviations, (d,).
        tested: Whether it is in the tested sample, or in its partner.
    """

    means: tuple[float, ...]
    widths: tuple[float, ...]
    tested: bool = True

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return n events, (n, d)."""
        return rng.normal(self.means, self.widths, (n, len(self.means)))


@dataclass(frozen=True)
class Injected:
    """What is injected, and what is to find it.

    Attributes:
        signal: The signal.
        strengths: Its expected events.
        statistic: ``default``, ``kernel``, ``scan`` or ``energy``; None for the analysis's.
        toys: Of each strength.
    """

    signal: Signal
    strengths: Sequence[float]
    statistic: str | None = None
    toys: int = 200


@dataclass(frozen=True)
class PowerToys:
    """p-values of toys: the pool with its labels redrawn, and signal events on top.

    Attributes:
        raw: Variables of the pool, (n, d).
        points: Transformed, (n, d).
        transforms: Of each variable.
        labels: Of the pool.
        signal: What is injected.
        strengths: Expected signal events of each ensemble.
        statistic: ``default`` or a member of :data:`LINEAR`.
        redraws: Of each toy.
        resolution: Of each variable.
        seed: Of the toys.
    """

    raw: Array
    points: Array
    transforms: tuple[str | None, ...]
    labels: Labels
    signal: Signal
    strengths: tuple[float, ...]
    statistic: str
    redraws: int
    resolution: Array
    seed: int

    def __call__(self, toy: int) -> AnyArray:
        """Return the p-value of one toy at every strength, (strengths,).

        The toys of all strengths have the same labels of the pool.
        """
        rng = block_generator(self.seed, LEARNING.start(TOYS_ENSEMBLE, toy + 1) + toy)
        pulls = rng.standard_normal(self.labels.changes.shape[1])
        share = np.clip(self.labels.share + self.labels.changes @ pulls, 1e-6, 1 - 1e-6)
        y = rng.random(self.labels.n) < share
        out = []
        for strength in self.strengths:
            extra = self.signal.draw(rng, rng.poisson(strength))
            out.append(self._p(y, extra, seed_of_part(self.seed, toy)))
        return np.array(out)

    def _p(self, y: Mask, extra: Array, seed: int) -> float:
        nearest = self._nearest(extra)
        odds = self.labels.share / (1 - self.labels.share)
        labels = make_labels(
            np.append(y, np.full(len(extra), self.signal.tested)),
            np.append(odds, odds[nearest]),
            changes=np.concatenate([self.labels.changes, self.labels.changes[nearest]]),
            names=self.labels.names,
        )
        points = np.concatenate([self.points, self._transform(extra)])
        names = DEFAULT if self.statistic == "default" else (self.statistic,)
        pool = make_pool(points, labels, names, resolution=self.resolution)
        drawn = redraw_pool(pool, self.redraws, seed=seed, ensemble=PLAIN)
        observed, flips = pool.observed[-1], drawn[-1]
        if self.statistic == "default":
            t, flipped, _ = smallest_p(observed, flips)
        else:
            t, flipped = float(observed[0]), flips[0]
        return count_redraws(t, flipped).p

    def _nearest(self, extra: Array) -> AnyArray:
        """Return the event of the pool nearest to each signal event, in standard deviations."""
        if not len(extra):
            return np.zeros(0, dtype=np.int64)
        return np.asarray(self._tree.query(extra / self.raw.std(axis=0))[1])

    @cached_property
    def _tree(self) -> cKDTree:
        """The events of the pool by their places, for all toys."""
        return cKDTree(self.raw / self.raw.std(axis=0))

    def _transform(self, extra: Array) -> Array:
        columns = []
        for kind, x, raw, t in zip(
            self.transforms, extra.T, self.raw.T, self.points.T, strict=True
        ):
            if kind == "log":
                columns.append(np.log(np.maximum(x, raw.min())))
            elif kind == "rank":
                order = np.argsort(raw)
                columns.append(np.interp(x, raw[order], t[order]))
            else:
                columns.append(x)
        return np.stack(columns, axis=1)


def median_z(p: Array, seed: int = 0) -> tuple[float, float]:
    """Return the median significance of p-values and its error by 200 bootstrap samples."""
    z = norm.isf(np.minimum(p, 1 - 1e-9))
    rng = generator(seed)
    draws = np.median(z[rng.integers(len(z), size=(200, len(z)))], axis=1)
    error = float(draws.std())
    return float(np.median(z)), error if error > ROUNDING else 0.0


def learn_power(analysis: Analysis, injected: Injected, **how: Unpack[Redrawing]) -> LearnResult:
    """Measure the sensitivity of a statistic to a signal in the events of an analysis.

    Args:
        analysis: With sections ``events`` and ``learn``.
        injected: The signal and its strengths.
        how: See :class:`~ddphf.learning.read_labels.Redrawing`; the redraws are those of each toy.
            Counts toys.

    Raises:
        InputError: A signal of another number of variables, or a statistic that is trained anew for
            each redraw.
    """
    return power_of_events(*begin(analysis, **how), injected)


def power_of_events(
    events: LabelledEvents, n: int, seed: int, work: Work, injected: Injected
) -> LearnResult:
    """Measure sensitivity in labelled events, with n redraws; errors as of :func:`learn_power`."""
    signal, strengths, toys = injected.signal, injected.strengths, injected.toys
    which = injected.statistic or events.config.statistic
    if which not in ("default", *LINEAR):
        raise InputError(
            f"learn power: the statistic '{which}' takes a training for every redraw of every toy; "
            f"take default, {', '.join(LINEAR)}"
        )
    check_injected(events, injected)
    variables = events.config.variables
    settings = {
        "raw": events.raw, "points": events.points,
        "transforms": tuple(v.transform for v in variables), "labels": events.labels,
        "signal": signal, "strengths": tuple(map(float, strengths)), "statistic": which,
        "redraws": n, "resolution": resolutions(variables), "seed": seed,
    }  # fmt: skip
    work.say("toys")
    task = Task(f"{__name__}:PowerToys", settings, ONE_BLAS_THREAD)
    p = np.array(list(run_blocks(task, range(toys), runner=work.runner, progress=work.count)))
    points, warnings = [], list(events.warnings)
    if float(np.median(p, axis=0).min()) < 2.5 / (n + 1):
        warnings.append(
            f"the median toy of some strength is beyond most of its {n} redraws: its Z is a lower "
            "limit; ask for more --redraws"
        )
    for strength, column in zip(strengths, p.T, strict=True):
        z, error = median_z(column, seed)
        reached = float(np.mean(column <= LEVEL))
        t = limit_of(events, signal, float(strength)) if strength > 0 else 0.0
        points.append(
            {
                "strength": float(strength), "median_z": z, "error": error, "power": reached,
                "power_error": float(np.sqrt(max(reached * (1 - reached), 1 / toys) / toys)),
                "ideal": {"t": t, "z": ideal_z(t), "power": _ideal_power(t)},
                "q0_l1": {"q0": t, "z": float(np.sqrt(max(t, 0.0)))},
            }
        )  # fmt: skip
    return LearnResult(
        kind="power", statistic=which, redraws=n, **describe_events(events),
        power={
            "signal": {
                "means": list(signal.means), "widths": list(signal.widths),
                "sample": events.pairing["tested" if signal.tested else "partner"],
                "tested": signal.tested,
            },
            "toys": toys, "level": LEVEL, "points": points,
        },
        seed=seed, warnings=tuple(warnings),
        provenance=provenance_of(events),
    )  # fmt: skip


def check_injected(events: LabelledEvents, injected: Injected) -> None:
    """Refuse a signal that fits no events, and strengths or toys that are none.

    Raises:
        InputError: Says which.
    """
    signal, strengths, toys = injected.signal, injected.strengths, injected.toys
    d = events.raw.shape[1]
    if not len(signal.means) == len(signal.widths) == d:
        raise InputError(
            f"learn power: a signal in {len(signal.means)} variable(s), the analysis has {d}; give "
            "MEAN:WIDTH for each, with commas"
        )
    if not all(np.isfinite(signal.means)) or not all(0 < w < np.inf for w in signal.widths):
        raise InputError("learn power: means must be numbers, and widths numbers > 0")
    if not strengths or not all(0 <= s < np.inf for s in strengths):
        raise InputError("learn power: strengths are expected events, numbers >= 0")
    if max(strengths) > MOST_SIGNAL * len(events.raw):
        raise InputError(
            f"learn power: a strength of {max(strengths):g} events in a pool of {len(events.raw)}; "
            f"expected at most {MOST_SIGNAL} times as many as there are"
        )
    if toys < 2:
        raise InputError(f"learn power: {toys} toys, expected 2 or more")


def limit_of(events: LabelledEvents, signal: Signal, strength: float) -> float:
    """Return t_id of the signal on the pool, the largest that cells of it tell.

    Any cells tell at most t_id. Of several variables those of equally many events are wide, and a
    signal that is narrow in all of them fills shells around it better.
    """
    pi, x = events.labels.share, events.raw
    cells = [_shells(x, signal)] if x.shape[1] > 1 else []
    if x.shape[1] <= MOST_GRID:
        cells.append(_grid(x, signal))
    return max(_ideal_of(pi, *some, strength, signal.tested) for some in cells)


def _grid(points: Array, signal: Signal) -> tuple[AnyArray, Array]:
    """Return the cell of each event, (n,), and the signal's share of each cell, by quantiles."""
    count = max(2, round(CELLS ** (1 / points.shape[1])))
    place, shares = np.zeros(len(points), dtype=np.int64), np.ones(1)
    for x, mean, width in zip(points.T, signal.means, signal.widths, strict=True):
        edges = np.unique(np.quantile(x, np.linspace(0, 1, count + 1)))
        cell = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        place = place * (len(edges) - 1) + cell
        ends = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
        shares = np.multiply.outer(shares, np.diff(norm.cdf(ends, mean, width))).ravel()
    return place, shares


def _shells(points: Array, signal: Signal) -> tuple[AnyArray, Array]:
    """Return the same of shells around the signal, of equally many events each."""
    square = np.sum(((points - signal.means) / signal.widths) ** 2, axis=1)
    inner = np.unique(np.quantile(square, np.arange(1, CELLS) / CELLS))
    ends = np.concatenate([[0.0], inner, [np.inf]])
    place = np.searchsorted(inner, square, side="right")
    return place, np.asarray(np.diff(chi2.cdf(ends, points.shape[1])))


def _ideal_of(share: Array, place: AnyArray, parts: Array, strength: float, tested: bool) -> float:
    b = np.bincount(place, share, len(parts))
    a = np.bincount(place, 1 - share, len(parts))
    used = (a > 0) & (b > 0)
    ratio, extra = b[used] / a[used], strength * parts[used]
    if tested:
        return ideal_t(b[used] + extra, a[used], ratio)
    return ideal_t(b[used], a[used] + extra, ratio)


def _ideal_power(t: float) -> float:
    return float(ncx2.sf(chi2.isf(LEVEL, 12), 12, t)) if t > 0 else LEVEL
