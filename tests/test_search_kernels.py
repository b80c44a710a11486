"""Both kernels against sums in double precision, window by window."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import null_pair

from ddphf.exceptions import InputError
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.kernels import KERNELS, Scanner, choose_kernel
from ddphf.search.nuisances import Nuisances
from ddphf.search.table import make_table

HERE = [k for k in KERNELS if k == "numpy" or importlib.util.find_spec("numba") is not None]


def make(shape, *, own, windows="all"):
    """Return a table with one scale per size, or one per window and some left out."""
    boxes = make_boxes(shape, windows)
    if not own:
        return make_table(boxes)
    tested, partner = null_pair(5, 0.6, shape=shape)
    nuisances = Nuisances.make(shape, ratio=[0.3], free=True)
    table = make_table(boxes, make_field(tested, partner, nuisances=nuisances))
    assert table.n_empty > 0
    return table


def every_z(table, fields):
    """Return Z of each window and field, and each window's size."""
    n = fields.shape[1]
    boxes, z = table.boxes, np.empty((table.boxes.count, fields.shape[1]))
    bins = fields.astype(float).reshape(*boxes.shape, n)
    for i in range(boxes.count):
        z[i] = bins[boxes.window(i).slices].reshape(-1, n).sum(axis=0)
    z *= table.scale(np.arange(boxes.count))[:, None]
    kinds = np.searchsorted(boxes.first, np.arange(boxes.count), side="right") - 1
    return z, kinds


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize("direction", ["excess", "deficit", "both"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shape", [(9,), (5, 7), (3, 4, 2), (2, 3, 2, 4)])
def test_largest_window_and_weight_above(kernel, shape, own, direction):
    table, rng = make(shape, own=own), np.random.default_rng(3)
    n = 200  # no multiple of what runs side by side
    fields = rng.standard_normal((int(np.prod(shape)), n)).astype(np.float32)
    weights = rng.random(len(table.boxes.sizes))
    z, kinds = every_z(table, fields)
    z = {"excess": z, "deficit": -z, "both": np.abs(z)}[direction]
    scanner = Scanner(table, direction, kernel)
    assert scanner.kernel == kernel
    np.testing.assert_allclose(scanner.largest(fields), np.nanmax(z, axis=0), rtol=1e-5)
    # A threshold that no window is close to: single precision may not decide.
    threshold = 1.0
    assert np.nanmin(np.abs(z - threshold)) > 1e-6
    above = np.sum((z >= threshold) * weights[kinds][:, None], axis=0)
    np.testing.assert_allclose(scanner.above(fields, threshold, weights), above, rtol=1e-12)


@pytest.mark.parametrize("windows", ["6x6,2x3,2x8,28x1", "ladder", "squares", "all"])
def test_kernels_agree_on_any_sizes(windows):
    pytest.importorskip("numba")
    table, rng = make_table(make_boxes((28, 28), windows)), np.random.default_rng(4)
    fields = rng.standard_normal((784, 256)).astype(np.float32)
    one, other = (Scanner(table, kernel=k) for k in KERNELS)
    np.testing.assert_allclose(one.largest(fields), other.largest(fields), rtol=1e-5)


@pytest.mark.parametrize("kernel", HERE)
def test_a_window_left_out_is_not_the_largest(kernel):
    """All that are left are below 0: what is empty must not win with its 0."""
    field = make_field([[4.0, 0.0, 0.0]], [[9.0, 0.0, 0.0]])
    table = make_table(make_boxes((1, 3)), field)
    assert table.n_empty == 3
    fields = np.array([[-1.0], [0.0], [0.0]], dtype=np.float32)
    assert Scanner(table, kernel=kernel).largest(fields).tolist() == [-1.0]


@pytest.mark.parametrize("kernel", HERE)
def test_a_field_has_the_same_bits_in_any_company(kernel):
    table, rng = make((5, 7), own=True), np.random.default_rng(6)
    fields = rng.standard_normal((35, 300)).astype(np.float32)
    scanner = Scanner(table, kernel=kernel)
    whole = scanner.largest(fields)
    for some in (slice(0, 1), slice(7, 140), slice(128, 300)):
        assert np.array_equal(scanner.largest(fields[:, some]), whole[some])


@pytest.mark.parametrize("kernel", HERE)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.permutations([0, 1, 2]), st.floats(0.01, 100))
def test_axes_may_be_exchanged_and_fields_scaled(kernel, seed, order, factor):
    shape = (3, 2, 4)
    fields = np.random.default_rng(seed).standard_normal((*shape, 3)).astype(np.float32)
    turned = (np.float32(factor) * fields).transpose(*order, 3)[::-1]
    found, other = (
        Scanner(make_table(make_boxes(f.shape[:-1])), "both", kernel).largest(f.reshape(24, 3))
        for f in (fields, turned)
    )
    np.testing.assert_allclose(other, factor * found, rtol=1e-5)


def test_kernels_that_are_none_are_refused():
    with pytest.raises(InputError, match="kernel 'fortran' is unknown; expected auto, numba or"):
        choose_kernel("fortran")


def test_without_numba_the_numpy_path_is_whole(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_kernel() == "numpy"
    with pytest.raises(InputError, match=r"not installed; pip install 'ddphf\[fast\]'"):
        choose_kernel("numba")
