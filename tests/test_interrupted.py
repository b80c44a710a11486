"""Commands that are ended at any moment: outputs whole or absent, nothing left beside them."""

import contextlib
import gc
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyhf
import pytest
from conftest import invoke, plain_workspace
from jax._src import compilation_cache
from saboteur import REFUSED, Saboteur, full_disk, interrupt, terminate
from test_outputs import largest_file
from writing_commands import (
    COMMANDS,
    INPUTS,
    LONG,
    STUDIES,
    commands_with_outputs,
    copy_inputs,
    files,
    make_inputs,
)

from ddphf.cli import signals
from ddphf.cli.signals import Terminated, listening
from ddphf.inference.toys.store import load_toys
from ddphf.likelihood.cache import WholeFiles

# An exception that a signal raises right after open(), or while a ZipFile begins, leaves the file
# to the garbage collector.
unclosed = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning",
    r"ignore:.*ZipFile\.__del__:pytest.PytestUnraisableExceptionWarning",
)

SABOTEUR = Saboteur()

short_and_long = pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=pytest.mark.slow if name in STUDIES else ()) for name in COMMANDS],
)


@pytest.fixture(autouse=True)
def signals_are_heard():
    """Whoever started the tests in the background ignores Ctrl-C for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    pyhf.set_backend("numpy")  # a stop may have come while pyhf changed it


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_inputs(folder)
    return folder


@pytest.fixture
def prepared(inputs, folder):
    return copy_inputs(inputs, folder)


def outputs_of(place):
    return {name: text for name, text in files(place).items() if name.startswith("new/")}


def test_every_command_that_writes_is_tried():
    assert commands_with_outputs() == set(COMMANDS)


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


def spread_over_time(command, place, number):
    """End a warm command at moments spread over its time."""
    arguments = COMMANDS[command]
    start = time.process_time()
    assert invoke(*arguments, "--force").code == 0
    duration = time.process_time() - start
    expected = set(outputs_of(place))
    assert expected
    gc.collect()
    gc.freeze()
    for moment in np.linspace(0.05, 0.95, number):
        # What was cut short ends here: pytest parses a line of each of its errors, which in the
        # middle of numpy's parsing of a header makes Python 3.11 fail (CPython issue 106905).
        gc.collect()
        shutil.rmtree("new", ignore_errors=True)
        try:
            with listening(), terminated_after(float(moment * duration)):
                outcome = invoke(*arguments)
        except Terminated:  # it was too late for the command
            continue
        assert outcome.code in (0, 143), outcome.err
        assert "Traceback" not in outcome.err
        found = set(outputs_of(place))
        assert found in (set(), expected)
        assert found == expected or outcome.code == 143
    gc.unfreeze()


FAULTS = {terminate: 143, interrupt: 130, full_disk: 2}
"""What happens, and the exit code that says so."""


def touches_of(command, place):
    """Run a command; return what it did with its outputs, one after the other, and their names."""
    SABOTEUR.watch(place / "new")
    outcome = invoke(*COMMANDS[command])
    SABOTEUR.rest()
    assert outcome.code == 0, outcome.err
    return list(SABOTEUR.seen), outputs_of(place).keys()


def fail_at(command, place, acts, names, at, fault, *, old):
    """Let a command fail before it does something with its outputs, which may be there already."""
    invoked = COMMANDS[command]
    before = {name: f"old {name}".encode() for name in names} if old else {}
    shutil.rmtree("new", ignore_errors=True)
    for name, text in before.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(text)
    SABOTEUR.watch(place / "new", lambda seen: len(seen) == at + 1, fault)
    with listening():
        outcome = invoke(*invoked, "--force")
    SABOTEUR.rest()
    found = outputs_of(place)
    where = f"{fault.__name__} before {at} of {acts}: {outcome.err}"
    replaced = found.keys() == names and not set(found.items()) & set(before.items())
    assert found == before or replaced, where  # all old or all new
    assert outcome.code == FAULTS[fault] or (outcome.code == 0 and replaced), where
    assert "Traceback" not in outcome.err
    assert found or not Path("new").exists(), where


@unclosed
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in STUDIES])
def test_ended_at_any_moment_everything_or_nothing_is_there(prepared, command):
    acts, names = touches_of(command, prepared)
    renames = [i for i, act in enumerate(acts) if act == "os.rename"]
    fail_at(command, prepared, acts, names, renames[min(1, len(renames) - 1)], terminate, old=True)
    fail_at(command, prepared, acts, names, renames[-1], full_disk, old=False)
    fail_at(command, prepared, acts, names, len(acts) - 1, interrupt, old=False)
    spread_over_time(command, prepared, 3)
    gc.collect()


def test_further_stops_do_not_interrupt_the_cleaning(prepared):
    """Ctrl-C again and again, whenever something is taken away."""

    def again():
        SABOTEUR.watch(prepared / "new", lambda seen: seen[-1] == "os.remove", again)
        pressed.append(1)
        interrupt()

    pressed = []
    SABOTEUR.watch(prepared / "new", lambda seen: seen[-1] == "os.rename", again)
    with listening():
        outcome = invoke(*COMMANDS["build"])
    SABOTEUR.rest()
    assert len(pressed) > 2
    assert outcome.code == 130
    assert outcome.err.strip() == "ddphf: error: interrupted"
    assert not Path("new").exists()


def test_a_stop_that_was_lost_comes_again(monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE_SECONDS", 0.05)
    with listening():
        with contextlib.suppress(KeyboardInterrupt):
            interrupt()
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10.0)


@unclosed
def test_a_long_command_leaves_nothing_when_ended_among_its_outputs(folder):
    SABOTEUR.watch(folder / "new", lambda seen: seen.count("os.rename") == 3, terminate)
    with listening():
        outcome = invoke(*COMMANDS[LONG])
    SABOTEUR.rest()
    assert outcome.code == 143
    assert SABOTEUR.seen.count("os.rename") == 3
    assert list(folder.iterdir()) == []
    gc.collect()


@unclosed
@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_ended_at_many_moments(prepared, command):
    acts, names = touches_of(command, prepared)
    for at, act in enumerate(acts):
        if command in STUDIES and at % 9:
            continue
        for number, fault in enumerate(FAULTS):
            if fault is not full_disk or act in REFUSED:
                fail_at(command, prepared, acts, names, at, fault, old=(at + number) % 2 == 0)
    spread_over_time(command, prepared, 8 if command in STUDIES else 40)
    gc.collect()


@short_and_long
def test_a_full_disk_leaves_nothing(prepared, command):
    before = files(prepared)
    with largest_file(100):
        outcome = invoke(*COMMANDS[command])
    assert outcome.code == 2
    assert "cannot be written (File too large)" in outcome.message
    assert files(prepared) == before
    assert not Path("new").exists()


def test_a_full_disk_leaves_no_half_program_in_the_cache(tmp_path):
    cache = WholeFiles(tmp_path)
    program = compilation_cache.compress_executable(np.random.default_rng(1).bytes(1000))
    with largest_file(100):
        cache.put("f", program)
    assert list(tmp_path.iterdir()) == []
    cache.put("f", program)
    assert cache.get("f") == program


def test_half_a_program_is_compiled_again(tmp_path):
    """What a process left that was killed before files were written whole."""
    program = compilation_cache.compress_executable(b"x" * 1000)
    (tmp_path / "f-cache").write_bytes(program[:10])
    cache = WholeFiles(tmp_path)
    assert cache.get("f") is None
    cache.put("f", program)
    assert cache.get("f") == program


def test_commands_keep_their_programs_in_whole_files(inputs):
    """By jax's own account: it asked for the cache that the command line gives it."""
    assert inputs
    assert isinstance(compilation_cache._cache, WholeFiles)


