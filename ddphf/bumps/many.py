"""Numbered blocks of spectra: those of one binning are scanned together, on whatever worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.binning import Binning
from ddphf.bumps.hunt import Hunt, hunt
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work

__all__ = ["hunt_all"]

TOGETHER = 8
"""Spectra of a block: more fill the caches, and gain nothing."""


@dataclass(frozen=True, eq=False)
class Scans:
    """Scans a block of spectra.

    Attributes:
        counts: Of each spectrum.
        shared: Number of its binning.
        binnings: Edges and widths of each.
    """

    counts: Sequence[Array]
    shared: Sequence[int]
    binnings: Sequence[tuple[Array, Array]]

    def __call__(self, block: list[int]) -> list[Hunt]:
        """Return what was found in the spectra of a block, which have one binning."""
        binning = Binning(*self.binnings[self.shared[block[0]]])
        return hunt(binning, np.stack([self.counts[i] for i in block]))


def hunt_all(
    binnings: Sequence[Binning],
    counts: Sequence[Array],
    *,
    work: Work = HERE,
) -> list[Hunt]:
    """Hunt for bumps in many spectra.

    Args:
        binnings: Of each.
        counts: Of each.
        work: Where it is done; on threads by default; counts spectra.
    """
    known: dict[bytes, int] = {}
    shared: list[int] = []
    different: list[tuple[Array, Array]] = []
    for binning in binnings:
        key = binning.edges.tobytes() + b"|" + binning.widths.tobytes()
        if key not in known:
            known[key] = len(different)
            different.append((binning.edges, binning.widths))
        shared.append(known[key])
    blocks = list(_blocks(shared))
    task = Task(
        f"{__name__}:Scans",
        {"counts": list(counts), "shared": shared, "binnings": different},
        begin=ONE_BLAS_THREAD,
    )
    with one_blas_thread():
        pieces = run_blocks(task, blocks, runner=work.runner, progress=work.count)
        found = {
            i: one
            for block, piece in zip(blocks, pieces, strict=True)
            for i, one in zip(block, piece, strict=True)
        }
    return [found[i] for i in range(len(counts))]


def _blocks(shared: list[int]) -> Iterator[list[int]]:
    order = np.argsort(shared, kind="stable").tolist()
    block: list[int] = []
    for i in order:
        if block and (len(block) == TOGETHER or shared[i] != shared[block[0]]):
            yield block
            block = []
        block.append(i)
    if block:
        yield block
