"""The closed form of the plain pair against worked numbers and against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_numbers import CURVE, FIVE_BINS, FLAT, TWELVE_BINS, inject_known, inject_pair, square
from scipy.optimize import minimize_scalar

from ddphf.exceptions import FitError
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.statistics.background import profile_background


def test_five_bins():
    pair = PlainPair.of(*(FIVE_BINS[k] for k in ("tested", "partner", "signal")))
    fit = pair.fit()
    assert fit.mu == pytest.approx(17.175037, abs=1e-6)
    assert fit.z0 == pytest.approx(2.226236, abs=1e-6)
    assert fit.error == pytest.approx(7.979290, abs=1e-6)
    assert fit.background == pytest.approx([14.017643, 29.794351, 3.5, 0, 63.600488], abs=1e-6)
    assert pair.at(0.0).twice_nll(constants=False) == pytest.approx(-1279.539753, abs=1e-6)
    assert pair.at(fit.mu).twice_nll(constants=False) == pytest.approx(-1284.495880, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "mu", "z", "error"),
    [
        ({}, 39.389883, 1.300920, 30.286050),
        ({"known_background": TWELVE_BINS["known"]}, 37.453363, 1.776960, None),
        ({"ratio": 0.9}, 83.381272, 2.896564, None),  # Newton with 40 digits: 83.38127155
    ],
)
def test_twelve_bins(options, mu, z, error):
    data = (TWELVE_BINS[k] for k in ("tested", "partner", "signal"))
    fit = PlainPair.of(*data, **options).fit()
    assert fit.mu == pytest.approx(mu, abs=1e-6)
    assert fit.z0 == pytest.approx(z, abs=1e-6)
    if error is not None:
        assert fit.error == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("level", FLAT)
def test_flat_backgrounds(level):
    known, pair_mu, excess, deficit = FLAT[level]
    background, signal = np.full(784, level), square(6)
    mu = inject_known(background, signal, 5.0)
    assert mu == pytest.approx(known, abs=1e-6)
    assert inject_pair(background, signal, 5.0) == pytest.approx(pair_mu, abs=1e-6)
    up = PlainPair.of(background + mu * signal, background, signal)
    down = PlainPair.of(background - mu * signal, background, signal)
    assert up.fit().z0 == pytest.approx(excess, abs=1e-6)
    assert down.fit().z0 == pytest.approx(deficit, abs=1e-6)
    l1 = PlainPair.of(background + mu * signal, background, signal, known_background=background)
    assert l1.fit().z0 == pytest.approx(5.0, abs=1e-6)


@pytest.mark.parametrize("z_known", CURVE)
def test_curve_of_known_against_measured_background(z_known):
    background, signal = np.full(784, 1e4), square(6)
    mu = inject_known(background, signal, z_known)
    fit = PlainPair.of(background + mu * signal, background, signal).fit()
    assert fit.z0 == pytest.approx(CURVE[z_known], abs=1e-6)


counts = st.integers(0, 40).map(float)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    counts, counts, st.floats(0.3, 3.0), st.floats(-5, 20), st.floats(-5, 20)
)  # fmt: skip
def test_profiled_background_beats_every_other(tested, partner, ratio, c_tested, c_partner):
    """The quadratic's root is the bounded maximum that a blind scan finds."""
    args = [np.array([x]) for x in (tested, partner, ratio, c_tested, c_partner)]
    b = float(profile_background(*args)[0])
    low = max(0.0, -c_partner, -c_tested / ratio)
    assert b >= low

    def nll(x):
        rates = np.array([ratio * x + c_tested, x + c_partner])
        data = np.array([tested, partner])
        rates = np.where(np.abs(rates) < 1e-12, 0.0, rates)
        if np.any(rates < 0) or np.any((rates == 0) & (data > 0)):
            return np.inf
        return float(np.sum(rates - data * np.log(np.where(data > 0, rates, 1.0))))

    scan = minimize_scalar(nll, bounds=(low, low + 200), method="bounded", options={"xatol": 1e-9})
    assert nll(b) <= min(scan.fun, nll(low + 1e-9)) + 1e-9


def test_empty_bins_hold_mu_at_exactly_zero():
    """Bins (0, 0) make a kink at mu = 0: the score jumps from +S/r to -S."""
    pair = PlainPair.of([0, 0, 1], [0, 0, 1], [1.0, 1.0, 1.0])
    fit = pair.fit()
    assert fit.mu == 0.0
    assert fit.at_kink
    assert (fit.q0, fit.z0) == (0.0, 0.0)
    assert pair.at(1e-9).score < 0 < pair.at(-1e-9).score


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("level", [0.5, 2.0, 5.0])
def test_low_counts_against_a_scan(level, seed):
    """No point of a fine scan is above the maximum that the fit reports."""
    rng = np.random.default_rng([seed, int(10 * level)])
    pair = PlainPair.of(
        rng.poisson(level, 36), rng.poisson(level, 36), rng.uniform(0, 0.1, 36),
        ratio=rng.uniform(0.6, 1.5, 36), fakes_tested=rng.uniform(0, 1, 36) * (seed % 2),
    )  # fmt: skip
    fit = pair.fit()
    assert all(np.all(rate >= 0) for rate in (pair.at(fit.mu).tested, pair.at(fit.mu).partner))
    grid = fit.mu + np.concatenate([np.linspace(-30, 30, 601), [0.0], 1e-6 * np.arange(-5, 6)])
    assert fit.twice_nll <= min(pair.at(mu).twice_nll() for mu in grid) + 1e-10


def test_without_signal_it_refuses():
    with pytest.raises(FitError, match="signal template is zero"):
        PlainPair.of([1, 2], [1, 2], [0.0, 0.0]).fit()
