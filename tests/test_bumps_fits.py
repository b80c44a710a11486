"""Bumps: the numbers of one spectrum against closed forms, scipy and iminuit."""

import itertools

import numpy as np
import pytest
from bump_data import drawn, smooth, with_bump
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import chi2, norm, poisson

import ddphf
from ddphf.bumps.bands import factorize, solve
from ddphf.bumps.binning import Binning
from ddphf.bumps.candidates import choose
from ddphf.bumps.designs import spline_design
from ddphf.bumps.deviance import deviance_p
from ddphf.bumps.fits import fit, start
from ddphf.bumps.hunt import hunt
from ddphf.bumps.known import fit_signal, strength_of
from ddphf.bumps.links import IDENTITY, LOGARITHMIC, evaluate, evaluate_wall
from ddphf.bumps.newton import Models
from ddphf.bumps.starts import find_start, rises_again
from ddphf.bumps.strengths import FREEDOMS, penalty_strengths
from ddphf.bumps.templates import density_templates
from ddphf.exceptions import InputError


def binning(n=50, width=1.5):
    return Binning(np.arange(n + 1.0), np.full(n, width))


# A known background.


def test_closed_check_of_the_known_background():
    b = smooth()
    t = density_templates(np.arange(51.0), np.array([25.5]), np.array([1.5]))[0]
    mu = float(strength_of(np.array(5.0), b, t))
    assert mu == pytest.approx(167.149098, abs=1e-6)
    z = ddphf.bump_z(b + mu * t, b, 1.5)
    assert z[[25, 23, 27]] == pytest.approx([5, 3.261686, 3.263754], abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.01, 0.001])
def test_every_bin_of_a_known_background_is_what_scipy_finds(scale):
    b = smooth() * scale
    n = drawn(b, seed=3)
    t = density_templates(np.arange(51.0), np.arange(50) + 0.5, np.full(50, 1.5))
    found = fit_signal(n[None], b[None], t)
    for i in range(0, 50, 7):
        low = -float(np.min(b / t[i]))

        def nll(mu, i=i):
            r = np.maximum(b + mu * t[i], 0.0)
            logs = np.where(n > 0, n * np.log(np.maximum(r, 1e-300)), 0.0)
            return float(2 * np.sum(r - logs))

        best = minimize_scalar(
            nll, bounds=(low, 60 * np.sqrt(b.sum()) + 50), method="bounded", options={"xatol": 1e-9}
        )
        values = [(nll(x), x) for x in (best.x, low)]
        least, mu = min(values)
        z = np.sign(mu) * np.sqrt(max(nll(0.0) - least, 0.0))
        assert found.z[i] == pytest.approx(z, abs=2e-5)


def test_a_deficit_ends_where_nothing_is_expected():
    found = fit_signal(np.zeros(5), np.full(5, 2.0), np.array([0.1, 0.2, 0.4, 0.2, 0.1]))
    assert float(found.mu) == pytest.approx(-5.0)
    assert float(found.z) == pytest.approx(-np.sqrt(10.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0, 0.0], 1.5), "a background above 0"),
        (([1.0, -2.0], [1.0, 1.0], 1.5), "counts of at least 0"),
        (([1.0, 2.0], [1.0], 1.5), "as many bins of each"),
        (([1.0, 2.0], [1.0, 1.0], float("nan")), "width nan: expected a number above 0"),
    ],
)
def test_known_background_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        ddphf.bump_z(*arguments)


# Banded matrices and links.


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 4), st.integers(0, 2**31))
def test_banded_solutions_are_those_of_dense_matrices(size, reach, seed):
    rng, diagonals = np.random.default_rng(seed), min(reach, size - 1) + 1
    dense = np.zeros((3, size, size))
    band = np.zeros((diagonals, size, 3))
    for k in range(3):
        lower = np.tril(np.triu(rng.normal(size=(size, size)), -diagonals + 1))
        dense[k] = lower @ lower.T + 0.1 * np.eye(size)
        for d in range(diagonals):
            band[d, : size - d, k] = np.diagonal(dense[k], -d)
    right = rng.normal(size=(size, 2, 3))
    found = solve(factorize(band), right)
    for k in range(3):
        assert found[..., k] == pytest.approx(np.linalg.solve(dense[k], right[..., k]), rel=1e-7)


