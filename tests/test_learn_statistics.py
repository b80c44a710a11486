"""Statistics of redrawn labels: invariances, the closed law, uniform p-values."""

import numpy as np
import pytest
from learn_toys import labelled, toy, unequal
from scipy.stats import chi2, kstest, norm

from ddphf.exceptions import InputError
from ddphf.learning.calibration import check_law, count_redraws, own_p_values, smallest_p
from ddphf.learning.labels import make_labels
from ddphf.learning.pool import LINEAR, make_pool
from ddphf.learning.redraws import redraw_pool, redraw_residuals
from ddphf.learning.run_test import judge_pool
from ddphf.statistics.weighted_chi2 import WeightedChi2


def p_of(pool, redraws, seed):
    """Return the p-value of the smallest p of all members, nuisances profiled where there are."""
    drawn = redraw_pool(pool, redraws, seed=seed)
    t, flipped, _ = smallest_p(pool.observed[-1], drawn[-1])
    return count_redraws(t, flipped).p


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 3, 4, 5, 6])
def test_tails_of_chi2_12_by_the_saddle_point(sigma):
    law = WeightedChi2.make(np.ones(12))
    assert law.p(chi2.isf(norm.sf(sigma), 12)) == pytest.approx(norm.sf(sigma), rel=1e-9)


def test_tails_of_unequal_weights_by_the_saddle_point():
    """Against the integral of Imhof (Biometrika 48 (1961) 419) by sums of fine steps."""
    weights = np.array([1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05])
    law = WeightedChi2.make(weights)
    u = (np.arange(400_000) + 0.5) * 1e-3
    for t in (0.5, 2.0, 3.75, 8.0, 15.0, 25.0):
        theta = 0.5 * np.arctan(np.outer(weights, u)).sum(axis=0) - 0.5 * t * u
        rho = np.prod((1 + np.outer(weights, u) ** 2) ** 0.25, axis=0)
        exact = 0.5 + np.sum(np.sin(theta) / (u * rho)) * 1e-3 / np.pi
        assert law.p(t) == pytest.approx(exact, rel=1e-6)


def test_weights_that_are_none_are_refused():
    with pytest.raises(InputError, match="none is above 0"):
        WeightedChi2.make(np.zeros(3))
    with pytest.raises(InputError, match="number 1 is -1"):
        WeightedChi2.make(np.array([1.0, -1.0]))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_exchanging_the_samples_changes_nothing(dimensions):
    rng = np.random.default_rng(5)
    points, y = rng.exponential(size=(600, dimensions)), rng.random(600) < 0.4
    ratio = rng.uniform(0.7, 1.3, 600)
    one = make_pool(points, make_labels(y, ratio)).observed
    two = make_pool(points, make_labels(~y, 1 / ratio)).observed
    assert np.allclose(one[:, ::2], two[:, ::2], rtol=1e-9, atol=0)
    assert one[0, 1] == pytest.approx(two[0, 1], rel=1e-5)  # windows are in single precision


@pytest.mark.parametrize("scale", [3.7, -0.02, 1e6])
def test_units_change_nothing(scale):
    rng = np.random.default_rng(6)
    points, y = toy(rng, "bulk", 100, size=300)
    labels = make_labels(y)
    one, two = (make_pool(p, labels, ("kernel",)).observed for p in (points, 5 + scale * points))
    assert np.allclose(one, two, rtol=1e-8, atol=0)


def test_the_kernel_score_is_its_formula():
    rng = np.random.default_rng(7)
    points, labels = labelled(rng, size=300, fakes=0.08)
    pool = make_pool(points, labels, ("kernel",), ridge=2.5)
    f, w, g = pool.features(points), labels.spread, labels.slope
    centred = f - np.outer(g / w, f.T @ g) / np.sum(g * g / w)
    v = centred.T @ (w[:, None] * centred)
    d = centred.T @ labels.residual
    t = d @ np.linalg.solve(v + 2.5 * np.eye(len(d)), d)
    assert pool.observed[0, 0] == pytest.approx(t, rel=1e-6)


def test_profiled_residuals_are_those_of_generalised_least_squares():
    """F' W (W + D D')^-1 r with the ratio of sizes as a direction of a huge variance."""
    rng = np.random.default_rng(8)
    points, y, ratio, _ = unequal(rng, size=100)
    changes = 0.05 * rng.standard_normal((len(y), 2)) * 0.25
    labels = make_labels(y, ratio, changes=changes)
    pool = make_pool(points, labels, ("kernel",), ridge=1.0)
    f, w = pool.features(points), np.diag(labels.spread)
    moves = np.concatenate([1e5 * labels.slope[:, None], labels.changes], axis=1)
    gls = w @ np.linalg.inv(w + moves @ moves.T)
    d = f.T @ gls @ labels.residual
    v = f.T @ gls @ w @ f
    t = d @ np.linalg.solve(v + np.eye(len(d)), d)
    assert pool.treatments == ("plain", "profiled")
    assert pool.observed[1, 0] == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize("nuisances", [False, True])
