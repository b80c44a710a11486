"""Errors of maps as users have them: by source, shared, of flavours that are not exchanged."""

import json

import numpy as np
import pytest
from test_lepton_id_build import (
    ELECTRON,
    MUON,
    make_tables,
    write_event_analysis,
    write_map,
)

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import ConfigError, InputError, ModelError
from ddphf.inputs.events import make_events
from ddphf.inputs.maps import make_map
from ddphf.symmetry.efficiency import LeptonColumns, event_efficiencies
from ddphf.symmetry.fakes import fake_shapes, find_loose
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.pruning import Felt, choose, rank_directions

TAU = {"file": "tau.csv", "kind": "efficiency", "columns": {"sources": ["id"]}}
METHOD = [0.011, 0.002, 0.008]


def covariance(folder, change):
    """Relative covariance of an analysis whose electrons have two sources."""
    path = write_event_analysis(folder, change)
    write_map(folder / "electron.csv", {**ELECTRON, "method": METHOD})
    return load_pair(read_analysis(path)).lepton_id.covariance


def relative(columns, name):
    return np.array(columns[name]) / columns["value"]


def along(rho):
    return rho + (1 - rho) * np.eye(3)


def electron(correlation, **others):
    def change(analysis):
        item = analysis["lepton_id"]["maps"]["electron"]
        item.update(correlation=correlation, columns={"sources": ["tag", "method"]})
        analysis["lepton_id"].update(others)

    return change


def test_each_source_has_its_own_correlation(folder):
    found = covariance(folder, electron({"tag": {"pt": 0.25}, "method": {"pt": "independent"}}))
    tag, method = relative(ELECTRON, "tag"), np.array(METHOD) / ELECTRON["value"]
    expected = np.diag(relative(ELECTRON, "statistical") ** 2)
    expected = expected + np.outer(tag, tag) * along(0.25) + np.diag(method**2)
    assert found.matrix[:3, :3] == pytest.approx(expected, rel=1e-12)
    assert np.all(found.matrix[:3, 3:] == 0)
    assert "'tag' with rho (pt: 0.25)" in found.model


@pytest.mark.parametrize(
    ("axes", "rho"), [({}, 1.0), ({"pt": 0.75}, 0.75)], ids=["full", "of the axis"]
)
def test_sources_without_their_own_take_that_of_the_map(folder, axes, rho):
    found = covariance(folder, electron({**axes, "tag": {"pt": 0.25}})).matrix[:3, :3]
    tag, method = relative(ELECTRON, "tag"), np.array(METHOD) / ELECTRON["value"]
    expected = np.diag(relative(ELECTRON, "statistical") ** 2)
    expected = expected + np.outer(tag, tag) * along(0.25) + np.outer(method, method) * along(rho)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_shared_source_may_be_correlated_along_an_axis(folder):
    """One bin of pT is one bin in both maps; others have rho, within a map and between them."""

    def change(analysis):
        electron({"tag": {"pt": 0.5}, "method": {"pt": 0.0}}, shared=["tag"])(analysis)
        analysis["lepton_id"]["maps"]["muon"]["correlation"] = {"tag": {"pt": 0.5}}

    found = covariance(folder, change).matrix
    tag, of_muons = relative(ELECTRON, "tag"), relative(MUON, "tag")
    assert found[:3, 3:] == pytest.approx(np.outer(tag, of_muons) * along(0.5), rel=1e-12)
    both = np.concatenate([tag, of_muons])
    method = np.array(METHOD) / ELECTRON["value"]
    own = np.concatenate(
        [relative(ELECTRON, "statistical") ** 2 + method**2, relative(MUON, "statistical") ** 2]
    )
    expected = np.diag(own) + np.outer(both, both) * np.kron(np.ones((2, 2)), along(0.5))
    assert found == pytest.approx(expected, rel=1e-12)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_a_shared_source_beside_a_correlation_of_the_others(folder):
    """The map's rho is that of every source; the shared one is no part of the quadrature."""

    def change(analysis):
        electron({"pt": 0.5}, shared=["tag"])(analysis)
        analysis["lepton_id"]["maps"]["muon"]["correlation"] = {"pt": 0.5}

    found = covariance(folder, change).matrix
    tag, of_muons = relative(ELECTRON, "tag"), relative(MUON, "tag")
    method = np.array(METHOD) / ELECTRON["value"]
    expected = np.diag(relative(ELECTRON, "statistical") ** 2) + along(0.5) * (
        np.outer(tag, tag) + np.outer(method, method)
    )
    assert found[:3, :3] == pytest.approx(expected, rel=1e-12)
    assert found[:3, 3:] == pytest.approx(np.outer(tag, of_muons) * along(0.5), rel=1e-12)


def test_what_cannot_be_correlated_is_refused(folder):
    with pytest.raises(InputError, match="correlation of 'trigger', which is no source"):
        covariance(folder, electron({"trigger": {"pt": 0.5}}))
    with pytest.raises(InputError, match="'tag' along 'eta', which is no axis of the map"):
        covariance(folder, electron({"tag": {"eta": 0.5}}))
    with pytest.raises(InputError, match=r"'tag' has rho 0\.5 along pt in one map and 1"):
        covariance(folder, electron({"tag": {"pt": 0.5}}, shared=["tag"]))
    with pytest.raises(ConfigError, match=r"correlation.tag.pt: got 1\.5, expected"):
        covariance(folder, electron({"tag": {"pt": 1.5}}))


