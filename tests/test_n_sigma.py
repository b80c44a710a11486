"""N_sigma: worked numbers, the bias of the plug-in form, and none in the null-variance form."""

import numpy as np
import pytest
from reference_numbers import FLAT, square
from scipy.stats import norm, poisson

from ddphf.exceptions import InputError
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.statistics.n_sigma import exact_p_value, n_sigma, n_sigma_terms


@pytest.mark.parametrize(
    ("level", "window_6x6", "all_bins"),
    [(1e4, 3.533078, 0.757088), (100.0, 3.510919, 0.752340), (25.0, 3.486259, 0.747055)],
)
def test_flat_backgrounds(level, window_6x6, all_bins):
    background = np.full((28, 28), level)
    with_signal = background + FLAT[level][0] * square(6).reshape(28, 28)
    terms = n_sigma_terms(with_signal, background, form="published")
    assert n_sigma(terms, np.s_[11:17, 11:17]) == pytest.approx(window_6x6, abs=1e-6)
    assert n_sigma(terms) == pytest.approx(all_bins, abs=1e-6)
    assert n_sigma_terms(with_signal, background) == pytest.approx(terms, rel=1e-12)


def test_centred_windows():
    background = np.full((28, 28), 1e4)
    terms = n_sigma_terms(background + FLAT[1e4][0] * square(6).reshape(28, 28), background)
    found = []
    for size in (2, 4, 6, 8, 10):
        low = (28 - size) // 2
        found.append(float(n_sigma(terms, np.s_[low : low + size, low : low + size])))
    assert found == pytest.approx([1.177693, 2.355385, 3.533078, 2.649808, 2.119847], abs=1e-6)


def moments(level, ratio, form, fakes=(0.0, 0.0)):
    """Exact mean and variance of one bin's term, summed over the Poisson probabilities."""
    f_b, f_a = fakes
    rate_b, rate_a = ratio * level + f_b, level + f_a
    n = np.arange(int(max(rate_a, rate_b) + 14 * np.sqrt(max(rate_a, rate_b)) + 14))
    b, a = np.meshgrid(n, n, indexing="ij")
    weight = poisson.pmf(b, rate_b) * poisson.pmf(a, rate_a)
    terms = n_sigma_terms(b, a, form=form, ratio=ratio, fakes_tested=f_b, fakes_partner=f_a)
    mean = float((weight * terms).sum())
    return mean, float((weight * terms**2).sum()) - mean**2


@pytest.mark.parametrize(("ratio", "bias"), [(0.9, -0.21592), (0.8, -0.47127), (0.5, -1.65888)])
def test_plug_in_form_is_biased(ratio, bias):
    mean, _ = moments(25.0, ratio, "published")
    assert 28 * mean == pytest.approx(bias, abs=5e-6)


@pytest.mark.parametrize("ratio", [1.0, 0.9, 0.8, 0.5])
def test_null_variance_form_is_exact(ratio):
    mean, variance = moments(25.0, ratio, "null")
    assert mean == pytest.approx(0.0, abs=1e-10)
    assert variance == pytest.approx(1.0, abs=1e-9)


def test_null_variance_form_at_low_counts():
    """The variance is P(A + B > 0) exactly: empty bins contribute nothing."""
    mean, variance = moments(0.5, 1.0, "null")
    assert mean == pytest.approx(0.0, abs=1e-12)
    assert variance == pytest.approx(1 - np.exp(-1.0), abs=1e-12)


def test_terms_have_lighter_tails_than_a_gaussian():
    n = np.arange(110)
    b, a = np.meshgrid(n, n, indexing="ij")
    weight = poisson.pmf(b, 25.0) * poisson.pmf(a, 25.0)
    kurtosis = float((weight * n_sigma_terms(b, a) ** 4).sum()) - 3.0
    assert kurtosis == pytest.approx(-0.040834, abs=1e-6)


@pytest.mark.parametrize("form", ["published", "null"])
def test_it_is_the_score_test_of_the_pair(form):
    """For S ~ sqrt(A + B) the score over its error is N_sigma: signed Z of a weak signal."""
    rng = np.random.default_rng(5)
    a, b = rng.poisson(1e6, (2, 64)).astype(float)
    fit = PlainPair.of(b, a, np.sqrt(a + b)).fit()
    found = float(n_sigma(n_sigma_terms(b, a, form=form)))
    assert abs(found) > 0.1
    # The likelihood ratio differs from the score by one part in sqrt(counts).
    assert fit.z0 == pytest.approx(found, rel=3e-3)


def test_the_difference_over_the_root_of_one_sample_is_another_statistic():
    """sum (A - B)/sqrt(B) is biased by 1/(2 sqrt T) per bin where N_sigma is not."""
    level, n = 400.0, np.arange(200, 620)
    weight = poisson.pmf(n, level)
    bias = float((weight * (level - n) / np.sqrt(n)).sum())
    assert bias == pytest.approx(1 / (2 * np.sqrt(level)), rel=0.01)
    b, a = np.meshgrid(n, n, indexing="ij")
    mean = float((weight[:, None] * weight * n_sigma_terms(b, a)).sum())
    assert mean == pytest.approx(0.0, abs=1e-12)


