"""The sidecar of a workspace: what pyhf's schema has no place for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyhf

from ddphf import __version__
from ddphf.arrays import Spec
from ddphf.inputs.histogram import Axis
from ddphf.results.documents import SidecarDocument
from ddphf.results.provenance import json_digest
from ddphf.workspace.channels import PairYields
from ddphf.workspace.naming import residual_name, stat_name
from ddphf.workspace_json import Workspace

__all__ = ["describe_binning", "make_metadata"]


def describe_binning(axes: Sequence[Axis]) -> Spec:
    """Return the entry ``binning`` of a sidecar."""
    return {
        "order": "flattened in C order, the last axis fastest",
        "axes": [
            {
                "name": axis.name,
                "label": axis.label or axis.name,
                "unit": axis.unit,
                "edges": list(axis.edges),
            }
            for axis in axes
        ],
    }


def make_metadata(
    name: str, pair: PairYields, workspace: Workspace, *, scale: float, sigma: float
) -> dict[str, Any]:
    """Return bin edges, pairing, signal scale and the source of every modifier.

    Args:
        name: Name of the analysis.
        pair: The checked pair.
        workspace: The emitted workspace.
        scale: mu = 1 is the stated signal times this.
        sigma: Expected error of mu (Asimov, null).
    """
    tested, partner = pair.channels
    sources: dict[str, str] = {}
    for channel in pair.channels:
        samples = [s for s in (channel.signal, channel.fakes) if s is not None]
        for variation in [*channel.variations, *(v for s in samples for v in s.variations)]:
            sources.setdefault(variation.name, variation.source)
        for sample in samples:
            if sample.error is not None:
                sources[stat_name(sample.name, channel.name)] = sample.error_source
    lepton_id = pair.lepton_id
    if lepton_id is not None:
        for channel in pair.channels:
            if channel.residual is not None:
                modifier = residual_name(lepton_id.metadata["source"], channel.name)
                sources[modifier] = "eigen-variations left out, taken as uncorrelated"
    return {
        "schema": SidecarDocument.SCHEMA,
        "name": name,
        "workspace_digest": json_digest(workspace),
        "binning": describe_binning(pair.axes),
        "pairing": {"tested": tested.name, "partner": partner.name},
        "efficiency_ratio": {
            "min": float(np.min(tested.ratio)),
            "max": float(np.max(tested.ratio)),
        },
        "background": {
            "floored_bins": list(pair.floored),
            "known": pair.known_background is not None,
        },
        "signal": {
            "scale": scale,
            "expected_sigma_mu": sigma,
            "events_at_mu_1": {
                channel.name: float(channel.total(channel.signal).sum() * scale)
                for channel in pair.channels
            },
        },
        "fakes": {
            channel.name: dict(channel.fakes.description)
            for channel in pair.channels
            if channel.fakes is not None and channel.fakes.description is not None
        },
        "modifier_sources": sources,
        "absorbed": list(pair.absorbed),
        **({} if lepton_id is None else {"lepton_id": lepton_id.metadata}),
        "warnings": list(pair.warnings),
        "versions": {"ddphf": __version__, "pyhf": pyhf.__version__},
    }
