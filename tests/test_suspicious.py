"""Models that mislead a single certified fit: several minima, bounds, flat and dead directions."""

import json

import numpy as np
import pytest
from conftest import invoke
from scipy.optimize import minimize

from ddphf.exceptions import FitError
from ddphf.inference.fit import fit_workspace
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.certificate import compare_values
from ddphf.likelihood.reference import ReferenceModel
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace


def free_parameter(name, kind, data=None):
    return {"name": name, "type": kind, "data": data}


STRENGTH = free_parameter("mu", "normfactor")


def foreign(channels, observations, parameters=(), poi="mu"):
    return {
        "version": "1.0.0",
        "channels": [{"name": n, "samples": s} for n, s in channels.items()],
        "observations": [{"name": n, "data": d} for n, d in observations.items()],
        "measurements": [{"name": "m", "config": {"poi": poi, "parameters": list(parameters)}}],
    }


@pytest.mark.parametrize(
    ("counts", "up", "down", "sign", "q0"),
    [
        ([10600, 11550], [1.15, 1.155], [1.05, 1.15], -1, 0.3908),
        ([11400, 11550], [1.05, 1.155], [1.15, 1.15], 1, None),
    ],
)
def test_one_sided_variations_get_more_starts(counts, up, down, sign, q0):
    """A single start falls into Z = -4.24 here, with a perfect local certificate."""
    pair = Pair(
        Channel(
            "b", counts, signal=Template([100.0, 0.0]),
            systematics=[Systematic("id", "histosys", up, down, relative=True)],
        ),
        Channel("a", [10000, 10000]),
    )  # fmt: skip
    built = build_workspace(pair)
    assert any("makes several minima" in line for line in built.warnings)
    result = fit_workspace(built.workspace)
    assert any("several minima" in line for line in result.warnings)
    assert np.sign(result.discovery.z0) == sign
    assert abs(result.discovery.z0) < 0.8
    if q0 is not None:
        assert abs(result.discovery.q0) == pytest.approx(q0, abs=1e-4)


def test_poorly_known_fakes_are_not_cut_off():
    """Fakes of 1 +- 3 may follow 45 observed events; a bound of 10 made Z = 4.56 of 2.21."""
    pair = Pair(
        Channel("b", [45, 300], signal=Template([10.0] * 2), fakes=Template([1.0] * 2, [3.0, 0.5])),
        Channel("a", [5, 300]),
    )
    result = fit_workspace(build_workspace(pair).workspace)
    assert result.discovery.z0 == pytest.approx(2.2105, abs=1e-3)
    assert result.warnings == ()


def test_known_background_reaches_its_own_maximum():
    pair = Pair(
        Channel("b", [4000, 4000], signal=Template([180.0, 0.0])),
        Channel("a", [4000, 4000]),
        known_background=[1000.0, 4000.0],
    )
    result = fit_workspace(build_workspace(pair).workspace)
    assert result.known_background.mu_hat == pytest.approx(3000 / 180, rel=1e-6)


def test_parameters_at_bounds_are_named():
    """Default bounds (0, 10) of a foreign shapefactor, and data that ask for 30."""
    shape = free_parameter("sf", "shapefactor")
    spec = foreign(
        {
            "A": [{"name": "x", "data": [1.0, 1.0], "modifiers": [shape]}],
            "B": [
                {"name": "s", "data": [5.0, 10.0], "modifiers": [STRENGTH]},
                {"name": "x", "data": [1.0, 1.0], "modifiers": [shape]},
            ],
        },
        {"A": [30.0, 25.0], "B": [35.0, 31.0]},
    )  # fmt: skip
    result = fit_workspace(spec)
    assert result.mu_hat.value == pytest.approx(2.926, abs=1e-3)
    assert any("free fit: 2 parameters at a bound" in line for line in result.warnings)
    assert any("null fit: 2 parameters at a bound" in line for line in result.warnings)


def test_flat_directions_are_named(tmp_path):
    """k1 and k2 scale the same yields: their product is all that the data know."""
    both = [free_parameter("k1", "normfactor"), free_parameter("k2", "normfactor")]
    spec = foreign(
        {"c": [{"name": "b", "data": [50.0, 50.0], "modifiers": both}]},
        {"c": [60.0, 55.0]},
        poi="",
    )
    with pytest.raises(FitError, match=r"the data do not determine k1, k2"):
        fit_workspace(spec)
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(spec))
    outcome = invoke("fit", str(path), "-o", str(tmp_path / "fit.json"))
    assert outcome.code == 4
    assert list(tmp_path.iterdir()) == [path]


def test_two_calculations_that_disagree_are_an_error():
    pair = Pair(Channel("b", [110, 95], signal=Template([9.0, 1.0])), Channel("a", [100, 90]))
    reference = ReferenceModel(build_workspace(pair).workspace)
    compare_values(reference, 20.0, 20.0 + 5e-7, "another code", 1e-6)
    for other in (20.0 + 2e-6, np.nan):
        with pytest.raises(FitError, match=r"by the fit and .* by another code"):
            compare_values(reference, 20.0, other, "another code", 1e-6)


