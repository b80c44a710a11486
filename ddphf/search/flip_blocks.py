"""Numbered blocks of flips: what each gives, on whatever worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, IntArray
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import SEARCH
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.search.flips import FLIPS
from ddphf.search.latest import Latest
from ddphf.search.lines import LANES
from ddphf.search.many import ManyHistograms, MemberScans

__all__ = ["FlipBlocks", "LargestWindows", "draw_flips", "flip_maxima", "run_flips"]

MOST_NUMBERS = 1 << 28
"""Of 4 bytes that are kept, one of each histogram and flip: 1 GB."""


@dataclass(frozen=True)
class FlipBlocks(ABC):
    """Base of what gives a number of some members in each flip of a block.

    Attributes:
        many: The histograms.
        seed: Of the search.
        blocks: How many there are.
    """

    many: ManyHistograms
    seed: int
    blocks: int

    def __call__(self, items: IntArray) -> AnyArray:
        """Return the numbers, float32, shape (items, LANES).

        Args:
            items: Member times blocks plus block, of members of one batch and of one block.
        """
        return self.values((items // self.blocks).tolist(), int(items[0] % self.blocks))

    @abstractmethod
    def values(self, members: list[int], block: int) -> AnyArray:
        """Return the numbers of members of one batch."""


@dataclass(frozen=True)
class LargestWindows(FlipBlocks):
    """The largest statistic of some members in a block of flips."""

    _scans: Latest[MemberScans] = field(default_factory=Latest, repr=False, compare=False)

    def values(self, members: list[int], block: int) -> AnyArray:
        """Return the maxima."""
        many, observable = self.many, self.many.members[members[0]].observable
        scans = self._scans((observable, members[0]), lambda: MemberScans(many, observable))
        selections = [many.members[m].selection for m in members]
        differences, pulls = scans.events.flip(self.seed, block, selections)
        out = np.empty((len(members), LANES), dtype=np.float32)
        for row, member in enumerate(members):
            terms = scans.events.terms(selections[row], differences[row], pulls)
            out[row] = scans.largest(member, terms)
        return out


def flip_maxima(
    many: ManyHistograms,
    flips: int,
    *,
    seed: int,
    work: Work = HERE,
) -> AnyArray:
    """Return the largest statistic of every member in every flip, float32 (members, flips).

    Flip i of a seed is the same whatever their number, and in each row of the table.

    Args:
        many: The histograms.
        flips: How many.
        seed: Of the search.
        work: Where blocks are done, in this thread by default; counts scanned histograms.

    Raises:
        InputError: No flip is asked for.
    """
    return draw_flips(LargestWindows, {"many": many, "seed": seed}, flips, work)


def draw_flips(
    kind: type,
    settings: Mapping[str, object],
    flips: int,
    work: Work = HERE,
) -> AnyArray:
    """Return a number of every member in every flip, float32 (members, flips).

    Args:
        kind: What is drawn, a class such as :class:`LargestWindows`.
        settings: Its fields but ``blocks``; ``many`` is one of them.
        flips: How many.
        work: Where blocks are done, in this thread by default; counts histograms.

    Raises:
        InputError: No flip is asked for, or more than memory is meant for.
    """
    if flips < 1:
        raise InputError(f"label flips: {flips}, expected one or more")
    many = settings["many"]
    assert isinstance(many, ManyHistograms)
    if flips * len(many.members) > MOST_NUMBERS:
        raise InputError(
            f"label flips: {flips} of {len(many.members)} histograms are too many to keep; ask for "
            f"{MOST_NUMBERS // len(many.members)} or fewer: small p-values are found by flips "
            "aimed at windows, not by many"
        )
    blocks = -(-flips // LANES)
    SEARCH.start(FLIPS, blocks)  # has room for them
    # All blocks of a batch before the next one: what they share is made once by each worker.
    units = [np.array(batch) * blocks + i for batch in many.batches() for i in range(blocks)]
    task = Task(
        f"{kind.__module__}:{kind.__name__}", {**settings, "blocks": blocks}, ONE_BLAS_THREAD
    )
    out = np.empty((len(many.members), blocks, LANES), dtype=np.float32)
    with one_blas_thread():
        for piece, items in zip(run_flips(task, units, work), units, strict=True):
            out[items // blocks, items % blocks] = piece
    return out.reshape(len(many.members), -1)[:, :flips]


def run_flips(task: Task, blocks: Sequence[Any], work: Work) -> Generator[Any, None, None]:
    """Do blocks of flips: :func:`~ddphf.compute.blocks.run_blocks`, in this thread by default.

    Two blocks of a large table at a time are .2 GB more, and even one on a thread of its own takes
    .15 GB more, since the allocator has another heap for it.

    Args:
        task: What is done.
        blocks: What each call of it takes.
        work: Where; in this thread by default, a block when its piece is asked for; counts items.

    Yields:
        The pieces, in the order of the blocks.
    """
    if work.runner is not None:
        yield from run_blocks(task, blocks, runner=work.runner, progress=work.count)
        return
    function, done, total = task.make(), 0, sum(int(np.size(block)) for block in blocks)
    for block in blocks:
        piece, done = function(block), done + int(np.size(block))
        if work.count is not None:
            work.count(done, total)
        yield piece
