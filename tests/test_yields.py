"""Expected events and their errors: against cabinetry, dense propagation, and closed forms."""

import copy
import csv
import functools
import json

import cabinetry
import numpy as np
import pytest
from conftest import full_pair, invoke, plain_workspace
from others_data import others

from ddphf.figures.asymmetry import local_z
from ddphf.inference.fit import fit_workspace
from ddphf.inference.yields import predict_yields
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.covariance import Covariance, find_slopes
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.results.yields import YieldsResult
from ddphf.workspace.build import build_workspace

AXES = [{"label": "mass", "unit": "GeV", "edges": [30.0, 40.0, 50.0, 60.0]}]
PAIRING = {"tested": "SR_mue", "partner": "CR_emu"}


def built_pair() -> dict:
    return json.loads(json.dumps(build_workspace(full_pair(), signal_scale=1.0).workspace))


def tutorial() -> dict:
    return json.loads(others("cabinetry_tutorial/built_example_workspace.json").read_text())


def dense_covariance(reference: ReferenceModel, fit) -> tuple:
    """Values and covariance of all parameters, from pyhf's Hessian, inverted as a whole."""
    values = np.array([p.value for p in fit.fit.parameters])
    free = np.flatnonzero([p.error > 0 for p in fit.fit.parameters])
    covariance = np.zeros((len(values), len(values)))
    block = 0.5 * reference.hessian(values)[np.ix_(free, free)]
    covariance[np.ix_(free, free)] = np.linalg.inv(block)
    return values, covariance


@functools.cache
def fitted(make) -> tuple:
    """One fit of a workspace, and pyhf's model, which compiles its Hessian once."""
    spec = make()
    fit = fit_workspace(spec)
    return spec, fit, ReferenceModel(spec, fit.measurement)


