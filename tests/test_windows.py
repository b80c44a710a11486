"""Windows of N_sigma: worked numbers, positions against brute force, published trial factors."""

import itertools

import numpy as np
import pytest
from reference_numbers import FLAT, square
from scipy.stats import norm

from ddphf.exceptions import InputError
from ddphf.search.trials import global_p_value
from ddphf.statistics.n_sigma import n_sigma, n_sigma_terms
from ddphf.statistics.windows import (
    Window,
    all_squares,
    centred_windows,
    find_best_window,
    scan_positions,
)


def flat_terms(level=1e4):
    background = np.full((28, 28), level)
    return n_sigma_terms(background + FLAT[level][0] * square(6).reshape(28, 28), background)


def test_centred_windows_worked_out():
    terms = flat_terms()
    windows = centred_windows((28, 28), range(2, 29, 2))
    found = [float(n_sigma(terms, w.slices)) for w in windows]
    assert found[:5] == pytest.approx([1.177693, 2.355385, 3.533078, 2.649808, 2.119847], abs=1e-6)
    s = FLAT[1e4][0] / 36
    closed = [min(k, 36 / k) * s / np.sqrt(2e4 + s) for k in range(2, 29, 2)]
    assert found == pytest.approx(closed, rel=1e-12)


def test_centre_may_be_moved_and_stays_inside():
    near_edge, middle = centred_windows((10, 10), [4, 3], centre=(1.0, 5.0))
    assert near_edge == Window((0, 3), (4, 4))
    assert middle == Window((0, 3), (3, 3))


@pytest.mark.parametrize(
    ("shape", "size"), [((9,), (4,)), ((6, 5), (2, 5)), ((5, 4, 3), (3, 1, 2))]
)
def test_positions_against_brute_force(shape, size):
    rng = np.random.default_rng(3)
    terms = rng.normal(size=(7, *shape))
    values = scan_positions(terms, size)
    assert values.shape == (7, *(n - k + 1 for n, k in zip(shape, size, strict=True)))
    for start in itertools.product(*(range(n) for n in values.shape[1:])):
        expected = n_sigma(terms, Window(start, size).slices, n_axes=len(shape))
        np.testing.assert_allclose(values[(slice(None), *start)], expected, atol=1e-12)


def test_best_window_is_the_signal():
    best = find_best_window(flat_terms(), all_squares((28, 28)))
    assert best.window == Window((11, 11), (6, 6))
    assert best.n_sigma == pytest.approx(3.533078, abs=1e-6)
    assert best.n_windows == 7714
    assert best.p_local == pytest.approx(norm.sf(3.533078), rel=1e-5)


@pytest.mark.parametrize(("z", "p", "error"), [(5.0, 1.1696e-4, 0.0032e-4), (2.74, 0.431, 0.003)])
def test_trial_factors_of_one_size(z, p, error):
    found = global_p_value(z, (28, 28), [(6, 6)], n_samples=8000, seed=1)
    assert found.n_windows == 529
    assert found.error < 0.02 * p
    assert found.p == pytest.approx(p, abs=4 * np.hypot(error, found.error))
    assert found.z == pytest.approx(norm.isf(found.p))


def test_trial_factor_of_all_squares():
    found = global_p_value(5.0, (28, 28), all_squares((28, 28)), n_samples=2000, seed=1)
    assert found.n_windows == 7714
    assert found.p == pytest.approx(1.172e-3, abs=4 * np.hypot(0.013e-3, found.error))
    assert found.z == pytest.approx(3.043, abs=0.03)


