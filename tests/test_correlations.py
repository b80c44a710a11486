"""The correlation study: the published matrices by closed form and by toys, and the command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke
from scipy.optimize import minimize_scalar
from test_lepton_id_build import write_event_analysis

from ddphf.compute.work import Work
from ddphf.config.analysis import read_analysis
from ddphf.exceptions import ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.inputs.covariance import axis_correlation, make_covariance, rho_covariance
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.likelihood.reference import ReferenceModel
from ddphf.results.correlations import CorrelationResult
from ddphf.studies.correlations import (
    RHOS,
    _draw,
    _pulls,
    advise,
    closed_widths,
    toy_widths,
)
from ddphf.studies.lepton_id import _alike, study_analysis, study_pair
from ddphf.studies.ratio import add_uncorrelated, measure_ratio
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.load_events import EventSamples
from ddphf.symmetry.load_lepton_id import load_covariance
from ddphf.symmetry.load_maps import read_maps
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.eigen import decompose

U = np.array([0.010, 0.008, 0.006, 0.005, 0.004, 0.004, 0.006])
N = 50_000.0
DELTA = 0.005

WIDTHS = np.array(
    [
        [1, 0.811815, 0.765800, 0.811092, 0.966159],
        [1.276488, 1, 0.890632, 0.878586, 0.974729],
        [1.502945, 1.157996, 1, 0.941253, 0.983225],
        [1.699490, 1.296885, 1.098533, 1, 0.991648],
        [1.875550, 1.422275, 1.188928, 1.055482, 1],
    ]
)
WITH_SHAPESYS = np.array([0.822616, 0.870358, 0.915614, 0.958736, 1])


def factor(rho):
    matrix = rho_covariance(U, [axis_correlation(np.arange(7), rho)])
    return decompose(make_covariance(matrix), np.eye(7)).columns


def ratio_pair():
    """50 000 events per bin and channel; x on the tested channel alone."""
    counts, none = np.full(7, N), np.zeros((7, 7))
    lepton_id = LeptonId(make_covariance(np.eye(7)), np.eye(7), none, on_signal=False)
    signal = Template(np.eye(7)[3] * 500.0)
    return Pair(Channel("mu", counts, signal=signal), Channel("e", counts), lepton_id=lepton_id)


def covariances():
    return [
        make_covariance(rho_covariance(U, [axis_correlation(np.arange(7), rho)])) for rho in RHOS
    ]


def study(delta, n_toys, **options):
    return study_pair(
        ratio_pair(), covariances(), rho=RHOS, poi="ratio", uncorrelated=delta, n_toys=n_toys,
        seed=3, **options,
    )  # fmt: skip


def closed(delta):
    variance = np.full(7, 2 / N + delta**2)
    return closed_widths(np.ones(7), variance, [factor(rho) for rho in RHOS])


def test_closed_form_gives_the_published_matrix():
    assert closed(0.0) == pytest.approx(WIDTHS, abs=1e-6)
    assert closed(DELTA)[:, 4] == pytest.approx(WITH_SHAPESYS, abs=1e-6)
    assert np.diag(closed(DELTA)) == pytest.approx(np.ones(5), abs=1e-12)
    # The same from a pair: the shared background drops out, R multiplies the tested channel.
    for delta in (0.0, DELTA):
        assert study(delta, 0).closed == pytest.approx(closed(delta), abs=1e-9)


def test_closed_form_is_the_dense_matrix_formula():
    rng = np.random.default_rng(0)
    d, variance = rng.normal(size=9), rng.uniform(1, 2, 9)
    factors = [rng.normal(size=(9, 3)), rng.normal(size=(9, 5))]
    dense = [np.diag(variance) + f @ f.T for f in factors]
    for row, toy in enumerate(dense):
        for column, model in enumerate(dense):
            inverse = np.linalg.inv(model)
            s2 = 1 / (d @ inverse @ d)
            w = s2 * inverse @ d
            expected = np.sqrt(w @ toy @ w / s2)
            assert closed_widths(d, variance, factors)[row, column] == pytest.approx(expected)


def agree(result, expected, n_toys):
    """25 numbers in 5 independent rows, accepted within 4.5 sigma."""
    widths, errors = np.array(result.toys), np.array(result.toy_errors)
    assert errors == pytest.approx(widths / np.sqrt(2 * n_toys), rel=0.35)
    assert np.all(np.abs(widths - expected) < 4.5 * errors)
    assert result.n_failed == 0


def test_toys_agree_with_the_closed_form():
    agree(study(0.0, 250), WIDTHS, 250)


def test_toys_with_a_shapesys_agree_with_the_closed_form():
    widths, errors, failed = toy_widths(models(DELTA, [0.25, 0.75]), n_toys=200, seed=5)
    assert np.all(np.abs(widths - closed(DELTA)[np.ix_([1, 3], [1, 3])]) < 4.5 * errors)
    assert failed == 0


@pytest.mark.slow
def test_ten_thousand_toys_agree_with_the_published_matrix():
    agree(study(0.0, 10_000), WIDTHS, 10_000)


@pytest.mark.slow
def test_ten_thousand_toys_with_a_shapesys_agree_with_the_published_column():
    """rho_model = 1 alone: the general arrowhead fit, 50 000 times."""
    every = models(DELTA, RHOS)
    for row, truth in enumerate(every):
        rng = np.random.default_rng([3, row])
        pulls = np.concatenate(
            [_pulls(every[-1], _draw(truth, 1000, rng), 1000) for _ in range(10)]
        )
        assert np.all(np.isfinite(pulls))
        assert np.std(pulls, ddof=1) == pytest.approx(WITH_SHAPESYS[row], rel=4.5 / np.sqrt(20_000))


def models(delta, rhos):
    """The models of the study, for single rows and columns of it."""
    return [CompiledModel.from_reference(ReferenceModel(spec)) for spec in workspaces(delta, rhos)]


def workspaces(delta, rhos):
    out = []
    for covariance in (covariances()[RHOS.index(rho)] for rho in rhos):
        pair = ratio_pair()
        pair = replace(pair, lepton_id=replace(pair.lepton_id, covariance=covariance))
        spec = measure_ratio(build_workspace(pair).workspace, "SR_mu")
        if delta:
            spec = add_uncorrelated(spec, "SR_mu", delta)
        out.append(spec)
    return out


def test_pulls_are_those_of_single_certified_fits():
    """Ratio and error of a few toys by iminuit on pyhf's likelihood."""
    import iminuit

    (model,) = models(0.0, [0.5])
    reference = ReferenceModel(
        measure_ratio(
            build_workspace(
                replace(
                    ratio_pair(),
                    lepton_id=replace(ratio_pair().lepton_id, covariance=covariances()[2]),
                )
            ).workspace,
            "SR_mu",
        )
    )
    counts = _draw(model, 3, np.random.default_rng(1))
    pulls = _pulls(model, counts, 64)
    names = model.parameters.names
    place = names.index("ratio")
    for row, pull in zip(counts, pulls, strict=True):
        data = np.concatenate([row, model.data[model.n_main :]])
        fit = iminuit.Minuit(
            lambda x, data=data: reference.twice_nll(x, data=data), model.parameters.init,
            name=names, grad=lambda x, data=data: reference.value_and_gradient(x, data)[1],
        )  # fmt: skip
        fit.limits = list(zip(model.parameters.lower, model.parameters.upper, strict=True))
        fit.tol = 1e-4
        fit.strategy = 2
        fit.migrad()
        fit.hesse()
        expected = (fit.values[place] - 1) / fit.errors[place]
        assert pull == pytest.approx(expected, abs=5e-3)


