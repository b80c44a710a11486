"""Combine datacards by the formulas of Combine's documentation (tests/combine_formulas.py)."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import uproot
from combine_formulas import CombineCard
from conftest import invoke
from hypothesis import HealthCheck, assume, given, settings
from interchange_models import (
    MARK,
    differences,
    every_modifier,
    marked,
    plain,
    points,
    pyhf_differences,
    stating,
    without_poi,
)
from model_zoo import zoo

from ddphf.exceptions import InputError, ModelError
from ddphf.interchange import combine_parts
from ddphf.interchange.combine_norms import code4_formula, largest_difference, lognormal
from ddphf.interchange.combine_write import write_card, write_histograms
from ddphf.interchange.terms import read_components
from ddphf.likelihood.reference import ReferenceModel

WORKSPACES = Path(__file__).parent.parent / "workspaces"
ZOO = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def written(workspace, folder, *, exact, measurement=None):
    """Return a measurement and the evaluated files of its card."""
    reference = ReferenceModel(workspace, measurement)
    card = write_card(reference, "card.root", exact=exact)
    (folder / "card.txt").write_text(card.text)
    write_histograms(card.histograms, folder / "card.root")
    return reference, CombineCard(folder / "card.txt")


def named(reference, x):
    """Return values by the names that the card has."""
    out = {}
    for index, (component, value) in enumerate(zip(read_components(reference), x, strict=True)):
        name = component.modifier
        if index == reference.parameters.poi:
            name = "r"
        elif component.bin is not None:
            name = f"{name}_bin_{component.bin}"
        out[re.sub(r"[^A-Za-z0-9_]", "_", name)] = float(value)
    return out


def compared(reference, card, where):
    """Return 2NLL differences of the card and of pyhf."""
    theirs = differences([card.twice_nll(named(reference, x)) for x in where])
    return theirs, pyhf_differences(reference, where)


@pytest.mark.parametrize("exact", [True, False])
def test_every_modifier(tmp_path, exact):
    """lnN and pyhf's normsys agree at whole sigmas, the formula everywhere."""
    reference, card = written(every_modifier(), tmp_path, exact=exact)
    theirs, ours = compared(reference, card, points(reference, 20, whole=not exact))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert np.abs(ours).max() > 10


@ZOO
@given(workspace=zoo())
def test_generated_models(tmp_path_factory, workspace):
    assume("mu" in json.dumps(workspace["channels"]))
    folder = tmp_path_factory.mktemp("card")
    reference, card = written(plain(workspace), folder, exact=True)
    theirs, ours = compared(reference, card, points(reference, 4))
    np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-6)


@pytest.mark.parametrize(("name", "exact"), [("higgs_lfv_window", False), ("tau_ratio", True)])
def test_shipped_pair_and_ratio(tmp_path, name, exact):
    workspace = json.loads((WORKSPACES / name / "workspace.json").read_text())
    reference, card = written(workspace, tmp_path, exact=exact)
    theirs, ours = compared(reference, card, points(reference, 2))
    np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-6)


def test_the_stated_difference_is_what_the_formulas_differ_by():
    """Between whole sigmas an lnN is not pyhf's normsys; the number that is printed is the most."""
    worst = 0.0
    for alpha in np.linspace(-1.5, 1.5, 301):
        text = code4_formula(1.1, 0.8).replace("@0", f"({float(alpha)!r})")
        ours = eval(text, {"__builtins__": {}, "pow": pow, "abs": abs})
        theirs = float(lognormal(np.array([alpha]), 1.1, 0.8)[0])
        if abs(alpha) >= 1:
            assert ours == pytest.approx(theirs, rel=1e-12)
        worst = max(worst, abs(ours - theirs))
    assert worst == pytest.approx(largest_difference(1.1, 0.8), rel=1e-3)


def test_the_difference_of_an_lnn_in_2nll(tmp_path):
    """The number of docs/convert.md: a pair with a normsys of +10 -20 % at half a sigma."""
    workspace = every_modifier()
    workspace["channels"][0]["samples"][2]["modifiers"].pop()  # else 'id' is a formula
    reference, card = written(workspace, tmp_path, exact=False)
    start = points(reference, 0)[0]
    half = start.copy()
    half[reference.parameters.names.index("id")] = -0.5
    theirs, ours = compared(reference, card, [start, half])
    assert abs(theirs - ours)[0] == pytest.approx(HALF_A_SIGMA, rel=0.05)


