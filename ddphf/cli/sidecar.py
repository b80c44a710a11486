"""The sidecar that `ddphf build` writes beside a workspace: found, and checked to belong to it."""

from __future__ import annotations

from typing import Any

from ddphf.cli.build import metadata_path
from ddphf.exceptions import InputError
from ddphf.files import read_json

__all__ = ["closure_warnings", "digest_of", "read_binning", "read_sidecar"]

DAMAGED = (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)
"""What a forged or damaged sidecar raises when it is taken at its word."""


def digest_of(workspace: Any) -> str:
    """Return pyhf's digest of a workspace, as records quote it.

    Raises:
        ModelError: It breaks pyhf's schema.
    """
    import pyhf

    from ddphf.likelihood.checks import check_schema

    check_schema(workspace)
    return f"sha256:{pyhf.utils.digest(workspace)}"


def read_sidecar(workspace: str, digest: str) -> dict[str, Any] | None:
    """Return the sidecar beside a workspace, None where there is none or it is another's."""
    path = metadata_path(workspace)
    if workspace == "-" or not path.is_file():
        return None
    data = read_json(str(path))
    if not isinstance(data, dict) or data.get("workspace_digest") != digest:
        return None  # of an older build, or not ours
    return data


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

    sidecar = read_sidecar(workspace, digest)
    if sidecar is None:
        return []
    try:
        found, side = state_closure(spec, sidecar["pairing"])
        variables = sidecar["closure"].get("variables") if "closure" in sidecar else None
        return warn_of_closure({**found, "variables": variables}, len(side))
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
        found = {"axes": metadata["binning"]["axes"], "pairing": metadata["pairing"]}
        for axis in found["axes"]:
            _ = [axis["label"], axis["unit"], [float(edge) for edge in axis["edges"]]]
        _ = [found["pairing"]["tested"], found["pairing"]["partner"]]
        owner = metadata["workspace_digest"]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: is no sidecar of 'ddphf build' (no binning); build it again or move it away"
        ) from None
    if owner != digest:
        return {}, [f"{path}: belongs to another workspace; figures show bin numbers"]
    return found, []
