"""Legal workspaces that are odd: the right number, or null, or a message; never a traceback."""

import json

import numpy as np
import pyhf
import pytest
from conftest import invoke
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odd_models import (
    STRENGTH,
    at_an_edge,
    bounded,
    copied,
    counting,
    normfactor,
    normsys,
    workspace,
)
from scipy.optimize import brentq, minimize_scalar

from ddphf.exceptions import DdphfError, FitError, ModelError
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.inference.limits.limits import limit_workspace
from ddphf.inference.ranking.impacts import rank_parameters
from ddphf.inference.scan import scan_parameters
from ddphf.inference.yields import predict_yields
from ddphf.likelihood.expansion import auxiliary_pulls
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend


def profile_by_hand(spec, mu):
    """2NLL without constants of signal + background * normsys at mu, the norm profiled."""
    signal, background = (np.array(s["data"]) for s in spec["channels"][0]["samples"])
    counts = np.array(spec["observations"][0]["data"])
    up = spec["channels"][0]["samples"][1]["modifiers"][0]["data"]["hi"]

    def value(alpha):
        rate = mu * signal + background * code4(alpha, up, 2 - up)
        return (
            2 * np.sum(rate - np.where(counts > 0, counts * np.log(np.maximum(rate, 1e-300)), 0))
            + alpha**2
        )

    return minimize_scalar(value, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}).fun


def code4(alpha, high, low):
    """pyhf's interpolation of a normsys, by pyhf itself."""
    with pyhf_backend("numpy"):
        found = pyhf.interpolators.code4([[[[low], [1.0], [high]]]])(np.array([[alpha]]))
    return float(np.asarray(found).ravel()[0])


def test_errors_at_a_rate_of_zero_are_those_of_the_allowed_side():
    spec = at_an_edge()
    fit = fit_workspace(spec)
    mu = fit.mu_hat
    assert mu.value == pytest.approx(0.0, abs=1e-8)
    best = profile_by_hand(spec, 0.0)
    expected = brentq(lambda x: profile_by_hand(spec, x) - best - 1, 1e-6, 5.0, xtol=1e-9)
    assert mu.error is None
    assert mu.error_down is None
    assert mu.error_up == pytest.approx(expected, rel=1e-5)
    assert fit.discovery.mu_error is None
    record = json.loads(to_json(fit.to_dict()))
    assert record["fit"]["poi"]["error"] is None
    assert record["fit"]["poi"]["error_up"] == pytest.approx(expected, rel=1e-5)
    # The norm's own error is that with mu at the edge: of background bins alone.
    norm = fit.fit.parameter("norm")
    step = 1e-3
    model = pyhf.Workspace(spec).model()
    data = pyhf.Workspace(spec).data(model)
    order = model.config.par_names

    def at(alpha):
        point = {"mu": 0.0, "norm": alpha}
        return -2 * float(np.ravel(model.logpdf([point[n] for n in order], data))[0])

    curvature = (at(norm.value + step) - 2 * at(norm.value) + at(norm.value - step)) / step**2
    assert norm.error == pytest.approx(np.sqrt(2 / curvature), rel=1e-4)


def test_what_is_scaled_with_an_error_at_an_edge():
    spec = at_an_edge()
    scan = scan_parameters(spec, ["mu"])
    axis = scan.parameters[0]
    assert scan.failures == ()
    assert axis.error is None
    assert axis.values[0] == pytest.approx(0.0, abs=1e-6)
    assert scan.delta_twice_nll[-1] == pytest.approx(9.0, rel=1e-3)  # three sigma of its likelihood
    ranked = rank_parameters(spec)
    assert ranked.poi.error is None
    assert ranked.frozen is None
    assert all(group.frozen_error == 0 for group in ranked.groups)
    to_json(ranked.to_dict())
    fit = fit_workspace(spec)
    yields = predict_yields(spec, fit)
    assert any("leaves mu without a symmetric error" in line for line in yields.warnings)
    channel = yields.channels[0]
    norm = fit.fit.parameter("norm")
    background = channel.predictions["postfit"].samples["background"]
    assert background.sum_error == pytest.approx(37 * 0.12 * norm.error, rel=0.1)
    limit = limit_workspace(spec)
    assert limit.mu_error is None
    assert 0.1 < limit.asymptotic.observed < 10


