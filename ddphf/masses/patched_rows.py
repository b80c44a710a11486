"""Hypotheses of a patchset as rows of one batch, where their workspaces are of that kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.likelihood.patches import split_signal
from ddphf.masses.patchset import Hypotheses
from ddphf.masses.scan import UNSTATED, MassScan, Norm, Parameter, Poi, Sample

__all__ = ["NoRows", "make_rows", "poi_of"]


class NoRows(Exception):
    """Says why workspaces are no rows."""


@dataclass
class _Parts:
    """One sample of a channel, in arrays of the bins of all channels."""

    yields: Array
    errors: dict[str, Array] = field(default_factory=dict)
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)


def poi_of(background: Mapping[str, Any]) -> Poi:
    """Return the POI of the first measurement, with pyhf's bounds where none are stated.

    Raises:
        NoRows: More is stated of parameters than bounds and start of the POI.
    """
    config = background["measurements"][0]["config"]
    (lower, upper), stated = UNSTATED, False
    for entry in config["parameters"]:
        if entry["name"] != config["poi"]:
            raise NoRows(f"the measurement states '{entry['name']}'")
        if extra := sorted(set(entry) - {"name", "bounds", "inits"}):
            raise NoRows(f"the measurement states {extra[0]} of its POI")
        if "bounds" in entry:
            (lower, upper), stated = map(float, entry["bounds"][0]), True
    if lower > 0 or upper <= 0:
        raise NoRows("the bounds of the POI exclude 0")
    return Poi(config["poi"], "", lower, upper, stated)


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
    poi, n = poi_of(base), len(found)
    if len(found.background["measurements"]) > 1:
        raise NoRows("there are several measurements")
    layout = _Layout(base, poi.name)
    backgrounds = []
    for channel in base["channels"]:
        for sample in channel["samples"]:
            name = sample["name"] if layout.single else f"{channel['name']}.{sample['name']}"
            part = layout.read(channel["name"], dict(sample), None)
            backgrounds.append(_sample(name, [part] * n, layout.shapesys))
    signals = [layout.signal(split) for split in _signals(found)]
    signal = _sample("signal", signals, frozenset())
    names = [sample.name for sample in (*backgrounds, signal)]
    if len(set(names)) < len(names):
        raise NoRows("a background sample is called 'signal', or two samples have one name")
    locals_ = [s for s in (*backgrounds, signal) if s.error is not None]
    if any(s.shapesys for s in locals_) and len(locals_) > 1:
        raise NoRows("a shapesys stands beside other errors of bins")
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
        signal=signal,
        live=np.ones(shape, dtype=bool),
        empty=np.zeros(shape, dtype=bool),
    )


def _signals(found: Hypotheses) -> Iterator[list[tuple[str, Spec]]]:
    """Yield the signal samples of each hypothesis, with their channels."""
    for index in range(len(found)):
        split = split_signal(found.workspace(index))
        steps = split[1] if split is not None else []
        channels = [c["name"] for c in found.background["channels"]]
        yield [(channels[int(step["path"].split("/")[2])], step["value"]) for step in steps]


class _Layout:
    """Where the bins of channels are, and the names of the errors of bins."""

    def __init__(self, base: Mapping[str, Any], poi: str) -> None:
        self.poi, self.single = poi, len(base["channels"]) == 1
        self.places: dict[str, slice] = {}
        end = 0
        for channel in base["channels"]:
            size = len(channel["samples"][0]["data"])
            self.places[channel["name"]] = slice(end, end + size)
            end += size
        self.n = end
        self.staterrors: dict[str, str] = {}
        self.shapesys: frozenset[str] = frozenset()
        self.kinds: dict[str, str] = {poi: "normfactor"}

    def read(self, channel: str, sample: Spec, signal: _Parts | None) -> _Parts:
        """Read a sample, or add one of another channel to a signal."""
        part = _Parts(np.zeros(self.n)) if signal is None else signal
        place = self.places[channel]
        data = np.array(sample["data"], dtype=float)
        if np.any(data < 0):
            raise NoRows(f"sample '{sample['name']}' has negative yields")
        part.yields[place] = data
        norms: dict[str, tuple[float, float]] = {}
        for modifier in sample["modifiers"]:
            name, kind = modifier["name"], modifier["type"]
            if self.kinds.setdefault(name, kind) != kind:
                raise NoRows(f"'{name}' is the name of modifiers of two types")
            if kind == "normsys":
                up, down = modifier["data"]["hi"], modifier["data"]["lo"]
                if up <= 0 or down <= 0 or name in norms:
                    raise NoRows(f"factors of '{name}' are not above 0, or there twice")
                norms[name] = float(up), float(down)
            elif kind in ("staterror", "shapesys"):
                self._error(channel, sample, modifier, part, of_signal=signal is not None)
            elif not (kind == "normfactor" and name == self.poi and signal is not None):
                raise NoRows(f"sample '{sample['name']}' has the {kind} '{name}'")
        part.norms = norms
        return part

    def _error(
        self, channel: str, sample: Spec, modifier: Spec, part: _Parts, *, of_signal: bool
    ) -> None:
        name, kind, place = modifier["name"], modifier["type"], self.places[channel]
        if self.staterrors.setdefault(name, channel) != channel:
            raise NoRows(f"'{name}' is in two channels")
        others = [n for n, c in self.staterrors.items() if c == channel and n != name]
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
        values = part.errors.setdefault(kind, np.zeros(self.n))
        values[place] = error

    def signal(self, samples: Sequence[tuple[str, Spec]]) -> _Parts:
        """Read the signal of one hypothesis from all channels that have it."""
        channels = [channel for channel, _ in samples]
        if len(set(channels)) < len(channels):
            raise NoRows("a channel has two signal samples")
        part = _Parts(np.zeros(self.n))
        for channel, sample in samples:
            poi = [m for m in sample["modifiers"] if m["type"] == "normfactor"]
            if len(poi) != 1:
                raise NoRows(f"sample '{sample['name']}' has several normfactors")
            before = part.norms
            self.read(channel, sample, part)
            if channel != channels[0] and part.norms != before:
                raise NoRows("correlated errors of the signal differ from channel to channel")
        having = {c for c, s in samples if any(m["type"] == "staterror" for m in s["modifiers"])}
        if having and having != set(channels):
            raise NoRows("the signal has a staterror in some of its channels alone")
        return part


def _sample(name: str, parts: Sequence[_Parts], shapesys: frozenset[str]) -> Sample:
    """Return one sample of all hypotheses; an error that one of them lacks has factors of 1."""
    if len({tuple(part.errors) for part in parts}) > 1:
        raise NoRows("some signals have errors of their bins, others have none")
    error = None
    if parts[0].errors:
        error = np.array([next(iter(part.errors.values())) for part in parts])
    names = dict.fromkeys(key for part in parts for key in part.norms)
    norms = []
    for key in names:
        up, down = np.array([part.norms.get(key, (1.0, 1.0)) for part in parts]).T
        norms.append(Norm(key, up, down))
    yields = np.array([part.yields for part in parts])
    return Sample(name, yields, error, "shapesys" in parts[0].errors, tuple(norms))
