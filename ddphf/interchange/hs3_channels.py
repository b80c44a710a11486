"""Channels of an HS3 document: samples and their modifiers, by the parameters that they share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.interchange.hs3_document import entries, number, numbers, refuse_unknown, text

__all__ = [
    "PER_BIN", "SCALAR", "Axes", "Channel", "Modifier", "Sample", "count_implied", "read_axes",
    "read_channel",
]  # fmt: skip

MODIFIER = {
    "constraint", "constraint_name", "constraint_type", "data", "interpolation", "name",
    "parameter", "parameters", "type",
}  # fmt: skip
SCALAR = ("normfactor", "normsys", "histosys")
PER_BIN = ("shapefactor", "shapesys", "staterror")
MOST_BINS = 10**15
"""Of axes: no text holds a number for each, and their product would grow without end."""
INTERPOLATIONS: dict[str, tuple[object, ...]] = {
    "normsys": (None, "code4", 4, 5),  # 5 is ROOT's number for what it does at 4
    "histosys": (None, "code4p", "poly6", 4),
}
"""What each reader calls pyhf's: polynomial inside of one sigma, exponential or linear outside."""


@dataclass(frozen=True)
class Modifier:
    """One modifier of a sample.

    Attributes:
        kind: Its ``type``.
        name: Its own name, or that of its parameter.
        parameters: One, or one per bin.
        implied: ``Gauss`` or ``Poisson`` where it implies its constraint term, else None.
        named: Name of the distribution that is its constraint term, or None.
        high: Of a normsys (one number) or a histosys (per bin) at +1.
        low: At -1.
        vals: Of a shapesys.
        constant: Whether it says that its parameters are constant.
    """

    kind: str
    name: str
    parameters: tuple[str, ...]
    implied: str | None
    named: str | None
    high: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    vals: tuple[float, ...] = ()
    constant: bool = False


@dataclass(frozen=True)
class Axes:
    """The axes of a histogram.

    Attributes:
        size: Number of bins of all of them together.
        edges: Of each axis, or its ends and number of bins; None where it has neither.
        plain: Whether they say no more than the number of bins, as ddphf writes them.
    """

    size: int
    edges: tuple[tuple[float, ...] | None, ...]
    plain: bool

    def differ(self, other: Axes | None) -> bool:
        """Return whether both have edges, and others."""
        if other is None or None in self.edges or None in other.edges:
            return False
        return self.edges != other.edges


@dataclass(frozen=True)
class Sample:
    """Yields of one sample, their errors where they are stated, and its modifiers."""

    name: str
    contents: list[float]
    errors: list[float] | None
    modifiers: tuple[Modifier, ...]


@dataclass(frozen=True)
class Channel:
    """One ``histfactory_dist``."""

    name: str
    size: int
    samples: tuple[Sample, ...] = field(default_factory=tuple)
    axes: Axes | None = None

    @property
    def has_edges(self) -> bool:
        """Whether its axes say more than the number of bins."""
        return self.axes is not None and not self.axes.plain


def read_axes(node: Any, what: str) -> Axes:
    """Read a list of axes.

    Raises:
        InputError: An axis without bins.

    Example:
        >>> read_axes([{"name": "x", "nbins": 3}, {"name": "y", "edges": [0, 1, 5]}], "h").size
        6
    """
    size, plain = 1, True
    all_edges: list[tuple[float, ...] | None] = []
    for axis in entries(node, f"{what}: axes"):
        if size > MOST_BINS:
            raise InputError(f"HS3 {what}: axes of more bins than any document has numbers")
        edges = axis.get("edges", axis.get("bounds"))  # ROOT's older word
        if edges is not None:
            found = numbers(edges, f"{what}: edges")
            if len(found) < 2 or any(a >= b for a, b in itertools.pairwise(found)):
                raise InputError(f"HS3 {what}: expected bin edges that rise")
            size *= len(found) - 1
            all_edges.append(tuple(found))
            plain = False
            continue
        bins = axis.get("nbins")
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise InputError(f"HS3 {what}: expected nbins or edges of each axis")
        size *= min(bins, MOST_BINS + 1)
        if "min" in axis and "max" in axis:
            ends = tuple(number(axis[key], f"{what}: {key}") for key in ("min", "max"))
            all_edges.append((*ends, number(bins, f"{what}: nbins")))
            plain &= ends == (0.0, bins)
        else:
            all_edges.append(None)
    return Axes(size, tuple(all_edges), plain and len(all_edges) == 1)


def count_implied(spec: Mapping[str, Any]) -> int:
    """Return how many parameters a ``histfactory_dist`` has without naming them.

    A modifier per bin may leave its parameters to the reader: a few characters then stand for as
    many names as the channel has bins.
    """
    total = 0
    for sample in entries(spec.get("samples"), "samples"):
        data = sample.get("data")
        contents = data.get("contents") if isinstance(data, dict) else None
        modifiers = entries(sample.get("modifiers", []), "modifiers")
        silent = sum(m.get("type") in PER_BIN and m.get("parameters") is None for m in modifiers)
        total += silent * (len(contents) if isinstance(contents, list) else 0)
    return total


