"""Workspaces as people report them: against iminuit on pyhf's likelihood; nothing is dropped."""

import copy
import json

import numpy as np
import pyhf
import pytest
from conftest import invoke
from iminuit import Minuit
from odd_models import STRENGTH, bounded, normfactor, normsys
from scipy.optimize import minimize_scalar

from ddphf.exceptions import ModelError
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.inference.limits.limits import limit_workspace
from ddphf.inference.yields import predict_yields
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend


def per_bin(kind, name, *data):
    return {"name": name, "type": kind, "data": list(data)}


def histosys(name, high, low):
    return {"name": name, "type": "histosys", "data": {"hi_data": high, "lo_data": low}}


def spec(channels, counts, *parameters, bounds=(-20, 20)):
    """Channels as {name: [(sample, yields, modifiers)]}, observations in the order of counts."""
    return {
        "channels": [
            {
                "name": channel,
                "samples": [
                    {"name": name, "data": list(map(float, data)), "modifiers": list(modifiers)}
                    for name, data, modifiers in samples
                ],
            }
            for channel, samples in channels.items()
        ],
        "observations": [
            {"name": channel, "data": list(map(float, data))} for channel, data in counts.items()
        ],
        "measurements": [
            {"name": "m", "config": {"poi": "mu", "parameters": [bounded("mu", *bounds),
                                                                  *parameters]}}
        ],
        "version": "1.0.0",
    }  # fmt: skip


LUMI = {"name": "lumi", "type": "lumi", "data": None}
FREE_SHAPE = {"name": "shape", "type": "shapefactor", "data": None}
CASES = {
    "a staterror that is fixed in some bins": spec(
        {"SR": [
            ("s", [3, 4, 1], [STRENGTH]),
            ("a", [0, 10, 7], [per_bin("staterror", "st", 0.0, 1.0, 2.0)]),
            ("b", [20, 12, 0], []),
        ]},
        {"SR": [24, 28, 9]},
    ),
    "two staterrors of one sample": spec(
        {"SR": [
            ("s", [20, 10], [STRENGTH]),
            ("b", [100, 80],
             [per_bin("staterror", "s1", 5.0, 4.0), per_bin("staterror", "s2", 10.0, 0.0)]),
        ]},
        {"SR": [130, 88]},
    ),
    "a shapesys without size": spec(
        {"SR": [
            ("s", [3, 6], [STRENGTH]),
            ("b", [50, 40], [per_bin("shapesys", "x", 0.0, 4.0)]),
            ("c", [0, 0], [per_bin("shapesys", "y", 0.0, 0.0)]),
        ]},
        {"SR": [55, 50]},
    ),
    "a variation beyond -100 %": spec(
        {"SR": [
            ("s", [5, 4], [STRENGTH]),
            ("b", [20, 30], [histosys("h", [-10.0, 33.0], [50.0, 27.0])]),
            ("c", [40, 40], []),
        ]},
        {"SR": [58, 80]},
    ),
    "a norm whose sides are exchanged": spec(
        {"SR": [("s", [5, 4], [STRENGTH]), ("b", [50, 60], [normsys("n", -0.15)])]},
        {"SR": [70, 80]},
    ),
    "a norm of a factor 10": spec(
        {"SR": [
            ("s", [5, 1], [STRENGTH]),
            ("b", [5, 6], [{"name": "n", "type": "normsys", "data": {"hi": 10.0, "lo": 0.1}}]),
        ]},
        {"SR": [65, 60]}, bounds=(-100, 100),
    ),
    "two equal sides": spec(
        {"SR": [
            ("s", [5, 4], [STRENGTH]),
            ("b", [50, 60], [histosys("h", [55.0, 63.0], [55.0, 63.0])]),
        ]},
        {"SR": [48, 55]},
    ),
    "a luminosity in inverse femtobarns": spec(
        {"SR": [("s", [0.1, 0.3], [STRENGTH, LUMI]), ("b", [2, 1], [LUMI])]},
        {"SR": [80, 45]},
        {"name": "lumi", "auxdata": [36.1], "sigmas": [0.8], "inits": [36.1],
         "bounds": [[0.0, 361.0]]},
    ),
    "a norm and a shape of one nuisance": spec(
        {"SR": [
            ("s", [5, 4], [STRENGTH]),
            ("b", [50, 60], [normsys("t", 0.1), histosys("t", [53.0, 58.0], [47.0, 62.0])]),
        ]},
        {"SR": [65, 60]},
    ),
    "observations in another order": spec(
        {"Z": [("s", [5, 4], [STRENGTH]), ("b", [50, 60], [])],
         "A": [("b", [10, 20], [normsys("n", 0.1)])]},
        {"A": [9, 22], "Z": [60, 70]},
    ),
    "a shapefactor of one bin": spec(
        {"CR": [("b", [50], [FREE_SHAPE])],
         "SR": [("s", [10], [STRENGTH]), ("b", [25], [FREE_SHAPE])]},
        {"CR": [60], "SR": [45]},
    ),
    "a shapefactor in three channels": spec(
        {"CR": [("b", [50, 40], [FREE_SHAPE])],
         "VR": [("b", [5, 4], [FREE_SHAPE]), ("q", [3, 3], [])],
         "SR": [("s", [10, 3], [STRENGTH]), ("b", [25, 20], [FREE_SHAPE, normsys("r", 0.05)])]},
        {"CR": [60, 41], "VR": [9, 7], "SR": [45, 19]},
    ),
    "a factor that starts at 2": spec(
        {"SR": [("s", [5, 9], [STRENGTH]), ("b", [50, 20], [normfactor("k")])]},
        {"SR": [110, 60]}, {"name": "k", "inits": [2.0], "bounds": [[0.0, 5.0]]},
    ),
    "a nuisance held off its centre": spec(
        {"SR": [("s", [5, 4], [STRENGTH]),
                ("b", [50, 60], [normsys("n", 0.1), normsys("k", 0.2)])]},
        {"SR": [62, 72]}, {"name": "n", "fixed": True, "inits": [1.5]},
    ),
    "expected counts": spec(
        {"SR": [("s", [5, 4], [STRENGTH]), ("b", [50, 60], [normsys("n", 0.1)])]},
        {"SR": [52.5, 62.25]},
    ),
}  # fmt: skip


