"""Rankings against refits by other code, cabinetry, and sums that must add up."""

import copy
import json
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from conftest import invoke, plain_workspace
from engine_models import eigen_variations, gaussian_signal, make_pair, small_pair
from others_data import OTHERS, needs

from ddphf.figures import by_cabinetry
from ddphf.figures.style import figure_bytes
from ddphf.inference.fitter import Fitter
from ddphf.inference.ranking.by_cabinetry import rank_with_cabinetry
from ddphf.inference.ranking.impacts import rank_parameters
from ddphf.inference.ranking.priors import read_priors
from ddphf.inference.refits import compiled_meanwhile, refit_all
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.dense import minimize_dense
from ddphf.likelihood.errors.edges import held_by_data, propagate
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.paired.newton import minimize_profiles
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.results.rank import RankResult

SHIFTS = ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
TUTORIAL = OTHERS / "cabinetry_tutorial" / "built_example_workspace.json"


def with_fakes():
    """Every constraint: two Gaussian nuisances, a norm, and per-bin Poisson and Gaussian ones."""
    fakes = np.full(9, 30.0), np.full(9, 20.0)
    workspace = small_pair(fakes=fakes, errors=(fakes[0] * 0.2, fakes[1] * 0.2), fakes_norm=True)
    error = np.linspace(0.3, 0.6, 9).tolist()
    signal = workspace["channels"][0]["samples"][1]
    signal["modifiers"].append({"name": "mc_signal", "type": "staterror", "data": error})
    return workspace


@pytest.fixture(scope="module")
def fitted():
    fitter = Fitter(ReferenceModel(with_fakes()))
    model = fitter.require_compiled()
    return fitter.reference, model, fitter.fit_free(lambda line: None).free


def test_propagation_equals_the_dense_inverse_hessian(fitted):
    reference, model, free = fitted
    table = reference.parameters
    held = held_by_data(free, table.fixed)
    covariance = np.zeros((len(held), len(held)))
    inner = np.ix_(~held, ~held)
    covariance[inner] = 2 * np.linalg.inv(reference.hessian(free.parameters)[inner])
    jacobian = np.empty((reference.n_main, len(held)))
    for j in range(len(held)):
        step = np.zeros(len(held))
        step[j] = 1e-5
        up, down = (reference.rates(free.parameters + s * step) for s in (1, -1))
        jacobian[:, j] = (up - down) / 2e-5
    for index in (table.poi, table.names.index("fakes_SR_b[4]")):
        found = propagate(model, free.parameters, index, fixed=held)
        assert np.allclose(found.covariance, covariance[index], rtol=1e-7, atol=1e-10)
        assert np.allclose(found.rate_covariance, jacobian @ covariance[index], atol=1e-5)
        variance = np.einsum("bi,ij,bj->b", jacobian, covariance, jacobian)
        assert np.allclose(found.rate_variance, variance, rtol=1e-6)
        assert np.allclose(found.rates, reference.rates(free.parameters), rtol=1e-12)
    where = np.asarray(model.cells.global_)
    assert np.allclose(found.global_covariance, covariance[np.ix_(where, where)], rtol=1e-7)


def test_impacts_equal_refits_of_pyhfs_own_likelihood(fitted):
    """Global and per-bin parameters, by the dense Newton on pyhf's logpdf."""
    reference, model, free = fitted
    table, priors = reference.parameters, read_priors(model)
    names = ["lepid_main_eig01", "fakes_norm", "fakes_CR_a[2]", "symmetric_shape[5]"]
    ranked = rank_parameters(with_fakes(), parameters=names)
    assert {p.name for p in ranked.parameters} == set(names)
    for parameter in ranked.parameters:
        j = table.names.index(parameter.name)
        widths = {"prefit": priors.width[j], "postfit": free.errors[j]}
        for shift in SHIFTS:
            kind, side = shift.split("_")
            if np.isnan(widths[kind]):
                assert getattr(parameter, shift) is None
                continue
            start, fixed = free.parameters.copy(), table.fixed.copy()
            start[j] += widths[kind] * (1 if side == "up" else -1)
            fixed[j] = True
            other = minimize_dense(reference, start=start, fixed=fixed)
            assert other.converged
            impact = other.parameters[table.poi] - free.parameters[table.poi]
            assert getattr(parameter, shift) == pytest.approx(impact, abs=1e-6 * ranked.poi.error)