def test_the_law_describes_4000_redraws(nuisances):
    rng = np.random.default_rng(9)
    points, y = toy(rng)
    changes = None
    if nuisances:
        changes = 0.02 * np.stack([np.cos(3 * points[:, 0]), points[:, 0]], axis=1)
    labels = make_labels(y, changes=changes)
    pool = make_pool(points, labels, ("kernel",), widths=(0.1, 0.3, 1.0), ridge=10.0)
    drawn = redraw_pool(pool, 4000, seed=1)
    for row, treatment in enumerate(pool.treatments):
        law = pool.member("kernel", treatment).kernel.law
        assert drawn[row, 0].mean() == pytest.approx(law.mean, rel=0.01)
        assert drawn[row, 0].var() == pytest.approx(law.variance, rel=0.08)
        assert kstest(np.array([law.p(t) for t in drawn[row, 0, :500]]), "uniform").pvalue > 1e-3
        assert check_law(law, drawn[row, 0])["agrees"]


def test_a_wrong_law_does_not_agree():
    values = np.random.default_rng(1).chisquare(12, 1000)
    assert check_law(WeightedChi2.make(np.ones(12)), values)["agrees"]
    assert not check_law(WeightedChi2.make(np.full(12, 1.1)), values)["agrees"]
    assert not check_law(WeightedChi2.make(np.ones(12)), values[:50])["agrees"]


@pytest.mark.parametrize(("tested", "holds"), [(60, False), (1000, True)])
def test_rare_labels_have_longer_tails_than_the_law(tested, holds):
    """Against 40 000 redraws: 60 of 2000 events make p = 1e-3 less than half of that by the law."""
    rng = np.random.default_rng(3)
    x, y = rng.exponential(size=(2000, 1)), rng.permutation(np.arange(2000) < tested)
    pool = make_pool(x, make_labels(y), ("kernel",))
    kernel = pool.member("kernel").kernel
    drawn = redraw_pool(pool, 40_000, seed=2)[0, 0]
    assert drawn.var() / kernel.law.variance - 1 == pytest.approx(kernel.peaked, abs=0.03)
    far = kernel.law.p(float(np.quantile(drawn, 0.999)))
    assert far > 7e-4 if holds else far < 5e-4
    assert judge_pool(pool, "kernel", drawn[None, None, :999])["law"]["agrees"] == holds


def test_a_law_that_rare_labels_break_tells_no_significance():
    """Mean and variance of few redraws look like the law's, 60 events in 2000 far in the tail."""
    rng = np.random.default_rng(5)
    x = np.sort(rng.exponential(size=2000))
    y = np.isin(np.arange(2000), np.append(np.arange(1990, 2000), rng.choice(1990, 50)))
    pool = make_pool(x[:, None], make_labels(y))
    found = judge_pool(pool, "default", redraw_pool(pool, 199, seed=1))
    assert found["significance"] == {"p": found["p"], "z": found["z"], "from": "redraws"}
    assert found["p_law"] is None
    assert any("longer tails than its closed law" in line for line in found["warnings"])


@pytest.mark.parametrize("values", [2, 3, 13, 40])
def test_few_values_leave_windows_that_tell_something(values):
    """A window of all cells holds all events; of two cells each is a window, by hand."""
    rng = np.random.default_rng(14)
    x, y = rng.integers(0, values, 600) * 1.0, rng.random(600) < 0.4
    labels = make_labels(y)
    pool = make_pool(x[:, None], labels, ("scan",), resolution=np.array([1.0]))
    assert np.isfinite(redraw_pool(pool, 100, seed=1)).all()
    residual, share = labels.residual, y.mean()
    counts = np.bincount(x.astype(int), minlength=values)
    sums = np.bincount(x.astype(int), residual, values)
    z = []
    for size in range(1 if values <= 12 else 2, min(12, values - 1) + 1):
        for start in range(values - size + 1):
            n = counts[start : start + size].sum()
            variance = share * (1 - share) * n * (1 - n / 600)
            z.append(abs(sums[start : start + size].sum()) / np.sqrt(variance))
    assert pool.observed[0, 0] == pytest.approx(max(z), rel=1e-5)


