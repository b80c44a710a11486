"""The sidecar that `ddphf build` writes beside a workspace: found, and checked to belong to it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddphf.cli.build import metadata_path
from ddphf.cli.figures import figure_paths
from ddphf.exceptions import InputError, ModelError
from ddphf.files import read_json
from ddphf.outputs import Outputs
from ddphf.results.measured import DECLARED, PLAIN, Declared
from ddphf.workspace_json import Workspace

__all__ = [
    "check_null",
    "check_sidecar",
    "closure_warnings",
    "digest_of",
    "read_binning",
    "read_declared",
    "read_sidecar",
    "read_statement",
    "statement_files",
]

DAMAGED = (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)
"""What a forged or damaged sidecar raises when it is taken at its word."""


def digest_of(workspace: Any) -> str:
    """Return pyhf's digest of a workspace, as records quote it.

    Raises:
        ModelError: It breaks pyhf's schema.
    """
    from ddphf.likelihood.schemas import check_schema
    from ddphf.results.provenance import json_digest

    check_schema(workspace)
    return json_digest(workspace)


def read_sidecar(
    workspace: str, digest: str, spec: Workspace | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the sidecar beside a workspace, None where there is none or it is another's.

    Beside it stands a warning where it holds keys of later versions, which are left out.

    Args:
        workspace: Path of the workspace.
        digest: Its digest, which the sidecar must state.
        spec: The workspace, to compare its channels with.

    Raises:
        InputError: The sidecar is damaged.
    """
    path = metadata_path(workspace)
    if workspace == "-" or not path.is_file():
        return None, []
    data = read_json(str(path))
    if not isinstance(data, dict) or data.get("workspace_digest") != digest:
        return None, []  # of an older build, or not ours
    check_sidecar(data, str(path), spec)
    return _known(data, workspace)


def check_sidecar(data: dict[str, Any], path: str, spec: Workspace | None = None) -> None:
    """Refuse a sidecar that does not hold what commands read of it.

    Raises:
        InputError: Says what is wrong with it.
    """
    from ddphf.results.documents import SidecarDocument
    from ddphf.results.registry import check_record, known_part

    ours = data.get("schema") == SidecarDocument.SCHEMA
    wrong = check_record(data) if ours else f"schema {data.get('schema')!r}"
    if wrong is None and spec is not None:
        wrong = _misfit(known_part(data)[0], spec)
    if wrong is not None:
        raise InputError(
            f"{path}: is no whole sidecar of 'ddphf build' ({wrong}); build it again or move it "
            "away"
        )


def _misfit(data: dict[str, Any], spec: Workspace) -> str | None:
    sizes = {c["name"]: len(c["samples"][0]["data"]) for c in spec["channels"]}
    axes = data.get("binning", {}).get("axes", ())
    n_bins = math.prod(len(axis["edges"]) - 1 for axis in axes)
    if "pairing" not in data:
        return next(
            (f"bins '{name}' by {n_bins}, which has {n}" for name, n in sizes.items()
             if axes and n != n_bins), None,
        )  # fmt: skip
    for name in data["pairing"].values():
        if sizes.get(name) != n_bins:
            return f"pairs '{name}', which is no channel of {n_bins} bins"
    entry = data.get("lepton_id")
    if entry is None:
        return None
    needed = ["dropped", "largest_loss"]
    if "ratio_variances" in entry:
        needed += ["sigma_mu_kept", "largest_loss_of_other_signals"]
    if missing := [key for key in needed if key not in entry]:
        return f"lepton_id has no '{missing[0]}'"
    count = len(entry.get("ratio_variances", entry["eigenvalues"]))
    for name in entry["kept"]:
        number = name.rpartition("_eig")[2]
        if not (number.isascii() and number.isdigit() and int(number[:9]) < count):
            return f"keeps '{name}', which is none of {count} eigen-variations"
    return None


def read_declared(workspace: str, spec: Any) -> tuple[Declared, list[str]]:
    """Return what the sidecar beside a workspace says of its measurement, and warnings.

    One that is damaged, or of another workspace, is said and not used.

    Args:
        workspace: Path of the workspace.
        spec: The workspace.
    """
    path = metadata_path(workspace)
    if workspace == "-" or not path.is_file():
        return PLAIN, []
    try:
        data = read_json(str(path))
        if not isinstance(data, dict) or not set(DECLARED) & set(data):
            return PLAIN, []
        if data.get("workspace_digest") != digest_of(spec):
            line = f"{path}: belongs to another workspace, so what it declares is not used"
            return PLAIN, [f"{line}; build it again, or state this one's digest"]
        check_sidecar(data, str(path), spec)
    except InputError as error:
        return PLAIN, [f"{error}; what it declares is not used"]
    known, said = _known(data, workspace)
    return Declared.of(known), said


