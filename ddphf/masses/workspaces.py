"""Files that give others the pyhf workspace of every hypothesis of a scan."""

from __future__ import annotations

from ddphf.exceptions import InputError, UsageError
from ddphf.files import to_json
from ddphf.likelihood.patches import Patch, make_patchset, split_signal
from ddphf.masses.portable import FILES as ARRAYS
from ddphf.masses.portable import array_files
from ddphf.masses.scan import MassScan
from ddphf.workspace_json import Workspace

__all__ = ["FILES", "patchset_files", "workspace_files"]

FILES = ("BkgOnly.json", "patchset.json", *ARRAYS)
"""All that may be written: the first two where the background is common, else the others."""


def workspace_files(scan: MassScan, inspire: str | None) -> dict[str, bytes]:
    """Return contents by name: of a common background with a patchset, else arrays and a script.

    The workspaces are those that the rows stand for, empty bins treated as the scan treats them.

    Args:
        scan: The scan.
        inspire: INSPIRE id of the publication; a patchset needs it.

    Raises:
        UsageError: A patchset without an id.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> sorted(workspace_files(small_scan(), None))
        ['make_workspace.py', 'scan.json', 'scan.npz']
    """
    return patchset_files(scan, inspire, "--workspaces") or array_files(scan)


def patchset_files(scan: MassScan, inspire: str | None, option: str) -> dict[str, bytes]:
    """Return BkgOnly.json and patchset.json of a scan, nothing where backgrounds differ.

    Args:
        scan: The scan.
        inspire: INSPIRE id of the publication.
        option: What asked for the files, for messages.

    Raises:
        UsageError: No id, and the background is common.
    """
    common = _split(scan)
    if common is None:
        return {}
    if inspire is None:
        raise UsageError(
            f"{option}: all hypotheses have one background, so a patchset is written, in which "
            "pyhf wants the INSPIRE id of a publication: give --inspire, such as ins1234567"
        )
    background, patches = common
    digits = len(str(len(scan) - 1))
    names = [f"{scan.parameter.name}_{i:0{digits}d}" for i in range(len(scan))]
    unit = f" in {scan.parameter.unit}" if scan.parameter.unit else ""
    patchset = make_patchset(
        background,
        list(zip(names, patches, strict=True)),
        inspire=inspire,
        description=f"Signals of {scan.name}, by {scan.parameter.name}{unit}",
        label=scan.parameter.name,
        values=scan.parameter.values.tolist(),
    )
    return {
        "BkgOnly.json": to_json(background).encode(),
        "patchset.json": to_json(patchset).encode(),
    }


def _split(scan: MassScan) -> tuple[Workspace, list[Patch]] | None:
    """Return the background and the signals of all hypotheses; None where backgrounds differ."""
    found: list[tuple[Workspace, Patch]] = []
    for index in range(len(scan)):
        workspace: Workspace = scan.workspace(index)  # type: ignore[assignment]
        split = split_signal(workspace)
        if split is None:
            raise InputError(f"hypothesis {index} has no background")
        if found and split[0] != found[0][0]:
            return None
        found.append(split)
    return found[0][0], [patch for _, patch in found]
