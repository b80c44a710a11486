"""What a ratio file names, read and checked: counts, yields, and errors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ddphf.arrays import Array
from ddphf.config.ratio import (
    RatioChannelConfig,
    RatioConfig,
    RatioSampleConfig,
    RatioSystematicConfig,
)
from ddphf.exceptions import InputError, ModelError
from ddphf.inputs.alignment import align
from ddphf.inputs.histogram import Axis, Histogram, describe_bin, error_from_variances
from ddphf.inputs.readers import read_histogram
from ddphf.statistics.one_sided import say_one_sided
from ddphf.statistics.positive import describe_negative
from ddphf.workspace_json import PerBinKind, VariedKind

__all__ = ["RatioChannel", "RatioErrors", "RatioSample", "RatioVariation", "read_channels"]

LARGEST = 1e30
"""No yield: a larger number is damage, and its powers overflow."""


@dataclass(frozen=True)
class RatioVariation:
    """A correlated uncertainty of a sample as factors of its yields, shape (M,) or one number."""

    name: str
    kind: VariedKind
    up: Array
    down: Array
    source: str = ""


@dataclass(frozen=True)
class RatioErrors:
    """Independent errors of the bins of a sample.

    Attributes:
        name: Of the modifier.
        kind: Of the modifier.
        error: Absolute, shape (M,); 0 where there is no yield, or pruned.
        pruned: Bins whose error was left out.
        lost: Largest part of the variance of a bin of the channel's sum of such errors and counts
            that was left out.
        source: Where they come from.
    """

    name: str
    kind: PerBinKind
    error: Array
    pruned: int = 0
    lost: float = 0.0
    source: str = ""


@dataclass(frozen=True)
class RatioSample:
    """One process in one channel."""

    name: str
    role: Literal["signal", "background", "fake"]
    yields: Array
    variations: tuple[RatioVariation, ...] = ()
    errors: tuple[RatioErrors, ...] = ()
    lumi: bool = False


@dataclass(frozen=True)
class RatioChannel:
    """One channel: counts and processes, of M bins."""

    name: str
    axes: tuple[Axis, ...]
    observed: Array
    samples: tuple[RatioSample, ...]

    @property
    def expected(self) -> Array:
        """Sum of all samples, shape (M,)."""
        return np.asarray(np.sum([sample.yields for sample in self.samples], axis=0))

    def sample(self, name: str) -> RatioSample:
        """Return a sample by name."""
        return next(sample for sample in self.samples if sample.name == name)


def read_channels(config: RatioConfig) -> tuple[tuple[RatioChannel, ...], list[str]]:
    """Read every channel of a ratio file, numerator and denominator first.

    Returns:
        The channels, and warnings.

    Raises:
        InputError: A histogram that is missing or cannot be used.
        ModelError: An uncertainty that cannot be built; names channel, sample, bin and remedy.
    """
    found = [_read_channel(config, one) for one in config.channels()]
    return tuple(channel for channel, _ in found), [line for _, said in found for line in said]


def _read_channel(
    config: RatioConfig, channel: RatioChannelConfig
) -> tuple[RatioChannel, list[str]]:
    where = f"channel '{channel.channel}'"
    observed = _read(config, channel.observed, f"{where}, observed")
    axes, counts = observed.axes, observed.flat
    _refuse_negative(axes, counts, f"{where}, observed")
    for index in np.flatnonzero(counts != np.round(counts)) if config.integer_data else ():
        raise InputError(
            f"{where}, observed, {describe_bin(axes, int(index))}: got {counts[index]:g}, not a "
            "whole number; say 'integer_data: false' if these are pseudo-data"
        )
    samples, warnings = [], list[str]()
    for sample in channel.samples:
        place = f"{where}, sample '{sample.name}'"
        yields, said = _read_on(config, sample.yields, axes, place)
        warnings += said
        _refuse_negative(axes, yields.flat, place)
        if not np.any(yields.flat > 0):
            raise InputError(f"{place}: nothing is expected in any bin; leave the sample out")
        samples.append((sample, yields))
    total = np.sum([yields.flat for _, yields in samples], axis=0)
    for index in np.flatnonzero((total == 0) & (counts > 0)):
        raise ModelError(
            f"{where}, {describe_bin(axes, int(index))}: {counts[index]:g} events where nothing is "
            "expected; merge bins, or correct the yields"
        )
    read = []
    for sample, yields in samples:
        place = f"{where}, sample '{sample.name}'"
        one, said = _read_sample(config, sample, yields, total, place)
        read.append(one)
        warnings += said
    return RatioChannel(channel.channel, axes, counts, tuple(read)), warnings


def _read_sample(
    config: RatioConfig,
    sample: RatioSampleConfig,
    yields: Histogram,
    total: Array,
    where: str,
) -> tuple[RatioSample, list[str]]:
    variations: list[RatioVariation] = []
    errors: list[RatioErrors] = []
    warnings: list[str] = []
    lumi = False
    for s in sample.systematics:
        place = f"{where}, systematic '{s.name}'"
        if s.kind == "lumi":
            lumi = True
        elif s.kind == "normsys" or s.kind == "histosys":
            variation, said = _read_variation(config, s, yields, place)
            variations.append(variation)
            warnings += [*said, *say_one_sided(variation.up, variation.down, yields.flat, place)]
        else:
            error, said = _read_errors(config, s, yields, total, place)
            errors.append(error)
            warnings += said
    found = RatioSample(
        sample.name, sample.role, yields.flat, tuple(variations), tuple(errors), lumi
    )
    refuse_turning_negative(found, yields.axes, where)
    return found, warnings


def _read_variation(
    config: RatioConfig,
    s: RatioSystematicConfig,
    yields: Histogram,
    where: str,
) -> tuple[RatioVariation, list[str]]:
    if s.kind == "normsys":
        up, down = np.asarray(float(s.up or 0)), np.asarray(float(s.down or 0))
        return RatioVariation(s.name, "normsys", up, down, s.source), []
    ends, warnings = [], list[str]()
    for side, address in (("up", s.up), ("down", s.down)):
        histogram, said = _read_on(config, str(address), yields.axes, f"{where}, {side}")
        warnings += said
        flat = histogram.flat
        if not s.relative:
            bad = np.flatnonzero((yields.flat == 0) & (flat != 0))
            if bad.size:
                raise ModelError(
                    f"{where}, {side}, {describe_bin(yields.axes, int(bad[0]))}: the nominal is 0 "
                    "but the variation is not; set it to 0 or merge bins"
                )
            flat = np.where(yields.flat > 0, flat / np.where(yields.flat > 0, yields.flat, 1), 1.0)
        ends.append(flat)
    source = s.source or str(s.up)
    return RatioVariation(s.name, "histosys", ends[0], ends[1], source), warnings


def _read_errors(
    config: RatioConfig,
    s: RatioSystematicConfig,
    yields: Histogram,
    total: Array,
    where: str,
) -> tuple[RatioErrors, list[str]]:
    assert s.kind == "shapesys" or s.kind == "staterror"
    axes, warnings = yields.axes, list[str]()
    if s.error is not None:
        histogram, warnings = _read_on(config, s.error, axes, f"{where}, error")
        error = histogram.flat
    elif yields.variances is not None:
        error = error_from_variances(yields).flat
    else:
        raise InputError(
            f"{where}: 'error' is missing, and {yields.source} has no variances; give FILE:NAME of "
            "absolute errors"
        )
    _refuse_negative(axes, error, f"{where}, error")
    filled = yields.flat > 0
    lost = np.flatnonzero((error > 0) & ~filled)
    if lost.size:
        warnings.append(
            f"{where}: the error of {lost.size} bin(s) without yield is ignored (first: "
            f"{describe_bin(axes, int(lost[0]))}); pyhf scales errors with the yield"
        )
    error = np.where(filled, error, 0.0)
    if not np.any(error > 0):
        raise ModelError(f"{where}: every error is 0, so it is none; leave it out")
    found = RatioErrors(s.name, s.kind, error, source=s.error or yields.source)
    if s.kind == "staterror":
        return found, warnings
    nothing = np.flatnonzero(filled & (error == 0))
    if nothing.size and s.prune is None:
        raise ModelError(
            f"{where}, {describe_bin(axes, int(nothing[0]))}: the error is 0, which would hold "
            "this bin without a word; give its error, or 'prune: 0' if bins without one are meant"
        )
    dropped = (error > 0) & (error < (s.prune or 0.0) * total)
    left = np.where(dropped, 0.0, error)
    if not np.any(left > 0):
        raise ModelError(
            f"{where}: 'prune: {s.prune:g}' leaves no error in any bin; lower it, or leave the "
            "systematic out"
        )
    part = error**2 / np.where(total > 0, total + error**2, 1.0)
    pruned = replace(
        found,
        error=left,
        pruned=int(np.sum(dropped | (filled & (error == 0)))),
        lost=float(np.max(np.where(dropped, part, 0.0))),
    )
    return pruned, warnings


def refuse_turning_negative(sample: RatioSample, axes: Sequence[Axis], where: str) -> None:
    """Refuse shapes that together turn a template negative within some sigma.

    Raises:
        ModelError: Names the worst bin.
    """
    found = describe_negative(
        sample.variations, sample.yields, "merge the bin with others, or use a normsys"
    )
    if found is not None:
        raise ModelError(f"{where}, {describe_bin(axes, found[0])}: {found[1]}")


def _read(config: RatioConfig, address: str, where: str) -> Histogram:
    try:
        histogram = read_histogram(address, folder=config.folder)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    flat = histogram.flat
    for index in np.flatnonzero(~(np.abs(flat) <= LARGEST)):
        raise InputError(
            f"{where}, {describe_bin(histogram.axes, int(index))}: got {flat[index]:g}, expected a "
            "finite number; repair the histogram"
        )
    return histogram


def _read_on(
    config: RatioConfig, address: str, axes: Sequence[Axis], where: str
) -> tuple[Histogram, list[str]]:
    """Read a histogram on the axes of the channel."""
    histogram = _read(config, address, where)
    try:
        found, notes = align(histogram, axes)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return found, [f"{where}: {note}" for note in notes]


def _refuse_negative(axes: Sequence[Axis], flat: Any, where: str) -> None:
    for index in np.flatnonzero(flat < 0):
        raise InputError(
            f"{where}, {describe_bin(axes, int(index))}: got {flat[index]:g}, expected >= 0; merge "
            "bins, or correct it"
        )
