"""The tools beside the product: floors that hold, benchmarks that are compared, versions tried."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


typed_share = load("tests/tools/typed_share.py")
compare = load("tests/benchmarks/compare.py")
matrix = load("tests/tools/matrix.py")
dist = load("tests/tools/dist.py")

REPORT = """
                Name   Anys  Exprs  Coverage
------------------------------------------
               ddphf      0     10   100.00%
         ddphf.a.one     10     40    75.00%
         ddphf.a.two     10     40    75.00%
            ddphf.ab      0     10   100.00%
------------------------------------------
               Total     20    100    80.00%
"""


def test_typed_share_of_a_package():
    counts = typed_share.read_counts(REPORT)
    assert typed_share.share(counts, "ddphf") == pytest.approx(80.0)
    assert typed_share.share(counts, "ddphf.a") == pytest.approx(75.0)
    assert typed_share.check(counts, {"ddphf": 80.0, "ddphf.a": 75.5}) == [
        "ddphf.a: 75.00 % of its expressions are typed, the floor is 75.5"
    ]
    with pytest.raises(SystemExit, match=r"no module in 'ddphf\.x'"):
        typed_share.check(counts, {"ddphf.x": 1.0})


def results(*, cpu=1000.0, wall=900.0, load=0.1, one=1e-3):
    row = {"name": "plain", "fits_per_cpu_s": cpu, "fits_per_s": wall, "compile_s": 0.01}
    single = {"name": "6x6", "one_fit_s": one, "pyhf_scipy": {"seconds": 1.0}}
    machine = {"cores": 2, "load_at_start": load}
    return {"machine": machine, "ensembles": [row], "single": [single]}


def verdicts(*new):
    return {name.split(" / ")[-1]: (ratio, v) for name, ratio, v in compare.compare(results(), new)}


def test_times_are_compared_and_rates_turned_over():
    found = verdicts(results(cpu=500.0, one=0.5e-3))
    assert found == {
        "fits_per_cpu_s": (pytest.approx(2.0), "SLOWER"),
        "fits_per_s": (pytest.approx(1.0), ""),
        "one_fit_s": (pytest.approx(0.5), ""),
    }


def test_noise_of_the_machine_is_no_slowness():
    assert verdicts(results(cpu=700.0))["fits_per_cpu_s"][1] == ""
    busy = verdicts(results(wall=100.0, load=9.0))["fits_per_s"]
    assert busy == (pytest.approx(9.0), "wall time on a busy machine: not judged")
    best_of_two = verdicts(results(cpu=100.0), results(cpu=990.0))["fits_per_cpu_s"]
    assert best_of_two == (pytest.approx(1000 / 990), "")


def test_recorded_results_are_comparable_to_themselves():
    path = str(ROOT / "docs" / "performance.json")
    recorded = compare.json.loads(Path(path).read_text())
    rows = compare.compare(recorded, [recorded])
    assert len(rows) > 30
    assert {ratio for _, ratio, _ in rows} == {1.0}


def test_parts_know_their_place():
    assert compare.place({"shipped_28x28": 1}) == {"rank": {"shipped_28x28": 1}}
    assert compare.place(results()) == results()
    with pytest.raises(SystemExit, match="no known benchmark among: x"):
        compare.place({"x": 1})


def program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_matrix_finds_what_runs_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    right = program(tmp_path / "bin" / "python3.11", "echo Python 3.11.7")
    program(tmp_path / "bin" / "python3.12", "exit 127")  # as pyenv's, where another is chosen
    other = program(
        tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python", "echo Python 3.12.1"
    )
    program(tmp_path / "bin" / "python3.13", "echo Python 3.9.2")
    program(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin" / "python", "exit 1")
    found = [matrix.interpreter(f"3.{minor}") for minor in (11, 12, 13, 14)]
    assert found == [right, other, None, None]
    assert list(matrix.rows()) == [
        "3.11 oldest", "3.11 newest", "3.12 newest", "3.13 newest", "wheel",
    ]  # fmt: skip


def test_every_command_of_the_first_minute_has_its_budget():
    cold = load("tests/benchmarks/bench_cold.py")
    page = (
        (ROOT / "docs/performance.md").read_text().split("## The first minute")[1].split("\n## ")[0]
    )
    rows = re.findall(r"^\| `(?:ddphf )?([\w -]+)`.*?\|(.*)\|$", page, re.M)
    budgets = {name: [float(cell) for cell in cells.split("|")[1:]] for name, cells in rows}
    asked = {name.split(",")[0] for name in cold.COMMANDS}
    assert set(budgets) == asked | {"import ddphf"}
    for empty, full, most in budgets.values():
        assert max(empty, full) <= most


def test_the_wheel_runs_every_command():
    from ddphf.cli.main import COMMANDS

    assert set(COMMANDS) <= {line.split()[0] for line in dist.LINES}
    assert set(dist.ROWS.values()) == set(matrix.PYTHONS)


def test_the_matrix_tests_the_bounds_of_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = set(extras["dev"])
    assert matrix.PRODUCT.endswith("[dev]")
    for name in extras.keys() - {"simulation", "docs"}:  # nothing imports them
        assert set(extras[name]) <= tested, name
    bare = [line for line in tested | set(project["dependencies"]) if not re.search(r"[=<>]", line)]
    assert bare == []
