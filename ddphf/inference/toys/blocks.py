"""Toys in blocks, the unit of all work on them.

A fit's last digits depend on the toys beside it: a compiled block steps until its slowest toy is
done. So blocks lie at fixed toy numbers and are always drawn and fitted whole, with toys that
nobody asked for where need be: toy i has the same bits in any ensemble, on any worker.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.blocks import run_blocks
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.batch import BLOCK
from ddphf.likelihood.cache import CACHE

__all__ = ["FIT_BLOCK", "Block", "draw_block", "map_toys"]

FIT_BLOCK = 256
"""Toys per compiled call; a multiple of DRAW_BLOCK. Memory: about 40 arrays of the data's size."""


@dataclass(frozen=True)
class Block:
    """The toys of a block.

    Attributes:
        data: Shape (size, n_main + n_aux).
        rows: Of the toys that are wanted, rising.
    """

    data: Array = field(repr=False)
    rows: AnyArray

    @property
    def n(self) -> int:
        """How many first rows hold them, in whole batches of fits: they are fitted together."""
        return min(len(self.data), -(-(int(self.rows[-1]) + 1) // BLOCK) * BLOCK)


def draw_block(source: ToySource, seed: int, numbers: AnyArray, size: int = FIT_BLOCK) -> Block:
    """Draw the block of some toys.

    Args:
        source: Where they are drawn from.
        seed: Their seed.
        numbers: Of one block, rising.
        size: Toys per block.
    """
    first = int(numbers[0]) // size * size
    return Block(source.draw_toys(seed, np.arange(first, first + size)), numbers - first)


def map_toys(
    function: str,
    settings: Mapping[str, Any],
    wanted: AnyArray,
    *,
    size: int = FIT_BLOCK,
    work: Work = HERE,
) -> Generator[Any, None, None]:
    """Do something with toys block by block.

    Args:
        function: As that of a :class:`~ddphf.compute.tasks.Task`; its work takes the numbers of
            wanted toys of one block.
        settings: Its settings.
        wanted: Numbers of the toys, rising.
        size: Toys per block.
        work: Where, threads of this process by default; counts toys.

    Yields:
        The pieces in the order of the toys.
    """
    cuts = np.flatnonzero(np.diff(wanted // size)) + 1
    blocks = np.split(wanted, cuts) if len(wanted) else []
    task = Task(function, settings, begin=CACHE)
    yield from run_blocks(task, blocks, runner=work.runner, progress=work.count)
