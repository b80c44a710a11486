"""One histogram record for every file format, flattened in one documented order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError

__all__ = [
    "Axis",
    "Histogram",
    "describe_bin",
    "error_from_variances",
    "make_histogram",
]


LABEL_WITH_UNIT = re.compile(r"^(?P<label>.*?)\s*\[(?P<unit>[^\[\]]*)\]\s*$")


@dataclass(frozen=True)
class Axis:
    """One axis of a binning.

    Attributes:
        name: Identifier, such as ``collinear_mass``.
        edges: Increasing bin edges, one more than bins.
        label: What a figure writes, such as ``collinear mass``.
        unit: Such as ``GeV``; empty for a pure number.
        categories: Names of the bins, where they are no ranges of a number: ``edges`` then count.
    """

    name: str
    edges: tuple[float, ...]
    label: str = ""
    unit: str = ""
    categories: tuple[str, ...] = ()

    @property
    def n_bins(self) -> int:
        """Number of bins, under- and overflow not counted."""
        return len(self.edges) - 1

    @property
    def title(self) -> str:
        """Label with unit, as on a figure."""
        label = self.label or self.name
        return f"{label} [{self.unit}]" if self.unit else label

    def same_edges(self, other: Axis) -> bool:
        """Whether the edges agree up to rounding of single precision."""
        if self.n_bins != other.n_bins:
            return False
        narrowest = float(np.min(np.diff(self.edges)))
        return bool(np.allclose(self.edges, other.edges, rtol=1e-6, atol=1e-6 * narrowest))


@dataclass(frozen=True)
class Histogram:
    """Bin contents with their axes.

    Flattening is C order: the last axis runs fastest, so for axes (mass, pt) flat bin i is mass
    bin ``i // n_pt`` and pt bin ``i % n_pt``. ``values.reshape(shape)`` undoes it.

    Attributes:
        values: Contents without under- and overflow, shape (n_1, ..., n_d).
        axes: One per dimension, in the same order.
        variances: Sum of squared weights, same shape, where the source has it.
        source: Where it came from, for messages.
        flow: Content of the under- and overflow bins, which are left out; the builder warns.
        error_columns: What the source has of errors of this histogram beside ``variances``, by
            name: used where the user names one.
        weighted: Whether it was filled with weights whose squares its storage did not keep, as
            far as the source can tell.

    Example:
        >>> h = make_histogram([[1, 2], [3, 4]])
        >>> h.flat
        array([1., 2., 3., 4.])
        >>> [axis.name for axis in h.axes]
        ['axis_0', 'axis_1']
    """

    values: Array
    axes: tuple[Axis, ...]
    variances: Array | None = None
    source: str = ""
    flow: float = 0.0
    error_columns: tuple[str, ...] = ()
    weighted: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis."""
        return tuple(axis.n_bins for axis in self.axes)

    @property
    def flat(self) -> Array:
        """Contents in flattened order, shape (M,)."""
        return np.asarray(self.values.ravel())


