"""Tables in text files: cells as they stand, whatever separates them."""

from __future__ import annotations

import csv
from pathlib import Path

from ddphf.exceptions import InputError
from ddphf.guards import check_file

__all__ = ["TEXT_SUFFIXES", "read_cells"]

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")

SEPARATORS = (";", "\t", ",")
"""The first of these that the first line has separates the cells; else white space does."""


def read_cells(file: Path, source: str) -> list[list[str]]:
    """Return the cells of a table by row; blank lines and those that begin with # are left out.

    Args:
        file: UTF-8 text, with or without a byte-order mark.
        source: What to call it in messages.

    Raises:
        InputError: It is no such text.
    """
    try:
        check_file(file, source)
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = [x for x in stream if x.strip() and not x.lstrip().startswith("#")]
        separator = next((s for s in SEPARATORS if lines and s in lines[0].strip()), None)
        if separator is None:
            return [line.split() for line in lines]
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read as a table ({error})") from None
    return [[cell.strip() for cell in row] for row in rows]
