"""Chunks of work, and whose random numbers are whose."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddphf.compute.blocks import run_blocks
from ddphf.compute.chunks import chunks_of
from ddphf.compute.streams import (
    INTERVALS,
    LIMITS,
    OWNERS,
    block_generator,
    generator,
    seed_of_part,
)
from ddphf.exceptions import UsageError


def test_no_toy_number_has_two_owners():
    for owner in OWNERS:
        assert (owner.end - owner.first) % owner.ensemble == 0
    for one, next_one in itertools.pairwise(OWNERS):
        assert one.end <= next_one.first


def test_numbers_of_published_toys_stay():
    """A record's toys are drawn again by others: the ranges and the generators are a contract."""
    starts = [owner.start(0, 1) for owner in OWNERS]
    assert starts == [0, *(1 << power for power in (40, 42, 44, 46, 48, 50, 52, 54, 56))]
    assert LIMITS.start(3, 10) == (1 << 44) + (3 << 32)
    assert block_generator(1, 0).poisson(100.0, 4).tolist() == [105, 91, 105, 100]
    assert generator(1).integers(1000, size=3).tolist() == [473, 511, 755]
    assert seed_of_part(1, 2) == int(np.random.SeedSequence([1, 2]).generate_state(1)[0])


@pytest.mark.parametrize(("which", "n"), [(1 << 16, 10), (0, (1 << 32) + 1), (-1, 10)])
def test_ensembles_beyond_the_range_are_refused(which, n):
    """A scan of thousands of hypotheses must not run into the numbers of the next owner unseen."""
    for owner in (LIMITS, INTERVALS):
        with pytest.raises(UsageError, match=f"toys of {owner.name}: ensemble"):
            owner.start(which, n)


@given(st.integers(0, 60), st.integers(1, 9))
def test_chunks_hold_every_number_once(n, size):
    assert [int(i) for chunk in chunks_of(n, size) for i in chunk] == list(range(n))


def test_what_work_raises_ends_the_work():
    class Failing:
        def make(self):
            return lambda block: 1 // (6 - block)

    pieces = run_blocks(Failing(), range(40))
    with pytest.raises(ZeroDivisionError):
        list(pieces)