def test_trial_factor_holds_for_counts():
    """Null pairs of Poisson counts, 25 per bin: their windows reach 2.74 as often."""
    rng = np.random.default_rng(8)
    n, largest = 2000, []
    for _ in range(4):
        b, a = rng.poisson(25.0, (2, n // 4, 28, 28))
        largest.append(scan_positions(n_sigma_terms(b, a), (6, 6)).max(axis=(1, 2)))
    fraction = np.mean(np.concatenate(largest) >= 2.74)
    expected = global_p_value(2.74, (28, 28), [(6, 6)], n_samples=8000, seed=2)
    band = 4 * np.hypot(np.sqrt(0.431 * 0.569 / n), expected.error)
    assert fraction == pytest.approx(expected.p, abs=band)


def largest_windows(tested, partner, sizes, ratio):
    terms = n_sigma_terms(tested, partner, ratio=ratio)
    return np.max([scan_positions(terms, s).max(axis=(1, 2)) for s in sizes], axis=0)


def test_trial_factor_is_too_small_for_another_ratio():
    """Skew terms, r = .5 and 25 events: the best square reaches 4 half again as often."""
    rng, sizes = np.random.default_rng(4), list(all_squares((28, 28)))
    largest = []
    for _ in range(12):
        tested, partner = rng.poisson(12.5, (250, 28, 28)), rng.poisson(25, (250, 28, 28))
        largest.append(largest_windows(tested, partner, sizes, 0.5))
    fraction = np.mean(np.concatenate(largest) >= 4)
    expected = global_p_value(4.0, (28, 28), sizes, n_samples=1000, seed=2)
    error = np.hypot(np.sqrt(fraction / 3000), expected.error)
    assert fraction / expected.p == pytest.approx(1.55, abs=4 * error / expected.p)
    assert fraction > expected.p + 4 * error


@pytest.mark.parametrize(("events", "fraction"), [(100, 0.117), (1e4, 0.434)])
def test_an_error_of_the_ratio_makes_global_p_meaningless(events, fraction):
    rng, sizes = np.random.default_rng(5), list(all_squares((28, 28)))
    counts = rng.poisson(events, (2, 400, 28, 28))
    off = 1 + 0.01 * rng.standard_normal((400, 1, 1))
    # 4.151 is the 95 % quantile of the best square of Gaussian fields.
    assert global_p_value(4.151, (28, 28), sizes, n_samples=4000).p == pytest.approx(
        0.05, abs=0.005
    )
    found = np.mean(largest_windows(*counts, sizes, off) >= 4.151)
    assert found == pytest.approx(fraction, abs=4 * np.sqrt(fraction * (1 - fraction) / 400))


def test_one_window_has_no_trial_factor():
    found = global_p_value(3.0, (4, 4), [(4, 4)], n_samples=10)
    assert found.p == pytest.approx(norm.sf(3.0), rel=1e-12)
    assert found.error == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: centred_windows((8, 8), [9]),
        lambda: centred_windows((8, 8), [0]),
        lambda: scan_positions(np.zeros((8, 8)), (2, 9)),
        lambda: find_best_window(np.zeros((8, 8)), [(9, 2)]),
        lambda: Window((-1, 0), (2, 2)).check((8, 8)),
        lambda: Window((7, 0), (2, 2)).check((8, 8)),
    ],
)
def test_windows_outside_are_refused(call):
    with pytest.raises(InputError, match=r"window: starts at bin .* outside the histogram"):
        call()


def test_windows_of_other_axes_are_refused():
    with pytest.raises(InputError, match=r"size 2x2x2 has 3 number\(s\), and the histogram 2 axes"):
        global_p_value(3.0, (8, 8), [(2, 2, 2)])


def test_a_size_given_twice_counts_once():
    sizes = [(6, 6), (2, 3), (6, 6)]
    assert find_best_window(flat_terms(), sizes) == find_best_window(flat_terms(), sizes[:2])
    assert global_p_value(4.0, (9, 9), sizes, n_samples=256) == global_p_value(
        4.0, (9, 9), sizes[1:], n_samples=256
    )


def test_what_many_windows_reach_is_no_certainty():
    """It was p = 1.0 +- .044 and z = -inf."""
    found = global_p_value(3.0, (28, 28), itertools.product(range(1, 29), repeat=2), seed=3)
    assert found.method == "counted"
    assert found.p == pytest.approx(0.996475, abs=4 * np.hypot(94e-6, found.error))
    assert found.error < 1e-3
    everywhere = global_p_value(-1.0, (9, 9), [(2, 2)], n_samples=1000)
    assert (everywhere.p, everywhere.z) == (1.0, None)
    assert 0 < everywhere.error < 2e-3


def test_nothing_to_scan_is_refused():
    with pytest.raises(InputError, match="no size given"):
        find_best_window(np.zeros((8, 8)), [])
    with pytest.raises(InputError, match="0 samples of 1 window sizes"):
        global_p_value(3.0, (8, 8), [(2, 2)], n_samples=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: centred_windows((8, 8), [2.5]), "2.5 bins along an axis, expected a whole number"),
        (lambda: centred_windows((8, 8), [2], centre=(1.0,)), "is no point of 2 axes"),
        (lambda: centred_windows((8, 8), [2], centre=(1.0, np.nan)), "is no point of 2 axes"),
        (lambda: find_best_window(np.zeros((3, 8, 8)), [(2, 2)]), "outside the histogram"),
        (lambda: global_p_value(np.nan, (8, 8), [(2, 2)]), "local Z = nan"),
        (lambda: global_p_value(40.0, (8, 8), [(2, 2)]), "local Z = 40, expected a number of at"),
    ],
)
def test_windows_that_mean_nothing_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
