"""pyhf's JSON Schemas, read once and resolved in memory.

pyhf 0.7.6 opens two files at every validation (its cache misses: the two slashes of a URL become
one in a path), the second inside of urllib: a signal that comes meanwhile leaves it open. It also
uses a class that jsonschema deprecated (scikit-hep/pyhf#2139).
"""

from __future__ import annotations

import functools
import numbers
from typing import Any

import jsonschema
import pyhf
import referencing
import referencing.jsonschema

__all__ = ["validate", "validate_workspace"]


def validate(document: Any, name: str) -> None:
    """Validate a document as :func:`pyhf.schema.validate` does, opening no file after the first.

    Args:
        document: JSON data.
        name: Which definition of pyhf's schema 1.0.0: ``workspace``, ``patchset``.

    Raises:
        pyhf.exceptions.InvalidSpecification: The first violation, with path and instance.

    Example:
        >>> try:
        ...     validate({"version": "2.0.0"}, "workspace")
        ... except pyhf.exceptions.InvalidSpecification as error:
        ...     error.path, error.args[0].splitlines()[0]
        ('version', "'1.0.0' was expected.")
    """
    error = next(_validator(name).iter_errors(document), None)
    if error is not None:
        raise pyhf.exceptions.InvalidSpecification(error, name)


def validate_workspace(workspace: Any) -> None:
    """Validate a workspace, of which no more is shown to jsonschema than its rules can tell apart.

    Raises:
        pyhf.exceptions.InvalidSpecification: The first violation, with path and instance.
    """
    short = _shorten(workspace)
    try:
        validate(_keep_forms(short), "workspace")
    except pyhf.exceptions.InvalidSpecification:
        validate(short, "workspace")  # its path counts all modifiers


@functools.cache
def _validator(name: str) -> Any:
    schema = pyhf.schema.load_schema(f"{pyhf.schema.version}/defs.json")
    resource = referencing.jsonschema.DRAFT6.create_resource(schema)
    registry = referencing.Registry().with_resource(schema["$id"], resource)
    numeric = jsonschema.Draft6Validator.TYPE_CHECKER.redefine(
        "number", lambda _, instance: isinstance(instance, numbers.Number)
    )
    kind: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft6Validator, type_checker=numeric
    )
    return kind({"$ref": f"{schema['$id']}#/definitions/{name}"}, registry=registry)


def _shorten(node: Any) -> Any:
    """Keep a few numbers of each list of numbers: jsonschema takes 10 us for each of them.

    The schema has one rule for all items of a list; what is no plain number stays to be refused.
    """
    if isinstance(node, dict):
        return {key: _shorten(value) for key, value in node.items()}
    if isinstance(node, list):
        pairs = node and all(type(value) is list for value in node)  # bounds
        numbers = [number for value in node for number in value] if pairs else node
        plain = all(type(number) in (int, float) for number in numbers)
        return node[:4] if plain else [_shorten(value) for value in node]
    return node


def _keep_forms(node: Any) -> Any:
    """Keep one modifier of each form in a sample: jsonschema takes .1 ms for each of them."""
    if isinstance(node, dict):
        kept = {key: _keep_forms(value) for key, value in node.items()}
        if isinstance(node.get("modifiers"), list):
            kept["modifiers"] = list({_form_of(m): m for m in node["modifiers"]}.values())
        return kept
    return [_keep_forms(value) for value in node] if isinstance(node, list) else node


def _form_of(node: Any) -> Any:
    """Return what the schema can see of a modifier: its keys, its type, the types of values."""
    if isinstance(node, dict):
        form = {key: _form_of(value) for key, value in node.items()}
        return tuple({**form, "type": repr(node.get("type"))}.items())
    return tuple(map(_form_of, node)) if isinstance(node, list) else type(node).__name__