@pytest.mark.parametrize("make", [tutorial, built_pair, plain_workspace])
def test_errors_equal_cabinetry(make):
    """Every bin, sample, total and channel sum, before and after the fit."""
    spec, fit, reference = fitted(make)
    found = predict_yields(spec, fit)
    values, covariance = dense_covariance(reference, fit)
    errors = np.sqrt(np.diag(covariance))
    scale = np.where(errors > 0, errors, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    results = cabinetry.fit.FitResults(
        values, errors, list(reference.parameters.names), correlation, fit.fit.twice_nll
    )
    config = reference.model.config
    with pyhf_backend("numpy"):
        before = cabinetry.model_utils.asimov_parameters(reference.model)
        if found.prefit_strength is not None:  # cabinetry leaves the signal out: mu starts at 0
            before[config.poi_index] = found.prefit_strength
        widths = cabinetry.model_utils.prefit_uncertainties(reference.model)
        start = cabinetry.fit.FitResults(
            before, widths, list(reference.parameters.names), np.eye(len(before)), 0.0
        )
        expected = {
            "prefit": cabinetry.model_utils.prediction(reference.model, fit_results=start),
            "postfit": cabinetry.model_utils.prediction(reference.model, fit_results=results),
        }
    assert found.prefit_strength == (1.0 if config.poi_index is not None else None)
    for name, theirs in expected.items():
        for number, channel in enumerate(config.channels):
            ours = found.channel(channel).predictions[name]
            rows = [ours.samples.get(sample) for sample in config.samples] + [ours.total]
            for row, record in enumerate(rows):
                if record is None:
                    continue
                stdev = theirs.total_stdev_model_bins[number][row]
                np.testing.assert_allclose(record.error, stdev, rtol=1e-6, atol=1e-9)
                whole = theirs.total_stdev_model_channels[number][row]
                assert record.sum_error == pytest.approx(whole, rel=1e-6, abs=1e-9)
            total = np.sum(theirs.model_yields[number], axis=0)
            np.testing.assert_allclose(ours.total.expected, total, rtol=1e-12)


def test_projections_and_asymmetry_equal_dense_propagation():
    """A 2-D pair: sums over an axis and the ratio of two sums, by the chain rule on all of C."""
    rng = np.random.default_rng(3)
    spec = plain_workspace()
    shape, size = (2, 3), 6
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            values = np.array(sample["data"])
            sample["data"] = np.tile(values, 2).tolist()
    # One nuisance parameter that differs between the channels, so that bins are correlated.
    for channel, size_of in zip(spec["channels"], (0.01, -0.02), strict=True):
        nominal = np.array(channel["samples"][-1]["data"])
        step = size_of * nominal * np.linspace(0.5, 1.5, size)
        channel["samples"][-1]["modifiers"] = [
            *channel["samples"][-1]["modifiers"],
            {"name": "id", "type": "histosys",
             "data": {"hi_data": (nominal + step).tolist(), "lo_data": (nominal - step).tolist()}},
        ]  # fmt: skip
    for observation in spec["observations"]:
        observation["data"] = rng.poisson(np.tile(observation["data"], 2)).astype(float).tolist()
    spec["measurements"][0]["config"]["parameters"][1].update(
        inits=[1.0] * size, bounds=[[1e-10, 100.0]] * size
    )
    axes = [
        {"label": "x", "unit": "", "edges": [0.0, 1.0, 2.0]},
        {"label": "y", "unit": "GeV", "edges": [0.0, 1.0, 2.0, 4.0]},
    ]
    fit = fit_workspace(spec)
    found = predict_yields(spec, fit, axes=axes, pairing=PAIRING)
    reference = ReferenceModel(spec, fit.measurement)
    values, covariance = dense_covariance(reference, fit)

    def project(parameters, channel, axis):
        rates = reference.rates(parameters)[reference.channel_slices[channel]]
        return rates.reshape(shape).sum(axis=1 - axis)

    def propagated(function):
        steps = 1e-5 * np.maximum(np.abs(values), 1e-2)
        jacobian = np.stack(
            [
                (function(values + s) - function(values - s)) / (2 * s[i])
                for i, s in enumerate(np.diag(steps))
            ]
        )
        return np.sqrt(np.einsum("pb,pq,qb->b", jacobian, covariance, jacobian))

    for axis in (0, 1):
        for channel in reference.channel_slices:
            errors = found.channel(channel).predictions["postfit"].axis_errors[axis]
            expected = propagated(lambda p, c=channel, a=axis: project(p, c, a))
            np.testing.assert_allclose(errors, expected, rtol=1e-6)

        def asymmetry(parameters, axis=axis):
            b, a = (project(parameters, PAIRING[k], axis) for k in ("tested", "partner"))
            return (b - a) / (b + a)

        entry = found.asymmetry[axis]
        np.testing.assert_allclose(entry.expected["postfit"], asymmetry(values), rtol=1e-10)
        np.testing.assert_allclose(
            entry.expected_error["postfit"], propagated(asymmetry), rtol=1e-6
        )
    # Bins of one axis do not add in quadrature: they share mu and the nuisance parameter.
    total = found.channel("SR_mue").predictions["postfit"]
    in_quadrature = np.sqrt(np.sum(np.square(total.total.error)))
    assert abs(total.total.sum_error / in_quadrature - 1) > 1e-3


def test_a_model_that_is_not_compiled_gets_the_same_errors():
    _, fit, reference = fitted(built_pair)
    values = np.array([p.value for p in fit.fit.parameters])
    free = np.array([p.error > 0 for p in fit.fit.parameters])
    group = np.arange(reference.n_main) % 3
    variances = []
    for model in (CompiledModel.from_reference(reference), None):
        covariance = Covariance.at_minimum(reference, model, values, free)
        np.testing.assert_allclose(
            covariance.errors, [p.error for p in fit.fit.parameters], rtol=1e-8
        )
        (slopes,) = find_slopes(lambda p: reference.rates(p)[None, :], values, covariance)
        variances.append(covariance.variance(slopes, group))
    np.testing.assert_allclose(variances[0], variances[1], rtol=1e-8)


def test_bins_without_events_have_no_error_and_no_nan():
    spec = plain_workspace()
    for observation in spec["observations"]:
        observation["data"][0] = 0.0
    found = predict_yields(spec, fit_workspace(spec), axes=AXES, pairing=PAIRING)
    for channel in found.channels:
        for prediction in channel.predictions.values():
            assert np.all(np.isfinite(prediction.total.error))
    assert found.channel("CR_emu").predictions["null"].total.error[0] == 0.0
    assert found.asymmetry[0].observed[0] is None
    assert YieldsResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_local_z_is_the_likelihood_ratio_of_a_signal_in_one_bin():
    """Of a pair with free bins; each bin is fitted alone with a signal of its own."""
    spec = plain_workspace()
    found = predict_yields(spec, fit_workspace(spec), axes=AXES, pairing=PAIRING)
    for index, z in enumerate(local_z(found, "null")):
        alone = copy.deepcopy(spec)
        signal = [0.0] * 3
        signal[index] = 20.0
        alone["channels"][1]["samples"][0]["data"] = signal
        assert fit_workspace(alone).discovery.z0 == pytest.approx(z, abs=1e-6)


@pytest.fixture
def workspace(folder):
    (folder / "workspace.json").write_text(json.dumps(built_pair()))
    return folder / "workspace.json"


def test_command_writes_tables_and_figures_that_agree_with_its_json(workspace, folder):
    outcome = invoke(
        "yields", workspace, "-o", "yields.json", "--tables", "tables", "--plots", "figures"
    )
    assert outcome.code == 0
    record = YieldsResult.from_dict(json.loads((folder / "yields.json").read_text()))
    rows = list(csv.DictReader((folder / "tables/bins.csv").read_text().splitlines()))
    assert len(rows) == sum(len(channel.observed) for channel in record.channels)
    for channel in record.channels:
        mine = [row for row in rows if row["channel"] == channel.name]
        total = channel.predictions["postfit"].total
        for column, values in (("total post-fit", total.expected),
                               ("total post-fit error", total.error)):  # fmt: skip
            np.testing.assert_allclose([float(r[column]) for r in mine], values, rtol=1e-7)
        assert [float(r["data"]) for r in mine] == list(channel.observed)
    latex = (folder / "tables/channels.tex").read_text()
    assert latex.startswith("\\begin{longtable}{llrrr}")
    assert "SR\\_mue & signal & $" in latex
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"prefit.png", "postfit.png", "null.png", "pulls.png", "correlations.png"} <= drawn
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (folder / "figures").iterdir())
    names = record.correlations["names"]
    assert "mu" in names
    assert not any(name.endswith("]") for name in names)
    np.testing.assert_allclose(np.diag(record.correlations["matrix"]), 1.0)


