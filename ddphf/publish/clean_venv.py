"""Level 4: the stock pyhf command line in a virtual environment that has nothing but pyhf."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ddphf.publish.checks import FAIL, LIMITED, NOT_RUN, PASS, Check
from ddphf.publish.contents import Bundle

__all__ = ["check_command_line", "make_requirements"]

LOWER, HIGHER = 1e-3, 1e-2
INSTALL_SECONDS = 600.0


def make_requirements(versions: dict[str, str]) -> str:
    r"""Return requirements.txt: pyhf and what its numbers come from.

    Example:
        >>> make_requirements({"pyhf": "0.7.6", "numpy": "2.4.6", "scipy": "1.17.1", "jax": "1"})
        'numpy==2.4.6\npyhf==0.7.6\nscipy==1.17.1\n'
    """
    return "".join(f"{name}=={versions[name]}\n" for name in ("numpy", "pyhf", "scipy"))


def check_command_line(
    bundle: Bundle, seconds: float, say: Callable[[str], None]
) -> Iterator[Check]:
    """Level 4: make the environment, run verify_stock.py, fit every measurement cold.

    Needs a package index; without one the level is NOT RUN.
    """
    with tempfile.TemporaryDirectory(prefix="ddphf-verify-") as name:
        folder = Path(name)
        for file, content in bundle.files.items():
            (folder / file).write_bytes(content)
        say("level 4: installing pyhf")
        trouble = _make_venv(folder)
        yield Check(4, "clean environment", NOT_RUN if trouble else PASS, trouble)
        if trouble:
            return
        python = _program(folder, "python")
        say("level 4: verify_stock.py")
        # A bundle may come from anybody: only a script that is known is run.
        own = Path(__file__).with_name("verify_stock.py").read_bytes()
        note = "" if own == bundle.files["verify_stock.py"] else "this ddphf's script was run"
        (folder / "check.py").write_bytes(own)
        done = _run([python, "check.py"], folder, INSTALL_SECONDS)
        good = done is not None and done.returncode == 0
        lines = ["out of time"] if done is None else (done.stdout + done.stderr).splitlines()
        trouble = " ".join(line for line in lines if line.startswith("FAIL  ")) or " ".join(
            lines[-1:]
        )
        yield Check(4, "verify_stock.py", PASS if good else FAIL, note if good else trouble[:200])
        for point in bundle.results.points:
            if point.poi_value is not None:
                continue  # no measurement states it, so the command line cannot fit it
            recorded = point.minimum.twice_nll
            sources = [["workspace.json"]]
            if "patch_signal.json" in bundle.files and point is bundle.results.points[0]:
                sources.append(["BkgOnly.json", "-p", "patch_signal.json"])
            for source in sources:
                what = f"pyhf fit --measurement {point.measurement} {' '.join(source)}"
                say(f"level 4: {what}")
                command = [_program(folder, "pyhf"), "fit", "--value", "--measurement",
                           point.measurement, *source]  # fmt: skip
                status, detail, found = _judge(_run(command, folder, seconds), recorded, seconds)
                yield Check(4, what, status, detail, recorded, found)


def _judge(
    done: subprocess.CompletedProcess[str] | None, recorded: float, seconds: float
) -> tuple[str, str, float | None]:
    if done is None:
        return LIMITED, f"stopped after {seconds:g} s", None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        # pyhf's own fit may fail where the minimum is certified: that is no fault of the bundle.
        status = LIMITED if "FailedMinimization" in done.stderr else FAIL
        return status, last[:200], None
    found = float(json.loads(done.stdout)["twice_nll"])
    if found < recorded - LOWER:
        return FAIL, f"lower by {recorded - found:.3g}: the recorded point is no minimum", found
    if found > recorded + HIGHER:
        return LIMITED, f"stops {found - recorded:.3g} above", found
    return PASS, "", found


def _make_venv(folder: Path) -> str:
    """Make folder/venv with the bundle's requirements; return what went wrong."""
    steps = (
        [sys.executable, "-m", "venv", "venv"],
        [_program(folder, "python"), "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", "-r", "requirements.txt"],
    )  # fmt: skip
    for step in steps:
        done = _run(step, folder, INSTALL_SECONDS)
        if done is None or done.returncode != 0:
            last = [] if done is None else done.stderr.strip().splitlines()[-1:]
            return f"pyhf could not be installed ({' '.join(last) or 'out of time'}); is there a " \
                   "package index?"  # fmt: skip
    return ""


def _program(folder: Path, name: str) -> str:
    scripts = "Scripts" if os.name == "nt" else "bin"
    return str(folder / "venv" / scripts / name)


def _run(
    command: list[str], folder: Path, seconds: float
) -> subprocess.CompletedProcess[str] | None:
    """Run a command in a folder with one BLAS thread; None when out of time."""
    # Nothing of this environment may be seen: SLSQP is also slow with several BLAS threads.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    env |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}
    if shutil.which(command[0]) is None:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: not there")
    try:
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
