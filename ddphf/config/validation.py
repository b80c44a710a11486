"""Configuration files against their JSON Schema, with messages that say path, got and expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, Literal

import jsonschema

from ddphf.exceptions import ConfigError
from ddphf.text import did_you_mean

__all__ = ["validate"]

WORDS = {"integer": "a whole number without a decimal point"}

LARGEST = 1e30
"""A larger number is damage, and its powers overflow."""


def validate(data: Any, kind: Literal["analysis", "ratio"]) -> None:
    """Refuse what the schema of a kind of file does not allow, and numbers that are not finite.

    Args:
        data: As YAML gives it.
        kind: Of the file.

    Raises:
        ConfigError: Says path, what, got and expected.

    Example:
        >>> validate({}, "ratio")
        Traceback (most recent call last):
            ...
        ddphf.exceptions.ConfigError: at the top: 'schema' is missing
    """
    _validate(data, kind)
    _refuse_not_finite(data, "")


@cache
def _validator(kind: str) -> Any:
    text = resources.files("ddphf.config").joinpath(f"{kind}.schema.json").read_text("utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    # JSON Schema takes 4.0 for an integer, but a range or a slice does not.
    whole = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, type_checker=whole
    )
    return strict(schema)


def _refuse_not_finite(node: Any, path: str) -> None:
    """Refuse .nan, .inf and integers beyond any float: every comparison with them misleads."""
    if isinstance(node, (int, float)) and not abs(node) < LARGEST:
        got = str(node) if isinstance(node, float) else "an integer of many digits"
        raise ConfigError(f"at {path}: got {got}, expected a finite number")
    items = node.items() if isinstance(node, dict) else ()
    for key, value in enumerate(node) if isinstance(node, list) else items:
        _refuse_not_finite(value, f"{path}.{key}" if path else str(key))


def _validate(data: Any, kind: str) -> None:
    error = jsonschema.exceptions.best_match(_validator(kind).iter_errors(data))
    if error is None:
        return
    where = "at " + ".".join(map(str, error.absolute_path)) if error.absolute_path else "at the top"
    try:
        got = json.dumps(error.instance, default=str)
    except (TypeError, ValueError):  # YAML has keys and cycles that JSON has not
        got = type(error.instance).__name__
    got = got if len(got) < 60 else got[:57] + "..."
    if error.validator == "required":
        missing = [k for k in error.validator_value if k not in error.instance]
        remedy = error.schema.get("properties", {}).get(missing[0], {}).get("$comment")
        raise ConfigError(f"{where}: '{missing[0]}' is missing{f'; {remedy}' if remedy else ''}")
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        extra = sorted(set(error.instance) - set(known))
        hint = did_you_mean(extra[0], known)
        raise ConfigError(
            f"{where}: unknown key '{extra[0]}', {hint}expected one of {', '.join(known)}"
        )
    expected: dict[str, Callable[[Any], str]] = {
        "type": lambda v: error.schema.get("description", WORDS.get(str(v), str(v))).rstrip("."),
        "enum": lambda v: "one of " + ", ".join(map(str, v)),
        "const": lambda v: repr(v),
        "pattern": lambda _: "letters, digits and underscores",
        "exclusiveMinimum": lambda v: f"a number > {v}",
        "exclusiveMaximum": lambda v: f"a number < {v}",
        "minimum": lambda v: f"a number >= {v}",
        "maximum": lambda v: f"a number <= {v}",
        "minLength": lambda _: "FILE:NAME",
        "minItems": lambda v: f"{v} or more entries",
        "maxItems": lambda v: f"{v} entries",
        "minProperties": lambda v: f"{v} or more entries",
        "oneOf": lambda _: error.schema["description"],
    }
    rule = str(error.validator)
    text = expected[rule](error.validator_value) if rule in expected else error.message
    number = isinstance(error.instance, (int, float))  # a boolean is one too
    if number and rule == "type" and error.validator_value == "string":
        text += f"; in quotes, '{got}', if it is a name"
    if error.schema is False:
        raise ConfigError(
            f"{where}: got 'relative', but the factors of a normsys always are; leave it out"
        )
    raise ConfigError(f"{where}: got {got}, expected {text}")
