"""Addresses of files in an analysis file, found along its schema, for a file written elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["move_addresses"]

NO_ERROR = "none"
"""Stands in the place of the address of an error."""


@cache
def _schema() -> dict[str, Any]:
    text = resources.files("ddphf.config").joinpath("analysis.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def move_addresses(document: Any, change: Callable[[str], str]) -> Any:
    """Return a valid analysis file with every address changed.

    Args:
        document: As YAML gives it.
        change: Called with each ``FILE:NAME`` or ``FILE``.

    Example:
        >>> move_addresses({"name": "a", "tested": {"label": "b", "observed": "h.root:h"}},
        ...                lambda text: f"../{text}")["tested"]
        {'label': 'b', 'observed': '../h.root:h'}
    """
    return _walk(document, _schema(), change)


def _walk(value: Any, schema: dict[str, Any], change: Callable[[str], str]) -> Any:
    kind = schema.get("$ref", "").rpartition("/")[2]
    if kind in ("address", "tables"):
        if isinstance(value, list):
            return [change(item) for item in value]
        return change(value) if isinstance(value, str) and value != NO_ERROR else value
    schema = _schema()["$defs"][kind] if kind else schema
    if "oneOf" in schema:
        refs = [option.get("$ref", "") for option in schema["oneOf"]]
        named = isinstance(value, str) and any(ref.endswith("/address") for ref in refs)
        return change(value) if named else value
    if isinstance(value, list):
        items = schema.get("items")
        return [_walk(item, items, change) for item in value] if items else value
    if not isinstance(value, dict):
        return value
    others = schema.get("additionalProperties")
    out = {}
    for key, item in value.items():
        below = schema.get("properties", {}).get(key, others)
        out[key] = _walk(item, below, change) if isinstance(below, dict) else item
    if kind == "systematic" and value.get("type") == "histosys":
        out.update({end: change(value[end]) for end in ("up", "down")})
    return out
