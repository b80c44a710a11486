"""Fakes from maps of fake factors in the analysis file: yields, errors and nuisances by hand."""

import copy
import json

import numpy as np
import pyhf
import pytest
from conftest import ANALYSIS, invoke, write_analysis
from test_lepton_id_build import PT, make_tables, write_event_analysis, write_map

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import ConfigError, InputError
from ddphf.inference.fit import fit_workspace
from ddphf.symmetry.load import load_pair
from ddphf.workspace.build import build_workspace

ELECTRON = {
    "value": [0.2, 0.3, 0.4],
    "statistical": [0.01, 0.012, 0.02],
    "prompt": [0.01, -0.02, 0.02],
    "flat": [0.1, 0.1, 0.1],
}
MUON = {"value": [0.1, 0.15, 0.25], "statistical": [0.004, 0.0, 0.01]}
MASS = [30.0, 40.0, 50.0, 60.0, 70.0]
FAKES = {
    "events": "loose.npz",
    "weight": "w",
    "lepton": {"flavour": "loose_flavour", "pt": "loose_pt"},
    "maps": {
        "electron": {
            "file": "loose_electron.csv",
            "columns": {"sources": ["prompt", "flat"]},
            "exclude": ["flat"],
        },
        "muon": {"file": "loose_muon.csv"},
    },
    "normalisation": 0.2,
}


def loose_events():
    rng = np.random.default_rng(31)
    n = 1200
    columns = {
        "mass": rng.uniform(25, 75, n), "pt1": rng.uniform(20, 60, n),
        "f1": rng.choice([11, 13], n),
        "pt2": rng.uniform(10, 20, n), "w": np.where(rng.random(n) < 0.1, -1.0, 1.0),
    }  # fmt: skip
    columns["f2"] = 24 - columns["f1"]
    first = rng.random(n) < 0.3  # which of the two leptons is the loose one
    columns["loose_flavour"] = np.where(first, columns["f1"], -columns["f2"])
    columns["loose_pt"] = np.where(first, columns["pt1"], columns["pt2"])
    return columns


def write_loose_analysis(folder, change=None):
    write_map(folder / "loose_electron.csv", ELECTRON)
    write_map(folder / "loose_muon.csv", MUON)

    def edit(analysis):
        analysis["tested"]["fakes"] = copy.deepcopy(FAKES)
        analysis["partner"]["fakes"] = copy.deepcopy(FAKES)
        if change is not None:
            change(analysis)

    return write_event_analysis(folder, edit, {**make_tables(), "loose": loose_events()})