def test_auxiliary_shifts_equal_fits_of_shifted_data(fitted):
    reference, model, free = fitted
    table, con = reference.parameters, model.expansion.constraints
    ranked = rank_parameters(with_fakes(), parameters=["fakes_norm", "fakes_CR_a[2]"])
    for parameter in ranked.parameters:
        j = table.names.index(parameter.name)
        for side, sign in (("up", 1), ("down", -1)):
            shifted = copy.copy(reference)
            shifted.data = reference.data.copy()
            if parameter.name == "fakes_norm":
                place = con.normal_data[list(con.normal_parameter).index(j)]
                shifted.data[reference.n_main + place] += sign
            else:
                place = con.poisson_data[list(con.poisson_parameter).index(j)]
                count = reference.data[reference.n_main + place]
                assert count == pytest.approx(25.0)  # a relative error of .2
                shifted.data[reference.n_main + place] += sign * np.sqrt(count)
            other = minimize_dense(shifted, start=free.parameters, fixed=table.fixed)
            assert other.converged
            impact = other.parameters[table.poi] - free.parameters[table.poi]
            found = getattr(parameter, f"auxiliary_{side}")
            assert found == pytest.approx(impact, abs=1e-6 * ranked.poi.error)


def test_refits_are_compiled_while_the_first_fit_runs():
    pair = small_pair(k=3, n=2)
    pair["observations"][0]["data"][0] = 0.0  # corners are for the pair's own program
    model = Fitter(ReferenceModel(pair)).require_compiled()
    minimize_profiles.clear_cache()  # another test may have compiled the same program
    with compiled_meanwhile(model):
        pass
    assert minimize_profiles._cache_size() == 1
    refit_all(model, start=model.parameters.init[None], fixed=model.parameters.fixed)
    assert minimize_profiles._cache_size() == 1


def test_nothing_is_drawn_where_no_parameter_does_anything(folder):
    """A free factor of a sample without events: held, not ranked, and no figure."""
    workspace = plain_workspace()
    idle = {"name": "idle", "data": [0.0] * 3, "modifiers": []}
    idle["modifiers"].append({"name": "scale", "type": "normfactor", "data": None})
    workspace["channels"][0]["samples"].append(idle)
    ranked = rank_parameters(workspace)
    assert ranked.parameters == ()
    assert by_cabinetry.draw_ranking(ranked) is None
    assert by_cabinetry.draw_pulls(ranked) is None
    outcome = invoke("rank", "-", "--plots", "p", "-o", "r.json", stdin=json.dumps(workspace))
    assert outcome.code == 0, outcome.err
    for name in ("ranking", "ranking_pulls", "ranking_correlations"):
        assert f"{name}.png: nothing to draw" in outcome.err
    assert not (folder / "p").exists()


def test_pulls_and_priors():
    ranked = rank_parameters(with_fakes(), parameters=["lepid*", "fakes_CR_a[2]"])
    by_name = {p.name: p for p in ranked.parameters}
    alpha, gamma = by_name["lepid_main_eig00"], by_name["fakes_CR_a[2]"]
    assert (alpha.nominal, alpha.prior_width) == (0.0, 1.0)
    assert (alpha.pull, alpha.constraint) == (alpha.value, alpha.error)
    assert gamma.nominal == pytest.approx(1.0)
    assert gamma.prior_width == pytest.approx(0.2)
    assert gamma.pull == pytest.approx((gamma.value - 1) / 0.2)