def test_redraws_are_the_same_in_whatever_number():
    points, labels = labelled(np.random.default_rng(10), size=200)
    pool = make_pool(points, labels)
    few, many = (redraw_pool(pool, n, seed=3) for n in (100, 300))
    assert np.array_equal(few, many[..., :100])
    assert not np.array_equal(few, redraw_pool(pool, 100, seed=4))


def test_redraws_are_the_statistics_of_their_labels():
    points, labels = labelled(np.random.default_rng(11), size=200)
    pool = make_pool(points, labels)
    residual = redraw_residuals(labels, 3, 0).astype(float)
    assert set(np.unique(np.rint(residual + labels.share[:, None]))) == {0.0, 1.0}
    expected = pool.evaluate(*pool.sums_of(residual))
    assert np.allclose(redraw_pool(pool, 128, seed=3), expected, rtol=2e-4)


def test_labels_are_drawn_with_their_probabilities():
    labels = make_labels([True, False] * 15, np.linspace(0.5, 2.0, 30))
    drawn = np.concatenate([redraw_residuals(labels, 1, k) for k in range(80)], axis=1)
    error = np.sqrt(labels.spread / drawn.shape[1])
    assert np.all(np.abs(drawn.mean(axis=1)) < 4.5 * error)


def test_ranks_of_the_data_among_redraws():
    p, own = own_p_values(3.0, np.array([1.0, 3.0, 5.0, 7.0]))
    assert p == pytest.approx(0.8)
    assert own.tolist() == pytest.approx([1.0, 0.8, 0.4, 0.2])
    assert count_redraws(9.0, np.arange(8.0)).p == pytest.approx(1 / 9)
    low, high = count_redraws(9.0, np.arange(8.0)).interval
    assert 0 < low < 1 / 9 < high


CASES = {
    "flat": {"low": 1.0},
    "efficiencies": {"low": 0.8},
    "fakes": {"low": 1.0, "fakes": 0.08},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_p_values_are_uniform(case):
    """1000 symmetric pseudo-experiments; the smallest p of all linear statistics."""
    rng = np.random.default_rng(12)
    p = [
        p_of(make_pool(*labelled(rng, size=500, **CASES[case]), LINEAR), 199, seed)
        for seed in range(1000)
    ]
    assert kstest(p, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p) < 0.05) < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["efficiencies", "fakes"])
def test_plain_permutation_is_wrong_there(case):
    rng = np.random.default_rng(13)
    p = []
    for seed in range(300):
        points, y, *_ = unequal(rng, size=4000, **CASES[case])
        p.append(p_of(make_pool(points, make_labels(y), LINEAR), 199, seed))
    assert np.mean(np.array(p) < 0.05) > 0.08


def with_nuisances(rng, size=2000):
    """Return variables, r and the change of pi per sigma of two nuisances; and labels of a truth.

    The true efficiencies are the nominal ones moved by nuisances that are drawn from their prior:
    10 % of the ratio at low pT, and a tilt in the mass.
    """
    points, _, ratio, _ = unequal(rng, size=size)
    share = ratio / (1 + ratio)
    tilt = np.clip((points[:, 0] - 90) / 40, -1, 1)
    log_ratio = np.stack([0.10 * (points[:, 1] < 40), 0.08 * tilt], axis=1)
    truth = ratio * np.exp(log_ratio @ rng.standard_normal(2))
    y = rng.random(len(points)) < truth / (1 + truth)
    return points, y, ratio, (share * (1 - share))[:, None] * log_ratio


@pytest.mark.slow
def test_p_values_are_uniform_where_true_efficiencies_are_drawn_from_their_prior():
    """By prior predictive redraws alone and with nuisances profiled; not without either."""
    rng = np.random.default_rng(15)
    p = {"prior": [], "profiled": [], "neither": []}
    for seed in range(500):
        points, y, ratio, changes = with_nuisances(rng)
        pool = make_pool(points, make_labels(y, ratio, changes=changes))
        drawn = redraw_pool(pool, 199, seed=seed)
        for row, name in enumerate(("prior", "profiled")):
            t, flipped, _ = smallest_p(pool.observed[row], drawn[row])
            p[name].append(count_redraws(t, flipped).p)
        p["neither"].append(p_of(make_pool(points, make_labels(y, ratio)), 199, seed))
    for name in ("prior", "profiled"):
        print(name, kstest(p[name], "uniform").pvalue, np.mean(np.array(p[name]) < 0.05))
        assert kstest(p[name], "uniform").pvalue > 1e-3
        assert np.mean(np.array(p[name]) < 0.05) < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 500)
    assert np.mean(np.array(p["neither"]) < 0.05) > 0.2
