"""Labels given events: closed forms of the symmetrised test, probabilities, refusals."""

import itertools

import numpy as np
import pytest
from scipy.stats import chi2

from ddphf.exceptions import InputError
from ddphf.learning.change_points import change_point_supremum
from ddphf.learning.labels import make_labels, saturated_t

A, B = [100, 80, 60, 40], [130, 70, 66, 52]
PI = np.array([0.52, 0.50, 0.48, 0.55])


def test_four_bins_without_efficiencies():
    t_a, t_b, rho = saturated_t(B, A)
    assert t_a == pytest.approx(2.104223, abs=1e-6)
    assert t_b == pytest.approx(1.926319, abs=1e-6)
    assert t_a + t_b == pytest.approx(4.030542, abs=1e-6)
    assert chi2.sf(t_a + t_b, 3) == pytest.approx(0.258185, abs=1e-6)
    assert rho == pytest.approx(sum(B) / sum(A), abs=1e-9)


def test_four_bins_with_efficiencies():
    t_a, t_b, _ = saturated_t(B, A, PI / (1 - PI))
    assert t_a == pytest.approx(1.331992, abs=1e-6)
    assert t_b == pytest.approx(1.261793, abs=1e-6)
    assert t_a + t_b == pytest.approx(2.593784, abs=1e-6)
    assert chi2.sf(t_a + t_b, 3) == pytest.approx(0.458580, abs=1e-6)


def test_the_saturated_test_is_that_of_binary_cross_entropy():
    """Sums of -2 ln L of the labels, event by event."""
    t_a, t_b, rho = saturated_t(B, A, PI / (1 - PI))
    n = np.add(A, B)
    odds = rho * PI / (1 - PI)
    pi, h = odds / (1 + odds), np.divide(B, n)
    t = 2 * np.sum(A * np.log((1 - h) / (1 - pi)) + B * np.log(h / pi))
    assert t_a + t_b == pytest.approx(t, abs=1e-9)


def test_labels_are_those_of_the_formula():
    rng = np.random.default_rng(1)
    n = 400
    eps_a, eps_b = rng.uniform(0.4, 0.9, (2, n))
    k_a, k_b = rng.uniform(0.0, 0.2, (2, n))
    tested = rng.random(n) < 0.4
    labels = make_labels(tested, eps_b / eps_a, fakes_tested=k_b, fakes_partner=k_a)
    s = labels.rho * eps_b / (labels.rho * eps_b + eps_a)
    assert np.allclose(labels.share, s * (1 - k_a - k_b) + k_b, rtol=0, atol=1e-12)
    assert labels.share.sum() == pytest.approx(tested.sum(), abs=1e-8)
    step = 1e-5
    up, down = (
        labels.rho * np.exp(h) * eps_b / (labels.rho * np.exp(h) * eps_b + eps_a)
        for h in (step, -step)
    )
    slope = (up - down) / (2 * step) * (1 - k_a - k_b)
    assert np.allclose(labels.slope, slope, rtol=0, atol=1e-9)


def test_the_two_samples_exchanged_have_the_other_probabilities():
    rng = np.random.default_rng(2)
    r, y = rng.uniform(0.5, 2.0, 100), rng.random(100) < 0.3
    one, two = make_labels(y, r), make_labels(~y, 1 / r)
    assert np.allclose(one.share, 1 - two.share, rtol=0, atol=1e-12)
    assert one.rho == pytest.approx(1 / two.rho, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([True] * 10 + [False] * 9,), {}, "19 events.*expected 20 or more"),
        (([True] * 30,), {}, "30 of them in the tested sample.*some in either"),
        (([True, False] * 15, 0.0), {}, "efficiency ratio of event 0 is 0, expected > 0"),
        (
            ([True, False] * 15,), {"fakes_tested": [1.2] + [0.0] * 29},
            r"outside \(0, 1\): 1.2 and 0 of the events there.*take coarser axes",
        ),
        (
            ([True, False] * 15,), {"fakes_tested": 0.9},
            "15 of 30 events.*27 fakes are expected in it.*correct the fakes",
        ),
    ],
)  # fmt: skip
def test_labels_that_mean_nothing_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        make_labels(*arguments, **options)