def test_an_edge_that_two_parameters_share():
    """k background + mu signal is 0 in an empty bin: both move along the edge, with errors."""
    spec = workspace(
        [
            ("signal", [1.0, 4.0, 10.0], [STRENGTH]),
            ("background", [10.0, 2.0, 1.0], [normfactor("k")]),
        ],
        [12, 0, 1],
        [bounded("mu", -20, 20), bounded("k", -20, 20)],
    )
    fit = fit_workspace(spec)
    mu, k = fit.mu_hat, fit.fit.parameter("k")
    assert 4 * mu.value + 2 * k.value == pytest.approx(0.0, abs=1e-6) or mu.error is not None

    assert all(p.error is None or p.error > 0 for p in (mu, k))


def test_a_corner_without_curvature_has_errors_of_both_sides():
    """Both channels of a pair are empty where the signal is: 2NLL rises by 6 |mu|."""
    shape = {"name": "b", "type": "shapefactor", "data": None}
    sides = {"SR": ([100.0, 0.0, 110.0], [0.0, 3.0, 0.0]), "CR": ([98.0, 0.0, 105.0], None)}
    spec = workspace([("symmetric", [1.0] * 3, [shape])], [0.0] * 3)
    channels, observations = [], []
    for name, (counts, signal) in sides.items():
        samples = [{"name": "symmetric", "data": [99.0, 0.5, 107.0], "modifiers": [shape]}]
        if signal is not None:
            samples.append({"name": "signal", "data": signal, "modifiers": [STRENGTH]})
        channels.append({"name": name, "samples": samples})
        observations.append({"name": name, "data": counts})
    spec |= {"channels": channels, "observations": observations}
    spec["measurements"][0]["config"]["parameters"] = [
        {"name": "mu", "bounds": [[-50.0, 50.0]], "inits": [0.0]},
        {"name": "b", "bounds": [[1e-10, 100.0]] * 3, "inits": [1.0] * 3},
    ]
    fit = fit_workspace(spec)
    assert fit.mu_hat.value == 0.0
    assert fit.mu_hat.error is None
    assert fit.mu_hat.error_up == pytest.approx(1 / 6, rel=1e-6)
    assert fit.mu_hat.error_down == pytest.approx(-1 / 6, rel=1e-6)
    assert "NaN" not in to_json(fit.to_dict())
    # mu_hat is exactly 0: all other errors are those of the null fit.
    for channel in predict_yields(spec, fit).channels:
        found = channel.predictions
        assert found["null"].total.sum_error > 9
        assert found["postfit"].total.sum_error == pytest.approx(
            found["null"].total.sum_error, rel=1e-6
        )


@pytest.mark.parametrize("signal", [0.02, 5e-4])
def test_a_weak_signal_is_no_refusal(signal):
    spec = counting(signal, 30.0, 4.0, 30.0)
    fit = fit_workspace(spec)
    assert fit.mu_hat.value == pytest.approx(0.0, abs=1e-9)
    assert fit.discovery.q0 == pytest.approx(0.0, abs=1e-9)
    assert any("is wider than the bounds" in line for line in fit.warnings)
    # sigma^2 = 30 + 4^2 events
    assert fit.mu_hat.error == pytest.approx(np.sqrt(46) / signal, rel=1e-3)
    # A deficit leaves it at the bound, with the same note.
    deficit = fit_workspace(counting(signal, 30.0, 4.0, 25.0))
    assert (deficit.mu_hat.value, deficit.discovery.q0) == (0.0, 0.0)
    assert any("is wider than the bounds" in line for line in deficit.warnings)


@pytest.mark.parametrize("reach", [10.0, 1e4, 1e8])
def test_a_copy_of_the_poi_is_refused_whatever_the_bounds(reach):
    spec = copied()
    for parameter in spec["measurements"][0]["config"]["parameters"]:
        parameter["bounds"] = [[-reach, reach]]
    with pytest.raises(FitError, match=r"do not determine (mu, k|k, mu)"):
        fit_workspace(spec)


