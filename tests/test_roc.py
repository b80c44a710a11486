"""ROC curves: the area against counting pairs, and its error against repetition."""

import numpy as np
import pytest
from scipy.stats import norm

from ddphf.exceptions import InputError
from ddphf.statistics.roc import make_roc


def count_pairs(null, signal):
    """The area by its definition."""
    greater = signal[:, None] > null
    return np.mean(greater + 0.5 * (signal[:, None] == null))


@pytest.mark.parametrize("ties", [False, True])
def test_area_against_counting(ties):
    rng = np.random.default_rng(5)
    null, signal = rng.normal(size=300), rng.normal(1.0, 1.2, size=200)
    if ties:
        null, signal = np.round(null), np.round(signal)
    roc = make_roc(null, signal)
    assert roc.auc == pytest.approx(count_pairs(null, signal), abs=1e-12)


@pytest.mark.parametrize(("z", "auc"), [(5.0, 0.999797), (3.53, 0.993721), (2.74, 0.973656)])
def test_unit_gaussians(z, auc):
    rng = np.random.default_rng(6)
    roc = make_roc(rng.normal(size=20_000), rng.normal(z, 1.0, size=20_000))
    assert roc.auc == pytest.approx(auc, abs=4 * roc.auc_error)
    assert roc.auc == pytest.approx(norm.cdf(z / np.sqrt(2)), abs=4 * roc.auc_error)


@pytest.mark.parametrize("paired", [False, True])
def test_error_is_the_spread_of_repetitions(paired):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(400):
        null = rng.normal(size=200)
        signal = null + 1.5 + 0.3 * rng.normal(size=200) if paired else rng.normal(1.5, 1, size=200)
        found.append(make_roc(null, signal, paired=paired))
    spread = np.std([roc.auc for roc in found])
    # The spread of 400 is known to 3.5 %.
    assert np.mean([roc.auc_error for roc in found]) == pytest.approx(spread, rel=0.15)


def test_curve_is_monotonic_and_integrates_to_the_area():
    rng = np.random.default_rng(9)
    roc = make_roc(rng.normal(size=5000), rng.normal(2.0, 1.0, size=5000), points=600)
    x, y = np.array(roc.background), np.array(roc.signal)
    assert np.all(np.diff(x) <= 0)
    assert np.all(np.diff(y) <= 0)
    assert (x[0], y[0], x[-1], y[-1]) == (1.0, 1.0, 0.0, 0.0)
    assert np.trapezoid(y[::-1], x[::-1]) == pytest.approx(roc.auc, abs=1e-3)


def test_perfect_separation_has_an_error():
    roc = make_roc(np.arange(100.0), np.arange(100.0) + 1000)
    assert (roc.auc, roc.auc_error) == (1.0, pytest.approx(0.03))


def test_refusals():
    with pytest.raises(InputError, match="ensembles of 1 and 5 values"):
        make_roc(np.zeros(1), np.zeros(5))
    with pytest.raises(InputError, match="equally many"):
        make_roc(np.zeros(4), np.zeros(5), paired=True)
    with pytest.raises(InputError, match="not finite"):
        make_roc(np.array([0.0, np.nan]), np.zeros(5))