def test_three_flavours_exchange_the_light_ones():
    maps = {
        code: make_map(name, "efficiency", {"pt": [10, 100]}, [value])
        for code, name, value in ((11, "electron", 0.5), (15, "tau", 0.3), (13, "muon", 0.8))
    }
    table = make_events({"f": [13, 11], "pt": [20.0, 20.0]})
    leptons = [LeptonColumns("f", "pt"), LeptonColumns(15, "pt")]
    found = event_efficiencies(table, leptons, maps, np.array([True, False]))
    assert found.tested == pytest.approx([0.8 * 0.3] * 2)
    assert found.partner == pytest.approx([0.5 * 0.3] * 2)
    assert found.tested_bins.tolist() == [[2, 1]] * 2
    del maps[11]
    maps[17] = maps[13]
    with pytest.raises(InputError, match="of more than two, electrons"):
        event_efficiencies(table, leptons, maps, np.array([True, False]))


def test_a_tau_map_acts_on_the_signal_alone(folder):
    """A third of the signal's second leptons are taus; the background has none."""
    tables = make_tables()
    taus = np.arange(300) % 3 == 0
    tables["signal"]["f2"] = np.where(taus, 15, tables["signal"]["f2"])

    def change(analysis):
        maps = analysis["lepton_id"]["maps"]
        maps["tau"] = TAU
        analysis["lepton_id"].update(retained=1.0)

    path = write_event_analysis(folder, change, tables)
    write_map(folder / "tau.csv", {"value": [0.5, 0.6, 0.7], "id": [0.05, 0.06, 0.07]})
    pair = load_pair(read_analysis(path))
    assert np.all(pair.lepton_id.tested[:, 6:] == 0)
    built = build_workspace(pair, signal_scale=1.0)
    names = built.metadata["lepton_id"]["kept"]
    spec = next(c for c in built.workspace["channels"] if c["name"] == "SR_mue")
    found = {s["name"]: s for s in spec["samples"]}
    changes = {
        name: {m["name"]: np.array(m["data"]["hi_data"]) / s["data"] - 1 for m in s["modifiers"]
               if m["type"] == "histosys"}
        for name, s in found.items()
    }  # fmt: skip
    # No modifier is empty.
    for shifts in changes.values():
        assert all(np.any(np.abs(shift) > 1e-12) for shift in shifts.values())
    assert set(names) >= set(changes["symmetric"])
    h = np.stack([changes["signal"].get(n, np.zeros(4)) for n in names], axis=1)
    w, c = pair.lepton_id.signal_tested, pair.lepton_id.covariance.matrix
    assert h @ h.T == pytest.approx(w @ c @ w.T, rel=1e-9)
    # One error of a tenth on the third of the leptons that are taus.
    share = pair.lepton_id.signal_tested[:, 6:].sum(axis=1)
    assert np.all(np.sum(h**2, axis=1) > (0.1 * share) ** 2)


def test_a_map_of_another_flavour_adds_nothing(folder):
    """A tau map where there is no tau: the same workspace."""

    def change(analysis):
        analysis["lepton_id"]["maps"]["tau"] = TAU

    plain = build_workspace(load_pair(read_analysis(write_event_analysis(folder))))
    path = write_event_analysis(folder, change)
    write_map(folder / "tau.csv", {"value": [0.5, 0.6, 0.7], "id": [0.05, 0.06, 0.07]})
    more = build_workspace(load_pair(read_analysis(path)))
    assert more.metadata["lepton_id"]["kept"] == plain.metadata["lepton_id"]["kept"]
    assert len(json.dumps(more.workspace)) == pytest.approx(len(json.dumps(plain.workspace)), 1e-3)


def test_fakes_of_one_flavour_have_no_nuisances_of_another():
    maps = {
        code: make_map(
            name, "fake_factor", {"pt": [10, 20, 50]}, [0.2, 0.3], sources={"mc": [0.02, 0.03]}
        )
        for code, name in ((11, "electron"), (13, "muon"))
    }
    loose = find_loose(make_events({"pt": [12.0, 30.0, 30.0]}), maps, LeptonColumns(11, "pt"))
    names = [s.name for s in fake_shapes(loose, np.array([0, 0, 1]), (2,))]
    assert names == ["fakes_electron_mc"]


def test_rounding_is_no_one_sided_variation(folder):
    """A clean build has no word about it; a variation that is one-sided has."""
    built = build_workspace(load_pair(read_analysis(write_event_analysis(folder))))
    assert not [line for line in built.warnings if "the same way" in line]
    rounding = 1 + np.array([1.0, -1.0, 2.0]) * np.finfo(float).eps
    up = np.array([1.1, 1.0, 1.0])
    counts = np.full(3, 100.0)

    def warnings(up, down):
        shape = Systematic("shape", "histosys", up, down, relative=True)
        signal = Template([3.0, 5.0, 3.0], systematics=[shape])
        pair = Pair(Channel("b", counts, signal=signal), Channel("a", counts))
        return [w for w in build_workspace(pair).warnings if "the same way" in w]

    assert warnings(up * rounding, rounding) == []
    (line,) = warnings(up, up)
    assert "one-sided" in line


def test_shares_and_numbers_that_are_none_are_refused():
    felt = Felt(np.eye(2), 0 * np.eye(2), np.ones(2), np.ones(2), np.zeros((2, 0)), np.ones(2))
    ranking = rank_directions([felt], np.eye(2))
    with pytest.raises(ModelError, match="retained is 0, expected a part of the ratio's variance"):
        choose(ranking, retained=0.0, at_most=None)
    with pytest.raises(ModelError, match="at most 0 variations, expected 1 or more"):
        choose(ranking, retained=None, at_most=0)
    assert choose(ranking, retained=1.0, at_most=None) == 2
