"""The shape of the records that a report is made of: what another program wrote is checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jsonschema

__all__ = ["KINDS", "check_record", "clean_text"]

Schema = dict[str, Any]

# A number whose square still is one: figures and tables compute with it.
NUMBER: Schema = {"type": "number", "minimum": -1e100, "maximum": 1e100}
HOLE: Schema = {**NUMBER, "type": ["number", "null"]}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def _list(item: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": item, **limits}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


HOLES = _list(HOLE)
BANDS = _list(HOLE, minItems=5, maxItems=5)
COMMON = {"provenance": {"type": "object"}, "measurement": TEXT}
WARNINGS = {"warnings": _list(TEXT)}
POI = _object({"name": TEXT, "value": NUMBER, "error": NUMBER})

TOYS = _object(
    {"n": COUNT, "n_failed": COUNT, "p0": HOLE, "p0_interval": _list(HOLE, minItems=2, maxItems=2)},
    {"z0": HOLE, "seed": {"type": ["integer", "null"]}, "n_ge": COUNT},
)
STATEMENT = _object(
    {"mu_hat": NUMBER, "mu_error": NUMBER, "q0": NUMBER, "z0": NUMBER, "p0": NUMBER},
    {"toys": _maybe(TOYS)},
)
GOODNESS = _object(
    {"statistic": NUMBER, "degrees_of_freedom": NUMBER, "p_value": HOLE},
    {
        "expected_statistic": HOLE,
        "asymptotic": {"type": "boolean"},
        "toys": _maybe(_object({"n": COUNT, "n_failed": COUNT, "p_value": HOLE})),
        "channels": _list(_object({"name": TEXT, "pulls": HOLES})),
    },
)
IMPACT = _object(
    {"name": TEXT},
    dict.fromkeys(
        (
            "pull", "constraint", "prefit_up", "prefit_down", "postfit_up", "postfit_down",
            "auxiliary_up", "auxiliary_down",
        ),
        HOLE,
    ),
)  # fmt: skip
GROUP = _object({"name": TEXT}, dict.fromkeys(("frozen_error", "impact", "auxiliary"), HOLE))
NULLS = _object(
    {},
    {
        "asymptotic": _maybe(_object({"p0": NUMBER, "z0": HOLE})),
        "toys": _maybe(TOYS),
        "importance": _maybe(
            _object({"p0": HOLE}, {"p0_error": HOLE, "z0": HOLE, "effective_sample_size": HOLE})
        ),
        "comparison": _maybe(
            _object(
                {
                    "n": COUNT,
                    "histogram": _object(
                        {"edges": _list(NUMBER, minItems=2), "counts": _list(NUMBER, minItems=1)}
                    ),
                },
                {"ks": _object({"distance": NUMBER, "p_value": HOLE}), "mean": HOLE, "sd": HOLE},
            )
        ),
    },
)
EXPECTED = _object(
    {"mu": NUMBER, "asimov": _object({"z0": NUMBER})},
    {
        "asymptotic": _maybe(_object({"z0": BANDS})),
        "toys": _maybe(_object({"n": COUNT, "z0": BANDS})),
    },
)
SCAN_OF_LIMIT = _object(
    {"mu": _list(NUMBER, minItems=1), "observed": HOLES}, {"expected": _list(BANDS)}
)
LIMIT = _object(
    {"observed": HOLE}, {"expected": BANDS, "observed_error": HOLE, "scan": SCAN_OF_LIMIT}
)

AXIS = _object({"label": TEXT, "unit": TEXT, "edges": _list(NUMBER, minItems=2)})
PAIRING = _object({"tested": TEXT, "partner": TEXT})
LEPTON_ID = _object(
    {
        "kept": _list(TEXT),
        "eigenvalues": _list(NUMBER, minItems=1),
        "trace": {**NUMBER, "exclusiveMinimum": 0},
        "retained": NUMBER,
        "largest_sigma": NUMBER,
        "residual": TEXT,
        "covariance": _object({"calibration_bins": COUNT, "model": TEXT}),
    }
)
YIELD = _object(
    {"expected": _list(NUMBER), "error": _list(NUMBER), "sum": NUMBER, "sum_error": NUMBER}
)
PREDICTION = _object(
    {
        "samples": {"type": "object", "additionalProperties": YIELD},
        "total": YIELD,
        "axis_errors": _list(_list(NUMBER)),
    }
)
CHANNEL = _object(
    {
        "name": TEXT,
        "observed": _list({**NUMBER, "minimum": 0}, minItems=1),
        "predictions": {
            **_object({"prefit": PREDICTION, "postfit": PREDICTION}, {"null": PREDICTION}),
            "additionalProperties": False,
        },
    }
)
ASYMMETRY = _object(
    {
        "axis": COUNT,
        "observed": HOLES,
        "observed_error": HOLES,
        "expected": {"type": "object", "additionalProperties": HOLES},
        "expected_error": {"type": "object", "additionalProperties": HOLES},
    }
)
PULL = {
    **_object(
        {
            "name": TEXT,
            "value": NUMBER,
            "error": NUMBER,
            "nominal": NUMBER,
            "width": {**NUMBER, "exclusiveMinimum": 0},
        }
    ),
    "additionalProperties": False,
}

KINDS: dict[str, Schema] = {
    "ddphf/fit/1": _object(
        {
            **COMMON,
            "fit": _object(
                {
                    "twice_nll": NUMBER,
                    "parameters": _list(_object({"name": TEXT, "value": NUMBER, "error": NUMBER})),
                    "certificate": _object({"edm": NUMBER, "twice_nll_pyhf": NUMBER}),
                }
            ),
        },
        {
            **WARNINGS,
            "discovery": STATEMENT,
            "known_background": STATEMENT,
            "goodness_of_fit": _maybe(GOODNESS),
        },
    ),
    "ddphf/yields/1": _object(
        {
            **COMMON,
            "channels": _list(CHANNEL, minItems=1),
            "axes": _list(AXIS),
            "pairing": _maybe(PAIRING),
            "asymmetry": _list(ASYMMETRY),
            "correlations": _maybe(
                _object({"names": _list(TEXT), "matrix": _list(_list(NUMBER))})
            ),
            "pulls": _list(PULL),
        },
        WARNINGS,
    ),
    "ddphf/rank/1": _object(
        {**COMMON, "poi": POI, "parameters": _list(IMPACT)},
        {
            **WARNINGS,
            "n_ranked": COUNT,
            "groups": _list(GROUP),
            "frozen": _maybe({"type": "object", "additionalProperties": HOLE}),
            "auxiliary": _maybe({"type": "object", "additionalProperties": HOLE}),
            "failures": _list(_object({"parameter": TEXT, "reason": TEXT})),
        },
    ),
    "ddphf/scan/1": _object(
        {
            **COMMON,
            "parameters": _list(
                _object({"name": TEXT, "best": NUMBER, "values": _list(NUMBER, minItems=2)}),
                minItems=1, maxItems=2,
            ),
            "delta_twice_nll": {"type": "array", "minItems": 2},
        },
        {**WARNINGS, "intervals": _list(_object({"level": NUMBER, "low": HOLE, "high": HOLE}))},
    ),
    "ddphf/discover/1": _object(
        {
            **COMMON,
            "statements": _list(
                _object(
                    {"measurement": TEXT, "observed": STATEMENT},
                    {"null": _maybe(NULLS), "expected": _maybe(EXPECTED)},
                ),
                minItems=1,
            ),
        },
        WARNINGS,
    ),
    "ddphf/limit/1": _object(
        {**COMMON, "level": NUMBER},
        {
            **WARNINGS,
            "poi": TEXT,
            "asymptotic": _maybe(LIMIT),
            "toys": _maybe(LIMIT),
            "intervals": _maybe(
                _list(_object({"level": NUMBER, "method": TEXT, "lower": HOLE, "upper": HOLE}))
            ),
        },
    ),
    "ddphf/metadata/1": _object(
        {
            "workspace_digest": TEXT,
            "pairing": PAIRING,
            "binning": _object({"axes": _list(AXIS, minItems=1)}),
        },
        {"name": TEXT, "lepton_id": LEPTON_ID, **WARNINGS},
    ),
}  # fmt: skip
"""JSON Schema of each record; keys that a report does not read are left alone."""


def clean_text(node: Any) -> Any:
    """Return JSON data whose texts can be printed: no control characters, no half characters.

    Example:
        >>> clean_text({"names": ["mu\\x07", 1]})
        {'names': ['mu\ufffd', 1]}
    """
    if isinstance(node, str):
        # The other half of a surrogate pair is missing where Python cannot encode a text.
        text = node.encode("utf-8", "replace").decode("utf-8")
        return "".join(c if c.isprintable() or c == " " else "\ufffd" for c in text)
    if isinstance(node, dict):
        return {clean_text(key): clean_text(value) for key, value in node.items()}
    if isinstance(node, list):
        return [clean_text(value) for value in node]
    return node


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
    message = error.message if len(error.message) < 160 else f"{error.message[:150]} ..."
    return f"at {path}: {message}"


def _misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield what JSON Schema cannot say: lengths that must agree."""
    kind = record["schema"]
    if kind == "ddphf/yields/1":
        yield from _misfits_of_yields(record)
    elif kind == "ddphf/scan/1":
        lengths = [len(p["values"]) for p in record["parameters"]]
        rises = record["delta_twice_nll"]
        rows = rises if len(lengths) == 2 else [rises]
        bad = len(rises) != lengths[0] or any(
            not isinstance(row, list) or len(row) != lengths[-1] for row in rows
        )
        if bad or not all(v is None or _is_number(v) for row in rows for v in row):
            yield "at delta_twice_nll: expected a number or null for each of the values"
    elif kind == "ddphf/discover/1":
        for statement in record["statements"]:
            histogram = ((statement.get("null") or {}).get("comparison") or {}).get("histogram")
            if histogram and len(histogram["edges"]) != len(histogram["counts"]) + 1:
                yield "at statements: a histogram needs one edge more than counts"
    elif kind == "ddphf/limit/1":
        for key in ("asymptotic", "toys"):
            scan = (record.get(key) or {}).get("scan")
            if scan and any(
                len(scan[name]) != len(scan["mu"]) for name in ("observed", "expected")
                if name in scan
            ):  # fmt: skip
                yield f"at {key}.scan: expected as many entries as mu has"
    elif kind == "ddphf/metadata/1" and "lepton_id" in record:
        if len(record["lepton_id"]["kept"]) > len(record["lepton_id"]["eigenvalues"]):
            yield "at lepton_id.kept: more names than eigenvalues"


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
            if length == math.prod(shape) and shape:
                if [len(errors) for errors in prediction["axis_errors"]] != shape:
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
