"""The Hessian of the pair's profile, each case of its cells, against a likelihood in plain numpy.

There b and the channels' own factors are minimised by nested searches, and the second derivative is
that of the values found.
"""

import jax
import numpy as np
import pytest
from engine_models import make_pair
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.paired.profile import profile
from ddphf.likelihood.reference import ReferenceModel

TEMPLATE = np.array([8.0, 11.0, 6.0])
SIGNAL, SIGNAL_A = np.array([2.0, 1.0, 3.0]), np.array([0.5, 1.5, 1.0])
FAKES = (np.array([1.5, 2.0, 1.0]), np.array([1.0, 0.5, 2.0]))
ERRORS = (0.4 * FAKES[0], 0.3 * FAKES[1])
VARIATIONS = (np.array([[0.10, -0.05, 0.20]]), np.array([[-0.15, 0.08, 0.05]]))
RATIO = 0.9

_profile = jax.jit(profile, static_argnums=0, static_argnames="expected")


def least(function, low, high):
    """Return the least value of a convex function between two points."""
    found = minimize_scalar(
        function, bounds=(low, high), method="bounded", options={"xatol": 1e-11}
    )
    return min(found.fun, function(low), function(high))


class Plain:
    """-ln L of one bin of both channels over the cell's own parameters, constraint terms included.

    Rates are ratio * template * b * (1 + variation * alpha) + gamma * fakes + mu * signal for B,
    and the same without the ratio for A.
    """

    def __init__(self, i, counts, *, kind=None, b_range=(0.0, 60.0), gamma_range=(1e-10, 10.0)):
        self.i, self.counts, self.kind = i, counts, kind
        self.b_range, self.gamma_range = b_range, gamma_range

    def channel(self, x, theta, b):
        i, n, (mu, alpha) = self.i, self.counts[x], theta
        background = b * (RATIO, 1.0)[x] * TEMPLATE[i] * (1 + VARIATIONS[x][0, i] * alpha)
        background += mu * (SIGNAL, SIGNAL_A)[x][i]

        def value(rate):
            return rate - xlogy(n, rate) if rate > 0 or (rate >= -1e-9 and n == 0) else 1e9

        if self.kind is None:
            return value(background)
        tau = (FAKES[x][i] / ERRORS[x][i]) ** 2
        sigma = ERRORS[x][i] / FAKES[x][i]

        def with_factor(gamma):
            if self.kind == "staterror":
                penalty = 0.5 * ((gamma - 1) / sigma) ** 2
            else:
                penalty = tau * gamma - xlogy(tau, tau * gamma)
            return penalty + value(background + gamma * FAKES[x][i])

        return least(with_factor, *self.gamma_range)

    def __call__(self, theta):
        mu, _ = theta
        low, high = self.b_range
        if self.kind is None:  # where both rates are positive
            for x, signal in enumerate((SIGNAL, SIGNAL_A)):
                slope = (RATIO, 1.0)[x] * TEMPLATE[self.i]
                slope *= 1 + VARIATIONS[x][0, self.i] * theta[1]
                low = max(low, -mu * signal[self.i] / slope)
        return least(lambda b: sum(self.channel(x, theta, b) for x in range(2)), low, high)


def second_derivatives(function, at, step):
    """Return the Hessian by central differences of fourth order."""
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    out, unit = np.zeros((2, 2)), np.eye(2) * step
    here = function(at)
    for j in range(2):
        values = {k: function(at + k * unit[j]) for k in (-2, -1, 1, 2)}
        out[j, j] = (16 * (values[1] + values[-1]) - values[2] - values[-2] - 30 * here) / 12
    out[0, 1] = out[1, 0] = sum(
        p * q * function(at + m * unit[0] + n * unit[1])
        for m, p in weights.items()
        for n, q in weights.items()
    )
    return out / np.outer(step, step)


def compiled(b, a, kind):
    """Return the model of the first bins, as many as there are counts."""
    m = len(b)
    fakes = [f[:m] for f in FAKES], [e[:m] for e in ERRORS]
    own = {} if kind is None else {"fakes": fakes[0], "errors": fakes[1], "kind": kind}
    variations = [v[:, :m] for v in VARIATIONS]
    workspace = make_pair(
        TEMPLATE[:m], a, b, SIGNAL[:m], signal_a=SIGNAL_A[:m], variations=variations, ratio=RATIO,
        **own,
    )  # fmt: skip
    return CompiledModel.from_reference(ReferenceModel(workspace))


