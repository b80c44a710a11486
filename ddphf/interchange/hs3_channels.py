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
    "PER_BIN", "SCALAR", "Channel", "Modifier", "Sample", "read_channel", "size_of_axes",
]  # fmt: skip

MODIFIER = {
    "constraint", "constraint_name", "constraint_type", "data", "interpolation", "name",
    "parameter", "parameters", "type",
}  # fmt: skip
SCALAR = ("normfactor", "normsys", "histosys")
PER_BIN = ("shapefactor", "shapesys", "staterror")
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
    """

    kind: str
    name: str
    parameters: tuple[str, ...]
    implied: str | None
    named: str | None
    high: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    vals: tuple[float, ...] = ()


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


def size_of_axes(node: Any, what: str) -> int:
    """Return the number of bins of a list of axes.

    Raises:
        InputError: An axis without bins.

    Example:
        >>> size_of_axes([{"name": "x", "nbins": 3}, {"name": "y", "edges": [0, 1, 5]}], "h")
        6
    """
    size = 1
    for axis in entries(node, f"{what}: axes"):
        edges = axis.get("edges", axis.get("bounds"))  # ROOT's older word
        if edges is not None:
            found = numbers(edges, f"{what}: edges")
            if len(found) < 2 or any(a >= b for a, b in itertools.pairwise(found)):
                raise InputError(f"HS3 {what}: expected bin edges that rise")
            size *= len(found) - 1
            continue
        bins = axis.get("nbins")
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise InputError(f"HS3 {what}: expected nbins or edges of each axis")
        size *= bins
    return size


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
    declared = size_of_axes(spec.get("axes", []), what) if spec.get("axes") else None
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
    return Channel(name, len(samples[0].contents), tuple(samples))


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
