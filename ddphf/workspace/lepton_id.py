"""Lepton-ID uncertainties of a pair as systematics: one histosys per eigen-variation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.inputs.histogram import describe_bin
from ddphf.statistics.positive import N_SIGMA_POSITIVE
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.pair import Channel, Pair, Systematic
from ddphf.workspace.eigen import EigenVariations, column_signs, decompose, round_columns
from ddphf.workspace.lepton_id_record import Pruned, describe_pruned, warn_pruned
from ddphf.workspace.naming import lepid_name, partner_channel, tested_channel
from ddphf.workspace.pruning import Felt, choose, rank_directions, sigma_of_mu
from ddphf.workspace.scaling import known_pair, linear_pair

if TYPE_CHECKING:
    from ddphf.workspace.channels import PairYields

__all__ = ["LeptonIdYields", "attach_lepton_id"]

SMALLEST_RESIDUAL = 3e-4
"""Relative error below which a bin has no residual: its auxiliary count would pass 1e7, whose
log-gamma costs the likelihood its last digits, and it is nothing beside sqrt(10 000) events."""

EMPTY = 1e-9
"""Part of the largest variation below which a column is rounding, and set to 0."""


@dataclass(frozen=True)
class LeptonIdYields:
    """What the decomposition left for the model and the sidecar.

    Attributes:
        columns: G of the kept variations, shape (2M, n): bins of the tested channel, then of its
            partner.
        names: Of the nuisances, in the order of what the result feels of them.
        residual_tested: Relative uncorrelated error of ``symmetric``, shape (M,), or None.
        residual_partner: The same in the partner channel.
        metadata: Entry of the sidecar.
        warnings: Sentences for the user.
    """

    columns: Array
    names: tuple[str, ...]
    residual_tested: Array | None
    residual_partner: Array | None
    metadata: dict[str, Any]
    warnings: tuple[str, ...]


def attach_lepton_id(pair: Pair, plain: PairYields) -> tuple[Pair, LeptonIdYields]:
    """Turn the pair's lepton-ID covariance into systematics of its channels.

    Args:
        pair: With a ``lepton_id``.
        plain: The pair without it: tells what the result feels of the variations.

    Returns:
        The pair with one relative ``histosys`` per kept eigen-variation on ``symmetric`` in both
        channels and on the signals, and what goes into the sidecar.

    Raises:
        ModelError: A covariance that is none, a composition of the wrong shape, or relative errors
            so large that the background turns negative within 5 sigma.
    """
    config = pair.lepton_id
    assert config is not None
    if not re.fullmatch(r"[A-Za-z0-9_]+", config.source):
        raise ModelError(
            f"lepton_id: source '{config.source}', expected letters, digits and underscores"
        )
    background = [
        _composition(pair, config, config.tested, "tested"),
        _composition(pair, config, config.partner, "partner"),
    ]
    signals = _signals(pair, config)
    full = decompose(
        config.covariance,
        np.concatenate(background),
        others=np.concatenate([w for _, w in signals.values()]) if signals else None,
        psd_tolerance=config.psd_tolerance,
    )
    _refuse_large(pair, full)
    n_bins = pair.n_bins
    every = {"tested": full.columns[:n_bins], "partner": full.columns[n_bins:]}
    for role, (same, w) in signals.items():
        every[f"signal_{role}"] = every[role] if same else w @ full.directions
    measured = _measured(plain, every)
    ranking = rank_directions(measured, np.concatenate([*every.values()]))
    asked = choose(ranking, retained=config.retained, at_most=None)
    count = asked if config.at_most is None else min(asked, config.at_most)
    signs = column_signs(np.concatenate([*every.values()]) @ ranking.rotation)
    turned = {key: _clean(part @ (ranking.rotation * signs)) for key, part in every.items()}
    shapes = {key: part[:, :count] for key, part in turned.items()}
    rounding = 0.0
    if config.rounding is not None:
        # Signal and background together: the bound holds for their covariance, too.
        rows, rounding = round_columns(np.concatenate([*shapes.values()]), config.rounding)
        shapes = dict(zip(shapes, np.split(rows, len(shapes)), strict=True))
    dropped = {key: part[:, count:] for key, part in turned.items()}
    residual = _residual(dropped["tested"], dropped["partner"])
    keep = config.residual == "shapesys" and bool(np.any(residual > 0))
    kept = ranking.rotation[:, :count]
    extra: Sequence[Array | float] = [0.0] * len(measured)
    if keep:
        extra = _extra_variance(plain, residual)
    sigmas = [
        (sigma_of_mu(measured[i], mu, kept, extra[i]), sigma_of_mu(measured[i], mu))
        for i, mu in ranking.points
    ]
    pruned = Pruned(
        ranking=ranking,
        count=count,
        by_user="at_most" if count < asked else "retained" if config.retained is not None else "",
        sigma_kept=min(a / b if np.isfinite(b) else 1.0 for a, b in sigmas),
        kept=shapes,
        dropped=dropped,
        rounding=rounding,
        residual=keep,
        bins_without_residual=int(np.count_nonzero(residual == 0)),
    )
    names = tuple(lepid_name(config.source, i, count) for i in range(count))
    return _attach(pair, names, shapes, config.covariance.model), LeptonIdYields(
        columns=np.concatenate([shapes["tested"], shapes["partner"]]),
        names=names,
        residual_tested=np.sqrt(residual[0]) if keep else None,
        residual_partner=np.sqrt(residual[1]) if keep else None,
        metadata=describe_pruned(config, full, pruned, names),
        warnings=warn_pruned(config, full, pruned),
    )


def _signals(pair: Pair, config: LeptonId) -> dict[str, tuple[bool, Array]]:
    """Return by role whether the signal's composition is the background's, and the composition."""
    out = {}
    for role, channel, given, own in (
        ("tested", pair.tested, config.signal_tested, config.tested),
        ("partner", pair.partner, config.signal_partner, config.partner),
    ):
        if channel.signal is None or not config.on_signal:
            continue
        what = role if given is None else f"signal_{role}"
        w = _composition(pair, config, own if given is None else given, what)
        out[role] = (given is None, w)
    return out


def _measured(plain: PairYields, every: Mapping[str, Array]) -> list[Felt]:
    """Return what each direction does to y = B - r A, and to B and A where b is known."""
    linear = linear_pair(plain)
    none = np.zeros_like(every["tested"])
    tested, partner = (every.get(f"signal_{role}", none) for role in ("tested", "partner"))
    compared = Felt(
        ratio=linear.symmetric[:, None] * (every["tested"] - every["partner"]),
        signal=linear.signal_tested[:, None] * tested - linear.signal_partner[:, None] * partner,
        design=linear.signal,
        variance=linear.variance,
        others=linear.shapes,
        observed=linear.observed,
    )
    known = known_pair(plain)
    if known is None:
        return [compared]
    signals = np.concatenate([tested, partner])
    counted = Felt(
        ratio=known.background[:, None] * np.concatenate([every["tested"], every["partner"]]),
        signal=known.signal[:, None] * signals,
        design=known.signal,
        variance=known.variance,
        others=known.shapes,
        observed=known.observed,
    )
    return [compared, counted]


def _extra_variance(plain: PairYields, residual: Array) -> list[Array]:
    """Return the variance of every measurement's data by an uncorrelated error, shape (2, M)."""
    out = [linear_pair(plain).symmetric ** 2 * residual.sum(axis=0)]
    known = known_pair(plain)
    return out if known is None else [*out, known.background**2 * residual.ravel()]