@pytest.mark.parametrize("link", [LOGARITHMIC, IDENTITY])
def test_derivatives_of_links_and_wall(link):
    eta, h = np.linspace(-3.0, 6.0, 19), 1e-5
    here = evaluate(link, eta)
    ahead, behind = evaluate(link, eta + h), evaluate(link, eta - h)
    assert here.first == pytest.approx((ahead.b - behind.b) / (2 * h), rel=1e-7)
    assert here.second == pytest.approx((ahead.first - behind.first) / (2 * h), rel=1e-6, abs=1e-7)
    s = -0.4 * here.b
    wall = evaluate_wall(here, s)
    more, less = evaluate_wall(ahead, s), evaluate_wall(behind, s)
    assert wall.e == pytest.approx((more.cost - less.cost) / (2 * h), rel=1e-5, abs=1e-12)
    assert wall.ee == pytest.approx((more.e - less.e) / (2 * h), rel=1e-5, abs=1e-10)
    assert wall.es == pytest.approx((more.s - less.s) / (2 * h), rel=1e-5, abs=1e-10)
    k = 1e-6 * here.b
    up, down = evaluate_wall(here, s + k), evaluate_wall(here, s - k)
    assert wall.s == pytest.approx((up.cost - down.cost) / (2 * k), rel=1e-5)
    assert wall.ss == pytest.approx((up.s - down.s) / (2 * k), rel=1e-5)


# Penalised fits.


def penalised_nll(design, strength, counts, template):
    """The likelihood in plain numpy."""

    def nll(x):
        eta = design.columns @ x[1:] + design.offset
        if design.link == LOGARITHMIC:
            b = np.exp(eta)
        else:
            b = (eta + np.sqrt(eta**2 + 4 * 0.1**2)) / 2
        rate = b + x[0] * template
        rough = np.diff(x[1:], 3)
        bent = 0.5 * strength * rough @ rough
        return float(np.sum(rate - counts * np.log(np.maximum(rate, 1e-12))) + bent)

    return nll


@pytest.mark.parametrize(("group", "freedom"), [(0, 1), (3, 3), (2, 2), (4, 4)])
def test_a_profile_is_what_minuit_finds(group, freedom):
    places = binning()
    counts = drawn(with_bump(smooth(), 25, 120.0))
    design = places.designs[group]
    strength = float(penalty_strengths(places, counts[None])[group, 0, freedom])
    models = Models((design,), np.zeros(1, dtype=int), np.array([strength]))
    null = fit(models, counts[None], start(models, counts[None]))
    bump = fit(models, counts[None], null.theta, places.templates[[25]])
    assert null.certified.all()
    assert bump.certified.all()
    for found, fixed in ((null, True), (bump, False)):
        first = np.append(found.mu, found.theta[0])
        minuit = Minuit(penalised_nll(design, strength, counts, places.templates[25]), first)
        minuit.errordef, minuit.tol, minuit.strategy = 0.5, 1e-5, 1
        minuit.fixed["x0"] = fixed
        minuit.migrad(ncall=100_000)
        assert float(found.nll[0]) == pytest.approx(minuit.fval, abs=2e-4)
        assert float(found.nll[0]) <= minuit.fval + 1e-7


def test_strengths_leave_the_freedoms_that_they_are_named_for():
    places, b = binning(), smooth()
    strengths = penalty_strengths(places, b[None])
    for g, design in enumerate(places.designs):
        weight = b if design.link == LOGARITHMIC else 1 / b
        data = design.columns.T @ (weight[:, None] * design.columns)
        rough = design.differences.T @ design.differences
        for freedom, strength in zip(FREEDOMS, strengths[g, 0], strict=True):
            trace = np.trace(np.linalg.solve(data + strength * rough, data))
            assert trace - 3 == pytest.approx(freedom, abs=0.15 * freedom + 0.02)


