"""Signals of one background as a pyhf patchset."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyhf

from ddphf.arrays import Spec
from ddphf.exceptions import InputError, UsageError
from ddphf.likelihood.patches import Patch
from ddphf.likelihood.schemas import validate
from ddphf.workspace_json import Workspace

__all__ = ["PATCH_NAME", "check_inspire", "make_patchset"]

INSPIRE = re.compile(r"ins\d{7}")
PATCH_NAME = re.compile(r"[A-Za-z0-9_]+")


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
    background: Workspace, patches: Sequence[tuple[str, Patch]], *, inspire: str, description: str
) -> Spec:
    """Return a pyhf patchset.

    Args:
        background: The workspace that the patches apply to.
        patches: Name and JSON Patch of each signal.
        inspire: Such as ``ins1234567``; pyhf's schema wants one.
        description: One sentence.

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
            "labels": ["signal"],
        },
        "patches": [
            {"metadata": {"name": name, "values": [name]}, "patch": patch}
            for name, patch in patches
        ],
        "version": "1.0.0",
    }
    validate(patchset, "patchset")
    return patchset
