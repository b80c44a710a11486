"""How a search looks, whatever it searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ddphf.compute.work import HERE, Work
from ddphf.search.boxes import MAX_WINDOWS
from ddphf.search.scan import Direction, check_direction

__all__ = ["Look", "Looking"]


class Looking(TypedDict, total=False):
    """The keywords of every search: the fields of :class:`Look`, which are its defaults."""

    windows: str
    direction: str
    max_windows: int
    kernel: str
    seed: int
    work: Work


@dataclass(frozen=True)
class Look:
    """What a search was asked.

    Attributes:
        windows: See :func:`~ddphf.search.boxes.make_boxes`.
        direction: ``excess`` of the tested sample, ``deficit`` or ``both``.
        max_windows: More of one histogram are refused.
        kernel: ``auto``, ``numba`` or ``numpy``.
        seed: Of everything drawn.
        work: Where fields or flips are drawn and scanned, and who hears of it.
    """

    windows: str = "all"
    direction: str = "excess"
    max_windows: int = MAX_WINDOWS
    kernel: str = "auto"
    seed: int = 0
    work: Work = HERE

    @property
    def wanted(self) -> Direction:
        """The direction.

        Raises:
            InputError: It is unknown.
        """
        return check_direction(self.direction)
