"""Limits by toys of all hypotheses: each one's toys are a batch of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.compute.streams import BOOTSTRAP, MASSES, block_generator, generator, seed_of_part
from ddphf.compute.tasks import Task
from ddphf.compute.work import Work
from ddphf.exceptions import InputError
from ddphf.inference.limits.bootstrap import crossings_of_toys
from ddphf.inference.limits.cls import cls_asymptotic, cls_expected
from ddphf.inference.limits.limits import MIN_TOYS
from ddphf.inference.limits.toy_cls import value_and_error
from ddphf.likelihood.rows.fits import RowFits
from ddphf.likelihood.rows.model import RowData
from ddphf.masses.asymptotic import Asimov, RowLimits, make_asimov, q_tilde
from ddphf.masses.engine import ScanEngine
from ddphf.masses.kept import Piece, do_kept, work_digest
from ddphf.masses.scan import MassScan
from ddphf.results.discover import N_SIGMA
from ddphf.statistics.tails import MAX_FAILED

__all__ = ["POINTS", "LimitToys", "redo_toys", "toy_limits"]

POINTS = 8
"""Tested signal strengths per hypothesis, from below the -2 sigma limit to beyond the largest."""

BELOW, ABOVE = 0.65, 1.6
"""Of the lowest and of the highest asymptotic limit: low counts have higher limits by toys."""

NEAR, FEWEST = (0.6, 1.0, 1.4), 4
"""Where fewer points than these lie between the best fit and far beyond the observed limit, three
more are tested: CLs is 1 up to the best fit, and says nothing there."""

INSIDE = (0.35, 2.0)
"""What is between, in units of the distance from the best fit to the limit."""

ENSEMBLES = POINTS + len(NEAR) + 1
"""Toys without a signal, and at each point."""


def scan_points(limits: RowLimits, index: int, upper: float, mu_hat: float) -> Array:
    """Return where toys of a hypothesis are drawn, rising; empty where it has no limits.

    Args:
        limits: Asymptotic ones.
        index: Of the hypothesis.
        upper: Bound of the POI.
        mu_hat: Its best fit.
    """
    ends = np.append(limits.expected[index], limits.observed[index])
    ends = ends[np.isfinite(ends) & (ends > 0)]
    if not len(ends) or not np.isfinite(limits.observed[index]):
        return np.zeros(0)
    low, high = BELOW * float(ends.min()), min(ABOVE * float(ends.max()), upper)
    points = np.geomspace(low, high, POINTS)
    start = max(mu_hat, 0.0)
    distance = float(limits.observed[index]) - start
    far = (points - start) / distance
    if np.sum((far > INSIDE[0]) & (far < INSIDE[1])) < FEWEST:
        points = np.append(points, np.minimum(start + distance * np.array(NEAR), upper))
    return np.unique(points)


@dataclass(frozen=True)
class LimitJob:
    """One hypothesis at one level: its number, the level, the points and the first ensemble."""

    index: int
    level: float
    points: Array
    ensemble: int


class LimitToys:
    """The work: limits by toys of one hypothesis.

    Args:
        scan: The scan.
        n: Toys of each ensemble.
        seed: Of them.
    """

    def __init__(self, scan: MassScan, n: int, seed: int) -> None:
        self.scan, self.n, self.seed = scan, n, seed

    def __call__(self, job: LimitJob) -> Piece:
        """Draw and fit the toys of one hypothesis, and find where CLs falls below the level."""
        engine = ScanEngine(self.scan.take(np.array([job.index])))
        null, free = engine.both(engine.model.observed, 0)
        asimov = make_asimov(engine, null)
        mu, ok = job.points, True
        starts = self._conditional(engine, mu)
        background, lost = self._draw(engine, null, job.ensemble, mu)
        signals = []
        for j in range(len(mu)):
            one = RowFits(*(x[j : j + 1] for x in starts.columns()))
            found, more = self._draw(engine, one, job.ensemble + 1 + j, mu[j : j + 1])
            signals.append(found[0])
            lost += more
        total = self.n * (1 + len(mu))
        ok = lost <= MAX_FAILED * total and bool(starts.ok.all())
        limits, errors = np.full(6, np.nan), np.full(6, np.nan)
        if ok:
            limits, errors = self._cross(engine, free, null, asimov, job, background, signals)
        return {"limits": limits, "errors": errors, "failed": np.array(lost), "points": mu}

    def _conditional(self, engine: ScanEngine, mu: Array) -> RowFits:
        """Return the fits to the data at the points."""
        data = engine.model.observed.take(np.zeros(len(mu), dtype=int))
        return engine.held(data, mu, 0)

    def _draw(
        self, engine: ScanEngine, at: RowFits, ensemble: int, tests: Array
    ) -> tuple[list[Array], int]:
        """Return q~ of toys at each test, failures left out, and how many fits failed."""
        own, model = engine.model.observed, engine.model
        if at.theta[0, 0] == 0:
            own = RowData(np.where(engine.signal_only, 0.0, own.counts), own.centre, own.local)
        rate, gamma = engine.expected(at.theta, own, 0)
        rng = block_generator(self.seed, MASSES.start(ensemble, self.n))
        shape = (self.n, rate.shape[1])
        counts = rng.poisson(rate[0], shape).astype(float)
        centre = at.theta[0] + model.width * rng.standard_normal((self.n, len(model.width)))
        local = np.where(
            model.sigma[0] > 0, gamma[0] + model.sigma[0] * rng.standard_normal(shape), 1.0
        )
        if np.any(model.tau > 0):
            drawn = rng.poisson(np.where(model.tau[0] > 0, model.tau[0] * gamma[0], 0.0), shape)
            local = np.where(model.tau[0] > 0, drawn, local)
        data = RowData(counts, centre, local)
        start = np.tile(at.theta[0], (self.n, 1))
        free = engine.free(data, 0, start)
        zero = free.value
        good = free.ok.copy()
        if np.any(free.theta[:, 0] < 0):
            null = engine.held(data, np.zeros(self.n), 0, start)
            zero, good = null.value, good & (null.ok | (free.theta[:, 0] >= 0))
        found = []
        for test in tests:
            mu = np.full(self.n, test)
            held = engine.held(data, mu, 0, free.theta)
            good &= held.ok
            found.append(q_tilde(held.value, mu, free, zero))
        return [q[good] for q in found], int(np.sum(~good))

    def _cross(
        self,
        engine: ScanEngine,
        free: RowFits,
        null: RowFits,
        asimov: Asimov,
        job: LimitJob,
        background: list[Array],
        signals: list[Array],
    ) -> tuple[Array, Array]:
        """Return limits and errors: of the data, then of the bands."""
        mu = job.points
        rows = np.zeros(len(mu), dtype=int)
        held = engine.held(engine.model.observed.take(rows), mu, rows)
        at = engine.held(asimov.data.take(rows), mu, rows)
        many = RowFits(*(x[rows] for x in free.columns()))
        zero = np.where(engine.impossible, np.inf, null.value)[rows]
        q = q_tilde(held.value, mu, many, zero)
        roots = np.maximum(2.0 * at.value, 0.0)
        shapes = [[cls_asymptotic(a, b) for a, b in zip(q, roots, strict=True)]]
        shapes += [[cls_expected(a, x) for a in roots] for x in N_SIGMA]
        found = crossings_of_toys(
            mu, q, background, signals, np.array(shapes), 1 - job.level,
            generator(seed_of_part(self.seed, job.ensemble), BOOTSTRAP),
        )  # fmt: skip
        pairs = [value_and_error(row) for row in found.limits]
        out = np.array([[np.nan if x is None else x for x in pair] for pair in pairs])
        return out[:, 0], out[:, 1]


def toy_limits(
    scan: MassScan,
    limits: Sequence[RowLimits],
    mu_hat: Array,
    n: int,
    *,
    seed: int,
    folder: Path | None,
    work: Work,
) -> list[list[Spec | None]]:
    """Return the limits by toys of all hypotheses, for each level; None where there are none.

    Args:
        scan: The scan.
        limits: By asymptotic formulas, at each level: toys are drawn around them.
        mu_hat: The best fits.
        n: Toys of each ensemble; there is one without a signal and one per point.
        seed: Of them.
        folder: Where pieces are kept, or None.
        work: How it is done.

    Raises:
        InputError: Too few toys for a limit.
    """
    if n < MIN_TOYS:
        raise InputError(f"toys: {n}, expected at least {MIN_TOYS} per scanned signal strength")
    jobs, places = [], []
    for k, limit in enumerate(limits):
        for i in range(len(scan)):
            points = scan_points(limit, i, scan.poi.upper, float(mu_hat[i]))
            if len(points) >= POINTS:
                jobs.append(LimitJob(i, limit.level, points, _ensemble(scan, k, i)))
                places.append((k, i))
    digest = work_digest(
        [*scan.rows().digest_parts(), *(job.points for job in jobs)], "limits", n, seed,
        [limit.level for limit in limits],
    )  # fmt: skip
    pieces = do_kept(
        Task("ddphf.masses.toy_limits:LimitToys", {"scan": scan, "n": n, "seed": seed}),
        jobs,
        name=f"limits_{digest}",
        folder=folder,
        sizes=[n * (1 + len(job.points)) for job in jobs],
        work=work,
    )
    out: list[list[Spec | None]] = [[None] * len(scan) for _ in limits]
    for (k, i), piece in zip(places, pieces, strict=True):
        out[k][i] = _state(piece, n)
    return out


def redo_toys(
    scan: MassScan, index: int, which: int, level: float, points: Array, n: int, seed: int
) -> Spec:
    """Return the limit by toys of one hypothesis, as :func:`toy_limits` has found it.

    Args:
        scan: The scan.
        index: Of the hypothesis.
        which: Number of the level among those that were asked for.
        level: Confidence level.
        points: Tested signal strengths.
        n: Toys of each ensemble.
        seed: Of them.
    """
    job = LimitJob(index, level, points, _ensemble(scan, which, index))
    return _state(LimitToys(scan, n, seed)(job), n)


def _ensemble(scan: MassScan, which: int, index: int) -> int:
    return 1 + (which * len(scan) + index) * ENSEMBLES


def _state(piece: Piece, n: int) -> Spec:
    value, error = (
        [float(x) if np.isfinite(x) else None for x in piece[key]] for key in ("limits", "errors")
    )
    return {
        "observed": value[0],
        "error": error[0],
        "expected": value[1:],
        "expected_error": error[1:],
        "n": n,
        "n_failed": int(piece["failed"]),
        "points": piece["points"].tolist(),
    }
