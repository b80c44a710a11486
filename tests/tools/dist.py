"""Wheel and source distribution: python tests/tools/dist.py FOLDER [ROW ...].

Both are made; the wheel of the source distribution must be the wheel. Then each row installs the
wheel into an environment of its own and runs every command on the shipped samples, outside the
checkout:

    3.11 oldest     the lowest versions that pyproject.toml allows
    3.11 tested     those of constraints.txt
    3.12, 3.13      the newest of today

An interpreter that is not found is said to be.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import matrix

ROOT = matrix.ROOT
ROWS = {"3.11 oldest": "3.11", "3.11 tested": "3.11", "3.12 newest": "3.12", "3.13 newest": "3.13"}
WINDOW, EVENTS = "workspaces/higgs_lfv_window", "events.yml"
LINES = (
    "init -o analysis.yml",
    f"build {WINDOW}/analysis.yml -o w.json",
    "inspect w.json",
    "fit w.json -o fit.json --plots figures",
    "yields w.json --fit fit.json -o yields.json --tables tables",
    "rank w.json --parameters 'symmetric_shape*' --top 3 -o rank.json",
    "scan w.json --parameter mu --points 5 -o scan.json",
    "limit w.json -o limit.json",
    "discover w.json --null asymptotic,toys --toys 64 -o discover.json",
    "toys w.json --toys 64 -o toys.npz",
    "inject w.json --z 5 -o five.json",
    "report w.json fit.json rank.json scan.json limit.json discover.json -o report.html",
    f"publish {WINDOW}/analysis.yml fit.json rank.json limit.json -o pair.tar.gz",
    "verify pair.tar.gz --level 1",
    f"patch pair.tar.gz --signal SR_mue={WINDOW}/histograms.root:signal -o patch.json",
    f"search pair {WINDOW}/analysis.yml --windows 2x2 --seed 1 -o search.json",
    "learn test events.yml --redraws 99 --seed 1 -o learn.json",
    "bumps scan spectrum.csv --width-bins 1.5 --toys 4 --seed 1 -o bumps.json",
    "masses workspaces/zprime_scan/scan.yml -o masses.json",
    "correlations workspaces/tau_ratio/workspace.json --toys 4 -o correlations.json",
    "study birman --toys 32 -o birman",
    "convert w.json --to hs3 -o w.hs3.json",
)
"""Every command, in an order in which each has what it reads."""

EXTRA_FILES = """
import numpy as np
rng = np.random.default_rng(1)
n = 2000
flavour = np.where(rng.random(n) < 0.5, 13, 11)
np.savez("events.npz", x=rng.normal(size=n), pt=np.full(n, 30.0), flavour=flavour)
open("events.yml", "w").write('''
schema: ddphf/analysis/1
name: learned
events:
  file: events.npz
  axes: [{column: x, edges: {bins: 4, low: -4, high: 4}}]
  leptons: [{flavour: flavour, pt: pt, eta: x}]
tested: {label: mue, select: flavour == 13}
partner: {label: emu, select: flavour == 11}
efficiency_ratio: 1.0
learn: {variables: [{column: x}], redraws: 99}
''')
edges = np.linspace(100, 200, 41)
counts = rng.poisson(4000 * np.exp(-(edges[:-1] - 100) / 40))
rows = "".join(f"{a},{b},{c}\\n" for a, b, c in zip(edges[:-1], edges[1:], counts))
open("spectrum.csv", "w").write("mass_low,mass_high,counts\\n" + rows)
"""


def contents(wheel: Path) -> dict[str, str]:
    """Return the checksum of each file of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        return {name: hashlib.sha256(file.read(name)).hexdigest() for name in names}


def make(folder: Path) -> Path:
    """Write both into a folder, and return the wheel.

    Raises:
        SystemExit: The source distribution makes another wheel, or the versions differ.
    """
    shutil.rmtree(folder, ignore_errors=True)
    programs = matrix.environment("build", sys.executable)
    matrix.install(programs, "build", "hatchling")
    matrix.run(programs / "python", "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as place:
        pip = (programs / "python", "-m", "pip", "wheel", "--quiet", "--no-deps")
        matrix.run(*pip, "--no-build-isolation", "-w", place, source, folder=Path(place))
        (again,) = Path(place).glob("*.whl")
        if contents(again) != contents(wheel):
            raise SystemExit(f"{source.name} makes another wheel")
    version = re.search(r'__version__ = "(.*)"', (ROOT / "ddphf/__init__.py").read_text())[1]
    if f"-{version}-" not in wheel.name or f"-{version}." not in source.name:
        raise SystemExit(f"{wheel.name}, {source.name}: not version {version}")
    return wheel


def prepare(row: str, wheel: Path) -> Path:
    """Install the wheel into a fresh environment of a row, and return its programs."""
    python = matrix.interpreter(ROWS[row])
    programs = matrix.environment(f"dist-{row.replace(' ', '-')}", python)
    if row == "3.11 oldest":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lowest = [re.sub(r"(>=|~=)", "==", line) for line in project["dependencies"]]
        matrix.install(programs, wheel, *lowest)
    else:
        tested = ("-c", ROOT / "constraints.txt") if row == "3.11 tested" else ()
        matrix.install(programs, *tested, wheel)
    return programs


def use(programs: Path) -> None:
    """Run every command on the shipped samples, where there is no checkout."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copytree(ROOT / "workspaces", place / "workspaces")
        matrix.run(programs / "python", "-c", EXTRA_FILES, folder=place)
        inside = "import ddphf, sys; sys.exit(ddphf.__file__.startswith(sys.argv[1]))"
        matrix.run(programs / "python", "-c", inside, f"{ROOT}/ddphf", folder=place)
        for line in LINES:
            matrix.run(programs / "ddphf", *shlex.split(line), "-q", folder=place)


def main(folder: Path, names: list[str]) -> None:
    """Make both, use the wheel, print how each row went; exit with 1 where one failed."""
    wheel, outcomes = make(folder), {}
    for row, version in ROWS.items():
        if names and row not in names:
            continue
        start = time.monotonic()
        if matrix.interpreter(version) is None:
            outcomes[row] = f"python{version} not found, skipped"
            continue
        try:
            use(prepare(row, wheel))
            outcomes[row] = f"every command ran, {time.monotonic() - start:.0f} s"
        except SystemExit as failed:
            outcomes[row] = f"FAILED: {failed}"
    for row, outcome in outcomes.items():
        print(f"{row:12} {outcome}")
    sys.exit(any(outcome.startswith("FAILED") for outcome in outcomes.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
