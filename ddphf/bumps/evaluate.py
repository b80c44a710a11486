"""How well splines or the network tell what a known background would: spectra drawn and scanned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.binning import Binning
from ddphf.bumps.evaluation_tables import QUIET, Row, summarize
from ddphf.bumps.generator import SETS, Sample, draw_sample
from ddphf.bumps.hunt import LEAST_RHO, hunt
from ddphf.bumps.known import fit_signal
from ddphf.bumps.net_inputs import NetInputs
from ddphf.bumps.network import Network
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import UsageError
from ddphf.results.evaluation import BumpsEvaluation
from ddphf.results.provenance import make_provenance

__all__ = ["evaluate_bumps"]

TOGETHER = 10
"""Spectra of a block."""


@dataclass(frozen=True)
class Drawn:
    """Draws and scans numbered spectra.

    Attributes:
        which: Set of functions.
        signals: The first of them have a bump.
        seed: Of the evaluation.
        widths: Smallest and largest of a bump, in bins; between them uniform in the logarithm.
        network: That estimates, in the place of splines.
    """

    which: str
    signals: int
    seed: int
    widths: tuple[float, float]
    network: Network | None = None

    def __call__(self, numbers: Sequence[int]) -> list[Row]:
        """Return a row of each spectrum."""
        return [self._row(number) for number in numbers]

    def _row(self, number: int) -> Row:
        part = list(SETS).index(self.which) * (1 << 32) + number
        signal, rng = number < self.signals, generator(self.seed, part)
        low, high = self.widths
        width = low if low == high else float(np.exp(rng.uniform(np.log(low), np.log(high))))
        sample = draw_sample(rng, self.which, signal=signal, width=width)
        n = len(sample.counts)
        binning = Binning(np.arange(n + 1.0), np.full(n, width))
        known = fit_signal(sample.counts, sample.background, binning.templates).z
        most = float(known[binning.inner].max())
        if self.network is not None:
            inputs = NetInputs(binning.edges, binning.widths)
            estimate = self.network.z(inputs, sample.counts[None])[0]
            largest = float(estimate[binning.inner].max())
            told = _told(sample, known, estimate)
            return Row(sample.family, signal, told, True, (largest, most, largest),
                       _about(sample), True, 0)  # fmt: skip
        (found,) = hunt(binning, sample.counts[None], best_alone=not signal)
        stated = sample.at is not None and bool(found.rho[sample.at] >= LEAST_RHO)
        best = QUIET if found.best is None else found.z
        return Row(
            sample.family, signal, _told(sample, known, found.z_known), stated,
            (found.ranks(binning.inner), most, best), _about(sample),
            found.deviance[2] >= 1e-3, found.failed,
        )  # fmt: skip


def _told(sample: Sample, known: Array, estimate: Array) -> tuple[float, float]:
    return (
        (0.0, 0.0) if sample.at is None else (float(known[sample.at]), float(estimate[sample.at]))
    )


def _about(sample: Sample) -> tuple[float, ...]:
    n, at = len(sample.counts), len(sample.counts) // 2 if sample.at is None else sample.at
    return sample.z, float(sample.background[at]), at / n, float(n), sample.width


def evaluate_bumps(
    sets: Sequence[str],
    *,
    signals: int,
    backgrounds: int,
    widths: tuple[float, float] = (1.5, 1.5),
    network: Network | None = None,
    seed: int = 0,
    work: Work = HERE,
) -> BumpsEvaluation:
    """Draw spectra of each set, with and without bumps, and say what is made of them.

    Args:
        sets: Of ``generator.SETS``.
        signals: Spectra with a bump, of each set.
        backgrounds: Without one.
        widths: Smallest and largest of a bump, in bins.
        network: That estimates, in the place of splines.
        seed: Of all that is drawn; the same spectra whoever scans them.
        work: Where it is done.

    Raises:
        UsageError: The network was not trained with such widths.
    """
    if network is not None:
        low, high = network.widths
        if not low <= widths[0] <= widths[1] <= high:
            raise UsageError(
                f"--width-bins: the network was trained for bumps of {low:g} to {high:g} bins"
            )
    found = []
    for which in sets:
        work.say(f"{which}: {signals} spectra with a bump, {backgrounds} without")
        total = signals + backgrounds
        blocks = [range(i, min(i + TOGETHER, total)) for i in range(0, total, TOGETHER)]
        settings = {"which": which, "signals": signals, "seed": seed, "widths": widths,
                    "network": network}  # fmt: skip
        task = Task(f"{__name__}:Drawn", settings, begin=ONE_BLAS_THREAD)
        with one_blas_thread():
            pieces = list(
                run_blocks(task, [list(b) for b in blocks], runner=work.runner, progress=work.count)
            )
        found.append(summarize(which, [row for piece in pieces for row in piece]))
    return BumpsEvaluation(
        sets=tuple(found), method="spline" if network is None else "network",
        width_bins=float(np.sqrt(widths[0] * widths[1])), width_range=widths, seed=seed,
        network=None if network is None else network.describe(), provenance=make_provenance(),
    )  # fmt: skip
