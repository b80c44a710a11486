"""What a workspace must be as JSON: pyhf's Schemas, read once and resolved in memory; no damage.

pyhf 0.7.6 opens two files at every validation (its cache misses: the two slashes of a URL become
one in a path), the second inside of urllib: a signal that comes meanwhile leaves it open. It also
uses a class that jsonschema deprecated (scikit-hep/pyhf#2139).
"""

from __future__ import annotations

import functools
import numbers
import unicodedata
from typing import Any

import jsonschema
import pyhf
import referencing
import referencing.jsonschema

from ddphf.exceptions import ModelError
from ddphf.guards import LONGEST_NAME
from ddphf.likelihood.documents import recognise_other

__all__ = ["check_schema", "validate"]

LARGEST = 1e100
"""A larger number is damage, and its square overflows; RooFit's infinity is 1e30."""


def check_schema(workspace: Any) -> None:
    """Validate against pyhf's own workspace schema.

    Raises:
        ModelError: The first violation, with its path and what was found.
    """
    named = isinstance(workspace, dict) and "channels" in workspace and "measurements" in workspace
    if not named and (found := recognise_other(workspace)):
        raise ModelError(f"workspace: {found}")
    if not isinstance(workspace, dict):
        raise ModelError(
            f"workspace: expected a JSON object, got {type(workspace).__name__}; "
            "is this a pyhf workspace?"
        )
    try:
        _refuse_damaged(workspace, "workspace")
    except RecursionError:
        raise ModelError("workspace: nested too deeply; is this a pyhf workspace?") from None
    try:
        _validate_workspace(workspace)
    except pyhf.exceptions.InvalidSpecification as error:
        got = repr(error.instance)
        got = got if len(got) < 80 else got[:77] + "..."
        message = error.args[0].splitlines()[0] if error.args else "invalid"
        message = message if len(message) < 200 else message[:197] + "..."
        raise ModelError(
            f"workspace schema 1.0.0: at {error.path or 'the top level'}: {message} (got {got})"
        ) from None


def _refuse_damaged(node: Any, path: str) -> None:
    """Refuse numbers that no likelihood can use, and text that no file can hold."""
    if isinstance(node, (int, float)) and not abs(node) <= LARGEST:
        got = f"{node:g}" if isinstance(node, float) else "an integer of many digits"
        raise ModelError(f"{path}: got {got}, expected a finite number below {LARGEST:g}")
    if isinstance(node, str) and len(node) > LONGEST_NAME:
        raise ModelError(f"{path}: a text of {len(node)} characters, at most {LONGEST_NAME}")
    if isinstance(node, str) and not node.isascii():
        try:
            node.encode()
        except UnicodeEncodeError:
            raise ModelError(f"{path}: {node!a} holds half a character; rename it") from None
    if isinstance(node, str) and (bad := [c for c in node if unicodedata.category(c) == "Cc"]):
        raise ModelError(
            f"{path}: {node!a} holds the control character {bad[0]!a}, which would act on "
            "terminals and tables; rename it"
        )
    if isinstance(node, dict):
        for key, value in node.items():
            _refuse_damaged(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _refuse_damaged(value, f"{path}[{index}]")


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


def _validate_workspace(workspace: Any) -> None:
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
