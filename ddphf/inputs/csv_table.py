"""CSV tables of bins: one row per bin, two columns per axis, numbers everywhere."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddphf.exceptions import InputError
from ddphf.guards import check_file
from ddphf.inputs.histogram import Array

__all__ = ["BinTable", "read_bin_table"]


@dataclass(frozen=True)
class BinTable:
    """A CSV table of bins, as text until it is asked for.

    Attributes:
        axes: Names with both a ``<axis>_low`` and a ``<axis>_high`` column, in order.
        contents: The other columns.
        rows: One per bin, by column.
        source: For messages.
    """

    axes: tuple[str, ...]
    contents: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    source: str

    def __getitem__(self, column: str) -> Array:
        """Return a column as numbers, shape (rows,).

        Raises:
            InputError: An entry that is none.
        """
        out = np.empty(len(self.rows))
        for index, row in enumerate(self.rows):
            try:
                out[index] = float(row[column])
            except ValueError:
                raise InputError(
                    f"{self.source}: row {index + 1}, column '{column}': got {row[column]!r}, "
                    "expected a number"
                ) from None
        return out


def read_bin_table(file: Path, source: str) -> BinTable:
    """Read a table of bins; blank lines and those that begin with # are left out.

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
            lines = [line for line in stream if line.strip() and not line.startswith("#")]
        header, *rows = csv.reader(lines, strict=True) if lines else [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read as CSV ({error})") from None
    columns = [name.strip() for name in header]
    for column, count in Counter(columns).items():
        if count > 1:
            raise InputError(f"{source}: column '{column}' appears {count} times in the header")
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise InputError(
                f"{source}: row {index + 1} has {len(row)} entries, the header {len(columns)}; "
                "give one per column, with decimal points"
            )
    axes = tuple(c[:-4] for c in columns if c.endswith("_low") and f"{c[:-4]}_high" in columns)
    if not rows or not axes:
        raise InputError(
            f"{source}: expected a header with '<axis>_low' and '<axis>_high' columns and one row "
            "per bin"
        )
    ends = {f"{axis}_{end}" for axis in axes for end in ("low", "high")}
    return BinTable(
        axes=axes,
        contents=tuple(c for c in columns if c not in ends),
        rows=tuple(dict(zip(columns, row, strict=True)) for row in rows),
        source=source,
    )
