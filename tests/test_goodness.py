"""Goodness of fit against cabinetry, closed forms and independent toys."""

import json

import numpy as np
import pyhf
import pytest
from conftest import invoke
from engine_models import eigen_variations, gaussian_signal, make_pair
from others_data import OTHERS, needs
from scipy.stats import chi2, kstest, poisson

from ddphf.inference.fit import fit_workspace
from ddphf.inference.fitter import Fitter
from ddphf.inference.goodness import expected_deviance, measure_goodness, saturated_twice_nll
from ddphf.inference.refits import refit_all
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.expansion import read_constraints
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.results.fit import FitResult

TUTORIAL = OTHERS / "cabinetry_tutorial" / "built_example_workspace.json"


def fitted(workspace):
    fitter = Fitter(ReferenceModel(workspace))
    return fitter, fitter.fit_free(lambda line: None).free


def pair(t, n=9, seed=1, k=0, null=False):
    """A pair without signal; ``null`` holds mu at 0, where D has a closed form."""
    rng = np.random.default_rng(seed)
    flat = np.full(n, float(t))
    signal = gaussian_signal(int(np.sqrt(n)), 1.0) * 5 * np.sqrt(t)
    variations = eigen_variations(k, n, rng, 0.02) if k else None
    workspace = make_pair(flat, rng.poisson(flat), rng.poisson(flat), signal, variations=variations)
    if null:
        workspace["measurements"][0]["config"]["parameters"][0]["fixed"] = True
    return workspace


def closed_form(a, b):
    """D of background alone: each bin's two counts against their mean."""
    mean = (a + b) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(a > 0, a * np.log(a / mean), 0.0)
        terms += np.where(b > 0, b * np.log(b / mean), 0.0)
    return 2 * np.nansum(terms, axis=-1)


def counts(workspace):
    data = {o["name"]: np.array(o["data"]) for o in workspace["observations"]}
    return data["CR_a"], data["SR_b"]


def test_closed_form_of_the_background_alone():
    workspace = pair(50, null=True)
    fitter, free = fitted(workspace)
    found = measure_goodness(fitter, free)
    a, b = counts(workspace)
    assert found.statistic == pytest.approx(closed_form(a, b), abs=1e-9)
    assert found.degrees_of_freedom == 9  # 18 bins, 9 backgrounds
    assert found.p_value == pytest.approx(chi2.sf(found.statistic, 9))
    assert found.constraint_part == 0.0
    # Both counts of a bin deviate alike: var(n - (a + b) / 2) = rate / 2.
    pulls = {c.name: np.array(c.pulls) for c in found.channels}
    expected = (b - a) / 2 / np.sqrt((a + b) / 4)
    assert np.allclose(pulls["SR_b"], expected, atol=1e-6)
    assert np.allclose(pulls["CR_a"], -expected, atol=1e-6)


def test_it_is_2nll_above_the_saturated_model():
    """With constraints of both kinds, one of them held by the measurement."""
    fakes = np.full(9, 10.0), np.full(9, 8.0)
    rng = np.random.default_rng(4)
    flat = np.full(9, 100.0)
    workspace = make_pair(
        flat, rng.poisson(flat + fakes[1]), rng.poisson(flat + fakes[0]),
        gaussian_signal(3, 1.0) * 50, variations=eigen_variations(2, 9, rng, 0.03),
        fakes=fakes, errors=(fakes[0] * 0.2, fakes[1] * 0.3), fakes_norm=True,
    )  # fmt: skip
    config = workspace["measurements"][0]["config"]["parameters"]
    config.append({"name": "lepid_main_eig01", "inits": [0.7], "fixed": True})
    fitter, free = fitted(workspace)
    found, reference = measure_goodness(fitter, free), fitter.reference
    saturated = saturated_twice_nll(
        read_constraints(reference.model.constraint_model), reference.parameters.fixed,
        free.parameters, reference.n_main, reference.data,
    )  # fmt: skip
    assert found.statistic == pytest.approx(free.twice_nll - saturated, abs=1e-8)
    assert found.degrees_of_freedom == 18 - 9 - 1
    assert found.constraint_part > 0
    # cabinetry lets held parameters maximise their constraint, too: here .7^2 more.
    from cabinetry.fit import _goodness_of_fit

    with pyhf_backend("numpy"):
        theirs = _goodness_of_fit(reference.model, list(reference.data), free.twice_nll)
    assert theirs == pytest.approx(chi2.sf(found.statistic + 0.49, 8), rel=1e-9)