def test_full_correlation_is_the_conservative_model():
    for delta in (0.0, DELTA):
        best, sentence = advise(RHOS, closed(delta))
        assert best == 1.0
        assert "rho = 1 is conservative" in sentence
    assert advise(RHOS, closed(0.0)[:, :4])[0] is None
    assert "does not matter" in advise(RHOS, np.ones((5, 5)))[1]


def free_and_null(ratio_error):
    """2NLL of the free and the null fit of 784 bins with r = 1 + s a; None: no constraint."""
    side = np.zeros((28, 28))
    side[11:17, 11:17] = 1 / 36
    signal = side.ravel()
    background = np.full(784, 1e4)
    mu = 3004.163780

    def value(a, null):
        s = 0.01 if ratio_error is None else ratio_error
        pair = PlainPair.of(background + mu * signal, background, signal, ratio=1 + s * a)
        fit = pair.fit()
        constraint = 0.0 if ratio_error is None else a**2
        return (fit.twice_nll_null if null else fit.twice_nll) + constraint

    return [
        minimize_scalar(value, bracket=(-0.02, 0.02), args=(null,), tol=1e-10).fun
        for null in (False, True)
    ]


@pytest.mark.parametrize(("error", "z"), [(0.01, 3.450895), (None, 3.450683)])
def test_a_common_ratio_error_costs_little_with_the_side_bins(error, z):
    free, null = free_and_null(error)
    assert np.sqrt(null - free) == pytest.approx(z, abs=1e-4)