def make_histogram(data: Any, *, axes: Sequence[Axis] | None = None, source: str = "") -> Histogram:
    """Make a histogram from a hist.Hist (or any UHI histogram), an array, or a Histogram.

    Args:
        data: Bin contents with or without axes.
        axes: Axes for a bare array; by default bins are numbered from 0.
        source: Where it came from, for messages.

    Raises:
        InputError: Contents are no numbers, or do not fit the axes.
    """
    if isinstance(data, Histogram):
        return data
    if hasattr(data, "axes") and hasattr(data, "values"):
        return _from_uhi(data, source)
    try:
        values = np.array(data, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{source or 'histogram'}: contents are not numbers") from None
    if values.ndim == 0 or values.size == 0:
        raise InputError(f"{source or 'histogram'}: has no bins")
    if axes is None:
        axes = [
            Axis(f"axis_{i}" if values.ndim > 1 else "bin", tuple(map(float, range(n + 1))))
            for i, n in enumerate(values.shape)
        ]
    shape = tuple(axis.n_bins for axis in axes)
    if values.shape != shape:
        raise InputError(
            f"{source or 'histogram'}: contents have shape {values.shape}, the axes {shape}"
        )
    return Histogram(values=values, axes=tuple(axes), source=source)


def _from_uhi(data: Any, source: str) -> Histogram:
    if hasattr(data, "to_hist"):  # uproot's own: TAxis has other methods
        data = data.to_hist()
    if str(getattr(data, "kind", "COUNT")).endswith("MEAN"):
        raise InputError(
            f"{source or 'histogram'}: is a profile (a mean per bin), not a histogram of events"
        )
    axes = [_read_axis(axis, index, source) for index, axis in enumerate(data.axes)]
    values = np.array(data.values(), dtype=float)
    shape = tuple(axis.n_bins for axis in axes)
    if values.shape != shape:
        raise InputError(
            f"{source or 'histogram'}: contents have shape {values.shape}, the axes {shape}"
        )
    total = values.sum()
    try:
        flow = float(np.sum(data.values(flow=True)) - total)
    except TypeError:  # PlottableHistogram has no flow argument
        flow = 0.0
    return Histogram(
        values=values,
        axes=tuple(axes),
        variances=_stored_variances(data, values),
        source=source,
        flow=0.0 if abs(flow) <= 1e-9 * max(1.0, abs(total)) else flow,
        weighted=hasattr(data, "storage_type") and data.variances() is None,
    )


def _read_axis(axis: Any, index: int, source: str) -> Axis:
    edges = getattr(axis, "edges", None)
    if callable(edges):
        edges = edges()
    if edges is None:
        raise InputError(f"{source or 'histogram'}: axis {index} has no numeric edges")
    name = getattr(axis, "name", "") or f"axis_{index}"
    label = str(getattr(axis, "label", "") or name)
    if re.fullmatch(r"Axis \d+", label):  # what hist calls an axis that nobody named
        label = name
    match = LABEL_WITH_UNIT.match(label)
    unit = match["unit"] if match else ""
    label = match["label"] if match else label
    if name in ("xaxis", "yaxis", "zaxis") and label != name:  # ROOT's names carry nothing
        name = re.sub(r"\W+", "_", label).strip("_").lower() or name
    traits = getattr(axis, "traits", None)
    categories: tuple[str, ...] = ()
    if getattr(traits, "discrete", False) and not getattr(traits, "ordered", True):
        categories = tuple(str(axis.value(i)) for i in range(len(edges) - 1))
    return Axis(name, tuple(float(e) for e in edges), label, unit, categories)


def _stored_variances(data: Any, values: Array) -> Array | None:
    """Return the sums of squared weights where they are stored, not guessed from the contents.

    A storage without them (Double, a TH1 without Sumw2) answers with the contents, as if they were
    counts; so does the protocol for plotting, which cannot tell.
    """
    storage = getattr(data, "storage_type", None)
    if storage is not None and storage.__name__ != "Weight":
        return None
    variances = data.variances()
    if variances is None or (storage is None and np.array_equal(variances, values)):
        return None
    return np.array(variances, dtype=float)


def error_from_variances(histogram: Histogram) -> Histogram:
    """Return the root of the sum of squared weights.

    Raises:
        InputError: There is none, or one is negative.

    Example:
        >>> weighted = Histogram(np.array([3.0]), (Axis("x", (0.0, 1.0)),), np.array([4.0]))
        >>> error_from_variances(weighted).values.tolist()
        [2.0]
    """
    if histogram.variances is None:
        raise InputError(f"{histogram.source or 'histogram'}: has no variances")
    if (negative := np.flatnonzero(histogram.variances.ravel() < 0)).size:
        index = int(negative[0])
        raise InputError(
            f"{histogram.source or 'histogram'}, sumw2, {describe_bin(histogram.axes, index)}: got "
            f"{histogram.variances.flat[index]:g}, expected >= 0: a sum of squared weights; write "
            "the histogram again, or give its errors"
        )
    values = np.sqrt(histogram.variances)
    return Histogram(values, histogram.axes, source=f"{histogram.source}, sumw2".lstrip(", "))


def describe_bin(axes: Sequence[Axis], index: int) -> str:
    """Return where a flat bin lies, for messages.

    Example:
        >>> describe_bin([Axis("mass", (30.0, 35.0, 40.0), unit="GeV")], 1)
        'bin 1 (mass 35 to 40 GeV)'
    """
    shape = tuple(axis.n_bins for axis in axes)
    parts = []
    for axis, i in zip(axes, np.unravel_index(index, shape), strict=True):
        if axis.categories:
            parts.append(f"{axis.name} '{axis.categories[i]}'")
            continue
        unit = f" {axis.unit}" if axis.unit else ""
        parts.append(f"{axis.name} {axis.edges[i]:g} to {axis.edges[i + 1]:g}{unit}")
    return f"bin {index} ({', '.join(parts)})"