@needs("cabinetry_tutorial")
def test_cabinetrys_tutorial():
    """Fit, significance and goodness of fit as printed in its notebook and by its code."""
    import cabinetry

    workspace = json.loads(TUTORIAL.read_text())
    found = fit_workspace(workspace)
    printed = json.loads((TUTORIAL.parent / "reference.json").read_text())
    assert found.fit.twice_nll == pytest.approx(printed["best_twice_nll"], abs=1e-5)
    for name, (value, error) in printed["bestfit"].items():
        parameter = found.fit.parameter(name)
        assert parameter.value == pytest.approx(value, abs=1e-3 * error)
        # Minuit's errors of bounded parameters: up to a few per cent for wide ones.
        assert parameter.error == pytest.approx(error, rel=0.02)
    assert found.discovery.z0 == pytest.approx(printed["significance"]["observed"], abs=6e-4)
    reference = ReferenceModel(workspace)
    with pyhf_backend("numpy", "minuit"):
        theirs = cabinetry.fit.fit(reference.model, list(reference.data), goodness_of_fit=True)
    assert found.goodness_of_fit.p_value == pytest.approx(theirs.goodness_of_fit, abs=1e-5)
    assert found.goodness_of_fit.degrees_of_freedom == 3


def test_expected_deviance():
    for rate in (0.01, 0.7, 5.0, 25.0, 99.0, 101.0, 400.0):
        n = np.arange(0, 1000)
        deviance = 2 * (rate - n + np.where(n > 0, n * np.log(np.maximum(n, 1) / rate), 0.0))
        mean = np.sum(poisson.pmf(n, rate) * deviance)
        assert expected_deviance(np.array([rate]))[0] == pytest.approx(mean, abs=2e-6)
    assert expected_deviance(np.array([0.0]))[0] == 0.0


@pytest.mark.parametrize(("t", "per_bin"), [(25, 1.0105), (5, 1.0745)])
def test_low_counts_are_said_to_need_toys(t, per_bin):
    """The mean of D per bin of a pair, as computed elsewhere; its p-value is then no p-value."""
    workspace = pair(t, n=400, null=True)
    for observation in workspace["observations"]:
        observation["data"] = [float(t)] * 400
    fitter, free = fitted(workspace)
    found = measure_goodness(fitter, free)
    assert found.expected_statistic / 400 == pytest.approx(per_bin, abs=1.5e-4)
    assert not found.asymptotic


def test_toys_equal_independent_ones():
    """Background alone at 3 events per bin: D in closed form, drawn and computed by numpy."""
    workspace = pair(3, null=True, seed=7)
    fitter, free = fitted(workspace)
    found = measure_goodness(fitter, free, toys=4000, seed=5)
    a, b = counts(workspace)
    rates = (a + b) / 2
    rng = np.random.default_rng(99)
    n = 100_000
    values = closed_form(rng.poisson(rates, (n, 9)), rng.poisson(rates, (n, 9)))
    p = np.mean(values >= found.statistic)
    toys = found.toys
    assert toys["n_failed"] == 0
    assert abs(toys["p_value"] - p) < 4 * np.sqrt(p * (1 - p) / 4000)
    low, high = toys["p_interval"]
    assert low < toys["p_value"] < high
    assert abs(toys["mean"] - values.mean()) < 4 * values.std() / np.sqrt(4000)
    assert found.expected_statistic == pytest.approx(values.mean(), abs=0.1)
    # Toy i of a seed is the same however many are drawn.
    again = measure_goodness(fitter, free, toys=4000, seed=5)
    assert again == found


def test_a_model_that_fits_every_count_has_p_1():
    """One bin and mu: D is 0 up to rounding, and no toy is better."""
    spec = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [5.0])
    workspace = dict(pyhf.Workspace.build(spec, [55.0, *spec.config.auxdata]))
    fitter, free = fitted(workspace)
    found = measure_goodness(fitter, free, toys=100, seed=1)
    assert found.degrees_of_freedom == 0
    assert found.toys["p_value"] == 1.0


