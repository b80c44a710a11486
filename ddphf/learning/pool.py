"""The pool of both samples, prepared for the statistics that are sums of residuals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import generator
from ddphf.exceptions import InputError
from ddphf.learning.features import Features, make_features, standardize
from ddphf.learning.labels import Labels
from ddphf.learning.profile import LabelProfile
from ddphf.learning.statistics import (
    Cells,
    CellStatistic,
    KernelScore,
    make_energy,
    make_kernel,
    make_windows,
)
from ddphf.search.boxes import LADDER

__all__ = ["LINEAR", "Member", "Pool", "make_pool"]

LINEAR = ("kernel", "scan", "energy")
"""Statistics that are functions of sums of residuals."""

SCAN_CELLS = 50
"""Of one variable, of equal width."""

SCAN_SIZES = range(2, 13)
"""Cells of the windows of one variable."""

PAIR_CELLS = 12
"""Of each of two variables, of equal width; windows of 1, 2, 3, 4, 6, 8 of them along either."""

PAIRED_VARIABLES = 4
"""Up to so many variables all pairs are scanned too."""

ENERGY_CELLS = 400

DIRECTIONS = 16
"""Over which the energy of several variables is averaged."""

DIRECTION_SEED = 9_530


@dataclass(frozen=True)
class Member:
    """One statistic under one treatment of the nuisances.

    Attributes:
        name: ``kernel``, ``scan`` or ``energy``.
        kernel: The score, or None.
        parts: Statistics of cells; the largest (``scan``) or the sum (``energy``) is taken.
    """

    name: str
    kernel: KernelScore | None
    parts: tuple[CellStatistic, ...]

    def __call__(self, dense: AnyArray, cells: Sequence[AnyArray], pulled: AnyArray) -> AnyArray:
        """Return the statistic of sums of residuals, (n,)."""
        if self.kernel is not None:
            return self.kernel(dense, pulled)
        values = [part(sums, pulled) for part, sums in zip(self.parts, cells, strict=True)]
        if self.name == "scan":
            return np.asarray(np.max(values, axis=0))
        return np.asarray(np.sum(values, axis=0))


@dataclass(frozen=True)
class Pool:
    """Events of both samples with what the sums of residuals are taken of.

    Attributes:
        labels: Of the events.
        points: Transformed variables, (n, d).
        features: The functions of the kernel score.
        columns: Features of each event, then B of both profiles, (n, m + k), float32.
        wide: Number of features.
        cells: By statistic.
        members: By treatment of the nuisances, ``plain`` or ``profiled``.
    """

    labels: Labels
    points: Array
    features: Features
    columns: AnyArray
    wide: int
    cells: Mapping[str, tuple[Cells, ...]]
    members: Mapping[str, tuple[Member, ...]]

    @property
    def treatments(self) -> tuple[str, ...]:
        """``plain``, and ``profiled`` where there are nuisances."""
        return tuple(self.members)

    def member(self, name: str, treatment: str = "plain") -> Member:
        """Return a member by its name."""
        return next(m for m in self.members[treatment] if m.name == name)

    def sums_of(self, residual: AnyArray) -> tuple[AnyArray, dict[str, list[AnyArray]]]:
        """Return sums of residuals (n, lanes): of all columns, and over the cells, in double."""
        dense = np.zeros((self.columns.shape[1], residual.shape[1]))
        for start in range(0, self.labels.n, 1 << 14):
            some = slice(start, start + (1 << 14))
            dense += self.columns[some].astype(float).T @ residual[some]
        added = {name: [c.add(residual) for c in cells] for name, cells in self.cells.items()}
        return dense, added

    def evaluate(self, dense: AnyArray, added: Mapping[str, Sequence[AnyArray]]) -> AnyArray:
        """Return all statistics, (treatments, members, lanes)."""
        out = []
        for treatment, members in self.members.items():
            k = self.labels.changes.shape[1] if treatment == "profiled" else 0
            pulled = dense[self.wide : self.wide + 1 + k]
            f = dense[: self.wide]
            out.append([m(f, added.get(m.name, ()), pulled) for m in members])
        return np.asarray(out)

    @property
    def observed(self) -> Array:
        """Statistics of the data, (treatments, members)."""
        return np.asarray(self.evaluate(*self.sums_of(self.labels.residual[:, None]))[..., 0])

    def adders(self, rows: int) -> dict[str, list[list[sparse.csr_matrix]]]:
        """Return what adds pieces of so many rows to the cells: by statistic, cells and piece."""
        return {name: [_adders(c, rows) for c in cells] for name, cells in self.cells.items()}


def _adders(cells: Cells, rows: int) -> list[sparse.csr_matrix]:
    out = []
    for start in range(0, len(cells.cell), rows):
        place = cells.cell[start : start + rows]
        ones, column = np.ones(len(place), dtype=np.float32), np.arange(len(place))
        out.append(sparse.csr_matrix((ones, (place, column)), shape=(cells.count, len(place))))
    return out


def make_pool(
    points: Array,
    labels: Labels,
    names: Sequence[str] = LINEAR,
    *,
    widths: tuple[float, ...] = (1.0,),
    ridge: float | None = None,
    resolution: AnyArray | None = None,
) -> Pool:
    """Prepare the statistics of a pool.

    Args:
        points: Variables of each event, (n, d).
        labels: Of the events.
        names: Statistics, of :data:`LINEAR`.
        widths: Of the kernel, in standard deviations.
        ridge: Of the kernel score; by the number of events by default.
        resolution: Of each variable, (d,); cells and kernels are not finer.

    Raises:
        InputError: A variable has one value, or is no number.
    """
    wrong = np.argwhere(~np.isfinite(points))
    if wrong.size:
        i, j = wrong[0]
        raise InputError(f"learn: variable {j} of event {i} is {points[i, j]:g}, expected a number")
    features = make_features(points, widths, resolution)
    made = features(points)
    profiles = {"plain": LabelProfile.make(labels, nuisances=False)}
    if labels.changes.shape[1]:
        profiles["profiled"] = LabelProfile.make(labels, nuisances=True)
    cells: dict[str, tuple[Cells, ...]] = {}
    directions = _directions(points) if "energy" in names else []
    if "scan" in names:
        cells["scan"] = tuple(_scan_cells(points, resolution))
    if "energy" in names:
        cells["energy"] = tuple(_quantile_cells(values) for values in directions)
    members = {}
    for treatment, profile in profiles.items():
        found = []
        for name in names:
            if name == "kernel":
                kernel = make_kernel(made, labels, profile, ridge)
                found.append(Member(name, kernel, ()))
            elif name == "scan":
                parts: list[CellStatistic] = [
                    make_windows(c, _sizes(c), labels, profile) for c in cells[name]
                ]
                found.append(Member(name, None, tuple(parts)))
            else:
                energies: list[CellStatistic] = [
                    make_energy(c, values, labels, profile)
                    for c, values in zip(cells[name], directions, strict=True)
                ]
                found.append(Member(name, None, tuple(energies)))
        members[treatment] = tuple(found)
    pulls = profiles.get("profiled", profiles["plain"]).pulls
    columns = np.concatenate([made, pulls], axis=1).astype(np.float32)
    return Pool(labels, points, features, columns, made.shape[1], cells, members)


def _sizes(cells: Cells) -> list[tuple[int, ...]]:
    """Return the windows' cells along each axis; all cells together hold all events, and tell none.

    Where a resolution leaves few cells, each alone is a window too.
    """
    if len(cells.shape) == 1:
        first = 1 if cells.shape[0] <= SCAN_SIZES[-1] else SCAN_SIZES[0]
        return [(k,) for k in range(first, SCAN_SIZES[-1] + 1) if k < cells.shape[0]]
    steps = [[k for k in LADDER if k <= 2 * n // 3] or [1] for n in cells.shape]
    return list(itertools.product(*steps))


def _scan_cells(points: Array, resolution: AnyArray | None) -> list[Cells]:
    """Return cells of every variable, and of every pair of few."""
    out, axes = [], range(points.shape[1])
    for i in axes:
        cell, edges = _equal_cells(points, i, SCAN_CELLS, resolution)
        out.append(Cells(cell, (len(edges) - 1,), (edges,), (i,)))
    for i, j in itertools.combinations(axes, 2) if len(axes) <= PAIRED_VARIABLES else ():
        (a, first), (b, second) = (_equal_cells(points, k, PAIR_CELLS, resolution) for k in (i, j))
        shape = (len(first) - 1, len(second) - 1)
        out.append(Cells(np.ravel_multi_index((a, b), shape), shape, (first, second), (i, j)))
    return out


def _equal_cells(
    points: Array, axis: int, count: int, resolution: AnyArray | None
) -> tuple[AnyArray, Array]:
    """Return the cell of each event and the edges of cells of equal width over the range."""
    x = points[:, axis]
    low, high = float(x.min()), float(x.max())
    step = 0.0 if resolution is None else float(resolution[axis])
    if step > 0:  # rounded values lie in the middle of cells of whole multiples of the resolution
        low, high = low - step / 2, high + step / 2
        width = step * max(1, round((high - low) / (count * step)))
        count = int(np.ceil((high - low) / width - 1e-6))
        high = low + count * width
    edges = np.linspace(low, high, count + 1)
    place = np.floor((x - low) / (high - low) * count).astype(np.int64)
    return np.clip(place, 0, count - 1), edges


def _directions(points: Array) -> list[Array]:
    """Return the variable, or several variables along random directions, each (n,)."""
    if points.shape[1] == 1:
        return [points[:, 0]]
    mean, deviation = standardize(points)
    turns = generator(DIRECTION_SEED).standard_normal((DIRECTIONS, points.shape[1]))
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    return [(points - mean) @ (turn / deviation) for turn in turns]


def _quantile_cells(values: Array) -> Cells:
    """Return cells of about equally many events along a direction."""
    inner = np.unique(np.quantile(values, np.arange(1, ENERGY_CELLS) / ENERGY_CELLS))
    edges = np.concatenate([[values.min()], inner, [values.max()]])
    cell = np.searchsorted(inner, values, side="right")
    used, place = np.unique(cell, return_inverse=True)
    return Cells(place.ravel(), (len(used),), (edges,), (-1,))