@pytest.mark.parametrize(("error", "z"), [(0.01, 3.450895), (None, 3.450683)])
def test_the_same_by_the_engine(error, z):
    """The emitted workspace of 784 bins, signed q0 of certified fits."""
    side = np.zeros((28, 28))
    side[11:17, 11:17] = 1000 / 36
    signal, background = side.ravel(), np.full(784, 1e4)
    common = Systematic("common", "histosys", np.full(784, 1.01), np.full(784, 0.99), relative=True)
    pair = Pair(
        Channel(
            "b", background + 3.004163780 * signal, signal=Template(signal),
            systematics=[common] if error else [],
        ),
        Channel("a", background),
        integer_data=False,
    )  # fmt: skip
    spec = build_workspace(pair).workspace
    if error is None:
        channel = next(c for c in spec["channels"] if c["name"] == "SR_b")
        sample = next(s for s in channel["samples"] if s["name"] == "symmetric")
        sample["modifiers"].append({"name": "R", "type": "normfactor", "data": None})
        for measurement in spec["measurements"]:
            free = {"name": "R", "inits": [1.0], "bounds": [[0.1, 10.0]]}
            measurement["config"]["parameters"].append(free)
    assert fit_workspace(spec).discovery.z0 == pytest.approx(z, abs=1e-4)


def test_fixed_error_sums_the_window_alone():
    """The 6 x 6 sum without its side bins: 3.533 -> 2.501 (.2357 %) and .812 (1 %)."""
    mu, window = 3004.163780, 36 * 1e4
    for error, z in ((0.002357, 2.501), (0.01, 0.812)):
        spread = np.sqrt(2 * window + mu + (error * window) ** 2)
        assert mu / spread == pytest.approx(z, abs=1e-3)


def test_few_toys_and_models_without_a_poi_are_refused():
    with pytest.raises(ModelError, match="toys: got 1, expected 2 or more"):
        toy_widths(models(0.0, [0.5]), n_toys=1, seed=0)
    with pytest.raises(ModelError, match="the pair has no 'lepton_id'"):
        study_pair(replace(ratio_pair(), lepton_id=None), covariances(), rho=RHOS)
    (model,) = models(0.0, [1.0])
    fixed = replace(model.parameters, fixed=np.ones_like(model.parameters.fixed))
    with pytest.raises(ModelError, match="no free parameter of interest"):
        toy_widths([replace(model, parameters=fixed)], n_toys=2, seed=0)


def test_the_record_survives_json():
    result = study(0.0, 0)
    again = CorrelationResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert result.conservative == 1.0


def test_the_command(folder):
    write_event_analysis(folder)
    outcome = invoke(
        "correlations", "analysis.yml", "-o", "rho.json", "--toys", "60", "--plots", "figures"
    )
    assert outcome.code == 0
    data = json.loads((folder / "rho.json").read_text())
    assert data["rho"] == list(RHOS)
    assert data["poi"] == "mu"
    closed_table, toys = np.array(data["closed"]), np.array(data["toys"])
    assert np.diag(closed_table) == pytest.approx(np.ones(5), abs=1e-9)
    assert np.all(np.abs(toys - closed_table) < 5 * np.array(data["toy_errors"]))
    assert data["n_failed"] == 0
    assert data["advice"] in outcome.err
    assert "closed form; below it 60 toys" in outcome.err
    assert (folder / "figures/correlations.png").read_bytes().startswith(b"\x89PNG")
    same = invoke("correlations", "analysis.yml", "--toys", "60", "--scheduler", "threads:1")
    assert json.loads(same.out)["toys"] == data["toys"]


