"""A histogram on the axes of another: matched by name, in its order, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis, Histogram

__all__ = ["align"]

NAMELESS = re.compile(r"(axis_\d+|[xyz]axis|bin)?")
"""What readers call an axis that nobody named."""

SCALES = {
    "ev": ("energy", 1e-9), "kev": ("energy", 1e-6), "mev": ("energy", 1e-3),
    "gev": ("energy", 1.0), "tev": ("energy", 1e3), "um": ("length", 1e-3),
    "mm": ("length", 1.0), "cm": ("length", 10.0),
    "m": ("length", 1e3), "rad": ("angle", 1.0), "mrad": ("angle", 1e-3),
    "deg": ("angle", np.pi / 180),
}  # fmt: skip
"""Kind and size of a unit, in small letters, without /c or /c^2."""


def align(histogram: Histogram, axes: Sequence[Axis]) -> tuple[Histogram, list[str]]:
    """Return a histogram with its axes, and the bins of categories, in the order of ``axes``.

    Axes are matched by name or label where both sides have them, else by their order.

    Args:
        histogram: Any order.
        axes: Those it must be on.

    Returns:
        The histogram, and sentences about names that differ.

    Raises:
        InputError: Names, units, categories or edges that contradict.

    Example:
        >>> mass, pt = Axis("mass", (0.0, 1.0, 2.0)), Axis("pt", (0.0, 1.0, 2.0))
        >>> h = Histogram(np.array([[1.0, 2.0], [3.0, 4.0]]), (pt, mass))
        >>> align(h, (mass, pt))[0].values.tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    if len(histogram.axes) != len(axes):
        raise _differs(histogram.axes, axes, "")
    order, notes = _order(histogram.axes, axes)
    histogram = _reorder(histogram, order)
    for number, (theirs, ours) in enumerate(zip(histogram.axes, axes, strict=True)):
        if theirs.categories and ours.categories and theirs.categories != ours.categories:
            histogram = _match_categories(histogram, number, ours)
    for theirs, ours in zip(histogram.axes, axes, strict=True):
        _compare(theirs, ours, histogram.axes, axes)
    return histogram, notes


def _names(axis: Axis) -> set[str]:
    """Return the spellings that name an axis, letters and digits alone."""
    given = {axis.name, axis.label} - {""}
    given = {text for text in given if not NAMELESS.fullmatch(text)}
    return {re.sub(r"[\W_]+", "", text).lower() for text in given}


def _order(theirs: Sequence[Axis], ours: Sequence[Axis]) -> tuple[list[int], list[str]]:
    """Return which of their axes is each of ours."""
    n = len(ours)
    same = np.array([[bool(_names(a) & _names(b)) for b in theirs] for a in ours])
    if not np.any(same & ~np.eye(n, dtype=bool)) or np.all(np.diag(same)):
        unlike = [
            f"'{b.name}' for '{a.name}'"
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
            if not same[i, i] and _names(a) and _names(b)
        ]
        notes = [f"axes are called {', '.join(unlike)}; they are taken as the same"]
        return list(range(n)), notes if unlike else []
    if np.all(same.sum(axis=0) == 1) and np.all(same.sum(axis=1) == 1):
        return [int(np.argmax(row)) for row in same], []
    raise InputError(
        f"its axes are ({', '.join(a.name for a in theirs)}), the tested sample's "
        f"({', '.join(a.name for a in ours)}): the names do not tell one order; name all of them "
        "alike"
    )


def _reorder(histogram: Histogram, order: list[int]) -> Histogram:
    if order == list(range(len(order))):
        return histogram
    variances = histogram.variances
    return replace(
        histogram,
        values=histogram.values.transpose(order),
        variances=None if variances is None else variances.transpose(order),
        axes=tuple(histogram.axes[i] for i in order),
    )


def _match_categories(histogram: Histogram, number: int, ours: Axis) -> Histogram:
    """Put the bins of a category axis into our order; growing axes have the order of filling."""
    theirs = histogram.axes[number]
    if sorted(theirs.categories) != sorted(ours.categories):
        extra = sorted(set(theirs.categories) ^ set(ours.categories))
        raise InputError(
            f"category '{extra[0]}' of axis '{ours.name}' is in one of the two alone: it has "
            f"{', '.join(theirs.categories)}, the tested sample {', '.join(ours.categories)}"
        )
    places = [theirs.categories.index(name) for name in ours.categories]

    def take(values: Array) -> Array:
        return np.take(values, places, axis=number)

    axes = list(histogram.axes)
    axes[number] = replace(theirs, categories=ours.categories)
    return replace(
        histogram,
        values=take(histogram.values),
        variances=None if histogram.variances is None else take(histogram.variances),
        axes=tuple(axes),
    )


def _compare(
    theirs: Axis, ours: Axis, all_theirs: Sequence[Axis], all_ours: Sequence[Axis]
) -> None:
    """Refuse units or edges that differ."""
    sizes = [SCALES.get(re.sub(r"/c.*$", "", axis.unit.strip().lower())) for axis in (theirs, ours)]
    equal = theirs.same_edges(ours)
    if sizes[0] and sizes[1] and sizes[0] != sizes[1] and equal:
        raise InputError(
            f"axis '{ours.name}' is in {theirs.unit}, the tested sample's in {ours.unit}, with the "
            "same edges; correct the unit of one of them"
        )
    if equal:
        return
    for factor in (1e3, 1e-3):
        if replace(theirs, edges=tuple(e * factor for e in theirs.edges)).same_edges(ours):
            how = f" by a factor {1 / factor:g} along '{ours.name}', as MeV and GeV; use one unit"
            raise _differs(all_theirs, all_ours, how)
    raise _differs(all_theirs, all_ours, "")


def _differs(theirs: Sequence[Axis], ours: Sequence[Axis], how: str) -> InputError:
    return InputError(
        f"binning {_binning(theirs)} differs from the tested sample's {_binning(ours)}"
        + (how or "; rebin one of them")
    )


def _binning(axes: Sequence[Axis]) -> str:
    parts = [f"{a.name} {a.n_bins} bins {a.edges[0]:g}..{a.edges[-1]:g}" for a in axes]
    return "(" + ", ".join(parts) + ")"