@pytest.mark.parametrize(
    "command",
    [
        ["fit"], ["limit"], ["discover"], ["rank"], ["scan", "--parameter", "mu"],
        ["inject", "--mu", "2"], ["toys", "--toys", "32"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_every_command_refuses_a_copy_of_the_poi(command, tmp_path):
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(copied()))
    out = tmp_path / ("out.npz" if command[0] == "toys" else "out.json")
    outcome = invoke(command[0], str(path), *command[1:], "-o", str(out))
    assert outcome.code == 4
    assert "do not determine" in outcome.message
    assert not out.exists()


def lumi(sigma=0.02, auxdata=1.0):
    return {
        "name": "lumi", "auxdata": [auxdata], "sigmas": [sigma], "bounds": [[0.5, 1.5]],
        "inits": [1.0],
    }  # fmt: skip


def test_no_null_is_no_refusal_of_a_fit():
    modifiers = [STRENGTH, {"name": "lumi", "type": "lumi", "data": None}]
    fit = fit_workspace(workspace([("signal", [40.0], modifiers)], [44], [lumi()]))
    assert fit.mu_hat.value == pytest.approx(1.1, rel=1e-8)
    # n = 44 and lumi = 1 +- .02 are independent: relative errors add in quadrature.
    assert fit.mu_hat.error == pytest.approx(1.1 * np.hypot(1 / np.sqrt(44), 0.02), rel=1e-6)
    record = fit.to_dict()
    assert record["null"] is None
    assert record["discovery"] is None
    assert any("no null and no discovery statement" in line for line in fit.warnings)
    assert type(fit).from_dict(json.loads(to_json(record))) == fit


def test_a_signal_alone_that_starts_at_zero():
    """Nothing is expected at the starting value: the fit starts elsewhere, and says so."""
    spec = workspace(
        [("signal", [8.0], [STRENGTH])], [6],
        [{"name": "mu", "bounds": [[0.0, 10.0]], "inits": [0.0]}],
    )  # fmt: skip
    fit = fit_workspace(spec)
    assert fit.mu_hat.value == pytest.approx(0.75, rel=1e-5)
    assert fit.mu_hat.error == pytest.approx(np.sqrt(6) / 8, rel=1e-6)
    assert any("started away from 0" in line for line in fit.warnings)


def test_bounds_that_exclude_zero_are_no_refusal():
    spec = counting(10.0, 50.0, 5.0, 71.0, parameters=[bounded("mu", 0.5, 20)])
    fit = fit_workspace(spec)
    assert fit.mu_hat.value == pytest.approx(2.1, rel=1e-6)
    assert fit.to_dict()["null"] is None
    with pytest.raises(ModelError, match=r"exclude 0, so there is no null; widen them.*ddphf scan"):
        limit_workspace(spec)
    wide = fit_workspace(spec, poi_bounds=(0.0, 20.0))
    assert wide.discovery is not None
    assert wide.provenance["poi_bounds"] == [0.0, 20.0]


def test_auxiliary_data_in_another_unit_are_named():
    spec = counting(10.0, 50.0, 5.0, 58.0, parameters=[{"name": "unc", "auxdata": [1.1]}])
    fit = fit_workspace(spec)
    line = next(line for line in fit.warnings if "auxiliary datum" in line)
    assert (
        "'unc[0]' (shapesys): the auxiliary datum is 1.1 auxiliary events, expected is 100" in line
    )
    assert "-9.9 sigma" in line
    pulls = auxiliary_pulls(
        ReferenceModel(spec).constraints, np.array([1.1]), ReferenceModel(spec).parameters.init
    )
    assert pulls[~np.isnan(pulls)] == pytest.approx([(1.1 - 100) / 10])
    # The numbers stay pyhf's: gamma = 1.1 / 100, mu takes the rest.
    assert fit.mu_hat.value == pytest.approx((58 - 50 * 0.011) / 10, rel=1e-6)
    usual = fit_workspace(counting(10.0, 50.0, 5.0, 58.0))
    assert not any("auxiliary" in line for line in usual.warnings)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (lumi(sigma=2.0), "its sigma is 2 of its value"),
        (lumi(auxdata=1.4), "the auxiliary datum is 1.4"),
        ({**lumi(), "inits": [1.3]}, r"expected is 1.3, -15"),
    ],
)
def test_lumi_in_another_unit(setting, words):
    modifiers = [STRENGTH, {"name": "lumi", "type": "lumi", "data": None}]
    spec = workspace([("signal", [40.0], modifiers), ("b", [10.0], [])], [44], [setting])
    assert any(words in line for line in ReferenceModel(spec).warnings)


