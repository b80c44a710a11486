"""What the sidecar and the warnings say about the lepton-ID variations that are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.symmetry.efficiency import LeptonId
from ddphf.workspace.eigen import EigenVariations
from ddphf.workspace.pruning import Ranking

__all__ = ["Pruned", "describe_pruned", "warn_pruned"]

ALLOWED = 0.01
"""Part of sigma(mu) that a user's choice may lose without being told that it does."""


Columns = Mapping[str, Array]
"""Directions by role."""


@dataclass(frozen=True)
class Pruned:
    """Which directions stay, and what that does.

    Attributes:
        ranking: Of all directions.
        count: How many stay.
        by_user: The option that left out the others, empty for the default.
        sigma_kept: sigma(mu) with what stays over that with everything, the smallest of all mu
            that were looked at.
        kept: G and H by role, columns that stay; ``tested`` and ``partner`` are the background.
        dropped: The others.
        rounding: Largest change of C by rounding.
        residual: Whether an uncorrelated error stands for the others.
        bins_without_residual: Of both channels, too small for one.
    """

    ranking: Ranking
    count: int
    by_user: str
    sigma_kept: float
    kept: Columns
    dropped: Columns
    rounding: float
    residual: bool
    bins_without_residual: int

    @property
    def n_dropped(self) -> int:
        """How many directions are left out."""
        return len(self.ranking.variances) - self.count

    @property
    def largest_loss(self) -> float:
        """Largest |C - C'|, which lies on the diagonal."""
        return max(_largest(self.dropped[key]) for key in ("tested", "partner"))


def _largest(columns: Array) -> float:
    return float(np.sum(columns**2, axis=1).max(initial=0.0))


def describe_pruned(
    config: LeptonId, full: EigenVariations, pruned: Pruned, names: Sequence[str]
) -> dict[str, Any]:
    """Return the entry of the sidecar.

    Args:
        config: What was asked for.
        full: Every eigen-variation of C.
        pruned: What was made of them.
        names: Of the nuisances that stay.
    """
    digest = hashlib.sha256()
    for array in (config.covariance.matrix, config.tested, config.partner):
        # Rounded: the same bytes where only the order of a sum differs.
        digest.update((np.round(np.asarray(array, dtype=float), 12) + 0.0).tobytes())
    lengths = sum(np.sum(pruned.kept[key] ** 2, axis=0) for key in ("tested", "partner"))
    lost = _largest(pruned.dropped["tested"] - pruned.dropped["partner"])
    of_signal = [_largest(part) for key, part in pruned.dropped.items() if "signal" in key]
    held = float(np.sum(lengths))
    return {
        **(dict(config.description) if config.description is not None else {}),
        "source": config.source,
        "covariance": {
            "calibration_bins": config.covariance.n_bins,
            "model": config.covariance.model,
            "digest": f"sha256:{digest.hexdigest()}",
            "asymmetry_averaged": config.covariance.asymmetry,
            "eigenvalues_clipped": list(full.clipped),
        },
        "eigenvalues": [float(v) for v in full.eigenvalues],
        "kept": list(names),
        "squared_lengths": [float(v) for v in np.atleast_1d(lengths)],
        "dropped": pruned.n_dropped,
        "trace": full.trace,
        "retained": 1.0 if full.trace == 0 else min(held / full.trace, 1.0),
        "ratio_variances": [float(v) for v in pruned.ranking.variances],
        "ratio_retained": pruned.ranking.retained(pruned.count),
        "sigma_mu_kept": pruned.sigma_kept,
        "largest_loss_of_other_signals": pruned.ranking.loss_elsewhere(pruned.count),
        "largest_loss": pruned.largest_loss,
        "largest_loss_of_ratio": lost,
        "largest_loss_of_signal": max(of_signal, default=0.0),
        "largest_rounding": pruned.rounding,
        "largest_sigma": float(np.sqrt(_largest(full.columns))),
        "residual": "shapesys" if pruned.residual else "dropped",
        "on_signal": config.on_signal,
    }


def warn_pruned(config: LeptonId, full: EigenVariations, pruned: Pruned) -> tuple[str, ...]:
    """Return what the user has to know, sentence by sentence.

    Args:
        config: What was asked for, with the warnings of reading it.
        full: Every eigen-variation of C.
        pruned: What was made of them.
    """
    out = list(config.warnings)
    if full.clipped:
        out.append(
            f"lepton_id: {len(full.clipped)} negative eigenvalue(s) of the covariance set to 0, "
            f"the largest {min(full.clipped):.3g}"
        )
    if not len(pruned.ranking.variances):
        out.append(
            "lepton_id: the maps state no error for the leptons of these events, so there is no "
            "nuisance parameter; give a statistical error or sources"
        )
    if not pruned.n_dropped:
        return tuple(out)
    ranking, count = pruned.ranking, pruned.count
    others = ranking.loss_elsewhere(count)
    what = "left out"
    if pruned.residual:
        what = "kept as one uncorrelated error per bin and channel, without their correlations"
        if pruned.bins_without_residual:
            what += f" ({pruned.bins_without_residual} bin(s) below 3e-4 have none)"
    out.append(
        f"lepton_id: {count} of {len(ranking.variances)} eigen-variations hold "
        f"{ranking.retained(count):.2%} of the trace of the ratio's covariance in units of its "
        f"statistical errors; the others are {what} (sigma(mu) is {pruned.sigma_kept:.2%} of that "
        f"with all, another signal's at least {1 - others:.2%}; max |C - C'| "
        f"{pruned.largest_loss:.3g})"
    )
    loss = 1.0 - pruned.sigma_kept
    if pruned.by_user and max(loss, others) > ALLOWED:
        value = f"{getattr(config, pruned.by_user):g}"
        lost = (
            f"{loss:.1%} of sigma(mu)"
            if loss > ALLOWED
            else f"no part of sigma(mu), but up to {others:.1%} of that of another signal, and the "
            "closure and goodness of fit do not know it"
        )
        out.append(
            f"lepton_id: '{pruned.by_user}: {value}' loses {lost}; raise it, or leave it out: the "
            "default keeps what moves the result"
        )
    return tuple(out)
