"""Emit a ratio as a pyhf workspace.

    numerator[i]   = R x reference x signal[i] + background[i] + fake[i]
    denominator[i] =     reference x signal[i] + background[i] + fake[i]

A control pair, whose true ratio is known, adds two channels with a free common rate; one nuisance,
the ratio of efficiencies, moves all four. Source: Feichtinger, Belle II pyhf talk; arXiv:2405.14625
for R_mu; the control pair as in R_K by J/psi or R_W by Z.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyhf

from ddphf import __version__
from ddphf.arrays import Spec
from ddphf.config.ratio import RatioConfig
from ddphf.config.ratio_meaning import CONTROL_RATE, LUMI
from ddphf.exceptions import ConfigError
from ddphf.measurement.lepton_id import attach_calibrations, read_calibrations
from ddphf.measurement.samples import RatioChannel, RatioSample, read_channels
from ddphf.results.documents import SidecarDocument
from ddphf.results.provenance import json_digest
from ddphf.text import did_you_mean
from ddphf.workspace.emit import (
    Channel,
    Sample,
    emit_measurement,
    emit_workspace,
    factor,
    nuisance_parameters,
    per_bin_error,
    varied,
)
from ddphf.workspace.metadata import describe_binning
from ddphf.workspace_json import ModifierDocument, ParameterDocument, Workspace, lumi_parameter

__all__ = ["BuiltRatio", "build_ratio"]

MEASUREMENT = "ratio"
"""Name of the measurement in the workspace."""

RATE_BOUNDS = [1e-3, 1e3]
"""Of the free common rate of a control pair."""


@dataclass(frozen=True)
class BuiltRatio:
    """What the builder returns.

    Attributes:
        workspace: pyhf JSON workspace, floats only.
        metadata: The sidecar.
        warnings: Sentences for the user.
    """

    workspace: Workspace
    metadata: Spec
    warnings: tuple[str, ...]


def build_ratio(config: RatioConfig) -> BuiltRatio:
    """Build the workspace of a ratio file, with its sidecar.

    Args:
        config: Validated.

    Returns:
        A workspace with one measurement, ``ratio``, and a sidecar that declares it to be none of a
        signal strength.

    Raises:
        InputError: A histogram or matrix cannot be used.
        ModelError: The model would be ill-defined; names channel, sample, bin and remedy.
        ConfigError: A group whose globs match no parameter.
    """
    channels, warnings = read_channels(config)
    calibrations = read_calibrations(config, channels)
    channels, entries, said = attach_calibrations(channels, calibrations)
    warnings += [*said, *_pruned(channels)]
    factors = _factors(config)
    if config.control is not None and config.control.transfer == 0:
        warnings.append(
            "control: 'transfer: 0' says that the ratio of efficiencies is exactly that of the "
            "control pair"
        )
    emitted = [_emit(channel, factors, config) for channel in channels]
    workspace = emit_workspace(emitted, [_measurement(config, emitted)])
    names = {m["name"] for c in emitted for s in c.samples for m in s.modifiers} - {config.poi}
    _check_groups(config, names)
    return BuiltRatio(
        workspace, _metadata(config, channels, entries, workspace, warnings), tuple(warnings)
    )


def _factors(config: RatioConfig) -> dict[tuple[str, str], list[ModifierDocument]]:
    """Return the factors of the ratio by channel and role, in the order in which they stand."""
    relative = config.reference_error / config.reference_value
    reference = _norm(config.reference, 1 + relative)
    signal = "signal"
    top, bottom = config.numerator.channel, config.denominator.channel
    out = {
        (top, signal): [factor(config.poi), reference],
        (bottom, signal): [reference],
    }
    control = config.control
    if control is None:
        return out
    # The ratio of efficiencies of one lepton is half in either channel: its square root up in the
    # numerator, down in the denominator; as often as there are leptons.
    half = float(np.sqrt(1 + control.prior))
    rate = factor(CONTROL_RATE)
    up, down = control.numerator.channel, control.denominator.channel
    out[up, signal] = [
        rate,
        _norm(f"{control.efficiency}_control", 1 + control.error / control.value),
    ]
    out[down, signal] = [rate]
    if control.transfer:
        out[top, signal].append(_norm(f"{control.efficiency}_transfer", 1 + control.transfer))
    for channel, power in (
        (top, control.leptons["signal"]),
        (bottom, -control.leptons["signal"]),
        (up, control.leptons["control"]),
        (down, -control.leptons["control"]),
    ):
        for role in (signal, "background"):
            out.setdefault((channel, role), []).append(_norm(control.efficiency, half**power))
    return out


def _norm(name: str, up: float) -> ModifierDocument:
    return varied(name, "normsys", np.ones(1), np.asarray(up), np.asarray(1 / up))


def _emit(
    channel: RatioChannel,
    factors: dict[tuple[str, str], list[ModifierDocument]],
    config: RatioConfig,
) -> Channel:
    scale = 1.0
    if config.control is not None and channel.name == config.control.numerator.channel:
        scale = config.control.value
    samples = []
    for sample in channel.samples:
        yields = sample.yields * (scale if sample.role == "signal" else 1.0)
        modifiers = [*factors.get((channel.name, sample.role), ())]
        ordered = sorted(sample.variations, key=lambda v: (v.name, v.kind))
        modifiers += [varied(v.name, v.kind, yields, v.up, v.down) for v in ordered]
        for e in sample.errors:
            error = e.error * (scale if sample.role == "signal" else 1.0)
            modifiers.append(per_bin_error(e.name, e.kind, error))
        if sample.lumi:
            modifiers.append(factor(LUMI, "lumi"))
        samples.append(Sample(sample.name, yields, tuple(modifiers)))
    return Channel(channel.name, channel.observed, tuple(samples))


def _measurement(config: RatioConfig, channels: Iterable[Channel]) -> Any:
    ordered = sorted(channels, key=lambda channel: channel.name)
    settings = nuisance_parameters(ordered)
    kinds = {m["type"] for c in ordered for s in c.samples for m in s.modifiers}
    if "lumi" in kinds:
        assert config.luminosity_error is not None
        settings[LUMI] = lumi_parameter(LUMI, config.luminosity_error)
    if config.control is not None:
        settings[CONTROL_RATE] = {
            "name": CONTROL_RATE, "inits": [1.0], "bounds": [list(RATE_BOUNDS)],
        }  # fmt: skip
    poi: ParameterDocument = {
        "name": config.poi,
        "inits": [float(config.expected)],
        "bounds": [list(config.bounds)],
    }
    others = [settings[name] for name in sorted(settings)]
    return emit_measurement(MEASUREMENT, config.poi, [poi, *others])


def _pruned(channels: Iterable[RatioChannel]) -> list[str]:
    """Say what pruning has left out where that is worth a word."""
    return [
        f"channel '{channel.name}', sample '{sample.name}', '{e.name}': pruning leaves up to "
        f"{e.lost:.3g} of the variance of a bin out; lower 'prune'"
        for channel in channels
        for sample in channel.samples
        for e in sample.errors
        if e.lost > WORTH_A_WORD
    ]


WORTH_A_WORD = 0.01
"""Part of the variance of a bin's counts that pruning may leave out silently."""


