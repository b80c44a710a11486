"""The largest window of many fields by numpy, all positions of one size at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.search.table import WindowTable

__all__ = ["BoxKernel", "Kernel", "sum_from_lower_edges"]


class Kernel(ABC):
    """One kernel on one set of windows."""

    def __init__(self, table: WindowTable) -> None:
        self.boxes = table.boxes
        self.scales = table.size_scales.astype(np.float32)
        own = table.scales
        self.table = None if own is None else self.arrange(own.astype(np.float32))

    def arrange(self, scales: AnyArray) -> AnyArray:
        """Return scales by the windows' numbers in the order of the kernel."""
        return scales

    @abstractmethod
    def run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> tuple[AnyArray, Array]:
        """Return the largest Z of each field, and the weight at or above z."""


class BoxKernel(Kernel):
    """All positions of one size at once, by numpy."""

    def run(
        self, fields: AnyArray, z: float, weights: Array, scales: AnyArray | None = None
    ) -> tuple[AnyArray, Array]:
        """Return the largest Z of each field, and the weight at or above z."""
        table = self.table if scales is None else scales
        n = fields.shape[1]
        prefix = sum_from_lower_edges(fields, self.boxes.shape, len(self.boxes.shape))
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


def sum_from_lower_edges(fields: AnyArray, shape: tuple[int, ...], axes: int) -> AnyArray:
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