def test_rho_is_that_of_dense_matrices():
    places = binning()
    counts = drawn(smooth())
    chosen = choose(places, counts[None])
    design = chosen.models.designs[int(chosen.models.group[0])]
    rates = evaluate(design.link, design.columns @ chosen.null.theta[0] + design.offset)
    columns = design.columns * rates.first[:, None]
    rough = chosen.models.strength[0] * design.differences.T @ design.differences
    inside = np.flatnonzero(places.inner)
    for place, rho in zip(inside, chosen.rho[0], strict=True):
        t = places.templates[place]
        a = columns.T @ (columns / rates.b[:, None]) + rough
        side = columns.T @ (t / rates.b)
        known = np.sum(t * t / rates.b)
        assert rho == pytest.approx(np.sqrt(1 - side @ np.linalg.solve(a, side) / known), abs=1e-9)


def random_spectra(seed, scale):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(14, 70))
    u = np.linspace(0, 1, n)
    shape = [np.exp(-rng.uniform(1, 8) * u), (1.05 - u) ** 2, 1 / (u + rng.uniform(0.05, 1)) ** 3]
    return rng.poisson(scale * shape[int(rng.integers(3))] / shape[0].max(), size=(3, n))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1e5, 300.0, 5.0, 0.8])
def test_every_profile_has_a_certificate(seed, scale):
    """Low counts, empty tails, deficits and excesses alike."""
    counts = random_spectra(seed, scale).astype(float)
    counts = counts[counts.sum(axis=1) >= 20]
    for found in hunt(binning(counts.shape[1], 1.2), counts):
        assert found.failed == 0
        assert found.edm < 1e-8
        seen = np.isfinite(found.z_profiled)
        assert np.all(found.rho[seen] >= 0.75)


@pytest.mark.parametrize("seed", range(3))
def test_best_places_alone_give_the_same_best(seed):
    counts = random_spectra(seed, 2000.0).astype(float)
    places = binning(counts.shape[1], 1.2)
    whole, part = hunt(places, counts), hunt(places, counts, best_alone=True)
    for one, other in zip(whole, part, strict=True):
        assert one.best == other.best
        assert one.best is None or one.z == pytest.approx(other.z, abs=1e-6)


def test_a_batch_gives_what_each_spectrum_alone_gives():
    counts = np.stack([drawn(smooth(), seed) for seed in range(4)])
    together = hunt(binning(), counts)
    for one, alone in zip(together, (hunt(binning(), c[None])[0] for c in counts), strict=True):
        assert one.z == pytest.approx(alone.z, abs=1e-6)
        assert (one.best, one.link, one.freedom) == (alone.best, alone.link, alone.freedom)


def test_a_bump_is_found_where_it_is():
    (found,) = hunt(binning(), drawn(with_bump(smooth(), 25, 334.0))[None])
    assert abs(found.best - 25) <= 1
    assert found.z > 6
    assert found.z_known[found.best] > found.z
    assert found.events[0] == pytest.approx(334, abs=4 * found.events[1])


def test_uneven_bins_are_no_bumps():
    """Bins of two widths in turns: the counts jump, the density does not."""
    edges = np.concatenate([[0.0], np.cumsum(np.tile([1.0, 2.0], 25))])
    centres = (edges[1:] + edges[:-1]) / 2
    expected = 400 * np.exp(-centres / 30) * np.diff(edges)
    (found,) = hunt(Binning(edges, np.full(50, 3.0)), drawn(expected)[None])
    assert abs(found.z) < 3.5
    assert found.deviance[2] > 0.01


# Deviance.


