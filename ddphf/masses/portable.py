"""A scan as arrays and what they are: they give back the scan, here and without ddphf."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import check_arrays
from ddphf.arrays import AnyArray, Array, Spec
from ddphf.exceptions import InputError
from ddphf.files import parse_json, to_json
from ddphf.guards import MOST_NUMBERS, within
from ddphf.masses.empty_bins import POLICIES
from ddphf.masses.scan import CHANNEL, MassScan, Norm, Parameter, Poi, Sample, Scale, Shift
from ddphf.results.documents import ScanArraysDocument
from ddphf.results.registry import check_record

__all__ = ["FILES", "array_files", "read_array_files", "script"]

FILES = ("scan.npz", "scan.json", "make_workspace.py")

LARGEST = 1e15
"""Of a number in an array, as in the tables of a scan file."""


def script() -> bytes:
    """Return make_workspace.py, which needs numpy alone."""
    return Path(__file__).with_name("make_workspace.py").read_bytes()


def array_files(scan: MassScan) -> dict[str, bytes]:
    """Return the scan as files by name: arrays, what they are, and the script that reads them.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> scan = small_scan()
        >>> again = read_array_files(array_files(scan))
        >>> again.workspace(3) == scan.workspace(3)
        True
    """
    form, arrays = _describe(scan)
    if scan.raw is not None:
        arrays |= {f"raw_{key}": value for key, value in _describe(scan.raw)[1].items()}
    for name in ("edges", "group", "empty", "between"):
        value = getattr(scan, name)
        if value is not None:
            arrays[name] = value
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return {
        "scan.npz": stream.getvalue(),
        "scan.json": to_json(form).encode(),
        "make_workspace.py": script(),
    }


def _describe(scan: MassScan) -> tuple[Spec, dict[str, AnyArray]]:
    """Return what the arrays are, and the arrays, a row per hypothesis."""
    first = scan.workspace(0)
    (channel,) = first["channels"]
    config = first["measurements"][0]["config"]
    arrays: dict[str, AnyArray] = {
        "values": scan.parameter.values, "counts": scan.counts, "live": scan.live,
    }  # fmt: skip
    samples = []
    for number, (sample, written) in enumerate(zip(scan.samples, channel["samples"], strict=True)):
        key = f"sample{number}"
        arrays[f"{key}_yields"] = sample.yields
        error: Spec | None = None
        if sample.error is not None:
            arrays[f"{key}_error"] = sample.error
            modifier = written["modifiers"][-1]
            error = {"name": modifier["name"], "type": modifier["type"], "table": f"{key}_error"}
        norms = []
        for place, norm in enumerate(sample.norms):
            up, down = f"{key}_up{place}", f"{key}_down{place}"
            arrays[up], arrays[down] = norm.up, norm.down
            norms.append({"name": norm.name, "up": up, "down": down})
        shifts = []
        for place, shift in enumerate(sample.shifts):
            up, down = f"{key}_shifted_up{place}", f"{key}_shifted_down{place}"
            arrays[up], arrays[down] = shift.up, shift.down
            shifts.append({"name": shift.name, "up": up, "down": down})
        samples.append(
            {
                "name": sample.name, "signal": any(sample is one for one in scan.signals),
                "yields": f"{key}_yields", "error": error, "norms": norms, "shifts": shifts,
                "scales": [{"name": one.name, "type": one.kind} for one in sample.scales],
            }
        )  # fmt: skip
    form: Spec = {
        "schema": ScanArraysDocument.SCHEMA,
        "name": scan.name,
        "channel": channel["name"],
        "parameter": {"name": scan.parameter.name, "unit": scan.parameter.unit},
        "poi": config["parameters"][0],
        "poi_unit": scan.poi.unit,
        "policy": scan.policy,
        "stated": [dict(entry) for entry in scan.stated],
        "samples": samples,
    }
    return form, arrays


def read_array_files(files: Mapping[str, bytes], form: Any = None) -> MassScan:
    """Return the scan that :func:`array_files` wrote, or anybody.

    Args:
        files: At least ``scan.npz`` and ``scan.json``.
        form: The second one, where it is parsed already.

    Raises:
        InputError: They are no scan.
    """
    form = parse_json(files["scan.json"], "scan.json") if form is None else form
    if not isinstance(form, dict) or form.get("schema") != ScanArraysDocument.SCHEMA:
        raise InputError("scan.json: does not say what arrays of a scan are")
    if trouble := check_record(form):
        raise InputError(f"scan.json: {trouble}")
    if form["policy"] not in ("", *POLICIES) or form["channel"] != CHANNEL:
        raise InputError("scan.json: a policy of empty bins or a channel that no scan has")
    tables = _Tables(_load(files["scan.npz"]))
    scan = tables.scan(form, "")
    raw = tables.scan(form, "raw_") if "raw_counts" in tables.arrays else None
    some = {
        name: tables.read(name) for name in ("edges", "between") if name in tables.arrays
    }  # fmt: skip
    group = None
    if raw is not None:
        group = tables.read("group", raw.counts.shape).astype(np.int64)
        if np.any(group < 0) or np.any(group >= scan.counts.shape[1]):
            raise InputError("scan.npz: 'group' names bins that are not there")
    return replace(scan, raw=raw, group=group, **some)  # type: ignore[arg-type]


def _load(content: bytes) -> dict[str, AnyArray]:
    try:
        check_arrays(io.BytesIO(content), "scan.npz")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise InputError(f"scan.npz: cannot be read ({type(error).__name__})") from None


class _Tables:
    """Arrays of a scan, each looked at before it is used."""

    def __init__(self, arrays: dict[str, AnyArray]) -> None:
        self.arrays = arrays
        self.n = len(np.atleast_1d(arrays.get("values", np.zeros(0))))

    def read(self, name: str, shape: tuple[int, ...] | None = None) -> Array:
        """Return finite numbers, a row per hypothesis."""
        if name not in self.arrays:
            raise InputError(f"scan.npz: no array '{name}'")
        found = self.arrays[name]
        if found.dtype.kind not in "iufb" or found.ndim not in (1, 2) or len(found) != self.n:
            raise InputError(f"scan.npz: '{name}' is no table of {self.n} rows of numbers")
        values = np.array(found, dtype=float)
        if shape is not None and values.shape != shape:
            raise InputError(f"scan.npz: '{name}' has the shape {values.shape}, expected {shape}")
        wrong = np.isnan(values) if name == "between" else ~np.isfinite(values)
        allowed = name == "between"
        if (wrong.any() and not allowed) or np.any(np.abs(values[~wrong]) > LARGEST):
            raise InputError(f"scan.npz: '{name}' holds what is no number of events")
        return values

    def positive(self, name: str, shape: tuple[int, ...]) -> Array:
        values = self.read(name, shape)
        if np.any(values < 0):
            raise InputError(f"scan.npz: '{name}' is negative somewhere")
        return values

    def scan(self, form: Mapping[str, Any], start: str) -> MassScan:
        """Return the scan whose arrays' names begin so."""
        values = self.read(f"{start}values")
        if values.ndim != 1 or not len(values) or np.any(np.diff(values) <= 0):
            raise InputError("scan.npz: 'values' do not increase")
        shape = self.read(f"{start}counts").shape
        if len(shape) != 2:
            raise InputError("scan.npz: 'counts' is no table")
        tables = sum(1 + bool(s["error"]) + 2 * len(s["shifts"]) for s in form["samples"])
        norms = sum(len(s["norms"]) for s in form["samples"])
        numbers = shape[0] * (shape[1] * tables + 2 * norms)
        within("scan.json", "numbers of all tables", numbers, MOST_NUMBERS)
        counts = self.positive(f"{start}counts", shape)
        samples = [self._sample(entry, start, shape) for entry in form["samples"]]
        kinds = [bool(entry["signal"]) for entry in form["samples"]]
        first = kinds.index(True) if True in kinds else 0
        if not first or not all(kinds[first:]):
            raise InputError("scan.json: at samples: expected backgrounds, then signals")
        (lower, upper), poi = form["poi"]["bounds"][0], form["poi"]["name"]
        if lower > 0 or upper <= 0:
            raise InputError("scan.json: at poi: bounds without a 0 below the upper one")
        empty = "empty" if f"{start}empty" in self.arrays and not start else None
        live = self.read(f"{start}live", shape) > 0
        return MassScan(
            name=form["name"],
            parameter=Parameter(form["parameter"]["name"], form["parameter"]["unit"], values),
            poi=Poi(poi, form["poi_unit"], float(lower), float(upper)),
            counts=counts,
            backgrounds=tuple(samples[:first]),
            signal=samples[first],
            more_signals=tuple(samples[first + 1 :]),
            live=live,
            empty=np.zeros(shape, dtype=bool) if empty is None else self.read(empty) > 0,
            policy=form["policy"],
            stated=tuple(form["stated"]),
        )

    def _sample(self, entry: Mapping[str, Any], start: str, shape: tuple[int, ...]) -> Sample:
        error, shapesys = None, False
        if entry["error"] is not None:
            error = self.positive(f"{start}{entry['error']['table']}", shape)
            shapesys = entry["error"]["type"] == "shapesys"
        norms = []
        for norm in entry["norms"]:
            up, down = (self.positive(f"{start}{norm[k]}", shape[:1]) for k in ("up", "down"))
            if np.any(up <= 0) or np.any(down <= 0):
                raise InputError(f"scan.npz: factors of '{norm['name']}' are not above 0")
            norms.append(Norm(norm["name"], up, down))
        yields = self.positive(f"{start}{entry['yields']}", shape)
        shifts = [
            Shift(one["name"], *(self.read(f"{start}{one[k]}", shape) for k in ("up", "down")))
            for one in entry["shifts"]
        ]
        scales = tuple(Scale(one["name"], one["type"]) for one in entry["scales"])
        return Sample(entry["name"], yields, error, shapesys, tuple(norms), tuple(shifts), scales)