def by_hand(leading):
    """Yields, squared weights, and the shift of every nuisance, event by event."""
    events, yields, squares = loose_events(), np.zeros(4), np.zeros(4)
    names = [f"fakes_electron_bin{k:02d}" for k in range(3)]
    names += ["fakes_electron_prompt", "fakes_muon_bin00", "fakes_muon_bin02"]
    shifts = {name: np.zeros(4) for name in names}
    for row in range(len(events["mass"])):
        i = int((events["mass"][row] - 30) // 10)
        if not 0 <= i < 4 or events["f1"][row] != leading:
            continue
        flavour = "electron" if abs(events["loose_flavour"][row]) == 11 else "muon"
        factors = ELECTRON if flavour == "electron" else MUON
        k = int(np.searchsorted(PT, events["loose_pt"][row], side="right") - 1)
        w = events["w"][row]
        yields[i] += w * factors["value"][k]
        squares[i] += (w * factors["value"][k]) ** 2
        if f"fakes_{flavour}_bin{k:02d}" in shifts:
            shifts[f"fakes_{flavour}_bin{k:02d}"][i] += w * factors["statistical"][k]
        if flavour == "electron":
            shifts["fakes_electron_prompt"][i] += w * ELECTRON["prompt"][k]
    return yields, squares, {name: shift for name, shift in shifts.items() if shift.any()}


def test_fakes_from_maps_by_hand(folder):
    pair = load_pair(read_analysis(write_loose_analysis(folder)))
    for channel, leading in ((pair.tested, 13), (pair.partner, 11)):
        yields, squares, shifts = by_hand(leading)
        assert channel.fakes.yields.flat == pytest.approx(yields, rel=1e-12)
        assert channel.fakes.error.flat == pytest.approx(np.sqrt(squares), rel=1e-12)
        found = {s.name: s for s in channel.fakes.systematics}
        assert set(found) == {"fakes_norm", *shifts}  # flat is excluded, a zero error makes none
        for name, shift in shifts.items():
            assert found[name].up == pytest.approx(yields + shift, rel=1e-12)
            assert found[name].down == pytest.approx(yields - shift, rel=1e-12)
        assert (found["fakes_norm"].up, found["fakes_norm"].down) == (1.2, 1 / 1.2)


def test_pyhf_expects_the_fakes_of_shifted_factors(folder):
    """The nuisances are the factors' errors themselves: the yields are linear in them."""
    built = build_workspace(load_pair(read_analysis(write_loose_analysis(folder))), signal_scale=1)
    model = pyhf.Workspace(built.workspace).model()
    yields, _, shifts = by_hand(13)
    rng = np.random.default_rng(2)
    point = dict(zip(model.config.par_names, model.config.suggested_init(), strict=True))
    nominal = model.expected_actualdata([point[n] for n in model.config.par_names])
    alpha = {name: rng.normal() for name in shifts}
    moved = {**point, **alpha}
    changed = model.expected_actualdata([moved[n] for n in model.config.par_names])
    expected = sum(alpha[name] * shift for name, shift in shifts.items())
    here = model.config.channel_slices["SR_mue"]
    assert changed[here] - nominal[here] == pytest.approx(expected, rel=1e-9)
    sources = built.metadata["modifier_sources"]
    assert sources["fakes_electron_prompt"] == "prompt of loose_electron.csv"
    assert "statistical error of loose_muon.csv, muon bin 2" in sources["fakes_muon_bin02"]
    # Electrons lead in the partner: its first lepton may be a loose electron of any pT.
    assert {"fakes_electron_bin01", "fakes_muon_bin00"} <= set(sources)
    assert fit_workspace(built.workspace).discovery.z0 is not None
    assert yields.min() > 0


def test_the_average_ratio_subtracts_events_times_their_factor(folder):
    from test_lepton_id_build import ELECTRON as ELECTRON_ID
    from test_lepton_id_build import MUON as MUON_ID

    ratio = load_pair(read_analysis(write_loose_analysis(folder))).efficiency_ratio.flat
    num, den = np.zeros(4), np.zeros(4)
    for events, sign in ((make_tables()["events"], 1.0), (loose_events(), -1.0)):
        for row in range(len(events["mass"])):
            i = int((events["mass"][row] - 30) // 10)
            if not 0 <= i < 4:
                continue
            one, two = (
                int(np.searchsorted(PT, events[f"pt{n}"][row], "right") - 1) for n in (1, 2)
            )
            weight = sign
            if sign < 0:
                factors = ELECTRON if abs(events["loose_flavour"][row]) == 11 else MUON
                k = int(np.searchsorted(PT, events["loose_pt"][row], side="right") - 1)
                weight *= events["w"][row] * factors["value"][k]
            eff_b = MUON_ID["value"][one] * ELECTRON_ID["value"][two]
            eff_a = ELECTRON_ID["value"][one] * MUON_ID["value"][two]
            num[i] += weight * eff_b / (eff_a + eff_b)
            den[i] += weight * eff_a / (eff_a + eff_b)
    assert ratio == pytest.approx(num / den, rel=1e-12)


def test_a_histogram_may_state_its_normalisation_error(folder):
    analysis = copy.deepcopy(ANALYSIS)
    analysis["tested"]["fakes"]["normalisation"] = 0.25
    pair = load_pair(read_analysis(write_analysis(folder, analysis)))
    (norm,) = pair.tested.fakes.systematics
    assert (norm.name, norm.kind, norm.up) == ("fakes_norm", "normsys", 1.25)
    fakes = build_workspace(pair, signal_scale="auto").workspace["channels"][1]["samples"][0]
    kinds = {m["name"]: m["type"] for m in fakes["modifiers"]}
    assert kinds == {"fakes_norm": "normsys", "fakes_stat_SR_mue": "shapesys"}


def test_the_command_builds_it(folder):
    write_loose_analysis(folder)
    assert invoke("build", "analysis.yml", "-o", "pair.json").code == 0
    spec = json.loads((folder / "pair.json").read_text())
    for channel in spec["channels"]:
        fakes = next(s for s in channel["samples"] if s["name"] == "fakes")
        names = {m["name"] for m in fakes["modifiers"]}
        assert {"fakes_norm", "fakes_electron_prompt"} < names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a["tested"]["fakes"].pop("lepton"),
            "at tested.fakes: 'lepton' is missing; fake factors need both",
        ),
        (lambda a: a["tested"]["fakes"].pop("maps"), "at tested.fakes: 'maps' is missing"),
        (
            lambda a: a["tested"]["fakes"]["maps"]["muon"].update(flavour=11),
            "at tested.fakes.maps: 'electron' and 'muon' are both of flavour 11",
        ),
        (
            lambda a: a["partner"]["fakes"]["maps"]["muon"].update(file="other.csv"),
            "at partner.fakes.maps.muon: another map of this name than in 'tested'",
        ),
        (
            lambda a: a["tested"]["fakes"].update(normalisation=1.5),
            "at tested.fakes.normalisation: got 1.5, expected a number < 1",
        ),
        (
            lambda a: a["tested"]["signal"].update(normalisation=0.1),
            "at tested.signal: unknown key 'normalisation'",
        ),
        (
            lambda a: a["tested"]["fakes"]["maps"].update({"a-b": {"file": "x.csv"}}),
            'at tested.fakes.maps: got "a-b", expected letters, digits and underscores',
        ),
        (
            lambda a: a["tested"]["fakes"].update(maps={}),
            "at tested.fakes.maps: got {}, expected 1 or more entries",
        ),
        (
            lambda a: a["tested"]["fakes"]["maps"].update(jet={"file": "x.csv"}),
            "at tested.fakes.maps.jet: 'flavour' is missing",
        ),
    ],
)
def test_sections_that_contradict_themselves_are_refused(folder, change, message):
    with pytest.raises(ConfigError, match=message):
        read_analysis(write_loose_analysis(folder, change))


