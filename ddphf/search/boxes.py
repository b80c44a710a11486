"""Families of windows: boxes of bins of chosen sizes, at every position."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddphf.arrays import IntArray
from ddphf.exceptions import InputError
from ddphf.statistics.windows import Window

__all__ = ["LADDER", "MAX_AXES", "MAX_WINDOWS", "Boxes", "make_boxes"]

MAX_AXES = 4

MAX_WINDOWS = 20_000_000
"""A number of 8 bytes for each is kept: 160 MB."""

LADDER = (1, 2, 3, 4, *(k << i for i in range(1, 30) for k in (3, 4)))
"""Bins along an axis, each step at most 4/3 or 3/2 of the one before."""


@dataclass(frozen=True)
class Boxes:
    """All positions of boxes of some sizes in a histogram.

    Windows are numbered size by size, and within a size by the first bin, last axis fastest.

    Attributes:
        shape: Bins of the histogram along each axis.
        sizes: Bins of the boxes along each axis: each size once, in lexical order.
    """

    shape: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]

    @cached_property
    def first(self) -> IntArray:
        """Number of each size's first window, and behind them the number of all; (sizes + 1,)."""
        counts = [math.prod(self.positions(size)) for size in self.sizes]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @property
    def count(self) -> int:
        """How many windows there are."""
        return int(self.first[-1])

    @cached_property
    def areas(self) -> IntArray:
        """Bins of a window of each size, empty ones too; shape (sizes,)."""
        return np.array([math.prod(size) for size in self.sizes], dtype=np.int64)

    def positions(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return how many positions a size has along each axis."""
        return tuple(n - k + 1 for n, k in zip(self.shape, size, strict=True))

    def corners(self, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Return first bins and sizes of windows by their numbers.

        Args:
            numbers: Shape (n,).

        Returns:
            First bin and number of bins along each axis, each of shape (n, axes).

        Example:
            >>> start, size = make_boxes((3, 4), "2x2").corners(np.array([0, 5]))
            >>> start.tolist(), size.tolist()
            ([[0, 0], [1, 2]], [[2, 2], [2, 2]])
        """
        kind = np.searchsorted(self.first, numbers, side="right") - 1
        size = np.array(self.sizes, dtype=np.int64)[kind]
        left, start = numbers - self.first[kind], np.empty_like(size)
        for axis in reversed(range(len(self.shape))):
            left, start[:, axis] = np.divmod(left, self.shape[axis] - size[:, axis] + 1)
        return start, size

    def window(self, number: int) -> Window:
        """Return one window by its number."""
        start, size = self.corners(np.array([number], dtype=np.int64))
        return Window(tuple(start[0].tolist()), tuple(size[0].tolist()))

    def number(self, window: Window) -> int:
        """Return the number of a window.

        Raises:
            InputError: It lies outside the histogram, or its size is not one of these.

        Example:
            >>> boxes = make_boxes((3, 4), "2x2")
            >>> boxes.number(boxes.window(5))
            5
        """
        window.check(self.shape)
        if window.size not in self.sizes:
            raise InputError(f"window: size {_text(window.size)} is not among those searched")
        kind = self.sizes.index(window.size)
        place = np.ravel_multi_index(window.start, self.positions(window.size))
        return int(self.first[kind]) + int(place)


def make_boxes(
    shape: Sequence[int],
    windows: str | Iterable[Sequence[int]] = "all",
    *,
    max_windows: int = MAX_WINDOWS,
) -> Boxes:
    """Return a family of windows; nothing is allocated before it is known to be small enough.

    Args:
        shape: Bins of the histogram along each of 1 to 4 axes.
        windows: ``all`` sizes, ``ladder`` (1, 2, 3, 4, 6, 8, 12, 16, 24, ... bins along each axis),
            ``squares`` (the same number of bins along every axis), sizes such as ``6x6,8x8``, or
            several of these with commas between; or the sizes themselves. Of the families, sizes
            that do not fit are left out; a size that is named must fit. One that is given twice
            counts once.
        max_windows: More are refused.

    Raises:
        InputError: No window, one outside the histogram, more than ``max_windows``, or a text that
            names no windows.

    Example:
        >>> make_boxes((28, 28)).count, make_boxes((28, 28), "6x6,6x6").count
        (164836, 529)
        >>> make_boxes((28, 28), "squares").count, make_boxes((28, 28), "ladder").count
        (7714, 34225)
    """
    shape = tuple(int(n) for n in shape)
    if not 1 <= len(shape) <= MAX_AXES or min(shape) < 1:
        raise InputError(
            f"window: a histogram of {_text(shape) or 'no'} bins, expected 1 to {MAX_AXES} axes of "
            "one bin or more"
        )
    chosen: list[tuple[int, ...]] = []
    count = 0
    for steps in _products(windows, shape):
        # A product of lists of steps: its windows are counted before its sizes are made.
        count += math.prod(
            sum(n - k + 1 for k in axis) for n, axis in zip(shape, steps, strict=True)
        )
        if count > 2 * max_windows:  # parts may name one size twice
            _refuse(count, max_windows)
        chosen += itertools.product(*steps)
    boxes = Boxes(shape, tuple(sorted(set(chosen))))
    if not boxes.sizes:
        raise InputError("window: no size given; name at least one, such as 6x6, or all")
    if boxes.count > max_windows:
        _refuse(boxes.count, max_windows)
    return boxes


def _refuse(count: int, most: int) -> None:
    raise InputError(
        f"window: {count} windows, more than {most}: take fewer sizes (ladder has one of every few "
        "steps along an axis), coarser bins, or a larger --max-windows"
    )


Steps = list[Sequence[int]]


def _products(windows: str | Iterable[Sequence[int]], shape: tuple[int, ...]) -> Iterable[Steps]:
    """Yield products of steps along the axes, each a part of the wanted sizes."""
    if not isinstance(windows, str):
        for given in windows:
            size = tuple(given)
            if any(k != int(k) for k in size):
                raise InputError(f"window: size {list(size)}, expected whole numbers of bins")
            yield _single(tuple(int(k) for k in size), shape)
        return
    for part in (part.strip() for part in windows.split(",")):
        if part == "all":
            yield [range(1, n + 1) for n in shape]
        elif part == "ladder":
            yield [[k for k in LADDER if k <= n] for n in shape]
        elif part == "squares":
            for k in range(1, min(shape) + 1):
                yield [[k]] * len(shape)
        elif re.fullmatch(r"\d{1,9}(x\d{1,9})*", part):
            yield _single(tuple(int(k) for k in part.split("x")), shape)
        elif part:
            raise InputError(
                f"window: '{part}' names no windows; expected all, ladder, squares, or sizes such "
                f"as {_text((6,) * len(shape))}"
            )


def _single(size: tuple[int, ...], shape: tuple[int, ...]) -> Steps:
    if len(size) != len(shape):
        raise InputError(
            f"window: size {_text(size)} has {len(size)} number(s), and the histogram {len(shape)} "
            f"axes; give sizes such as {_text((1,) * len(shape))}"
        )
    Window((0,) * len(size), size).check(shape)
    return [[k] for k in size]


def _text(size: Sequence[int]) -> str:
    return "x".join(str(k) for k in size)