def write_published(folder):
    """The analysis file of docs/lepton_id.md with its tables."""
    text = (Path(__file__).parents[1] / "docs/lepton_id.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (block,) = (block for block in blocks if "name: published" in block)
    (folder / "published.yml").write_text(block)
    rows = [f"{i},{i + 1},50000,{500 * (i == 3)}" for i in range(7)]
    (folder / "counts.csv").write_text("\n".join(["p_low,p_high,n,s", *rows]) + "\n")
    rows = [f"{i},{i + 1},1,{u}" for i, u in enumerate(U)]
    (folder / "muon.csv").write_text("\n".join(["pt_low,pt_high,value,id", *rows]) + "\n")
    np.savez(folder / "w.npz", tested=np.eye(7), partner=np.zeros((7, 7)))


def test_the_command_gives_the_published_matrix_and_column(folder):
    write_published(folder)
    command = ("correlations", "published.yml", "--poi", "ratio", "--toys", "0")
    plain = json.loads(invoke(*command).out)
    assert np.array(plain["closed"]) == pytest.approx(WIDTHS, abs=1e-6)
    assert plain["conservative"] == 1.0
    other = json.loads(invoke(*command, "--uncorrelated", "0.005").out)
    assert np.array(other["closed"])[:, 4] == pytest.approx(WITH_SHAPESYS, abs=1e-6)
    assert other["uncorrelated"] == 0.005


def test_excluded_sources_stay_out_of_the_study(folder):
    """The map's only source excluded: nothing is left to correlate in it."""

    def change(analysis):
        for item in analysis["lepton_id"]["maps"].values():
            item["exclude"] = ["tag"]

    write_event_analysis(folder, change)
    data = json.loads(invoke("correlations", "analysis.yml", "--toys", "0").out)
    assert np.array(data["closed"]) == pytest.approx(np.ones((5, 5)), abs=1e-12)


def test_the_closed_form_holds_every_other_systematic(folder):
    """Widths by the dense information matrix of pyhf's own likelihood, everything free."""
    path = write_event_analysis(folder)
    rhos = (0.0, 1.0)
    result = study_analysis(read_analysis(path), rho=rhos)
    analysis, pair = read_analysis(path), load_pair(read_analysis(path))
    maps = EventSamples(maps=read_maps(analysis.lepton_id, analysis))
    relative = pair.tested.fakes.error.flat / pair.tested.fakes.yields.flat
    models = []
    for rho in rhos:
        items = tuple(replace(m, correlation={"pt": rho}) for m in analysis.lepton_id.maps)
        covariance = load_covariance(replace(analysis.lepton_id, maps=items), maps, analysis)
        varied = replace(pair.lepton_id, covariance=covariance, retained=0.999)
        reference = ReferenceModel(build_workspace(replace(pair, lepton_id=varied)).workspace)
        table = reference.parameters
        rates = reference.rates(table.init)
        asimov = np.concatenate([rates, reference.data[reference.n_main :]])
        covariance = np.linalg.inv(0.5 * reference.hessian(table.init, asimov))[table.poi]
        slopes = [
            reference.rates(table.init + s) - reference.rates(table.init - s)
            for s in 1e-6 * np.eye(len(table.init))
        ]
        models.append((reference, rates, covariance, np.array(slopes) / 2e-6))
    for row, (truth, rates, _, slopes) in enumerate(models):
        spread = np.diag(rates)
        for name, slope in zip(truth.parameters.names, slopes, strict=True):
            if name.startswith(("lepid_", "fakes_norm")):
                spread = spread + np.outer(slope, slope)
            elif name.startswith("fakes_stat"):  # slope: the yield, in one bin
                spread = spread + np.outer(slope, slope) * relative[int(name[-2])] ** 2
        for column, (model, _, covariance, own) in enumerate(models):
            weights = covariance @ (own / rates)
            width = np.sqrt(weights @ spread @ weights / covariance[model.parameters.poi])
            assert result.closed[row][column] == pytest.approx(width, rel=2e-5)


def test_models_are_of_one_shape_and_give_what_their_own_shape_gives():
    """The variations that a correlation lacks are held at zero; one program serves all models."""
    own = workspaces(0.0, [0.0, 1.0])
    plain = [CompiledModel.from_reference(ReferenceModel(spec)) for spec in own]
    alike = [CompiledModel.from_reference(ReferenceModel(spec)) for spec in _alike(own)]
    assert plain[0].pair.structure != plain[1].pair.structure
    assert alike[0].pair.structure == alike[1].pair.structure
    said = []
    options = {"n_toys": 30, "seed": 2}
    widths, errors, _ = toy_widths(alike, work=Work(count=lambda *n: said.append(n)), **options)
    expected, expected_errors, _ = toy_widths(plain, **options)
    assert widths == pytest.approx(expected, rel=1e-9)
    assert errors == pytest.approx(expected_errors, rel=1e-9)
    assert said == [(30 * i, 120) for i in range(5)]