def test_frozen_groups_equal_fits_with_held_parameters(fitted):
    reference, _, free = fitted
    table = reference.parameters
    ranked = rank_parameters(with_fakes(), groups=[("id", "lepid_*"), ("norm", "fakes_norm")])
    groups = {g.name: g for g in ranked.groups}
    assert set(groups) == {"id", "norm", "fakes_SR_b", "fakes_CR_a", "mc_signal"}
    assert groups["fakes_SR_b"].parameters == 9

    def error_without(prefixes):
        fixed = table.fixed | np.array([n.startswith(prefixes) for n in table.names])
        other = minimize_dense(reference, start=free.parameters, fixed=fixed)
        assert other.converged
        assert np.allclose(other.parameters, free.parameters, atol=1e-6)
        return other.errors[table.poi]

    total = ranked.frozen["total"]
    assert groups["id"].frozen_error == pytest.approx(error_without("lepid_"), rel=1e-6)
    assert groups["id"].impact == pytest.approx(np.sqrt(total**2 - error_without("lepid_") ** 2))
    statistical = error_without(("lepid_", "fakes_", "mc_signal"))
    assert ranked.frozen["statistical"] == pytest.approx(statistical, rel=1e-6)
    assert ranked.frozen["all_groups"] == pytest.approx(statistical, rel=1e-6)
    rest = total**2 - statistical**2 - sum(g.impact**2 for g in ranked.groups)
    assert ranked.frozen["remainder_variance"] == pytest.approx(rest, abs=1e-9)
    assert ranked.frozen["systematic"] == pytest.approx(np.sqrt(total**2 - statistical**2))


def test_numbered_parameters_form_groups_without_being_asked_to():
    ranked = rank_parameters(with_fakes())
    groups = {g.name: g.parameters for g in ranked.groups}
    assert groups == {
        "lepid_main_eig": 2, "other": 1, "fakes_SR_b": 9, "fakes_CR_a": 9, "mc_signal": 9,
    }  # fmt: skip
    one = rank_parameters(with_fakes(), groups=[("other", "lepid_main_eig00")])
    assert {g.name: g.parameters for g in one.groups} == {
        "other": 1, "other (rest)": 2, "fakes_SR_b": 9, "fakes_CR_a": 9, "mc_signal": 9,
    }  # fmt: skip


def test_auxiliary_shifts_add_up_to_the_error():
    """6x6 bins, 14 eigen-variations: what is judged."""
    ranked = rank_parameters(small_pair(k=14, n=6))
    assert ranked.auxiliary["ratio"] == pytest.approx(1.0, abs=0.02)
    shifts = [np.hypot(p.auxiliary_up, p.auxiliary_down) / np.sqrt(2) for p in ranked.parameters]
    assert ranked.auxiliary["systematic"] == pytest.approx(np.sqrt(np.sum(np.square(shifts))))
    assert ranked.groups[0].auxiliary == pytest.approx(ranked.auxiliary["systematic"])
    # Neither are post-fit impacts a sum that adds up, nor are frozen errors the same split.
    assert not ranked.failures
    sizes = [p.size for p in ranked.parameters]
    assert sizes == sorted(sizes, reverse=True)