def test_a_jax_that_keeps_its_files_elsewhere_keeps_them_itself(tmp_path):
    """The place is not public: without it commands run as before."""
    program = (
        "import sys\n"
        "import jax._src.compilation_cache as files\n"
        "del files.get_file_cache\n"
        "from pathlib import Path\n"
        "from ddphf.likelihood import cache\n"
        "assert cache.JAX_FILES is None\n"
        "print(cache.enable_compilation_cache(Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path)


@pytest.mark.parametrize("command", INPUTS)
def test_no_output_replaces_an_input(prepared, command):
    """Also with --force, and under another name of the same file."""
    source = INPUTS[command]
    packed = command == "publish"
    same = "same.tar.gz" if packed else "same"
    Path(same).symlink_to(source)
    for name in (same,) if packed else (source, same):
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
@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name not in STUDIES]
)  # -o is a folder
def test_an_output_without_a_name_is_usage(prepared, command, output):
    arguments = list(COMMANDS[command])
    arguments[arguments.index("-o") + 1] = output
    assert invoke(*arguments).code == 2


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("study birman", "-o"),
        ("yields w.json", "--tables"),
        ("scan w.json --parameter a", "--plots"),
    ],
)
def test_a_folder_without_a_name_is_usage(folder, command, option):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    outcome = invoke(*command.split(), option, "")
    assert outcome.code == 2
    assert outcome.message == f"{option}: the name of the folder is empty; . is the current one"
    assert [p.name for p in folder.iterdir()] == ["w.json"]


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


