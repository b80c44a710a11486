"""Histograms from ROOT, UHI JSON, npz and CSV files, addressed as ``file:name``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import load_arrays
from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.files import is_file, read_json
from ddphf.guards import check_decoded
from ddphf.inputs.csv_table import BinTable, read_bin_table
from ddphf.inputs.histogram import LABEL_WITH_UNIT, Axis, Histogram, make_histogram
from ddphf.inputs.root_file import open_root
from ddphf.text import did_you_mean, short_error

__all__ = ["histogram_names", "read_histogram", "read_note"]

DEEPEST = 10
"""Folders inside folders of a file, which no name needs."""

LONGEST_NOTE = 1000
"""Characters of a comment that are looked at."""

HISTOGRAM_CLASS = re.compile(r"TH[123][CSIFDL]")

NO_HISTOGRAM = {
    "TProfile": " (a mean per bin)", "TProfile2D": " (a mean per bin)",
    "TEfficiency": " (a ratio of two histograms)", "TTree": " (of events: give 'events')",
    "ROOT::RNTuple": " (of events: give 'events')",
    "TDirectory": " (a folder)",
}  # fmt: skip
"""What objects of other classes hold."""


def read_histogram(address: str, *, folder: str | Path = ".") -> Histogram:
    """Read one histogram.

    ``histograms.root:dir/name`` (TH1, TH2, TH3; ``name;1`` for an older cycle),
    ``histograms.json:name`` (UHI serialisation of one histogram, or of several by name),
    ``arrays.npz:name`` (with ``edges_0``, ``edges_1``, ... and optionally ``axis_names``,
    ``axis_units``, ``name_variances``), ``table.csv:column`` (columns ``<axis>_low`` and
    ``<axis>_high`` per axis, or ``<axis> [<unit>]_low`` with a unit, one row per bin in any order;
    the first axis is the slowest one; or HEPData's own CSV, where ``table.csv:column stat`` is the
    error of a column from ``stat +`` and ``stat -``).

    Args:
        address: File and name; the name may be left out where a file holds a single histogram.
        folder: What a relative path is relative to.

    Raises:
        InputError: The file or the name is not there, or its content is not a histogram.
    """
    path, name = _split_address(address)
    file = Path(folder) / path
    readers = {".root": _read_root, ".json": _read_uhi, ".npz": _read_npz, ".csv": _read_csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{address}: expected a .root, .json, .npz or .csv file, got '{path}'")
    if not is_file(file):
        raise InputError(f"{address}: no file '{file}'")
    histogram = reader(file, name, address)
    for axis in histogram.axes:
        if not (np.all(np.isfinite(axis.edges)) and np.all(np.diff(axis.edges) > 0)):
            raise InputError(f"{address}: the edges of axis '{axis.name}' do not increase")
    if not histogram.values.size:
        raise InputError(f"{address}: has no bins")
    return histogram


def read_note(address: str, *, folder: str | Path = ".") -> str:
    """Return the comment in the first line of a CSV table, empty where it has none.

    Args:
        address: Of one of its histograms; other files have no comments.
        folder: What a relative path is relative to.
    """
    file = Path(folder) / _split_address(address)[0]
    if file.suffix.lower() != ".csv" or not is_file(file):
        return ""
    with open(file, encoding="utf-8-sig", errors="replace") as stream:
        line = stream.readline(LONGEST_NOTE)
    return line.removeprefix("#").strip() if line.startswith("#") else ""


def histogram_names(file: str | Path) -> list[str]:
    """Return the names of all histograms of a file, in its order, as addresses have them.

    Args:
        file: ROOT, UHI JSON, npz or CSV; a UHI file of one histogram has one name, which is empty.

    Raises:
        InputError: The file is not there, or is none of these.
    """
    path, address = Path(file), str(file)
    if path.suffix.lower() not in (".root", ".json", ".npz", ".csv"):
        raise InputError(f"{address}: expected a .root, .json, .npz or .csv file")
    if not is_file(path):
        raise InputError(f"{address}: no file '{path}'")
    match path.suffix.lower():
        case ".root":
            return _root_names(path, address)
        case ".json":
            data = read_json(str(path))
            if not isinstance(data, dict):
                raise InputError(f"{address}: expected a UHI histogram or a mapping of them")
            return [""] if "axes" in data else [name for name, _ in _uhi_entries(data)]
        case ".npz":
            return _npz_names(load_arrays(path, address))
    table = read_bin_table(path, address)
    errors = {error for labels in table.errors.values() for error in labels}
    signed = {f"{error} {sign}" for error in errors for sign in "+-"}
    return [column for column in table.contents if column not in signed]


def _root_names(file: Path, address: str) -> list[str]:
    try:
        with open_root(file) as root:
            kinds = {_split_cycle(key)[0]: kind for key, kind in root.classnames().items()}
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds on damaged files
        raise InputError(f"{address}: cannot be read as ROOT ({short_error(error)})") from None
    return [name for name, kind in kinds.items() if HISTOGRAM_CLASS.fullmatch(kind)]


def _split_address(address: str) -> tuple[str, str]:
    match = re.match(r"(?P<file>.*?\.(root|json|npz|csv)):(?P<name>.*)", address, re.I | re.S)
    return (match["file"], match["name"]) if match else (address, "")


def _pick(names: list[str], name: str, address: str) -> str:
    if name in names:
        return name
    if not name and len(names) == 1:
        return names[0]
    known = _known(names)
    if not name:
        raise InputError(f"{address}: which histogram? write FILE:NAME; the file has: {known}")
    hint = did_you_mean(name, names)
    raise InputError(f"{address}: no histogram '{name}'; {hint}the file has: {known}")


def _known(names: list[str]) -> str:
    return ", ".join(sorted(names)[:12]) + (", ..." if len(names) > 12 else "") or "none"


def _read_root(file: Path, name: str, address: str) -> Histogram:
    try:
        with open_root(file) as root:
            classes = root.classnames()
            path, cycle = _split_cycle(name.strip("/"))
            kinds = {_split_cycle(key)[0]: kind for key, kind in classes.items()}
            names = [key for key, kind in kinds.items() if HISTOGRAM_CLASS.fullmatch(kind)]
            if path in kinds and path not in names:
                raise InputError(
                    f"{address}: '{path}' is a {kinds[path]}"
                    f"{NO_HISTOGRAM.get(kinds[path], '')}, not a histogram of events"
                    f" (TH1, TH2 or TH3); the file has: {_known(names)}"
                )
            path = _pick(names, path, address)
            key = path if cycle is None else f"{path};{cycle}"
            if cycle is not None and key not in classes:
                cycles = [k.partition(";")[2] for k in classes if _split_cycle(k)[0] == path]
                raise InputError(
                    f"{address}: no cycle {cycle} of '{path}'; it has: {', '.join(cycles)}"
                )
            size = root.key(key).data_uncompressed_bytes
            check_decoded(size, file.stat().st_size, address)
            return make_histogram(root[key].to_hist(), source=address)
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds on damaged files
        raise InputError(f"{address}: cannot be read as ROOT ({short_error(error)})") from None


def _split_cycle(name: str) -> tuple[str, str | None]:
    """Return name and cycle of ``name;1``: without one the newest is meant."""
    path, found, cycle = name.rpartition(";")
    return (path, cycle) if found and cycle.isdigit() else (name, None)


def _read_uhi(file: Path, name: str, address: str) -> Histogram:
    import hist
    import uhi.io

    data = read_json(str(file))
    if not isinstance(data, dict):
        raise InputError(f"{address}: expected a UHI histogram or a mapping of them")
    if "axes" not in data:
        found = dict(_uhi_entries(data))
        data = found[_pick(list(found), name.strip("/"), address)]
    elif name:
        raise InputError(f"{address}: the file is a single histogram; leave ':{name}' out")
    try:
        if not any(key in data["storage"] for key in ("values", "counts")):
            raise InputError(f"{address}: holds axes without contents")
        if "index" in data["storage"]:
            data = uhi.io.from_sparse(_arrays(data))
        return make_histogram(hist.Hist(_arrays(data)), source=address)
    except InputError:
        raise
    except Exception as error:  # the serialisation raises KeyError, TypeError, ValueError, ...
        raise InputError(f"{address}: is no UHI histogram ({short_error(error)})") from None


def _uhi_entries(data: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the histograms of a mapping by name, those of mappings inside it as ``inner/name``."""
    for key, value in data.items():
        if isinstance(value, dict) and "axes" in value:
            yield f"{path}{key}", value
        elif isinstance(value, dict) and path.count("/") < DEEPEST:
            yield from _uhi_entries(value, f"{path}{key}/")