def test_a_given_fit_is_used_and_standard_output_is_json(workspace):
    assert invoke("fit", workspace, "-o", "fit.json").code == 0
    given = invoke("yields", workspace, "--fit", "fit.json")
    fitted = invoke("yields", workspace)
    assert given.code == fitted.code == 0
    assert given.out == fitted.out
    assert json.loads(given.out)["schema"] == "ddphf/yields/1"


def test_channels_of_unequal_length_are_drawn(folder):
    spec = plain_workspace()
    spec["channels"].append(
        {"name": "norm", "samples": [{"name": "other <b>$x", "data": [50.0], "modifiers": []}]}
    )
    spec["observations"].append({"name": "norm", "data": [47.0]})
    (folder / "workspace.json").write_text(json.dumps(spec))
    assert invoke("fit", "workspace.json", "-o", "fit.json", "--plots", "figures").code == 0
    assert sorted(p.name for p in (folder / "figures").iterdir()) == ["postfit.png", "prefit.png"]
    outcome = invoke("yields", "workspace.json", "--fit", "fit.json", "-o", "y.json",
                     "--plots", "more", "--tables", "tables")  # fmt: skip
    assert outcome.code == 0
    assert "other \\textless{}b\\textgreater{}\\$x" in (folder / "tables/channels.tex").read_text()
