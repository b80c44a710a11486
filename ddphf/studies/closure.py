"""Closure of a built workspace: N_sigma before and after, and the restored expectation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.inputs.histogram import Array
from ddphf.symmetry.closure import close_pair, pulls
from ddphf.symmetry.restore import Restored, restore_expectation

__all__ = ["closure_pulls", "restore_workspace", "summarize_closure"]

Spec = Mapping[str, Any]


def _sample(spec: Spec, channel: str, name: str) -> Spec | None:
    samples = next(c["samples"] for c in spec["channels"] if c["name"] == channel)
    return next((s for s in samples if s["name"] == name), None)


def _pair(spec: Spec, pairing: Mapping[str, str]) -> tuple[Array, Array, Array, Array, Array]:
    """Return counts B and A, the ratio, and fakes of B and A, each of shape (M,)."""
    counts = {o["name"]: np.asarray(o["data"], dtype=float) for o in spec["observations"]}
    symmetric, fakes = [], []
    for role in ("tested", "partner"):
        name = pairing[role]
        background, other = _sample(spec, name, "symmetric"), _sample(spec, name, "fakes")
        assert background is not None
        symmetric.append(np.asarray(background["data"], dtype=float))
        fakes.append(np.zeros_like(symmetric[0]) if other is None else np.asarray(other["data"]))
    # The builder emits r times the partner's template in the tested channel.
    ratio = symmetric[0] / symmetric[1]
    return counts[pairing["tested"]], counts[pairing["partner"]], ratio, fakes[0], fakes[1]


def closure_pulls(spec: Spec, pairing: Mapping[str, str]) -> dict[str, Array]:
    """Return the pulls of every bin by what was corrected for, the restored pair last.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``, as in the sidecar.
    """
    b, a, ratio, fakes_b, fakes_a = _pair(spec, pairing)
    stages = {"raw counts": pulls(b, a)}
    if np.any(fakes_b) or np.any(fakes_a):
        stages["fakes subtracted"] = pulls(b, a, 1.0, fakes_b, fakes_a)
    stages["restored"] = pulls(b, a, ratio, fakes_b, fakes_a)
    return stages


def restore_workspace(spec: Spec, pairing: Mapping[str, str]) -> Restored:
    """Return what the partner says the tested channel should hold without a signal.

    N_B = (N_A - f_A) r + f_B with the errors that the workspace states: counting, per-bin errors of
    the fakes, and every correlated one to first order: of the ratio, r (G_B - G_A), and of the
    fakes, df_B - r df_A.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``.
    """
    _, counts, ratio, fakes_b, fakes_a = _pair(spec, pairing)
    own = {"tested": np.zeros_like(counts), "partner": np.zeros_like(counts)}
    residual = np.zeros_like(counts)  # relative variance per bin that no other bin shares
    of_ratio: dict[str, Array] = {}
    of_fakes: dict[str, Array] = {}
    for role, sign in (("tested", 1.0), ("partner", -1.0)):
        for name, shifts in (("symmetric", of_ratio), ("fakes", of_fakes)):
            sample = _sample(spec, pairing[role], name)
            if sample is None:
                continue
            nominal = np.asarray(sample["data"], dtype=float)
            scale: Any = sign * (ratio / nominal if name == "symmetric" else 1.0)
            if name == "fakes" and role == "partner":
                scale = scale * ratio
            for modifier in sample["modifiers"]:
                key, data = modifier["name"], modifier["data"]
                if modifier["type"] == "normsys":
                    slope = nominal * (data["hi"] - data["lo"]) / 2
                elif modifier["type"] == "histosys":
                    slope = (np.asarray(data["hi_data"]) - np.asarray(data["lo_data"])) / 2
                elif modifier["type"] in ("shapesys", "staterror"):
                    if name == "fakes":
                        own[role] = np.asarray(data, dtype=float)
                    else:
                        residual += (np.asarray(data) / nominal) ** 2
                    continue
                else:
                    continue
                shifts[key] = shifts.get(key, np.zeros_like(counts)) + scale * slope
    names = sorted({*of_ratio, *of_fakes})
    zero = np.zeros_like(counts)
    factor = np.array([of_ratio.get(name, zero) for name in names]).reshape(-1, counts.size).T
    direct = np.array([of_fakes.get(name, zero) for name in names]).reshape(-1, counts.size).T
    restored = restore_expectation(
        counts,
        ratio,
        fakes_partner=fakes_a,
        fakes_tested=fakes_b,
        fakes_partner_error=own["partner"],
        fakes_tested_error=own["tested"],
        ratio_factor=factor,
    )
    independent = restored.independent + ((counts - fakes_a) * ratio) ** 2 * residual
    # One name on ratio and fakes is one parameter: its shifts add before they are squared.
    return Restored(restored.expected, independent, restored.correlated + direct)


def summarize_closure(spec: Spec, pairing: Mapping[str, str]) -> dict[str, Any]:
    """Return N_sigma at every stage, chi2 over the bins, and the restored total, for JSON.

    Args:
        spec: A workspace of ``ddphf build``.
        pairing: Names of the channels, ``tested`` and ``partner``.

    Example:
        >>> from ddphf.symmetry.pair import Channel, Pair, Template
        >>> from ddphf.workspace.build import build_workspace
        >>> pair = Pair(Channel("mue", [90, 95], signal=Template([9.0, 2.0])),
        ...             Channel("emu", [100, 100]), efficiency_ratio=0.9)
        >>> built = build_workspace(pair)
        >>> summarize_closure(built.workspace, built.metadata["pairing"])["restored"]["expected"]
        180.0
    """
    b, a, ratio, fakes_b, fakes_a = _pair(spec, pairing)
    found = close_pair(b, a, ratio, fakes_b, fakes_a)
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
        "restored": {"expected": expected, "error": error, "observed": float(b.sum())},
    }
