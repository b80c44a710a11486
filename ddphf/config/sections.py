"""The sections ``events`` and ``lepton_id`` of the analysis file, as written."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ddphf.exceptions import ConfigError

__all__ = [
    "AxisConfig",
    "ClosureConfig",
    "CollectionConfig",
    "EventsConfig",
    "FakeMapConfig",
    "LeptonConfig",
    "LeptonIdConfig",
    "MapConfig",
    "parse_axis",
    "parse_closure",
    "parse_events",
    "parse_fake_maps",
    "parse_files",
    "parse_lepton_id",
    "parse_weight",
]

CODES = {"electron": 11, "muon": 13, "tau": 15}
"""Flavours of maps that are named so; others state their PDG code."""

READING = (
    "axes", "columns", "correction", "inputs", "value", "statistical", "sources", "varied",
    "exclude_bins",
)  # fmt: skip
"""Keys of a map that tell how its file is read."""


@dataclass(frozen=True)
class AxisConfig:
    """One axis of the histograms: an expression over columns, and edges."""

    column: str
    edges: tuple[float, ...]
    name: str = ""
    label: str = ""
    unit: str = ""


@dataclass(frozen=True)
class LeptonConfig:
    """Columns of one lepton; the flavour may be a PDG code, ``variables`` are further axes."""

    flavour: str | int
    pt: str
    eta: str | None = None
    charge: str | None = None
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CollectionConfig:
    """Jagged branches of the leptons of one flavour, and which leptons count.

    Attributes:
        prefix: Of the branches.
        select: Expression over the branches without the prefix: the leptons that count; or None.
        tight: The same: those of them that are tight; or None.
        columns: Further quantities of a lepton, expressions by name.
    """

    prefix: str
    select: str | None = None
    tight: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EventsConfig:
    """The event table as written.

    Attributes:
        file: Address, or addresses, of the table of both samples.
        axes: Of the histograms.
        leptons: Where the leptons are.
        select: Selection of both samples, or None.
        weight: Of the events of both samples, where they are pseudo-data; or None.
        identifier: Columns that number events.
        collections: Jagged branches by flavour.
        exchange: What the symmetry exchanges.
    """

    file: str | tuple[str, ...]
    axes: tuple[AxisConfig, ...]
    leptons: tuple[LeptonConfig, ...]
    select: str | None = None
    weight: str | None = None
    identifier: tuple[str, ...] = ()
    collections: dict[str, CollectionConfig] = field(default_factory=dict)
    exchange: Literal["flavour", "charge", "eta"] = "flavour"


@dataclass(frozen=True)
class ClosureConfig:
    """A variable in which closure is tested: an expression over columns; edges, or None."""

    column: str
    edges: tuple[float, ...] | None = None


@dataclass(frozen=True)
class MapConfig:
    """One map as written; see :func:`ddphf.inputs.map_files.read_map`.

    Attributes:
        name: Of the map.
        file: Its address.
        kind: Of its values.
        flavour: PDG code of its leptons.
        reading: How the file is read.
        covariance: Address of its matrix, or None.
        relative: Whether that is relative.
        exclude: Sources to leave out.
        correlation: rho by axis, of the sources without their own; None: full along every axis,
            source by source.
        source_correlation: rho by axis of single sources.
    """

    name: str
    file: str
    kind: Literal["efficiency", "scale_factor"]
    flavour: int
    reading: dict[str, Any] = field(default_factory=dict)
    covariance: str | None = None
    relative: bool = False
    exclude: tuple[str, ...] = ()
    correlation: dict[str, float] | None = None
    source_correlation: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeMapConfig:
    """One map of fake factors as written; see :func:`ddphf.inputs.map_files.read_map`."""

    name: str
    file: str
    flavour: int
    reading: dict[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    kind: Literal["fake_factor", "fake_rate"] = "fake_factor"


@dataclass(frozen=True)
class LeptonIdConfig:
    """The lepton-ID uncertainty as written.

    Attributes:
        maps: In the order of the file: the order of the calibration bins.
        source: Part of the nuisances' names.
        shared: Sources of equal name that correlate the maps.
        covariance: Address of one relative matrix over all maps, or None.
        composition: Address of an npz with W by channel, where there are no events.
        outside: What happens to events with a lepton outside a map.
        retained: Part of the ratio's variance to keep; None: what moves the result.
        at_most: No more variations than this.
        residual: What happens to what pruning drops.
        signal: Whether the signal carries the nuisances.
        psd_tolerance: Negative eigenvalues down to -this times the largest are clipped.
        rounding: Largest change of C by rounding, relative to its largest element.
    """

    maps: tuple[MapConfig, ...]
    source: str = "id"
    shared: tuple[str, ...] = ()
    covariance: str | None = None
    composition: str | None = None
    outside: Literal["refuse", "nearest", "exclude"] = "refuse"
    retained: float | None = None
    at_most: int | None = None
    residual: Literal["drop", "shapesys"] = "drop"
    signal: bool = True
    psd_tolerance: float = 1e-10
    rounding: float | None = None


def parse_events(data: Mapping[str, Any] | None) -> EventsConfig | None:
    """Return the section ``events``, already valid by the schema."""
    if data is None:
        return None
    return EventsConfig(
        file=parse_files(data["file"]),
        axes=tuple(parse_axis(axis, f"at events.axes.{i}") for i, axis in enumerate(data["axes"])),
        leptons=tuple(LeptonConfig(**lepton) for lepton in data["leptons"]),
        select=data.get("select"),
        weight=parse_weight(data.get("weight")),
        identifier=tuple(data.get("identifier", ())),
        collections={
            flavour: CollectionConfig(given)
            if isinstance(given, str)
            else CollectionConfig(**given)
            for flavour, given in data.get("collections", {}).items()
        },
        exchange=data.get("exchange", "flavour"),
    )


def parse_files(data: str | Sequence[str]) -> str | tuple[str, ...]:
    """Return the address of one table, or of several."""
    return data if isinstance(data, str) else tuple(data)


def parse_weight(data: str | float | None) -> str | None:
    """Return a weight as an expression: a number is one."""
    return None if data is None else str(data)


def parse_closure(data: Sequence[Any]) -> tuple[ClosureConfig, ...]:
    """Return the section ``closure``, already valid by the schema.

    Raises:
        ConfigError: One variable twice, or edges that do not increase.
    """
    out: list[ClosureConfig] = []
    for number, item in enumerate(data):
        entry = {"column": item} if isinstance(item, str) else item
        if any(entry["column"] == other.column for other in out):
            raise ConfigError(f"at closure.{number}: '{entry['column']}' is there already")
        edges = entry.get("edges")
        where = f"at closure.{number}.edges"
        out.append(ClosureConfig(entry["column"], None if edges is None else _edges(edges, where)))
    return tuple(out)


def _edges(edges: Any, where: str) -> tuple[float, ...]:
    if isinstance(edges, Mapping):
        low, high, bins = edges["low"], edges["high"], edges["bins"]
        points = [low + (high - low) * i / bins for i in range(bins + 1)]
    else:
        points = [float(x) for x in edges]
    if any(b <= a for a, b in itertools.pairwise(points)):
        raise ConfigError(f"{where}: the edges do not increase")
    return tuple(map(float, points))


def parse_axis(data: Mapping[str, Any], where: str) -> AxisConfig:
    """Return one axis, already valid by the schema.

    Raises:
        ConfigError: Edges that do not increase.
    """
    return AxisConfig(
        column=data["column"],
        edges=_edges(data["edges"], f"{where}.edges"),
        name=data.get("name", ""),
        label=data.get("label", ""),
        unit=data.get("unit", ""),
    )


def parse_lepton_id(data: Mapping[str, Any] | None) -> LeptonIdConfig | None:
    """Return the section ``lepton_id``, already valid by the schema.

    Raises:
        ConfigError: A map without a flavour, two maps of one, or options that exclude each other.
    """
    if data is None:
        return None
    maps = tuple(_map(name, item) for name, item in data["maps"].items())
    _refuse_same_flavour(maps, "at lepton_id.maps")
    if len({item.kind for item in maps}) > 1:
        raise ConfigError(
            "at lepton_id.maps: efficiencies and scale factors together; R^eps needs one kind"
        )
    if "covariance" in data:
        for name, item in data["maps"].items():
            for key in ("covariance", "correlation", "exclude"):
                if key in item:
                    raise ConfigError(
                        f"at lepton_id.maps.{name}.{key}: 'lepton_id.covariance' is the covariance "
                        "of all maps; keep one of the two"
                    )
        if "shared" in data:
            raise ConfigError(
                "at lepton_id.shared: 'lepton_id.covariance' holds what the maps share; keep one "
                "of the two"
            )
    options = {k: v for k, v in data.items() if k not in ("maps", "shared")}
    return LeptonIdConfig(maps=maps, shared=tuple(data.get("shared", ())), **options)


def parse_fake_maps(data: Mapping[str, Any], where: str) -> tuple[FakeMapConfig, ...]:
    """Return the maps of a section ``fakes``, already valid by the schema.

    Raises:
        ConfigError: A map without a flavour, or two maps of one.
    """
    maps = tuple(
        FakeMapConfig(
            name=name,
            file=item["file"],
            flavour=_flavour(name, item, f"{where}.{name}"),
            reading={key: item[key] for key in READING if key in item},
            exclude=tuple(item.get("exclude", ())),
            kind=item.get("kind", "fake_factor"),
        )
        for name, item in data.items()
    )
    _refuse_same_flavour(maps, where)
    return maps


def _refuse_same_flavour(maps: Sequence[MapConfig | FakeMapConfig], where: str) -> None:
    seen: dict[int, str] = {}
    for item in maps:
        if item.flavour in seen:
            raise ConfigError(
                f"{where}: '{seen[item.flavour]}' and '{item.name}' are both of flavour "
                f"{item.flavour}; a lepton needs one map"
            )
        seen[item.flavour] = item.name


def _flavour(name: str, data: Mapping[str, Any], where: str) -> int:
    flavour: int | None = data.get("flavour", CODES.get(name))
    if flavour is None:
        raise ConfigError(
            f"{where}: 'flavour' is missing; only maps named {', '.join(CODES)} have a default"
        )
    return flavour


def _map(name: str, data: Mapping[str, Any]) -> MapConfig:
    where = f"at lepton_id.maps.{name}"
    flavour = _flavour(name, data, where)
    if "covariance" in data and ("correlation" in data or "exclude" in data):
        raise ConfigError(
            f"{where}: a covariance matrix and a correlation model; keep one of the two"
        )
    if "relative" in data and "covariance" not in data:
        raise ConfigError(
            f"{where}.relative: there is no 'covariance' that it could be about; leave it out"
        )
    given: dict[str, Any] = data.get("correlation", {})
    of_sources = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    of_axes = {key: value for key, value in given.items() if key not in of_sources}
    exclude = tuple(data.get("exclude", ()))
    for source in of_sources:
        if source in exclude:
            raise ConfigError(
                f"{where}.correlation.{source}: the source is in 'exclude'; leave one of them out"
            )
    return MapConfig(
        name=name,
        file=data["file"],
        kind=data["kind"],
        flavour=flavour,
        reading={key: data[key] for key in READING if key in data},
        covariance=data.get("covariance"),
        relative=data.get("relative", False),
        exclude=exclude,
        correlation=_rhos(of_axes)
        if "correlation" in data and not (of_sources and not of_axes)
        else None,
        source_correlation={source: _rhos(axes) for source, axes in of_sources.items()},
    )


def _rhos(axes: Mapping[str, Any]) -> dict[str, float]:
    words = {"independent": 0.0, "full": 1.0}
    return {axis: float(words.get(rho, rho)) for axis, rho in axes.items()}