def by_minuit(workspace):
    """The lowest of eight minima by iminuit, on pyhf's own likelihood."""
    rng = np.random.default_rng(1)
    with pyhf_backend("numpy"):
        model = pyhf.Workspace(workspace).model()
        data, config = pyhf.Workspace(workspace).data(model), model.config
        fixed, bounds = config.suggested_fixed(), np.array(config.suggested_bounds())
        found = []
        for trial in range(8):
            start = np.array(config.suggested_init()) + (trial > 0) * rng.normal(0, 0.4, len(fixed))
            start = np.where(fixed, config.suggested_init(), np.clip(start, *(bounds.T * 0.99)))
            minuit = Minuit(lambda x: -2 * float(model.logpdf(list(x), data)[0]), start)
            minuit.limits, minuit.fixed, minuit.errordef = bounds, fixed, 1
            minuit.strategy, minuit.tol = 2, 1e-5
            minuit.migrad()
            found.append((minuit.fval, minuit.values[config.poi_index]))
    return min(found)


@pytest.mark.parametrize("name", CASES)
def test_fits_are_those_of_minuit(name):
    value, mu = by_minuit(CASES[name])
    fit = fit_workspace(CASES[name])
    assert fit.fit.twice_nll == pytest.approx(value, abs=2e-6)
    assert fit.mu_hat.value == pytest.approx(mu, abs=2e-3 * fit.mu_hat.error)
    to_json(fit.to_dict())
    to_json(predict_yields(CASES[name], fit).to_dict())


def warnings_of(workspace):
    return ReferenceModel(workspace).warnings


