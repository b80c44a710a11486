"""Largest window of many fields at once: numpy, or compiled by numba where that is installed."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.exceptions import InputError
from ddphf.search.lines import LANES, scan_lines
from ddphf.search.scan import Direction
from ddphf.search.table import WindowTable

__all__ = ["KERNELS", "Scanner", "choose_kernel"]

KERNELS = ("numba", "numpy")


def choose_kernel(name: str = "auto") -> str:
    """Return the kernel that will run: ``numba`` where it is installed, otherwise ``numpy``.

    Raises:
        InputError: The name is unknown, or numba is asked for and not installed.

    Example:
        >>> choose_kernel("numpy")
        'numpy'
    """
    there = importlib.util.find_spec("numba") is not None
    if name == "auto":
        return "numba" if there else "numpy"
    if name not in KERNELS:
        raise InputError(f"kernel '{name}' is unknown; expected auto, {' or '.join(KERNELS)}")
    if name == "numba" and not there:
        raise InputError("kernel 'numba': not installed; pip install 'ddphf[fast]', or use numpy")
    return name


class Scanner:
    """Scans fields for their largest window.

    Fields are float32 arrays of shape (bins, n): the bins flat, the fields innermost. Z differs
    from double precision by about 1e-5.

    Attributes:
        table: The windows.
        direction: ``excess`` takes the largest Z, ``deficit`` of -Z, ``both`` of both.
        kernel: ``numba`` or ``numpy``.
    """

    def __init__(
        self, table: WindowTable, direction: Direction = "excess", kernel: str = "auto"
    ) -> None:
        self.table = table
        self.direction = direction
        self.kernel = choose_kernel(kernel)
        self._scan: _Scan = (_Lines if self.kernel == "numba" else _Boxes)(table)

    def __reduce__(self) -> tuple[type[Scanner], tuple[WindowTable, Direction, str]]:
        """Go to another process as what it is made of: a kernel is compiled there."""
        return Scanner, (self.table, self.direction, self.kernel)

    def prepare(self, scales: Array) -> AnyArray:
        """Return scales of another histogram with the same windows, as scans take them.

        What is the same for all histograms, the places of the windows, is made once: by the hundred
        that takes longer than a scan, and more memory than the scales.

        Args:
            scales: Of every window by its number, NaN of those left out, (windows,).
        """
        return self._scan.arrange(scales.astype(np.float32))

    def largest(self, fields: AnyArray, scales: AnyArray | None = None) -> AnyArray:
        """Return the largest Z of each field, float32, shape (n,).

        Args:
            fields: Shape (bins, n).
            scales: From `prepare`; those of the table where there are none.

        Example:
            >>> from ddphf.search.boxes import make_boxes
            >>> from ddphf.search.table import make_table
            >>> scanner = Scanner(make_table(make_boxes((3,))), kernel="numpy")
            >>> scanner.largest(np.array([[1.0], [1.0], [-1.0]], dtype=np.float32)).round(4)
            array([1.4142], dtype=float32)
        """
        nothing = np.zeros(len(self.table.boxes.sizes))
        return self._run(fields, np.inf, nothing, scales)[0]

    def above(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> Array:
        """Return the sum of weights of each field's windows with Z >= z, shape (n,).

        Args:
            fields: Shape (bins, n).
            z: The threshold; for ``both`` it is |Z| that reaches it.
            weights: Of a window of each size, shape (sizes,).
            scales: From `prepare`; those of the table where there are none.
        """
        return self._run(fields, z, weights, scales)[1]

    def _run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None
    ) -> tuple[AnyArray, Array]:
        found = []
        if self.direction != "deficit":
            found.append(self._scan.run(fields, z, weights, scales))
        if self.direction != "excess":
            found.append(self._scan.run(-fields, z, weights, scales))
        best, above = found[0]
        for other, more in found[1:]:
            best, above = np.maximum(best, other), above + more
        return best, above


class _Scan:
    """One kernel on one set of windows."""

    def __init__(self, table: WindowTable) -> None:
        self.boxes = table.boxes
        self.scales = table.size_scales.astype(np.float32)
        own = table.scales
        self.table = None if own is None else self.arrange(own.astype(np.float32))

    def arrange(self, scales: AnyArray) -> AnyArray:
        """Return scales by the windows' numbers in the order of the kernel."""
        return scales

    def run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> tuple[AnyArray, Array]:
        raise NotImplementedError