def _check_groups(config: RatioConfig, names: Iterable[str]) -> None:
    known = sorted(names)
    for group, globs in config.groups.items():
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in known):
                hint = did_you_mean(glob, known)
                raise ConfigError(
                    f"at groups.{group}: '{glob}' matches no parameter; {hint}see the names of "
                    "your systematics"
                )


def _metadata(
    config: RatioConfig,
    channels: tuple[RatioChannel, ...],
    calibrations: list[dict[str, Any]],
    workspace: Workspace,
    warnings: list[str],
) -> Spec:
    control = config.control
    sources = {
        name: source
        for channel in channels
        for sample in channel.samples
        for name, source in _sources(sample)
    }
    out: Spec = {
        "schema": SidecarDocument.SCHEMA,
        "name": config.name,
        "workspace_digest": json_digest(workspace),
        "statement": "measurement",
        "tested": float(config.expected),
        "derived": [dict(entry) for entry in config.derived],
        "modifier_sources": sources,
        "ratio": {
            "poi": config.poi,
            "numerator": config.numerator.channel,
            "denominator": config.denominator.channel,
            "reference": {
                "name": config.reference,
                "value": config.reference_value,
                "error": config.reference_error,
            },
            "roles": {
                channel.name: {sample.name: sample.role for sample in channel.samples}
                for channel in channels
            },
            "groups": {name: list(globs) for name, globs in config.groups.items()},
            "lepton_id": calibrations,
            "pruned": {
                e.name: {"bins": e.pruned, "largest_loss": e.lost}
                for channel in channels
                for sample in channel.samples
                for e in sample.errors
                if e.pruned
            },
        },
        "warnings": list(warnings),
        "versions": {"ddphf": __version__, "pyhf": pyhf.__version__},
    }
    if control is not None:
        out["ratio"]["control"] = {
            "numerator": control.numerator.channel,
            "denominator": control.denominator.channel,
            "ratio": {"value": control.value, "error": control.error},
            "efficiency": control.efficiency,
            "leptons": control.leptons,
            "transfer": control.transfer,
        }
    axes = channels[0].axes
    if all(channel.axes == axes for channel in channels):
        out["binning"] = describe_binning(axes)
    return out


def _sources(sample: RatioSample) -> Iterable[tuple[str, str]]:
    yield from ((v.name, v.source) for v in sample.variations if v.source)
    yield from ((e.name, e.source) for e in sample.errors if e.source)
