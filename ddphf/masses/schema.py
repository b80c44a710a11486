"""What a scan file may say, as a JSON Schema; its ``schema`` is that of its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema

from ddphf.arrays import Spec
from ddphf.exceptions import ConfigError
from ddphf.results.masses import MassesResult
from ddphf.text import did_you_mean

__all__ = ["SCHEMA", "check_scan_file"]

SCHEMA = MassesResult.SCHEMA

NAME: Spec = {"type": "string", "pattern": "^[A-Za-z0-9_]{1,60}$"}
TEXT: Spec = {"type": "string", "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]{0,60}$"}
TABLE: Spec = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array"}]}
NUMBERS: Spec = {"anyOf": [*TABLE["anyOf"], {"type": "number"}]}


def _object(required: Spec, optional: Spec | None = None) -> Spec:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


KINDS = {
    "normsys": _object(
        {"name": NAME, "type": {"const": "normsys"}, "up": NUMBERS, "down": NUMBERS}
    ),
    "histosys": _object(
        {"name": NAME, "type": {"const": "histosys"}, "up": TABLE, "down": TABLE},
        {"relative": {"type": "boolean"}},
    ),
    "lumi": _object({"type": {"const": "lumi"}}),
}
"""Systematics of a sample, by type: each is looked at on its own, so that a message says what."""

ERRORS: Spec = {
    "error": TABLE,
    "error_kind": {"enum": ["staterror", "shapesys"]},
    "systematics": {"type": "array", "items": {"type": "object"}},
}
EVENTS = _object({"events": {"type": ["string", "array"]}}, {"weight": {"type": "string"}})
MADE = _object(
    {"events": {"type": ["string", "array"]}},
    {"weight": {"type": "string"}, "generated": {"type": "string"}},
)
DATA = _object({"events": {"type": ["string", "array"]}})
WINDOW = _object(
    {
        "column": {"type": "string"},
        "resolution": NUMBERS,
        "half_width": {"type": "number", "exclusiveMinimum": 0},
        "bins": {"type": "integer", "minimum": 1, "maximum": 10_000},
    },
    {"other": _object({"column": {"type": "string"}, "edges": TABLE})},
)
SAMPLE = _object({"yields": {"anyOf": [*TABLE["anyOf"], EVENTS]}}, {"name": NAME, **ERRORS})
SIGNAL = _object(
    {"yields": {"anyOf": [*TABLE["anyOf"], MADE]}},
    {"name": NAME, **ERRORS, "simulated": TABLE, "interpolate_yields": {"enum": ["linear", "log"]}},
)
SCAN = _object(
    {
        "schema": {"const": SCHEMA},
        "name": NAME,
        "parameter": _object({"name": NAME, "values": TABLE}, {"unit": TEXT}),
        "observed": {"anyOf": [*TABLE["anyOf"], DATA]},
        "background": {
            "anyOf": [SAMPLE, {"type": "array", "items": SAMPLE, "minItems": 1}]
        },
        "signal": SIGNAL,
        "poi": _object(
            {"name": NAME},
            {
                "unit": TEXT,
                "bounds": {
                    "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2,
                },
            },
        ),
    },
    {
        "edges": TABLE,
        "window": WINDOW,
        "luminosity": _object({"relative_error": {"type": "number", "exclusiveMinimum": 0,
                                                  "maximum": 1}}),
        "empty_bins": {"enum": ["keep", "drop", "floor", "merge"]},
    },
)  # fmt: skip

PATTERNS = {
    NAME["pattern"]: "up to 60 letters, digits and underscores",
    TEXT["pattern"]: "up to 60 characters in one line",
}
WORDS = {"object": "a section", "array": "a list", "number": "a number", "string": "text"}


def check_scan_file(data: Any) -> None:
    """Refuse what is no scan file, with the place and what is expected there.

    Raises:
        ConfigError: Says where.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"expected a scan file: 'schema: {SCHEMA}' and what docs/masses.md has")
    if "schema" not in data and "channels" in data:
        raise ConfigError(
            "is a workspace, no scan file; where patches give its signals: --patchset FILE"
        )
    if "schema" not in data and "patches" in data:
        raise ConfigError(
            "is a patchset, no scan file; give its background: ddphf masses BkgOnly.json "
            "--patchset FILE"
        )
    schema = _pick(data)
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(data)
    )
    if error is None:
        _check_systematics(data)
        return
    _refuse(error, "")


def _check_systematics(data: Mapping[str, Any]) -> None:
    given = data["background"]
    places = [("signal", data["signal"])]
    places += (
        [(f"background.{i}", one) for i, one in enumerate(given)]
        if isinstance(given, list)
        else [("background", given)]
    )
    for where, sample in places:
        for i, entry in enumerate(sample.get("systematics", ())):
            place = f"{where}.systematics.{i}"
            kind = entry.get("type")
            if kind not in KINDS:
                raise ConfigError(
                    f"at {place}.type: {json.dumps(kind)}: expected one of {', '.join(KINDS)}"
                )
            error = jsonschema.exceptions.best_match(
                jsonschema.Draft202012Validator(KINDS[kind]).iter_errors(entry)
            )
            if error is not None:
                _refuse(error, place)
            if kind == "lumi" and "luminosity" not in data:
                raise ConfigError(
                    f"at {place}: there is no 'luminosity: {{relative_error: ...}}' to tell its "
                    "width"
                )


def _refuse(error: Any, start: str) -> None:
    """Say what is wrong, at a place that begins so."""
    path = ".".join(map(str, [*filter(None, [start]), *error.absolute_path]))
    where = f"at {path}" if path else "at the top"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        raise ConfigError(f"{where}: '{missing}' is missing")
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        extra = sorted(set(error.instance) - set(known))[0]
        raise ConfigError(
            f"{where}: unknown key '{extra}', {did_you_mean(extra, known)}expected one of "
            f"{', '.join(known)}"
        )
    got = json.dumps(error.instance, default=str)
    got = got if len(got) < 60 else got[:57] + "..."
    expected: dict[str, Callable[[Any], str]] = {
        "type": lambda v: WORDS.get(str(v), str(v)),
        "enum": lambda v: "one of " + ", ".join(map(str, v)),
        "const": lambda v: repr(v),
        "pattern": PATTERNS.__getitem__,
        "minItems": lambda v: f"{v} or more entries",
        "maxItems": lambda v: f"{v} entries",
        "anyOf": lambda _: "a table (FILE.npz:NAME), a list of numbers, or events",
    }
    say = expected.get(str(error.validator), lambda _: str(error.message))
    raise ConfigError(f"{where}: {got}: expected {say(error.validator_value)}")


def _pick(data: Mapping[str, Any]) -> Spec:
    """Return the schema for one background or several, so that a message says what is wrong."""
    many = isinstance(data.get("background"), list)
    background = {"type": "array", "items": SAMPLE, "minItems": 1} if many else SAMPLE
    return {**SCAN, "properties": {**SCAN["properties"], "background": background}}
