"""How long work is done: what every statement hands down to what it calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ddphf.compute.blocks import Runner
from ddphf.compute.chunks import told
from ddphf.progress import Count, Stage, silent

__all__ = ["HERE", "Work"]


@dataclass(frozen=True)
class Work:
    """Where long work is done, and who hears how far it is. No bit of a result depends on it.

    Attributes:
        say: Called with a line for each stage.
        count: Called with (done, total) of what takes long in a stage.
        runner: Where it is done; threads of this process where None.
    """

    say: Stage = silent
    count: Count | None = None
    runner: Runner | None = None

    def part(self, before: int, total: int) -> Work:
        """Return the work of one chunk, whose count is that of the whole.

        Args:
            before: Items before this chunk.
            total: Items in all.

        Example:
            >>> Work(count=lambda *said: print(*said)).part(64, 100).count(8, 32)
            72 100
        """
        return replace(self, count=told(self.count, before, total))

    def of(self, size: int) -> Work:
        """Return the work of blocks of so many items, whose count is of blocks.

        Example:
            >>> Work(count=lambda *said: print(*said)).of(128).count(1, 2)
            128 256
        """
        count = self.count
        if count is None:
            return self
        return replace(self, count=lambda done, total: count(done * size, total * size))


HERE = Work()
"""On threads of this process, and nobody hears of it."""