class _Boxes(_Scan):
    """All positions of one size at once, by numpy."""

    def run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> tuple[AnyArray, Array]:
        """Return the largest Z of each field, and the weight at or above z."""
        table = self.table if scales is None else scales
        n = fields.shape[1]
        prefix = _prefix(fields, self.boxes.shape, len(self.boxes.shape))
        space = np.empty(fields.size, dtype=np.float32)
        best, above = np.full(n, -np.inf, dtype=np.float32), np.zeros(n)
        for kind, upper, lower in self._differences(prefix):
            out = space[: upper.size].reshape(upper.shape)
            np.subtract(upper, lower, out=out)
            out = out.reshape(-1, n)
            if table is None:
                high = np.maximum.reduce(out, axis=0)
                high *= self.scales[kind]
            else:
                out *= table[self.boxes.first[kind] : self.boxes.first[kind + 1], None]
                high = np.fmax.reduce(out, axis=0)  # NaN is left out
                high[np.isnan(high)] = -np.inf
            np.maximum(best, high, out=best)
            lanes = np.flatnonzero(high >= z)
            if len(lanes):
                values = out[:, lanes]
                if table is None:
                    values = values * self.scales[kind]
                above[lanes] += weights[kind] * np.count_nonzero(values >= z, axis=0)
        return best, above

    def _differences(self, prefix: AnyArray) -> Iterator[tuple[int, AnyArray, AnyArray]]:
        """Yield (number of size, upper, lower): their difference is the sum over its windows."""
        axes, sizes = len(self.boxes.shape), self.boxes.sizes
        stack = [prefix]
        done: tuple[int, ...] = ()
        for kind, size in enumerate(sizes):  # in lexical order: what it shares with the last stays
            same = 0
            while same < min(len(done), axes - 1) and done[same] == size[same]:
                same += 1
            del stack[same + 1 :]
            for axis in range(same, axes - 1):
                upper, lower = _apart(stack[-1], size[axis], axis)
                stack.append(upper - lower)
            done = size
            yield (kind, *_apart(stack[-1], size[-1], axes - 1))


def _apart(prefix: AnyArray, k: int, axis: int) -> tuple[AnyArray, AnyArray]:
    """Return the sums up to k bins further along an axis, and those up to each bin."""
    n = prefix.shape[axis]
    before = (slice(None),) * axis
    return prefix[(*before, slice(k, n))], prefix[(*before, slice(0, n - k))]


def _prefix(fields: AnyArray, shape: tuple[int, ...], axes: int) -> AnyArray:
    """Return sums from the lower edges along the first axes, with a 0 before each; float32."""
    padded = tuple(n + 1 if axis < axes else n for axis, n in enumerate(shape))
    sums = np.zeros((*padded, fields.shape[1]), dtype=np.float32)
    inner = (slice(1, None),) * axes
    sums[inner] = fields.reshape(*shape, -1)
    for axis in range(axes):
        along = np.moveaxis(sums, axis, 0)
        for i in range(1, len(along)):  # numpy's cumsum does not run along the fields
            along[i] += along[i - 1]
    return sums


@dataclass(frozen=True)
class _Plan:
    """Windows line by line, as `scan_lines` takes them."""

    corners: AnyArray
    signs: AnyArray
    group: AnyArray
    first: AnyArray
    widths: AnyArray
    offsets: AnyArray


