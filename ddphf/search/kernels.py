"""Largest window of many fields at once: numpy, or compiled by numba where that is installed."""

from __future__ import annotations

import importlib.util

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.exceptions import InputError
from ddphf.search.kernel_numba import LineKernel
from ddphf.search.kernel_numpy import BoxKernel, Kernel
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
        self._scan: Kernel = (LineKernel if self.kernel == "numba" else BoxKernel)(table)

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
