"""Tests over versions: python tools/matrix.py [ROW ...]; without a name every row.

Each row makes an environment of its own under build/matrix and says how it went:

    3.11 oldest     the lowest versions that pyproject.toml allows, fast tests and a fit
    3.11, 3.12, ... the newest versions of today, the same tests
    wheel           the built wheel, tested versions, outside the checkout: init, build, fit

An interpreter that is not found is skipped and said to be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "hepdata-validator")
TESTS = ("tests", "-m", "fast")
FITS = ("tests/test_fit.py", "tests/test_likelihood_fits.py", "-m", "not slow")


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Run a command that sees nothing of this checkout but what it names.

    Raises:
        SystemExit: It failed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}: failed")


def interpreter(version: str) -> str | None:
    """Return an interpreter of this version that runs, or None."""
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return found if done.returncode == 0 and f" {version}." in done.stdout else None


def environment(name: str, python: str) -> Path:
    """Make a fresh environment and return where its programs are."""
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    run(python, "-m", "venv", FOLDER / name)
    return FOLDER / name / "bin"


def install(programs: Path, *what: str | Path) -> None:
    """Install with pip."""
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *what)


def test(programs: Path, *options: str) -> None:
    """Run the fast tests, and fits, in which programs are compiled, of the installed product."""
    for tests in (TESTS, FITS):
        run(programs / "pytest", "-q", "-n", "2", "--dist", "loadfile", *options, *tests)


def newest(name: str, python: str) -> None:
    """Test the newest versions that an index has."""
    programs = environment(name, python)
    install(programs, ROOT, *TOOLS)
    test(programs)


def oldest(name: str, python: str) -> None:
    """Test the lower bounds of pyproject.toml; what they need themselves is as new as can be."""
    programs, pins = environment(name, python), FOLDER / "oldest.txt"
    install(programs, "uv")
    compiled = ("pip", "compile", "--quiet", "--resolution", "lowest-direct", "--no-header")
    run(programs / "uv", *compiled, "--python", python, "--no-emit-index-url",
        ROOT / "pyproject.toml", "-o", pins)  # fmt: skip
    install(programs, "-r", pins)
    install(programs, "-c", pins, ROOT, *TOOLS)
    test(programs, "-W", "ignore::DeprecationWarning")  # old libraries about newer ones


def wheel(name: str, python: str) -> None:
    """Use the built wheel as a stranger does, in a folder that is no checkout."""
    programs = environment(name, python)
    dist = FOLDER / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(programs / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", dist, ROOT)
    install(programs, "-c", ROOT / "constraints.txt", next(dist.glob("*.whl")))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copy(ROOT / "workspaces" / "higgs_lfv_window" / "histograms.root", place)
        for line in (
            "init -o analysis.yml",
            "build analysis.yml -o workspace.json",
            "fit workspace.json -o fit.json --plots figures",
        ):
            run(programs / "ddphf", *line.split(), folder=place)
        inside = "import ddphf, sys; sys.exit(ddphf.__file__.startswith(sys.argv[1]))"
        run(programs / "python", "-c", inside, f"{ROOT}/ddphf", folder=place)


def rows() -> dict[str, tuple[str, Callable[[str, str], None]]]:
    """Return each row's Python and work by its name."""
    found = {f"{version} newest": (version, newest) for version in PYTHONS}
    return {"3.11 oldest": ("3.11", oldest), **found, "wheel": ("3.11", wheel)}


def main(names: list[str]) -> None:
    """Run the rows and print how each went; exit with 1 where one failed."""
    outcomes = {}
    for name, (version, work) in rows().items():
        if names and name not in names:
            continue
        python, start = interpreter(version), time.monotonic()
        if python is None:
            outcomes[name] = f"python{version} not found, skipped"
            continue
        try:
            work(name.replace(" ", "-"), python)
            outcomes[name] = f"passed in {time.monotonic() - start:.0f} s"
        except SystemExit as failed:
            outcomes[name] = f"FAILED: {failed}"
    print()
    for name, outcome in outcomes.items():
        print(f"{name:12} {outcome}")
    sys.exit(any(outcome.startswith("FAILED") for outcome in outcomes.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
