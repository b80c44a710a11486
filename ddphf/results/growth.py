"""Records that a later version wrote: keys that are not known here are left out, and said.

A new key keeps the schema's version; only what changes the meaning of an old one makes a new
version, which older readers refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from inspect import get_annotations
from typing import Any, ClassVar, Self

from ddphf.arrays import Part, Spec
from ddphf.results.shown import Shown

__all__ = ["Flat", "Found", "Warned", "Written", "describe_unknown", "open_record", "split_known"]

SHOWN = 10
"""Names in a sentence."""

LONGEST = 60
"""Characters of each."""


class Written(Shown):
    """Base of the frozen records that are files of their own.

    Attributes:
        SCHEMA: Name and version that its file states.
        SHAPE: JSON Schema of its file.
    """

    SCHEMA = ""
    SHAPE: ClassVar[Spec] = {}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: Another schema.
            KeyError: Something is missing.
            TypeError: Something has another type.
        """
        return cls._read(open_record(data, cls.SCHEMA, cls.SHAPE))

    @classmethod
    def _read(cls, data: dict[str, Any]) -> Self:
        """Return the record of what this version knows of a file."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Flat(Written):
    """Base of records whose fields stand in the file as they are: tuples as lists.

    Attributes:
        CALLED: What fields are called in the file whose names are no names in Python.
    """

    CALLED: ClassVar[dict[str, str]] = {"overall": "global"}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``overall`` is called ``global`` there."""
        out: dict[str, Any] = {"schema": self.SCHEMA}
        for name in self._order():
            value = getattr(self, name)
            out[self.CALLED.get(name, name)] = list(value) if isinstance(value, tuple) else value
        return out

    @classmethod
    def _order(cls) -> list[str]:
        """Return the fields as they stand in the file: those of bases are the last ones."""
        known = {f.name for f in fields_of(cls)}
        return [n for c in cls.__mro__ for n in get_annotations(c) if n in known]

    @classmethod
    def _read(cls, data: dict[str, Any]) -> Self:
        fields = {called: name for name, called in cls.CALLED.items()}
        values: dict[str, Any] = {
            fields.get(key, key): tuple(value) if isinstance(value, list) else value
            for key, value in data.items()
            if key != "schema"
        }
        return cls(**values)


@dataclass(frozen=True, repr=False, kw_only=True)
class Warned(Flat):
    """Base of those that end with what is to be said of them.

    Attributes:
        warnings: Sentences for the user.
        provenance: Versions, and digests of what was read.
    """

    warnings: tuple[str, ...] = ()
    provenance: Spec = field(default_factory=dict)


@dataclass(frozen=True, repr=False, kw_only=True)
class Found(Warned):
    """Base of what was found in the data of an analysis file.

    Attributes:
        seed: Of everything drawn.
        data_digest: Of the histograms of both samples with their binning.
        analysis: ``file``, relative to where the record is written, and ``digest``.
    """

    seed: int | None = None
    data_digest: str | None = None
    analysis: Part = None


def open_record(data: dict[str, Any], schema: str, shape: Spec) -> dict[str, Any]:
    """Return what this version knows of a record, which then says what it leaves out.

    A sentence joins the record's ``warnings``; where the kind has none, the names stand in
    ``provenance`` as ``unknown_keys``.

    Args:
        data: As it stands in the file.
        schema: That it must have, version included.
        shape: JSON Schema of the record.

    Raises:
        ValueError: Another schema, or another version of it.

    Example:
        >>> shape = {"properties": {"a": {}, "warnings": {}}}
        >>> open_record({"schema": "s/1", "a": 1, "b": 2}, "s/1", shape)["warnings"]
        ["keys that this version of ddphf does not know are left out: 'b'"]
    """
    if data.get("schema") != schema:
        raise ValueError(f"expected schema '{schema}', got {data.get('schema')!r}")
    out, unknown = split_known(data, shape)
    if not unknown:
        return data
    if "warnings" in shape["properties"]:
        out["warnings"] = [*out.get("warnings", ()), describe_unknown(unknown)]
    elif isinstance(provenance := out.get("provenance", {}), dict):
        out["provenance"] = {**provenance, "unknown_keys": [_cut(name) for name in unknown]}
    return out


def split_known(data: dict[str, Any], shape: Spec) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a record without the keys, at any depth, that its schema does not name.

    Returns:
        The rest, and their names: ``fit.parameters.color``, each once.

    Example:
        >>> shape = {"properties": {"a": {"items": {"properties": {"x": {}}}}}}
        >>> split_known({"schema": "s/1", "a": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}, shape)
        ({'schema': 's/1', 'a': [{'x': 1}, {'x': 3}]}, ('a.y',))
    """
    unknown: dict[str, None] = {}
    top = {**shape, "properties": {**shape["properties"], "schema": {}}}
    return _known(data, top, "", unknown), tuple(unknown)


def describe_unknown(names: tuple[str, ...]) -> str:
    """Return the sentence about keys that are left out."""
    shown = ", ".join(f"'{_cut(name)}'" for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"keys that this version of ddphf does not know are left out: {shown}{more}"


def _known(value: Any, shape: Spec, path: str, unknown: dict[str, None]) -> Any:
    """Follow value and schema together; what the schema leaves open is kept whole."""
    shape = shape["anyOf"][0] if "anyOf" in shape else shape
    if isinstance(value, list):
        item = shape.get("items")
        return value if item is None else [_known(v, item, path, unknown) for v in value]
    if not isinstance(value, dict):
        return value
    properties, others = shape.get("properties"), shape.get("additionalProperties")
    if properties is None:
        if not isinstance(others, dict):
            return value
        return {key: _known(v, others, path, unknown) for key, v in value.items()}
    out = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key in properties:
            out[key] = _known(item, properties[key], where, unknown)
        elif others is True:
            out[key] = item
        else:
            unknown[where] = None
    return out


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