def _clean(columns: Array) -> Array:
    """Set columns that are rounding to 0."""
    size = np.abs(columns).max(axis=0, initial=0.0)
    return np.where(size > EMPTY * size.max(initial=0.0), columns, 0.0)


def _residual(tested: Array, partner: Array) -> Array:
    """Return the uncorrelated relative variance per channel of what is dropped, shape (2, M).

    Their sum is the variance of the ratio, (G_B - G_A)^2: what the channels share is absorbed by
    the shared background and is no error of it; what they have against each other counts more.
    """
    of_ratio = np.sum((tested - partner) ** 2, axis=1)
    own = np.stack([np.sum(part**2, axis=1) for part in (tested, partner)])
    total = own.sum(axis=0)
    variance = own * of_ratio / np.where(total > 0, total, 1.0)
    return np.where(variance > SMALLEST_RESIDUAL**2, variance, 0.0)


def _attach(pair: Pair, names: tuple[str, ...], shapes: Mapping[str, Array], model: str) -> Pair:
    """Add the variations to the background of both channels, and to the signals they touch."""
    touched = np.any(np.concatenate([shapes["tested"], shapes["partner"]]), axis=0)

    def systematics(columns: Array, used: Array) -> list[Systematic]:
        return [
            Systematic(
                name, "histosys", 1 + column, 1 - column, relative=True,
                source=f"eigen-variation of {model}",
            )
            for name, column, use in zip(names, columns.T, used, strict=True)
            if use
        ]  # fmt: skip

    def channel(original: Channel, role: str) -> Channel:
        added = systematics(shapes[role], touched)
        changed = replace(original, systematics=[*original.systematics, *added])
        if original.signal is None or f"signal_{role}" not in shapes:
            return changed
        columns = shapes[f"signal_{role}"]
        added = systematics(columns, np.any(columns, axis=0))
        signal = replace(original.signal, systematics=[*original.signal.systematics, *added])
        return replace(changed, signal=signal)

    return replace(
        pair,
        lepton_id=None,
        tested=channel(pair.tested, "tested"),
        partner=channel(pair.partner, "partner"),
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