def test_errors_that_pyhf_holds_are_said():
    """A staterror or shapesys has no effect where its yield is not above 0."""
    workspace = spec(
        {"SR": [
            ("s", [30, 20, 5], [STRENGTH]),
            ("interference", [-50, -5, 4], [per_bin("staterror", "st", 10.0, 1.0, 1.0)]),
            ("b", [500, 200, 30], [per_bin("shapesys", "x", 5.0, 0.0, 2.0)]),
            ("c", [0, 0, 2], [per_bin("shapesys", "y", 0.0, 1.5, 1.0)]),
        ]},
        {"SR": [470, 220, 41]},
    )  # fmt: skip
    said = (
        "per-bin errors where the yield is not above 0 are ignored by pyhf: channel 'SR', "
        "staterror 'st', bins 0, 1, channel 'SR', shapesys 'y', bin 1; a histosys states such an "
        "error"
    )
    assert said in warnings_of(workspace)
    # Exactly the components that pyhf holds, and that have an error.
    table = ReferenceModel(workspace).parameters
    held = {n for n, fixed in zip(table.names, table.fixed, strict=True) if fixed}
    assert held == {"st[0]", "st[1]", "x[1]", "y[0]", "y[1]"}
    # Where other samples of the same staterror are there the error counts.
    for sample in (1, 2):
        workspace["channels"][0]["samples"][sample]["modifiers"] = [
            per_bin("staterror", "st", 10.0, 1.0, 1.0)
        ]
    del workspace["channels"][0]["samples"][3]
    assert not any("per-bin" in line for line in warnings_of(workspace))
    assert not ReferenceModel(workspace).parameters.fixed.any()


def test_settings_of_no_parameter_are_said():
    """A misspelt name would leave the parameter free that was to be held."""
    workspace = copy.deepcopy(CASES["expected counts"])
    config = workspace["measurements"][0]["config"]
    other = {**config, "parameters": [*config["parameters"], {"name": "nn", "fixed": True}]}
    workspace = {**workspace, "measurements": [{"name": "m", "config": other}]}
    said = "measurement 'm': settings of parameters that no modifier has are ignored: nn"
    assert warnings_of(workspace) == [f"{said} (did you mean 'n'?)"]
    # pyhf xml2json configures lumi whether or not it is used.
    other["parameters"][-1] = {"name": "lumi", "fixed": True}
    assert warnings_of(workspace) == []
    # Settings of a signal that comes with a patch.
    other["parameters"][-1] = {"name": "signal_theory", "fixed": True}
    del workspace["channels"][0]["samples"][0]
    assert [line for line in warnings_of(workspace) if "ignored" in line] == []


def test_a_staterror_over_unequal_samples_is_refused():
    workspace = spec(
        {"A": [("s", [5, 10], [STRENGTH, per_bin("staterror", "k", 0.5, 1.0)]),
               ("b", [50, 60], [per_bin("staterror", "k", 5.0, 6.0)])],
         "Z": [("b", [100], [per_bin("staterror", "k", 10.0)])]},
        {"A": [60, 68], "Z": [108]},
    )  # fmt: skip
    with pytest.raises(ModelError, match="'Z' has it in sample 'b' and not in sample 's', which"):
        ReferenceModel(workspace)
    # The same samples in all of its channels: pyhf appends the channels.
    del workspace["channels"][0]["samples"][0]["modifiers"][1]
    assert ReferenceModel(workspace).parameters.names.count("k[2]") == 1


def test_a_null_that_negative_yields_make_impossible():
    """Interference takes away all that is expected without the signal: no null, but a fit."""
    workspace = spec(
        {"SR": [
            ("s", [30, 20], [STRENGTH]),
            ("interference", [-50, -5], [per_bin("staterror", "st", 10.0, 1.0)]),
            ("b", [50, 200], [per_bin("staterror", "st", 5.0, 6.0)]),
        ]},
        {"SR": [33, 220]},
    )  # fmt: skip
    value, mu = by_minuit(workspace)
    fit = fit_workspace(workspace)
    assert fit.fit.twice_nll == pytest.approx(value, abs=2e-6)
    assert fit.mu_hat.value == pytest.approx(mu, abs=1e-3 * fit.mu_hat.error)
    assert fit.null is None
    assert fit.discovery is None
    assert any("no null and no discovery statement" in line for line in fit.warnings)
    with pytest.raises(ModelError, match="bin 0 has events, but without the samples of the POI"):
        limit_workspace(workspace)
    # A factor that may grow makes it possible again.
    workspace["channels"][0]["samples"][2]["modifiers"].append(normfactor("k"))
    assert fit_workspace(workspace).discovery is not None


