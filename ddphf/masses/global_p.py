"""What looking at all masses costs: the largest local z of toys that all masses share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, IntArray, Spec
from ddphf.compute.streams import MASSES, block_generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import Work
from ddphf.exceptions import InputError
from ddphf.masses.engine import ScanEngine
from ddphf.masses.kept import Piece, do_kept, work_digest
from ddphf.masses.scan import MassScan
from ddphf.masses.shared_events import SharedEvents, window_edges
from ddphf.statistics.gross_vitells import count_upcrossings, gross_vitells
from ddphf.statistics.tails import TIE, refuse_failures, tail_interval

__all__ = ["GlobalToys", "global_p"]

BLOCK = 4
"""Toys of a block: each is a fit of all hypotheses."""

LEVEL = 0.5
"""u0 of Gross and Vitells, in units of q0."""

INTERVAL = 0.6827
"""Confidence level of the interval of p."""

THRESHOLDS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
"""Local z of which the record states what they are worth."""

FEWEST = 20
"""Toys below which nothing is told of a largest value."""


class GlobalToys:
    """The work: largest q0 and upcrossings of toys.

    Args:
        scan: The scan.
        used: Hypotheses that are looked at.
        seed: Of the toys.
    """

    def __init__(self, scan: MassScan, used: IntArray, seed: int) -> None:
        self.engine, self.events = ScanEngine(scan), SharedEvents(scan)
        self.used, self.seed = used, seed

    def __call__(self, toys: IntArray) -> Piece:
        """Draw and fit some toys."""
        found = [self._one(int(toy)) for toy in toys]
        largest, crossings, failed = zip(*found, strict=True)
        return {
            "largest": np.array(largest),
            "crossings": np.array(crossings),
            "failed": np.array(failed),
        }

    def _one(self, toy: int) -> tuple[float, int, int]:
        data = self.events.draw(block_generator(self.seed, MASSES.start(0, toy + 1) + toy))
        rows = self.used
        data = data.take(rows)
        null, free = self.engine.both(data, rows)
        ok = null.ok & free.ok
        q = self.engine.statistic(data, rows, null, free)
        q = np.where(ok, np.where(free.theta[:, 0] > 0, q, 0.0), np.nan)
        return float(np.nanmax(q, initial=0.0)), count_upcrossings(q, LEVEL), int(np.sum(~ok))


def _decisive(scan: MassScan, edges: Array, used: IntArray) -> list[AnyArray]:
    """Return all that decides the toys: rows have neither windows nor errors of one sample."""
    raw = scan if scan.raw is None else scan.raw
    parts: list[AnyArray] = [*scan.rows().digest_parts(), used, edges, scan.live]
    for sample in raw.backgrounds:
        parts += [sample.yields, np.zeros(0) if sample.error is None else sample.error]
    return [*parts, raw.live, np.zeros(0) if scan.group is None else scan.group]


def global_p(
    scan: MassScan,
    q0: Array,
    n: int,
    *,
    seed: int,
    folder: Path | None,
    work: Work,
) -> Spec:
    """Return the largest local z of a scan and how often it is reached without a signal.

    Args:
        scan: The scan, with the edges of its windows.
        q0: Of its data, signed; not finite where a hypothesis has none, which is then left out
            of the toys too.
        n: Toys.
        seed: Of them.
        folder: Where pieces are kept, or None.
        work: How it is done.

    Raises:
        InputError: The windows are not known, or no hypothesis has a q0.
        FitError: Too many toys have a fit without a certificate.
    """
    if n < FEWEST:
        raise InputError(f"toys of the global p-value: {n}, expected at least {FEWEST}")
    used = np.flatnonzero(np.isfinite(q0))
    if not len(used):
        raise InputError("no hypothesis has a q0, so there is no largest one")
    edges = window_edges(scan)  # before any work
    blocks = [np.arange(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]
    digest = work_digest(_decisive(scan, edges, used), "global", scan.policy, seed)
    pieces = list(
        do_kept(
            Task("ddphf.masses.global_p:GlobalToys", {"scan": scan, "used": used, "seed": seed}),
            blocks,
            name=f"global_{digest}",
            folder=folder,
            sizes=[len(block) for block in blocks],
            work=work,
        )
    )
    largest, crossings, failed = (
        np.concatenate([piece[key] for piece in pieces])
        for key in ("largest", "crossings", "failed")
    )
    n_failed = int(np.sum(failed > 0))
    refuse_failures(int(failed.sum()), n * len(used), "fits of toys of all hypotheses")
    best = int(used[np.argmax(q0[used])])
    z0 = float(np.sqrt(max(q0[best], 0.0)))
    mean = float(np.mean(crossings))
    error = float(np.std(crossings, ddof=1) / np.sqrt(n))

    def tail(z: float) -> tuple[int, float | None]:
        above = int(np.sum(largest >= z * z - TIE))
        return above, above / n if above else None

    n_ge, p = tail(z0)
    low, high = tail_interval(n, n_failed, n_ge, INTERVAL)
    return {
        "value": float(scan.parameter.values[best]),
        "z0": z0,
        "p0": float(norm.sf(z0)),
        "p": p,
        "z": None if p is None or not 0 < p < 1 else float(norm.isf(p)),
        "error": None if p is None else float(np.sqrt(p * (1 - p) / n)),
        "p_interval": [low, high],
        "p_interval_level": INTERVAL,
        "toys": n,
        "n_failed": n_failed,
        "n_ge": n_ge,
        "method": "toys of all hypotheses, with shared events, correlated errors and simulation",
        "gross_vitells": {
            "u0": LEVEL,
            "crossings": mean,
            "error": error,
            "p": min(gross_vitells(z0, LEVEL, mean), 1.0),
            "toys": n,
        },
        "thresholds": [
            {
                "z": z,
                "p": tail(z)[1],
                "error": float(np.sqrt(max(tail(z)[0], 1) * (1 - tail(z)[0] / n)) / n),
                "gross_vitells": gross_vitells(z, LEVEL, mean),
            }
            for z in THRESHOLDS
        ],
    }
