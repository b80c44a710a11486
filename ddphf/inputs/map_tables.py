"""Lepton maps from text tables: one row per bin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.csv_table import read_numbers
from ddphf.inputs.map_axes import join_edges, name_axes
from ddphf.inputs.map_columns import Column, assign_columns
from ddphf.inputs.maps import Kind, LeptonMap
from ddphf.inputs.text_table import read_cells

__all__ = ["read_table"]

ENDS = (("_low", "_high"), ("_min", "_max"))
"""How the two columns of an axis end."""

INDEX = ("", "unnamed: 0", "index")
"""What pandas calls the column that numbers the rows."""

SIGNS = {"+": 1.0, "-": -1.0}


def read_table(
    file: Path,
    path: str,
    *,
    name: str,
    kind: Kind,
    renamed: Mapping[str, str],
    columns: Mapping[str, Any],
    varied: bool = False,
    named: Collection[str] = (),
    variables: Sequence[str] = (),
    excluded: frozenset[int] = frozenset(),
) -> LeptonMap:
    """Read a table of bins: two columns per axis, ``value``, and errors.

    An axis is ``<axis>_low`` and ``<axis>_high``, or ``_min`` and ``_max``; a ``charge`` is one
    column of signs. Bins may be missing and need not form a grid. What the other columns mean:
    :func:`ddphf.inputs.map_columns.assign_columns`. A pair of errors is averaged: sizes where none
    is negative, else shifts with their signs.

    Args:
        file: Text.
        path: What to call it in messages.
        name: Of the map.
        kind: Of the map.
        renamed: The file's name of an axis to ours.
        columns: Declared columns.
        varied: Errors are stored as value plus error.
        named: Sources that the analysis names elsewhere.
        variables: Further names of axes that the leptons have.
        excluded: Bins, by number, whose leptons count as outside.

    Raises:
        InputError: No such table, or a column of unknown meaning.
    """
    header, rows = _read(file, path)
    table = _Table(header, rows, path)
    axes: dict[str, tuple[Array, Array]] = {}
    used: set[str] = set()
    for column in header:
        for low, high in ENDS:
            stem = column[: -len(low)]
            if column.endswith(low) and stem + high in header:
                axes[stem] = (table[column], table[stem + high])
                used |= {column, stem + high}
    contents = [c for c in header if c not in used]
    for column in contents:
        if column.lower() in ("charge", "q") and column not in axes:
            sign = table.signs(column)
            axes[column] = (sign - 0.5, sign + 0.5)
            used.add(column)
        elif column.lower() in INDEX and table.counts_rows(column):
            used.add(column)
    if not axes or not rows:
        raise InputError(
            f"{path}: expected a header with '<axis>_low' and '<axis>_high' columns and one row "
            "per bin"
        )
    contents = [c for c in contents if c not in used]
    if "" in contents:
        raise InputError(f"{path}: column {header.index('') + 1} has no name in the header")
    roles = assign_columns(contents, columns, path, named)
    names = list(axes)
    lows, highs = (np.stack([axes[a][i] for a in names], axis=1) for i in (0, 1))
    for row, column_number in np.argwhere(~(lows < highs)):
        raise InputError(
            f"{path}: row {row + 1}: axis '{names[column_number]}' from "
            f"{lows[row, column_number]:g} to {highs[row, column_number]:g}, expected low < high"
        )
    lows, highs = join_edges(lows, highs)
    values = table[roles.value]
    statistical = np.zeros(len(values))
    if roles.statistical is not None:
        statistical = _error(table, roles.statistical, values, varied)
        if varied or not isinstance(roles.statistical, str):
            statistical = np.abs(statistical)
    return LeptonMap(
        name=name,
        kind=kind,
        axes=name_axes(names, renamed, path, variables),
        lows=lows,
        highs=highs,
        values=values,
        statistical=statistical,
        sources={key: _error(table, c, values, varied) for key, c in roles.sources.items()},
        source=path,
        written=tuple(names),
        excluded=excluded,
        warnings=tuple(roles.warnings),
    )


class _Table:
    """Columns as text until they are asked for."""

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[str]], source: str) -> None:
        self.rows = [dict(zip(header, row, strict=True)) for row in rows]
        self.source = source

    def __getitem__(self, column: str) -> Array:
        return read_numbers(self.rows, column, self.source)

    def signs(self, column: str) -> Array:
        """Return a column of charges: + or -, or numbers."""
        for row in self.rows:
            row[column] = str(SIGNS.get(row[column], row[column]))
        return self[column]

    def counts_rows(self, column: str) -> bool:
        return [row[column] for row in self.rows] == [str(i) for i in range(len(self.rows))]


def _read(file: Path, path: str) -> tuple[list[str], list[list[str]]]:
    cells = read_cells(file, path)
    header, rows = (cells[0], cells[1:]) if cells else ([], [])
    for column, count in Counter(header).items():
        if count > 1:
            raise InputError(f"{path}: column '{column}' appears {count} times in the header")
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {index + 1} has {len(row)} entries, the header {len(header)}; give "
                "one per column, with decimal points"
            )
    return header, rows


def _error(table: _Table, column: Column, values: Array, varied: bool) -> Array:
    """Return an error with its sign: of one column, or the mean of an upward and a downward one.

    Raises:
        InputError: A pair that lies around the value, so that it must be varied values.
    """
    if isinstance(column, str):
        return table[column] - values if varied else table[column]
    up, down = table[column[0]], table[column[1]]
    if varied:
        return (up - down) / 2
    around = (np.minimum(up, down) <= values) & (np.maximum(up, down) >= values) & (up * down > 0)
    if np.all(around) and np.any(values != 0):
        raise InputError(
            f"{table.source}: columns '{column[0]}' and '{column[1]}' lie around the value "
            f"({up[0]:g} and {down[0]:g} around {values[0]:g}), so they are varied values and no "
            "errors; say 'varied: true'"
        )
    if np.all(up >= 0) and np.all(down >= 0):
        return (up + down) / 2
    return (up - down) / 2