class _Lines(_Scan):
    """Lines of 128 fields side by side, compiled."""

    def __init__(self, table: WindowTable) -> None:
        super().__init__(table)
        self.plan = self._make_plan()
        self.scan = _compile()

    def arrange(self, scales: AnyArray) -> AnyArray:
        """Return scales by the windows' numbers in the order of the kernel: line by line."""
        return np.asarray(scales[self._order])

    @cached_property
    def _order(self) -> IntArray:
        """Numbers of the windows, line by line and width by width."""
        first, last = self.boxes.first, self.boxes.shape[-1]
        parts = []
        kinds = enumerate(self.boxes.sizes)
        for _, some in itertools.groupby(kinds, key=lambda kind: kind[1][:-1]):
            rows = [
                np.arange(first[i], first[i + 1]).reshape(-1, last + 1 - size[-1])
                for i, size in some
            ]
            parts.append(np.concatenate(rows, axis=1).ravel())
        return np.concatenate(parts)

    def _make_plan(self) -> _Plan:
        shape, sizes = self.boxes.shape, self.boxes.sizes
        outer = tuple(n + 1 for n in shape[:-1])
        corners: list[AnyArray] = []
        group: list[AnyArray] = []
        per_line: list[AnyArray] = []
        first = [0]
        choices = list(itertools.product((1, 0), repeat=len(outer)))
        for g, (size, some) in enumerate(itertools.groupby(sizes, key=lambda s: s[:-1])):
            kinds = range(first[-1], first[-1] + len(list(some)))
            first.append(kinds.stop)
            places = [np.arange(n - k) for n, k in zip(outer, size, strict=True)]
            every = list(itertools.product(*places))
            starts = np.array(every, dtype=np.int64).reshape(len(every), len(outer))
            points = [
                np.ravel_multi_index(tuple((starts + np.array(c) * np.array(size)).T), outer)
                if outer
                else np.zeros(1, dtype=np.int64)
                for c in choices
            ]
            corners.append(np.stack(points, axis=1))
            lines = len(starts)
            group.append(np.full(lines, g))
            windows = sum(shape[-1] + 1 - sizes[i][-1] for i in kinds)
            per_line.append(np.full(lines, windows))
        counts = np.concatenate(per_line)
        return _Plan(
            np.concatenate(corners).astype(np.int64),
            np.array([(-1.0) ** (len(c) - sum(c)) for c in choices], dtype=np.float32),
            np.concatenate(group).astype(np.int64),
            np.array(first, dtype=np.int64),
            np.array([size[-1] for size in sizes], dtype=np.int64),
            np.cumsum(counts, dtype=np.int64) - counts,
        )

    def run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> tuple[AnyArray, Array]:
        """Return the largest Z of each field, and the weight at or above z."""
        n, plan = fields.shape[1], self.plan
        table = self.table if scales is None else scales
        table = np.zeros(0, dtype=np.float32) if table is None else table
        best = np.full(-(-n // LANES) * LANES, -np.inf, dtype=np.float32)
        above = np.zeros(len(best))
        for start in range(0, n, LANES):
            some = fields[:, start : start + LANES]
            if some.shape[1] < LANES:
                some = np.pad(some, ((0, 0), (0, LANES - some.shape[1])))
            prefix = _prefix(some, self.boxes.shape, len(self.boxes.shape) - 1)
            lanes = slice(start, start + LANES)
            self.scan(
                prefix.reshape(-1, self.boxes.shape[-1], LANES), plan.corners, plan.signs,
                plan.group, plan.first, plan.widths, self.scales, table, plan.offsets,
                np.float32(z), weights, best[lanes], above[lanes],
            )  # fmt: skip
        best[best < -1e29] = -np.inf
        return best[:n], above[:n]


@cache
def _compile() -> Callable[..., None]:
    """Return the compiled loops; kept in the user's cache, for seconds of compilation each time."""
    numba = cast("Any", importlib.import_module("numba"))
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    before = numba.config.CACHE_DIR
    try:
        (home / "ddphf" / "numba").mkdir(parents=True, exist_ok=True)
        # Else numba writes beside the sources. It asks for the place here, once.
        numba.config.CACHE_DIR = str(home / "ddphf" / "numba")
        return cast("Callable[..., None]", numba.njit(nogil=True, cache=True)(scan_lines))
    except (OSError, RuntimeError):  # nowhere to write: a cache is no reason to fail
        return cast("Callable[..., None]", numba.njit(nogil=True)(scan_lines))
    finally:
        numba.config.CACHE_DIR = before