HALF_A_SIGMA = 0.0055


def test_what_is_held_is_in_the_histograms(tmp_path):
    workspace = every_modifier()
    settings_ = workspace["measurements"][0]["config"]["parameters"]
    settings_ += [{"name": "sf", "fixed": True, "inits": [1.1, 0.9, 1.2]},
                  {"name": "id", "fixed": True}]  # fmt: skip
    reference, card = written(workspace, tmp_path, exact=True)
    assert not any("sf" in name or name == "id" for name in card.start)
    theirs, ours = compared(reference, card, points(reference, 5))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_a_sample_that_is_signal_in_one_channel_alone(tmp_path):
    """Combine has a process as signal everywhere or nowhere; a ratio scales one channel of two."""
    workspace = every_modifier()
    workspace["channels"][0]["samples"][1]["modifiers"].append(
        {"name": "mu", "type": "normfactor", "data": None}
    )
    reference, card = written(workspace, tmp_path, exact=True)
    assert {p for c, p in card.columns if c.startswith("CR")} == {"bkg_background"}
    theirs, ours = compared(reference, card, points(reference, 5))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_names_that_combine_has_itself(tmp_path):
    text = json.dumps(every_modifier()).replace('"lumi"', '"lumi"').replace('"id"', '"r"')
    text = text.replace('"fake"', '"data_obs"').replace('"SR"', '"1 SR"')
    card = write_card(ReferenceModel(json.loads(text)), "card.root")
    (tmp_path / "card.txt").write_text(card.text)
    write_histograms(card.histograms, tmp_path / "card.root")
    assert CombineCard(tmp_path / "card.txt").twice_nll
    assert "data_obs_2" in card.text
    assert "n1_SR_bin_0" in card.text
    assert any("renamed for Combine" in note and "r -> r_2" in note for note in card.notes)


