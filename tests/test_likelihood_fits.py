import json

import numpy as np
import pytest
from engine_models import eigen_variations, make_pair, rectangle_signal
from others_data import others
from scipy.optimize import minimize_scalar

from ddphf.likelihood.batch import minimize_batch
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel

FIVE = {
    "a": (12, 30, 7, 0, 55), "b": (18, 33, 0, 4, 80), "signal": (0.1, 0.2, 0.1, 0.2, 0.4),
}  # fmt: skip
TWELVE_T = (310, 243.6, 192, 151.7, 120.4, 96, 76.9, 62.1, 50.6, 41.6, 34.6, 29.2)
TWELVE = {
    "a": (325, 263, 203, 135, 116, 100, 75, 63, 58, 47, 40, 29),
    "b": (289, 236, 192, 139, 120, 106, 92, 75, 49, 45, 29, 34),
}


def compiled(workspace):
    return CompiledModel.from_reference(ReferenceModel(workspace))


def free_and_null(model, data=None):
    free = minimize(model, data=data)
    held, values = model.parameters.fixed.copy(), model.parameters.init.copy()
    held[model.parameters.poi], values[model.parameters.poi] = True, 0.0
    return free, minimize(model, data=data, fixed=held, values=values)


def test_five_bins_worked_out():
    model = compiled(make_pair(np.full(5, 20.0), **FIVE))
    free, null = free_and_null(model)
    poi = model.parameters.poi
    # Worked out independently, to the digits given.
    assert free.parameters[poi] == pytest.approx(17.175037, abs=1e-6)
    assert free.errors[poi] == pytest.approx(7.979290, abs=1e-6)
    assert np.sqrt(null.twice_nll - free.twice_nll) == pytest.approx(2.226236, abs=1e-6)
    assert null.twice_nll - free.twice_nll == pytest.approx(-1279.539753 + 1284.495880, abs=2e-6)
    background = 20 * free.parameters[[n.startswith("symm") for n in model.parameters.names]]
    np.testing.assert_allclose(background, (14.017643, 29.794351, 3.5, 0, 63.600488), atol=2e-6)
    assert free.edm < 1e-8
    assert null.edm < 1e-8


@pytest.mark.parametrize(
    ("ratio", "mu", "z"), [(1.0, 39.389883, 1.300920), (0.9, 83.381264, 2.896564)]
)
def test_twelve_bins_worked_out(ratio, mu, z):
    signal = np.exp(-((np.arange(12) - 5) ** 2) / (2 * 1.3**2))
    workspace = make_pair(TWELVE_T, **TWELVE, signal=signal / signal.sum(), ratio=ratio)
    model = compiled(workspace)
    free, null = free_and_null(model)
    # 1e-6 relative: the printed mu_hat of r = .9 is rounded at 8e-8.
    assert free.parameters[model.parameters.poi] == pytest.approx(mu, rel=1e-6)
    assert np.sqrt(null.twice_nll - free.twice_nll) == pytest.approx(z, abs=1e-6)
    if ratio == 1:
        assert free.errors[model.parameters.poi] == pytest.approx(30.286050, abs=1e-6)


def profiled(mu, a, b, s):
    """2NLL without constants of the plain pair at mu, by brute force in each cell."""
    total = 0.0
    for x, y, z in zip(a, b, s, strict=True):
        low = max(0.0, -mu * z)

        def cell(u, low=low, x=x, y=y, z=z):
            background = low + np.expm1(u)
            tested = max(background + mu * z, 0.0)
            value = background + tested
            for n, rate in ((x, background), (y, tested)):
                if n:
                    value += -n * np.log(rate) if rate > 0 else 1e9
            return value

        best = minimize_scalar(cell, bounds=(0, 4), method="bounded", options={"xatol": 1e-9})
        total += min(best.fun, cell(0.0))
    return 2 * total