def test_fakes_leave_a_small_bias():
    plug_in, _ = moments(25.0, 0.8, "published", fakes=(6.0, 3.0))
    null, _ = moments(25.0, 0.8, "null", fakes=(6.0, 3.0))
    assert 28 * plug_in == pytest.approx(-0.567870, abs=1e-6)
    assert 28 * null == pytest.approx(0.001980, abs=1e-6)


def test_sums_of_squared_weights():
    terms = n_sigma_terms(
        [130.0], [100.0], form="published", variance_tested=[260.0], variance_partner=[140.0]
    )
    assert terms == pytest.approx([30 / 20])
    with pytest.raises(InputError, match="null-variance form is for raw counts"):
        n_sigma_terms([1.0], [1.0], variance_tested=[2.0])


def test_weights_may_be_negative_and_their_variance_is_what_counts():
    terms = n_sigma_terms(
        [-2.0, 1.0], [3.0, 1.0], form="published", variance_tested=[9.0, 0.0],
        variance_partner=[16.0, 0.0],
    )  # fmt: skip
    assert terms == pytest.approx([-1.0, 0.0])
    with pytest.raises(InputError, match=r"bin \[1\]: the samples differ by 2 and their variances"):
        n_sigma_terms(
            [1.0, 3.0], [1.0, 1.0], form="published", variance_tested=[1.0, 0.0],
            variance_partner=[1.0, 0.0],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tested": [[3.0, np.nan]]}, r"tested, bin \[0, 1\]: got nan, expected a number >= 0"),
        ({"partner": [[-1.0, 2.0]]}, r"partner, bin \[0, 0\]: got -1, expected a number >= 0"),
        ({"ratio": 0.0}, r"ratio, bin \[0, 0\]: got 0, expected a number > 0"),
        ({"ratio": [[0.9, np.inf]]}, r"ratio, bin \[0, 1\]: got inf, expected a number > 0"),
        ({"ratio": [1.0, 1.0, 1.0]}, r"ratio of shape \(3,\) does not fit bins of shape \(1, 2\)"),
        ({"fakes_tested": -1.0}, r"fakes_tested, bin \[0, 0\]: got -1, expected a number >= 0"),
        ({"form": "nul"}, "form 'nul' is unknown; expected published or null"),
        (
            {"form": "published", "variance_tested": [[1.0, -1.0]]},
            r"variance, bin \[0, 1\]: got -1, expected a number >= 0",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        n_sigma_terms(**{"tested": [[3.0, 4.0]], "partner": [[2.0, 5.0]], **options})


def test_exact_p_value_against_enumeration():
    p, _ = exact_p_value(7, 2, ratio=0.8)
    q = 0.8 / 1.8
    n = 9
    choose = [1, 9, 36, 84, 126, 126, 84, 36, 9, 1]
    assert p == pytest.approx(sum(choose[k] * q**k * (1 - q) ** (n - k) for k in (7, 8, 9)))


def test_exact_p_value_is_never_zero():
    # All of 2000 in one sample: p = 2^-2000 underflows, Z does not. Mills' ratio to 1/Z^4.
    p, z = exact_p_value(2000, 0)
    assert p is None
    log = -0.5 * z**2 - np.log(z * np.sqrt(2 * np.pi)) + np.log1p(-1 / z**2)
    assert log == pytest.approx(-2000 * np.log(2), abs=1e-5)
    assert exact_p_value(0, 5) == (1.0, None)
    # 1 - p carries the digits where p rounds to 1.
    _, z = exact_p_value(1, 100)
    assert z == pytest.approx(norm.ppf(0.5**101), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "ratio", "message"),
    [
        ((8.5, 2), 1.0, "tested is 8.5, expected a whole number"),
        ((8, -1), 1.0, "partner is -1, expected a whole number"),
        ((8, 2), 0.0, "ratio is 0, expected a number > 0"),
        ((8, 2), np.nan, "ratio is nan, expected a number > 0"),
    ],
)
def test_exact_p_value_refuses(arguments, ratio, message):
    with pytest.raises(InputError, match=message):
        exact_p_value(*arguments, ratio=ratio)


def test_windows_outside_are_refused():
    terms = np.zeros((4, 4))
    for window in (np.s_[2:6, 1:3], np.s_[..., 2:6], np.s_[-6:-2], np.s_[1:3, 0:5]):
        with pytest.raises(InputError, match="reaches beyond the 4 bins of its axis"):
            n_sigma(terms, window)
    assert n_sigma(terms, np.s_[..., -2:4]) == 0.0
    with pytest.raises(InputError, match="3 axes of bins in an array of 2 axes"):
        n_sigma(terms, n_axes=3)
    with pytest.raises(InputError, match="holds none of the"):
        n_sigma(terms, np.s_[5:6, :])
    with pytest.raises(InputError, match="does not fit"):
        n_sigma(terms, np.s_[0, 0, 0])
    with pytest.raises(InputError, match="shapes"):
        n_sigma_terms([1.0], [1.0, 2.0])


def test_many_data_sets_at_once():
    rng = np.random.default_rng(3)
    b, a = rng.poisson(25.0, (2, 500, 8, 8))
    terms = n_sigma_terms(b, a)
    z = n_sigma(terms, np.s_[2:5, 2:5], n_axes=2)
    assert z.shape == (500,)
    assert z[7] == pytest.approx(float(n_sigma(terms[7], np.s_[2:5, 2:5])))