def small(signal=(), background=(), yields=(5.0, 4.0)):
    """A signal and a background of two bins, with these modifiers."""
    mu = {"name": "mu", "type": "normfactor", "data": None}
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": [
            {"name": "sig", "data": list(yields), "modifiers": [mu, *signal]},
            {"name": "bkg", "data": [50.0, 60.0], "modifiers": [*background]}]}],
        "observations": [{"name": "SR", "data": [56.0, 63.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }  # fmt: skip


def histosys(name, high, low):
    return {"name": name, "type": "histosys", "data": {"hi_data": high, "lo_data": low}}


def channel_called_as_a_bin():
    workspace = every_modifier()
    samples = [{**workspace["channels"][1]["samples"][0], "data": [5.0, 4.0, 3.0]}]
    samples[0]["modifiers"] = samples[0]["modifiers"][1:]
    workspace["channels"].append({"name": "SR_bin_1", "samples": samples})
    workspace["observations"].append({"name": "SR_bin_1", "data": [5.0, 5.0, 2.0]})
    return workspace


def sample_called_as_half_of_another():
    workspace = small(background=[{"name": "n", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}])
    workspace["channels"].append({"name": "CR", "samples": [
        {"name": "sig", "data": [10.0], "modifiers": []},
        {"name": "sig_background", "data": [20.0], "modifiers": [
            {"name": "n", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}]}]})  # fmt: skip
    workspace["observations"].append({"name": "CR", "data": [31.0]})
    return workspace


def parameter_called_as_a_formula():
    return small([{"name": "a", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}],
                 [{"name": "a_factor_0", "type": "normfactor", "data": None}])  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [channel_called_as_a_bin, sample_called_as_half_of_another, parameter_called_as_a_formula],
)
def test_names_that_the_card_makes_are_nobody_elses(tmp_path, make):
    reference, card = written(make(), tmp_path, exact=True)
    theirs, ours = compared(reference, card, points(reference, 5))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_a_staterror_over_two_channels(tmp_path):
    """Its bins are parameters of their own, in the order of the channels' names."""
    workspace = small(background=[{"name": "mc", "type": "staterror", "data": [5.0, 9.0]}])
    for name, errors in (("CR", [2.0, 3.0, 1.0]), ("VR", [4.0])):
        data = [30.0, 20.0, 25.0][: len(errors)]
        workspace["channels"].append({"name": name, "samples": [{"name": "bkg", "data": data,
            "modifiers": [{"name": "mc", "type": "staterror", "data": errors}]}]})  # fmt: skip
        workspace["observations"].append({"name": name, "data": data})
    reference, card = written(workspace, tmp_path, exact=True)
    theirs, ours = compared(reference, card, points(reference, 5))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert len(card.param) == 6


def test_a_formula_that_gives_way_is_no_renamed_parameter():
    card = write_card(ReferenceModel(parameter_called_as_a_formula()), "card.root", exact=True)
    assert "\na_factor_0 rateParam" in card.text
    assert card.notes == ()


@pytest.mark.parametrize(
    ("sample", "nuisance"), [("sig_xUp", "x"), ("sig_bkg", "bkg_x"), ("sig_x", "x_xUp")]
)
def test_two_histograms_of_one_name_are_refused(sample, nuisance):
    """Combine joins sample and histosys by an underscore, which both may hold."""
    workspace = small([histosys(nuisance, [6.0, 5.0], [4.0, 3.0])])
    other = histosys("x" if nuisance != "x_xUp" else "xUp", [8.0, 9.5], [6.0, 8.0])
    workspace["channels"][0]["samples"].append(
        {"name": sample, "data": [7.0, 9.0], "modifiers": [other]}
    )
    with pytest.raises(ModelError, match="two histograms would be called 'SR/sig_"):
        write_card(ReferenceModel(workspace), "card.root")


def test_a_card_has_a_signal():
    with pytest.raises(ModelError, match="samples that 'mu' scales, and Combine needs a signal"):
        write_card(ReferenceModel(small(yields=[0.0, 0.0])), "card.root")


def test_variations_below_zero_are_said():
    workspace = small([histosys("x", [6.0, 9.0], [4.0, -1.0])])
    (note,) = write_card(ReferenceModel(workspace), "card.root").notes
    assert note.endswith("below 0 at one sigma: x")


def test_what_is_not_in_the_card_is_said():
    workspace = marked()
    workspace["measurements"][0]["config"]["parameters"].append(
        {"name": "id", "inits": [0.5], "bounds": [[-3.0, 3.0]]}
    )
    card = write_card(ReferenceModel(workspace), "card.root")
    assert f"# {MARK}" in card.text.splitlines()
    assert any(note.endswith("by --measurement): null") for note in card.notes)
    assert "bounds and starting values are Combine's, of id" in card.notes


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without_poi, "needs a POI"),
        (lambda w: w["measurements"].reverse(), "needs a POI that is a free"),
        (lambda w: w["channels"][0]["samples"][1]["data"].__setitem__(0, -1.0), "cuts negative"),
        (stating("id", fixed=True, inits=[0.5]), "held at 0.5"),
        (stating("id", auxdata=[0.5]), "Combine has 0 with 1"),
        (lambda w: w["channels"][0]["samples"][2].update(data=[0.0, 8.0, 6.0]),
         "varies a yield of 0"),
    ],
)  # fmt: skip
def test_what_a_card_cannot_say_is_refused(edit, message):
    workspace = every_modifier()
    edit(workspace)
    with pytest.raises(ModelError, match=message):
        write_card(ReferenceModel(workspace), "card.root")


def test_too_many_histograms_are_refused(monkeypatch):
    monkeypatch.setattr(combine_parts, "MOST_HISTOGRAMS", 20)
    with pytest.raises(InputError, match="card: 24 histograms, more than the 20"):
        write_card(ReferenceModel(every_modifier()), "card.root")


def test_the_command_writes_both_files(folder):
    Path("w.json").write_text(json.dumps(every_modifier()))
    done = invoke("convert", "w.json", "--to", "combine", "-o", "out/card.txt")
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["card.root", "card.txt"]
    assert "shapes * * card.root $CHANNEL/$PROCESS" in Path("out/card.txt").read_text()
    with uproot.open("out/card.root") as file:
        assert file["SR_bin_0/data_obs"].values().tolist() == [65.0]


@pytest.mark.parametrize(("target", "name"), [("combine", "a b.txt"), ("root", "it's.xml")])
def test_files_that_name_each_other_have_plain_names(folder, target, name):
    Path("w.json").write_text(json.dumps(every_modifier()))
    done = invoke("convert", "w.json", "--to", target, "-o", f"new folder/{name}")
    assert done.code == 2
    assert "take letters, digits and . _ + -" in done.err
    assert not Path("new folder").exists()
