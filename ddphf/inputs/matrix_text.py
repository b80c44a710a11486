"""Matrices in text files: any separator, with or without names of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inputs.text_table import read_cells
from ddphf.text import is_number

__all__ = ["read_text_matrix"]

CORNERS = ("", "index", "bin", "unnamed: 0")
"""What stands above the names of the rows."""


def read_text_matrix(file: Path, address: str) -> Array:
    """Read a matrix; one triangle of a square one is enough if the other is left blank.

    Args:
        file: Cells between semicolons, tabs, commas or white space.
        address: What to call it in messages.

    Raises:
        InputError: No numbers, rows of unequal length, or rows and columns of different names.
    """
    cells = [list(row) for row in read_cells(file, address)]
    if not cells:
        raise InputError(f"{address}: not a table of numbers (empty)")
    if all(row[-1] == "" for row in cells) and len(cells[0]) > 1:  # a separator at every end
        cells = [row[:-1] for row in cells]
    cells = _without_names(cells, address)
    rows = _mirrored(cells)
    if len({len(row) for row in rows}) > 1:
        raise InputError(f"{address}: rows of unequal length, expected a square matrix (K, K)")
    out = np.empty((len(rows), len(rows[0])))
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            try:
                out[i, j] = float(cell)
            except ValueError:
                raise InputError(
                    f"{address}: not a table of numbers (row {i + 1}, column {j + 1}: got "
                    f"{cell!r}, expected a number with a decimal point)"
                ) from None
    return out


def _without_names(cells: list[list[str]], address: str) -> list[list[str]]:
    """Leave out the names of columns and rows, or their numbers as pandas writes them."""
    first, below = cells[0], cells[1:]
    words = not any(is_number(c) or "," in c for c in first)  # 0,5 is a number, badly written
    numbered = len(below) == len(first) and first == [str(i) for i in range(len(first))]
    if not below or not (words or numbered or first[0].lower() in CORNERS):
        if len(cells) > 1 and all(row and not is_number(row[0]) for row in cells):
            return [row[1:] for row in cells]
        return cells
    names = first
    labels = [row[0] for row in below if row]
    shorter = all(len(row) == len(first) + 1 for row in below)  # no corner, as R writes it
    if shorter or first[0].lower() in CORNERS or not all(map(is_number, labels)):
        below = [row[1:] for row in below]
        names = first if shorter else first[1:]
        if len(labels) == len(names) and set(labels) == set(names) and labels != names:
            raise InputError(
                f"{address}: rows are named {', '.join(labels)}, columns {', '.join(names)}; give "
                "both in the order of the map"
            )
    return below


def _mirrored(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Fill the blank triangle of a square matrix from the other one."""
    size = len(cells)
    rows = [list(row) for row in cells]
    if size < 2 or any(len(row) != size for row in rows):
        return rows
    upper = [(i, j) for i in range(size) for j in range(i + 1, size)]
    for blank in (upper, [(j, i) for i, j in upper]):
        if all(rows[i][j] == "" and rows[j][i] != "" for i, j in blank):
            for i, j in blank:
                rows[i][j] = rows[j][i]
    return rows
