"""Emit the paired model as a pyhf workspace (MODEL: two channels, one free background per bin).

    expected_tested[i]  = r[i] b[i] (1 + ...) + fakes_tested[i]  + mu signal_tested[i]
    expected_partner[i] =      b[i] (1 + ...) + fakes_partner[i] + mu signal_partner[i]

b[i] = template[i] x symmetric_shape[i], one shapefactor name in both channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.symmetry.closure_variables import close_variables
from ddphf.symmetry.pair import Pair
from ddphf.workspace.channels import ChannelYields, PairYields, SampleYields, Variation
from ddphf.workspace.closure import state_closure, warn_of_closure
from ddphf.workspace.metadata import make_metadata
from ddphf.workspace.naming import LUMI, MU, SHAPE, residual_name, stat_name
from ddphf.workspace.scaling import asimov_sigma, choose_scale, largest_mu
from ddphf.workspace.yields import resolve_pair

__all__ = ["BuiltWorkspace", "build_workspace"]

FACTOR_FLOOR = 1e-10
"""Lower bound of every multiplicative per-bin parameter: pyhf's logarithms need a rate > 0."""


@dataclass(frozen=True)
class BuiltWorkspace:
    """What the builder returns.

    Attributes:
        workspace: pyhf JSON workspace, floats only.
        metadata: The sidecar: what schema 1.0.0 has no place for.
        warnings: Sentences for the user.
    """

    workspace: Spec
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
    workspace: Spec = {
        "version": "1.0.0",
        # Alphabetical, as pyhf sorts them anyway: the file then reads in parameter order.
        "channels": [
            _channel(channel, yields, scale)
            for channel in sorted(yields.channels, key=lambda c: c.name)
        ],
        "observations": [
            {"name": channel.name, "data": _floats(channel.counts)}
            for channel in sorted(yields.channels, key=lambda c: c.name)
        ],
    }
    workspace["measurements"] = _measurements(
        workspace, yields, sigma / scale, largest_mu(yields) / scale
    )
    metadata = make_metadata(name, yields, workspace, scale=scale, sigma=sigma / scale)
    closure, side = state_closure(workspace, metadata["pairing"])
    if pair.closure is not None:
        closure["variables"] = close_variables(pair, side)
    warnings = (*yields.warnings, *warn_of_closure(closure, pair.n_bins))
    return BuiltWorkspace(
        workspace=workspace,
        metadata={**metadata, "closure": closure, "warnings": list(warnings)},
        warnings=warnings,
    )


def _floats(values: Array) -> list[float]:
    return [float(value) for value in np.ravel(values) + 0.0]


def _channel(channel: ChannelYields, pair: PairYields, scale: float) -> Spec:
    samples = []
    if channel.fakes is not None:
        samples.append(_sample(channel.fakes, channel.name, []))
    if channel.signal is not None:
        extra: list[Spec] = [{"name": MU, "type": "normfactor", "data": None}]
        if pair.luminosity_error is not None:
            extra.append({"name": LUMI, "type": "lumi", "data": None})
        samples.append(_sample(channel.signal, channel.name, extra, scale))
    background = channel.ratio * pair.background
    residual: list[Spec] = []
    if channel.residual is not None and pair.lepton_id is not None:
        # pyhf cannot share a shapesys between channels: one each, of the same relative size.
        name = residual_name(pair.lepton_id.metadata["source"], channel.name)
        data = _floats(channel.residual * background)
        residual.append({"name": name, "type": "shapesys", "data": data})
    samples.append(
        {
            "name": "symmetric",
            "data": _floats(background),
            "modifiers": [
                {"name": SHAPE, "type": "shapefactor", "data": None},
                *(_modifier(variation, background) for variation in _sorted(channel.variations)),
                *residual,
            ],
        }
    )
    return {"name": channel.name, "samples": samples}


def _sample(sample: SampleYields, channel: str, modifiers: list[Spec], scale: float = 1.0) -> Spec:
    nominal = sample.yields * scale
    modifiers = [
        *modifiers,
        *(_modifier(variation, nominal) for variation in _sorted(sample.variations)),
    ]
    if sample.error is not None:
        modifiers.append(
            {
                "name": stat_name(sample.name, channel),
                "type": sample.error_kind,
                "data": _floats(sample.error * scale),
            }
        )
    return {"name": sample.name, "data": _floats(nominal), "modifiers": modifiers}


