"""CSV tables of bins: one row per bin, two columns per axis, numbers everywhere."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.guards import check_file

__all__ = ["BinTable", "read_bin_table", "read_numbers"]

ENDS = (("_low", "_high"), (" LOW", " HIGH"))
"""How the two columns of an axis end; the second is HEPData's, beside a column of centres."""


@dataclass(frozen=True)
class BinTable:
    """A CSV table of bins, as text until it is asked for.

    Attributes:
        axes: Names of those with two columns of edges, ``<axis>_low`` and ``<axis>_high`` in
            ``rows`` whatever the file calls them, in order.
        contents: The other columns.
        rows: One per bin, by column.
        source: For messages.
        errors: By column: its errors ``<column> <label>``, whose columns end in ``+`` and ``-``.
    """

    axes: tuple[str, ...]
    contents: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    source: str
    errors: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, column: str) -> Array:
        """Return a column as numbers, shape (rows,).

        Raises:
            InputError: An entry that is none.
        """
        return read_numbers(self.rows, column, self.source)


def read_numbers(rows: Sequence[Mapping[str, str]], column: str, source: str) -> Array:
    """Return a column of a table as numbers, shape (rows,).

    Args:
        rows: Texts by column.
        column: Its name.
        source: For the message.

    Raises:
        InputError: An entry that is none.

    Example:
        >>> read_numbers([{"a": "1"}, {"a": "2.5"}], "a", "table.csv")
        array([1. , 2.5])
    """
    out = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            out[index] = float(row[column])
        except ValueError:
            raise InputError(
                f"{source}: row {index + 1}, column '{column}': got {row[column]!r}, "
                "expected a number"
            ) from None
    return out


def read_bin_table(file: Path, source: str) -> BinTable:
    """Read a table of bins; lines that begin with # are left out.

    HEPData's own layout is read too: ``<axis> LOW`` and ``<axis> HIGH`` beside the centre, errors
    ``<label> +`` and ``<label> -`` after their column, one block per column with blank lines
    between them, single quotes or semicolons.

    Args:
        file: The file.
        source: What to call it in messages.

    Raises:
        InputError: It is no CSV, has no axis or no row, a column twice, or a row of another length
            than the header, as a decimal comma makes it.
    """
    try:
        check_file(file, source)
        with file.open(newline="", encoding="utf-8-sig") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read as CSV ({error})") from None
    blocks = _split_blocks(text)
    tables = [_read_block(lines, source) for lines in blocks or [[]]]
    first = tables[0]
    for other in tables[1:]:
        first = _join(first, other, source)
    return first


def _split_blocks(text: str) -> list[list[str]]:
    """Return the lines of every block: blank lines part them in HEPData's tables alone."""
    lines = list(io.StringIO(text, newline=""))  # splitlines knows other ends of lines too
    several = any(line.startswith("#:") for line in lines)
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip():
            blocks += [[]] if several else []
        elif not line.startswith("#"):
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _read_block(lines: list[str], source: str) -> BinTable:
    quote = "'" if lines and lines[0].startswith("'") else '"'

    def split(some: list[str], delimiter: str, *, strict: bool) -> list[list[str]]:
        return list(csv.reader(some, strict=strict, delimiter=delimiter, quotechar=quote))

    try:
        found = [d for d in ",;\t" if _find_axes(_strip(*split(lines[:1], d, strict=False)))]
        header, *rows = split(lines, (found or [","])[0], strict=True) if lines else [[]]
    except csv.Error as error:
        raise InputError(f"{source}: cannot be read as CSV ({error})") from None
    columns = _strip(header)
    axes = _find_axes(columns)
    columns, errors = _name_errors(columns)
    for column, count in Counter(columns).items():
        if count > 1:
            raise InputError(f"{source}: column '{column}' appears {count} times in the header")
    if not rows or not axes:
        raise InputError(
            f"{source}: expected a header with '<axis>_low' and '<axis>_high' columns and one row "
            "per bin"
        )
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise InputError(
                f"{source}: row {index + 1} has {len(row)} entries, the header {len(columns)}; "
                "give one per column, with decimal points"
            )
    renamed = {
        f"{axis}{end}": f"{axis}{name}"
        for axis, ends in axes.items()
        for end, name in zip(ends, ENDS[0], strict=True)
    }
    centres = {axis for axis, ends in axes.items() if ends == ENDS[1]}
    columns = [renamed.get(column, column) for column in columns]
    known = {*renamed.values(), *centres}
    return BinTable(
        axes=tuple(axes),
        contents=tuple(c for c in columns if c not in known),
        rows=tuple(dict(zip(columns, row, strict=True)) for row in rows),
        source=source,
        errors=errors,
    )


def _strip(header: Sequence[str] = ()) -> list[str]:
    return [name.strip() for name in header]


def _find_axes(columns: list[str]) -> dict[str, tuple[str, str]]:
    """Return the axes, and how the columns of their edges end."""
    return {
        column.removesuffix(low): (low, high)
        for column in columns
        for low, high in ENDS
        if column.endswith(low) and column.removesuffix(low) + high in columns
    }


def _name_errors(columns: list[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Put the name of a column before those of its errors, ``stat +`` and ``stat -``."""
    named, errors, owner = list(columns), dict[str, tuple[str, ...]](), ""
    for index, column in enumerate(columns):
        label, sign = column[:-2], column[-2:]
        if sign == " +" and owner and columns[index + 1 : index + 2] == [f"{label} -"]:
            named[index : index + 2] = [f"{owner} {label} +", f"{owner} {label} -"]
            errors[owner] = (*errors.get(owner, ()), f"{owner} {label}")
        elif sign != " -" or not label:
            owner = column
    return named, errors


def _join(first: BinTable, other: BinTable, source: str) -> BinTable:
    """Put the columns of another block of the same bins beside the first."""
    edges = [f"{axis}{end}" for axis in first.axes for end in ENDS[0]]
    same = first.axes == other.axes and len(first.rows) == len(other.rows)
    if not same or any(not np.array_equal(first[edge], other[edge]) for edge in edges):
        raise InputError(
            f"{source}: the blocks of '{first.contents[0]}' and '{other.contents[0]}' have "
            "different bins; keep one of them per file"
        )
    for column in other.contents:
        if column in first.contents:
            raise InputError(f"{source}: column '{column}' appears 2 times in the header")
    return BinTable(
        axes=first.axes,
        contents=first.contents + other.contents,
        rows=tuple({**a, **b} for a, b in zip(first.rows, other.rows, strict=True)),
        source=source,
        errors={**first.errors, **other.errors},
    )
