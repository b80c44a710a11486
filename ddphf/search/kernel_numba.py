"""The largest window of many fields by loops that numba compiles, 128 fields side by side."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.search.kernel_numpy import Kernel, sum_from_lower_edges
from ddphf.search.lines import LANES, scan_lines
from ddphf.search.table import WindowTable

__all__ = ["LineKernel"]


@dataclass(frozen=True)
class _Plan:
    """Windows line by line, as `scan_lines` takes them."""

    corners: AnyArray
    signs: AnyArray
    group: AnyArray
    first: AnyArray
    widths: AnyArray
    offsets: AnyArray


class LineKernel(Kernel):
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
            prefix = sum_from_lower_edges(some, self.boxes.shape, len(self.boxes.shape) - 1)
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