def read_statement(workspace: str) -> tuple[Any, Declared, list[str]]:
    """Return a workspace, what its sidecar says of its measurement, and warnings."""
    spec = read_json(workspace)
    return spec, *read_declared(workspace, spec)


def statement_files(
    workspace: str, output: str, plots: str | None, kind: str | None, names: Iterable[str],
    force: bool,
) -> tuple[dict[str, Path], Outputs]:  # fmt: skip
    """Return the figures of a statement of a workspace, and all that is written.

    Neither the workspace nor its sidecar is replaced.
    """
    figures = figure_paths(plots, kind, names)
    inputs: list[str | Path | None] = [workspace, metadata_path(workspace)]
    return figures, Outputs([output, *figures.values()], inputs=inputs, force=force)


def check_null(workspace: str, spec: Any) -> list[str]:
    """Return warnings of the sidecar; refuse a measurement that it declares to have no null.

    Raises:
        ModelError: Names the commands that need no null.
    """
    declared, said = read_declared(workspace, spec)
    if declared.measurement:
        raise ModelError(
            f"{metadata_path(workspace)}: declares a measurement (statement: measurement): its POI "
            "is no signal strength, so there is no null; 'ddphf fit' gives the POI with its "
            "errors, 'ddphf limit --interval' its intervals"
        )
    return said


def closure_warnings(workspace: str, spec: Any, digest: str) -> list[str]:
    """Return a sentence for every closure of a built workspace that fails.

    The sidecar tells which channels are the pair, and how closure went in further variables;
    without one, as for any other workspace, there is nothing to compare. One that is damaged is
    said and not used: the fit stands without it.

    Args:
        workspace: Path of the workspace.
        spec: The workspace.
        digest: Its digest, which the sidecar must state.
    """
    from ddphf.workspace.closure import state_closure, warn_of_closure

    try:
        sidecar, said = read_sidecar(workspace, digest)
    except InputError as error:
        return [f"{error}; closure is not tested"]
    if sidecar is None or "pairing" not in sidecar:
        return []
    try:
        found, side = state_closure(spec, sidecar["pairing"])
        variables = sidecar["closure"].get("variables") if "closure" in sidecar else None
        return [*said, *warn_of_closure({**found, "variables": variables}, len(side))]
    except DAMAGED as error:
        return [
            f"{metadata_path(workspace)}: is damaged ({type(error).__name__}), so closure is not "
            "tested; build it again"
        ]


def read_binning(workspace: str, digest: str) -> tuple[dict[str, Any], list[str]]:
    """Return ``axes`` and ``pairing`` of the sidecar, as far as there is one, and warnings.

    Raises:
        InputError: The file beside the workspace is no sidecar.
    """
    path = metadata_path(workspace)
    if workspace == "-" or not path.is_file():
        return {}, []
    metadata = read_json(str(path))
    try:
        alone = metadata.get("statement") == "measurement"  # it may have neither
        found = {
            "axes": metadata["binning"]["axes"] if not alone else _axes_of(metadata),
            "pairing": metadata["pairing"] if not alone else metadata.get("pairing"),
        }
        for axis in found["axes"]:
            _ = [axis["label"], axis["unit"], [float(edge) for edge in axis["edges"]]]
        if not alone:
            _ = [found["pairing"]["tested"], found["pairing"]["partner"]]
        owner = metadata["workspace_digest"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: is no sidecar of 'ddphf build' (no binning); build it again or move it away"
        ) from None
    if owner != digest:
        return {}, [f"{path}: belongs to another workspace; figures show bin numbers"]
    known, warnings = _known(metadata, workspace)
    return {"axes": _axes_of(known), "pairing": known.get("pairing")}, warnings


def _axes_of(sidecar: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the axes of the binning; a measurement may tell none."""
    axes: list[dict[str, Any]] = sidecar.get("binning", {}).get("axes", [])
    return axes


def _known(sidecar: dict[str, Any], workspace: str) -> tuple[dict[str, Any], list[str]]:
    """Return a sidecar without keys of later versions, and a warning that names them."""
    from ddphf.results.registry import known_part

    known, said = known_part(sidecar)
    return known, [f"{metadata_path(workspace)}: {said}"] if said else []
