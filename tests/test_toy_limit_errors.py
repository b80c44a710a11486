"""Errors of limits by toys against a closed form: x is normal around mu with a width of 1."""

import numpy as np
import pytest
from scipy.stats import norm

from ddphf.inference.limits.bootstrap import crossings_of_toys
from ddphf.inference.limits.toy_cls import value_and_error

LEVEL = 0.95
DATA = 0.7
OUTCOMES = np.array([DATA, -2.0, -1.0, 0.0, 1.0, 2.0])
"""x of the data and of the bands."""


def exact_limits():
    """CLs = Phi(x - mu) / Phi(x)."""
    return OUTCOMES - norm.ppf((1 - LEVEL) * norm.cdf(OUTCOMES))


def q_tilde(x, mu):
    return np.where(x > mu, 0.0, np.where(x < 0, mu * (mu - 2 * x), (x - mu) ** 2))


def points():
    """As the product puts them: at the bands, between, around them and the data's."""
    observed, *bands = exact_limits()
    middle = (np.array(bands[1:]) + bands[:-1]) / 2
    ends = bands[0] * np.array([0.5, 0.7, 0.85]), bands[-1] * np.array([1.15, 1.3])
    near = observed * np.array([0.84, 0.95, 1.06, 1.2])
    return np.unique(np.concatenate([*ends, bands, middle, near]))


def pulls(n, seeds, exponent=1.0):
    """Pulls of the data's limit and the bands' from the closed form, shape (seeds, 6)."""
    mu, exact = points(), exact_limits()
    shapes = (norm.cdf(OUTCOMES[:, None] - mu) / norm.cdf(OUTCOMES)[:, None]) ** exponent
    out = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n)
        background = [q_tilde(x, m) for m in mu]
        signal = [q_tilde(rng.normal(size=n) + m, m) for m in mu]
        found = crossings_of_toys(mu, q_tilde(DATA, mu), background, signal, shapes, 1 - LEVEL, rng)
        bands = found.limits[1:, 0]
        assert np.all(np.diff(bands[np.isfinite(bands)]) >= 0)
        values, errors = zip(*map(value_and_error, found.limits), strict=True)
        out.append((np.array(values, dtype=float) - exact) / np.array(errors, dtype=float))
    return np.array(out)


@pytest.mark.parametrize("exponent", [1.0, 0.8])
def test_errors_of_limits_hold_where_the_truth_is_known(exponent):
    """Also where the asymptotic CLs that the points are joined with is wrong."""
    found = pulls(2000, range(40), exponent)
    assert np.all(np.isfinite(found).mean(axis=0) > 0.9)
    rms = np.sqrt(np.nanmean(found**2, axis=0))
    assert np.all(np.abs(rms - 1) < 3 / np.sqrt(2 * 40))
    # The six share toys: as many as two independent ones.
    assert np.sqrt(np.nanmean(found**2)) == pytest.approx(1.0, abs=3 / np.sqrt(2 * 80))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2000, 5000])
def test_errors_of_limits_hold_within_fifteen_percent(n):
    """An rms of 120 has an error of .065."""
    found = pulls(n, range(120))
    rms = np.sqrt(np.nanmean(found**2, axis=0))
    print("pull rms of the data's limit, -2 to +2 sigma:", np.round(rms, 3))
    assert np.all(np.abs(rms - 1) < 0.15)