def test_one_sided_variations_are_not_lost_from_the_sum():
    """Background +5 % for both signs: mu falls both times, and half the difference is 0."""
    both = {"hi_data": [105.0, 210.0], "lo_data": [105.0, 210.0]}
    mu = {"name": "mu", "type": "normfactor", "data": None}
    samples = [
        {"name": "signal", "data": [10.0, 5.0], "modifiers": [mu]},
        {"name": "background", "data": [100.0, 200.0], "modifiers": [
            {"name": "norm", "type": "normsys", "data": {"hi": 1.05, "lo": 0.96}},
            {"name": "one_sided", "type": "histosys", "data": both}]},
    ]  # fmt: skip
    workspace = {
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [113.0, 209.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
            {"name": "mu", "bounds": [[-10.0, 10.0]]}]}}],
        "version": "1.0.0",
    }  # fmt: skip
    ranked = rank_parameters(workspace)
    by_name = {p.name: p for p in ranked.parameters}
    up, down = by_name["one_sided"].auxiliary_up, by_name["one_sided"].auxiliary_down
    rest = by_name["norm"]
    expected = (up**2 + down**2 + rest.auxiliary_up**2 + rest.auxiliary_down**2) / 2
    assert ranked.auxiliary["systematic"] == pytest.approx(np.sqrt(expected))
    assert ranked.auxiliary["systematic"] > np.hypot((up - down) / 2, rest.auxiliary_up) * 0.99


def test_statistical_part_equals_shifted_counts():
    """The derivative by each count, against refits of counts shifted by a little."""
    workspace = with_fakes()
    ranked = rank_parameters(workspace)
    model = CompiledModel.from_reference(ReferenceModel(workspace))
    variance, poi = 0.0, model.parameters.poi
    for i in range(model.n_main):
        mu = []
        for sign in (1, -1):
            data = model.data.copy()
            data[i] += sign * 0.01
            mu.append(minimize(model, data=data).parameters[poi])
        variance += ((mu[0] - mu[1]) / 0.02) ** 2 * model.data[i]
    assert ranked.auxiliary["statistical"] == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_a_failed_refit_is_reported_and_the_rest_goes_on():
    """At +1 sigma the variation makes a rate negative: no probability, no number."""
    workspace = small_pair(k=1, n=2)
    sample = workspace["channels"][1]["samples"][0]
    low = (3 * np.array(sample["data"])).tolist()
    high = (-np.array(sample["data"])).tolist()
    low[0], high[0] = sample["data"][0], sample["data"][0]
    sample["modifiers"].append(
        {"name": "broken", "type": "histosys", "data": {"hi_data": high, "lo_data": low}}
    )
    ranked = rank_parameters(workspace)
    broken = next(p for p in ranked.parameters if p.name == "broken")
    assert broken.prefit_up is None
    assert broken.postfit_up is not None
    assert [(f["parameter"], f["shift"]) for f in ranked.failures][:1] == [("broken", "prefit_up")]
    assert ranked.failures[0]["reason"]
    assert any("have no certificate" in line for line in ranked.warnings)
    other = next(p for p in ranked.parameters if p.name == "lepid_main_eig00")
    assert None not in (other.prefit_up, other.prefit_down, other.postfit_up, other.postfit_down)
    found = ranked.to_cabinetry_ranking()
    assert np.isnan(found.prefit_up[found.labels.index("broken")])


def test_a_shift_stays_in_the_bounds():
    workspace = small_pair(k=2, n=2)
    config = workspace["measurements"][0]["config"]
    name = "lepid_main_eig00"
    config["parameters"].append({"name": name, "inits": [0.0], "bounds": [[-0.8, 0.8]]})
    ranked = rank_parameters(workspace)
    parameter = ranked.parameters[0]
    assert parameter.clipped
    assert any(f"held at it: {name}" in line for line in ranked.warnings)
    assert RankResult.from_dict(ranked.to_dict()) == ranked


def test_a_poi_at_its_bound_has_impacts_but_no_decomposition():
    workspace = small_pair(k=2, n=2)
    workspace["observations"][0]["data"] = [300.0] * 4
    workspace["measurements"][0]["config"]["parameters"][0]["bounds"] = [[0.0, 10.0]]
    ranked = rank_parameters(workspace)
    assert ranked.poi.at_bound
    assert ranked.poi.value == 0.0
    assert ranked.frozen is None
    assert ranked.auxiliary is None
    assert any("no error to take apart" in line for line in ranked.warnings)
    assert all(p.postfit_up is not None for p in ranked.parameters)


