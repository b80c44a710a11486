"""A bump over its partner sample as the workspace of a pair, as ``ddphf build`` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.paired import PairedFits, fit_pairs
from ddphf.bumps.templates import integral_templates
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace_json import Workspace

__all__ = ["FORM", "paired_workspace"]

FORM = "exact: the partner sample, free in every bin"


def paired_workspace(row: Mapping[str, Any]) -> tuple[Workspace, Array, float, PairedFits]:
    """Return the workspace of a spectrum's best bump over its partner sample.

    Args:
        row: Entry of a record of ``ddphf bumps scan``, with ``partner`` and ``ratio``.

    Returns:
        Workspace, edges, events at mu = 1, and the fit in closed form.
    """
    best = row["best"]
    edges, counts = np.array(row["edges"], dtype=float), np.array(row["observed"], dtype=float)
    partner, ratio = np.array(row["partner"], dtype=float), np.array(row["ratio"], dtype=float)
    template = integral_templates(edges, np.array([best["mass"]]), np.array([best["width"]]))[0]
    fit = fit_pairs(counts, partner, ratio, template)
    scale = max(float(fit.mu), 2 * float(1 / np.sqrt(fit.information)))
    pair = Pair(
        Channel("bump", counts, signal=Template(template * scale, error="none")),
        Channel("partner", partner),
        efficiency_ratio=ratio,
    )
    built = build_workspace(pair, signal_scale=1.0, name=str(row["name"]))
    return built.workspace, edges, scale, fit
