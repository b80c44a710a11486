"""The emitted workspace: its expectation by hand, its bytes, its names, its sidecar."""

import copy
import json

import numpy as np
import pyhf
import pytest
import yaml
from conftest import (
    ANALYSIS,
    EDGES,
    JES_A,
    JES_B,
    LEPTON_A,
    LEPTON_B,
    LUMI_ERROR,
    C,
    full_pair,
    invoke,
    plain_pair,
    shape,
    write_analysis,
)

from ddphf.exceptions import InputError, ModelError
from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.symmetry.pair import Channel, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.scaling import asimov_sigma, largest_mu
from ddphf.workspace.yields import resolve_pair

SCALE = 2.0


def expected_by_hand(p, background):
    """The paired model written out; code 4 (normsys) is exponential beyond one sigma."""

    def factor(up, down, alpha):
        assert abs(alpha) >= 1
        return up**alpha if alpha > 0 else down**-alpha

    norm = factor(1.2, 0.85, p["fake_norm"])
    lumi = p["lumi"]
    b = background * p["symmetric_shape"]
    rate_b = (
        b * C["ratio"] * (1 + (LEPTON_B - 1) * p["lepton"])
        + C["fakes"] * (1 + (JES_B - 1) * p["jes"]) * norm * p["fakes_stat_SR_mue"]
        + p["mu"] * lumi * SCALE * C["signal"] * (1 + (LEPTON_B - 1) * p["lepton"])
        * factor(1.1, 0.9, p["theory"]) * p["signal_stat_SR_mue"]
    )  # fmt: skip
    rate_a = (
        b * (1 + (LEPTON_A - 1) * p["lepton"])
        + C["fakes_partner"] * (1 + (JES_A - 1) * p["jes"]) * norm * p["fakes_stat_CR_emu"]
        + p["mu"] * lumi * SCALE * C["signal_partner"]
    )
    return {"SR_mue": rate_b, "CR_emu": rate_a}


@pytest.fixture(scope="module")
def built():
    return build_workspace(full_pair(), signal_scale=SCALE, name="full")


@pytest.fixture(scope="module")
def model(built):
    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    return pyhf.Workspace(built.workspace).model(modifier_settings=settings)


@pytest.mark.parametrize("seed", range(8))
def test_pyhf_expects_what_the_paired_model_says(model, seed):
    rng = np.random.default_rng(seed)
    estimate = C["tested"] + C["partner"] - C["fakes"] - C["fakes_partner"]
    background = estimate / (1 + C["ratio"])
    point = {}
    for name in model.config.par_order:
        parset = model.config.param_set(name)
        if name in ("lepton", "jes", "theory", "fake_norm"):
            point[name] = rng.uniform(1, 3) * rng.choice([-1, 1])
        elif name == "mu":
            point[name] = rng.uniform(-3, 3)
        else:
            values = rng.uniform(0.5, 1.5, parset.n_parameters)
            point[name] = values if parset.n_parameters > 1 else values[0]
    vector = np.concatenate([np.atleast_1d(point[n]) for n in model.config.par_order])
    got = np.asarray(model.expected_data(vector.tolist(), include_auxdata=False))
    want = expected_by_hand(point, background)
    for channel, where in model.config.channel_slices.items():
        np.testing.assert_allclose(got[where], want[channel], rtol=1e-10, atol=0)


def test_pyhf_schema_accepts_and_the_constraints_are_the_stated_errors(built, model):
    pyhf.schema.validate(built.workspace, "workspace.json")
    assert model.config.param_set("lumi").sigmas == [LUMI_ERROR]
    widths = model.config.param_set("fakes_stat_CR_emu").sigmas
    np.testing.assert_allclose(widths, 0.1, rtol=1e-12)
    factors = model.config.param_set("fakes_stat_SR_mue").factors
    np.testing.assert_allclose(factors, (C["fakes"] / C["fakes_error"]) ** 2, rtol=1e-12)
    widths = model.config.param_set("signal_stat_SR_mue").sigmas
    np.testing.assert_allclose(widths, C["signal_error"] / C["signal"], rtol=1e-12)


