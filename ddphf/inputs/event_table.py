"""Columns of equal length: one number per event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.exceptions import InputError
from ddphf.text import did_you_mean

__all__ = ["EXACT", "EventTable", "join_columns", "make_events"]


EXACT = 2**53
"""Whole numbers up to here are exact as float64; a column with larger ones stays integer."""


@dataclass(frozen=True)
class EventTable:
    """Columns of equal length.

    Attributes:
        columns: By name, each of shape (n,): floats; booleans; and, where a float could not hold
            some of them, 64-bit integers.
        source: Where it came from, for messages.
        files: The same, all of it.

    Example:
        >>> table = make_events({"mass": [91.0, 125.0], "flavour": [11, 13]})
        >>> table.n_events, table["mass"].tolist()
        (2, [91.0, 125.0])
    """

    columns: dict[str, AnyArray]
    source: str = ""
    files: tuple[str, ...] = ()

    @property
    def n_events(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> AnyArray:
        """Return a column.

        Raises:
            InputError: There is no such column.
        """
        if name not in self.columns:
            known = ", ".join(sorted(self.columns)[:20]) or "none"
            hint = did_you_mean(name, self.columns)
            raise InputError(
                f"{self.source or 'events'}: no column '{name}'; {hint}it has: {known}"
            )
        return self.columns[name]

    def select(self, mask: Any) -> EventTable:
        """Return the rows where ``mask`` (shape (n,)) is true."""
        return replace(self, columns={k: v[mask] for k, v in self.columns.items()})


def make_events(columns: Mapping[str, Any], *, source: str = "") -> EventTable:
    """Make a table from arrays.

    Raises:
        InputError: No columns, unequal lengths, or contents that are no numbers.

    Example:
        >>> make_events({"event": [2**63 + 1, 5]})["event"].dtype
        dtype('uint64')
    """
    where = source or "events"
    out: dict[str, AnyArray] = {}
    for name, data in columns.items():
        try:
            out[name] = _as_numbers(data)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{where}: column '{name}' holds something that is no number"
            ) from None
        if out[name].ndim != 1:
            raise InputError(
                f"{where}: column '{name}' has shape {out[name].shape}, expected one per event"
            )
    lengths = {name: len(values) for name, values in out.items()}
    if not lengths:
        raise InputError(f"{where}: no columns")
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise InputError(
                f"{where}: column '{name}' has {length} rows, '{first}' has {lengths[first]}"
            )
    return EventTable(out, source)


def _as_numbers(data: Any) -> AnyArray:
    array = np.asarray(data)
    if array.dtype.kind in "Mmc":
        raise TypeError("dates and complex numbers are no numbers here")
    if array.dtype.kind == "b":
        return array.astype(np.bool_)
    if array.dtype.kind == "O" or (array.dtype.kind == "f" and isinstance(data, (list, tuple))):
        array = _exact_integers(data)
    if array.dtype.kind in "iu" and _too_large(array):
        return array.astype(np.uint64 if array.dtype.kind == "u" else np.int64)
    return np.asarray(array, dtype=np.float64)


def _exact_integers(data: Any) -> AnyArray:
    """Return what numpy makes floats of: Python integers beyond int64, beside None or a float."""
    values = np.asarray(data, dtype=object)
    whole = [isinstance(value, (int, np.integer)) for value in values.flat]
    if not any(w and abs(v) > EXACT for w, v in zip(whole, values.flat, strict=True)):
        return np.asarray(data, dtype=np.float64)
    if not all(whole):
        raise ValueError("an integer that no float can hold, beside something else")
    return values.astype(np.int64 if min(values.flat) < 0 else np.uint64)


def _too_large(array: AnyArray) -> bool:
    return bool(array.size) and (int(array.max()) > EXACT or int(array.min()) < -EXACT)


def join_columns(parts: Sequence[Mapping[str, Any]], sources: Sequence[str]) -> dict[str, Any]:
    """Put tables of the same columns one after the other; integers stay integers.

    Args:
        parts: By column, each of shape (n_part,).
        sources: Their files, for messages.

    Raises:
        InputError: A column that is not in all of them, or large integers beside floats.
    """
    out: dict[str, Any] = {}
    for part, source in zip(parts, sources, strict=True):
        for name in set(parts[0]) ^ set(part):
            lacks = source if name in parts[0] else sources[0]
            raise InputError(f"{lacks}: no column '{name}', which the other files have")
    for name in parts[0]:
        arrays = [np.asarray(part[name]) for part in parts]
        kinds = {array.dtype.kind for array in arrays}
        if kinds == {"i", "u"}:  # numpy would take floats
            low = min(int(a.min()) for a in arrays if a.size) if any(map(np.size, arrays)) else 0
            arrays = [a.astype(np.int64 if low < 0 else np.uint64) for a in arrays]
        elif len(kinds) > 1 and any(a.dtype.kind in "iu" and _too_large(a) for a in arrays):
            raise InputError(
                f"{sources[0]}: column '{name}' holds large integers in one file and other numbers "
                "in another; store it alike in all of them"
            )
        out[name] = np.concatenate(arrays)
    return out