def test_toys_of_a_fit_at_a_corner():
    """A bin empty in both channels holds mu at 0; nuisances are fitted in toys all the same.

    Their D counts 4 bins and 2 constraints less 2 factors and 2 nuisances, mu held: 2 at most.
    """
    variations = np.array([[0.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    workspace = make_pair(
        np.array([50.0, 30.0, 1.0]), np.array([50, 30, 0]), np.array([56, 34, 0]),
        np.array([5.0, 3.0, 2.0]), variations=variations,
    )  # fmt: skip
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0.0, 10.0]]
    fitter, free = fitted(workspace)
    table = fitter.reference.parameters
    assert free.parameters[table.poi] == 0.0
    held = table.fixed.copy()
    held[table.poi] = True
    null = minimize(fitter.require_compiled(), start=free.parameters, fixed=held)
    assert np.allclose(free.errors, null.errors, rtol=1e-9)
    nuisances = [i for i, name in enumerate(table.names) if name.startswith("lepid_")]
    assert np.all(free.errors[nuisances] > 0.5)
    toys = measure_goodness(fitter, free, toys=400, seed=3).toys
    assert 1.0 < toys["mean"] < 2.0 + 4 * 2.0 / np.sqrt(400)


def test_expected_deviance_of_no_events_is_not_negative():
    spec = pyhf.simplemodels.uncorrelated_background([5.0, 1.0], [1e-9, 1e-9], [1e-10, 1e-10])
    workspace = dict(pyhf.Workspace.build(spec, [0.0, 0.0, *spec.config.auxdata]))
    assert 0 <= measure_goodness(*fitted(workspace)).expected_statistic < 0.1


def test_pulls_have_unit_width():
    """Over toys, also where nuisances and the signal take part of the deviation."""
    workspace = pair(400, k=2)
    fitter, free = fitted(workspace)
    model = fitter.require_compiled()
    source = ToySource.at(model, free.parameters)
    squares = []
    for data in np.concatenate([source.draw_block(3, block) for block in range(2)])[:50]:
        toy = json.loads(json.dumps(workspace))
        for observation in toy["observations"]:
            where = fitter.reference.channel_slices[observation["name"]]
            observation["data"] = data[where].tolist()
        toy_fitter = Fitter(ReferenceModel(toy))
        minimum = minimize(toy_fitter.require_compiled(), start=free.parameters)
        channels = measure_goodness(toy_fitter, minimum).channels
        squares.append(np.concatenate([c.pulls for c in channels]) ** 2)
    # 50 toys of 8 independent pulls: the channels' are equal up to the sign, and mu takes one.
    # Undivided by the fit's own error they would be half as large.
    assert np.mean(squares) == pytest.approx(1.0, abs=4 * np.sqrt(2 / (50 * 8)))


def null_p_values(t, n_toys, n=36, k=2):
    """Asymptotic p-values of toys drawn from one model and fitted again."""
    workspace = pair(t, n=n, k=k)
    fitter, free = fitted(workspace)
    model = fitter.require_compiled()
    source = ToySource.at(model, free.parameters)
    data = np.concatenate([source.draw_block(11, b) for b in range(-(-n_toys // 32))])[:n_toys]
    start = np.repeat(free.parameters[None], n_toys, axis=0)
    refits = refit_all(model, start=start, fixed=model.parameters.fixed, data=data)
    assert not refits.reasons
    least = saturated_twice_nll(
        model.expansion.constraints, model.parameters.fixed, free.parameters, model.n_main, data
    )
    return chi2.sf(refits.twice_nll - least, n - 1)


def test_p_values_of_the_null_are_uniform():
    assert kstest(null_p_values(1e4, 300, n=9), "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_p_values_of_the_null_are_uniform_over_2000_toys():
    assert kstest(null_p_values(1e4, 2000, k=14), "uniform").pvalue > 1e-3


def test_command_line(folder):
    (folder / "workspace.json").write_text(json.dumps(pair(3, null=False, seed=7)))
    outcome = invoke("fit", "workspace.json", "-o", "fit.json")
    assert outcome.code == 0, outcome.err
    assert "--goodness-toys N decides" in outcome.err
    data = json.loads((folder / "fit.json").read_text())
    found = data["goodness_of_fit"]
    assert found["degrees_of_freedom"] == 8
    assert not found["asymptotic"]
    assert "toys" not in found
    assert json.loads(json.dumps(FitResult.from_dict(data).to_dict())) == data
    options = ["--goodness-toys", "200", "--seed", "2", "--force"]
    outcome = invoke("fit", "workspace.json", "-o", "fit.json", *options)
    assert outcome.code == 0, outcome.err
    assert "decides" not in outcome.err
    assert "by 200 toys p = " in outcome.err
    data = json.loads((folder / "fit.json").read_text())
    assert data["goodness_of_fit"]["toys"]["n"] == 200
    assert json.loads(json.dumps(FitResult.from_dict(data).to_dict())) == data


def test_a_fit_by_pyhf_has_the_same():
    workspace = pair(50)
    by_pyhf = fit_workspace(workspace, engine="pyhf").goodness_of_fit
    by_ddphf = fit_workspace(workspace).goodness_of_fit
    assert by_pyhf.p_value == pytest.approx(by_ddphf.p_value, abs=1e-6)
    for one, other in zip(by_pyhf.channels, by_ddphf.channels, strict=True):
        assert np.allclose(one.pulls, other.pulls, atol=1e-3)