def cls_by_pyhf(spec, mu, bounds):
    with pyhf_backend("numpy"):
        model = pyhf.Workspace(spec).model()
        limits = model.config.suggested_bounds()
        limits[model.config.poi_index] = bounds
        return float(
            pyhf.infer.hypotest(mu, pyhf.Workspace(spec).data(model), model, par_bounds=limits)
        )


def test_a_default_bound_of_pyhf_stops_no_limit():
    spec = counting(0.6, 55.0, 6.0, 58.0)
    limit = limit_workspace(spec)
    assert limit.asymptotic.observed > 10
    assert None not in limit.asymptotic.expected
    assert cls_by_pyhf(spec, limit.asymptotic.observed, (0, 100)) == pytest.approx(0.05, abs=1e-5)
    assert limit.provenance["poi_bounds"] == [0.0, 100.0]
    assert any("pyhf's default of 10" in line for line in limit.warnings)
    stated = counting(0.6, 55.0, 6.0, 58.0, parameters=[bounded("mu", 0, 10)])
    with pytest.raises(ModelError, match=r"widen the bound: --poi-bounds 0,100"):
        limit_workspace(stated)
    given_ = limit_workspace(stated, poi_bounds=(0.0, 100.0))
    assert given_.asymptotic.observed == pytest.approx(limit.asymptotic.observed, rel=1e-8)


def test_a_background_only_workspace():
    spec = workspace(
        [("background", [240.0], [normsys("norm", 0.05)])], [260], [bounded("mu_sig", 0, 10)],
        poi="mu_sig",
    )  # fmt: skip
    fit = fit_workspace(spec)
    assert (fit.poi, fit.null) == (None, None)
    assert any(
        "background-only workspace" in line and "ddphf patch" in line for line in fit.warnings
    )
    with pytest.raises(ModelError, match=r"background-only.*'ddphf patch'"):
        limit_workspace(spec)
    slip = workspace(
        [("s", [5.0], [normfactor("mu_signal")]), ("b", [50.0], [])], [52], poi="mu_sgnal"
    )
    with pytest.raises(ModelError, match="did you mean 'mu_signal'"):
        fit_workspace(slip)


@pytest.mark.parametrize(
    ("factor", "settings"), [("norm_top", ()), ("mu_b", (bounded("mu_s", 0, 10),))]
)
def test_a_background_only_workspace_with_free_backgrounds(factor, settings):
    """pyhf refuses it like any background-only workspace, and takes it with the patch."""
    background = ("background", [240.0, 80.0], [normfactor(factor)])
    spec = workspace([background], [270, 90], settings, poi="mu_s")
    fit = fit_workspace(spec)
    assert (fit.poi, fit.null, fit.discovery) == (None, None, None)
    (value,) = (p.value for p in fit.fit.parameters if p.name == factor)
    assert value == pytest.approx(360 / 320, rel=1e-8)
    assert any(f"the normfactors here are {factor}" in line for line in fit.warnings)
    with pytest.raises(pyhf.exceptions.InvalidModel, match="cannot be fit"):
        pyhf.Workspace(spec).model()
    spec["channels"][0]["samples"].append(
        {"name": "signal", "data": [5.0, 20.0], "modifiers": [normfactor("mu_s")]}
    )
    assert pyhf.Workspace(spec).model().config.poi_name == "mu_s"
    assert fit_workspace(spec).discovery is not None


