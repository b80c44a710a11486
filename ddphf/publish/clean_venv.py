"""Level 4: the stock pyhf command line in a virtual environment that has nothing but pyhf.

What is installed is the lock of this ddphf, by checksum; what is run is this ddphf's own script and
pyhf. Nothing of the bundle is imported: every process is isolated (``python -I``), starts in an
empty folder and inherits a few named variables, no settings and no tokens.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Stage
from ddphf.publish.contents import Bundle, stock_script
from ddphf.results.verified import FAIL, LIMITED, NOT_RUN, PASS, UNPHYSICAL, Check

__all__ = [
    "LOCK", "CleanRun", "check_command_line", "check_in_clean_environment", "locked_versions",
    "make_requirements",
]  # fmt: skip

LOWER, HIGHER = 1e-3, 1e-2
INSTALL_SECONDS = 600.0

LOCK = Path(__file__).with_name("stock.lock")
"""pyhf and all that it needs, as tested, with checksums; made by ``make lock``."""

STATED = ("numpy", "pyhf", "scipy")
"""What a bundle states in requirements.txt."""

INHERITED = ("LANG", "PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"""Where programs and temporary files are: all that a child process is told of this environment."""

NETWORK = (
    "HOME", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE", "USERPROFILE",
    "XDG_CONFIG_HOME", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip
"""What pip alone is told too: where its settings and certificates are, how a network is reached."""


def make_requirements(versions: dict[str, str]) -> str:
    r"""Return requirements.txt: pyhf and what its numbers come from.

    Example:
        >>> make_requirements({"pyhf": "0.7.6", "numpy": "2.4.6", "scipy": "1.17.1", "jax": "1"})
        'numpy==2.4.6\npyhf==0.7.6\nscipy==1.17.1\n'
    """
    return "".join(f"{name}=={versions[name]}\n" for name in STATED)


def locked_versions() -> dict[str, str]:
    """Return the versions of the lock by package.

    Example:
        >>> locked_versions()["pyhf"]
        '0.7.6'
    """
    text = LOCK.read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE))


@dataclass(frozen=True)
class CleanRun:
    """One run of pyhf's command line.

    Attributes:
        what: What it is called.
        arguments: Of ``pyhf``; those that are files of the bundle lie beside it.
        recorded: 2NLL that it must print; None where it must only succeed.
        reference: The likelihood of that.
    """

    what: str
    arguments: Sequence[str]
    recorded: float | None = None
    reference: ReferenceModel | None = None


def check_command_line(bundle: Bundle, seconds: float, say: Stage) -> Iterator[Check]:
    """Level 4: run verify_stock.py and fit every measurement cold in a clean environment."""
    runs = []
    for point in bundle.results.points:
        if point.poi_value is not None:
            continue  # no measurement states it, so the command line cannot fit it
        sources = [["workspace.json"]]
        if "patch_signal.json" in bundle.files and point is bundle.results.points[0]:
            sources.append(["BkgOnly.json", "-p", "patch_signal.json"])
        for source in sources:
            what = f"pyhf fit --measurement {point.measurement} {' '.join(source)}"
            arguments = ["fit", "--value", f"--measurement={point.measurement}", *source]
            reference = bundle.references[point.measurement]
            runs.append(CleanRun(what, arguments, point.minimum.twice_nll, reference))
    yield from check_in_clean_environment(
        bundle.files, "verify_stock.py", stock_script(), runs, seconds, say
    )


def check_in_clean_environment(
    files: Mapping[str, bytes], name: str, own: bytes, runs: Sequence[CleanRun], seconds: float,
    say: Stage,
) -> Iterator[Check]:  # fmt: skip
    """Level 4: make the environment, run this ddphf's script on the files, and pyhf's own commands.

    Needs a package index; without one, or for versions that this ddphf was not tested with, the
    level is NOT RUN.

    Args:
        files: Of the bundle, by name.
        name: Of the script in the bundle.
        own: This ddphf's.
        runs: What pyhf is asked.
        seconds: After which one of them is stopped.
        say: Called with a line for each stage.
    """
    if trouble := _other_versions(files["requirements.txt"].decode()):
        yield Check(4, "clean environment", NOT_RUN, trouble)
        return
    with tempfile.TemporaryDirectory(prefix="ddphf-verify-") as folder:
        base = Path(folder)
        data, empty = base / "bundle", base / "empty"
        data.mkdir()
        empty.mkdir()
        for file, content in files.items():
            (data / file).write_bytes(content)
        say("level 4: installing pyhf")
        trouble = _make_venv(base, empty)
        yield Check(4, "clean environment", NOT_RUN if trouble else PASS, trouble)
        if trouble:
            return
        python = [_program(base), "-I", "-X", "utf8"]
        say(f"level 4: {name}")
        script = base / name
        script.write_bytes(own)
        note = (
            ""
            if own == files[name]
            else "this ddphf's script was run, the bundle has an earlier one"
        )
        done = _run([*python, str(script), str(data)], empty, INSTALL_SECONDS)
        good = done is not None and done.returncode == 0
        lines = ["out of time"] if done is None else (done.stdout + done.stderr).splitlines()
        trouble = " ".join(line for line in lines if line.startswith("FAIL  ")) or " ".join(
            lines[-1:]
        )
        yield Check(4, name, PASS if good else FAIL, note if good else trouble[:200])
        for run in runs:
            say(f"level 4: {run.what}")
            arguments = [str(data / part) if part in files else part for part in run.arguments]
            command = [*python, "-c", "from pyhf.cli import cli; cli()", *arguments]
            done = _run(command, empty, seconds)
            if run.recorded is None or run.reference is None:
                good = done is not None and done.returncode == 0
                yield Check(4, run.what, PASS if good else FAIL)
                continue
            status, detail, found = _judge(done, run.recorded, seconds, run.reference)
            yield Check(4, run.what, status, detail, run.recorded, found)


def _other_versions(requirements: str) -> str:
    """Return which version of a bundle is none that this ddphf was tested with."""
    locked = locked_versions()
    for line in requirements.splitlines():
        package, _, version = line.partition("==")
        if locked[package] != version:
            return (
                f"the bundle was made with {line}; this ddphf was tested with {locked[package]} "
                "and installs nothing else; follow the bundle's README.md by hand, in a container"
            )
    return ""


def _judge(
    done: subprocess.CompletedProcess[str] | None, recorded: float, seconds: float,
    reference: ReferenceModel,
) -> tuple[str, str, float | None]:  # fmt: skip
    if done is None:
        return LIMITED, f"stopped after {seconds:g} s", None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        # pyhf's own fit may fail where the minimum is certified: that is no fault of the bundle.
        status = LIMITED if "FailedMinimization" in done.stderr else FAIL
        return status, last[:200], None
    printed = json.loads(done.stdout)
    found = float(printed["twice_nll"])
    if found < recorded - LOWER:
        point = printed.get("mle_parameters")
        if point is not None and not _is_physical(reference, point):
            lower = f"lower by {recorded - found:.3g} where an expected rate is negative"
            return UNPHYSICAL, lower, found
        return FAIL, f"lower by {recorded - found:.3g}: the recorded point is no minimum", found
    if found > recorded + HIGHER:
        return LIMITED, f"stops {found - recorded:.3g} above", found
    return PASS, "", found


def _is_physical(reference: ReferenceModel, parameters: dict[str, list[float]]) -> bool:
    """Whether no expected rate is negative at the point that the command line prints."""
    point = [value for name in reference.model.config.par_order for value in parameters[name]]
    rates = reference.model.expected_data(point, include_auxdata=False)
    return bool(np.all(np.asarray(rates) >= 0))


def _make_venv(base: Path, empty: Path) -> str:
    """Make base/venv with what the lock names; return what went wrong."""
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
               "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]  # fmt: skip
    steps = (
        ([sys.executable, "-I", "-m", "venv", str(base / "venv")], ()),
        ([_program(base), "-I", "-m", "pip", *install], NETWORK),
    )
    for step, more in steps:
        done = _run(step, empty, INSTALL_SECONDS, more)
        if done is None or done.returncode != 0:
            last = [] if done is None else done.stderr.strip().splitlines()[-1:]
            return f"pyhf could not be installed ({' '.join(last) or 'out of time'}); is there a " \
                   "package index?"  # fmt: skip
    return ""


def _program(base: Path) -> str:
    """Return the Python of the environment."""
    windows = os.name == "nt"
    return str(base / "venv" / ("Scripts" if windows else "bin") / "python")


def _run(
    command: list[str], folder: Path, seconds: float, more: Sequence[str] = ()
) -> subprocess.CompletedProcess[str] | None:
    """Run a command in a folder with one BLAS thread; None when out of time.

    Args:
        command: Program and arguments.
        folder: Where it starts.
        seconds: After which it is stopped.
        more: Variables of the environment that it sees beside :data:`INHERITED`.
    """
    env = {name: os.environ[name] for name in (*INHERITED, *more) if name in os.environ}
    env["OPENBLAS_NUM_THREADS"] = "1"  # SLSQP is slow with several
    try:
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, timeout=seconds, check=False,
            encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
