"""Channels, samples and parameters as pyhf JSON (schema 1.0.0); knows of no pair."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.workspace_json import (
    FACTOR_FLOOR,
    FactorKind,
    MeasurementDocument,
    ModifierDocument,
    ParameterDocument,
    PerBinKind,
    PerBinModifier,
    Shapes,
    VariedKind,
    Workspace,
)

__all__ = [
    "Channel",
    "Sample",
    "emit_measurement",
    "emit_workspace",
    "factor",
    "floats",
    "nuisance_parameters",
    "per_bin_error",
    "round_up",
    "varied",
]


@dataclass(frozen=True)
class Sample:
    """Expected events of one process in one channel.

    Attributes:
        name: Its name.
        yields: Shape (M,).
        modifiers: pyhf modifiers, in the order in which they are to stand.
    """

    name: str
    yields: Array
    modifiers: tuple[ModifierDocument, ...] = ()


@dataclass(frozen=True)
class Channel:
    """One channel.

    Attributes:
        name: Its name.
        observed: Counts, shape (M,).
        samples: In the order in which they are to stand.
    """

    name: str
    observed: Array
    samples: tuple[Sample, ...]


def emit_workspace(
    channels: Iterable[Channel], measurements: Sequence[MeasurementDocument]
) -> Workspace:
    """Return the workspace, floats only.

    Args:
        channels: In any order; pyhf sorts them by name, and so does the file: it then reads in the
            order of the parameters.
        measurements: From :func:`emit_measurement`.

    Example:
        >>> data = Sample("all", np.array([5.0]), (factor("mu"),))
        >>> spec = emit_workspace(
        ...     [Channel("SR", np.array([7.0]), (data,))], [emit_measurement("m", "mu", [])])
        >>> spec["observations"]
        [{'name': 'SR', 'data': [7.0]}]
    """
    ordered = sorted(channels, key=lambda channel: channel.name)
    return {
        "version": "1.0.0",
        "channels": [
            {
                "name": channel.name,
                "samples": [
                    {"name": s.name, "data": floats(s.yields), "modifiers": list(s.modifiers)}
                    for s in channel.samples
                ],
            }
            for channel in ordered
        ],
        "observations": [{"name": c.name, "data": floats(c.observed)} for c in ordered],
        "measurements": list(measurements),
    }


def emit_measurement(
    name: str, poi: str, parameters: list[ParameterDocument]
) -> MeasurementDocument:
    """Return a measurement of one parameter of interest."""
    return {"name": name, "config": {"poi": poi, "parameters": parameters}}


def factor(name: str, kind: FactorKind = "normfactor") -> ModifierDocument:
    """Return a modifier without data: ``normfactor``, ``shapefactor`` or ``lumi``."""
    return {"name": name, "type": kind, "data": None}


def varied(name: str, kind: VariedKind, nominal: Array, up: Array, down: Array) -> ModifierDocument:
    """Return a ``normsys`` or ``histosys`` from factors of the nominal.

    Args:
        name: Of its nuisance.
        kind: ``"normsys"`` with two numbers, or ``"histosys"`` with shapes (M,).
        nominal: Yields, shape (M,).
        up: Factor at +1 sigma.
        down: Factor at -1 sigma.
    """
    if kind == "normsys":
        return {"name": name, "type": kind, "data": {"hi": float(up), "lo": float(down)}}
    shapes: Shapes = {"hi_data": floats(nominal * up), "lo_data": floats(nominal * down)}
    return {"name": name, "type": kind, "data": shapes}


def per_bin_error(name: str, kind: PerBinKind, error: Array) -> ModifierDocument:
    """Return a ``shapesys`` or ``staterror`` from absolute errors, shape (M,)."""
    return {"name": name, "type": kind, "data": floats(error)}


def floats(values: Array) -> list[float]:
    """Return Python numbers in C order, no -0.0.

    Example:
        >>> floats(np.array([[1, -0.0]]))
        [1.0, 0.0]
    """
    return [float(value) for value in np.ravel(values) + 0.0]


def round_up(reach: float) -> float:
    """Return a power of ten: the bound says "unbounded", and hangs on no last digit of the data.

    Example:
        >>> round_up(20.0)
        100.0
    """
    return float(10.0 ** math.ceil(math.log10(reach)))


def nuisance_parameters(channels: Iterable[Channel]) -> dict[str, ParameterDocument]:
    """Return explicit starting values and bounds of all nuisances, by name."""
    settings: dict[str, ParameterDocument] = {}
    for channel in channels:
        for sample in channel.samples:
            for modifier in sample.modifiers:
                name = modifier["name"]
                if modifier["type"] == "normsys" or modifier["type"] == "histosys":
                    settings[name] = {"name": name, "inits": [0.0], "bounds": [[-5.0, 5.0]]}
                elif modifier["type"] == "shapesys" or modifier["type"] == "staterror":
                    settings[name] = _per_bin_parameter(modifier, sample.yields, channel.observed)
    return settings


def _per_bin_parameter(modifier: PerBinModifier, yields: Array, counts: Array) -> ParameterDocument:
    """Return the settings of a per-bin uncertainty, bounded above what data or error ask for."""
    nominal, error = np.array(floats(yields)), np.array(modifier["data"])
    relative = error / np.where(nominal > 0, nominal, 1.0)
    # Only a poorly known bin can follow the data that far; 10 is 45 sigma for the others.
    loose = (nominal > 0) & (relative > 0.2)
    data = (counts + 5 * np.sqrt(counts) + 5) / np.where(nominal > 0, nominal, 1.0)
    reach = np.maximum(data, 1 + 5 * relative)[loose]
    n = len(error)
    return {
        "name": modifier["name"],
        "inits": [1.0] * n,
        "bounds": [[FACTOR_FLOOR, round_up(max(10.0, np.max(reach, initial=10.0)))]] * n,
    }
