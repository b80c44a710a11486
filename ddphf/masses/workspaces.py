"""Files that give others the pyhf workspace of every hypothesis of a scan."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ddphf.arrays import AnyArray, Spec
from ddphf.exceptions import InputError, UsageError
from ddphf.files import to_json
from ddphf.likelihood.patches import Patch, make_patchset, split_signal
from ddphf.masses.scan import MassScan
from ddphf.workspace_json import Workspace

__all__ = ["FILES", "workspace_files"]

FILES = ("BkgOnly.json", "patchset.json", "scan.npz", "scan.json", "make_workspace.py")
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
    common = _split(scan)
    if common is None:
        script = Path(__file__).with_name("make_workspace.py").read_bytes()
        form, arrays = _describe(scan)
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        return {
            "scan.npz": stream.getvalue(),
            "scan.json": to_json(form).encode(),
            "make_workspace.py": script,
        }
    background, patches = common
    if inspire is None:
        raise UsageError(
            "--workspaces: all hypotheses have one background, so a patchset is written, in which "
            "pyhf wants the INSPIRE id of a publication: give --inspire, such as ins1234567"
        )
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


def _describe(scan: MassScan) -> tuple[Spec, dict[str, AnyArray]]:
    """Return what the arrays are, and the arrays, a row per hypothesis."""
    first = scan.workspace(0)
    (channel,) = first["channels"]
    config = first["measurements"][0]["config"]
    arrays: dict[str, AnyArray] = {
        "values": scan.parameter.values, "counts": scan.counts, "live": scan.live,
    }  # fmt: skip
    samples = []
    for number, (sample, written) in enumerate(zip(scan.samples, channel["samples"], strict=True)):
        key = f"sample{number}"
        arrays[f"{key}_yields"] = sample.yields
        error: Spec | None = None
        if sample.error is not None:
            arrays[f"{key}_error"] = sample.error
            modifier = written["modifiers"][-1]
            error = {"name": modifier["name"], "type": modifier["type"], "table": f"{key}_error"}
        norms = []
        for place, norm in enumerate(sample.norms):
            up, down = f"{key}_up{place}", f"{key}_down{place}"
            arrays[up], arrays[down] = norm.up, norm.down
            norms.append({"name": norm.name, "up": up, "down": down})
        samples.append(
            {
                "name": sample.name, "signal": sample is scan.signal, "yields": f"{key}_yields",
                "error": error, "norms": norms,
            }
        )  # fmt: skip
    form: Spec = {
        "name": scan.name,
        "channel": channel["name"],
        "parameter": {"name": scan.parameter.name, "unit": scan.parameter.unit},
        "poi": config["parameters"][0],
        "samples": samples,
    }
    return form, arrays
