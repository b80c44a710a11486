"""One scanner for the many histograms of one observable, whose windows have scales of their own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cached_property

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.search.boxes import Boxes
from ddphf.search.kernels import Scanner, _Lines
from ddphf.search.scan import Direction
from ddphf.search.table import make_table

__all__ = ["SharedScanner"]


class SharedScanner(Scanner):
    """Scans fields of several histograms with the same windows.

    What is the same for all, the places of the windows, is made once: for histograms by the hundred
    it takes longer than a scan, and more memory than the scales.
    """

    def __init__(self, boxes: Boxes, direction: Direction, kernel: str = "auto") -> None:
        super().__init__(make_table(boxes), direction, kernel)

    def prepare(self, scales: Array) -> AnyArray:
        """Return scales, NaN of windows that are left out, in single precision as `use` takes them.

        Args:
            scales: Of every window by its number, (windows,).
        """
        single = scales.astype(np.float32)
        return single[self._order] if isinstance(self._scan, _Lines) else single

    @cached_property
    def _order(self) -> IntArray:
        """Numbers of the windows in the order of the compiled kernel, line by line."""
        boxes, parts = self._scan.boxes, []
        number = itertools.count()
        for _, sizes in itertools.groupby(boxes.sizes, key=lambda size: size[:-1]):
            rows = [
                np.arange(boxes.first[kind], boxes.first[kind + 1]).reshape(
                    -1, boxes.shape[-1] + 1 - size[-1]
                )
                for size in sizes
                for kind in (next(number),)
            ]
            parts.append(np.concatenate(rows, axis=1).ravel())
        return np.concatenate(parts)

    def use(self, scales: AnyArray) -> None:
        """Take the scales of another histogram for the scans that follow, from `prepare`."""
        if isinstance(self._scan, _Lines):
            self._scan.plan = replace(self._scan.plan, table=scales)
        else:
            self._scan.table = scales
