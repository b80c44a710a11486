"""Hypotheses of a patchset as rows of one batch, where their workspaces are of that kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.exceptions import InputError
from ddphf.guards import MOST_NUMBERS, within
from ddphf.likelihood.patches import split_signal
from ddphf.masses.patchset import Hypotheses
from ddphf.masses.scan import (
    UNSTATED,
    MassScan,
    Norm,
    Parameter,
    Poi,
    Sample,
    Scale,
    Shift,
)
from ddphf.masses.stated import KEYS

__all__ = ["NoRows", "make_rows", "poi_of"]


_TABLES = {"histosys": ("up", "down"), "staterror": ("error",), "shapesys": ("error",)}
"""Of modifiers that have a number per bin."""


class NoRows(Exception):
    """Says why workspaces are no rows."""


@dataclass
class _Part:
    """One sample of one channel, in arrays of the bins of all channels."""

    yields: Array
    error: Array | None = None
    shapesys: bool = False
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)
    shifts: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    scales: tuple[Scale, ...] = ()


def poi_of(background: Mapping[str, Any]) -> tuple[Poi, tuple[Spec, ...]]:
    """Return the POI of the first measurement, with pyhf's bounds where none are stated.

    Beside it what is stated of other parameters.

    Raises:
        NoRows: Something is stated that rows do not have.
    """
    config = background["measurements"][0]["config"]
    (lower, upper), stated, others = UNSTATED, False, []
    for entry in config["parameters"]:
        if extra := sorted(set(entry) - set(KEYS)):
            raise NoRows(f"the measurement states {extra[0]} of '{entry['name']}'")
        if entry["name"] != config["poi"]:
            others.append(dict(entry))
            continue
        if extra := sorted(set(entry) - {"name", "bounds", "inits"}):
            raise NoRows(f"the measurement states {extra[0]} of its POI")
        if "bounds" in entry:
            (lower, upper), stated = map(float, entry["bounds"][0]), True
    if lower > 0 or upper <= 0:
        raise NoRows("the bounds of the POI exclude 0")
    return Poi(config["poi"], "", lower, upper, stated), tuple(others)


def make_rows(found: Hypotheses) -> MassScan:
    """Return the hypotheses as a scan: bins of all channels in one row.

    Samples of several channels are samples of their own, so that their correlated errors may
    differ from channel to channel. Nothing is done to empty bins yet.

    Raises:
        NoRows: They have what rows have not; says what.

    Example:
        >>> from ddphf.masses.examples import small_patchset
        >>> from ddphf.masses.patchset import read_hypotheses
        >>> scan = make_rows(read_hypotheses(*small_patchset()))
        >>> [sample.name for sample in scan.samples], scan.counts.shape
        (['SR.bkg', 'CR.bkg', 'signal'], (3, 4))
    """
    base = found.background
    (poi, stated), n = poi_of(base), len(found)
    if len(base["measurements"]) > 1:
        raise NoRows("there are several measurements")
    layout = _Layout(base, poi.name)
    read = []
    for channel in base["channels"]:
        for sample in channel["samples"]:
            name = sample["name"] if layout.single else f"{channel['name']}.{sample['name']}"
            part = layout.read(channel["name"], dict(sample), signal=False, times=n)
            read.append((name, part))
    signals = _signals(found, layout)
    backgrounds = [_sample(name, [part] * n) for name, part in read]
    names = [sample.name for sample in (*backgrounds, *signals)]
    if len(set(names)) < len(names):
        raise NoRows("a background sample is called 'signal', or two samples have one name")
    locals_ = [s for s in (*backgrounds, *signals) if s.error is not None]
    if any(s.shapesys for s in locals_) and len(locals_) > 1:
        raise NoRows("a shapesys stands beside other errors of bins")
    if own := sorted({str(entry["name"]) for entry in stated} & set(layout.of_bins)):
        raise NoRows(f"the measurement states '{own[0]}', an error of bins")
    observed = {o["name"]: o["data"] for o in base["observations"]}
    counts = np.concatenate([observed[c["name"]] for c in base["channels"]]).astype(float)
    if np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise NoRows("observed counts are no whole numbers")
    shape = (n, len(counts))
    return MassScan(
        name=base["measurements"][0]["name"],
        parameter=Parameter(found.parameter, "", found.values),
        poi=poi,
        counts=np.tile(counts, (n, 1)),
        backgrounds=tuple(backgrounds),
        signal=signals[0],
        more_signals=tuple(signals[1:]),
        live=np.ones(shape, dtype=bool),
        empty=np.zeros(shape, dtype=bool),
        stated=stated,
    )


def _signals(found: Hypotheses, layout: _Layout) -> list[Sample]:
    """Return the samples that the POI scales, one for each place in a channel that has some."""
    channels = [c["name"] for c in found.background["channels"]]
    parts: dict[tuple[str, int], list[_Part | None]] = {}
    for index in range(len(found)):
        split = split_signal(found.workspace(index))
        here: dict[str, int] = {}
        for step in split[1] if split is not None else []:
            channel = channels[int(step["path"].split("/")[2])]
            place = channel, here.get(channel, 0)
            here[channel] = place[1] + 1
            column = parts.setdefault(place, [None] * len(found))
            column[index] = layout.read(channel, dict(step["value"]), signal=True)
    out = []
    for (channel, number), column in sorted(parts.items(), key=lambda one: (
            channels.index(one[0][0]), one[0][1])):  # fmt: skip
        name = "signal" if len(parts) == 1 else f"{channel}.signal{number or ''}"
        out.append(_sample(name, column))
    return out


class _Layout:
    """Where the bins of channels are, and what modifiers of one name are."""

    def __init__(self, base: Mapping[str, Any], poi: str) -> None:
        self.poi, self.single = poi, len(base["channels"]) == 1
        self.places: dict[str, slice] = {}
        end = 0
        for channel in base["channels"]:
            size = len(channel["samples"][0]["data"])
            self.places[channel["name"]] = slice(end, end + size)
            end += size
        self.n = end
        self.of_bins: dict[str, str] = {}
        self.shapesys: frozenset[str] = frozenset()
        self.kinds: dict[str, str] = {poi: "normfactor"}
        self.numbers = 0

    def read(self, channel: str, sample: Spec, *, signal: bool, times: int = 1) -> _Part:
        """Read a sample of a channel, which will stand in so many rows.

        Raises:
            NoRows: It has what rows have not, or all rows are too long: each has the bins of all
                channels.
        """
        place = self.places[channel]
        tables = 1 + sum(len(_TABLES.get(m["type"], ())) for m in sample["modifiers"])
        self.numbers += times * self.n * tables
        try:
            within("rows of all hypotheses", "numbers", self.numbers, MOST_NUMBERS)
        except InputError as error:
            raise NoRows(str(error)) from None
        data = np.array(sample["data"], dtype=float)
        if np.any(data < 0):
            raise NoRows(f"sample '{sample['name']}' has negative yields")
        part = _Part(np.zeros(self.n))
        part.yields[place] = data
        scaled = 0
        for modifier in sample["modifiers"]:
            name, kind = modifier["name"], modifier["type"]
            same = "normsys" if kind == "histosys" else kind
            if self.kinds.setdefault(name, same) != same:
                raise NoRows(f"'{name}' is the name of modifiers of two types")
            if kind == "normsys":
                up, down = modifier["data"]["hi"], modifier["data"]["lo"]
                if up <= 0 or down <= 0 or name in part.norms:
                    raise NoRows(f"factors of '{name}' are not above 0, or there twice")
                part.norms[name] = float(up), float(down)
            elif kind == "histosys":
                if name in part.shifts:
                    raise NoRows(f"'{name}' is there twice in one sample")
                ends = [np.zeros(self.n), np.zeros(self.n)]
                for end, key in zip(ends, ("hi_data", "lo_data"), strict=True):
                    end[place] = modifier["data"][key]
                part.shifts[name] = ends[0], ends[1]
            elif kind in ("staterror", "shapesys"):
                self._error(channel, sample, modifier, part, of_signal=signal)
            elif kind == "normfactor" and name == self.poi and signal:
                scaled += 1
            elif kind in ("lumi", "normfactor") and name != self.poi:
                if Scale(name, kind) in part.scales:
                    raise NoRows(f"'{name}' is there twice in one sample")
                part.scales += (Scale(name, kind),)
            else:
                raise NoRows(f"sample '{sample['name']}' has the {kind} '{name}'")
        if scaled > 1:
            raise NoRows(f"sample '{sample['name']}' has the POI twice")
        return part

    def _error(
        self, channel: str, sample: Spec, modifier: Spec, part: _Part, *, of_signal: bool
    ) -> None:
        name, kind, place = modifier["name"], modifier["type"], self.places[channel]
        if self.of_bins.setdefault(name, channel) != channel:
            raise NoRows(f"'{name}' is in two channels")
        others = [n for n, c in self.of_bins.items() if c == channel and n != name]
        if others:
            raise NoRows(f"channel '{channel}' has errors of bins '{name}' and '{others[0]}'")
        if kind == "shapesys":
            if of_signal or name in self.shapesys:
                raise NoRows(f"'{name}' is a shapesys of the signal or of two samples")
            self.shapesys |= {name}
        error = np.array(modifier["data"], dtype=float)
        if np.any(error < 0) or np.any((part.yields[place] == 0) & (error > 0)):
            raise NoRows(f"'{name}' has errors where '{sample['name']}' has no yield")
        if kind == "shapesys" and np.any((part.yields[place] > 0) & (error == 0)):
            raise NoRows(f"the shapesys '{name}' is 0 in a bin")
        part.shapesys = kind == "shapesys"
        part.error = np.zeros(self.n)
        part.error[place] = error


def _sample(name: str, found: Sequence[_Part | None]) -> Sample:
    """Return one sample of all hypotheses; what one of them lacks changes nothing there."""
    have = [part for part in found if part is not None]
    bins = len(have[0].yields)
    parts = [_Part(np.zeros(bins)) if part is None else part for part in found]
    if len({(part.error is None, part.scales) for part in have}) > 1:
        raise NoRows("some signals have errors of their bins or factors, others have none")
    error = None
    if have[0].error is not None:
        error = np.array([np.zeros(bins) if p.error is None else p.error for p in parts])
    norms = []
    for key in dict.fromkeys(key for part in parts for key in part.norms):
        up, down = np.array([part.norms.get(key, (1.0, 1.0)) for part in parts]).T
        norms.append(Norm(key, up, down))
    shifts = []
    for key in dict.fromkeys(key for part in parts for key in part.shifts):
        ends = [part.shifts.get(key, (part.yields, part.yields)) for part in parts]
        shifts.append(Shift(key, np.array([e[0] for e in ends]), np.array([e[1] for e in ends])))
    yields = np.array([part.yields for part in parts])
    return Sample(
        name, yields, error, have[0].shapesys, tuple(norms), tuple(shifts), have[0].scales
    )
