"""Histograms from ROOT, UHI JSON, npz and CSV files, addressed as ``file:name``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.files import is_file, read_json
from ddphf.guards import check_arrays, check_decoded
from ddphf.inputs.csv_table import read_bin_table
from ddphf.inputs.histogram import LABEL_WITH_UNIT, Axis, Histogram, make_histogram

__all__ = ["read_histogram"]


def read_histogram(address: str, *, folder: str | Path = ".") -> Histogram:
    """Read one histogram.

    ``histograms.root:dir/name`` (TH1, TH2, TH3), ``histograms.json:name`` (UHI serialisation of one
    histogram, or of several by name), ``arrays.npz:name`` (with ``edges_0``, ``edges_1``, ... and
    optionally ``axis_names``, ``axis_units``, ``name_variances``), ``table.csv:column`` (columns
    ``<axis>_low`` and ``<axis>_high`` per axis, or ``<axis> [<unit>]_low`` with a unit, one row
    per bin in any order; the first axis is the slowest one).

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


def _split_address(address: str) -> tuple[str, str]:
    for suffix in (".root", ".json", ".npz", ".csv"):
        head, found, tail = address.partition(suffix + ":")
        if found:
            return head + suffix, tail
    return address, ""


def _pick(names: list[str], name: str, address: str) -> str:
    if name in names:
        return name
    if not name and len(names) == 1:
        return names[0]
    known = ", ".join(sorted(names)[:12]) + (", ..." if len(names) > 12 else "")
    if not name:
        raise InputError(f"{address}: which histogram? write FILE:NAME; the file has: {known}")
    raise InputError(f"{address}: no histogram '{name}'; the file has: {known or 'none'}")


def _read_root(file: Path, name: str, address: str) -> Histogram:
    import uproot

    try:
        with uproot.open(file) as root:
            classes = root.classnames(cycle=False)
            names = [n for n, kind in classes.items() if kind.startswith(("TH1", "TH2", "TH3"))]
            name = _pick(names, name, address)
            size = file.stat().st_size
            check_decoded(root.key(name).data_uncompressed_bytes, size, address)
            return make_histogram(root[name].to_hist(), source=address)
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds on damaged files
        raise InputError(f"{address}: cannot be read as ROOT ({_short(error)})") from None


def _read_uhi(file: Path, name: str, address: str) -> Histogram:
    import hist

    data = read_json(str(file))
    if not isinstance(data, dict):
        raise InputError(f"{address}: expected a UHI histogram or a mapping of them")
    if "axes" not in data:
        data = data[_pick([k for k, v in data.items() if isinstance(v, dict)], name, address)]
    elif name:
        raise InputError(f"{address}: the file is a single histogram; leave ':{name}' out")
    try:
        return make_histogram(hist.Hist(_arrays(data)), source=address)
    except Exception as error:  # the serialisation raises KeyError, TypeError, ValueError, ...
        raise InputError(f"{address}: is no UHI histogram ({_short(error)})") from None


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


def _read_npz(file: Path, name: str, address: str) -> Histogram:
    if not zipfile.is_zipfile(file):  # numpy would offer to unpickle it
        raise InputError(f"{address}: cannot be read as npz (no zip archive)")
    try:
        check_arrays(file, address)
        with np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as npz ({_short(error)})") from None
    reserved = ("edges_", "axis_names", "axis_units")
    names = [k for k in arrays if not k.startswith(reserved) and not k.endswith("_variances")]
    name = _pick(names, name, address)
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
    column = _pick(list(table.contents), name, address)
    axes, places = [], []
    for axis in table.axes:
        lows, highs = table[f"{axis}_low"], table[f"{axis}_high"]
        starts = np.unique(lows)
        edges = np.append(starts, highs.max())
        place = np.searchsorted(starts, lows)
        if not np.array_equal(edges[place + 1], highs):
            bad = int(np.flatnonzero(edges[place + 1] != highs)[0])
            raise InputError(
                f"{address}: row {bad + 1}: the bins of axis '{axis}' overlap or leave a gap"
            )
        match = LABEL_WITH_UNIT.match(axis)
        label, unit = (match["label"], match["unit"]) if match else (axis, "")
        axes.append(Axis(label, tuple(edges.tolist()), label, unit))
        places.append(place)
    shape = tuple(axis.n_bins for axis in axes)
    flat = np.ravel_multi_index(places, shape)
    if len(np.unique(flat)) != len(flat) or len(flat) != np.prod(shape):
        raise InputError(
            f"{address}: {len(flat)} rows do not fill the {'x'.join(map(str, shape))} grid once"
        )
    values = np.empty(len(flat))
    values[flat] = table[column]
    return make_histogram(values.reshape(shape), axes=axes, source=address)


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line if len(line) < 120 else line[:117] + "..."
