"""Closure of a built workspace: N_sigma before and after, and the restored expectation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.symmetry.closure import close_pair, pulls
from ddphf.symmetry.restore import Restored, restore_expectation
from ddphf.workspace.closure import state_closure
from ddphf.workspace.read_pair import read_pair
from ddphf.workspace_json import Workspace

__all__ = ["closure_pulls", "restore_workspace", "summarize_closure"]


def closure_pulls(spec: Workspace, pairing: Mapping[str, str]) -> dict[str, Array]:
    """Return the pulls of every bin by what was corrected for, the restored pair last.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``, as in the sidecar.
    """
    pair = read_pair(spec, pairing)
    b, a, fakes_b, fakes_a = pair.tested, pair.partner, pair.fakes_tested, pair.fakes_partner
    stages = {"raw counts": pulls(b, a)}
    if np.any(fakes_b) or np.any(fakes_a):
        stages["fakes subtracted"] = pulls(b, a, 1.0, fakes_b, fakes_a)
    stages["restored"] = pulls(b, a, pair.ratio, fakes_b, fakes_a)
    return stages


def restore_workspace(spec: Workspace, pairing: Mapping[str, str]) -> Restored:
    """Return what the partner says the tested channel should hold without a signal.

    N_B = (N_A - f_A) r + f_B with the errors that the workspace states: counting, per-bin errors of
    the fakes, and every correlated one to first order: of the ratio, r (G_B - G_A), and of the
    fakes, df_B - r df_A.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``.
    """
    pair = read_pair(spec, pairing)
    restored = restore_expectation(
        pair.partner,
        pair.ratio,
        fakes_partner=(pair.fakes_partner, pair.fakes_partner_error),
        fakes_tested=(pair.fakes_tested, pair.fakes_tested_error),
    )
    clean = pair.partner - pair.fakes_partner
    independent = restored.independent + (clean * pair.ratio) ** 2 * pair.residual
    return Restored(restored.expected, independent, pair.shifts(clean))


def summarize_closure(spec: Workspace, pairing: Mapping[str, str]) -> dict[str, Any]:
    """Return N_sigma at every stage, chi2 over the bins, and the restored total, for JSON.

    ``n_sigma``, ``chi2`` and ``p_value`` take ratio and fakes as known, ``profiled`` and ``side``
    do not: see :func:`ddphf.workspace.closure.state_closure`.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``.

    Example:
        >>> from ddphf.workspace.examples import build_pair
        >>> built = build_pair([90, 95], [100, 100], [9.0, 2.0], ratio=0.9)
        >>> summarize_closure(built.workspace, built.metadata["pairing"])["restored"]["expected"]
        180.0
    """
    pair = read_pair(spec, pairing)
    found = close_pair(pair.tested, pair.partner, pair.ratio, pair.fakes_tested, pair.fakes_partner)
    expected, error = restore_workspace(spec, pairing).total()
    return {
        "n_sigma": {
            "raw_counts": found.before,
            "fakes_subtracted": found.fakes_subtracted,
            "ratio_applied": found.ratio_applied,
            "restored": found.after,
        },
        "chi2": found.chi2,
        "bins": len(found.pulls),
        "p_value": found.p_value,
        "taken_as_known": ["ratio", "fakes"],
        **state_closure(spec, pairing)[0],
        "restored": {"expected": expected, "error": error, "observed": float(pair.tested.sum())},
    }