def _arrays(node: Any) -> Any:
    """Turn the lists of a UHI dictionary into arrays, as its own JSON reader does."""
    storage = {
        key: np.asarray(value) if isinstance(value, list) else value
        for key, value in node["storage"].items()
    }
    axes = [
        {k: np.asarray(v) if k == "edges" else v for k, v in axis.items()} for axis in node["axes"]
    ]
    return {**node, "storage": storage, "axes": axes}


def _npz_names(arrays: dict[str, Any]) -> list[str]:
    reserved = ("edges_", "axis_names", "axis_units")
    return [k for k in arrays if not k.startswith(reserved) and not k.endswith("_variances")]


def _read_npz(file: Path, name: str, address: str) -> Histogram:
    arrays = load_arrays(file, address)
    name = _pick(_npz_names(arrays), name, address)
    values = arrays[name]
    if values.dtype.kind not in "iufb":
        raise InputError(f"{address}: contents are not numbers (dtype {values.dtype})")
    axes = []
    for index in range(values.ndim):
        if f"edges_{index}" not in arrays:
            raise InputError(f"{address}: the file has no 'edges_{index}' for axis {index}")
        label = _entry(arrays, "axis_names", index) or f"axis_{index}"
        edges = arrays[f"edges_{index}"]
        if edges.dtype.kind not in "iuf" or edges.ndim != 1:
            raise InputError(f"{address}: 'edges_{index}' is not a list of numbers")
        edges = tuple(edges.astype(float).tolist())
        axes.append(Axis(label, edges, label, _entry(arrays, "axis_units", index)))
    histogram = make_histogram(values, axes=axes, source=address)
    variances = arrays.get(f"{name}_variances")
    if variances is None:
        return histogram
    if variances.shape != values.shape or variances.dtype.kind not in "iuf":
        raise InputError(f"{address}: variances have shape {variances.shape}, not {values.shape}")
    return Histogram(histogram.values, histogram.axes, variances.astype(float), address)


