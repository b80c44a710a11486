"""Emit the paired model as a pyhf workspace (MODEL: two channels, one free background per bin).

    expected_tested[i]  = r[i] b[i] (1 + ...) + fakes_tested[i]  + mu signal_tested[i]
    expected_partner[i] =      b[i] (1 + ...) + fakes_partner[i] + mu signal_partner[i]

b[i] = template[i] x symmetric_shape[i], one shapefactor name in both channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.results.provenance import data_digest, make_mark
from ddphf.symmetry.closure_variables import close_variables
from ddphf.symmetry.pair import Pair
from ddphf.workspace import emit
from ddphf.workspace.channels import ChannelYields, PairYields, SampleYields, Variation
from ddphf.workspace.closure import state_closure, warn_of_closure
from ddphf.workspace.metadata import make_metadata
from ddphf.workspace.naming import LUMI, MU, SHAPE, residual_name, stat_name
from ddphf.workspace.scaling import asimov_sigma, choose_scale, largest_mu
from ddphf.workspace.yields import resolve_pair
from ddphf.workspace_json import (
    FACTOR_FLOOR,
    MeasurementDocument,
    ModifierDocument,
    ParameterDocument,
    Workspace,
    lumi_parameter,
)

__all__ = ["BuiltWorkspace", "build_workspace"]


@dataclass(frozen=True)
class BuiltWorkspace:
    """What the builder returns.

    Attributes:
        workspace: pyhf JSON workspace, floats only.
        metadata: The sidecar: what schema 1.0.0 has no place for.
        warnings: Sentences for the user.
    """

    workspace: Workspace
    metadata: Spec
    warnings: tuple[str, ...]


def build_workspace(
    pair: Pair, *, signal_scale: float | Literal["auto"] = "auto", name: str = "pair"
) -> BuiltWorkspace:
    """Build the workspace of a pair.

    Args:
        pair: Two samples, signal, fakes, efficiency ratio and systematics.
        signal_scale: mu = 1 means the stated signal times this; ``"auto"`` takes the power of ten
            that gives mu an expected error in (.1, 1].
        name: Name of the analysis, for the metadata.

    Returns:
        Measurements ``discovery`` and ``discovery_null`` (mu fixed at 0), and with a known
        background ``known_background`` and ``known_background_null`` (b fixed at it).

    Raises:
        InputError: A histogram cannot be used.
        ModelError: The model would be ill-defined; names channel, sample, bin and remedy.

    Example:
        >>> from ddphf.symmetry.pair import Channel, Template
        >>> pair = Pair(Channel("mue", [18, 33, 4], signal=Template([10.0, 20.0, 1.0])),
        ...             Channel("emu", [12, 30, 7]))
        >>> built = build_workspace(pair)
        >>> [channel["name"] for channel in built.workspace["channels"]]
        ['CR_emu', 'SR_mue']
        >>> built.metadata["signal"]["scale"]
        1.0
    """
    yields = resolve_pair(pair)
    sigma = asimov_sigma(yields)
    scale = choose_scale(sigma, signal_scale)
    channels = [_channel(channel, yields, scale) for channel in yields.channels]
    measurements = _measurements(channels, yields, sigma / scale, largest_mu(yields) / scale)
    chosen = pair.data_directed
    # On the data that chose the signal its significance is local: every measurement is marked.
    local = chosen is not None and chosen["data_digest"] == digest_of(yields)
    mark = make_mark(chosen) if chosen is not None and local else None
    if mark is not None:
        for measurement in measurements:
            measurement["config"]["parameters"].append({"name": mark.name})
    workspace = emit.emit_workspace(channels, measurements)
    metadata = make_metadata(name, yields, workspace, scale=scale, sigma=sigma / scale)
    if chosen is not None:
        metadata["data_directed"] = {**chosen, "on_the_choosing_data": local}
    if pair.learned is not None:
        metadata["learned"] = dict(pair.learned)
    closure, side = state_closure(workspace, metadata["pairing"])
    if pair.closure is not None:
        closure["variables"] = close_variables(pair, side)
    marked = [] if mark is None else [mark.describe()]
    warnings = (*yields.warnings, *warn_of_closure(closure, pair.n_bins), *marked)
    return BuiltWorkspace(
        workspace=workspace,
        metadata={**metadata, "closure": closure, "warnings": list(warnings)},
        warnings=warnings,
    )


def digest_of(pair: PairYields) -> str:
    """Return the digest by which a search knows these data again."""
    edges = [axis.edges for axis in pair.axes]
    return data_digest(pair.tested.counts, pair.partner.counts, edges)


def _channel(channel: ChannelYields, pair: PairYields, scale: float) -> emit.Channel:
    samples = []
    if channel.fakes is not None:
        samples.append(_sample(channel.fakes, channel.name, []))
    if channel.signal is not None:
        extra = [emit.factor(MU)]
        if pair.luminosity_error is not None:
            extra.append(emit.factor(LUMI, "lumi"))
        samples.append(_sample(channel.signal, channel.name, extra, scale))
    background = channel.ratio * pair.background
    modifiers = [emit.factor(SHAPE, "shapefactor"), *_variations(channel.variations, background)]
    if channel.residual is not None and pair.lepton_id is not None:
        # pyhf cannot share a shapesys between channels: one each, of the same relative size.
        name = residual_name(pair.lepton_id.metadata["source"], channel.name)
        modifiers.append(emit.per_bin_error(name, "shapesys", channel.residual * background))
    samples.append(emit.Sample("symmetric", background, tuple(modifiers)))
    return emit.Channel(channel.name, channel.counts, tuple(samples))


def _sample(
    sample: SampleYields, channel: str, modifiers: list[ModifierDocument], scale: float = 1.0
) -> emit.Sample:
    nominal = sample.yields * scale
    modifiers = [*modifiers, *_variations(sample.variations, nominal)]
    if sample.error is not None:
        name = stat_name(sample.name, channel)
        modifiers.append(emit.per_bin_error(name, sample.error_kind, sample.error * scale))
    return emit.Sample(sample.name, nominal, tuple(modifiers))


def _variations(variations: tuple[Variation, ...], nominal: Array) -> list[ModifierDocument]:
    ordered = sorted(variations, key=lambda v: (v.name, v.kind))
    return [emit.varied(v.name, v.kind, nominal, v.up, v.down) for v in ordered]


def _measurements(
    channels: list[emit.Channel], pair: PairYields, sigma: float, mu: float
) -> list[MeasurementDocument]:
    nuisances = _nuisance_parameters(channels, pair)
    bound = emit.round_up(max(10.0, 20.0 * sigma, 3.0 * mu))
    poi: ParameterDocument = {"name": MU, "inits": [0.0], "bounds": [[-bound, bound]]}
    null: ParameterDocument = {**poi, "fixed": True}
    shape = _shape_parameter(pair)
    measurements = [
        emit.emit_measurement("discovery", MU, [poi, shape, *nuisances]),
        emit.emit_measurement("discovery_null", MU, [null, shape, *nuisances]),
    ]
    if pair.known_background is not None:
        known: ParameterDocument = {
            "name": SHAPE,
            "inits": emit.floats(np.maximum(pair.known_background / pair.background, FACTOR_FLOOR)),
            "bounds": shape["bounds"],
            "fixed": True,
        }
        measurements += [
            emit.emit_measurement("known_background", MU, [poi, known, *nuisances]),
            emit.emit_measurement("known_background_null", MU, [null, known, *nuisances]),
        ]
    return measurements


def _shape_parameter(pair: PairYields) -> ParameterDocument:
    tested, partner = pair.channels
    largest = np.maximum(tested.counts / tested.ratio, partner.counts)
    if pair.known_background is not None:
        largest = np.maximum(largest, pair.known_background)
    bound = emit.round_up(10.0 * max(1.0, float(np.max(largest / pair.background))))
    n_bins = len(pair.background)
    return {"name": SHAPE, "inits": [1.0] * n_bins, "bounds": [[FACTOR_FLOOR, bound]] * n_bins}


def _nuisance_parameters(channels: list[emit.Channel], pair: PairYields) -> list[ParameterDocument]:
    """Return explicit inits and bounds of every other parameter, sorted by name."""
    settings = emit.nuisance_parameters(sorted(channels, key=lambda channel: channel.name))
    if pair.luminosity_error is not None:
        settings[LUMI] = lumi_parameter(LUMI, pair.luminosity_error)
    return [settings[name] for name in sorted(settings)]
