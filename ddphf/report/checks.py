"""Records that another program wrote: their shape is checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jsonschema

from ddphf.report.records import KINDS

__all__ = ["check_record"]


def check_record(record: dict[str, Any]) -> str | None:
    """Return what is wrong with a record of a known schema, None if nothing is.

    Example:
        >>> check_record({"schema": "ddphf/limit/1", "provenance": {}, "measurement": "m",
        ...               "level": "high"})
        "at level: 'high' is not of type 'number'"
    """
    validator = jsonschema.Draft202012Validator(KINDS[record["schema"]])
    error = jsonschema.exceptions.best_match(validator.iter_errors(record))
    if error is None:
        return next(_misfits(record), None)
    path = ".".join(map(str, error.absolute_path)) or "the top"
    message = error.message if len(error.message) < 160 else f"... {error.message[-120:]}"
    return f"at {path}: {message}"


def _misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield what JSON Schema cannot say: lengths that must agree."""
    kind = record["schema"]
    if kind == "ddphf/fit/1":
        names = {parameter["name"] for parameter in record["fit"]["parameters"]}
        if "poi" in record["fit"] and record["fit"]["poi"]["name"] not in names:
            yield "at fit.poi.name: is none of the parameters"
    elif kind == "ddphf/yields/1":
        yield from _misfits_of_axes(record["axes"], "axes")
        yield from _misfits_of_yields(record)
    elif kind == "ddphf/scan/1":
        lengths = [len(p["values"]) for p in record["parameters"]]
        if not all(_increases(p["values"]) for p in record["parameters"]):
            yield "at parameters: values that do not increase"
        rises = record["delta_twice_nll"]
        rows = rises if len(lengths) == 2 else [rises]
        bad = len(rises) != lengths[0] or any(
            not isinstance(row, list) or len(row) != lengths[-1] for row in rows
        )
        if bad or not all(v is None or _is_number(v) for row in rows for v in row):
            yield "at delta_twice_nll: expected a number or null for each of the values"
        if ("contours" if len(lengths) == 2 else "intervals") not in record:
            yield "the top: a scan of one parameter has intervals, one of two has contours"
        paths = [path for c in record.get("contours", ()) for path in c["paths"]]
        if any(len(path["x"]) != len(path["y"]) for path in paths):
            yield "at contours: paths with as many x as y"
    elif kind == "ddphf/discover/1":
        for statement in record["statements"]:
            comparison = (statement.get("null") or {}).get("comparison") or {}
            histogram = comparison.get("histogram")
            found = comparison.get("quantiles")
            names = ("probability", "asymptotic", "toys")
            if found and len({len(found[name]) for name in names}) > 1:
                yield "at statements: quantiles of different numbers"
            if histogram and len(histogram["edges"]) != len(histogram["counts"]) + 1:
                yield "at statements: a histogram needs one edge more than counts"
            elif histogram and not _increases(histogram["edges"]):
                yield "at statements: edges of a histogram that do not increase"
    elif kind == "ddphf/limit/1":
        for key in ("asymptotic", "toys"):
            scan: dict[str, Any] = (record.get(key) or {}).get("scan") or {}
            curves = [scan["observed"], *scan.get("expected", ())] if scan else []
            curves += [scan["observed_error"]] if "observed_error" in scan else []
            if any(len(curve) != len(scan["mu"]) for curve in curves):
                yield f"at {key}.scan: expected as many entries as mu has"
    elif kind == "ddphf/metadata/1":
        yield from _misfits_of_axes(record["binning"]["axes"], "binning.axes")
        entry = record.get("lepton_id")
        if entry is not None:
            known = entry.get("ratio_variances", entry["eigenvalues"])
            if len(entry["kept"]) > len(known):
                yield "at lepton_id.kept: more names than eigenvalues"


def _misfits_of_axes(axes: list[dict[str, Any]], where: str) -> Iterator[str]:
    for number, axis in enumerate(axes):
        if not _increases(axis["edges"]):
            yield f"at {where}.{number}.edges: edges that do not increase"


def _increases(values: list[float]) -> bool:
    return all(low < high for low, high in itertools.pairwise(values))


def _misfits_of_yields(record: dict[str, Any]) -> Iterator[str]:
    shape = [len(axis["edges"]) - 1 for axis in record["axes"]]
    names = {channel["name"] for channel in record["channels"]}
    kinds = set(record["channels"][0]["predictions"])
    for number, channel in enumerate(record["channels"]):
        length, where = len(channel["observed"]), f"at channels.{number}"
        if set(channel["predictions"]) != kinds:
            yield f"{where}: predictions of other kinds than those of the first channel"
            return
        samples = set(channel["predictions"]["prefit"]["samples"])
        for kind, prediction in channel["predictions"].items():
            if set(prediction["samples"]) != samples:
                yield f"{where}.predictions.{kind}: other samples than before the fit"
            for entry in (*prediction["samples"].values(), prediction["total"]):
                if not len(entry["expected"]) == len(entry["error"]) == length:
                    yield f"{where}.predictions.{kind}: expected {length} bins, as observed"
            binned = bool(shape) and length == math.prod(shape)
            if binned and [len(errors) for errors in prediction["axis_errors"]] != shape:
                yield f"{where}.predictions.{kind}.axis_errors: expected lengths {shape}"
    if record["pairing"] is not None and not set(record["pairing"].values()) <= names:
        yield "at pairing: names a channel that is not there"
    for entry in record["asymmetry"]:
        curves = [*entry["expected"].values(), *entry["expected_error"].values()]
        lists = [entry["observed"], entry["observed_error"], *curves]
        if (
            record["pairing"] is None
            or entry["axis"] >= len(shape)
            or set(entry["expected"]) != set(entry["expected_error"])
            or any(len(values) != shape[entry["axis"]] for values in lists)
        ):
            yield "at asymmetry: does not fit pairing and axes"
    correlations = record["correlations"]
    if correlations is not None:
        n = len(correlations["names"])
        if [len(row) for row in correlations["matrix"]] != [n] * n:
            yield f"at correlations.matrix: expected {n} x {n} numbers"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e100