def numbers(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from numbers(value)
    elif isinstance(node, list):
        for value in node:
            yield from numbers(value)
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield node


def test_workspace_holds_floats_only(built):
    found = list(numbers(json.loads(to_json(built.workspace))))
    assert found
    assert all(type(value) is float and np.isfinite(value) for value in found)


def test_names_and_order_of_the_contract(built):
    spec = built.workspace
    assert [c["name"] for c in spec["channels"]] == ["CR_emu", "SR_mue"]
    assert [o["name"] for o in spec["observations"]] == ["CR_emu", "SR_mue"]
    for channel in spec["channels"]:
        assert [s["name"] for s in channel["samples"]] == ["fakes", "signal", "symmetric"]
    modifiers = {
        (c["name"], s["name"]): [(m["name"], m["type"]) for m in s["modifiers"]]
        for c in spec["channels"]
        for s in c["samples"]
    }
    assert modifiers["SR_mue", "signal"] == [
        ("mu", "normfactor"), ("lumi", "lumi"), ("lepton", "histosys"), ("theory", "normsys"),
        ("signal_stat_SR_mue", "staterror"),
    ]  # fmt: skip
    assert modifiers["SR_mue", "symmetric"] == [
        ("symmetric_shape", "shapefactor"), ("lepton", "histosys"),
    ]  # fmt: skip
    assert modifiers["CR_emu", "symmetric"] == modifiers["SR_mue", "symmetric"]
    assert modifiers["CR_emu", "fakes"] == [
        ("fake_norm", "normsys"), ("jes", "histosys"), ("fakes_stat_CR_emu", "staterror"),
    ]  # fmt: skip
    assert [m["name"] for m in spec["measurements"]] == [
        "discovery", "discovery_null", "known_background", "known_background_null",
    ]  # fmt: skip


def test_every_parameter_has_explicit_inits_and_bounds(built, model):
    for measurement in built.workspace["measurements"]:
        settings = {p["name"]: p for p in measurement["config"]["parameters"]}
        assert set(settings) == set(model.config.par_order)
        for name, setting in settings.items():
            n = model.config.param_set(name).n_parameters
            assert len(setting["inits"]) == len(setting["bounds"]) == n
            for init, (low, high) in zip(setting["inits"], setting["bounds"], strict=True):
                assert low <= init <= high
                if name not in ("mu", "lepton", "jes", "theory", "fake_norm"):
                    assert low > 0


def test_fixed_parameters_of_each_measurement(built):
    fixed = {
        m["name"]: {p["name"]: p["inits"] for p in m["config"]["parameters"] if p.get("fixed")}
        for m in built.workspace["measurements"]
    }
    assert fixed["discovery"] == {}
    assert fixed["discovery_null"] == {"mu": [0.0]}
    assert list(fixed["known_background"]) == ["symmetric_shape"]
    assert fixed["known_background_null"] == {**fixed["known_background"], "mu": [0.0]}
    partner = built.workspace["channels"][0]["samples"][2]["data"]
    known = np.array(fixed["known_background"]["symmetric_shape"]) * partner
    np.testing.assert_allclose(known, C["known"], rtol=1e-12)


def test_without_known_background_there_are_two_measurements():
    names = [
        m["name"]
        for m in build_workspace(full_pair(known_background=None)).workspace["measurements"]
    ]
    assert names == ["discovery", "discovery_null"]


def shuffled(node, rng):
    if isinstance(node, dict):
        keys = list(node)
        rng.shuffle(keys)
        return {key: shuffled(node[key], rng) for key in keys}
    return [shuffled(item, rng) for item in node] if isinstance(node, list) else node


def test_bytes_do_not_depend_on_run_or_key_order(folder):
    analysis = copy.deepcopy(ANALYSIS)
    analysis["tested"]["signal"]["systematics"].append(
        {"name": "acceptance", "type": "normsys", "up": 1.05, "down": 0.95}
    )
    path = write_analysis(folder, analysis)
    outputs = []
    for index in range(4):
        changed = shuffled(analysis, np.random.default_rng(index))
        if index:
            path.write_text(yaml.safe_dump(changed, sort_keys=False))
        if index == 3:
            changed["tested"]["signal"]["systematics"].reverse()
            path.write_text(yaml.safe_dump(changed, sort_keys=False))
        assert invoke("build", path, "-o", f"{index}/pair.json").code == 0
        outputs.append(
            [
                (folder / f"{index}" / f"pair{end}").read_bytes()
                for end in (".json", ".metadata.json")
            ]
        )
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0][0] == outputs[3][0]


def test_sidecar(built):
    metadata = built.metadata
    assert metadata["name"] == "full"
    assert metadata["workspace_digest"] == f"sha256:{pyhf.utils.digest(built.workspace)}"
    assert metadata["binning"] == {
        "order": "flattened in C order, the last axis fastest",
        "axes": [{"name": "mass", "label": "mass", "unit": "GeV", "edges": EDGES}],
    }
    assert metadata["pairing"] == {"tested": "SR_mue", "partner": "CR_emu"}
    assert metadata["efficiency_ratio"] == {"min": 0.91, "max": 0.97}
    assert metadata["background"] == {"floored_bins": [], "known": True}
    assert metadata["signal"]["scale"] == SCALE
    assert metadata["signal"]["events_at_mu_1"] == {
        "SR_mue": pytest.approx(28.0, rel=1e-12), "CR_emu": pytest.approx(2.4, rel=1e-12),
    }  # fmt: skip
    assert metadata["modifier_sources"]["fake_norm"] == "control region"
    assert metadata["modifier_sources"]["lepton"] == "map.root:h"
    assert "fakes_stat_SR_mue" in metadata["modifier_sources"]
    assert metadata["versions"]["pyhf"] == pyhf.__version__
    assert json.loads(to_json(metadata)) == metadata