def compare(counts, theta, *, kind=None, b_range=None, gamma_range=None, step=(0.02, 0.02)):
    """Compare the Hessian of some bins with the sum of the plain ones; return the cells."""
    b, a = (np.array(c, dtype=float) for c in counts)
    model, m = compiled(b, a, kind), len(b)
    pair = model.pair
    assert [model.parameters.names[i] for i in pair.places.global_] == ["lepid_main_eig00", "mu"]
    arrays, own = pair.arrays, {}
    if b_range is not None:
        own["b_range"] = b_range
        arrays = arrays._replace(b_lower=np.full(m, b_range[0]), b_upper=np.full(m, b_range[1]))
    if gamma_range is not None:
        own["gamma_range"] = gamma_range
        low, high = ((np.full(m, limit),) * 2 for limit in gamma_range)
        arrays = arrays._replace(gamma_lower=low, gamma_upper=high)
    plain = [Plain(i, (b[i], a[i]), kind=kind, **own) for i in range(m)]

    def total(point):
        return sum(bin_(point) for bin_ in plain) + 0.5 * point[1] ** 2

    theta = np.array(theta, dtype=float)
    found = _profile(pair.structure, arrays, theta[::-1], pair.split(model.data))
    numeric = second_derivatives(total, theta, np.array(step))
    hessian = np.array(found.hessian)[::-1, ::-1]
    np.testing.assert_allclose(hessian, numeric, rtol=2e-5, atol=2e-6)
    return jax.tree.map(np.asarray, found.cell)


def test_b_free_and_both_rates_positive():
    cell = compare(([9, 14, 3], [7, 12, 8]), (0.6, -0.4))
    assert np.all(cell.free)
    assert np.all(np.isfinite([side.info for side in cell.sides]))


def test_the_rate_of_b_held_at_zero():
    # Empty bins of B whose signal is negative: without the edge the rate would be below 0.
    cell = compare(([0, 7, 0], [3, 2, 4]), (-5.0, 0.3))
    assert np.all(cell.free)
    assert np.isinf(cell.sides[0].info).tolist() == [True, False, True]
    assert cell.sides[0].rate[[0, 2]].tolist() == [0.0, 0.0]


def test_the_rate_of_a_held_at_zero():
    cell = compare(([9, 1, 12], [0, 0, 0]), (-3.0, 0.3))
    assert np.all(cell.free)
    assert np.isinf(cell.sides[1].info).tolist() == [False, True, False]
    assert cell.sides[1].rate[1] == 0.0


@pytest.mark.parametrize("b_range", [(1.6, 60.0), (1e-10, 0.3), (0.8, 0.8)])
def test_b_tied_at_a_bound(b_range):
    cell = compare(([9, 14, 3], [7, 12, 8]), (0.6, -0.4), b_range=b_range)
    assert not np.any(cell.free)
    # Nor where nothing was seen, and b is at 0: the rates are the signal's.
    cell = compare(([0, 0, 0], [0, 0, 0]), (0.6, -0.4))
    assert np.all(cell.b <= 1e-10)


@pytest.mark.parametrize("kind", ["shapesys", "staterror"])
def test_the_channels_own_factor_free(kind):
    cell = compare(([11], [9]), (0.6, -0.4), kind=kind)
    assert np.all(cell.free)
    assert np.all(np.isfinite([side.kappa for side in cell.sides]))
    compare(([11], [9]), (0.6, -0.4), kind=kind, b_range=(1.6, 60.0))


@pytest.mark.parametrize("kind", ["shapesys", "staterror"])
@pytest.mark.parametrize("gamma_range", [(1e-10, 0.7), (1.4, 10.0), (0.9, 0.9)])
def test_the_channels_own_factor_at_a_bound(kind, gamma_range):
    cell = compare(([11], [9]), (0.6, -0.4), kind=kind, gamma_range=gamma_range)
    assert np.all(cell.free)
    assert np.all(np.isinf([side.kappa for side in cell.sides]))


@pytest.mark.parametrize("kind", [None, "shapesys", "staterror"])
def test_expected_is_observed_where_the_counts_are_the_rates(kind):
    theta, m = np.array([0.6, 0.0]), 3 if kind is None else 1
    rates = [
        (scale * TEMPLATE + theta[0] * signal + (0.0 if kind is None else f))[:m]
        for scale, signal, f in zip((RATIO, 1.0), (SIGNAL, SIGNAL_A), FAKES, strict=True)
    ]
    cell = compare(rates, theta, kind=kind)
    np.testing.assert_allclose(cell.b, 1.0, rtol=1e-12)
    model = compiled(*rates, kind)
    arguments = model.pair.structure, model.pair.arrays, theta[::-1], model.pair.split(model.data)
    observed, expected = (
        np.array(_profile(*arguments, expected=flag).hessian) for flag in (False, True)
    )
    np.testing.assert_allclose(expected, observed, rtol=1e-10, atol=1e-10)
