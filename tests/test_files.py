"""JSON text that is the same every time, and files that are whole or not there."""

import json
import math
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddphf.exceptions import InputError, UsageError
from ddphf.files import check_writable, read_json, to_json, write_file, write_output

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
TREES = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(TREES)
def test_json_round_trip_is_exact(tree):
    text = to_json(tree)
    assert json.loads(text) == tree
    assert text.endswith("\n")


@given(st.dictionaries(st.text(), TREES))
def test_json_does_not_depend_on_insertion_order(tree):
    assert to_json(dict(reversed(tree.items()))) == to_json(tree)


def test_integers_and_floats_stay_apart():
    assert to_json([1, 1.0, True]) == "[1, 1.0, true]\n"
    assert to_json({"b": {"d": (1.0,)}, "a": []}) == (
        '{\n  "a": [],\n  "b": {\n    "d": [1.0]\n  }\n}\n'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: [{"a": x}]])
def test_json_refuses_what_json_has_not(value, wrap):
    with pytest.raises(ValueError, match="JSON has no"):
        to_json(wrap(value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff", "cannot be read"),
        (b"[-Infinity]", "holds -Infinity"),
        (b'{"a": {"b": 1, "b": 2}}', "key 'b' appears twice in one object"),
        (b"1" + b"0" * 10_000, "not JSON"),
        (b'{"a":' * 50_000, "nested too deeply"),
    ],
)
def test_unreadable_json(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(str(path))


def test_missing_json_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        read_json("absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(str(tmp_path))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "out.json"

    def interrupted(force):
        with write_file(path, force=force) as temporary:
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
        with write_file(path) as temporary:
            temporary.write_text("all")
            assert not path.exists()
            assert temporary.suffix == ".json"
    finally:
        os.umask(before)
    assert path.read_text() == "all"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["out.json"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    def write():
        with write_file(tmp_path / "out.json"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_existing_files_need_force(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(UsageError, match="exists; give --force"):
        write_output("new", path)
    assert path.read_text() == "old"
    write_output("new", path, force=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "is a directory"),
        ("file/out.json", "'file' is no writable folder"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=message):
        check_writable(tmp_path / name, force=True)


def test_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        check_writable(tmp_path / "pipe", force=True)
    check_writable("-")


def test_standard_output(capsys):
    write_output("text\n", "-")
    assert capsys.readouterr().out == "text\n"
