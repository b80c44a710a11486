"""What level 0 asks about a workspace, its record, its sidecar, and its patches.

Every question returns an empty string, or a sentence that says what is wrong.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pyhf

from ddphf.arrays import Spec
from ddphf.exceptions import DdphfError, InputError
from ddphf.likelihood.patches import apply_patch
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.schemas import check_schema, validate
from ddphf.publish.points import describe_channels
from ddphf.results.documents import ForeignDocument, SidecarDocument
from ddphf.results.provenance import digests_of_data, json_digest
from ddphf.results.published import INTERPOLATION, PublishedResults
from ddphf.results.registry import check_record
from ddphf.workspace_json import Workspace

__all__ = [
    "integers",
    "not_finite",
    "other_codes",
    "other_covariance",
    "other_digest",
    "other_order",
    "other_pairing",
    "other_patches",
    "relative_variations",
]


EIGENVALUE_TOLERANCE = 1e-9


def other_digest(loaded: dict[str, Any], workspace: Workspace) -> str:
    """Compare the digest of the workspace with what every record states."""
    digest = json_digest(workspace)
    for name, data in sorted(loaded.items()):
        if name in ("workspace.json", "BkgOnly.json") or not isinstance(data, dict):
            continue
        provenance = data.get("provenance", {})
        stated = data.get("workspace_digest", provenance.get("workspace_digest"))
        if provenance.get("written_digest") == digest:
            continue  # the injection that wrote this workspace
        searched = provenance.get("data_digest")
        if searched is not None and searched not in digests_of_data(
            workspace, loaded.get("metadata.json")
        ):
            return f"{name} is about the data {searched}, which are not those of workspace.json"
        if stated is not None and stated != digest:
            return f"{name} is about the workspace {stated}, but this one is {digest}"
        if stated is None and name in ("results.json", "metadata.json"):
            return f"{name} does not say which workspace it is about"
    return ""


def integers(workspace: Workspace, metadata: Spec) -> str:
    """Name the first integer; ours have none, as 1 and 1.0 have different digests."""
    if metadata.get("schema") != SidecarDocument.SCHEMA or "versions" not in metadata:
        return ""

    def find(node: Any, path: str) -> str:
        if isinstance(node, dict):
            items = [(f"{path}.{key}", value) for key, value in node.items()]
        elif isinstance(node, list):
            items = [(f"{path}[{index}]", value) for index, value in enumerate(node)]
        else:
            whole = isinstance(node, int) and not isinstance(node, bool)
            return f"{path}: {node} is an integer, expected {node}.0" if whole else ""
        return next((found for p, v in items if (found := find(v, p))), "")

    return find(workspace, "workspace")


def other_order(results: PublishedResults, references: dict[str, ReferenceModel]) -> str:
    """Compare measurements, parameters and channels of the record with the models."""
    measured = {point.measurement for point in results.points}
    if measured != set(references):
        return f"points of {sorted(measured)}, measurements {sorted(references)}"
    if len({point.name for point in results.points}) < len(results.points):
        return "a point is there twice"
    for point in results.points:
        reference = references[point.measurement]
        index = reference.parameters.poi
        if point.poi != (None if index is None else reference.parameters.names[index]):
            return f"{point.name}: another POI than the measurement's"
        names = tuple(p.name for p in point.minimum.parameters)
        if names != reference.parameters.names:
            index = next(
                (i for i, (a, b) in enumerate(zip(names, reference.parameters.names, strict=False))
                 if a != b), min(len(names), len(reference.parameters.names)),
            )  # fmt: skip
            return f"{point.name}: parameter {index} differs from the model's"
    for stated, found in itertools.zip_longest(
        results.channels, describe_channels(next(iter(references.values())))
    ):
        if stated != found:
            return f"the workspace has the channel {found}, recorded is {stated}"
    for point in results.points:
        floating = int((~references[point.measurement].parameters.fixed).sum())
        if point.n_free != floating - (point.poi_value is not None):
            return f"{point.name}: {point.n_free} floating parameters, the model has {floating}"
    for statement in results.statements:
        for key in ("point", "null"):
            if statement[key] not in {point.name for point in results.points}:
                return f"a statement names the point '{statement[key]}', which is not there"
    return ""


def other_pairing(workspace: Workspace, metadata: Spec) -> str:
    """Ask for a whole sidecar, and compare the channels with those that it pairs."""
    if metadata.get("schema") not in (SidecarDocument.SCHEMA, ForeignDocument.SCHEMA):
        return f"metadata.json has the schema {metadata.get('schema')!r}"
    if trouble := check_record(metadata):
        return f"metadata.json: {trouble}"
    pairing = metadata.get("pairing")
    if pairing is None:
        return ""
    names = {channel["name"] for channel in workspace["channels"]}
    if names != {pairing["tested"], pairing["partner"]}:
        return f"metadata.json pairs {pairing}, the workspace has {sorted(names)}"
    return ""


def other_codes(results: PublishedResults) -> str:
    """Compare the interpolation codes with those of the pyhf command line."""
    if results.interpolation != INTERPOLATION:
        return (
            f"recorded with {results.interpolation}; the pyhf command line has {INTERPOLATION}, so "
            "no reader would get these numbers"
        )
    return ""


def not_finite(results: PublishedResults) -> str:
    """Find a number that is none, or a point without a certificate."""
    for point in results.points:
        m = point.minimum
        values = {p.name: (p.value, p.error or 0.0) for p in m.parameters}
        values["2NLL and EDM"] = (m.twice_nll, m.certificate.edm)
        for name, numbers in values.items():
            if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in numbers):
                return f"{point.name}, {name}: {numbers}"
        if m.status != "converged" or not m.certificate.edm < 1e-6:
            return f"{point.name}: status '{m.status}', EDM {m.certificate.edm:.1e}: no certificate"
    return ""


def other_patches(loaded: dict[str, Any], workspace: Workspace) -> str:
    """Apply the patches; one of them must make the workspace."""
    names = sorted(n for n in loaded if n.startswith("patch_"))
    if ("BkgOnly.json" in loaded) != bool(names):
        return "BkgOnly.json and its patches belong together"
    if not names:
        return ""
    background = loaded["BkgOnly.json"]
    patched = {n: apply_patch(background, loaded[n], name=n) for n in names}
    for name, spec in patched.items():
        try:
            check_schema(spec)
        except DdphfError as error:
            return f"{name}: {error}"
    text = json.dumps(workspace, sort_keys=True)
    if all(json.dumps(spec, sort_keys=True) != text for spec in patched.values()):
        return "no patch makes workspace.json of BkgOnly.json"
    patchset = loaded.get("patchset.json")
    if patchset is not None:
        validate(patchset, "patchset")
        if patchset["metadata"]["digests"]["sha256"] != pyhf.utils.digest(background):
            return "patchset.json is not about this BkgOnly.json"
        if sorted(json.dumps(p["patch"]) for p in patchset["patches"]) != sorted(
            json.dumps(loaded[n]) for n in names
        ):
            return "patchset.json holds other patches than the files"
    return ""


def other_covariance(loaded: dict[str, Any], workspace: Workspace, metadata: Spec) -> str:
    """Compare the squared lengths of the variations in the workspace with those recorded."""
    stated = metadata.get("covariance_matrix")
    if (stated is None) != ("covariance.json" not in loaded):
        return "covariance.json and its digest in metadata.json belong together"
    if stated is not None:
        digest = json_digest(loaded["covariance.json"])
        if stated["digest"] != digest:
            return f"covariance.json has the digest {digest}, metadata.json states another"
    lepton_id = metadata.get("lepton_id")
    if lepton_id is None or not lepton_id["kept"]:
        return ""
    total = float(np.sum(lepton_id["eigenvalues"]))
    if abs(total - lepton_id["trace"]) > EIGENVALUE_TOLERANCE * abs(total):
        return f"the eigenvalues add up to {total:.12g}, the trace is {lepton_id['trace']:.12g}"
    # Older sidecars are ordered by the eigenvalues, which are the squared lengths.
    lengths = lepton_id.get("squared_lengths", lepton_id["eigenvalues"])
    if len(lepton_id["kept"]) > len(lengths):
        return f"{len(lengths)} squared lengths for {len(lepton_id['kept'])} eigen-variations"
    absorbed = metadata.get("absorbed", [])  # not in the workspace
    used = [(n, u) for n, u in zip(lepton_id["kept"], lengths, strict=False) if n not in absorbed]
    names, recorded = [n for n, _ in used], np.array([u for _, u in used], dtype=float)
    if not names:
        return ""
    columns = relative_variations(workspace, names)
    found = np.sum(columns**2, axis=0)
    # Writing the variations rounds them to this grid.
    rounding = float(lepton_id.get("largest_rounding", 0.0))
    allowed = EIGENVALUE_TOLERANCE * np.max(recorded) + 2 * rounding * np.sum(
        np.abs(columns), axis=0
    )
    if np.any(bad := np.abs(found - recorded) > allowed):
        j = int(np.flatnonzero(bad)[0])
        return (
            f"{names[j]}: its variations have the squared length {found[j]:.12g}, "
            f"recorded is {recorded[j]:.12g}"
        )
    return ""


def relative_variations(workspace: Workspace, names: list[str]) -> Any:
    """Return the relative shifts of ``symmetric`` by histosys, shape (bins of all channels, n).

    A variation of the signal alone, such as of leptons that the background lacks, shifts it by 0.

    Raises:
        InputError: No sample has one.
    """
    carried = {
        m["name"] for c in workspace["channels"] for s in c["samples"] for m in s["modifiers"]
    }
    if missing := [name for name in names if name not in carried]:
        raise InputError(f"no variation '{missing[0]}' in the workspace")
    rows = []
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            if sample["name"] != "symmetric":
                continue
            nominal = np.array(sample["data"])
            shifts = {
                m["name"]: (np.array(m["data"]["hi_data"]) - np.array(m["data"]["lo_data"]))
                / (2 * nominal)
                for m in sample["modifiers"]
                if m["type"] == "histosys"
            }
            none = np.zeros_like(nominal)
            rows.append(np.stack([shifts.get(name, none) for name in names], axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, len(names)))
