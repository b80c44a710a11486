"""Efficiency and scale-factor maps: calibration bins in pT, eta and charge with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.inputs.covariance import (
    Covariance,
    axis_correlation,
    make_covariance,
    rho_covariance,
    source_covariance,
)
from ddphf.inputs.look_up import AXES, OUTSIDE, Evaluator, LookUp, axis_values, refuse_varied

__all__ = ["AXES", "LeptonMap", "LookUp", "make_map", "map_covariance"]

Kind = Literal["efficiency", "scale_factor", "fake_factor"]


@dataclass(frozen=True)
class LeptonMap:
    """Values in K calibration bins, each a box in the axes; a box may reach to infinity.

    Attributes:
        name: Such as ``muon``: part of the nuisances' name.
        kind: ``"efficiency"`` (0 to 1), ``"scale_factor"`` or ``"fake_factor"`` (>= 0).
        axes: Names, mostly out of :data:`AXES`.
        lows: Lower edges, shape (K, d).
        highs: Upper edges, shape (K, d); a bin holds low <= x < high.
        values: Shape (K,).
        statistical: Absolute, independent between the bins, shape (K,).
        sources: Named absolute shifts of shape (K,), each fully correlated over the bins.
        source: Where it came from, for messages.
        excluded: Bins whose leptons count as outside the map.
        evaluator: Of a correction: it, not the boxes, then says where a lepton belongs.
        names: Of bins that are no boxes, by number.
        n_pseudo: Bins at the end where no lepton lies: each carries an error that is evaluated at
            the leptons, which take part in it by their shares.
        written: What the file calls the axes.
        rewritten: Axes that a correction changes before it looks them up, so that the edges are
            not those of the leptons' values.
        warnings: Sentences for the user, from reading it.

    Example:
        >>> m = make_map("muon", "efficiency", {"pt": [10, 20, 50]}, [0.8, 0.9], [0.01, 0.02])
        >>> m.locate(pt=np.array([15.0, 20.0, 60.0])).tolist()
        [0, 1, -1]
    """

    name: str
    kind: Kind
    axes: tuple[str, ...]
    lows: Array
    highs: Array
    values: Array
    statistical: Array
    sources: dict[str, Array] = field(default_factory=dict)
    source: str = ""
    excluded: frozenset[int] = frozenset()
    evaluator: Evaluator | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    n_pseudo: int = 0
    written: tuple[str, ...] = ()
    rewritten: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = self.source or f"map '{self.name}'"
        places = self.n_bins - self.n_pseudo
        wrong = sorted(i for i in self.excluded if not 0 <= i < places)
        if wrong:
            raise InputError(
                f"{where}: no bin {wrong[0]} to exclude; bins are numbered 0 to {places - 1}"
            )
        if self.excluded:  # whatever stands there is not used
            unused = np.isin(np.arange(self.n_bins), list(self.excluded))
            for name, rest in (("values", 1.0), ("statistical", 0.0)):
                object.__setattr__(self, name, np.where(unused, rest, getattr(self, name)))
            kept = {key: np.where(unused, 0.0, shift) for key, shift in self.sources.items()}
            object.__setattr__(self, "sources", kept)
        for number, axis in enumerate(self.axes):
            below = self.highs[:, number] <= 0
            if axis == "abseta" and self.evaluator is None and np.any(below):
                raise InputError(
                    f"{where}: bins of abseta below 0; name the axis 'eta' if it has a sign"
                )
        for label, array in (("statistical error", self.statistical), *self.sources.items()):
            if array.shape != self.values.shape:
                raise InputError(
                    f"{where}: '{label}' has shape {array.shape}, expected one number for each of "
                    f"the {len(self.values)} bins"
                )
            self._refuse(where, label, ~np.isfinite(array), array, "a finite number")
            if self.kind != "fake_factor":
                refuse_varied(array / np.where(self.values > 0, self.values, np.inf), label, where)
        self._refuse(where, "statistical error", self.statistical < 0, self.statistical, ">= 0")
        if self.kind == "efficiency":
            bad = ~((self.values > 0) & (self.values <= 1))
            remedy = "an efficiency > 0 and <= 1; merge the bin, or leave it out and exclude its "
            self._refuse(where, "value", bad, self.values, remedy + "events from both samples")
        elif self.kind == "scale_factor":
            bad = ~(np.isfinite(self.values) & (self.values > 0))
            self._refuse(where, "value", bad, self.values, "a scale factor > 0")
        else:
            bad = ~(np.isfinite(self.values) & (self.values >= 0))
            self._refuse(where, "value", bad, self.values, "a fake factor >= 0")
        first, second = (0, 0) if self.evaluator else _overlap(self.lows, self.highs)
        if second:
            raise InputError(
                f"{where}: bins {self.describe(first)} and {self.describe(second)} overlap; a "
                "lepton must have one bin"
            )

    def _refuse(self, where: str, label: str, bad: Any, values: Array, expected: str) -> None:
        for index in np.flatnonzero(bad):
            raise InputError(
                f"{where}, {self.describe(int(index))}: {label} {values[index]:g}, expected "
                f"{expected}"
            )

    @property
    def n_bins(self) -> int:
        """Number of calibration bins."""
        return len(self.values)

    @property
    def varies(self) -> bool:
        """Whether the value may vary inside a bin, as a formula does."""
        return self.evaluator is not None and self.evaluator.varies

    @property
    def n_columns(self) -> int:
        """Number of bins of the covariance that one lepton takes part in."""
        return 1 if self.evaluator is None else self.evaluator.n_columns

    @property
    def labels(self) -> tuple[str, ...]:
        """One description per calibration bin."""
        return tuple(self.describe(i) for i in range(self.n_bins))

    def describe(self, index: int) -> str:
        """Return where a calibration bin lies, such as ``muon bin 3 (pt 20 to 25)``."""
        if index in self.names:
            return f"{self.name} {self.names[index]}"
        parts = [
            f"{axis} {low:g} to {high:g}"
            for axis, low, high in zip(self.axes, self.lows[index], self.highs[index], strict=True)
        ]
        return f"{self.name} bin {index} ({', '.join(parts)})"

    def locate(self, *, nearest: bool = False, **given: Array | None) -> IntArray:
        """Return the calibration bin of every lepton, -1 for leptons outside the map.

        Args:
            nearest: Move what lies outside the range of an axis into its outermost bin; holes
                inside the map stay outside.
            given: ``pt`` in GeV, ``eta``, ``charge`` such as +-1, and further variables by the
                name of the axis, each of shape (n,); each is needed where the map has its axis.

        Raises:
            InputError: The map has an axis for which nothing was given.
        """
        return self.look_up(given, nearest=nearest).cells

    def look_up(self, given: Mapping[str, Array | None], *, nearest: bool = False) -> LookUp:
        """Return bins, values and shares in the covariance.

        Args:
            given: The leptons' values by axis, as of :meth:`locate`.
            nearest: As of :meth:`locate`.
        """
        known = {axis: axis_values(axis, given, self.name) for axis in self.axes}
        n = next(len(np.asarray(v)) for v in (*known.values(), *given.values()) if v is not None)
        if self.evaluator is not None:
            seen = self.evaluator.look_up(known, n, nearest=nearest, excluded=self.excluded)
            if self.varies:
                return seen
            return replace(seen, values=np.where(seen.cells >= 0, self.values[seen.cells], 1.0))
        cell: list[IntArray] = []
        edges = [
            np.unique(np.append(lo, hi)) for lo, hi in zip(self.lows.T, self.highs.T, strict=True)
        ]
        inside = np.ones(n, dtype=bool)
        for axis, points in zip(self.axes, edges, strict=True):
            place = np.searchsorted(points, known[axis], side="right") - 1
            if nearest:
                place = np.clip(place, 0, len(points) - 2)
            inside &= (place >= 0) & (place < len(points) - 1) & ~np.isnan(known[axis])
            cell.append(np.clip(place, 0, len(points) - 2))
        flat = np.ravel_multi_index(cell, [len(points) - 1 for points in edges])
        cells = np.where(inside, self._cells(edges)[flat], OUTSIDE)
        if self.excluded:
            cells = np.where(np.isin(cells, list(self.excluded)), OUTSIDE, cells)
        values = np.where(cells >= 0, self.values[cells], 1.0)
        return LookUp(cells, values, cells[:, None], np.ones((n, 1)))

    def _cells(self, edges: Sequence[Array]) -> IntArray:
        """Return the calibration bin of every cell of the grid that the boxes' edges span."""
        shape = tuple(len(points) - 1 for points in edges)
        cells = np.full(shape, OUTSIDE, dtype=np.int64)
        for index in range(self.n_bins):
            box = tuple(
                slice(int(np.searchsorted(points, low)), int(np.searchsorted(points, high)))
                for points, low, high in zip(
                    edges, self.lows[index], self.highs[index], strict=True
                )
            )
            cells[box] = index
        return cells.ravel()