def test_moments_of_the_deviance_are_those_of_poisson_counts():
    for r in (0.02, 0.7, 4.0, 30.0):
        k = np.arange(0, 200)
        p = poisson.pmf(k, r)
        d = 2 * (r - k + np.where(k > 0, k * np.log(np.maximum(k, 1) / r), 0.0))
        _, expectation, _ = deviance_p(np.full(20, 1.0), np.full(20, r), 0.0)
        assert expectation / 20 == pytest.approx(float(p @ d), rel=2e-3)
    value, _, p = deviance_p(np.full(40, 1030.0), np.full(40, 1000.0), 0.0)
    assert p == pytest.approx(float(chi2.sf(value, 40)), rel=0.02)


@pytest.mark.parametrize("rate", [0.3, 3.0, 50.0])
def test_p_of_the_deviance_is_uniform(rate):
    counts = np.random.default_rng(5).poisson(rate, size=(2000, 60)).astype(float)
    p = np.array([deviance_p(n, np.full(60, rate), 0.0)[2] for n in counts])
    for level in (0.5, 0.1, 0.01):
        error = np.sqrt(level * (1 - level) / 2000)
        assert abs(np.mean(p < level) - level) < 4 * error + 0.15 * level


# Where a spectrum begins.


def test_a_turn_on_is_left_out_and_a_bump_is_not():
    falling, i = smooth(80, falls=25), np.arange(80)
    turned = drawn(falling / (1 + np.exp(-(i - 15) / 2.5)))
    assert 14 <= find_start(turned, np.ones(80), 1.5) <= 24
    assert find_start(drawn(falling), np.ones(80), 1.5) <= 6
    flat = np.full(80, 100.0)
    assert find_start(drawn(with_bump(flat, 40, 450.0)), np.ones(80), 1.5) <= 9


def test_few_smooth_spectra_are_cut_or_called_rising():
    cut = rising = 0
    for seed in range(200):
        counts = drawn(smooth(60), seed)
        cut += find_start(counts, np.ones(60), 1.5) > 6
        rising += rises_again(counts, np.ones(60), 1.5)
    assert cut <= 2
    assert rising <= 2


def test_signals_of_many_sizes_are_measured_without_bias():
    """A quick form of the study: z over the background that is true, and over the fitted one."""
    rng, b = np.random.default_rng(8), smooth(60, 3000.0)
    places, differences = binning(60), []
    for z, at in itertools.product((4.0, 8.0, 12.0), (15, 25, 35, 45)):
        template = places.templates[at]
        mu = float(strength_of(np.array(z), b, template))
        counts = rng.poisson(b + mu * template, size=(4, 60)).astype(float)
        true = fit_signal(counts, b, template).z
        differences += [
            one.z_known[at] - t for one, t in zip(hunt(places, counts), true, strict=True)
        ]
    assert abs(np.median(differences)) < 4 * 0.7 * np.sqrt(np.pi / 2 / len(differences))
    assert np.subtract(*np.percentile(differences, [84, 16])) / 2 < 1.0


def test_scores_of_smooth_spectra_are_standard_normal():
    counts = np.random.default_rng(2).poisson(smooth(), size=(120, 50)).astype(float)
    z = np.concatenate([one.z_profiled[one.searched][::6] for one in hunt(binning(), counts)])
    for level in (-1.0, 0.0, 1.0, 2.0):
        p = float(norm.sf(level))
        assert abs(np.mean(z > level) - p) < 5 * np.sqrt(p * (1 - p) / len(z))


def test_scipy_agrees_on_a_small_problem():
    """Twelve bins, by a general minimizer."""
    places = binning(12, 1.0)
    design, counts = places.designs[0], drawn(smooth(12, 60.0, 6.0, 2.0))
    models = Models((design,), np.zeros(1, dtype=int), np.array([50.0]))
    found = fit(models, counts[None], start(models, counts[None]))
    nll = penalised_nll(design, 50.0, counts, np.zeros(12))
    free = minimize(
        lambda x: nll(np.append(0.0, x)), found.theta[0] + 0.05, method="BFGS",
        options={"gtol": 1e-8},
    )  # fmt: skip
    assert float(found.nll[0]) == pytest.approx(free.fun, abs=1e-5)
    assert spline_design(np.linspace(0, 1, 13), np.ones(12), LOGARITHMIC).columns.shape == (12, 20)