@pytest.mark.parametrize("tau", [1e8, 1e12])
def test_exact_backgrounds_do_not_look_like_disagreement(tau):
    """Auxiliary Poisson terms of tau events round by far more than the counts do."""
    background = np.linspace(2e4, 6e4, 12)
    signal = np.linspace(5.0, 11.0, 12)
    rng = np.random.default_rng(5)
    counts = rng.poisson(background)
    unc = {"name": "unc", "type": "shapesys", "data": (background / np.sqrt(tau)).tolist()}
    spec = workspace(
        [("signal", signal, [STRENGTH]), ("background", background, [unc])], counts,
        [bounded("mu", -1000, 1000)],
    )  # fmt: skip
    fit = fit_workspace(spec)
    variance = background + background**2 / tau
    expected = np.sum(signal * (counts - background) / variance) / np.sum(signal**2 / variance)
    assert fit.mu_hat.value == pytest.approx(expected, abs=0.05 * fit.mu_hat.error)
    assert fit.mu_hat.error == pytest.approx(np.sum(signal**2 / variance) ** -0.5, rel=0.02)
    assert any("rounding alone" in line for line in fit.warnings) == (tau > 1e10)


def test_fifty_exact_backgrounds_and_a_norm():
    """50 auxiliary terms of 1e10 events round by 1e-3, the counts alone by 1e-6."""
    rng = np.random.default_rng(0)
    background, signal = rng.uniform(2e4, 6e4, 50), np.linspace(5.0, 54.0, 50)
    counts = rng.poisson(background)
    unc = {"name": "unc", "type": "shapesys", "data": (1e-5 * background).tolist()}
    spec = workspace(
        [
            ("signal", signal, [STRENGTH]),
            ("background", background, [unc, normsys("norm", 0.02)]),
        ],
        counts,
        [bounded("mu", -100, 100)],
    )
    fit = fit_workspace(spec)
    # Least squares with the norm's prior: at 40 000 events per bin nothing else is left.
    moves = np.array([signal, 0.02 * background])
    inverse = np.linalg.inv((moves / background) @ moves.T + np.diag([0.0, 1.0]))
    expected = inverse @ (moves / background) @ (counts - background)
    assert fit.mu_hat.value == pytest.approx(expected[0], abs=0.02 * fit.mu_hat.error)
    assert fit.mu_hat.error == pytest.approx(inverse[0, 0] ** 0.5, rel=0.01)


def test_a_staterror_with_a_slash():
    stat = {"name": "stat_e/mu", "type": "staterror", "data": [3.0]}
    spec = workspace([("s", [5.0], [STRENGTH]), ("b", [50.0], [stat])], [55])
    with pytest.raises(ModelError, match=r"'stat_e/mu' \(staterror\): pyhf cannot read.*rename"):
        fit_workspace(spec)


PLACES = ("channel", "sample", "modifier", "measurement")
NAMES = ["", " ", "a b", "ünï ☃", 'it\'s "q"', "[red]x[/red]", "$x$ & <b>", "a/b", "x" * 300, "-o"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_kept(name, tmp_path):
    spec = named(name, *PLACES)
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(spec))
    assert invoke("inspect", str(path)).code == 0
    outcome = invoke("fit", str(path), "-o", str(tmp_path / "fit.json"))
    assert outcome.code == 0
    assert json.loads((tmp_path / "fit.json").read_text())["discovery"]["z0"] > 0


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\x7f", "\x85"])
def test_control_characters_are_refused(name):
    for place in PLACES:
        with pytest.raises(ModelError, match="control character"):
            fit_workspace(named(name, place))


def named(name, *places):
    spec = workspace(
        [("s", [5.0, 9.0], [STRENGTH]), ("b", [50.0, 40.0], [normsys("norm", 0.1)])], [60, 55]
    )
    sample = spec["channels"][0]["samples"][1]
    if "channel" in places:
        spec["channels"][0]["name"] = spec["observations"][0]["name"] = name
    if "sample" in places:
        sample["name"] = name
    if "modifier" in places:
        sample["modifiers"][0]["name"] = name
    if "measurement" in places:
        spec["measurements"][0]["name"] = name
    return spec


def test_two_parameters_of_one_name_are_refused():
    unc = {"name": "a", "type": "shapesys", "data": [5.0, 4.0]}
    spec = workspace(
        [("s", [5.0, 9.0], [STRENGTH]), ("b", [50.0, 40.0], [unc, normfactor("a[0]")])], [60, 55]
    )
    with pytest.raises(ModelError, match=r"two parameters are called 'a\[0\]'"):
        fit_workspace(spec)


