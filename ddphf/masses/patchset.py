"""A background-only workspace and a pyhf patchset: one patch per hypothesis, of one background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyhf

from ddphf.arrays import Array
from ddphf.exceptions import InputError, ModelError
from ddphf.guards import within
from ddphf.likelihood.checks import check_workspace
from ddphf.likelihood.patches import Patch, apply_patch, split_signal
from ddphf.likelihood.schemas import check_schema, validate
from ddphf.text import did_you_mean, list_names
from ddphf.workspace_json import Workspace

__all__ = ["Hypotheses", "read_hypotheses"]


@dataclass(frozen=True)
class Hypotheses:
    """What a patchset says of its background.

    Attributes:
        background: Workspace without a signal.
        parameter: The label that is scanned.
        values: Of it, shape (n,), increasing.
        names: Of the patches, n of them, in the order of the values.
        patches: The same.
    """

    background: Workspace
    parameter: str
    values: Array
    names: tuple[str, ...]
    patches: tuple[Patch, ...]

    def __len__(self) -> int:
        return len(self.names)

    def workspace(self, index: int) -> Workspace:
        """Return the workspace of one hypothesis, as ``pyhf patchset apply`` makes it."""
        return apply_patch(self.background, self.patches[index], name=f"patch {self.names[index]}")


MOST = 100_000
"""Patches of a patchset."""

LARGEST = 1e15
"""Of a value, as in the tables of a scan file."""


def read_hypotheses(background: Any, patchset: Any, parameter: str | None = None) -> Hypotheses:
    """Return the hypotheses of a patchset, sorted by the values of a label.

    Args:
        background: JSON of the workspace without a signal.
        patchset: JSON of the patchset (schema 1.0.0).
        parameter: The label that is scanned; may be None where there is one alone.

    Raises:
        ModelError: The workspace, patched or not, is none.
        InputError: The patchset is none or of another workspace, a value is no number or there
            twice, or a patch changes more than the signal.

    Example:
        >>> from ddphf.masses.examples import small_patchset
        >>> found = read_hypotheses(*small_patchset())
        >>> found.parameter, found.values, found.names[0]
        ('m', array([1., 2., 3.]), 'm_1')
    """
    check_schema(background)
    try:
        validate(patchset, "patchset")
    except pyhf.exceptions.InvalidSpecification as error:
        what = error.args[0].splitlines()[0][:200] if error.args else "invalid"
        raise InputError(
            f"patchset schema 1.0.0: at {error.path or 'the top level'}: {what}"
        ) from None
    within("patchset", "patches", len(patchset["patches"]), MOST)
    _check_digests(background, patchset["metadata"]["digests"])
    check_workspace(background)
    label, column = _choose(patchset["metadata"]["labels"], parameter)
    entries: dict[float, tuple[str, Patch]] = {}
    for entry in patchset["patches"]:
        name, given = entry["metadata"]["name"], entry["metadata"]["values"]
        if len(given) != len(patchset["metadata"]["labels"]):
            raise InputError(
                f"patch '{name}': {len(given)} values for the labels "
                f"{', '.join(patchset['metadata']['labels'])}; give one value for each label"
            )
        value = given[column]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) <= LARGEST:
            raise InputError(
                f"patch '{name}': its '{label}' is {str(value)!r:.40}, expected a number; "
                "take another label by --parameter"
            )
        if value in entries:
            raise InputError(
                f"patches '{entries[value][0]}' and '{name}': both have {label} = {value:g}; leave "
                "one of them out, or scan another label by --parameter"
            )
        entries[float(value)] = name, entry["patch"]
    values = sorted(entries)
    names = tuple(entries[value][0] for value in values)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"patch '{twice}': a name that two patches have; rename one")
    found = Hypotheses(
        background, label, np.array(values), names, tuple(entries[value][1] for value in values)
    )
    for index in range(len(found)):
        _check_patched(found, index)
    return found


def _check_digests(background: Workspace, digests: dict[str, str]) -> None:
    for algorithm, stated in sorted(digests.items()):
        own = pyhf.utils.digest(background, algorithm=algorithm)
        if own != stated.lower():
            raise InputError(
                f"patchset: at metadata.digests.{algorithm}: is of another workspace: of "
                f"{stated[:12]}..., this one is {own[:12]}...; give the background-only workspace "
                "that it was published with, unchanged"
            )


def _choose(labels: Sequence[str], parameter: str | None) -> tuple[str, int]:
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise InputError(
            f"patchset: at metadata.labels: '{twice[0]}' is there twice, so it is not known which "
            "value is meant; rename one of them"
        )
    if parameter is None:
        if len(labels) > 1:
            raise InputError(
                f"patchset: at metadata.labels: {', '.join(labels)}: say which is scanned: "
                f"--parameter {labels[0]}"
            )
        return labels[0], 0
    if parameter not in labels:
        raise InputError(
            f"patchset: at metadata.labels: no '{parameter}', {did_you_mean(parameter, labels)}"
            f"expected one of {', '.join(labels)}"
        )
    return parameter, list(labels).index(parameter)


def _check_patched(found: Hypotheses, index: int) -> None:
    """Refuse a patch that does more than to add samples that the POI scales."""
    name, base = found.names[index], found.background
    patched = found.workspace(index)
    try:
        check_schema(patched)
        check_workspace(patched)
    except ModelError as error:
        raise ModelError(f"patch '{name}': {error}") from None
    poi = base["measurements"][0]["config"]["poi"]
    if split_signal(base) is not None:
        raise InputError(
            f"workspace: has samples that the POI '{poi}' scales: give the background-only one, to "
            "which patches add them"
        )
    split = split_signal(patched)
    if split is None:
        raise InputError(
            f"patch '{name}': adds no sample that the POI '{poi}' scales beside others; expected a "
            "signal"
        )
    if split[0] != base:
        raise InputError(
            f"patch '{name}': changes the background ({_difference(base, split[0])}), which "
            "hypotheses of one scan share; give workspaces of such hypotheses to 'ddphf limit'"
        )
    signals = [step["value"] for step in split[1]]
    if not sum(sum(map(abs, sample["data"])) for sample in signals) > 0:
        raise InputError(f"patch '{name}': expects no signal event at all; leave it out")


def _difference(base: Workspace, other: Workspace) -> str:
    """Return the first place where two workspaces differ."""
    ours, theirs = ([c["name"] for c in w["channels"]] for w in (base, other))
    if ours != theirs:
        return f"channels '{list_names(theirs)}' for '{list_names(ours)}'"
    for one, two in zip(base["channels"], other["channels"], strict=True):
        samples = [[s["name"] for s in c["samples"]] for c in (one, two)]
        if samples[0] != samples[1]:
            have, had = list_names(samples[1]), list_names(samples[0])
            return f"channel '{one['name']}' has samples '{have}' for '{had}'"
        for a, b in zip(one["samples"], two["samples"], strict=True):
            if a != b:
                what = "yields" if a["data"] != b["data"] else "modifiers"
                return f"{what} of sample '{a['name']}' in channel '{one['name']}'"
    return "more than its channels"