def read_channel(spec: Mapping[str, Any]) -> Channel:
    """Read a ``histfactory_dist``.

    Raises:
        InputError: Another form than the standard's, or a modifier that pyhf has not.
    """
    name = text(spec.get("name"), "distributions: name")
    what = f"channel '{name}'"
    refuse_unknown(dict(spec), ("name", "type", "axes", "samples", "barlow_beeston_method"), what)
    if spec.get("barlow_beeston_method", "lite") != "lite":  # pyhs3's word
        raise InputError(f"HS3 {what}: a staterror per sample (full), pyhf has one per channel")
    axes = read_axes(spec["axes"], what) if spec.get("axes") else None
    declared = None if axes is None else axes.size
    samples: list[Sample] = []
    for index, entry in enumerate(entries(spec.get("samples"), f"{what}: samples")):
        sample = text(entry.get("name", f"sample_{index}"), f"{what}: sample name")
        where = f"{what}, sample '{sample}'"
        refuse_unknown(entry, ("name", "data", "modifiers"), where)
        data = entry.get("data")
        if not isinstance(data, dict):
            raise InputError(f"HS3 {where}: expected data with contents")
        refuse_unknown(data, ("contents", "errors"), where)
        size = declared if declared is not None else (len(samples[0].contents) if samples else None)
        contents = numbers(data.get("contents"), f"{where}: contents", size)
        errors = data.get("errors")
        modifiers = entries(entry.get("modifiers", []), f"{where}: modifiers")
        samples.append(
            Sample(
                sample,
                contents,
                None if errors is None else numbers(errors, f"{where}: errors", len(contents)),
                tuple(
                    _read_modifier(modifier, name, len(contents), where) for modifier in modifiers
                ),
            )
        )
    if not samples:
        raise InputError(f"HS3 {what}: no samples")
    return Channel(name, len(samples[0].contents), tuple(samples), axes)


def _read_modifier(spec: Spec, channel: str, size: int, where: str) -> Modifier:
    kind = spec.get("type")
    if kind not in (*SCALAR, *PER_BIN):
        raise InputError(
            f"HS3 {where}: a modifier of type {kind!r:.40}, which pyhf has not; it has "
            f"{', '.join((*SCALAR, *PER_BIN))}"
        )
    assert isinstance(kind, str)
    own = spec.get("name")
    where = f"{where}, {kind} '{own if isinstance(own, str) else ''}'"
    refuse_unknown(spec, MODIFIER, where)
    parameters = _read_parameters(spec, kind, channel, size, where)
    name = text(own if own is not None else parameters[0], f"{where}: name")
    if (code := spec.get("interpolation")) not in INTERPOLATIONS.get(kind, (None,)):
        raise InputError(
            f"HS3 {where}: interpolation {code!r:.40}; a pyhf workspace stands for code4 of a "
            "normsys (polynomial, exponential beyond one sigma) and code4p of a histosys "
            "(polynomial, linear beyond)"
        )
    implied = spec.get("constraint", spec.get("constraint_type"))
    if "constraint_type" in spec and implied != spec["constraint_type"]:
        raise InputError(
            f"HS3 {where}: constraint and constraint_type differ, and readers take one or the "
            "other; remove one"
        )
    if implied not in (None, "Gauss", "Poisson", "Const"):
        raise InputError(
            f"HS3 {where}: the constraint {implied!r:.40}; pyhf has Gauss, and Poisson per bin"
        )
    named = spec.get("constraint_name")
    modifier = Modifier(
        kind=kind,
        name=name,
        parameters=parameters,
        implied=None if implied == "Const" else implied,
        constant=implied == "Const",
        named=None if named is None else text(named, f"{where}: constraint_name"),
    )
    data = spec.get("data")
    if kind in ("normfactor", "shapefactor", "staterror"):
        if data is not None:
            raise InputError(f"HS3 {where}: has data, which this type has not in pyhf")
        return modifier
    if not isinstance(data, dict):
        raise InputError(f"HS3 {where}: expected data")
    if kind == "shapesys":
        refuse_unknown(data, ("vals",), where)
        vals = numbers(data.get("vals"), f"{where}: vals", size)
        return replace(modifier, vals=tuple(vals))
    refuse_unknown(data, ("hi", "lo"), where)
    ends: list[tuple[float, ...]] = []
    for key in ("hi", "lo"):
        end = data.get(key)
        if kind == "normsys":
            ends.append((number(end, f"{where}: {key}"),))
            continue
        if not isinstance(end, dict):
            raise InputError(f"HS3 {where}: expected {key} with contents")
        refuse_unknown(end, ("contents", "errors"), where)
        ends.append(tuple(numbers(end.get("contents"), f"{where}: {key}", size)))
    return replace(modifier, high=ends[0], low=ends[1])


def _read_parameters(spec: Spec, kind: str, channel: str, size: int, where: str) -> tuple[str, ...]:
    """Return the parameters, by the names of the standard or by those that readers give them."""
    if kind in SCALAR:
        if "parameters" in spec:
            raise InputError(f"HS3 {where}: has parameters, expected one parameter")
        name = spec.get("parameter", spec.get("name"))
        return (text(name, f"{where}: parameter"),)
    if "parameter" in spec:
        raise InputError(f"HS3 {where}: has one parameter, expected parameters, one per bin")
    given = spec.get("parameters")
    if given is None:
        # pyhs3's default for a staterror; ROOT's for the others
        stem = (
            f"staterror_{channel}_bin" if kind == "staterror" else f"gamma_{spec.get('name')}_bin_"
        )
        return tuple(f"{stem}{i}" for i in range(size))
    if not isinstance(given, list) or len(given) != size:
        raise InputError(f"HS3 {where}: expected one parameter for each of {size} bins")
    out = tuple(text(name, f"{where}: parameters") for name in given)
    if len(set(out)) != size:
        raise InputError(f"HS3 {where}: a parameter for two bins, which pyhf has not")
    return out