def test_a_parameter_without_effect_is_held():
    spec = foreign(
        {
            "c": [
                {"name": "b", "data": [50.0, 50.0], "modifiers": []},
                {"name": "s", "data": [5.0, 9.0], "modifiers": [STRENGTH]},
                {"name": "z", "data": [0.0, 0.0], "modifiers": [free_parameter("k", "normfactor")]},
            ]
        },
        {"c": [60.0, 55.0]},
    )  # fmt: skip
    result = fit_workspace(spec)
    assert any("without any effect are held: k" in line for line in result.warnings)
    assert result.discovery.z0 > 1


@pytest.mark.parametrize("level", [1e8, 1e12])
def test_large_counts(level):
    """2NLL is a sum of terms of the size of the counts: where its rounding shows, it is said."""
    rng = np.random.default_rng(3)
    tested, partner = (np.round(rng.normal(level, np.sqrt(level), 20)) for _ in range(2))
    pair = Pair(
        Channel("b", tested, signal=Template(np.full(20, np.sqrt(level)))), Channel("a", partner)
    )
    result = fit_workspace(build_workspace(pair).workspace)
    expected = (tested - partner).sum() / np.sqrt((tested + partner).sum())
    if level < 1e10:
        assert result.discovery.z0 == pytest.approx(expected, rel=1e-3)
        assert result.warnings == ()
    else:
        assert any("rounding alone moves q0" in line for line in result.warnings)


def test_rate_zero_away_from_no_signal():
    """An empty tested bin pulls mu down until its rate is 0."""
    pair = Pair(Channel("b", [0, 5], signal=Template([1.0, 1.0])), Channel("a", [7, 5]), floor=0.5)
    result = fit_workspace(build_workspace(pair).workspace)
    assert result.discovery.z0 < 0


def test_poi_that_is_no_signal_strength():
    spec = foreign(
        {
            "c": [
                {
                    "name": "b",
                    "data": [50.0],
                    "modifiers": [free_parameter("a", "normsys", {"hi": 1.1, "lo": 0.9})],
                }
            ]
        },
        {"c": [60.0]},
        poi="a",
    )
    result = fit_workspace(spec)
    assert result.discovery is None
    assert any("is no normfactor" in line for line in result.warnings)


@pytest.mark.parametrize("level", [50.0, 1e6, 1e9])
def test_flat_directions_are_refused_at_any_counts(level):
    """At 1e6 events rounding gives the flat direction an error of 168, inside 100 x the bounds."""
    both = [free_parameter("k1", "normfactor"), free_parameter("k2", "normfactor")]
    sample = {"name": "b", "data": [level, level], "modifiers": both}
    spec = foreign({"c": [sample]}, {"c": [1.2 * level, 1.1 * level]}, poi="")
    with pytest.raises(FitError, match=r"the data do not determine k1, k2"):
        fit_workspace(spec)


def test_a_narrow_curved_valley():
    """A norm with a 10 % prior on one factor: k1 (1 + .1 a) is known to 3e-5, k1 alone to 10 %."""
    level = 1e9
    prior = free_parameter("a", "normsys", {"hi": 1.1, "lo": 0.9})
    sample = {"name": "b", "data": [level] * 2, "modifiers": [free_parameter("k", "normfactor")]}
    sample["modifiers"].append(prior)
    spec = foreign({"c": [sample]}, {"c": [1.2 * level, 1.1 * level]}, poi="")
    fit = {p.name: p for p in fit_workspace(spec).fit.parameters}
    assert fit["k"].value == pytest.approx(1.15, rel=1e-6)
    assert fit["k"].error == pytest.approx(0.1152, rel=1e-3)
    assert fit["a"].value == pytest.approx(0.0, abs=1e-5)


def test_what_scales_the_signal_alone_does_not_stop_the_null():
    """k multiplies a signal: at mu = 0 it changes nothing, and the null fit must not fail."""
    scaled = [STRENGTH, free_parameter("k", "normfactor")]
    spec = foreign(
        {
            "c": [
                {"name": "b", "data": [50.0, 40.0], "modifiers": []},
                {"name": "s", "data": [5.0, 9.0], "modifiers": scaled},
            ],
            "d": [
                {"name": "b", "data": [100.0], "modifiers": []},
                {"name": "s", "data": [9.0], "modifiers": [STRENGTH]},
            ],
        },
        {"c": [60.0, 55.0], "d": [106.0]},
    )
    result = fit_workspace(spec)
    counts, rates = np.array([60.0, 55.0, 106.0]), np.array([50.0, 40.0, 100.0])
    found = result.null.twice_nll - result.fit.twice_nll
    best = minimize(
        lambda x: 2 * np.sum(poisson_terms(counts, rates + x[0] * np.array([5, 9, 9 / x[1]]))),
        [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12},
    ).fun  # fmt: skip
    assert found == pytest.approx(2 * np.sum(poisson_terms(counts, rates)) - best, abs=1e-6)


