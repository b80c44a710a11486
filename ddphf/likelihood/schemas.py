"""What a workspace must be as JSON, and what pyhf leaves out of one that is.

pyhf's Schemas are read once and resolved in memory: pyhf 0.7.6 opens two files at every validation
(its cache misses: the two slashes of a URL become one in a path), the second inside of urllib: a
signal that comes meanwhile leaves it open. It also uses a class that jsonschema deprecated
(scikit-hep/pyhf#2139).

Three things of a legal workspace have no effect in pyhf and are said by name, since a fit would
look as if they had been used: observations without a channel, settings of a parameter that no
modifier has (a misspelt ``fixed: true`` leaves the other one free), and per-bin errors where the
yield they belong to is not positive (pyhf holds those factors at 1).
"""

from __future__ import annotations

import functools
import numbers
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema
import numpy as np
import pyhf
import referencing
import referencing.jsonschema

from ddphf.exceptions import ModelError
from ddphf.guards import LONGEST_NAME
from ddphf.likelihood.documents import recognise_other
from ddphf.results.provenance import read_mark
from ddphf.text import did_you_mean, list_names
from ddphf.workspace_json import ChannelDocument, MeasurementDocument, Workspace

__all__ = ["check_schema", "check_staterrors", "validate", "warn_of_dropped"]

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


WRITTEN_ANYWAY = "lumi"
"""pyhf xml2json configures it in every measurement, used or not."""


def warn_of_dropped(
    workspace: Workspace, measurement: MeasurementDocument, parameters: Iterable[str]
) -> Iterator[str]:
    """Yield a sentence about each kind of content that pyhf ignores.

    Args:
        workspace: A checked pyhf workspace.
        measurement: The measurement to be fitted.
        parameters: Names of the parameters that its modifiers have.

    Example:
        >>> spec = {"channels": [], "observations": [{"name": "VR", "data": [1.0]}]}
        >>> measurement = {"name": "m", "config": {"poi": "", "parameters": [{"name": "nrm"}]}}
        >>> lost, ignored = warn_of_dropped(spec, measurement, ["norm"])
        >>> lost
        'observations without a channel are ignored: VR'
        >>> ignored.partition(": nrm")[2]
        " (did you mean 'norm'?)"
    """
    channels = workspace["channels"]
    places = [*_empty_staterrors(channels), *_empty_shapesys(channels)]
    names = {channel["name"] for channel in channels}
    if extra := sorted({o["name"] for o in workspace["observations"]} - names):
        # Pruned published workspaces keep them.
        yield f"observations without a channel are ignored: {', '.join(extra)}"
    known, config = set(parameters), measurement["config"]
    lost = [p["name"] for p in config["parameters"] if p["name"] not in known | {WRITTEN_ANYWAY}]
    if (mark := read_mark({"measurements": [measurement]})) is not None:
        yield mark.describe()
        lost = [name for name in lost if name != mark.name]
    if config["poi"] and config["poi"] not in known:
        lost = []  # a background-only workspace: they come with the patch of the signal
    if lost:
        free = known - {p["name"] for p in config["parameters"]}
        hint = did_you_mean(lost[0], sorted(free)).rstrip("; ")
        yield (
            f"measurement '{measurement['name']}': settings of parameters that no modifier has are "
            f"ignored: {list_names(lost)}" + (f" ({hint})" if hint else "")
        )
    if places:
        yield (
            "per-bin errors where the yield is not above 0 are ignored by pyhf: "
            f"{list_names(places)}; a histosys states such an error"
        )


def check_staterrors(channels: list[ChannelDocument]) -> None:
    """Refuse a staterror whose samples do not have it in the same channels.

    Raises:
        ModelError: pyhf would stop with an assertion; says which sample lacks it where.

    Example:
        >>> stat = {"name": "k", "type": "staterror", "data": [1.0]}
        >>> sample = {"name": "b", "data": [9.0], "modifiers": [stat]}
        >>> channel = {"name": "A", "samples": [sample]}
        >>> check_staterrors([channel, {**channel, "name": "Z"}])
        >>> check_staterrors([channel, {"name": "Z", "samples": [{**sample, "name": "c"}]}])
        Traceback (most recent call last):
        ...
        ddphf.exceptions.ModelError: staterror 'k': channel 'Z' has it in sample 'c' and not in ...
    """
    for name, samples in _staterrors(channels).items():
        everywhere = {channel for own in samples.values() for channel in own}
        for sample, own in samples.items():
            if missing := sorted(everywhere - set(own)):
                other = next(s for s, places in samples.items() if missing[0] in places)
                raise ModelError(
                    f"staterror '{name}': channel '{missing[0]}' has it in sample '{other}' and "
                    f"not in sample '{sample}', which has it in channel '{min(own)}'; pyhf needs "
                    "every sample of a staterror in all of its channels, so give each channel a "
                    "staterror of its own name"
                )


def _staterrors(
    channels: list[ChannelDocument],
) -> dict[str, dict[str, dict[str, tuple[Any, Any]]]]:
    """Return yields and errors by staterror, sample and channel."""
    out: dict[str, dict[str, dict[str, tuple[Any, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    pair = (np.array(sample["data"]), np.array(modifier["data"]))
                    out[modifier["name"]][sample["name"]][channel["name"]] = pair
    return out


def _empty_staterrors(channels: list[ChannelDocument]) -> Iterator[str]:
    """Yield where the samples of a staterror add up to nothing, and one of them has an error."""
    for name, samples in _staterrors(channels).items():
        for channel in sorted({place for own in samples.values() for place in own}):
            pairs = [own[channel] for own in samples.values() if channel in own]
            total = np.sum([yields for yields, _ in pairs], axis=0)
            error = np.sum([errors for _, errors in pairs], axis=0)
            yield from _name_bins((total <= 0) & (error > 0), channel, name, "staterror")


def _empty_shapesys(channels: list[ChannelDocument]) -> Iterator[str]:
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "shapesys":
                    empty = (np.array(sample["data"]) <= 0) & (np.array(modifier["data"]) > 0)
                    yield from _name_bins(empty, channel["name"], modifier["name"], "shapesys")


def _name_bins(where: Any, channel: str, name: str, kind: str) -> Iterator[str]:
    bins = [str(i) for i in np.flatnonzero(where)]
    if bins:
        yield f"channel '{channel}', {kind} '{name}', bin{'s' * (len(bins) > 1)} {list_names(bins)}"
