"""Fields without a signal, and fields in which one window is made to reach a threshold.

For windows W, a field of the null, and positive weights pi_W that sum to 1,

    P(max Z >= z) = E[ exp(-theta Z_W + psi_W(theta)) 1{Z_W >= z} / sum_V pi_V 1{Z_V >= z} ]

with W drawn from pi and the field tilted in W (Naiman and Priebe, J. Comput. Graph. Stat. 10 (2001)
296). Any theta is right; psi' = z + .2 makes the weights nearly equal. For a Gaussian field the
window can be conditioned instead: the factor before 1 / sum is then Phi(-z).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from ddphf.arrays import AnyArray, Array, IntArray, Mask
from ddphf.search.lines import LANES
from ddphf.search.table import WindowTable

__all__ = ["LATTICE", "GaussianNull", "Null", "NullChoice", "NullName", "Targets", "Tilted"]

NullName = Literal["gaussian", "binomial"]

NullChoice = Literal["auto", "gaussian", "binomial"]
"""``auto`` takes what the counts allow."""

LOW_Z = 3.6
"""Below, many windows reach z together, and small ones should be aimed at more often."""


LATTICE = 1e-4
"""Of counts, Z takes single values: what is as close to z counts as equal in single precision."""


@dataclass(frozen=True)
class Tilted:
    """A block of fields, each aimed at a window.

    Attributes:
        fields: float32, shape (bins, LANES).
        log_factor: Logarithm of what stands before the indicator, shape (LANES,).
        z: Z of the window that was aimed at, in the direction aimed at, or -inf where it is below
            the threshold; shape (LANES,).
        numbers: Of these windows.
    """

    fields: AnyArray
    log_factor: Array
    z: Array
    numbers: IntArray


class Null(Protocol):
    """A law of fields without a signal."""

    name: NullName
    table: WindowTable

    def plain(self, rng: np.random.Generator) -> AnyArray:
        """Return a block of fields, nuisances profiled; float32, shape (bins, LANES)."""
        ...

    def tilted(self, rng: np.random.Generator, z: float, targets: Targets, signs: Array) -> Tilted:
        """Return a block of fields aimed at windows; a sign of -1 aims at a deficit."""
        ...


class Targets:
    """Which windows are aimed at, and how often.

    Attributes:
        weights: pi of a window of each size, shape (sizes,).
    """

    def __init__(self, table: WindowTable, z: float, reachable: Mask | None = None) -> None:
        """Prepare the choice.

        Args:
            table: The windows.
            z: The threshold.
            reachable: Windows that can reach it, by number; all that are searched by default.
        """
        self._first = table.boxes.first
        counts = table.counts
        self._numbers: IntArray | None = None
        if table.scales is not None or reachable is not None:
            good = np.ones(table.boxes.count, dtype=bool) if reachable is None else reachable
            if table.scales is not None:
                good = good & ~np.isnan(table.scales)
            counts = np.add.reduceat(good, self._first[:-1], dtype=np.int64)
            self._numbers = np.flatnonzero(good)
        self._counts = counts
        per_window = 1.0 / (table.boxes.areas if z < LOW_Z else np.sqrt(table.boxes.areas))
        total = float(counts @ per_window)
        self.weights: Array = per_window / (total if total > 0 else 1.0)
        self._edges = np.cumsum(counts * self.weights)

    @property
    def count(self) -> int:
        """Windows that may be aimed at."""
        return int(self._counts.sum())

    def choose(self, rng: np.random.Generator) -> IntArray:
        """Return numbers of windows, shape (LANES,)."""
        size = np.searchsorted(self._edges, rng.random(LANES) * self._edges[-1], side="right")
        size = np.minimum(size, np.flatnonzero(self._counts)[-1])
        place = (rng.random(LANES) * self._counts[size]).astype(np.int64)
        if self._numbers is None:
            return np.asarray(self._first[size] + place)
        starts = np.cumsum(self._counts) - self._counts
        return np.asarray(self._numbers[starts[size] + place])


class GaussianNull:
    """Independent bins of variance 1, with the nuisances profiled.

    Attributes:
        table: The windows.
    """

    name: NullName = "gaussian"

    def __init__(self, table: WindowTable) -> None:
        self.table = table

    @cached_property
    def _gaps(self) -> Mask | None:
        flat = self.table.filled.ravel()
        return None if flat.all() else flat

    def plain(self, rng: np.random.Generator) -> AnyArray:
        """Return a block of fields, nuisances profiled; float32, shape (bins, LANES)."""
        noise = rng.standard_normal((self.table.filled.size, LANES), dtype=np.float32)
        if self._gaps is not None:
            noise *= self._gaps[:, None]
        return self.table.profile.correlate(noise)

    def tilted(self, rng: np.random.Generator, z: float, targets: Targets, signs: Array) -> Tilted:
        """Return a block of fields, each with one window conditioned to be at or above z."""
        numbers = targets.choose(rng)
        fields = self.plain(rng)
        inside = self.table.inside(numbers).astype(np.float32)
        scale = self.table.scale(numbers)
        now = np.einsum("bt,bt->t", inside, fields) * scale
        # Phi(-Z) is uniform below Phi(-z): by logarithms, which no z makes underflow.
        wanted = -ndtri_exp(np.log1p(-rng.random(LANES)) + log_ndtr(-z))
        # Moved along the window's own direction: the rest keeps its distribution.
        along = self.table.profile.project(inside * scale.astype(np.float32))
        fields = fields + along * (signs * wanted - now).astype(np.float32)
        return Tilted(fields, np.full(LANES, float(log_ndtr(-z))), wanted, numbers)