def _overlap(lows: Array, highs: Array) -> tuple[int, int]:
    """Return the first pair of boxes that share a volume, (0, 0) where there is none."""
    shared = np.all(
        np.maximum(lows[:, None], lows[None]) < np.minimum(highs[:, None], highs[None]), axis=2
    )
    pairs = np.argwhere(np.triu(shared, 1))
    return (int(pairs[0][0]), int(pairs[0][1])) if pairs.size else (0, 0)


def make_map(
    name: str,
    kind: Kind,
    edges: Mapping[str, Sequence[float]],
    values: Any,
    statistical: Any = None,
    sources: Mapping[str, Any] | None = None,
    *,
    source: str = "",
    excluded: frozenset[int] = frozenset(),
    written: tuple[str, ...] = (),
) -> LeptonMap:
    """Make a map on a full grid.

    Args:
        name: Such as ``electron``.
        kind: ``"efficiency"``, ``"scale_factor"`` or ``"fake_factor"``.
        edges: Increasing bin edges per axis; the last axis runs fastest.
        values: One per bin, flat or of the grid's shape.
        statistical: Absolute errors, independent per bin; 0 by default.
        sources: Absolute shifts by source.
        source: Where it came from, for messages.
        excluded: Bins, by number, whose leptons count as outside.
        written: What the file calls the axes.

    Raises:
        InputError: Edges that do not increase, or numbers that do not fit them.
    """
    where = source or f"map '{name}'"
    points = {axis: np.asarray(list(e), dtype=float) for axis, e in edges.items()}
    for axis, ends in points.items():
        if ends.ndim != 1 or len(ends) < 2 or not np.all(np.diff(ends) > 0):
            raise InputError(f"{where}: the edges of axis '{axis}' do not increase")
    shape = tuple(len(ends) - 1 for ends in points.values())
    size = int(np.prod(shape))

    def flat(data: Any, what: str) -> Array:
        try:
            array = np.asarray(data, dtype=float).ravel()
        except (TypeError, ValueError):
            raise InputError(f"{where}: '{what}' holds something that is no number") from None
        if array.size != size:
            raise InputError(
                f"{where}: '{what}' has {array.size} numbers, the axes "
                f"{'x'.join(map(str, shape))} = {size} bins"
            )
        return array

    lows = np.stack(np.meshgrid(*[e[:-1] for e in points.values()], indexing="ij"), axis=-1)
    highs = np.stack(np.meshgrid(*[e[1:] for e in points.values()], indexing="ij"), axis=-1)
    return LeptonMap(
        name=name,
        kind=kind,
        axes=tuple(points),
        lows=lows.reshape(size, -1),
        highs=highs.reshape(size, -1),
        values=flat(values, "values"),
        statistical=np.zeros(size) if statistical is None else flat(statistical, "statistical"),
        sources={key: flat(shift, key) for key, shift in (sources or {}).items()},
        source=source,
        excluded=excluded,
        written=written,
    )


