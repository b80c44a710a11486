"""The error matrix of a pair as an array, and statistics of the user's own with their null."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from ddphf import Channel, Pair, compare_statistic, draw_pairs, error_matrix
from ddphf.exceptions import InputError
from ddphf.search.error_matrix import whole_statistic
from ddphf.search.field import make_field
from ddphf.search.nuisances import Nuisances


def draw_pair(seed, size=(6, 4), ratio=0.8, mean=30.0):
    rng = np.random.default_rng(seed)
    return make_field(rng.poisson(ratio * mean, size), rng.poisson(mean, size), ratio=ratio)


def test_the_error_matrix_of_a_pair_is_the_normalised_difference():
    tested, partner = np.array([[130.0, 0.0], [80.0, 7.0]]), np.array([[100.0, 0.0], [90.0, 1.0]])
    found = error_matrix(Pair(Channel("b", tested), Channel("a", partner), efficiency_ratio=0.9))
    total = np.where(tested + partner > 0, tested + partner, 1.0)
    np.testing.assert_allclose(found, (tested - 0.9 * partner) / np.sqrt(0.9 * total), rtol=1e-12)


def test_matrices_without_a_signal_have_mean_0_and_variance_1():
    drawn = draw_pairs(draw_pair(1), 20_000, seed=2)
    assert drawn.matrices.shape == (20_000, 6, 4)
    np.testing.assert_allclose(drawn.matrices.mean(axis=0), 0, atol=5 / np.sqrt(20_000))
    np.testing.assert_allclose(drawn.matrices.var(axis=0), 1, atol=5 * np.sqrt(2 / 20_000))


def test_a_pair_is_the_same_in_whatever_pieces_it_is_drawn():
    field = draw_pair(1)
    whole = draw_pairs(field, 300, seed=4).tested
    parts = [
        draw_pairs(field, 128, seed=4).tested,
        draw_pairs(field, 172, seed=4, first=128).tested,
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    with pytest.raises(InputError, match="expected a multiple of 128"):
        draw_pairs(field, 5, seed=4, first=100)


def test_nuisances_are_drawn_and_profiled():
    rng = np.random.default_rng(3)
    nuisances = Nuisances.make((6, 4), ratio=np.full((1, 6, 4), 0.1))
    counts = rng.poisson(200.0, (2, 6, 4))
    field = make_field(*counts, nuisances=nuisances)
    drawn = draw_pairs(field, 20_000, seed=5)
    flat = drawn.matrices.reshape(20_000, 24)
    g = field.profile.pulls
    want = np.eye(24) - g @ np.linalg.inv(np.eye(1) + g.T @ g) @ g.T
    np.testing.assert_allclose(np.cov(flat.T), want, atol=0.05)


@pytest.mark.parametrize("statistic", ["t", "chi2", "g"])
def test_p_values_are_uniform(statistic):
    found = [
        compare_statistic(draw_pair(seed), statistic, samples=255, seed=seed)["p"]
        for seed in range(150)
    ]
    assert kstest(found, "uniform").pvalue > 1e-3


def test_p_of_the_kolmogorov_distance_is_uniform():
    found = [
        compare_statistic(draw_pair(seed, (20,)), "ks", samples=255, seed=seed)["p"]
        for seed in range(150)
    ]
    assert kstest(found, "uniform").pvalue > 1e-3


def test_chi2_of_many_events_is_that_of_the_table():
    field = draw_pair(7, mean=3000.0)
    found = compare_statistic(field, "chi2", samples=4000, seed=1)
    want = chi2.sf(found["value"], 24)
    assert found["p"] == pytest.approx(want, abs=4 * np.sqrt(want * (1 - want) / 4000))


def test_a_function_of_the_user_gets_its_own_null():
    def largest(matrices):
        return matrices.max(axis=(1, 2))

    field = draw_pair(9)
    found = compare_statistic(field, largest, samples=2000, seed=1)
    drawn = largest(draw_pairs(field, 2000, seed=1).matrices)
    assert found["statistic"] == "largest"
    assert found["p"] == pytest.approx((np.sum(drawn >= found["value"] - 1e-4) + 1) / 2001)
    with pytest.raises(InputError, match=r"statistic all: returned an array of shape"):
        compare_statistic(field, all_of, samples=200)


def all_of(matrices):
    return matrices


all_of.__name__ = "all"


def test_ties_of_a_small_statistic_are_not_its_size():
    # A KS distance of many events is 1e-4, and a statistic of the user's may be of any size.
    field = draw_pair(11, (8,), mean=5e6)
    drawn = draw_pairs(field, 2000, seed=1)
    value, values = whole_statistic(field, "ks"), whole_statistic(field, "ks", drawn)
    assert value < 1e-3
    want = (np.sum(values >= value) + 1) / 2001
    assert compare_statistic(field, "ks", samples=2000, seed=1)["p"] == want

    def tiny(matrices):
        return 1e-6 * matrices.max(axis=1)

    def large(matrices):
        return 1e6 * matrices.max(axis=1)

    one, two = (compare_statistic(field, s, samples=2000, seed=1)["p"] for s in (tiny, large))
    assert one == two


def test_a_statistic_that_is_no_number_is_refused():
    def broken(matrices):
        return np.full(len(matrices), np.nan)

    with pytest.raises(InputError, match="statistic broken: returned nan for an error matrix"):
        compare_statistic(draw_pair(1), broken, samples=200)


def test_what_cannot_be_flipped_is_refused():
    with pytest.raises(InputError, match=r"holds 2\.5, no whole number"):
        draw_pairs(make_field([2.5, 3.0], [1.0, 2.0]), 10, seed=1)
    with pytest.raises(InputError, match="2 axes, and cumulative shares need one"):
        whole_statistic(draw_pair(1), "ks")
    with pytest.raises(InputError, match="one or more"):
        compare_statistic(draw_pair(1), "t", samples=0)
