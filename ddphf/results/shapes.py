"""JSON Schemas of what several kinds of record are made of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from ddphf.arrays import Spec

__all__ = [
    "ANY", "AXIS", "BANDS", "COMMON", "COUNT", "HOLE", "HOLES", "MINIMUM", "NUMBER", "OPEN",
    "PAIRING", "PARAMETER", "PROBABILITY", "STATEMENT", "TEXT", "TOYS", "WARNINGS", "fields",
    "increases", "is_number", "listed", "maybe", "misfits_of_axes",
]  # fmt: skip

# A number whose square still is one: figures and tables compute with it.
NUMBER: Spec = {"type": "number", "minimum": -1e100, "maximum": 1e100}
HOLE: Spec = {**NUMBER, "type": ["number", "null"]}
TEXT: Spec = {"type": "string", "maxLength": 100_000}
COUNT: Spec = {"type": "integer", "minimum": 0}
ANY: Spec = {}

PROBABILITY: Spec = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1}
"""A p-value is never 0: where it cannot be told it is null."""

OPEN: Spec = {"type": "object"}
"""An object whose keys are anybody's: versions, names of parameters, what an analysis says."""


def fields(required: Spec, optional: Spec | None = None, of: type | None = None) -> Spec:
    """Return the schema of an object whose keys are all known.

    Args:
        required: Schema by key.
        optional: The same for keys that may be absent.
        of: Frozen record whose further fields are keys too, of any type.

    Example:
        >>> sorted(fields({"n": COUNT}, {"mean": HOLE})["properties"])
        ['mean', 'n']
    """
    others = {} if of is None else {f.name: ANY for f in dataclasses.fields(of)}
    properties = {**others, **required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def listed(item: Spec, **limits: int) -> Spec:
    """Return the schema of a list of items, such as ``minItems=1`` of them."""
    return {"type": "array", "items": item, **limits}


def maybe(schema: Spec) -> Spec:
    """Return a schema that takes null too."""
    return {"anyOf": [schema, {"type": "null"}]}


HOLES = listed(HOLE)
BANDS = listed(HOLE, minItems=5, maxItems=5)
COMMON = {"provenance": OPEN, "measurement": TEXT}
WARNINGS = {"warnings": listed(TEXT)}

PARAMETER = fields(
    {"name": TEXT, "value": NUMBER, "error": HOLE},
    {"error_up": HOLE, "error_down": HOLE, "at_bound": ANY},
)
MINIMUM = fields(
    {
        "twice_nll": NUMBER,
        "parameters": listed(PARAMETER),
        "certificate": fields(
            {"edm": NUMBER, "twice_nll_pyhf": NUMBER}, {"projected_gradient": ANY}
        ),
    },
    {"poi": PARAMETER, "poi_value": ANY, "status": TEXT},
)
TOYS = fields(
    {
        "n": COUNT,
        "n_failed": COUNT,
        "p0": HOLE,
        "p0_interval": listed(NUMBER, minItems=2, maxItems=2),
    },
    {
        "z0": HOLE,
        "seed": {"type": ["integer", "null"]},
        "n_ge": COUNT,
        "p0_interval_level": ANY,
        "at_zero": ANY,
        "resolved": ANY,
    },
)
STATEMENT = fields(
    {"mu_hat": NUMBER, "mu_error": HOLE, "q0": NUMBER, "z0": NUMBER, "p0": NUMBER},
    {"toys": maybe(TOYS), "q0_capped": ANY},
)
AXIS = fields({"label": TEXT, "unit": TEXT, "edges": listed(NUMBER, minItems=2)}, {"name": ANY})
PAIRING = fields({"tested": TEXT, "partner": TEXT})


def misfits_of_axes(axes: list[dict[str, Any]], where: str) -> Iterator[str]:
    """Yield the axes of a binning whose edges do not rise."""
    for number, axis in enumerate(axes):
        if not increases(axis["edges"]):
            yield f"at {where}.{number}.edges: edges that do not increase"


def increases(values: list[float]) -> bool:
    """Return whether every value is above the one before."""
    return all(low < high for low, high in itertools.pairwise(values))


def is_number(value: Any) -> bool:
    """Return whether a value is what :data:`NUMBER` asks for."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e100
