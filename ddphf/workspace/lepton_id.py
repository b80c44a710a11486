"""Lepton-ID uncertainties of a pair as systematics: one histosys per eigen-variation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.exceptions import ModelError
from ddphf.inputs.histogram import Array, describe_bin
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.pair import Channel, Pair, Systematic
from ddphf.workspace.eigen import EigenVariations, decompose, prune, round_columns
from ddphf.workspace.naming import lepid_name, partner_channel, tested_channel

__all__ = ["LeptonIdYields", "attach_lepton_id"]

N_SIGMA_POSITIVE = 5.0
"""The background must stay positive when its variations reach this many sigma together."""

SMALLEST_RESIDUAL = 3e-4
"""Relative error below which a bin has no residual: its auxiliary count would pass 1e7, whose
log-gamma costs the likelihood its last digits, and it is nothing beside sqrt(10 000) events."""


@dataclass(frozen=True)
class LeptonIdYields:
    """What the decomposition left for the model and the sidecar.

    Attributes:
        eigen: Rows: bins of the tested channel, then of its partner.
        names: Of the nuisances, in order of falling eigenvalue.
        residual_tested: Relative uncorrelated error of ``symmetric``, shape (M,), or None.
        residual_partner: The same in the partner channel.
        metadata: Entry of the sidecar.
        warnings: Sentences for the user.
    """

    eigen: EigenVariations
    names: tuple[str, ...]
    residual_tested: Array | None
    residual_partner: Array | None
    metadata: dict[str, Any]
    warnings: tuple[str, ...]


def attach_lepton_id(pair: Pair) -> tuple[Pair, LeptonIdYields | None]:
    """Turn the pair's lepton-ID covariance into systematics of its channels.

    Args:
        pair: Its ``lepton_id`` is None where it has no such uncertainty.

    Returns:
        The pair with one relative ``histosys`` per kept eigen-variation on ``symmetric`` in both
        channels and on the signals, and what goes into the sidecar.

    Raises:
        ModelError: A covariance that is none, a composition of the wrong shape, or relative errors
            so large that the background turns negative within 5 sigma.
    """
    config = pair.lepton_id
    if config is None:
        return pair, None
    if not re.fullmatch(r"[A-Za-z0-9_]+", config.source):
        raise ModelError(
            f"lepton_id: source '{config.source}', expected letters, digits and underscores"
        )
    tested = _composition(pair, config, config.tested, "tested")
    partner = _composition(pair, config, config.partner, "partner")
    full = decompose(
        config.covariance, np.concatenate([tested, partner]), psd_tolerance=config.psd_tolerance
    )
    _refuse_large(pair, full)
    eigen = prune(full, retained=config.retained, at_most=config.at_most)
    names = tuple(lepid_name(config.source, i, eigen.n_kept) for i in range(eigen.n_kept))
    n_bins = pair.n_bins
    shapes = {"tested": eigen.columns[:n_bins], "partner": eigen.columns[n_bins:]}
    losses = [0.0]
    for role, own, given in (
        ("tested", pair.tested, config.signal_tested),
        ("partner", pair.partner, config.signal_partner),
    ):
        if own.signal is None or not config.on_signal:
            continue
        shapes[f"signal_{role}"] = shapes[role]
        if given is not None:
            w = _composition(pair, config, given, f"signal_{role}")
            shapes[f"signal_{role}"] = w @ eigen.directions
            full_variance = np.einsum("ik,kl,il->i", w, config.covariance.matrix, w)
            losses.append(float(np.max(full_variance - np.sum(shapes[f"signal_{role}"] ** 2, 1))))
    rounding = 0.0
    if config.rounding is not None:
        # Signal and background together: the bound holds for their covariance, too.
        rows, rounding = round_columns(np.concatenate([*shapes.values()]), config.rounding)
        shapes = dict(zip(shapes, np.split(rows, len(shapes)), strict=True))
    source = f"eigen-variation of {config.covariance.model}"

    def systematics(columns: Array) -> list[Systematic]:
        return [
            Systematic(name, "histosys", 1 + column, 1 - column, relative=True, source=source)
            for name, column in zip(names, columns.T, strict=True)
        ]

    def channel(original: Channel, role: str) -> Channel:
        changed = replace(original, systematics=[*original.systematics, *systematics(shapes[role])])
        if original.signal is None or f"signal_{role}" not in shapes:
            return changed
        added = systematics(shapes[f"signal_{role}"])
        signal = replace(original.signal, systematics=[*original.signal.systematics, *added])
        return replace(changed, signal=signal)

    changed = replace(
        pair,
        lepton_id=None,
        tested=channel(pair.tested, "tested"),
        partner=channel(pair.partner, "partner"),
    )
    residual = np.sqrt(np.maximum(eigen.residual, 0.0))
    residual = np.where(residual > SMALLEST_RESIDUAL, residual, 0.0)
    keep = config.residual == "shapesys" and bool(np.any(residual > 0))
    return changed, LeptonIdYields(
        eigen=eigen,
        names=names,
        residual_tested=residual[:n_bins] if keep else None,
        residual_partner=residual[n_bins:] if keep else None,
        metadata=_metadata(config, full, eigen, names, keep, max(losses), rounding),
        warnings=_warnings(config, eigen, keep),
    )


def _composition(pair: Pair, config: LeptonId, values: Any, what: str) -> Array:
    array = np.asarray(values, dtype=float)
    expected = (pair.n_bins, config.covariance.n_bins)
    if array.shape != expected:
        raise ModelError(
            f"lepton_id, composition '{what}': shape {array.shape}, expected {expected} (template "
            "bins x calibration bins of all maps)"
        )
    return array


def _refuse_large(pair: Pair, eigen: EigenVariations) -> None:
    sigma = np.sqrt(np.einsum("ij,ij->i", eigen.columns, eigen.columns))
    if not sigma.size or N_SIGMA_POSITIVE * sigma.max() < 1:
        return
    worst = int(np.argmax(sigma))
    count = int(np.count_nonzero(N_SIGMA_POSITIVE * sigma >= 1))
    name = (
        tested_channel(pair.tested.label)
        if worst < pair.n_bins
        else partner_channel(pair.partner.label)
    )
    raise ModelError(
        f"channel '{name}', sample 'symmetric', {describe_bin(pair.binning, worst % pair.n_bins)}: "
        f"lepton-ID error {sigma[worst]:.3g}, so the background turns negative within "
        f"{N_SIGMA_POSITIVE:g} sigma ({count} bin(s)); merge or exclude the calibration bins with "
        "large errors, or correct the map"
    )


def _metadata(
    config: LeptonId,
    full: EigenVariations,
    eigen: EigenVariations,
    names: Sequence[str],
    residual: bool,
    signal_loss: float,
    rounding: float,
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for array in (config.covariance.matrix, config.tested, config.partner):
        # Rounded: the same bytes where only the order of a sum differs.
        digest.update((np.round(np.asarray(array, dtype=float), 12) + 0.0).tobytes())
    n_bins = len(eigen.columns) // 2
    difference = full.columns[:n_bins] - full.columns[n_bins:]
    lost = np.sum(difference[:, eigen.n_kept :] ** 2, axis=1)
    return {
        **(dict(config.description) if config.description is not None else {}),
        "source": config.source,
        "covariance": {
            "calibration_bins": config.covariance.n_bins,
            "model": config.covariance.model,
            "digest": f"sha256:{digest.hexdigest()}",
            "asymmetry_averaged": config.covariance.asymmetry,
            "eigenvalues_clipped": list(eigen.clipped),
        },
        "eigenvalues": [float(v) for v in eigen.eigenvalues],
        "kept": list(names),
        "dropped": len(eigen.eigenvalues) - eigen.n_kept,
        "trace": eigen.trace,
        "retained": eigen.retained,
        "largest_loss": eigen.largest_loss,
        "largest_loss_of_ratio": float(lost.max(initial=0.0)),
        "largest_loss_of_signal": max(signal_loss, 0.0),
        "largest_rounding": rounding,
        "largest_sigma": float(np.sqrt(np.sum(full.columns**2, axis=1).max(initial=0.0))),
        "residual": "shapesys" if residual else "dropped",
        "on_signal": config.on_signal,
    }


def _warnings(config: LeptonId, eigen: EigenVariations, residual: bool) -> tuple[str, ...]:
    out = list(config.warnings)
    if eigen.clipped:
        out.append(
            f"lepton_id: {len(eigen.clipped)} negative eigenvalue(s) of the covariance set to 0, "
            f"the largest {min(eigen.clipped):.3g}"
        )
    if not eigen.eigenvalues.size:
        out.append(
            "lepton_id: the maps state no error for the leptons of these events, so there is no "
            "nuisance parameter; give a statistical error or sources"
        )
    dropped = len(eigen.eigenvalues) - eigen.n_kept
    if dropped:
        what = "kept as one uncorrelated error per channel" if residual else "left out"
        out.append(
            f"lepton_id: {eigen.n_kept} eigen-variations hold {eigen.retained:.2%} of the trace; "
            f"{dropped} smaller ones are {what} (max |C - C'| {eigen.largest_loss:.3g})"
        )
    return tuple(out)