def _sorted(variations: tuple[Variation, ...]) -> list[Variation]:
    return sorted(variations, key=lambda v: (v.name, v.kind))


def _modifier(variation: Variation, nominal: Array) -> Spec:
    if variation.kind == "normsys":
        data: Spec = {"hi": float(variation.up), "lo": float(variation.down)}
    else:
        data = {
            "hi_data": _floats(nominal * variation.up),
            "lo_data": _floats(nominal * variation.down),
        }
    return {"name": variation.name, "type": variation.kind, "data": data}


def _measurements(workspace: Spec, pair: PairYields, sigma: float, mu: float) -> list[Spec]:
    nuisances = _nuisance_parameters(workspace, pair)
    reach = max(10.0, 20.0 * sigma, 3.0 * mu)
    # A round number: the bound says "unbounded" and must not depend on the last digit of the data.
    bound = float(10.0 ** math.ceil(math.log10(reach)))
    poi = {"name": MU, "inits": [0.0], "bounds": [[-bound, bound]]}
    null = {**poi, "fixed": True}
    shape = _shape_parameter(pair)
    measurements = [
        _measurement("discovery", [poi, shape, *nuisances]),
        _measurement("discovery_null", [null, shape, *nuisances]),
    ]
    if pair.known_background is not None:
        factor = pair.known_background / pair.background
        known = {
            "name": SHAPE,
            "inits": _floats(np.maximum(factor, FACTOR_FLOOR)),
            "bounds": shape["bounds"],
            "fixed": True,
        }
        measurements += [
            _measurement("known_background", [poi, known, *nuisances]),
            _measurement("known_background_null", [null, known, *nuisances]),
        ]
    return measurements


def _measurement(name: str, parameters: list[Spec]) -> Spec:
    return {"name": name, "config": {"poi": MU, "parameters": parameters}}


def _shape_parameter(pair: PairYields) -> Spec:
    tested, partner = pair.channels
    largest = np.maximum(tested.counts / tested.ratio, partner.counts)
    if pair.known_background is not None:
        largest = np.maximum(largest, pair.known_background)
    reach = 10.0 * max(1.0, float(np.max(largest / pair.background)))
    bound = float(10.0 ** math.ceil(math.log10(reach)))
    n_bins = len(pair.background)
    return {
        "name": SHAPE,
        "inits": [1.0] * n_bins,
        "bounds": [[FACTOR_FLOOR, bound]] * n_bins,
    }


def _nuisance_parameters(workspace: Spec, pair: PairYields) -> list[Spec]:
    """Return explicit inits and bounds of every other parameter, sorted by name."""
    settings: dict[str, Spec] = {}
    observed = {o["name"]: np.array(o["data"]) for o in workspace["observations"]}
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                name, kind = modifier["name"], modifier["type"]
                if kind in ("normsys", "histosys"):
                    settings[name] = {"name": name, "inits": [0.0], "bounds": [[-5.0, 5.0]]}
                elif kind in ("shapesys", "staterror"):
                    settings[name] = _factor_parameter(modifier, sample, observed[channel["name"]])
    if pair.luminosity_error is not None:
        error = pair.luminosity_error
        settings[LUMI] = {
            "name": LUMI,
            "auxdata": [1.0],
            "sigmas": [error],
            "inits": [1.0],
            "bounds": [[max(FACTOR_FLOOR, 1 - 5 * error), 1 + 5 * error]],
        }
    return [settings[name] for name in sorted(settings)]


def _factor_parameter(modifier: Spec, sample: Spec, counts: Array) -> Spec:
    """Return the settings of a per-bin uncertainty, bounded above what data or error ask for."""
    nominal, error = np.array(sample["data"]), np.array(modifier["data"])
    relative = error / np.where(nominal > 0, nominal, 1.0)
    # Only a poorly known bin can follow the data that far; 10 is 45 sigma for the others.
    loose = (nominal > 0) & (relative > 0.2)
    data = (counts + 5 * np.sqrt(counts) + 5) / np.where(nominal > 0, nominal, 1.0)
    reach = np.maximum(data, 1 + 5 * relative)[loose]
    bound = float(10.0 ** math.ceil(math.log10(max(10.0, np.max(reach, initial=10.0)))))
    n = len(error)
    return {
        "name": modifier["name"],
        "inits": [1.0] * n,
        "bounds": [[FACTOR_FLOOR, bound]] * n,
    }