def poisson_terms(counts, rates):
    return rates - counts * np.log(rates)


def test_a_null_that_is_impossible():
    spec = foreign(
        {
            "c": [{"name": "s", "data": [5.0, 9.0], "modifiers": [STRENGTH]}],
            "d": [{"name": "b", "data": [50.0], "modifiers": []}],
        },
        {"c": [0.0, 7.0], "d": [55.0]},
    )
    result = fit_workspace(spec)
    assert (result.null, result.discovery) == (None, None)
    assert result.mu_hat.value == pytest.approx(0.5)  # 7 events for 14 mu
    assert any("channel 'c', bin 1, so mu = 0 is impossible" in line for line in result.warnings)


def test_other_starts_without_a_null():
    """The same two minima with the POI fixed: no null, but the lowest minimum all the same."""
    up, down = [1.15, 1.155], [1.05, 1.15]
    nominal = np.array([10000.0, 10000.0])
    data = {"hi_data": (nominal * up).tolist(), "lo_data": (nominal * down).tolist()}
    background = {
        "name": "b",
        "data": nominal.tolist(),
        "modifiers": [free_parameter("id", "histosys", data)],
    }
    signal = {"name": "s", "data": [100.0, 0.0], "modifiers": [STRENGTH]}
    values = []
    for start in (-1.0, 1.0):
        spec = foreign(
            {"c": [background, signal]},
            {"c": [10600.0, 11550.0]},
            parameters=[
                {"name": "mu", "fixed": True, "inits": [0.0]},
                {"name": "id", "inits": [start]},
            ],
        )
        values.append(fit_workspace(spec).fit.twice_nll)
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_a_factor_that_leaves_its_work_to_another():
    """k and shape multiply the same yields: one minimum with k at 0, a lower one with k at 10."""
    shape, k = free_parameter("shape", "shapefactor"), free_parameter("k", "normfactor")

    def sample(name, data, *modifiers):
        return {"name": name, "data": data, "modifiers": list(modifiers)}

    channels = {
        "c": [
            sample("a", [19.0, 14.0], shape),
            sample("b", [11.0, 5.0]),
            sample("s", [15.0, 3.0], STRENGTH),
        ],
        "d": [sample("a", [2.0, 15.0], shape, k), sample("b", [5.0, 13.0])],
    }
    result = fit_workspace(foreign(channels, {"c": [22.0, 17.0], "d": [18.0, 5.0]}))
    counts = np.array([[22.0, 17.0], [18.0, 5.0]])

    def deviance(x):
        mu, k, *shape = x
        first = np.array([19.0, 14.0]) * shape + [11.0, 5.0] + mu * np.array([15.0, 3.0])
        second = np.array([2.0, 15.0]) * shape * k + [5.0, 13.0]
        rates = np.array([first, second])
        return float(2 * np.sum(rates - counts * np.log(rates)))

    starts = np.random.default_rng(2).uniform(0.0, 5.0, (20, 4))
    lowest = min((minimize(deviance, s, bounds=[(0.0, 10.0)] * 4) for s in starts), key=by_value)
    values = [p.value for p in result.fit.parameters if p.name != "mu"]
    assert deviance([result.mu_hat.value, *values]) == pytest.approx(lowest.fun, abs=1e-6)
    assert any("several minima (mu, k)" in line for line in result.warnings)


def test_a_dead_factor_beside_an_empty_bin_is_held():
    """The fit ends in the interior method, whose walls give k an error of its own."""
    k, stat = free_parameter("k", "normfactor"), {"name": "stat", "type": "staterror"}
    norm = {"name": "norm", "type": "normsys", "data": {"hi": 1.3, "lo": 0.8}}
    channels = {
        "c": [
            {"name": "s", "data": [4.0], "modifiers": [STRENGTH]},
            {"name": "b", "data": [0.5], "modifiers": [{**stat, "data": [0.01]}, norm]},
            {"name": "none", "data": [0.0], "modifiers": [{**stat, "data": [0.0]}, k]},
        ],
        "d": [{"name": "s", "data": [0.0, 11.2, 9.1], "modifiers": [STRENGTH]}],
    }
    wide = {"name": "mu", "bounds": [[-10.0, 10.0]], "inits": [1.0]}
    workspace = foreign(channels, {"c": [6.0], "d": [0.0, 16.0, 6.0]}, [wide])
    fitter = Fitter(ReferenceModel(workspace))
    fits = fitter.fit_free(lambda line: None)
    free = fits.free
    assert free.errors[fitter.reference.parameters.names.index("k")] == 0.0
    assert any("without any effect are held: k" in line for line in fits.warnings)


def by_value(found):
    return found.fun