def test_an_empty_bin_that_starts_at_0_and_holds_a_variation():
    """Nothing is expected there but by the variation: the rate ends at 0 for h < 0."""
    workspace = spec(
        {"SR": [
            ("s", [2, 0, 3], [STRENGTH]),
            ("b", [20, 0, 10], [histosys("h", [22.0, 0.5, 11.0], [18.0, 0.0, 9.0])]),
        ]},
        {"SR": [21, 0, 15]},
    )  # fmt: skip

    def profile(h):  # of the allowed side, h >= 0, and h <= -1 where the rate is exactly 0
        with pyhf_backend("numpy"):
            model = pyhf.Workspace(workspace).model()
            data = pyhf.Workspace(workspace).data(model)
            order = {"h": h}

            def value(mu):
                point = [{**order, "mu": mu}[n] for n in model.config.par_names]
                return -2 * float(model.logpdf(point, data)[0])

            return minimize_scalar(value, bounds=(-5, 8), method="bounded").fun

    fit = fit_workspace(workspace)
    best = min(profile(h) for h in (0.0, 1e-3, 0.1, 0.5, -1.0, -1.5))
    assert fit.fit.twice_nll == pytest.approx(best, abs=1e-6)
    h = fit.fit.parameter("h")
    assert (h.value, h.error) == (pytest.approx(0.0, abs=1e-6), None)
    assert any("channel 'SR', bin 1 is held at 0" in line for line in fit.warnings)


def test_a_corner_of_two_edges():
    """No events, 50 k + 5 mu and 60 k + 2 mu expected: all rates are 0 at k = mu = 0 alone."""
    workspace = spec(
        {"SR": [("s", [5, 2], [STRENGTH]), ("b", [50, 60], [normfactor("k")])]},
        {"SR": [0, 0]}, bounded("k", -5, 5), bounds=(-8, 8),
    )  # fmt: skip
    fit = fit_workspace(workspace)
    mu = fit.mu_hat
    assert (mu.value, mu.error) == (pytest.approx(0.0, abs=1e-7), None)
    # Above 0 the second rate is 0, k = -mu / 30, and 2NLL is 20/3 mu; below the first, 8 |mu|.
    assert mu.error_up == pytest.approx(3 / 20, abs=1e-6)
    assert mu.error_down == pytest.approx(-1 / 8, abs=1e-6)


def test_a_bound_is_not_taken_for_a_rate_of_0():
    """One signal, no events, mu >= 0: it is the bound that stops, and CLs = .05 is closed form."""
    workspace = spec({"SR": [("s", [2], [STRENGTH])]}, {"SR": [0]}, bounds=(0, 10))
    fit = fit_workspace(workspace)
    assert [line for line in fit.warnings if "held at 0" in line] == []
    assert any("at a bound of the measurement: mu" in line for line in fit.warnings)
    # q_mu = 2 mu s for data and Asimov data alike: CLs = 2 (1 - Phi(sqrt(q))).
    limit = limit_workspace(workspace).asymptotic.observed
    assert limit == pytest.approx(3.8414588 / 4, rel=1e-6)


def test_the_command_says_it(folder):
    workspace = CASES["expected counts"]
    (folder / "w.json").write_text(json.dumps(workspace).replace('"n", "type"', '"nn", "type"'))
    spec_ = json.loads((folder / "w.json").read_text())
    spec_["measurements"][0]["config"]["parameters"].append({"name": "n", "fixed": True})
    (folder / "w.json").write_text(json.dumps(spec_))
    for command in ("inspect", "fit"):
        outcome = invoke(command, "w.json")
        assert outcome.code == 0
        assert "no modifier has are ignored: n (did you mean 'nn'?)" in outcome.err