def test_tied_background_with_empty_bins():
    """Counts of a few per bin, with bins empty in both channels: held cells, no NaN."""
    rng = np.random.default_rng(2)
    a, b = rng.poisson(1.0, 4), rng.poisson(1.5, 4)
    a[0] = b[0] = 0
    flat = np.full(4, 1.0)
    variations = eigen_variations(2, 4, rng, 0.03)
    workspace = make_pair(flat, a, b, gaussian_signal(2, 1.0) * 5, variations=variations)
    ranked = rank_parameters(workspace)
    assert not ranked.failures
    json.dumps(ranked.to_dict(), allow_nan=False)
    # The empty bin makes a corner at mu = 0, where the best fit is: no symmetric error.
    assert (ranked.poi.value, ranked.poi.error, ranked.frozen) == (0.0, None, None)
    assert "the POI has no error to take apart" in ranked.warnings


@needs("cabinetry_tutorial")
def test_cabinetrys_tutorial():
    """Same shifts, same impacts; its printed errors are Minuit's, off by the bounds of alpha."""
    import cabinetry

    workspace = json.loads(TUTORIAL.read_text())
    ranked = rank_parameters(workspace, parameters=["*"])
    ours = ranked.to_cabinetry_ranking()
    reference = ReferenceModel(workspace)
    labels = reference.parameters.names
    value = dict(
        zip([*ours.labels, ranked.poi.name], [*ours.bestfit, ranked.poi.value], strict=True)
    )
    error = dict(
        zip([*ours.labels, ranked.poi.name], [*ours.uncertainty, ranked.poi.error], strict=True)
    )
    fit = cabinetry.fit.FitResults(
        np.array([value[n] for n in labels]), np.array([error[n] for n in labels]),
        list(labels), np.eye(len(labels)), ranked.twice_nll,
    )  # fmt: skip
    with pyhf_backend("jax", "minuit"):
        theirs = cabinetry.fit.ranking(
            reference.model, list(reference.data), fit_results=fit, tolerance=1e-4
        )
    for shift in SHIFTS:
        expected = dict(zip(theirs.labels, getattr(theirs, shift), strict=True))
        for name, found in zip(ours.labels, getattr(ours, shift), strict=True):
            assert found == pytest.approx(expected[name], abs=1e-3 * ranked.poi.error)
    # What its documentation prints, with Minuit's own errors.
    modeling = next(p for p in ranked.parameters if p.name == "Modeling")
    assert modeling.postfit_up == pytest.approx(-1.15334, abs=3e-3)
    assert modeling.postfit_down == pytest.approx(0.87516, abs=3e-3)
    stat = next(p for p in ranked.parameters if p.name == "staterror_Signal_region[3]")
    assert stat.postfit_up == pytest.approx(0.133667, abs=1e-3)
    assert stat.postfit_down == pytest.approx(-0.102947, abs=3e-3)


def test_engine_cabinetry_and_its_containers():
    """Its own ranking of the global parameters, and its figures of our results."""
    from cabinetry import visualize

    workspace = small_pair(k=2, n=2, t=1e4)
    ours, theirs = rank_parameters(workspace), rank_with_cabinetry(workspace)
    assert theirs.engine == "cabinetry"
    assert [p.name for p in theirs.parameters] == [p.name for p in ours.parameters]
    for a, b in zip(ours.parameters, theirs.parameters, strict=True):
        for shift in SHIFTS:
            expected = pytest.approx(getattr(b, shift), abs=1e-3 * ours.poi.error)
            assert getattr(a, shift) == expected
    assert theirs.groups == ()
    assert RankResult.from_dict(json.loads(json.dumps(theirs.to_dict()))) == theirs
    assert ours.to_cabinetry_fit().labels[0] == "mu"
    for figure in (
        visualize.ranking(ours.to_cabinetry_ranking(), save_figure=False),
        visualize.pulls(ours.to_cabinetry_fit(), exclude="mu", save_figure=False),
        visualize.correlation_matrix(ours.to_cabinetry_fit(), save_figure=False),
    ):
        assert isinstance(figure, matplotlib.figure.Figure)


