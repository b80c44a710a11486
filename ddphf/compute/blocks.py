"""Numbered blocks of work: done anywhere, in any order, handed on in theirs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np

from ddphf.compute.tasks import Submit, Task
from ddphf.compute.threads import Threads
from ddphf.progress import Count

__all__ = ["Runner", "run_blocks"]

AHEAD = 3
"""Bundles of blocks that are handed out, or done and not yet asked for, per worker: enough that
none waits for the slowest one, few enough that a stop is quick and memory is bounded."""

LARGEST = 16
"""Blocks of a bundle: of many more there would be no progress to see."""


class Runner(Protocol):
    """Where blocks are done: :class:`Threads`, or another process of this or another machine.

    Attributes:
        width: How many blocks are done at a time: its workers.
        bundles: How many bundles each worker shall have at least before blocks go together, where
            handing one out costs something; None where it costs nothing.
    """

    width: int
    bundles: int | None

    def prepare(self, task: Task) -> Submit:
        """Return what takes a bundle of blocks and promises their pieces."""


def run_blocks(
    task: Task,
    blocks: Sequence[Any],
    *,
    runner: Runner | None = None,
    progress: Count | None = None,
) -> Generator[Any, None, None]:
    """Do a task's blocks.

    A piece is a function of the task and its block alone, so that no bit depends on the runner, on
    how many workers it has, on their order, or on one that was lost and whose block was done again.

    Args:
        task: What is done.
        blocks: What each call of it takes: a number, or an array of the numbers of its items.
        runner: Where; threads of this process by default.
        progress: Called with (items done, items in all) whenever blocks are done, by whichever
            worker.

    Yields:
        The pieces, in the order of the blocks.

    Raises:
        FitError: A block was lost with its worker again and again.

    Example:
        >>> class Doubling:  # in the place of a Task, which names a function of this package
        ...     def make(self):
        ...         return lambda block: 2 * block
        >>> list(run_blocks(Doubling(), range(3)))
        [0, 2, 4]
    """
    with ExitStack() as stack:
        runner = stack.enter_context(Threads()) if runner is None else runner
        if not len(blocks):
            return
        each = len(blocks) // (runner.bundles * runner.width) if runner.bundles else 1
        each = min(max(each, 1), LARGEST)
        bundles = [list(blocks[i : i + each]) for i in range(0, len(blocks), each)]
        sizes = [sum(int(np.size(block)) for block in bundle) for bundle in bundles]
        submit = runner.prepare(task)
        waiting: dict[Future[list[Any]], int] = {}
        ready: dict[int, list[Any]] = {}
        handed_out = handed_on = done = items = 0
        try:
            while done < len(bundles):
                while handed_out < min(len(bundles), handed_on + AHEAD * runner.width):
                    waiting[submit(bundles[handed_out])] = handed_out
                    handed_out += 1
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    number = waiting.pop(future)
                    ready[number] = future.result()
                    done, items = done + 1, items + sizes[number]
                    while handed_on in ready:
                        yield from ready.pop(handed_on)
                        handed_on += 1
                    if progress is not None:  # last: it may stop the work
                        progress(items, sum(sizes))
        finally:
            for future in waiting:
                future.cancel()
