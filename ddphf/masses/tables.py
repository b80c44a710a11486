"""Tables of a mass scan: a row per hypothesis, from npz, JSON and CSV files or written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import load_arrays
from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.files import is_file, parse_json, read_input
from ddphf.guards import MOST_NUMBERS, within
from ddphf.text import did_you_mean, is_number, list_names

__all__ = ["Tables", "split_address"]

KINDS = (".npz", ".json", ".csv")

LARGEST = 1e15
"""Of a number in a table: beyond it counts are no counts."""


def split_address(address: str) -> tuple[str, str]:
    """Return file and name of ``file:name``.

    Example:
        >>> split_address("a/scan.npz:data"), split_address("data.csv")
        (('a/scan.npz', 'data'), ('data.csv', ''))
    """
    for kind in KINDS:
        file, found, name = address.rpartition(f"{kind}:")
        if found:
            return file + kind, name
    return address, ""


class Tables:
    """Reads tables, each file once.

    Args:
        folder: Where addresses begin.

    Attributes:
        files: Those that were read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Path, dict[str, Any]] = {}
        self.numbers = 0

    def count(self, numbers: int, where: str) -> None:
        """Count numbers that will be held, all together.

        Raises:
            InputError: They are too many.
        """
        self.numbers += numbers
        within(where, "numbers of all tables", self.numbers, MOST_NUMBERS)

    def has(self, address: str) -> bool:
        """Return whether a file that was read holds a name."""
        file, name = split_address(address)
        return name in self.files.get(self.folder / file, {})

    def read(self, given: str | list[Any] | float, where: str) -> Array:
        """Return numbers.

        Args:
            given: An address, or the numbers themselves.
            where: What they are, for messages.

        Raises:
            InputError: No such table, or no finite numbers.
        """
        if not isinstance(given, str):
            return self._numbers(given, where)
        file, name = split_address(given)
        path = self.folder / file
        if path not in self.files:
            if path.suffix.lower() not in KINDS:
                raise InputError(
                    f"at {where}: {given}: expected FILE.npz:NAME, FILE.json:NAME or FILE.csv"
                )
            if not is_file(path):
                raise InputError(f"at {where}: {given}: no file '{path}'")
            self.files[path] = _read(path, given)
        names = self.files[path]
        if name not in names:
            if not name and len(names) == 1:
                name = next(iter(names))
            else:
                hint = did_you_mean(name, names)
                raise InputError(
                    f"at {where}: {given}: no table '{name}' in the file; {hint}it has: "
                    f"{list_names(sorted(names), 12)}"
                )
        return self._numbers(names[name], f"{where} ({given})")

    def _numbers(self, data: Any, where: str) -> Array:
        try:
            raw = np.asarray(data)
        except ValueError:
            raise InputError(f"at {where}: rows of different length") from None
        if raw.dtype.kind not in "iuf":
            text = {"U": "text", "O": "entries that are none", "b": "true or false"}
            raise InputError(
                f"at {where}: expected numbers, got {text.get(raw.dtype.kind, raw.dtype)}"
            )
        self.count(raw.size, where)
        values = np.array(raw, dtype=float)
        bad = np.argwhere(~(np.abs(values) <= LARGEST))
        if len(bad):
            place = ", ".join(map(str, bad[0])) or "the number"
            raise InputError(f"at {where}: entry {place} is {values[tuple(bad[0])]}, no yield")
        return values


def _read(path: Path, address: str) -> dict[str, Any]:
    kind = path.suffix.lower()
    if kind == ".json":
        data = parse_json(read_input(path, str(path)), str(path))
        return data if isinstance(data, dict) else {"": data}
    if kind == ".csv":
        return {"": _read_csv(path)}
    return load_arrays(path, address)


def _read_csv(path: Path) -> list[Any]:
    """Return the numbers of a CSV file: a line per hypothesis, a heading of names if any."""
    text = read_input(path, str(path)).decode("utf-8-sig", "replace")
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or line.startswith("#"):
            continue
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            if not rows and number == 1 and not any(map(is_number, cells)):
                continue
            shown = json.dumps(line[:40])
            raise InputError(f"{path}: line {number} is no row of numbers: {shown}") from None
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"{path}: line {number} has {len(rows[-1])} numbers, the first one {len(rows[0])}"
            )
    return rows if rows and len(rows[0]) > 1 else [row[0] for row in rows]
