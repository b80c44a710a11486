"""Numbered blocks of fields without a signal: what each gives, on whatever worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.chunks import chunks_of
from ddphf.compute.streams import SEARCH, block_generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.search.kernels import Scanner
from ddphf.search.lines import LANES
from ddphf.search.nulls import Null, Targets

__all__ = ["AIMED", "COUNTED", "Aimed", "Counted", "Kind", "Maxima", "draw_samples"]

COUNTED, AIMED = 0, 1
"""Ensembles of blocks: plain fields, and fields aimed at a threshold."""

CHUNK = 4
"""Blocks scanned together: numpy is fastest with 512 fields side by side."""


@dataclass(frozen=True)
class Maxima:
    """The largest statistic of plain fields.

    Called with numbers of blocks, it returns a number per field, in their order.

    Attributes:
        null: Law of the fields.
        scanner: Of the same windows.
        seed: Of the draws.
    """

    null: Null
    scanner: Scanner
    seed: int

    def __call__(self, blocks: IntArray) -> AnyArray:
        """Return the maxima, float32, shape (n * LANES,)."""
        fields = [self.null.plain(rng) for rng in _generators(COUNTED, self.seed, blocks)]
        return self.scanner.largest(_side_by_side(fields))


@dataclass(frozen=True)
class Counted:
    """Whether the largest statistic of plain fields reaches a threshold: 1 or 0.

    Attributes:
        null: Law of the fields.
        scanner: Of the same windows.
        seed: Of the draws.
        cut: The threshold, as a lattice needs it.
    """

    null: Null
    scanner: Scanner
    seed: int
    cut: float

    def __call__(self, blocks: IntArray) -> Array:
        """Return 1 or 0 per field, shape (n * LANES,)."""
        largest = Maxima(self.null, self.scanner, self.seed)(blocks)
        return np.asarray(largest >= self.cut, dtype=float)


@dataclass(frozen=True)
class Aimed:
    """Samples of p by fields in which one window was made to reach the threshold.

    Attributes:
        null: Law of the fields.
        scanner: Of the same windows.
        seed: Of the draws.
        cut: The threshold, as a lattice needs it.
        threshold: The same, as asked for.
        targets: Windows that are aimed at.
        log_scale: Logarithm of what the samples are relative to: Phi(-z).
    """

    null: Null
    scanner: Scanner
    seed: int
    cut: float
    threshold: float
    targets: Targets
    log_scale: float

    def __call__(self, blocks: IntArray) -> Array:
        """Return a sample per field, of mean p relative to the scale, shape (n * LANES,)."""
        if not self.targets.count:
            return np.zeros(len(blocks) * LANES)
        direction = self.scanner.direction
        drawn = []
        for rng in _generators(AIMED, self.seed, blocks):
            signs = np.ones(LANES)
            if direction == "both":
                signs = np.where(rng.random(LANES) < 0.5, 1.0, -1.0)
            elif direction == "deficit":
                signs = -signs
            drawn.append(self.null.tilted(rng, self.threshold, self.targets, signs))
        fields = _side_by_side([d.fields for d in drawn])
        above = self.scanner.above(fields, self.cut, self.targets.weights)
        numbers = np.concatenate([d.numbers for d in drawn])
        size = np.searchsorted(self.null.table.boxes.first, numbers, side="right") - 1
        # The window that was aimed at is one of them, whatever single precision makes of it.
        above = np.maximum(above, self.targets.weights[size])
        if direction == "both":
            above = above / 2  # each window is aimed at in both directions
        factor = np.exp(np.concatenate([d.log_factor for d in drawn]) - self.log_scale)
        reached = np.concatenate([d.z for d in drawn]) >= self.cut
        return np.asarray(np.where(reached, factor / above, 0.0))


Kind = type[Maxima] | type[Counted] | type[Aimed]


def draw_samples(
    kind: Kind,
    settings: Mapping[str, object],
    first: int,
    last: int,
    *,
    work: Work = HERE,
) -> AnyArray:
    """Return what numbered blocks give, in their order, shape ((last - first) * LANES,).

    Args:
        kind: What is drawn.
        settings: Its fields.
        first: First block.
        last: Block behind the last one.
        work: Where blocks are done, on threads by default; counts fields.

    Raises:
        UsageError: There are not so many blocks.
    """
    SEARCH.start(AIMED if kind is Aimed else COUNTED, last)  # has room for them
    blocks = [first + chunk for chunk in chunks_of(last - first, CHUNK)]
    task = Task(f"{__name__}:{kind.__name__}", settings, begin=ONE_BLAS_THREAD)
    here = work.of(LANES)
    with one_blas_thread():
        return np.concatenate([*run_blocks(task, blocks, runner=here.runner, progress=here.count)])


def _generators(kind: int, seed: int, blocks: IntArray) -> list[np.random.Generator]:
    start = SEARCH.start(kind, int(blocks[-1]) + 1)
    return [block_generator(seed, start + int(i)) for i in blocks]


def _side_by_side(blocks: Sequence[AnyArray]) -> AnyArray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
