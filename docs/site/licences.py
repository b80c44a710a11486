"""The licence of every package: python docs/site/licences.py PAGE writes the table.

Read from the metadata that each installed package states; what ddphf needs to run stands first.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
STATED = {
    "alabaster": "BSD-3-Clause", "cycler": "BSD-3-Clause",
    "docutils": "public domain, BSD-2-Clause", "ipython-pygments-lexers": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause", "kiwisolver": "BSD-3-Clause",
    "nest-asyncio2": "BSD-2-Clause", "numba": "BSD-2-Clause", "partd": "BSD-3-Clause",
    "prompt-toolkit": "BSD-3-Clause", "ptyprocess": "ISC", "scipy": "BSD-3-Clause",
    "sphinxcontrib-applehelp": "BSD-2-Clause", "sphinxcontrib-devhelp": "BSD-2-Clause",
    "sphinxcontrib-htmlhelp": "BSD-2-Clause", "sphinxcontrib-jsmath": "BSD-2-Clause",
    "sphinxcontrib-qthelp": "BSD-2-Clause", "sphinxcontrib-serializinghtml": "BSD-2-Clause",
    "zict": "BSD-3-Clause",
}  # fmt: skip
"""Of packages whose metadata have a text, or an unversioned word: what their licence file is."""

WORDS = (
    ("Mozilla Public License 2.0", "MPL-2.0"), ("MPL", "MPL-2.0"), ("Apache", "Apache-2.0"),
    ("BSD-3", "BSD-3-Clause"), ("BSD-2", "BSD-2-Clause"), ("GPLv2", "GPL-2.0"),
    ("BSD 3", "BSD-3-Clause"), ("3-clause BSD", "BSD-3-Clause"), ("BSD 2", "BSD-2-Clause"),
    ("BSD", "BSD"), ("MIT", "MIT"), ("ISC", "ISC"), ("Python Software Foundation", "PSF-2.0"),
    ("GNU Lesser General Public License v2", "LGPL-2.1-or-later"),
    ("HPND", "HPND"), ("MIT-CMU", "MIT-CMU"),
)  # fmt: skip


def canonical(name: str) -> str:
    """Return the normal form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(found: Distribution) -> str:
    """Return what a package states: an expression, a classifier, or a word of its text."""
    meta = found.metadata
    if canonical(meta["Name"]) in STATED:
        return STATED[canonical(meta["Name"])]
    if meta.get("License-Expression"):
        return str(meta["License-Expression"])
    texts = [c.split(" :: ")[-1] for c in meta.get_all("Classifier", []) if c.startswith("License")]
    for text in [str(meta.get("License") or "").strip().split("\n")[0], *texts]:
        for word, name in WORDS:
            if word in text and text != "OSI Approved":
                return name
    return "not stated"


def runtime() -> set[str]:
    """Return the packages that `pip install ddphf` brings, dependencies of dependencies too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    left = [Requirement(line) for line in project["dependencies"]]
    known: set[str] = set()
    while left:
        need = left.pop()
        name = canonical(need.name)
        if name in known or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        try:
            found = distribution(need.name)
        except PackageNotFoundError:
            continue
        known.add(name)
        for extra in ("", *need.extras):
            for line in found.requires or []:
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    left.append(below)
    return known


def pinned() -> list[tuple[str, str]]:
    """Return name and version of each line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return sorted(((name, version) for name, version in pairs), key=lambda p: canonical(p[0]))


def page() -> str:
    """Return the page.

    Raises:
        SystemExit: A pinned package is not installed, or states no licence.
    """
    needed, rows = runtime(), {True: [], False: []}
    for name, version in pinned():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name}: pinned, not installed: make docs") from None
        stated = licence(found)
        if stated == "not stated":
            raise SystemExit(f"{name}: states no licence; look, and add it to STATED")
        rows[canonical(name) in needed].append(f"| {name} | {version} | {stated} |")
    head = ["| package | tested version | licence |", "|---|---|---|"]
    return "\n".join([
        "# Licences of what ddphf needs", "",
        "ddphf is [BSD-3-Clause](../LICENSE). `make licences` writes this page from what the",
        "tested versions state. Of the extras `hepdata` has a validator under the GPL; ddphf calls",
        "it where it is installed, and ships none of it.", "",
        "## Needed to run", "", *head, *rows[True], "",
        "## Needed for extras, tests and this site alone", "", *head, *rows[False], "",
    ])  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