def _entry(arrays: dict[str, Any], key: str, index: int) -> str:
    values = np.ravel(arrays.get(key, np.array([], dtype=str)))
    return str(values[index]) if index < len(values) else ""


def _read_csv(file: Path, name: str, address: str) -> Histogram:
    table = read_bin_table(file, address)
    errors = {error for labels in table.errors.values() for error in labels}
    signed = {f"{error} {sign}" for error in errors for sign in "+-"}
    main = [column for column in table.contents if column not in signed]
    column = _pick(main, name, address) if name not in errors | signed else name
    axes, places = [], []
    for axis in table.axes:
        lows, highs = table[f"{axis}_low"], table[f"{axis}_high"]
        place, edges = _find_edges(axis, lows, highs, address)
        axes.append(_named_axis(axis, edges))
        places.append(place)
    shape = tuple(axis.n_bins for axis in axes)
    flat = np.ravel_multi_index(places, shape)
    if len(np.unique(flat)) != len(flat) or len(flat) != np.prod(shape):
        raise InputError(
            f"{address}: {len(flat)} rows do not fill the {'x'.join(map(str, shape))} grid once"
        )
    values = np.empty(len(flat))
    values[flat] = _symmetric(table, column, address) if column in errors else table[column]
    histogram = make_histogram(values.reshape(shape), axes=axes, source=address)
    labels = (error.removeprefix(f"{column} ") for error in table.errors.get(column, ()))
    return replace(histogram, error_columns=tuple(f"'{column} {label}'" for label in labels))


def _symmetric(table: BinTable, error: str, address: str) -> Array:
    """Return an error whose columns + and - are the same but for the sign."""
    up, down = np.abs(table[f"{error} +"]), np.abs(table[f"{error} -"])
    bad = np.flatnonzero(~np.isclose(up, down, rtol=0.01))
    if bad.size:
        raise InputError(
            f"{address}: row {bad[0] + 1}: errors +{up[bad[0]]:g} and -{down[bad[0]]:g} differ; "
            f"name one of the columns, '{error} +' or '{error} -', or give variations"
        )
    return np.asarray((up + down) / 2)


def _find_edges(
    axis: str, lows: Array, highs: Array, address: str
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], tuple[float, ...]]:
    """Return the bin of every row along an axis, and the edges, the last bit of each forgiven."""
    infinite = np.flatnonzero(~(np.isfinite(lows) & np.isfinite(highs)))
    if infinite.size:
        raise InputError(
            f"{address}: row {infinite[0] + 1}: axis '{axis}' from {lows[infinite[0]]:g} to "
            f"{highs[infinite[0]]:g}; under- and overflow are not part of the model, leave them out"
        )
    widths = highs - lows
    tolerance = 1e-6 * max(float(np.min(widths)), 0.0)
    sorted_lows = np.sort(lows)
    starts = sorted_lows[np.append(True, np.diff(sorted_lows) > tolerance)]
    edges = np.append(starts, highs.max())
    place = np.searchsorted(starts, lows + tolerance, side="right") - 1
    bad = np.flatnonzero(~((widths > 0) & (np.abs(edges[place + 1] - highs) <= tolerance)))
    if bad.size:
        raise InputError(
            f"{address}: row {bad[0] + 1}: the bins of axis '{axis}' overlap or leave a gap"
        )
    return place, tuple(edges.tolist())


def _named_axis(text: str, edges: tuple[float, ...]) -> Axis:
    """Return an axis from a heading such as ``mass [GeV]``, or HEPData's ``M IN GEV``."""
    match = LABEL_WITH_UNIT.match(text) or re.match(r"^(?P<label>.*) IN (?P<unit>\w+)$", text)
    label, unit = (match["label"], match["unit"]) if match else (text, "")
    unit = {"GEV": "GeV", "MEV": "MeV", "TEV": "TeV"}.get(unit, unit)
    return Axis(label, edges, label, unit)
