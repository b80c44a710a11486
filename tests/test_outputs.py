"""Output files: refused before any work, whole or not there, together or not at all."""

import contextlib
import fcntl
import itertools
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import ddphf.outputs
from ddphf.exceptions import UsageError
from ddphf.outputs import Outputs, locked, sweep_litter, write_atomically


@contextlib.contextmanager
def largest_file(size):
    """Let the system refuse what is written beyond some bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "out.json"

    def interrupted(force):
        with write_atomically(path, force=force) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        interrupted(force=False)
    assert list(tmp_path.iterdir()) == []
    path.write_text("whole")
    with pytest.raises(error, match="stop"):
        interrupted(force=True)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["whole"]


def test_the_file_appears_at_the_end_with_the_usual_mode(tmp_path):
    path = tmp_path / "new" / "out.json"
    before = os.umask(0o027)
    try:
        with write_atomically(path) as temporary:
            temporary.write_text("all")
            assert not path.exists()
            assert temporary.suffix == ".json"
    finally:
        os.umask(before)
    assert path.read_text() == "all"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["out.json"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    outputs = Outputs([tmp_path / "small", tmp_path / "large"])

    def write():
        with outputs:
            outputs.write(tmp_path / "small", "x")
            outputs.write(tmp_path / "large", "x" * 100_000)

    message = r"large: cannot be written \(File too"
    with largest_file(1000), pytest.raises(UsageError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_there_together(tmp_path):
    targets = [tmp_path / "main.json", tmp_path / "figures" / "a.png"]
    with Outputs(targets) as outputs:
        for target in targets:
            outputs.write(target, target.name)
            assert not target.exists()
    assert [target.read_text() for target in targets] == ["main.json", "a.png"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.png", "figures", "main.json"]


@pytest.mark.parametrize("existing", [False, True])
def test_when_one_cannot_be_put_in_place_none_is(tmp_path, existing):
    """A folder appears where the second file should go, after everything was checked."""
    first, second = tmp_path / "first", tmp_path / "second"
    if existing:
        second.write_text("old")
    outputs = Outputs([first, second], force=True)

    def write():
        with outputs:
            outputs.write(first, "new")
            outputs.write(second, "new")
            first.mkdir()

    with pytest.raises(UsageError, match="first: cannot be written"):
        write()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second"][: 1 + existing]
    assert not existing or second.read_text() == "old"


def test_existing_files_need_force(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(UsageError, match="exists; give --force"):
        Outputs([path])
    assert path.read_text() == "old"
    with Outputs([path], force=True) as outputs:
        outputs.write(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the name of the output is empty"),
        ("a\0b", "the name of the output is empty"),
        (".", "is a directory"),
        ("new/", "is a directory"),
        ("file/out.json", "'file' is no writable folder"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(folder, name, message):
    Path("file").write_text("")
    with pytest.raises(UsageError, match=message):
        Outputs([name], force=True)


def test_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        Outputs([tmp_path / "pipe"], force=True)
    Outputs(["-", None])


def test_one_file_is_not_written_twice(folder):
    with pytest.raises(UsageError, match=r"\./a: is the name of two outputs of this command"):
        Outputs(["a", "./a"])


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_input_is_no_output_whatever_its_name(folder, link):
    Path("data.json").write_text("mine")
    name = "data.json"
    if link is not None:
        link("data.json", "other.json")
        name = "other.json"
    message = f"{name}: is the input 'data.json' of this command, which would be lost"
    with pytest.raises(UsageError, match=message):
        Outputs([name], inputs=["-", "absent", "data.json"], force=True)


def test_a_symbolic_link_is_followed(folder):
    Path("store").mkdir()
    Path("store/real.json").write_text("old")
    Path("link.json").symlink_to("store/real.json")
    Path("dangling.json").symlink_to("store/new.json")
    with Outputs(["link.json", "dangling.json"], force=True) as outputs:
        outputs.write("link.json", "1")
        outputs.write("dangling.json", "2")
    assert Path("link.json").is_symlink()
    assert Path("store/real.json").read_text() == "1"
    assert Path("store/new.json").read_text() == "2"
    assert sorted(p.name for p in Path("store").iterdir()) == ["new.json", "real.json"]


def test_standard_output_comes_with_the_files(folder, capsys):
    with Outputs(["-", "a"]) as outputs:
        outputs.write("-", "text\n")
        outputs.write("a", "x")
        assert capsys.readouterr().out == ""
    assert capsys.readouterr().out == "text\n"
    assert Path("a").read_text() == "x"


def test_a_reader_that_went_away_keeps_the_files(folder):
    code = (
        "from ddphf.outputs import Outputs\n"
        "with Outputs(['-', 'a']) as outputs:\n"
        "    outputs.write('-', 'x' * 1000000)\n"
        "    outputs.write('a', 'x')\n"
    )
    subprocess.run(f'{sys.executable} -c "{code}" 2> /dev/null | true', shell=True, check=True)
    assert Path("a").read_text() == "x"


def test_the_lock_of_a_folder_holds_and_leaves_nothing(folder):
    code = (
        "from ddphf.outputs import locked\nimport time\n"
        "for _ in range(100):\n"
        "    with locked('count'):\n"
        "        n = int(open('count').read())\n"
        "        time.sleep(1e-4)\n"
        "        open('count', 'w').write(str(n + 1))\n"
    )
    Path("count").write_text("0")
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    with locked("count"):
        pass
    assert [process.wait(timeout=600) for process in started] == [0, 0]
    assert Path("count").read_text() == "200"
    assert [p.name for p in folder.iterdir()] == ["count"]


class Stop(BaseException):
    """What a signal raises."""


def stopped_before_line(number, act):
    """Call a function, stopped before the n-th line of ddphf/outputs.py; say whether it was."""
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename != ddphf.outputs.__file__:
            return None
        if event == "line":
            seen += 1
            if seen == number:
                raise Stop
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except Stop:
        sys.settrace(before)
        sweep_litter()  # as the command line does
        return True
    finally:
        sys.settrace(before)
    return False


def test_stopped_before_any_line_the_files_are_all_old_or_all_new(tmp_path):
    names = ("a.json", "b/b.png")

    def act():
        with Outputs([place / name for name in names], force=True) as outputs:
            for name in names:
                outputs.write(place / name, f"new {name}")

    for number in itertools.count(1):
        for old in (False, True):
            place = tmp_path / f"{number}_{old}"
            place.mkdir()
            for name in names[: 2 * old]:
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_text(f"old {name}")
            was_stopped = stopped_before_line(number, act)
            found = {str(p.relative_to(place)): p.read_text() for p in place.rglob("*.*")}
            before = {name: f"old {name}" for name in names} if old else {}
            assert found in (before, {name: f"new {name}" for name in names}), (number, old)
            assert found or not list(place.iterdir()), (number, old)
        if not was_stopped:
            break
    assert number > 50


def test_stopped_before_any_line_no_lock_and_no_folder_is_left(tmp_path):
    def act():
        with locked(place / "new" / "file"):
            pass

    for number in itertools.count(1):
        place = tmp_path / str(number)
        place.mkdir()
        was_stopped = stopped_before_line(number, act)
        assert list(place.iterdir()) == [], number
        if not was_stopped:
            break
        with locked(place / "file"):
            pass
        handle = os.open(place, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    assert number > 10


def test_a_lock_holds_although_its_folder_is_removed_meanwhile(tmp_path):
    """One fails and takes its empty folder away while another waits for it."""
    place = tmp_path / "new" / "file"
    with locked(place):
        waiting = threading.Thread(target=_write_under_lock, args=(place,))
        waiting.start()
        time.sleep(0.2)
    waiting.join(timeout=600)
    assert place.read_text() == "x"


def _write_under_lock(place):
    with locked(place):
        place.write_text("x")
