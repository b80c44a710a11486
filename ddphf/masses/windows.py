"""Events of a mass scan, binned in windows that move with the mass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.exceptions import InputError
from ddphf.guards import within
from ddphf.inputs.events import read_events
from ddphf.masses.tables import Tables

__all__ = ["Windows", "fill_windows"]

MOST_EDGES = 5_000_000
"""Of all windows."""


@dataclass(frozen=True)
class Windows:
    """Bins around each value, times those of another column.

    Attributes:
        edges: Of the windows, shape (n, m + 1).
        other: Edges of the other column's bins, shape (k + 1,), or None.

    Example:
        An event at an edge belongs to the bin above it.

        >>> windows = Windows(np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]), None)
        >>> windows.fill(np.array([0.5, 1.0, 2.5]), None, np.ones(3)).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """

    edges: Array
    other: Array | None

    def fill(self, at: Array, beside: Array | None, weights: Array) -> Array:
        """Return the sum of weights in each bin, shape (n, m * k), the other column fastest."""
        return np.array([self.fill_one(i, at, beside, weights) for i in range(len(self.edges))])

    def fill_one(self, row: int, at: Array, beside: Array | None, weights: Array) -> Array:
        """Return that of one window, shape (m * k,)."""
        edges = self.edges[row]
        inside = (at >= edges[0]) & (at < edges[-1])
        bins = np.searchsorted(edges, at[inside], side="right") - 1
        weights, k = weights[inside], 1
        if self.other is not None and beside is not None:
            k = len(self.other) - 1
            own = np.searchsorted(self.other, beside[inside], side="right") - 1
            some = (own >= 0) & (own < k)
            bins, weights = bins[some] * k + own[some], weights[some]
        size = (len(edges) - 1) * k
        return np.asarray(np.bincount(bins, weights, minlength=size), dtype=float)


def fill_windows(data: Mapping[str, Any], tables: Tables) -> tuple[Spec, list[Path]]:
    """Return a scan file whose events are arrays, and the files that were read.

    Raises:
        InputError: A window that is none, events without a window, or columns that mean nothing.
    """
    given = data["background"]
    backgrounds = list(given) if isinstance(given, list) else [given]
    sections = [data["observed"], *(b["yields"] for b in backgrounds), data["signal"]["yields"]]
    if not any(isinstance(section, Mapping) for section in sections):
        if "window" in data:
            raise InputError("at window: there are no events to bin; give some, or leave it out")
        return dict(data), []
    if "window" not in data:
        raise InputError(
            "at window: is missing; events need 'column', 'resolution', 'half_width' and 'bins'"
        )
    if "edges" in data:
        raise InputError("at edges: 'window' makes them; leave one of the two out")
    filler = _Filler(data["window"], tables.folder)
    values = np.atleast_1d(tables.read(data["parameter"]["values"], "parameter.values"))
    windows = _make_windows(data["window"], values, "parameter.values", tables)
    out: Spec = {key: value for key, value in data.items() if key != "window"}
    out["edges"] = windows.edges
    if isinstance(data["observed"], Mapping):
        at, beside, weights, _ = filler.read(data["observed"], "observed")
        out["observed"] = windows.fill(at, beside, weights)
    filled = []
    for i, entry in enumerate(backgrounds):
        where = f"background.{i}" if isinstance(given, list) else "background"
        if isinstance(entry["yields"], Mapping):
            _without_error(entry, where)
            at, beside, weights, _ = filler.read(entry["yields"], f"{where}.yields")
            error = np.sqrt(windows.fill(at, beside, weights**2))
            entry = {**entry, "yields": windows.fill(at, beside, weights), "error": error}
        filled.append(entry)
    out["background"] = filled if isinstance(given, list) else filled[0]
    signal = data["signal"]
    if isinstance(signal["yields"], Mapping):
        _without_error(signal, "signal")
        if "simulated" in signal:
            values = np.atleast_1d(tables.read(signal["simulated"], "signal.simulated"))
            windows = _make_windows(data["window"], values, "signal.simulated", tables)
        out["signal"] = {**signal, **filler.signal(signal["yields"], values, windows)}
    return out, filler.files


def _without_error(entry: Mapping[str, Any], where: str) -> None:
    if "error" in entry:
        raise InputError(f"at {where}.error: follows from the events' weights; leave it out")


def _make_windows(window: Mapping[str, Any], values: Array, where: str, tables: Tables) -> Windows:
    if values.ndim != 1:
        raise InputError(f"at {where}: shape {values.shape}, expected a list")
    resolution = tables.read(window["resolution"], "window.resolution")
    if resolution.ndim > 1 or resolution.size not in (1, len(values)):
        raise InputError(
            f"at window.resolution: shape {resolution.shape}, expected a number or {len(values)} "
            f"of them, as {where}"
        )
    if np.any(resolution <= 0):
        raise InputError("at window.resolution: expected above 0")
    units = np.linspace(-window["half_width"], window["half_width"], window["bins"] + 1)
    edges = values[:, None] + np.broadcast_to(resolution, values.shape)[:, None] * units
    within("window", "bins of all hypotheses", edges.size, MOST_EDGES)
    if "other" not in window:
        return Windows(edges, None)
    other = tables.read(window["other"]["edges"], "window.other.edges")
    if other.ndim != 1 or len(other) < 2 or np.any(np.diff(other) <= 0):
        raise InputError("at window.other.edges: expected two or more edges that increase")
    return Windows(edges, other)


class _Filler:
    """Reads events, with the columns of one window."""

    def __init__(self, window: Mapping[str, Any], folder: Path) -> None:
        self.column: str = window["column"]
        self.other: str | None = window["other"]["column"] if "other" in window else None
        self.folder = folder
        self.files: list[Path] = []

    def read(
        self, section: Mapping[str, Any], where: str, extra: str | None = None
    ) -> tuple[Array, Array | None, Array, Array]:
        """Return the column, the other one, weights, and an extra column."""
        weight = section.get("weight")
        names = [n for n in (self.column, self.other, weight, extra) if n is not None]
        try:
            table = read_events(
                section["events"], folder=self.folder, columns=list(dict.fromkeys(names))
            )
        except InputError as error:
            raise InputError(f"at {where}: {error}") from None
        self.files.extend(self.folder / name.partition(".root:")[0] for name in table.files)
        found = {name: np.asarray(table[name], dtype=float) for name in names}
        for name, column in found.items():
            bad = np.flatnonzero(~np.isfinite(column))
            if len(bad):
                raise InputError(
                    f"at {where}: column '{name}' of event {bad[0]} is {column[bad[0]]}; an event "
                    "without a value belongs to no window: take such events out"
                )
        ones = np.ones(table.n_events)
        return (
            found[self.column],
            None if self.other is None else found[self.other],
            ones if weight is None else found[weight],
            ones if extra is None else found[extra],
        )

    def signal(self, section: Mapping[str, Any], values: Array, windows: Windows) -> Spec:
        """Return yields and errors of the signal, each window from the events made for it."""
        if "generated" not in section:
            raise InputError(
                "at signal.yields: 'generated' is missing: the column that says for which value "
                "an event was simulated"
            )
        at, beside, weights, made = self.read(section, "signal.yields", section["generated"])
        strange = np.flatnonzero(~np.isin(made, values))
        if len(strange):
            raise InputError(
                f"at signal.yields: event {strange[0]} was simulated for {made[strange[0]]:g}, "
                "which is no value of the scan, nor of signal.simulated"
            )
        yields, square = [], []
        for row, value in enumerate(values):
            own = made == value
            beside_own = None if beside is None else beside[own]
            yields.append(windows.fill_one(row, at[own], beside_own, weights[own]))
            square.append(windows.fill_one(row, at[own], beside_own, weights[own] ** 2))
        return {"yields": np.array(yields), "error": np.sqrt(square)}
