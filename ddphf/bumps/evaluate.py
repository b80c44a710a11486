"""How well the splines tell what a known background would: Delta Z, AUC, false positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, Mask, Spec
from ddphf.bumps.binning import Binning
from ddphf.bumps.generator import SETS, Sample, draw_sample
from ddphf.bumps.hunt import LEAST_RHO, hunt
from ddphf.bumps.known import fit_signal
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.results.evaluation import BumpsEvaluation
from ddphf.results.provenance import make_provenance
from ddphf.statistics.roc import make_roc
from ddphf.statistics.tails import tail_interval

__all__ = ["evaluate_splines"]

TOGETHER = 10
"""Spectra of a block."""

LOUD = (3.0, 4.0, 5.0)
"""Z at which false positives are counted."""

QUIET = -9.0
"""What ranks a spectrum of which no significance is stated: below all others."""

BINNED: dict[str, tuple[float, ...]] = {
    "z": (1.0, 3.0, 5.0, 8.0, 12.0, 20.0),
    "counts": (10.0, 100.0, 1e3, 1e4, 1e5),
    "place": (0.0, 0.33, 0.66, 1.0),
    "bins": (30.0, 50.0, 75.0, 101.0),
}
"""Against what Delta Z is told: significance, background in the bin of the signal, its place from
0 to 1, and number of bins."""


@dataclass(frozen=True)
class Row:
    """What is kept of one spectrum.

    Attributes:
        family: Of its background.
        signal: Whether it has a bump.
        z: Of the known background in the bin of the bump, and what was estimated; NaN where rho is
            too small.
        largest: Estimated and known z of the best bin.
        about: Values of :data:`BINNED`.
        described: Whether the background describes the counts.
        failed: Fits without a certificate.
    """

    family: str
    signal: bool
    z: tuple[float, float]
    largest: tuple[float, float]
    about: tuple[float, ...]
    described: bool
    failed: int


@dataclass(frozen=True)
class Drawn:
    """Draws and scans numbered spectra.

    Attributes:
        which: Set of functions.
        signals: The first of them have a bump.
        seed: Of the evaluation.
        width: Of a bump, in bins.
    """

    which: str
    signals: int
    seed: int
    width: float

    def __call__(self, numbers: Sequence[int]) -> list[Row]:
        """Return a row of each spectrum."""
        return [self._row(number) for number in numbers]

    def _row(self, number: int) -> Row:
        part = list(SETS).index(self.which) * (1 << 32) + number
        signal = number < self.signals
        sample = draw_sample(
            generator(self.seed, part), self.which, signal=signal, width=self.width
        )
        n = len(sample.counts)
        binning = Binning(np.arange(n + 1.0), np.full(n, self.width))
        (found,) = hunt(binning, sample.counts[None], best_alone=not signal)
        known = fit_signal(sample.counts, sample.background, binning.templates).z
        best = QUIET if found.best is None else found.z
        return Row(
            sample.family, signal, _told(sample, known, found.z_known, found.rho),
            (best, float(known[binning.inner].max())), _about(sample),
            found.deviance[2] >= 1e-3, found.failed,
        )  # fmt: skip


def _told(sample: Sample, known: Array, estimate: Array, rho: Array) -> tuple[float, float]:
    if sample.at is None:
        return 0.0, 0.0
    stated = rho[sample.at] >= LEAST_RHO
    return float(known[sample.at]), float(estimate[sample.at]) if stated else np.nan


def _about(sample: Sample) -> tuple[float, ...]:
    n, at = len(sample.counts), len(sample.counts) // 2 if sample.at is None else sample.at
    return sample.z, float(sample.background[at]), at / n, float(n)


def evaluate_splines(
    sets: Sequence[str],
    *,
    signals: int,
    backgrounds: int,
    width: float = 1.5,
    seed: int = 0,
    work: Work = HERE,
) -> BumpsEvaluation:
    """Draw spectra of each set, with and without bumps, and say what the splines make of them.

    Args:
        sets: Of ``generator.SETS``.
        signals: Spectra with a bump, of each set.
        backgrounds: Without one.
        width: Of a bump, in bins.
        seed: Of all that is drawn.
        work: Where it is done.
    """
    found = []
    for which in sets:
        work.say(f"{which}: {signals} spectra with a bump, {backgrounds} without")
        total = signals + backgrounds
        blocks = [range(i, min(i + TOGETHER, total)) for i in range(0, total, TOGETHER)]
        settings = {"which": which, "signals": signals, "seed": seed, "width": width}
        task = Task(f"{__name__}:Drawn", settings, begin=ONE_BLAS_THREAD)
        with one_blas_thread():
            pieces = list(
                run_blocks(task, [list(b) for b in blocks], runner=work.runner, progress=work.count)
            )
        found.append(_summarize(which, [row for piece in pieces for row in piece]))
    return BumpsEvaluation(
        sets=tuple(found), method="spline", width_bins=width, seed=seed,
        provenance=make_provenance(),
    )  # fmt: skip


def _summarize(which: str, rows: list[Row]) -> Spec:
    with_bump = [row for row in rows if row.signal]
    without = [row for row in rows if not row.signal]
    z = np.array([row.z for row in with_bump])
    stated = np.isfinite(z[:, 1])
    difference = z[stated, 1] - z[stated, 0]
    largest = np.array([row.largest for row in with_bump])
    quiet = np.array([row.largest for row in without])
    out: Spec = {
        "name": which,
        "signals": len(with_bump),
        "signals_stated": int(stated.sum()),
        "backgrounds": len(without),
        "undescribed": sum(not row.described for row in rows),
        "failed": sum(row.failed for row in rows),
        "delta_z": _spread(difference),
        "auc": None,
        "auc_stated": None,
        "auc_known": None,
        "false_positives": [],
        "against": {},
    }
    if len(with_bump) > 1 and len(without) > 1:
        for key, column, some in (
            ("auc", 0, np.full(len(stated), True)), ("auc_stated", 0, stated),
            ("auc_known", 1, np.full(len(stated), True)),
        ):  # fmt: skip
            if some.sum() > 1:
                roc = make_roc(quiet[:, column], largest[some, column])
                out[key] = {"value": roc.auc, "error": roc.auc_error}
    for level in LOUD if without else ():
        loud = int(np.sum(quiet[:, 0] >= level))
        interval = list(tail_interval(len(without), 0, loud, 0.95))
        rate = loud / len(without)
        out["false_positives"].append({"z": level, "n": loud, "rate": rate, "interval": interval})
    about = np.array([row.about for row in with_bump]).reshape(len(with_bump), len(BINNED))
    for column, (name, edges) in enumerate(BINNED.items()):
        values = about[stated, column]
        out["against"][name] = _table(difference, np.digitize(values, edges[1:-1]), edges)
    out["against"]["family"] = _families([r.family for r in with_bump], stated, difference)
    return out


def _spread(difference: Array) -> Spec:
    """Return median and half of the 16-84 % range, with the error of the median."""
    if len(difference) < 2:
        return {"n": len(difference), "bias": None, "bias_error": None, "half_range": None}
    low, high = np.percentile(difference, [16, 84])
    half = float(high - low) / 2
    return {
        "n": len(difference),
        "bias": float(np.median(difference)),
        "bias_error": float(half * np.sqrt(np.pi / 2 / len(difference))),
        "half_range": half,
    }


def _table(difference: Array, which: Array, edges: tuple[float, ...]) -> list[Spec]:
    return [
        {"low": edges[i], "high": edges[i + 1], **_spread(difference[which == i])}
        for i in range(len(edges) - 1)
    ]


def _families(names: list[str], stated: Mask, difference: Array) -> list[Spec]:
    kept = np.array(names)[stated]
    return [{"family": name, **_spread(difference[kept == name])} for name in sorted(set(names))]