def test_loose_leptons_without_a_factor_are_refused(folder):
    def one_flavour(analysis):
        for role in ("tested", "partner"):
            del analysis[role]["fakes"]["maps"]["muon"]

    with pytest.raises(InputError, match=r"loose\.npz: 140 loose leptons have no fake factor"):
        load_pair(read_analysis(write_loose_analysis(folder, one_flavour)))

    def no_source(analysis):
        analysis["tested"]["fakes"]["maps"]["electron"]["exclude"] = ["trigger"]
        analysis["partner"]["fakes"]["maps"]["electron"]["exclude"] = ["trigger"]

    with pytest.raises(InputError, match="no source 'trigger'; it has: prompt, flat"):
        load_pair(read_analysis(write_loose_analysis(folder, no_source)))


def test_fake_factors_without_lepton_id(folder):
    """Events and a stated ratio alone: the fakes are those of the maps all the same."""

    def change(analysis):
        del analysis["lepton_id"]
        analysis["efficiency_ratio"] = 0.9

    pair = load_pair(read_analysis(write_loose_analysis(folder, change)))
    yields, _, shifts = by_hand(13)
    assert pair.tested.fakes.yields.flat == pytest.approx(yields, rel=1e-12)
    assert {s.name for s in pair.tested.fakes.systematics} == {"fakes_norm", *shifts}
