"""JSON text that is the same every time."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddphf.exceptions import InputError
from ddphf.files import read_json, to_json

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
        (b"<?xml version='1.0'?>", "not JSON.*'ddphf convert' reads HistFactory XML"),
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
