"""What leptons and maps say about each other: axes that do not fit, bins that are placeholders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.config.sections import LeptonIdConfig
from ddphf.inputs.events import EventTable
from ddphf.inputs.look_up import axis_values
from ddphf.inputs.maps import LeptonMap
from ddphf.symmetry.efficiency import EventEfficiencies, LeptonColumns, lepton_flavour

__all__ = ["AxisReport", "find_placeholders", "left_out_sources", "report_axes"]

NEGATIVE = 0.1
"""Above this share of leptons at eta < 0, a map of eta > 0 is one of |eta|."""

MISSED = 0.9
"""Above this share of leptons beyond an axis, the axis is of another unit or another quantity."""

PLACEHOLDER = 0.5
"""A relative error as large as this is no measurement."""

ENORMOUS, LARGE = 10.0, 0.1
"""So is one this many times the median of the map, if it is larger than the second number."""


@dataclass(frozen=True)
class AxisReport:
    """How the leptons lie in the axes of the maps.

    Attributes:
        beyond: Words for every axis with leptons beyond its ends.
        wrong: Sentences for maps of eta that must be maps of |eta|, and for axes that hardly any
            lepton meets.
    """

    beyond: tuple[str, ...]
    wrong: tuple[str, ...]


def report_axes(
    table: EventTable, leptons: Sequence[LeptonColumns], maps: Mapping[int, LeptonMap]
) -> AxisReport:
    """Compare the leptons of every mapped flavour with the ends of the maps' axes.

    Under an exchange of flavours a lepton is looked up in the other map too, so each map is
    compared with the leptons of all flavours that have one.

    Args:
        table: n events.
        leptons: Where the leptons are.
        maps: By PDG code.
    """
    found = []
    for lepton in leptons:
        mapped = np.isin(lepton_flavour(table, lepton), list(maps))
        found.append({axis: v[mapped] for axis, v in lepton.values(table).items()})
    beyond, unsigned, missed = [], [], []
    for calibration in maps.values():
        real = calibration.n_bins - calibration.n_pseudo
        for number, axis in enumerate(calibration.axes):
            if axis in calibration.rewritten:  # the edges are of something else
                continue
            values = np.concatenate([axis_values(axis, own, calibration.name) for own in found])
            low = float(np.min(calibration.lows[:real, number]))
            high = float(np.max(calibration.highs[:real, number]))
            written = (calibration.written or calibration.axes)[number]
            folded = axis == "eta" and low >= 0 and len(values) and np.mean(values < 0) > NEGATIVE
            if folded and np.any((np.abs(values) >= low) & (np.abs(values) < high)):
                unsigned.append(
                    f"the axis '{written}' of map '{calibration.name}' runs from {low:g} to "
                    f"{high:g}, but {np.mean(values < 0):.0%} of the leptons have eta < 0; if it "
                    f"is the absolute eta, say 'axes: {{{written}: abseta}}'"
                )
            share = float(np.mean((values < low) | (values >= high))) if len(values) else 0.0
            if share > 0:
                beyond.append(f"{axis} of '{calibration.name}' beyond {low:g} to {high:g}")
            if share > MISSED:
                missed.append(
                    f"the axis '{written}' of map '{calibration.name}' runs from {low:g} to "
                    f"{high:g}, but {share:.0%} of the leptons lie beyond, from "
                    f"{np.min(values):g} to {np.max(values):g}; give both in the same units (GeV, "
                    "radians)"
                )
    return AxisReport(tuple(beyond), (*unsigned, *missed))


def left_out_sources(config: LeptonIdConfig) -> dict[int, Collection[str] | None]:
    """Return the sources that do not count by PDG code, None where a matrix stands for all."""
    return {
        item.flavour: None if config.covariance or item.covariance else item.exclude
        for item in config.maps
    }


def find_placeholders(
    maps: Mapping[int, LeptonMap],
    exclude: Mapping[int, Collection[str] | None],
    efficiencies: EventEfficiencies | None,
) -> list[str]:
    """Return a warning for each map with bins that hold a placeholder instead of a measurement.

    Args:
        maps: By PDG code, in the order of the calibration bins.
        exclude: As of :func:`left_out_sources`.
        efficiencies: Of the events; bins without leptons are then left unsaid.
    """
    out, first = [], 0
    for code, calibration in maps.items():
        left_out = exclude[code]
        bins = [] if left_out is None else _placeholders(calibration, left_out)
        parts = []
        for index in bins:
            share = None if efficiencies is None else _share(efficiencies, first + index)
            if share == 0:
                continue
            parts.append((index, share))
        first += calibration.n_bins
        if not parts:
            continue
        relative = _relative(calibration, left_out or ())
        index, share = parts[0]
        there = "" if share is None else f", and {share:.2g} of the events have a lepton there"
        more = f" ({len(parts)} such bins)" if len(parts) > 1 else ""
        numbers = ", ".join(str(i) for i, _ in parts)
        out.append(
            f"{calibration.source}: {calibration.describe(index)}: value "
            f"{calibration.values[index]:g}, relative error {relative[index]:.2g}, where the "
            f"median of the map is {np.median(relative):.2g}{there}{more}: a placeholder, no "
            f"measurement? Say 'exclude_bins: [{numbers}]' for the map and 'outside: exclude', or "
            "merge it with its neighbour in the file"
        )
    return out


def _relative(calibration: LeptonMap, exclude: Collection[str]) -> Array:
    """Return the relative error of every bin of the map that is a place."""
    shifts = [calibration.statistical]
    shifts += [shift for key, shift in calibration.sources.items() if key not in exclude]
    size = np.sqrt(np.sum(np.square(shifts), axis=0))
    real = calibration.n_bins - calibration.n_pseudo
    values = calibration.values[:real]
    return np.asarray(size[:real] / np.where(values > 0, values, np.inf))


def _placeholders(calibration: LeptonMap, exclude: Collection[str]) -> list[int]:
    relative = _relative(calibration, exclude)
    if len(relative) < 2:
        return []
    median = float(np.median(relative))
    bad = (relative >= PLACEHOLDER) | ((relative > ENORMOUS * median) & (relative > LARGE))
    if calibration.kind == "scale_factor":  # 1 without an error, where others have one
        ones = calibration.values[: len(relative)] == 1
        bad |= ones & (relative == 0) & (median > 0)
    return [int(i) for i in np.flatnonzero(bad) if int(i) not in calibration.excluded]


def _share(efficiencies: EventEfficiencies, index: int) -> float:
    found = (efficiencies.tested_bins == index) | (efficiencies.partner_bins == index)
    return float(np.mean(np.any(found, axis=1))) if len(found) else 0.0
