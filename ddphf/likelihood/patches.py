"""The signal of a workspace apart from its background: BkgOnly.json and JSON Patches."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import jsonpatch
import pyhf

from ddphf.arrays import Spec
from ddphf.exceptions import InputError, UsageError
from ddphf.likelihood.schemas import validate
from ddphf.workspace_json import Workspace

__all__ = ["PATCH_NAME", "Patch", "apply_patch", "check_inspire", "make_patchset", "split_signal"]

Patch = list[dict[str, Any]]

INSPIRE = re.compile(r"ins\d{7}")
PATCH_NAME = re.compile(r"[A-Za-z0-9_]+")


def split_signal(workspace: Workspace) -> tuple[Workspace, Patch] | None:
    """Take the samples that the POI scales out of a workspace.

    Args:
        workspace: A pyhf workspace.

    Returns:
        The background-only workspace, and the JSON Patch that makes it the workspace again, byte
        for byte; it touches /channels alone. None where there is no POI, it scales nothing, or a
        channel would be left without samples.

    Example:
        >>> mu = {"name": "mu", "type": "normfactor", "data": None}
        >>> samples = [{"name": "b", "data": [5.0], "modifiers": []},
        ...            {"name": "s", "data": [1.0], "modifiers": [mu]}]
        >>> workspace = {"channels": [{"name": "c", "samples": samples}],
        ...     "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}]}
        >>> background, patch = split_signal(workspace)
        >>> [s["name"] for s in background["channels"][0]["samples"]], patch[0]["path"]
        (['b'], '/channels/0/samples/1')
        >>> apply_patch(background, patch) == workspace
        True
    """
    poi = workspace["measurements"][0]["config"]["poi"]
    background = copy.deepcopy(workspace)
    patch: Patch = []
    for i, channel in enumerate(background["channels"]):
        kept = []
        for j, sample in enumerate(channel["samples"]):
            if any(m["name"] == poi and m["type"] == "normfactor" for m in sample["modifiers"]):
                # In rising order every index is where the sample was.
                patch.append({"op": "add", "path": f"/channels/{i}/samples/{j}", "value": sample})
            else:
                kept.append(sample)
        if not kept:
            return None
        channel["samples"] = kept
    return (background, patch) if patch else None


def apply_patch(workspace: Workspace, patch: Any, *, name: str = "patch") -> Workspace:
    """Return the patched workspace.

    Raises:
        InputError: No JSON Patch, one that does not fit, or one that touches more than /channels.
    """
    if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
        raise InputError(f"{name}: no JSON Patch; expected a list of operations")
    for step in patch:
        if step.get("op") == "copy":  # copies of copies double what they copy, line by line
            raise InputError(f"{name}: copies {step.get('from')}; write out what it adds")
        for key in ("path", "from"):
            if key in step and not str(step[key]).startswith("/channels/"):
                raise InputError(
                    f"{name}: touches {step[key]}; a signal patch touches /channels alone, or "
                    "'pyhf patchset apply' would refuse it"
                )
    try:
        patched: Workspace = jsonpatch.apply_patch(copy.deepcopy(workspace), patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError) as error:
        raise InputError(f"{name}: does not fit the background-only workspace ({error})") from None
    return patched


def check_inspire(identifier: str) -> str:
    """Return an INSPIRE id that pyhf's patchset schema takes.

    Raises:
        UsageError: It is none.

    Example:
        >>> check_inspire("ins1234567")
        'ins1234567'
    """
    if not INSPIRE.fullmatch(identifier):
        raise UsageError(f"--inspire {identifier}: expected 'ins' and seven digits")
    return identifier


def make_patchset(
    background: Workspace, patches: Sequence[tuple[str, Patch]], *, inspire: str, description: str,
    label: str = "signal", values: Sequence[float] | None = None,
) -> Spec:  # fmt: skip
    """Return a pyhf patchset.

    Args:
        background: The workspace that the patches apply to.
        patches: Name and JSON Patch of each signal.
        inspire: Such as ``ins1234567``; pyhf's schema wants one.
        description: One sentence.
        label: What patches differ in.
        values: Of it, one per patch; the names where None.

    Raises:
        InputError: A name that pyhf does not take, or a name twice.
    """
    names = [name for name, _ in patches]
    for name in names:
        if not PATCH_NAME.fullmatch(name):
            raise InputError(f"signal '{name}': use letters, digits and underscores alone")
    if len(set(names)) < len(names):
        raise InputError(f"the signals {names} have a name twice; rename one")
    patchset = {
        "metadata": {
            "references": {"hepdata": check_inspire(inspire)},
            "description": description,
            "digests": {"sha256": pyhf.utils.digest(background)},
            "labels": [label],
        },
        "patches": [
            {"metadata": {"name": name, "values": [value]}, "patch": patch}
            for (name, patch), value in zip(patches, values or names, strict=True)
        ],
        "version": "1.0.0",
    }
    validate(patchset, "patchset")
    return patchset
