"""How results show themselves: one line in a shell, a table in a notebook."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["Shown", "find_named"]

LONGEST = 100
"""Characters of a text, or of one value in a line."""

MOST_ROWS = 25
"""Rows of a table in a notebook."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_Named)


def find_named(records: Iterable[Named], name: str) -> Named:
    """Return the record of a name.

    Raises:
        KeyError: There is none.
    """
    for record in records:
        if record.name == name:
            return record
    raise KeyError(name)


class Shown:
    """Base of frozen records (``dataclass(repr=False)``) that hold thousands of numbers.

    Example:
        >>> @dataclasses.dataclass(frozen=True, repr=False)
        ... class Fit(Shown):
        ...     name: str
        ...     mu: float
        ...     bins: tuple[float, ...]
        >>> Fit("pair", 1.00844123, (1.0,) * 784)
        Fit(name='pair', mu=1.00844, bins=<784>)
    """

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={_brief(value)}" for name, value in _items(self))
        return f"{type(self).__name__}({parts})"

    def _repr_html_(self) -> str:
        """Return a table: what is one value as rows, what is many records as tables below."""
        rows, below = [], []
        for name, value in _items(self):
            if _is_records(value):
                below.append(f"<p>{html.escape(name)}</p>{_table(value)}")
            else:
                rows.append((name, _brief(value)))
        body = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        title = html.escape(type(self).__name__)
        return f"<table><caption>{title}</caption>{body}</table>{''.join(below)}"


def _items(record: Any) -> list[tuple[str, Any]]:
    pairs = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))
    return [(name, value) for name, value in pairs if value is not None]


def _is_records(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(dataclasses.is_dataclass, value))


def _brief(value: Any) -> str:
    """Return a value in some words; sizes stand for contents.

    Example:
        >>> _brief({"a": 1}), _brief([1.0, 2.0]), _brief(True), _brief(1e-12)
        ('<1>', '[1, 2]', 'True', '1e-12')
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, float, np.number)):
        return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[: LONGEST - 3] + "...")
    if isinstance(value, np.ndarray):
        return f"<{' x '.join(map(str, value.shape))}>"
    if isinstance(value, Mapping):
        return f"<{len(value)}>"
    if isinstance(value, Sequence):
        numbers = all(isinstance(item, (int, float)) for item in value)
        short = f"[{', '.join(_brief(item) for item in value)}]" if len(value) <= 4 else ""
        return short if numbers and short and len(short) <= LONGEST else f"<{len(value)}>"
    if dataclasses.is_dataclass(value):
        scalars = [
            f"{name}={_brief(item)}"
            for name, item in _items(value)
            if isinstance(item, (bool, int, float, str))
        ]
        return f"{type(value).__name__}({', '.join(scalars)})"
    return type(value).__name__


def _table(records: Sequence[Any]) -> str:
    names = [field.name for field in dataclasses.fields(records[0])]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = []
    for record in records[:MOST_ROWS]:
        values = (getattr(record, name, None) for name in names)
        cells = ("" if value is None else html.escape(_brief(value)) for value in values)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = len(records) - MOST_ROWS
    note = f"<p>and {more} more</p>" if more > 0 else ""
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{note}"
