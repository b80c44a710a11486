"""The command line as a user meets it: start-up, pipes, exit codes, streams."""

import json
import re
import subprocess
import sys

import pytest
from conftest import invoke, plain_workspace, write_analysis
from layers import processor_seconds

from ddphf import __version__
from ddphf.cli.main import COMMANDS

PROGRAM = [sys.executable, "-c", "from ddphf.cli.main import main; main()"]
HEAVY = ("jax", "pyhf", "matplotlib", "scipy", "numpy", "uproot", "hist", "cabinetry", "iminuit")


@pytest.fixture
def workspace(folder):
    (folder / "workspace.json").write_text(json.dumps(plain_workspace()))
    return folder / "workspace.json"


def test_help_takes_less_than_a_processor_second():
    times = []
    for _ in range(3):
        start = processor_seconds()
        done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
        times.append(processor_seconds() - start)
    assert min(times) < 1.0, f"best of three: {min(times):.2f} s"
    assert re.findall(r"^  (\w+)  +\w", done.stdout, re.MULTILINE) == sorted(COMMANDS)
    assert done.stderr == ""


def test_help_imports_no_heavy_package():
    code = (
        "import sys\nfrom ddphf.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version():
    assert invoke("--version").out.strip().endswith(__version__)


def test_no_command_is_usage():
    assert invoke().code == 2


def test_build_and_fit_through_a_pipe(folder):
    write_analysis(folder)
    program = f"{sys.executable} -c 'from ddphf.cli.main import main; main()'"
    done = subprocess.run(
        f"set -o pipefail; {program} build analysis.yml -o - | {program} fit - -o -",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == "ddphf/fit/1"
    assert result["fit"]["status"] == "converged"
    assert sorted(p.name for p in folder.iterdir()) == ["analysis.yml", "table.csv"]


def test_closed_pipe_is_no_error(folder):
    write_analysis(folder)
    program = f"{sys.executable} -c 'from ddphf.cli.main import main; main()'"
    done = subprocess.run(
        f"{program} build analysis.yml | true",
        shell=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_build_writes_workspace_and_sidecar(folder):
    outcome = invoke("build", write_analysis(folder), "-o", "out/pair.json")
    assert outcome.code == 0
    assert outcome.out == ""
    assert "out/pair.json: 2 channels, mu = 1 is 14 signal events" in outcome.err
    names = sorted(p.name for p in (folder / "out").iterdir())
    assert names == ["pair.json", "pair.metadata.json"]
    metadata = json.loads((folder / "out/pair.metadata.json").read_text())
    assert metadata["schema"] == "ddphf/metadata/1"


def test_output_is_sorted_json_and_logs_go_to_stderr(workspace):
    outcome = invoke("fit", workspace)
    assert outcome.code == 0
    assert list(json.loads(outcome.out)) == sorted(json.loads(outcome.out))
    assert json.dumps(json.loads(outcome.out), sort_keys=True) == json.dumps(
        json.loads(outcome.out)
    )
    assert "mu_hat" in outcome.err
    assert "converged" not in outcome.err


def test_fit_reads_standard_input(workspace):
    piped = invoke("fit", "-", stdin=workspace.read_text())
    assert json.loads(piped.out) == json.loads(invoke("fit", workspace).out)


def test_existing_output_is_refused_before_any_work(workspace):
    (workspace.parent / "fit.json").write_text("mine")
    workspace.write_text("not even JSON")
    outcome = invoke("fit", workspace, "-o", "fit.json")
    assert outcome.code == 2
    assert outcome.message == "fit.json: exists; give --force to replace it, or write elsewhere"
    assert (workspace.parent / "fit.json").read_text() == "mine"


def test_force_replaces(workspace):
    (workspace.parent / "fit.json").write_text("old")
    assert invoke("fit", workspace, "-o", "fit.json", "--force").code == 0
    assert json.loads((workspace.parent / "fit.json").read_text())["schema"] == "ddphf/fit/1"


def test_plots(workspace):
    outcome = invoke("fit", workspace, "-o", "fit.json", "--plots", "figures")
    assert outcome.code == 0
    figures = sorted((workspace.parent / "figures").iterdir())
    assert [f.name for f in figures] == ["postfit.png", "prefit.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in figures)


def test_inspect_prints_the_model(folder):
    invoke("build", write_analysis(folder), "-o", "pair.json")
    outcome = invoke("inspect", "pair.json")
    assert outcome.code == 0
    for line in (
        "measurement discovery, POI mu",
        "histosys       1  electron_id",
        "shapefactor    1  symmetric_shape",
        "normfactor     1  mu",
        "parameters  11, 11 free",
        "measurement discovery_null (POI mu, fixed: mu)",
        "signal      14 events at mu = 1 in SR_mue",
    ):
        assert line in outcome.out


def test_inspect_json_has_digest_and_provenance(workspace):
    summary = json.loads(invoke("inspect", workspace, "-o", "-").out)
    assert summary["digest"].startswith("sha256:")
    assert summary["provenance"]["versions"]["ddphf"] == __version__
    assert summary["channels"][1] == {
        "name": "SR_mue", "bins": 3, "observed": 268.0,
        "samples": {"signal": 30.0, "symmetric": 240.0},
    }  # fmt: skip
    assert summary["parameters"] == {
        "total": 4, "free": 4, "components": {"mu": 1, "symmetric_shape": 3},
    }  # fmt: skip


def test_inspect_warns_of_absorbed_variations(folder):
    workspace = plain_workspace()
    shared = {"name": "lumi_like", "type": "normsys", "data": {"hi": 1.02, "lo": 0.98}}
    for channel in workspace["channels"]:
        channel["samples"][-1]["modifiers"].append(shared)
    sentence = (
        "variation 'lumi_like' changes 'symmetric_shape' alike in every channel: the shared "
        "background absorbs it"
    )
    outcome = invoke("inspect", "-", "-o", "-", stdin=json.dumps(workspace))
    assert json.loads(outcome.out)["warnings"] == [sentence]
    assert sentence in outcome.err
    workspace["channels"][1]["samples"][0]["modifiers"].append(shared)  # the signal carries it too
    assert invoke("inspect", "-", "-o", "-", stdin=json.dumps(workspace)).err == ""


@pytest.mark.parametrize("name", ["[/red]", "[bold", "é µ", "\\"])
def test_names_are_printed_as_they_are(name):
    """Foreign names are no terminal markup and need not fit the terminal's encoding."""
    text = json.dumps(plain_workspace())
    for old in ("SR_mue", "discovery"):
        text = text.replace(old, json.dumps(name + old)[1:-1])
    for command in ("fit", "inspect"):
        outcome = invoke(command, "-", stdin=text)
        assert outcome.code == 0, outcome.err
    assert name + "SR_mue" in outcome.out


def test_negative_yield_of_one_sample_is_a_warning(folder):
    workspace = plain_workspace()
    workspace["channels"][1]["samples"][0]["data"][0] = -0.5
    (folder / "workspace.json").write_text(json.dumps(workspace))
    outcome = invoke("fit", "workspace.json", "-o", "fit.json")
    assert outcome.code == 0
    sentence = "channel 'SR_mue', sample 'signal': negative yield in bin 0"
    assert f"ddphf: warning: {sentence}" in outcome.err
    assert sentence in json.loads((folder / "fit.json").read_text())["warnings"]


def modifier(name, kind, data):
    return {"name": name, "type": kind, "data": data}


def inspect(workspace):
    outcome = invoke("inspect", "-", "-o", "-", stdin=json.dumps(workspace))
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_what_looks_alike_but_is_legal():
    """Shared names that pyhf gives a meaning to, next to the refusals above."""
    workspace = plain_workspace()
    partner, tested = (channel["samples"][-1]["modifiers"] for channel in workspace["channels"])
    # One name for a norm and a shape is one nuisance.
    tested.append(modifier("theory", "normsys", {"hi": 1.1, "lo": 0.9}))
    ends = {"hi_data": [101.0, 80.0, 60.0], "lo_data": [99.0, 80.0, 60.0]}
    partner.append(modifier("theory", "histosys", ends))
    # One staterror name in two channels is one parameter per bin of both.
    for modifiers in (partner, tested):
        modifiers.append(modifier("mc", "staterror", [1.0, 1.0, 1.0]))
    parameters = workspace["measurements"][0]["config"]["parameters"]
    parameters.append({"name": "mc", "inits": [1.0] * 6, "bounds": [[0.1, 10.0]] * 6})
    components = inspect(workspace)["parameters"]["components"]
    assert components == {"mu": 1, "symmetric_shape": 3, "theory": 1, "mc": 6}


def test_leftovers_of_pruned_workspaces_are_accepted():
    workspace = plain_workspace()
    workspace["observations"].append({"name": "VR", "data": [1.0]})
    parameters = workspace["measurements"][0]["config"]["parameters"]
    parameters.append({"name": "pruned", "inits": [0.0, 0.0]})
    summary = inspect(workspace)
    assert summary["warnings"] == [
        "observations without a channel are ignored: VR",
        "measurement 'discovery': settings of parameters that no modifier has are ignored: pruned",
    ]
    assert summary["parameters"]["total"] == 4