def test_an_absorbed_variation_is_left_out_and_said():
    common = shape("common", LEPTON_B)
    tested = Channel("mue", C["tested"], signal=Template(C["signal"]), systematics=[common])
    built = build_workspace(
        plain_pair(tested=tested, partner=Channel("emu", C["partner"], systematics=[common]))
    )
    assert "common" not in to_json(built.workspace)
    assert built.metadata["absorbed"] == ["common"]
    assert built.warnings == (
        "variation 'common' changes the symmetric background alike in both channels: the shared "
        "background absorbs it, it is left out",
    )


@pytest.mark.parametrize("where", ["signal", "unequal", "one channel"])
def test_a_variation_that_matters_stays(where):
    ours = theirs = shape("common", LEPTON_B)
    if where == "unequal":
        theirs = shape("common", LEPTON_A)
    signal = Template(C["signal"], systematics=[ours] if where == "signal" else [])
    tested = Channel("mue", C["tested"], signal=signal, systematics=[ours])
    partner = Channel("emu", C["partner"], systematics=[] if where == "one channel" else [theirs])
    built = build_workspace(plain_pair(tested=tested, partner=partner))
    assert "common" in to_json(built.workspace)
    assert built.metadata["absorbed"] == []


def test_dropping_an_absorbed_variation_changes_no_result():
    common = shape("common", LEPTON_B)
    tested = Channel("mue", C["tested"], signal=Template(C["signal"]), systematics=[common])
    pair = plain_pair(tested=tested, partner=Channel("emu", C["partner"], systematics=[common]))
    without = build_workspace(pair).workspace
    kept = copy.deepcopy(without)
    for channel in kept["channels"]:
        sample = channel["samples"][-1]
        nominal = np.array(sample["data"])
        data = {
            "hi_data": (nominal * LEPTON_B).tolist(),
            "lo_data": (nominal * (2 - LEPTON_B)).tolist(),
        }
        sample["modifiers"].append({"name": "common", "type": "histosys", "data": data})
    one, other = (fit_workspace(w) for w in (without, kept))
    assert other.mu_hat.value == pytest.approx(one.mu_hat.value, abs=1e-5 * one.mu_hat.error)
    assert other.discovery.z0 == pytest.approx(one.discovery.z0, abs=1e-6)


@pytest.mark.parametrize("strength", [1e-4, 0.01, 1.0, 30.0, 1e4])
def test_auto_scale_brings_the_error_into_a_decade(strength):
    tested = Channel("mue", C["tested"], signal=Template(strength * C["signal"]))
    signal = build_workspace(plain_pair(tested=tested)).metadata["signal"]
    assert 0.1 < signal["expected_sigma_mu"] <= 1.0
    assert np.log10(signal["scale"]) == pytest.approx(round(np.log10(signal["scale"])), abs=1e-12)


def test_the_scale_that_a_refusal_prints_is_accepted():
    tested = Channel("mue", C["tested"], signal=Template(1e-3 * C["signal"]))
    with pytest.raises(ModelError, match=r"outside \[0.05, 5\].* set 'signal_scale: 10000'"):
        build_workspace(plain_pair(tested=tested), signal_scale=1.0)
    built = build_workspace(plain_pair(tested=tested), signal_scale=10000.0)
    assert 0.05 <= built.metadata["signal"]["expected_sigma_mu"] <= 5


@pytest.mark.parametrize("ratio", [1.0, 0.8, C["ratio"]])
def test_asimov_sigma_is_the_closed_forms_information(ratio):
    """Without nuisances: 1 / sqrt of the information of the Asimov data, to 1e-9."""
    pair = plain_pair(
        tested=Channel("mue", C["tested"], Template(C["signal"]), Template(C["fakes"])),
        partner=Channel("emu", C["partner"], Template(C["signal_partner"])),
        efficiency_ratio=ratio,
    )
    b = resolve_pair(pair).background
    asimov = PlainPair.of(
        ratio * b + C["fakes"], b, C["signal"], signal_partner=C["signal_partner"],
        ratio=ratio, fakes_tested=C["fakes"],
    )  # fmt: skip
    want = 1 / np.sqrt(asimov.at(0.0).information)
    assert asimov_sigma(resolve_pair(pair)) == pytest.approx(want, rel=1e-9)