def brute_supremum(y, expected, count, steps):
    """Return 2 max over all sets of change points, by trying each."""
    n = len(y)

    def gain(low, high):
        k, e = count[low:high].sum(), expected[low:high].sum()
        return (k * np.log(k / e) if k else 0.0) - k + e

    places = range(1, n)
    cuts = (c for m in range(steps + 1) for c in itertools.combinations(places, m))
    return 2 * max(sum(gain(a, b) for a, b in itertools.pairwise((0, *cut, n))) for cut in cuts)


def test_the_supremum_over_change_points_is_that_of_all_sets():
    rng = np.random.default_rng(3)
    for _ in range(3):
        x, y, pi = rng.random(12), rng.random(12) < 0.5, rng.uniform(0.3, 0.7, 12)
        y[:2] = True, False
        o = np.argsort(x)
        a, b = change_point_supremum(x, y, pi)
        assert a == pytest.approx(brute_supremum(y, (1 - pi)[o], 1.0 * ~y[o], 4), abs=1e-9)
        assert b == pytest.approx(brute_supremum(y, pi[o], 1.0 * y[o], 4), abs=1e-9)


def test_the_supremum_grows_with_the_events():
    """No chi2 is the null of an unpenalised network: 32 of 200 events per sample, 37 of 500."""
    rng = np.random.default_rng(4)
    means = []
    for size in (200, 500):
        found = []
        for _ in range(25):
            y = rng.permutation(np.arange(2 * size) < size)
            found.append(sum(change_point_supremum(rng.random(2 * size), y)))
        means.append(np.mean(found))
    assert means[0] == pytest.approx(31.9, abs=3.0)
    assert means[1] == pytest.approx(37.4, abs=3.0)


def supremum_of_runs(y, segments=5):
    """Return 2 max sum k ln(k / e) of A and of B, by other sums than the program's.

    The best segments end where the label changes: k ln(k / e) is convex in where a run is cut. And
    the terms e - k add up to 0 over all segments. So the search is over runs of equal labels.
    """
    starts = np.concatenate([[0], np.flatnonzero(np.diff(y.astype(int))) + 1, [len(y)]])
    total = 0.0
    for label in (y, ~y):
        k = np.concatenate([[0.0], np.cumsum(label)])[starts]
        best = np.full(len(starts), -np.inf)
        best[0] = 0.0
        highest = -np.inf
        for _ in range(segments):
            longer = np.full(len(starts), -np.inf)
            for j in range(1, len(starts)):
                count, events = k[j] - k[:j], starts[j] - starts[:j]
                ratio = np.maximum(count, 1e-300) / (label.mean() * events)
                longer[j] = np.max(best[:j] + count * np.log(ratio))
            best = longer
            highest = max(highest, best[-1])
        total += 2 * highest
    return total


@pytest.mark.parametrize(("size", "toys"), [(30, 5), (100, 3)])
def test_the_supremum_is_that_of_runs_of_labels(size, toys):
    rng = np.random.default_rng(size)
    for _ in range(toys):
        y = rng.permutation(np.arange(2 * size) < size)
        t = sum(change_point_supremum(np.arange(2.0 * size), y))
        assert t == pytest.approx(supremum_of_runs(y), abs=1e-8)


@pytest.mark.slow
def test_the_supremum_of_2000_events_per_sample():
    """The same of large samples, and its mean, by a third program in 80 toys: 45.8(5)."""
    rng = np.random.default_rng(20)
    found = []
    for number in range(40):
        y = rng.permutation(np.arange(4000) < 2000)
        found.append(sum(change_point_supremum(rng.random(4000), y)) if number else None)
        if not number:
            found[0] = sum(change_point_supremum(np.arange(4000.0), y))
            assert found[0] == pytest.approx(supremum_of_runs(y), abs=1e-7)
    assert np.mean(found) == pytest.approx(45.8, abs=2.5)
