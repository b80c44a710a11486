"""Compare the share of typed expressions with its floors: python tools/typed_share.py REPORT.

REPORT is the any-exprs.txt that `mypy --any-exprs-report FOLDER` writes. The floors are the table
[tool.ddphf.typed-share] of pyproject.toml: percent per package, its sub-packages included.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

RAISE = 1.0
"""A floor that lies further below than this is asked to be raised."""


def read_counts(report: str) -> dict[str, tuple[int, int]]:
    """Return (untyped, all) expressions of each module."""
    rows = (line.split() for line in report.splitlines())
    return {row[0]: (int(row[1]), int(row[2])) for row in rows if row and row[0][:5] == "ddphf"}


def share(counts: dict[str, tuple[int, int]], package: str) -> float:
    """Return the percentage of typed expressions in a package.

    Raises:
        SystemExit: It has no module.
    """
    inside = [c for name, c in counts.items() if f"{name}.".startswith(f"{package}.")]
    if not inside:
        raise SystemExit(f"[tool.ddphf.typed-share]: no module in '{package}'")
    return 100 * (1 - sum(c[0] for c in inside) / sum(c[1] for c in inside))


def check(counts: dict[str, tuple[int, int]], floors: dict[str, float]) -> list[str]:
    """Return a sentence per package below its floor."""
    return [
        f"{package}: {found:.2f} % of its expressions are typed, the floor is {floor:g}"
        for package, floor in floors.items()
        if (found := share(counts, package)) < floor
    ]


def main(path: str) -> None:
    """Print the shares; exit with 1 where one has fallen."""
    counts = read_counts(Path(path).read_text())
    floors = tomllib.loads(PYPROJECT.read_text())["tool"]["ddphf"]["typed-share"]
    for package, floor in floors.items():
        found = share(counts, package)
        note = "  (raise the floor)" if found > floor + RAISE else ""
        print(f"{package:24} {found:6.2f} % typed, floor {floor:g}{note}")
    fallen = check(counts, floors)
    if fallen:
        raise SystemExit("\n".join(fallen))


if __name__ == "__main__":
    main(sys.argv[1])