def map_covariance(
    calibration: LeptonMap,
    *,
    correlation: Mapping[str, float] | None = None,
    exclude: Sequence[str] = (),
) -> Covariance:
    """Return the relative covariance of a map's bins.

    Args:
        calibration: The map.
        correlation: None: every source is fully correlated. Otherwise rho between the bins of each
            axis (1 where an axis is not named) for sigma = the sources in quadrature.
        exclude: Sources to leave out.

    Raises:
        InputError: An axis or a source that the map does not have, or rho outside [0, 1].
    """
    where = calibration.source or f"map '{calibration.name}'"
    unknown = [s for s in exclude if s not in calibration.sources]
    if unknown:
        raise InputError(
            f"{where}: no source '{unknown[0]}'; it has: {', '.join(calibration.sources) or 'none'}"
        )
    values = calibration.values
    statistical = calibration.statistical / values
    sources = {k: v / values for k, v in calibration.sources.items() if k not in exclude}
    if correlation is None:
        matrix = source_covariance(statistical, sources)
        model = f"statistical, and {len(sources)} fully correlated source(s)"
    else:
        absent = [axis for axis in correlation if axis not in calibration.axes]
        if absent:
            raise InputError(
                f"{where}: correlation along '{absent[0]}', which is no axis of the map; it has: "
                f"{', '.join(calibration.axes)}"
            )
        if calibration.n_pseudo:
            raise InputError(
                f"{where}: errors that vary inside a bin, as of a formula, are evaluated at the "
                "leptons and have no 'correlation' along an axis; leave it out: each source is "
                "fully correlated"
            )
        factors = []
        for number, axis in enumerate(calibration.axes):
            ends = np.stack([calibration.lows[:, number], calibration.highs[:, number]], axis=1)
            factors.append(axis_correlation(ends, float(correlation.get(axis, 1.0))))
        shifts = [np.zeros_like(values), *sources.values()]
        sigma = np.sqrt(np.sum(np.square(shifts), axis=0))
        matrix = np.diag(statistical**2) + rho_covariance(sigma, factors)
        words = ", ".join(f"{a}: {float(correlation.get(a, 1.0)):g}" for a in calibration.axes)
        model = f"statistical, and sigma with rho ({words})"
    return make_covariance(matrix, labels=calibration.labels, model=model, source=where)