@pytest.mark.parametrize("mean", [0.5, 2.0, 5.0])
def test_low_counts_against_a_slow_independent_minimiser(mean):
    rng = np.random.default_rng(int(10 * mean))
    s = np.full(8, 1 / 8)
    model = compiled(make_pair(np.full(8, mean), np.full(8, mean), np.full(8, mean), s))
    poi, zeros = model.parameters.poi, 0
    n_bins = 8
    for trial in range(67):  # 201 over the three means
        a, b = rng.poisson(mean, n_bins), rng.poisson(mean, n_bins)
        if trial % 10 == 0:
            a = np.zeros(n_bins, int)  # an empty partner
        data = np.concatenate([a, b]).astype(float)  # CR_a sorts before SR_b
        free, null = free_and_null(model, data)
        assert free.converged, free.status
        assert null.converged, null.status
        mu = free.parameters[poi]
        rates = model.rates(free.parameters)
        assert np.all(rates >= 0)
        zeros += mu == 0
        here = profiled(mu, a, b, s)
        q0 = profiled(0.0, a, b, s) - here
        # The brute-force cells are good to about 1e-7 in 2NLL.
        assert null.twice_nll - free.twice_nll == pytest.approx(q0, abs=2e-6)
        for step in (1e-2, 0.3, 3.0):
            for other in (mu - step, mu + step):
                assert profiled(other, a, b, s) > here - 2e-6
    if mean == 0.5:
        assert zeros > 20


def test_a_pair_of_empty_bins_is_exactly_zero():
    model = compiled(make_pair(np.ones(4), [0, 0, 1, 2], [0, 0, 2, 1], np.full(4, 0.25)))
    free, null = free_and_null(model)
    assert free.parameters[model.parameters.poi] == 0.0
    assert free.converged
    assert free.twice_nll == null.twice_nll
    assert np.all(model.rates(free.parameters) >= 0)


def test_a_lower_bound_next_to_zero():
    """It is 0 while fitting and kept by what is reported: 2 times it times both templates."""
    template, values = np.array([50.0, 20.0]), []
    for lower in (1e-10, 1e-8):
        workspace = make_pair(template, [0, 18], [0, 25], [0.0, 1.0], ratio=0.8, lower=lower)
        free = minimize(compiled(workspace))
        assert free.converged
        assert free.parameters.min() == lower
        values.append(free.twice_nll)
    assert values[1] - values[0] == pytest.approx(2 * (1e-8 - 1e-10) * 50 * (1 + 0.8), abs=1e-9)


def test_compilations_are_counted():
    from ddphf.likelihood.paired.newton import minimize_one

    rng = np.random.default_rng(0)
    t = np.full(9, 50.0)
    model = compiled(make_pair(t, rng.poisson(t), rng.poisson(t), np.full(9, 1 / 9)))
    minimize(model)
    before = minimize_one._cache_size()
    held = model.parameters.fixed.copy()
    held[model.parameters.poi] = True
    one_bin = model.parameters.fixed.copy()
    one_bin[3] = True
    start = model.parameters.init.copy()
    start[model.parameters.poi] = 3.0
    minimize(model, fixed=held)
    minimize(model, fixed=one_bin)
    minimize(model, start=start)
    minimize(model, data=model.data + 1)
    other = compiled(make_pair(2 * t, rng.poisson(t), rng.poisson(t), rng.uniform(size=9)))
    minimize(other)
    assert minimize_one._cache_size() == before


def test_templates_and_batches_agree_with_single_fits():
    rng = np.random.default_rng(2)
    t = np.full(9, 50.0)
    model = compiled(make_pair(t, rng.poisson(t), rng.poisson(t), np.full(9, 1.0)))
    data = np.stack([rng.poisson(50, 18).astype(float) for _ in range(5)])
    batch = minimize_batch(model, data)
    assert batch.n_failed == 0
    for i in range(5):
        single = minimize(model, data=data[i])
        assert batch.twice_nll[i] == pytest.approx(single.twice_nll, abs=1e-8)
    held = model.parameters.fixed.copy()
    held[model.parameters.poi] = True
    values = np.tile(model.parameters.init, (4, 1))
    values[:, model.parameters.poi] = [-2, 0, 1, 3]
    scan = minimize_batch(model, fixed=held, values=values)
    assert scan.parameters[:, 0].tolist() == [-2, 0, 1, 3]
    nominal = np.concatenate([np.zeros(9), np.arange(1.0, 10.0)])
    # Samples are alphabetical: signal, symmetric.
    assert minimize(model.replace_sample(0, nominal)).converged


