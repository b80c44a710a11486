"""Output files: refused before any work, whole or not there, together or not at all."""

import contextlib
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ddphf.exceptions import UsageError
from ddphf.outputs import Outputs, locked, write_atomically


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