@pytest.mark.slow
def test_every_impact_equals_cabinetrys_own():
    """Its own fit, errors and refits of 50 parameters; 6x6 bins, 14 eigen-variations."""
    workspace = small_pair(k=14, n=6, t=1e4, size=0.01)
    ours = rank_parameters(workspace, parameters=["*"])
    theirs = {p.name: p for p in rank_with_cabinetry(workspace, parameters=["*"]).parameters}
    assert len(theirs) == len(ours.parameters) == 50
    for parameter in ours.parameters:
        for shift in SHIFTS:
            a, b = getattr(parameter, shift), getattr(theirs[parameter.name], shift)
            assert a == (None if b is None else pytest.approx(b, abs=1e-3 * ours.poi.error))


def test_errors_are_the_numerical_hessians_and_minuits_suffer_from_bounds():
    """Of pyhf's numpy likelihood by finite differences; Minuit's are sin(e) / e of them."""
    import cabinetry
    import pyhf

    workspace = small_pair(k=2, n=2, t=1e4, size=0.002)  # too small for the data to see much
    reference = ReferenceModel(workspace)
    free = minimize(CompiledModel.from_reference(reference))
    model = pyhf.Workspace(workspace).model()  # of numpy
    best, steps = free.parameters, 1e-2 * free.errors
    n = len(best)

    def twice_nll(*shifts):
        point = best + sum(sign * steps[j] * np.eye(n)[j] for j, sign in shifts)
        return -2 * model.logpdf(point, reference.data)[0]

    hessian = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            corners = (s * t * twice_nll((i, s), (j, t)) for s in (1, -1) for t in (1, -1))
            hessian[i, j] = sum(corners) / (4 * steps[i] * steps[j])
    numerical = np.sqrt(2 * np.diag(np.linalg.inv(hessian)))
    # 2NLL is known to about 1e-11, and its fourth differences are divided by 4e-4.
    assert np.allclose(free.errors, numerical, rtol=1e-5)
    with pyhf_backend("jax", "minuit"):
        theirs = cabinetry.fit.fit(reference.model, list(reference.data), tolerance=1e-4)
    for j in range(n):
        if reference.parameters.names[j].startswith("lepid_"):
            e = free.errors[j] / 5
            assert theirs.uncertainty[j] == pytest.approx(5 * np.sin(e), rel=1e-3)
            assert theirs.uncertainty[j] < 0.995 * numerical[j]


def test_correlations_are_those_of_the_dense_hessian(fitted):
    reference, _, free = fitted
    found = rank_parameters(with_fakes()).correlations
    covariance = 2 * np.linalg.inv(reference.hessian(free.parameters))
    where = [reference.parameters.names.index(n) for n in found.names]
    assert found.names[0] == "mu"
    assert not any("[" in name for name in found.names)
    block = covariance[np.ix_(where, where)]
    errors = np.sqrt(np.diag(block))
    assert np.allclose(found.errors, errors, rtol=1e-6)
    assert np.allclose(found.matrix, block / np.outer(errors, errors), atol=1e-7)


@pytest.fixture
def workspace_file(folder):
    (folder / "workspace.json").write_text(json.dumps(with_fakes()))
    return folder / "workspace.json"


