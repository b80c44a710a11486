"""Families of windows: their numbers, what is refused before anything is allocated."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddphf.exceptions import InputError
from ddphf.search.boxes import make_boxes
from ddphf.statistics.windows import Window


@pytest.mark.parametrize(
    ("shape", "windows", "count"),
    [
        ((28, 28), "all", 164_836),
        ((28, 28), "ladder", 34_225),
        ((28, 28), "squares", 7_714),
        ((28, 28), "6x6", 529),
        ((12, 12, 12), "all", 474_552),
        ((28, 28), "6x6,8x8,6x6", 529 + 441),
        ((28, 28), "squares,6x6", 7_714),
        ((28, 28), [(6, 6), (6, 6)], 529),
        ((9,), "4", 6),
        ((2, 3, 2, 4), "all", 3 * 6 * 3 * 10),
    ],
)
def test_numbers_of_windows(shape, windows, count):
    assert make_boxes(shape, windows).count == count


def test_the_ladder():
    steps = sorted({size[0] for size in make_boxes((200, 1), "ladder").sizes})
    assert steps == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_every_window_has_one_number(shape):
    boxes = make_boxes(shape)
    every = {
        Window(start, size)
        for size in itertools.product(*(range(1, n + 1) for n in shape))
        for start in itertools.product(
            *(range(n - k + 1) for n, k in zip(shape, size, strict=True))
        )
    }
    found = [boxes.window(i) for i in range(boxes.count)]
    assert len(found) == len(every)
    assert set(found) == every
    assert [boxes.number(w) for w in found] == list(range(boxes.count))


@pytest.mark.parametrize(
    ("shape", "windows", "message"),
    [
        ((8, 8), "", "no size given"),
        ((8, 8), " , ", "no size given"),
        ((8, 8), [], "no size given"),
        ((8, 8), "9x2", r"starts at bin \[0, 0\] with \[9, 2\] bins, outside the histogram"),
        ((8, 8), "0x2", "outside the histogram"),
        ((8, 8), "2", r"size 2 has 1 number\(s\), and the histogram 2 axes"),
        ((8, 8), [(2, 2, 2)], "size 2x2x2 has 3 number"),
        ((8, 8), "rectangles", "'rectangles' names no windows; expected all, ladder, squares"),
        ((8, 8), "2x-2", "'2x-2' names no windows"),
        ((8, 8), [(2.5, 2)], "expected whole numbers of bins"),
        ((3,) * 5, "all", "expected 1 to 4 axes"),
        ((), "all", "expected 1 to 4 axes"),
        ((3, 0), "all", "expected 1 to 4 axes"),
    ],
)
def test_windows_that_are_none_are_refused(shape, windows, message):
    with pytest.raises(InputError, match=message):
        make_boxes(shape, windows)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (10**5,) * 4, (300, 300)])
def test_too_many_windows_are_refused_before_they_are_made(shape):
    with pytest.raises(InputError, match="windows, more than 20000000: take fewer sizes"):
        make_boxes(shape)


def test_a_larger_limit_is_the_remedy():
    with pytest.raises(InputError, match=r"529 windows, more than 528.*--max-windows"):
        make_boxes((28, 28), "6x6", max_windows=528)
    assert make_boxes((28, 28), "6x6,6x6", max_windows=529).count == 529


def test_a_window_of_another_size_has_no_number():
    boxes = make_boxes((8, 8), "2x2")
    with pytest.raises(InputError, match="size 3x3 is not among those searched"):
        boxes.number(Window((0, 0), (3, 3)))
    assert np.array_equal(boxes.first, [0, 49])
