"""Small inputs that several tests start from, and the command line run in-process."""

import contextlib
import io
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import jax
import layers
import numpy as np
import pytest
import yaml

from ddphf.cli.main import main
from ddphf.inputs.histogram import Axis
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template

# The same examples on every run and machine; time is bounded by the number of examples.
hypothesis.settings.register_profile(
    "deterministic", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("deterministic")

STARTED = pytest.StashKey[float]()


def pytest_addoption(parser):
    parser.addoption(
        "--any-speed", action="store_true",
        help="tests may take any time, as with other versions than the tested ones",
    )  # fmt: skip


def pytest_collection_modifyitems(items):
    layers.mark(items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[STARTED] = layers.processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    try:
        return (yield)
    finally:
        spent = layers.processor_seconds() - item.stash[STARTED]
        item.user_properties.append(("cpu_s", spent))


def pytest_sessionfinish(session):
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    judged = terminal is not None and not session.config.getoption("any_speed")
    if judged and any(layers.complaints(terminal.stats)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    layers.write_summary(terminalreporter, judged=not config.getoption("any_speed"))


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Hundreds of compiled programs exhaust the memory maps of a process: one file's at a time."""
    yield
    jax.clear_caches()


EDGES = [30.0, 40.0, 50.0, 60.0, 70.0]

COLUMNS = {
    "tested": [110, 85, 62, 41],
    "partner": [120, 84, 55, 43],
    "signal": [2.0, 6.0, 5.0, 1.0],
    "signal_partner": [0.2, 0.5, 0.4, 0.1],
    "signal_error": [0.1, 0.2, 0.2, 0.1],
    "fakes": [12.0, 8.0, 5.0, 3.0],
    "fakes_error": [2.0, 1.5, 1.0, 0.8],
    "fakes_partner": [9.0, 7.0, 4.0, 2.0],
    "ratio": [0.91, 0.93, 0.96, 0.97],
    "known": [110.0, 80.0, 55.0, 40.0],
    "up": [1.02, 1.01, 0.99, 0.97],
    "down": [0.98, 0.99, 1.01, 1.03],
}

ANALYSIS = {
    "schema": "ddphf/analysis/1",
    "name": "example",
    "tested": {
        "label": "mue",
        "observed": "table.csv:tested",
        "signal": {
            "yields": "table.csv:signal",
            "systematics": [{"name": "theory", "type": "normsys", "up": 1.1, "down": 0.9}],
        },
        "fakes": {"yields": "table.csv:fakes", "error": "table.csv:fakes_error"},
        "systematics": [
            {
                "name": "electron_id",
                "type": "histosys",
                "up": "table.csv:up",
                "down": "table.csv:down",
                "relative": True,
            }
        ],
    },
    "partner": {"label": "emu", "observed": "table.csv:partner"},
    "efficiency_ratio": "table.csv:ratio",
}


def plain_workspace() -> dict:
    """A pair without nuisances, as `ddphf build` emits it: fitted in closed form."""
    shape = {"name": "symmetric_shape", "type": "shapefactor", "data": None}
    background = {"name": "symmetric", "data": [100.0, 80.0, 60.0], "modifiers": [shape]}
    mu = {"name": "mu", "type": "normfactor", "data": None}
    signal = {"name": "signal", "data": [5.0, 20.0, 5.0], "modifiers": [mu]}
    parameters = [
        {"name": "mu", "inits": [0.0], "bounds": [[-10.0, 10.0]]},
        {"name": "symmetric_shape", "inits": [1.0] * 3, "bounds": [[1e-10, 100.0]] * 3},
    ]
    return json.loads(
        json.dumps(
            {
                "version": "1.0.0",
                "channels": [
                    {"name": "CR_emu", "samples": [background]},
                    {"name": "SR_mue", "samples": [signal, background]},
                ],
                "observations": [
                    {"name": "CR_emu", "data": [104.0, 79.0, 58.0]},
                    {"name": "SR_mue", "data": [99.0, 103.0, 66.0]},
                ],
                "measurements": [
                    {"name": "discovery", "config": {"poi": "mu", "parameters": parameters}}
                ],
            }
        )
    )


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The last line on stderr, without the program's name."""
        return self.err.strip().splitlines()[-1].removeprefix("ddphf: error: ")


def invoke(*arguments: str | Path, stdin: str = "") -> Outcome:
    """Run ``ddphf`` in this process; whatever is not a SystemExit is a traceback and passes on."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(stdin)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit, match=r"^\d+$") as stopped,
        ):
            main([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    return Outcome(int(stopped.value.code), out.getvalue(), err.getvalue())


def write_table(path: Path, columns: dict, edges: list[float] = EDGES) -> None:
    """Write columns over one mass axis as CSV."""
    lines = [",".join(["mass [GeV]_low", "mass [GeV]_high", *columns])]
    for row, (low, high) in enumerate(itertools.pairwise(edges)):
        lines.append(",".join(map(str, [low, high, *(c[row] for c in columns.values())])))
    path.write_text("\n".join(lines) + "\n")


def write_analysis(folder: Path, analysis: dict | None = None, columns: dict | None = None) -> Path:
    """Write an analysis file with its table, and return its path."""
    write_table(folder / "table.csv", COLUMNS if columns is None else columns)
    path = folder / "analysis.yml"
    path.write_text(yaml.safe_dump(ANALYSIS if analysis is None else analysis, sort_keys=False))
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working directory, so that messages show relative paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The same numbers through the Python API.

AXES = [Axis("mass", tuple(EDGES), "mass", "GeV")]
C = {name: np.array(values, dtype=float) for name, values in COLUMNS.items()}
NORM = Systematic("fake_norm", "normsys", 1.2, 0.85, source="control region")
JES_B = 1 + np.array([0.03, 0.02, -0.01, -0.04])
JES_A = 1 + np.array([-0.02, 0.01, 0.02, 0.03])
LEPTON_B = 1 + np.array([0.010, 0.012, 0.015, 0.02])
LEPTON_A = 1 - np.array([0.004, 0.003, 0.002, 0.001])
LUMI_ERROR = 0.02


def shape(name, up, nominal=None):
    """A symmetric histosys: relative, or absolute where the nominal is given."""
    if nominal is None:
        return Systematic(name, "histosys", up, 2 - up, relative=True, source="map.root:h")
    return Systematic(name, "histosys", nominal * up, nominal * (2 - up))


def full_pair(**changes):
    """Every kind of modifier that the builder emits."""
    options = {
        "tested": Channel(
            "mue",
            C["tested"],
            signal=Template(
                C["signal"],
                error=C["signal_error"],
                error_kind="staterror",
                systematics=[shape("lepton", LEPTON_B), Systematic("theory", "normsys", 1.1, 0.9)],
            ),
            fakes=Template(
                C["fakes"], error=C["fakes_error"], systematics=[NORM, shape("jes", JES_B)]
            ),
            systematics=[shape("lepton", LEPTON_B)],
        ),
        "partner": Channel(
            "emu",
            C["partner"],
            signal=Template(C["signal_partner"]),
            fakes=Template(
                C["fakes_partner"],
                error=0.1 * C["fakes_partner"],
                error_kind="staterror",
                systematics=[NORM, shape("jes", JES_A, C["fakes_partner"])],
            ),
            systematics=[shape("lepton", LEPTON_A)],
        ),
        "efficiency_ratio": C["ratio"],
        "known_background": C["known"],
        "luminosity_error": LUMI_ERROR,
        "axes": AXES,
    }
    return Pair(**{**options, **changes})


def plain_pair(**changes):
    options = {
        "tested": Channel("mue", C["tested"], signal=Template(C["signal"])),
        "partner": Channel("emu", C["partner"]),
    }
    return Pair(**{**options, **changes})