IMPORTING = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from ddphf.cli import signals\n"
    "sys.argv = ['ddphf', 'fit', 'w.json']\n"
    "sys.path.insert(0, '.')\n"
    "from ddphf.cli import main\n"
    "main.main = lambda: __import__('slow')  # as compiled libraries are: long in their beginning\n"
    "signals.run()\n"
)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_stop_in_an_import_ends_the_process_at_once(folder, number, code, word):
    """An exception in the beginning of a compiled library aborts, or crashes at the very end."""
    begin = "import time\ntry:\n    print('up', flush=True)\n    time.sleep(600)\n"
    Path("slow.py").write_text(begin + "finally:\n    print('unwound')\n")
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out, err) == (code, "", f"ddphf: error: {word}\n")


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


def test_ctrl_c_twice_shows_no_traceback(folder):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    process = run("toys", "w.json", "--toys", 2_000_000, "--seed", 1, "-o", "t.npz")
    assert process.stdout.readline() == "up\n"
    time.sleep(2.0)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    err = process.communicate(timeout=600)[1]
    assert process.returncode in (130, -signal.SIGINT)  # the latter where it was importing still
    assert "Traceback" not in err
    assert [p.name for p in folder.iterdir() if p.name != "t.npz"] == ["w.json"]


KILLED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from saboteur import Saboteur, kill
at = int(sys.argv.pop(1))
Saboteur().watch(Path("new"), lambda seen: len(seen) == at, kill)
from ddphf.cli.signals import run
run()
"""
LATE = 10
"""More often than that `build` does not touch its outputs."""


@pytest.mark.parametrize(
    "at", [pytest.param(n, marks=[pytest.mark.slow] * (n not in (4, 6, 7))) for n in range(1, LATE)]
)
def test_killed_at_any_moment_every_file_is_whole(prepared, at):
    """Old or new; where the workspace is new its sidecar is."""
    Path("new").mkdir()
    old = {"new/w.json": b"old", "new/w.metadata.json": b"old"}
    for name, text in old.items():
        Path(name).write_bytes(text)
    arguments = [*COMMANDS["build"], "--force"]
    done = subprocess.run([sys.executable, "-c", KILLED, str(at), *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    found = {name: Path(name).read_bytes() for name in old}
    shutil.rmtree("new")
    assert invoke(*arguments).code == 0
    new = outputs_of(prepared)
    assert all(found[name] in (old[name], new[name]) for name in old)
    assert found["new/w.json"] == b"old" or found == new


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
