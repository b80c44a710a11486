"""Tests over versions: python tests/tools/matrix.py [ROW ...]; without a name every row.

Each row makes an environment of its own under build/matrix and says how it went:

    3.11 oldest     the lowest versions that pyproject.toml allows, those of the extras too: fast
                    tests, fits, kernels of the search, distributed work
    3.11, 3.12, ... the newest versions of today, the same tests
    wheel           the built wheel, tested versions, outside the checkout: init, build, fit

An interpreter that is not found, on the path or among those of pyenv, is skipped and said to be.
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

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13")
PRODUCT = f"{ROOT}[dev]"
"""With all that an extra may ask for, at the bounds of the extras (`tests/test_tools.py`)."""

PYTEST = ("-q", "-n", "2", "--dist", "loadfile", "--any-speed")
"""The limits of the fast tests are for the tested versions."""

TESTS = ("tests", "-m", "fast")
COMPILED = ("fit", "likelihood_fits", "shapes", "search_kernels", "distributed")
"""Programs of the engine, and what the extras are for: jaxtyping, numba, a cluster and its keys."""

FITS = (*(f"tests/test_{name}.py" for name in COMPILED), "-m", "not slow")


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
    """Return an interpreter of this version that runs, or None.

    On the path pyenv has a program of each version's name, which runs for the chosen ones only.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    here = shutil.which(f"python{version}")
    for found in ([here] if here else []) + sorted(map(str, pyenv.glob(f"{version}.*/bin/python"))):
        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and f" {version}." in done.stdout:
            return found
    return None


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
    """Run the fast tests, and those in which programs are compiled, of the installed product."""
    for tests in (TESTS, FITS):
        run(programs / "pytest", *PYTEST, *options, *tests)


def newest(name: str, python: str) -> None:
    """Test the newest versions that an index has."""
    programs = environment(name, python)
    install(programs, PRODUCT)
    test(programs)


def oldest(name: str, python: str) -> None:
    """Test the lower bounds of pyproject.toml; what they need themselves is as new as can be."""
    programs, pins = environment(name, python), FOLDER / "oldest.txt"
    install(programs, "uv")
    compiled = ("pip", "compile", "--quiet", "--resolution", "lowest-direct", "--no-header")
    run(programs / "uv", *compiled, "--python", python, "--no-emit-index-url",
        "--extra", "dev", ROOT / "pyproject.toml", "-o", pins)  # fmt: skip
    install(programs, "-r", pins)
    install(programs, PRODUCT, "-c", pins)
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
