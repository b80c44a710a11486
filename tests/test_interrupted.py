"""Commands that are ended at any moment: outputs whole or absent, nothing left beside them."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke, plain_workspace, write_analysis
from test_outputs import largest_file

from ddphf.cli.signals import Terminated, listening
from ddphf.inference.toys.store import load_toys

COMMANDS = {
    "build": ("build", "analysis.yml", "-o", "new/w.json"),
    "inspect": ("inspect", "pair.json", "-o", "new/i.json", "--plots", "new/figures"),
    "fit": ("fit", "pair.json", "-o", "new/fit.json", "--plots", "new/figures"),
    "yields": ("yields", "pair.json", "--fit", "fit.json", "-o", "new/y.json", "--tables", "new"),
    "inject": ("inject", "pair.json", "--z", "3", "-o", "new/five.json"),
    "limit": ("limit", "pair.json", "-o", "new/limit.json", "--plots", "new/figures"),
    "report": ("report", "pair.json", "fit.json", "-o", "new/report.html"),
}


@pytest.fixture
def prepared(folder):
    write_analysis(folder)
    assert invoke("build", "analysis.yml", "-o", "pair.json").code == 0
    assert invoke("fit", "pair.json", "-o", "fit.json").code == 0
    return folder


def files(place):
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


@contextlib.contextmanager
def terminated_after(seconds):
    """Send SIGTERM after so many processor seconds: a busy machine does not move the place."""
    before = signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(signal.SIGTERM))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("command", COMMANDS)
def test_ended_at_any_moment_everything_or_nothing_is_there(prepared, command):
    """The signal comes at moments spread over the command's own time, once it is warm."""
    arguments = COMMANDS[command]
    assert invoke(*arguments).code == 0
    start = time.process_time()
    assert invoke(*arguments, "--force").code == 0
    duration = time.process_time() - start
    expected = {name for name in files(prepared) if name.startswith("new/")}
    assert expected
    codes = []
    for moment in np.linspace(0.05, 0.95, 15):
        shutil.rmtree("new", ignore_errors=True)
        try:
            with listening(), terminated_after(float(moment * duration)):
                codes.append((outcome := invoke(*arguments)).code)
        except Terminated:  # it was too late for the command
            continue
        assert outcome.code in (0, 143)
        assert "Traceback" not in outcome.err
        found = {name for name in files(prepared) if name.startswith("new/")}
        assert found in (set(), expected)
        assert found == expected or outcome.code == 143
    assert 143 in codes


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_nothing(prepared, command):
    before = files(prepared)
    with largest_file(300):
        outcome = invoke(*COMMANDS[command])
    assert outcome.code == 2
    assert "cannot be written (File too large)" in outcome.message
    assert files(prepared) == before
    assert not Path("new").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_replaces_an_input(prepared, command):
    """Also with --force, and under another name of the same file."""
    source = COMMANDS[command][1]
    Path("same").symlink_to(source)
    for name in (source, "same"):
        arguments = list(COMMANDS[command])
        arguments[arguments.index("-o") + 1] = name
        before = files(prepared)
        outcome = invoke(*arguments, "--force")
        assert outcome.code == 2, outcome.err
        assert f"{name}: is the input '{source}' of this command" in outcome.message
        assert files(prepared) == before


def test_histograms_of_the_analysis_file_are_inputs(prepared):
    outcome = invoke("build", "analysis.yml", "-o", "table.csv", "--force")
    assert outcome.code == 2
    assert "table.csv: is the input 'table.csv' of this command" in outcome.message


@pytest.mark.parametrize("output", ["", "."])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_without_a_name_is_usage(prepared, command, output):
    arguments = list(COMMANDS[command])
    arguments[arguments.index("-o") + 1] = output
    assert invoke(*arguments).code == 2


@pytest.mark.parametrize("seed", [2**63, 2**64, -1])
def test_seeds_that_files_cannot_keep_are_usage(folder, seed):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    Path("toys.npz").write_text("mine")
    for command in (("toys", "--toys", "5"), ("fit", "--toys", "5"), ("limit", "--method", "toys")):
        outcome = invoke(*command, "w.json", "--seed", seed, "-o", "toys.npz", "--force")
        assert outcome.code == 2
        assert "--seed" in outcome.err
    assert Path("toys.npz").read_text() == "mine"


START = (
    "import signal\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever started the tests\n"
    "print('up', flush=True)\n"
    "from ddphf.cli.signals import run\n"
    "run()\n"
)


def run(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_writers_of_one_toy_file_lose_nothing(folder):
    """Both resume one file with seeds of their own; what they find equals what one finds alone."""
    Path("w.json").write_text(json.dumps(plain_workspace()))
    both = [
        run("toys", "w.json", "--toys", 600, "--seed", seed, "--resume", "-o", "t.npz")
        for seed in (1, 2)
    ]
    for process in both:
        assert process.communicate(timeout=600)[1]
        assert process.returncode == 0
    found = load_toys(Path("t.npz"))
    assert [int((found.seed == seed).sum()) for seed in (1, 2)] == [600, 600]
    assert invoke("toys", "w.json", "--toys", "600", "--seed", "1", "-o", "one.npz").code == 0
    alone = load_toys(Path("one.npz"))
    np.testing.assert_array_equal(found.q0[found.seed == 1], alone.q0)
    assert sorted(p.name for p in folder.iterdir()) == ["one.npz", "t.npz", "w.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0])
def test_a_process_that_is_ended_shows_no_traceback(folder, number, seconds):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    process = run("toys", "w.json", "--toys", 2_000_000, "--seed", 1, "-o", "t.npz")
    assert process.stdout.readline() == "up\n"
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert process.returncode in (130, 143, -number)
    assert "Traceback" not in err
    assert out == ""
    left = [p.name for p in folder.iterdir() if p.name not in ("w.json", "t.npz")]
    assert left == [] or number == signal.SIGKILL
    if Path("t.npz").exists():
        assert len(load_toys(Path("t.npz"))) > 0


def test_toys_that_were_killed_go_on_bitwise_equal(folder):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    assert invoke("toys", "w.json", "--toys", "3000", "--seed", "1", "-o", "whole.npz").code == 0
    part = folder / "part.npz"
    assert invoke("toys", "w.json", "--toys", "1000", "--seed", "1", "-o", part).code == 0
    process = run("toys", "w.json", "--toys", 3000, "--seed", 1, "--resume", "-o", part)
    time.sleep(2.0)
    process.kill()
    process.communicate()
    arguments = ("toys", "w.json", "--toys", "3000", "--seed", "1", "--resume", "-o", part)
    assert invoke(*arguments).code == 0
    one, other = load_toys(Path("whole.npz")), load_toys(part)
    for name in ("seed", "index", "q0", "mu_hat", "status"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_closed_pipe_is_success(folder):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    program = f"{sys.executable} -m ddphf"
    done = subprocess.run(
        f"{program} inspect -q w.json | true; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
    assert done.stderr == ""
