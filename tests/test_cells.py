"""Cells whose channels have factors of their own: the shared background's root, and its cost."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from ddphf.likelihood.paired.cells import Side, solve_side
from ddphf.likelihood.paired.profile import find_roots

N = 2000


def own_factor(n, shift, v, aux, width, gaussian):
    """gamma of one channel at a given rate without it, by the root of its own score."""

    def score(gamma):
        own = (aux - gamma) / width**2 if gaussian else aux / gamma - width
        return n / (shift + gamma * v) * v - v + own

    least = max(1e-12, -shift / v * (1 + 1e-14) + 1e-300)
    return least if score(least) <= 0 else brentq(score, least, 1e4, xtol=1e-15, rtol=1e-14)


def root(cell, gaussian):
    """b by the sign of the derivative of ln L, with scipy alone."""

    def score(b):
        total = 0.0
        for n, u, c, v, aux, width in cell:
            shift = b * u + c
            rate = shift + own_factor(n, shift, v, aux, width, gaussian) * v
            total += u * (n / rate - 1)
        return total

    return brentq(score, 1e-9, 1e5, xtol=1e-14, rtol=1e-14)


def sides_of(rng, gaussian, *, signal=0.0):
    out, cells = [], []
    level = rng.choice([3.0, 60.0, 2e3, 4e5], N)
    for channel in range(2):
        u, v = level * rng.uniform(0.5, 1.5, N), 0.2 * level * rng.uniform(0.1, 1, N)
        c = signal * level * rng.uniform(0, 1, N) if channel == 0 else np.zeros(N)
        n = 1.0 + rng.poisson(u + v + np.maximum(c, 0))
        width = rng.uniform(0.05, 0.3, N)
        if not gaussian:
            width = 1 / width**2
        aux = np.ones(N) if gaussian else width
        cells.append(np.stack([n, u, c, v, aux, width], axis=1))
        out.append(Side(*map(jnp.asarray, (n, u, c, v, aux, width, 1e-10 + 0 * n, 10.0 + 0 * n))))
    return tuple(out), list(zip(*cells, strict=True))


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("signal", [0.0, 0.5, -0.3])
def test_roots_are_scipys_and_take_few_steps(gaussian, signal):
    """A converged cell stays where it is: no bracket of 2^-50 has to be halved away for it."""
    sides, cells = sides_of(np.random.default_rng(4), gaussian, signal=signal)
    structure = SimpleNamespace(gaussian=(gaussian, gaussian), scaled=(False, False))
    b, steps = find_roots(structure, sides, jnp.zeros(N), jnp.full(N, 1e5))
    for i in range(0, N, 20):
        assert float(b[i]) == pytest.approx(root(cells[i], gaussian), rel=1e-10)
    assert int(steps) <= 30  # halving takes 50


def test_beside_a_pole_the_step_is_small_and_the_root_is_far():
    """b starts within rounding of a rate of zero: Newton's steps double, the slope is huge."""
    n, u, v = jnp.array([5.0]), jnp.array([1.0]), jnp.array([0.0])
    one, wide = jnp.ones(1), jnp.full(1, 10.0)
    tested = Side(n, u, jnp.array([-1e8]), v, one, one, 0 * one, wide)
    partner = Side(jnp.array([0.0]), u * 1e-3, jnp.array([0.0]), v, one, one, 0 * one, wide)
    structure = SimpleNamespace(gaussian=(True, True), scaled=(False, False))
    b, _ = find_roots(structure, (tested, partner), jnp.zeros(1), jnp.full(1, 1e12))
    # u n / (b u - 1e8) = u + 1e-3 u
    assert float(b[0]) - 1e8 == pytest.approx(5.0 / 1.001, rel=1e-6)


@pytest.mark.parametrize("gaussian", [False, True])
def test_factors_of_what_adds_and_of_what_takes_away(gaussian):
    """A signal of negative strength has statistical errors too: its factor by scipy's search."""
    rng = np.random.default_rng(3)
    for _ in range(120):
        n = float(rng.poisson(rng.choice([0.5, 3.0, 50.0, 1000.0])))
        v = float(rng.choice([-1, 1]) * rng.choice([0.01, 0.5, 5.0, 60.0]))
        shift = float(rng.uniform(0.1, 2.0) * max(n, 1.0) + 1.2 * max(-v, 0.0))
        tau = float(rng.choice([0.5, 4.0, 100.0]))
        aux = float(rng.normal(1.0, 0.1)) if gaussian else float(rng.poisson(tau))
        width = 0.2 if gaussian else tau
        side = Side(*map(jnp.asarray, (n, 1.0, shift, v, aux, width, 1e-10, 10.0)))
        found = solve_side(side, jnp.asarray(0.0), gaussian=gaussian, scaled=True)

        def score(gamma, case=(n, v, shift, aux, width)):
            n, v, shift, aux, width = case
            own = (aux - gamma) / width**2 if gaussian else aux / gamma - width
            return (n / (shift + gamma * v) - 1.0 if n else -1.0) * v + own

        # Up to where the rate is 0: there ln L falls without end, or is as low as it gets.
        high = 10.0 if v > 0 or shift > -10 * v else shift / -v * (1 - 1e-14)
        if score(1e-10) <= 0:
            gamma = 1e-10
        elif score(high) >= 0:
            gamma = high
        else:
            gamma = brentq(score, 1e-10, high, xtol=1e-14, rtol=1e-14)
        assert float(found.gamma) == pytest.approx(gamma, rel=1e-8, abs=1e-10)
        rate = shift + gamma * v
        assert float(found.rate) == pytest.approx(rate, rel=1e-6, abs=1e-9 * (shift + abs(v)))
