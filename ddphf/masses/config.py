"""A scan file, or an npz of arrays, as a mass scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ConfigError, InputError
from ddphf.files import read_input
from ddphf.guards import within
from ddphf.masses.empty_bins import treat_empty_bins
from ddphf.masses.morphing import Morphed, morph_signal
from ddphf.masses.scan import UNSTATED, MassScan, Norm, Parameter, Poi, Sample, Scale, Shift
from ddphf.masses.schema import SCHEMA, check_scan_file
from ddphf.masses.stated import LUMI
from ddphf.masses.tables import Tables, split_address
from ddphf.masses.windows import fill_windows
from ddphf.text import list_names
from ddphf.workspace_json import lumi_parameter
from ddphf.yaml_text import parse_yaml

__all__ = ["read_arrays", "read_scan"]

MOST_BINS = 20_000_000
"""Hypotheses times bins: some GB of arrays."""


def read_scan(path: str, *, empty_bins: str | None = None) -> tuple[MassScan, list[Path]]:
    """Read a scan file.

    Args:
        path: Of the file; addresses in it begin at its folder.
        empty_bins: Policy instead of the file's.

    Returns:
        The scan, and the files that were read.

    Raises:
        ConfigError: It breaks the schema.
        InputError: Tables that do not fit together, or mean nothing.
    """
    try:
        text = read_input(path, path).decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text") from None
    try:
        data = parse_yaml(text)
        check_scan_file(data)
        tables = Tables(Path(path).parent)
        filled, files = fill_windows(data, tables)
        scan = treat_empty_bins(_make(filled, tables), empty_bins or data.get("empty_bins"))
        return scan, [*tables.files, *files]
    except (ConfigError, InputError) as error:
        raise type(error)(f"{path}: {error}") from None


def read_arrays(path: str, *, empty_bins: str | None = None) -> tuple[MassScan, list[Path]]:
    """Read a scan from an npz alone: ``data``, ``background``, ``signal``, and a list of values.

    ``background_error`` (staterrors) and ``edges`` may be there. Correlated errors need a scan
    file.

    Raises:
        InputError: Something is missing, or does not fit.
    """
    tables = Tables(Path(path).parent)
    name = Path(path).name
    data = tables.read(f"{name}:data", "data")
    held = tables.files[tables.folder / name]
    own = {"data", "background", "background_error", "signal", "edges"}
    lists = sorted(k for k, v in held.items() if k not in own and np.shape(v) == (len(data),))
    if len(lists) != 1:
        raise InputError(
            f"{path}: expected one list of {len(data)} values, such as masses, beside "
            f"{', '.join(sorted(own))}; found {', '.join(lists) or 'none'}: write a scan file "
            "that names it"
        )
    unread = sorted(set(held) - own - set(lists))
    said = f"{path}: not read: {list_names(unread)}; a scan file can name tables"
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": "scan",
        "parameter": {"name": lists[0], "values": f"{name}:{lists[0]}"},
        "observed": f"{name}:data",
        "background": {"yields": f"{name}:background"},
        "signal": {"yields": f"{name}:signal"},
        "poi": {"name": "mu"},
    }
    if "background_error" in held:
        document["background"]["error"] = f"{name}:background_error"
    try:
        check_scan_file(document)
        scan = treat_empty_bins(_make(document, tables), empty_bins)
        warnings = (*scan.warnings, *([said] if unread else []))
        return replace(scan, warnings=warnings), list(tables.files)
    except (ConfigError, InputError) as error:
        raise type(error)(f"{path}: {error}") from None


def _make(data: Mapping[str, Any], tables: Tables) -> MassScan:
    parameter = data["parameter"]
    values = _grid(parameter["values"], "parameter.values", tables)
    reader = _Reader(tables, len(values), parameter["name"])
    counts = reader.table(data["observed"], "observed")
    within("observed", "bins of all hypotheses", counts.size, MOST_BINS)
    if np.any(counts != np.round(counts)) or np.any(counts < 0):
        row, column = np.argwhere((counts != np.round(counts)) | (counts < 0))[0]
        raise InputError(
            f"at observed: hypothesis {row}, bin {column} has {counts[row, column]:g} events; "
            "expected whole numbers from 0 on"
        )
    reader.bins = counts.shape[1]
    given = data["background"]
    backgrounds = tuple(
        reader.sample(entry, f"background.{i}" if isinstance(given, list) else "background",
                      "background" if i == 0 else f"background{i}")
        for i, entry in enumerate(given if isinstance(given, list) else [given])
    )  # fmt: skip
    edges, said = _edges(data, tables, counts)
    signal, morphed = reader.signal(data["signal"], values, edges)
    if not np.all(signal.yields.sum(axis=1) > 0):
        row = int(np.flatnonzero(signal.yields.sum(axis=1) <= 0)[0])
        raise InputError(f"at signal.yields: hypothesis {row} expects no signal event at all")
    names = [sample.name for sample in (*backgrounds, signal)]
    if len(set(names)) < len(names):
        raise InputError(f"at background: two samples have one name ({', '.join(names)})")
    locals_ = [s for s in (*backgrounds, signal) if s.error is not None]
    if any(s.shapesys for s in locals_) and len(locals_) > 1:
        raise InputError(
            "at background: errors of kind shapesys are of one sample alone, beside them no other "
            "sample may have errors of its bins; take staterror, which is of their sum"
        )
    poi = data["poi"]
    lower, upper = poi.get("bounds", UNSTATED)
    if not lower < upper:
        raise InputError(f"at poi.bounds: [{lower:g}, {upper:g}]: expected the lower one first")
    if upper <= 0 or lower > 0:
        raise InputError(
            f"at poi.bounds: [{lower:g}, {upper:g}] have no 0 below the upper one, so there is no "
            "background-only hypothesis and no upper limit; widen them"
        )
    used = [name for s in (*backgrounds, signal) for name in s.nuisances]
    if poi["name"] in {*used, LUMI}:
        raise InputError(f"at poi.name: '{poi['name']}' is the name of a systematic too")
    if LUMI in used:
        raise InputError(f"at systematics: '{LUMI}' is the name of type lumi alone; rename it")
    measured = any(s.scales for s in (*backgrounds, signal))
    stated = ({**lumi_parameter(LUMI, data["luminosity"]["relative_error"])},) if measured else ()
    if "luminosity" in data and not measured:
        raise InputError(
            "at luminosity: no sample has a systematic of type lumi; add '- {type: lumi}', or "
            "leave it out"
        )
    return MassScan(
        name=data["name"],
        parameter=Parameter(parameter["name"], parameter.get("unit", ""), values),
        poi=Poi(poi["name"], poi.get("unit", ""), float(lower), float(upper), "bounds" in poi),
        counts=counts,
        backgrounds=backgrounds,
        signal=signal,
        live=np.ones(counts.shape, dtype=bool),
        edges=edges,
        empty=np.zeros(counts.shape, dtype=bool),
        warnings=(*said, *(morphed.warnings if morphed else ())),
        between=morphed.between if morphed else None,
        interpolation=morphed.record if morphed else None,
        stated=stated,
    )


def _grid(given: Any, where: str, tables: Tables) -> Array:
    """Return values of the parameter, which increase."""
    values = tables.read(given, where)
    if values.ndim != 1 or not len(values):
        raise InputError(f"at {where}: shape {values.shape}, expected a list")
    falls = np.flatnonzero(np.diff(values) <= 0)
    if len(falls):
        i = int(falls[0])
        raise InputError(
            f"at {where}: the grid does not increase: entry {i + 1} is {values[i + 1]:g} "
            f"after {values[i]:g}; sort the hypotheses, each value once"
        )
    return values


def _edges(
    data: Mapping[str, Any], tables: Tables, counts: Array
) -> tuple[Array | None, list[str]]:
    """Return the edges of the windows, those that lie beside the data where none are named."""
    address, said = data.get("edges"), []
    if address is None and isinstance(data["observed"], str):
        beside = f"{split_address(data['observed'])[0]}:edges"
        if tables.has(beside):
            address = beside
            said.append(f"edges of the windows: taken from {beside}")
    if address is None:
        return None, []
    edges = tables.read(address, "edges")
    n, bins = counts.shape
    if edges.ndim == 1:
        edges = np.tile(edges, (n, 1))
    if edges.ndim != 2 or len(edges) != n or edges.shape[1] < 2 or bins % (edges.shape[1] - 1):
        raise InputError(
            f"at edges: shape {edges.shape}; expected ({n}, m + 1), or m + 1 common ones, where m "
            f"divides the {bins} bins"
        )
    if np.any(np.diff(edges, axis=1) <= 0):
        row = int(np.argwhere(np.diff(edges, axis=1) <= 0)[0][0])
        raise InputError(f"at edges: those of hypothesis {row} do not increase")
    return edges, said


class _Reader:
    """Reads what all tables of one scan share: n rows, as many bins."""

    def __init__(self, tables: Tables, n: int, parameter: str) -> None:
        self.tables, self.n, self.parameter = tables, n, parameter
        self.bins: int | None = None

    def table(self, given: Any, where: str) -> Array:
        values = self.tables.read(given, where)
        if values.ndim == 1 and self.n == 1:
            values = values[None]
        if values.shape == (self.n,) and isinstance(given, str) and split_address(given)[1] == "":
            values = values[:, None]  # a line per hypothesis, of one bin
        expected = f"({self.n}, {'bins' if self.bins is None else self.bins})"
        if values.ndim != 2 or len(values) != self.n or values.shape[1] < 1:
            raise InputError(
                f"at {where}: shape {values.shape}, expected {expected}: a row for each value of "
                f"'{self.parameter}'{'' if values.ndim == 2 else ', of one number for one bin'}"
            )
        if self.bins is not None and values.shape[1] != self.bins:
            raise InputError(f"at {where}: shape {values.shape}, expected {expected} as observed")
        return values

    def yields(self, given: Any, where: str) -> Array:
        values = self.table(given, where)
        if np.any(values < 0):
            row, column = np.argwhere(values < 0)[0]
            raise InputError(
                f"at {where}: hypothesis {row}, bin {column} is {values[row, column]:g}; expected "
                "0 or more"
            )
        return values

    def numbers(self, given: Any, where: str) -> Array:
        values = self.tables.read(given, where)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != self.n):
            raise InputError(
                f"at {where}: shape {values.shape}, expected a number or {self.n} of them"
            )
        self.tables.count(self.n, where)
        return np.broadcast_to(values, (self.n,)).copy()

    def sample(self, entry: Mapping[str, Any], where: str, name: str) -> Sample:
        yields, error = self.yields(entry["yields"], f"{where}.yields"), None
        shapesys = entry.get("error_kind") == "shapesys"
        if "error" in entry:
            error = self.yields(entry["error"], f"{where}.error")
            for wrong, why in (
                ((yields == 0) & (error > 0), "an error, but no yield: no modifier can say that; "
                 "give 0 for both, and 'empty_bins' says what is done there"),
                ((yields > 0) & (error == 0) & shapesys, "a yield with a shapesys error of 0: take "
                 "staterror, or leave the error out"),
            ):  # fmt: skip
                if np.any(wrong):
                    row, column = np.argwhere(wrong)[0]
                    raise InputError(f"at {where}.error: hypothesis {row}, bin {column} has {why}")
        elif "error_kind" in entry:
            raise InputError(f"at {where}.error_kind: there is no error; give it too")
        sample = Sample(entry.get("name", name), yields, error, shapesys)
        return self.with_systematics(sample, entry, where)

    def signal(
        self, entry: Mapping[str, Any], values: Array, edges: Array | None
    ) -> tuple[Sample, Morphed | None]:
        """Return the signal of all hypotheses, and how it was made of simulated ones."""
        if "simulated" not in entry:
            if "interpolate_yields" in entry:
                raise InputError(
                    "at signal.interpolate_yields: is for a signal that is interpolated; give "
                    "signal.simulated, or leave it out"
                )
            return self.sample(entry, "signal", "signal"), None
        at = _grid(entry["simulated"], "signal.simulated", self.tables)
        reader = _Reader(self.tables, len(at), "simulated")
        reader.bins = self.bins
        alone = {key: value for key, value in entry.items() if key != "systematics"}
        found = morph_signal(
            reader.sample(alone, "signal", "signal"), at, values, edges,
            log=entry.get("interpolate_yields") == "log", name=self.parameter,
        )  # fmt: skip
        for i, norm in enumerate(entry.get("systematics", ())):
            if norm["type"] == "histosys":
                raise InputError(
                    f"at signal.systematics.{i}: a histosys of a signal that is interpolated would "
                    "have to be interpolated too; take normsys, or simulate every value"
                )
        return self.with_systematics(found.signal, entry, "signal"), found

    def with_systematics(self, sample: Sample, entry: Mapping[str, Any], where: str) -> Sample:
        """Return the sample with the correlated errors of its section."""
        norms: list[Norm] = []
        shifts: list[Shift] = []
        scales: list[Scale] = []
        for i, given in enumerate(entry.get("systematics", ())):
            place = f"{where}.systematics.{i}"
            if given["type"] == "lumi":
                scales.append(Scale(LUMI, "lumi"))
            elif given["type"] == "histosys":
                shifts.append(self.shift(sample, given, place))
            else:
                up, down = (self.numbers(given[key], f"{place}.{key}") for key in ("up", "down"))
                if np.any(up <= 0) or np.any(down <= 0):
                    raise InputError(f"at {place}: factors at +1 and -1 sigma, expected above 0")
                norms.append(Norm(given["name"], up, down))
        for found in (norms, shifts, scales):
            if len({one.name for one in found}) < len(found):
                raise InputError(f"at {where}.systematics: a name appears twice")
        return replace(sample, norms=tuple(norms), shifts=tuple(shifts), scales=tuple(scales))

    def shift(self, sample: Sample, given: Mapping[str, Any], place: str) -> Shift:
        up, down = (self.yields(given[key], f"{place}.{key}") for key in ("up", "down"))
        if given.get("relative", False):
            up, down = up * sample.yields, down * sample.yields
        return Shift(given["name"], up, down)