def test_asimov_sigma_with_nuisances_is_that_of_a_fit():
    """A certified fit of the null's Asimov data: shapesys adds a Poisson term, hence 1e-3."""
    pair = full_pair(known_background=None)
    spec = build_workspace(pair, signal_scale=1.0).workspace
    model = pyhf.Workspace(spec).model()
    rates = np.asarray(model.expected_data(model.config.suggested_init(), include_auxdata=False))
    for observation in spec["observations"]:
        where = model.config.channel_slices[observation["name"]]
        observation["data"] = rates[where].tolist()
    fit = fit_workspace(spec)
    assert fit.mu_hat.value == pytest.approx(0.0, abs=1e-6)
    assert fit.mu_hat.error == pytest.approx(asimov_sigma(resolve_pair(pair)), rel=1e-3)


def test_estimate_of_mu_is_near_the_fit():
    pair = plain_pair()
    fit = fit_workspace(build_workspace(pair, signal_scale=1.0).workspace)
    assert abs(fit.mu_hat.value - largest_mu(resolve_pair(pair))) < 0.2 * fit.mu_hat.error


def test_an_empty_bin_without_signal_is_floored_and_recorded():
    counts, partner = C["tested"].copy(), C["partner"].copy()
    counts[3] = partner[3] = 0
    tested = Channel("mue", counts, signal=Template(C["signal"] * [1, 1, 1, 0]))
    built = build_workspace(plain_pair(tested=tested, partner=Channel("emu", partner)))
    assert built.metadata["background"]["floored_bins"] == [3]
    assert built.workspace["channels"][0]["samples"][0]["data"][3] == 0.5


def test_a_floor_lets_signal_stand_in_an_empty_bin():
    counts, partner = C["tested"] + 6 * C["signal"], C["partner"].copy()
    counts[3] = partner[3] = 0
    tested = Channel("mue", counts, signal=Template(C["signal"]))
    pair = plain_pair(tested=tested, partner=Channel("emu", partner), floor=0.25)
    spec = build_workspace(pair).workspace
    assert spec["channels"][0]["samples"][0]["data"][3] == 0.25
    assert fit_workspace(spec).fit.status == "converged"


def test_asimov_data_need_a_declaration():
    tested = Channel("mue", C["tested"] + 0.5, signal=Template(C["signal"]))
    with pytest.raises(InputError, match="not a whole number; weighted data are not Poisson"):
        build_workspace(plain_pair(tested=tested))
    spec = build_workspace(plain_pair(tested=tested, integer_data=False)).workspace
    assert spec["observations"][1]["data"] == (C["tested"] + 0.5).tolist()


def test_error_of_a_bin_without_yield_is_said():
    fakes = Template(C["fakes"] * [1, 1, 1, 0], error=C["fakes_error"])
    tested = Channel("mue", C["tested"], signal=Template(C["signal"]), fakes=fakes)
    built = build_workspace(plain_pair(tested=tested))
    assert built.workspace["channels"][1]["samples"][0]["modifiers"][0]["data"][3] == 0.0
    assert built.warnings == (
        "channel 'SR_mue', sample 'fakes': the error of 1 bin(s) without yield is ignored (first: "
        "bin 3 (bin 3 to 4)); pyhf scales errors with the yield",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partner": Channel("emu", [1.0, 2.0])}, "channel 'CR_emu', observed: .* have shape"),
        ({"partner": Channel("e-mu", C["partner"])}, "label 'e-mu': expected letters"),
        ({"efficiency_ratio": -1.0}, r"efficiency ratio, bin 0 .*: got -1, expected a number > 0"),
        ({"efficiency_ratio": np.nan}, r"efficiency ratio, bin 0 .*: got nan"),
        ({"known_background": -C["known"]}, r"known background, bin 0 .*: got -110, expected >= 0"),
        ({"tested": Channel("mue", C["tested"])}, "no sample 'signal' in either"),
        (
            {"tested": Channel("mue", C["tested"], Template(1e300 * C["signal"]))},
            r"channel 'SR_mue', sample 'signal', bin 0 .*: got 2e\+300, expected a finite number",
        ),
        (
            {"tested": Channel("mue", C["tested"], Template(1e-200 * C["signal"]))},
            "sample 'signal'",
        ),
    ],
)  # fmt: skip
def test_refusals_of_the_python_api(changes, message):
    with pytest.raises((InputError, ModelError), match=message):
        build_workspace(plain_pair(**changes))