def test_each_item_of_a_batch_has_its_own_held_parameters_start_and_errors():
    rng = np.random.default_rng(4)
    t = np.full(9, 400.0)
    g = eigen_variations(3, 9, rng)
    model = compiled(make_pair(t, rng.poisson(t), rng.poisson(t), np.full(9, 9.0), variations=g))
    table, names = model.parameters, list(model.global_names())
    cell = table.names.index("symmetric_shape[4]")
    held = np.tile(table.fixed, (4, 1))
    start = np.tile(table.init, (4, 1))
    for row, name in ((1, "mu"), (2, "lepid_main_eig01")):
        held[row, table.names.index(name)] = True
        start[row, table.names.index(name)] = 0.3
    held[3, cell], start[3, cell] = True, 1.02  # a cell held in one item only
    batch = minimize_batch(model, start=start, fixed=held)
    assert batch.n_failed == 0
    for i in range(4):
        single = minimize(model, start=start[i], fixed=held[i])
        np.testing.assert_allclose(batch.points[i], single.parameters, atol=1e-5)
        expected = [single.errors[table.names.index(name)] for name in names]
        np.testing.assert_allclose(batch.errors[i], expected, rtol=1e-6)
        assert batch.twice_nll[i] == pytest.approx(single.twice_nll, abs=1e-8)
    assert batch.points[3, cell] == 1.02
    assert batch.errors[1, names.index("mu")] == 0


def test_a_failed_item_is_data():
    t = np.full(4, 50.0)
    model = compiled(make_pair(t, t, t, np.full(4, 1.0)))
    data = np.tile(model.data, (3, 1))
    data[1, 2] = np.nan
    batch = minimize_batch(model, data)
    assert batch.status.tolist() == [0, 2, 0]
    assert np.isnan(batch.twice_nll[1])
    assert "not positive" in batch.reasons[1] or "EDM" in batch.reasons[1]


def test_profile_errors_of_a_poisson_mean():
    workspace = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "s",
                        "data": [1.0],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    }
                ],
            }
        ],
        "observations": [{"name": "c", "data": [9.0]}],
        "version": "1.0.0",
        "measurements": [
            {
                "name": "m",
                "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[0.0, 100.0]]}]},
            }
        ],
    }
    model = compiled(workspace)
    low, high = profile_errors(model, minimize(model), 0)
    for value in (9 + low, 9 + high):  # 2 (mu - 9 - 9 ln(mu/9)) = 1, exactly
        assert 2 * (value - 9 - 9 * np.log(value / 9)) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("atlas_sbottom_regionC_600_280_150/bottom-squarks.json", 106.162713),
        ("cabinetry_tutorial/built_example_workspace.json", 18.535252),
    ],
)
def test_published_workspaces(name, best):
    model = compiled(json.loads(others(name).read_text()))
    free, null = free_and_null(model)
    assert free.converged, free.status
    assert null.converged, null.status
    assert free.twice_nll <= best + 1e-5  # the printed digits of the reference
    assert null.twice_nll - free.twice_nll > -1e-6


def test_rectangle_asimov_worked_out():
    m, t, mu = 784, 1e4, 3004.163780
    s = rectangle_signal()
    model = compiled(make_pair(np.full(m, t), np.full(m, t), t + mu * s, s * 100))
    free, null = free_and_null(model)
    # Worked out independently, six decimals of Z_L2.
    assert np.sqrt(null.twice_nll - free.twice_nll) == pytest.approx(3.533083, abs=1e-6)
