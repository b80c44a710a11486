"""How long work is done: what every statement hands down to what it calls."""

from __future__ import annotations

from dataclasses import dataclass

from ddphf.compute.blocks import Runner
from ddphf.progress import Count, Stage, silent

__all__ = ["HERE", "Work", "work_of"]


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


HERE = Work()
"""On threads of this process, and nobody hears of it."""


def work_of(progress: Stage | None, count: Count | None, runner: Runner | None = None) -> Work:
    """Return what the keywords of a public function say.

    Example:
        >>> work_of(None, print).count is print
        True
    """
    return Work(silent if progress is None else progress, count, runner)
