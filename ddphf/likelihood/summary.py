"""What is in a workspace, as a record to print: any pyhf workspace, nothing is fitted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.documents import SummaryDocument
from ddphf.results.provenance import json_digest, make_provenance
from ddphf.workspace_json import Workspace

__all__ = ["summarize_workspace"]


def summarize_workspace(
    workspace: Mapping[str, object], measurement: str | None = None
) -> dict[str, Any]:
    """Describe channels, modifiers, parameters and measurements of a workspace.

    Args:
        workspace: A pyhf JSON workspace.
        measurement: Name of the measurement whose parameters are listed; the first by default.

    Returns:
        JSON-ready: ``digest``, ``channels``, ``modifiers`` (names by type), ``parameters``,
        ``measurements``, ``signal_events`` (expected at POI = 1 by channel),
        ``provenance``, ``warnings``.

    Raises:
        ModelError: The workspace is refused.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> spec = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> summarize_workspace(spec)["modifiers"]
        {'normfactor': ['mu'], 'shapesys': ['uncorr_bkguncrt']}
    """
    reference = ReferenceModel(workspace, measurement)
    checked, table = reference.workspace, reference.parameters
    modifiers: dict[str, set[str]] = defaultdict(set)
    signal: dict[str, float] = {}
    poi = None if table.poi is None else table.names[table.poi]
    for channel in checked["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                modifiers[modifier["type"]].add(modifier["name"])
            if any(m["name"] == poi and m["type"] == "normfactor" for m in sample["modifiers"]):
                signal[channel["name"]] = signal.get(channel["name"], 0.0) + sum(sample["data"])
    observed = {o["name"]: o["data"] for o in checked["observations"]}
    groups = Counter(name.split("[")[0] for name in table.names)
    return {
        "schema": SummaryDocument.SCHEMA,
        "digest": json_digest(checked),
        "measurement": reference.measurement,
        "poi": poi,
        "channels": [
            {
                "name": channel["name"],
                "bins": len(channel["samples"][0]["data"]),
                "observed": float(sum(observed[channel["name"]])),
                "samples": {
                    sample["name"]: float(sum(sample["data"])) for sample in channel["samples"]
                },
            }
            for channel in checked["channels"]
        ],
        "modifiers": {kind: sorted(names) for kind, names in sorted(modifiers.items())},
        "parameters": {
            "total": len(table.names),
            "free": int(np.sum(~table.fixed)),
            "components": dict(sorted(groups.items())),
        },
        "measurements": [
            {
                "name": m["name"],
                "poi": m["config"]["poi"],
                "fixed": sorted(p["name"] for p in m["config"]["parameters"] if p.get("fixed")),
            }
            for m in checked["measurements"]
        ],
        "signal_events": signal,
        "provenance": make_provenance(),
        "warnings": [*reference.warnings, *_warn_absorbed(checked)],
    }


def _warn_absorbed(workspace: Workspace) -> list[str]:
    """Find variations that change every carrier of one shared shapefactor by the same factor."""
    factors: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
    carriers: dict[str, set[str | None]] = defaultdict(set)
    places: dict[str, set[str]] = defaultdict(set)
    shape_channels: dict[str, set[str]] = defaultdict(set)
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            shape = next(
                (m["name"] for m in sample["modifiers"] if m["type"] == "shapefactor"), None
            )
            if shape is not None:
                shape_channels[shape].add(channel["name"])
            nominal = np.array(sample["data"], dtype=float)
            for modifier in sample["modifiers"]:
                if modifier["type"] == "normsys":
                    sides = modifier["data"]["hi"], modifier["data"]["lo"]
                    pair = [np.full(len(nominal), side) for side in sides]
                elif modifier["type"] == "histosys":
                    shapes = modifier["data"]["hi_data"], modifier["data"]["lo_data"]
                    safe = np.where(nominal == 0, 1.0, nominal)
                    pair = [np.array(side) / safe for side in shapes]
                else:
                    continue
                name = modifier["name"]
                factors[name].append(np.concatenate(pair))
                carriers[name].add(shape)
                places[name].add(channel["name"])
    lines = []
    for name, arrays in sorted(factors.items()):
        shape = next(iter(carriers[name]))
        if (
            len(carriers[name]) == 1
            and shape is not None
            and places[name] == shape_channels[shape]
            and all(a.shape == arrays[0].shape for a in arrays)
            and all(np.allclose(a, arrays[0], rtol=1e-9, atol=0) for a in arrays)
        ):
            lines.append(
                f"variation '{name}' changes '{shape}' alike in every channel: the shared "
                "background absorbs it"
            )
    return lines