PATCH = {"op": "add", "path": "/channels/0/samples/0", "value": {}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"metadata": {}, "patches": [{"metadata": {"name": "m200"}, "patch": []}]},
         "a patchset of 1 signals (m200)"),
        ([PATCH], "a JSON Patch of 1 operations"),
        ({"schema": "ddphf/fit/1"}, "a record of ddphf (ddphf/fit/1)"),
        ({"distributions": [], "metadata": {"hs3_version": "0.2"}}, "a likelihood in HS3"),
        ({"channels": []}, "a model without observations and measurements"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_what_is_no_workspace_is_called_by_its_name(document, words, command, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    outcome = invoke(command, str(path))
    assert outcome.code == 3
    assert words in outcome.message


YIELD = st.sampled_from([0.0, 1e-8, 0.3, 5.0, 60.0, 1e6])
COUNT = st.sampled_from([0.0, 1.0, 5.0, 60.0, 1e6])
BOUNDS = st.sampled_from([(-10.0, 10.0), (0.0, 10.0), (-1e5, 1e5), (0.0, 1e-3), (1.0, 5.0)])


@given(
    signal=st.lists(YIELD, min_size=2, max_size=2),
    background=st.lists(YIELD, min_size=2, max_size=2),
    counts=st.lists(COUNT, min_size=2, max_size=2),
    size=st.sampled_from([1e-6, 0.1, 0.9]),
    bounds=BOUNDS,
    low=st.sampled_from([0.0, -20.0]),
)
@example([0.0, 5.0], [5.0, 0.0], [5.0, 0.0], 0.1, (-10.0, 10.0), 0.0)
@example([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], 0.1, (-10.0, 10.0), 0.0)
@example([5.0, 5.0], [0.0, 0.0], [0.0, 0.0], 0.9, (-10.0, 10.0), -20.0)
@settings(max_examples=40, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
def test_no_number_that_is_none_reaches_json(signal, background, counts, size, bounds, low):
    """Whatever the model: a record of finite numbers and nulls, or a message."""
    spec = workspace(
        [
            ("signal", signal, [STRENGTH]),
            ("background", background, [normsys("norm", size), normfactor("k")]),
        ],
        counts,
        [
            {"name": "mu", "bounds": [list(bounds)], "inits": [bounds[1] / 2]},
            {"name": "k", "bounds": [[low, 20.0]], "inits": [1.0]},
        ],
    )
    try:
        fit = fit_workspace(spec)
    except DdphfError:  # a message; anything else fails
        return
    to_json(fit.to_dict())
    to_json(predict_yields(spec, fit).to_dict())
    for parameter in fit.fit.parameters:
        assert parameter.error is None or parameter.error >= 0


def test_a_sibling_is_the_measurement_itself():
    spec = counting(10.0, 50.0, 5.0, 58.0)
    held = {"name": "unc", "inits": [0.9], "fixed": True}
    other = {"name": "other", "config": {"poi": "mu", "parameters": [held, {"name": "lost"}]}}
    spec["measurements"].append(other)
    first = ReferenceModel(spec)
    found, fresh = first.sibling("other"), ReferenceModel(spec, "other")
    assert found.warnings == fresh.warnings
    assert any("'other': settings of parameters that no modifier has" in w for w in found.warnings)
    assert found.parameters.names == fresh.parameters.names
    for name in ("init", "lower", "upper", "fixed"):
        np.testing.assert_array_equal(
            getattr(found.parameters, name), getattr(fresh.parameters, name)
        )
    assert found.parameters.fixed.any()
    assert not first.parameters.fixed.any()
    bounds = first.sibling("m", (0.0, 3.0)).parameters
    assert (bounds.lower[bounds.poi], bounds.upper[bounds.poi]) == (0.0, 3.0)
    with pytest.raises(ModelError, match="measurement 'oter' is not in the workspace; did you"):
        first.sibling("oter")
    spec["measurements"][1]["config"]["parameters"][0]["inits"] = [0.9, 1.0]
    with pytest.raises(ModelError, match="'other', parameter 'unc': 2 inits, expected 1"):
        first.sibling("other")