def test_command_line(workspace_file, folder):
    outcome = invoke(
        "rank", "workspace.json", "-o", "rank.json", "--top", "2", "--plots", "figures",
        "--group", "id=lepid_*",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "post-fit correlations" in outcome.err
    data = json.loads((folder / "rank.json").read_text())
    assert data["schema"] == "ddphf/rank/1"
    assert len(data["parameters"]) == 2
    assert data["n_ranked"] == 3
    assert data["provenance"]["workspace_digest"].startswith("sha256:")
    result = RankResult.from_dict(data)
    assert json.loads(json.dumps(result.to_dict())) == data
    for name in ("ranking", "ranking_pulls", "ranking_correlations"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5000
    again = invoke("rank", "workspace.json", "-o", "rank.json")
    assert again.code == 2
    assert "give --force" in again.err


def test_cabinetry_draws_what_its_engine_ranked(folder):
    options = ["--engine", "cabinetry", "--plots", "plots", "--format", "svg", "-o", "rank.json"]
    outcome = invoke("rank", "-", *options, stdin=json.dumps(small_pair(k=1, n=2, t=1e4)))
    assert outcome.code == 0, outcome.err
    ranked = RankResult.from_dict(json.loads(Path("rank.json").read_text()))
    for name, draw in (
        ("ranking", by_cabinetry.draw_ranking),
        ("ranking_pulls", by_cabinetry.draw_pulls),
        ("ranking_correlations", by_cabinetry.draw_correlations),
    ):
        assert Path(f"plots/{name}.svg").read_bytes() == figure_bytes(draw(ranked), "svg")


def test_pipes_and_a_per_bin_ranking(folder):
    text = json.dumps(plain_workspace())
    outcome = invoke("rank", "-", "--parameters", "symmetric_shape[?]", stdin=text)
    assert outcome.code == 0, outcome.err
    data = json.loads(outcome.out)
    assert len(data["parameters"]) == 3
    assert data["groups"] == []
    assert data["frozen"]["systematic"] == 0.0
    assert data["auxiliary"]["ratio"] == pytest.approx(1.0, abs=0.02)
    # Unconstrained: nothing pre-fit to shift, and none of cabinetry's figures may fail on it.
    assert all(p["prefit_up"] is None and not p["constrained"] for p in data["parameters"])
    (folder / "workspace.json").write_text(text)
    options = ["--parameters", "symmetric_*", "--plots", "p", "-o", "rank.json"]
    assert invoke("rank", "workspace.json", *options).code == 0
    assert (folder / "p" / "ranking.png").exists()
    assert not (folder / "p" / "ranking_pulls.png").exists()


def test_a_poi_at_a_corner_has_no_impacts(folder):
    """A bin of signal alone without events holds mu at 0: no number, and a warning why."""
    normsys = {"name": "a", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    mu = {"name": "mu", "type": "normfactor", "data": None}
    spec = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {"name": "s", "data": [10.0, 3.0], "modifiers": [mu]},
                    {"name": "b", "data": [30.0, 0.0], "modifiers": [normsys]},
                ],
            }
        ],
        "observations": [{"name": "c", "data": [20.0, 0.0]}],
        "measurements": [
            {
                "name": "m",
                "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[-5.0, 50.0]]}]},
            }
        ],
        "version": "1.0.0",
    }
    Path("w.json").write_text(json.dumps(spec))
    outcome = invoke("rank", "w.json", "--group", "g=a", "-o", "rank.json", "--plots", "figures")
    assert outcome.code == 0
    record = json.loads(Path("rank.json").read_text())
    assert record["poi"]["error"] is None
    (impact,) = record["parameters"]
    kinds = ("prefit", "postfit", "auxiliary")
    numbers = [impact[f"{kind}_{side}"] for kind in kinds for side in ("up", "down")]
    assert [*numbers, impact["covariance"], record["frozen"]] == [None] * 8
    assert impact["error"] > 0
    assert record["groups"] == []
    assert record["correlations"]["errors"][0] == 0
    assert any("no impact on it is defined" in line for line in record["warnings"])
    assert "+0.0000" not in outcome.err
    assert "│ a │          - │" in outcome.err
    assert json.loads(json.dumps(RankResult.from_dict(record).to_dict())) == record
    assert invoke("fit", "w.json", "-o", "fit.json").code == 0
    assert invoke("report", "w.json", "fit.json", "rank.json", "-o", "r.html").code == 0
