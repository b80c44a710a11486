"""`ddphf learn` as it is called: records, treatments of nuisances, other places, the report."""

import json

import numpy as np
import pytest
from conftest import invoke
from test_lepton_id_build import make_tables, write_event_analysis

import ddphf
from ddphf.config.analysis import read_analysis
from ddphf.exceptions import InputError
from ddphf.learning.read_labels import read_labelled_events
from ddphf.learning.run_test import learn_test
from ddphf.results.learn import LearnResult

MASS = {"variables": [{"column": "mass"}], "redraws": 120}


def write(folder, change=None, learn=MASS):
    def edit(analysis):
        analysis["learn"] = learn
        if change is not None:
            change(analysis)

    return write_event_analysis(folder, edit)


def run(*arguments):
    found = invoke("learn", "test", "analysis.yml", "--seed", "1", "-o", "l.json", "--force",
                   *arguments)  # fmt: skip
    assert found.code == 0, found.err
    with open("l.json") as file:
        return json.load(file)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


def test_the_record_has_its_keys(here):
    record = run()
    assert record["schema"] == "ddphf/learn/1"
    assert record["statistic"] == "default"
    assert record["redraws"] == 120
    assert [m["statistic"] for m in record["members"]] == ["kernel", "scan"]
    low, high = record["p_interval"]
    assert 0 < low <= record["p"] <= high <= 1
    assert 0 < record["chi2_12"]["null_ks_p"] <= 1
    assert record["effective_dof"] > 1
    labels = record["labels"]
    assert labels["n_tested"] + labels["n_partner"] == 4000
    assert 0 < labels["pi_min"] < labels["pi_max"] < 1
    assert LearnResult.from_dict(record).to_dict() == record


@pytest.mark.parametrize("statistic", ["default", "scan", "energy", "kernel"])
def test_chi2_12_is_told_of_what_may_follow_it(here, statistic):
    chi2 = run("--statistic", statistic, "--redraws", "100")["chi2_12"]
    assert (chi2["p"] is None) == ("why" in chi2) == (statistic != "kernel")
    assert 0 < chi2["null_ks_p"] <= 1


def test_events_that_are_left_out_are_told(here):
    def change(analysis):
        analysis["lepton_id"]["outside"] = "exclude"

    write(here, change)
    table = dict(np.load("events.npz"))
    table["pt1"][:7] = 90.0
    np.savez("events.npz", **table)
    found = invoke("learn", "test", "analysis.yml", "--redraws", "20", "-o", "l.json")
    with open("l.json") as file:
        left_out = json.load(file)["left_out"]
    assert left_out == ["7 events of both samples have a lepton outside the maps: left out"]
    assert left_out[0] in found.err
    assert invoke("report", "l.json", "-o", "page.html").code == 0
    assert left_out[0] in (here / "page.html").read_text()


def test_probabilities_are_those_of_maps_and_fakes_by_hand(here):
    """pi_i = s_i (1 - k_B) + k_B, event by event, with rho from sum pi = N_B."""
    events = read_labelled_events(read_analysis(here / "analysis.yml", needs_signal=False))
    table = make_tables()
    edges, bins = np.array([30.0, 40, 50, 60, 70]), {}
    for name in ("events", "fakes"):
        place = np.searchsorted(edges, table[name]["mass"], side="right") - 1
        bins[name] = np.where((place >= 0) & (place < 4), place, 4)
    weights = np.bincount(bins["fakes"], table["fakes"]["w"], 5)
    k = (weights / np.bincount(bins["events"], minlength=5))[bins["events"]]
    electron, muon = np.array([0.6, 0.7, 0.8]), np.array([0.9, 0.92, 0.95])
    one, two = (np.searchsorted([10, 20, 30, 60], table["events"][n], side="right") - 1
                for n in ("pt1", "pt2"))  # fmt: skip
    ratio = muon[one] * electron[two] / (electron[one] * muon[two])
    odds = events.labels.rho * ratio
    share = odds / (1 + odds) * (1 - k) + k
    assert share.sum() == pytest.approx(np.sum(table["events"]["f1"] == 13), abs=1e-6)
    assert np.allclose(np.sort(events.labels.share), np.sort(share), rtol=0, atol=1e-9)


def test_nuisances_both_ways(here):
    record = run()
    assert {"prior", "profiled"} == set(record["treatment"])
    assert any("lepton identification" in n["source"] for n in record["nuisances"])
    assert any("fakes" in n["source"] for n in record["nuisances"])
    none = run("--nuisances", "none")
    assert none["nuisances"] == []
    assert none["treatment"] is None


def test_the_result_is_the_same_wherever_it_is_drawn(here):
    one, two = run("--redraws", "300"), run("--redraws", "300", "--scheduler", "processes:2")
    assert one == two


@pytest.mark.parametrize("statistic", ["kernel", "scan", "energy", "network"])
def test_every_statistic(here, statistic):
    record = run("--statistic", statistic, "--redraws", "20")
    assert record["members"][0]["statistic"] == statistic
    assert record["t"] == record["members"][0]["t"]
    assert (record["network"] is not None) == (statistic == "network")


def test_a_monotone_variable_has_the_same_ranks(here):
    t = {}
    for column in ("mass", "mass ** 3"):
        write(here, learn={"variables": [{"column": column, "transform": "rank"}]})
        t[column] = run("--redraws", "20")["members"][0]["t"]
    assert t["mass"] == pytest.approx(t["mass ** 3"], rel=1e-9)


def test_the_window_of_a_scan_is_told_with_its_variables(here):
    """Ends of a transformed variable are those of the transform, and say so."""
    write(here, learn={"variables": [{"column": "mass", "transform": "log"}, {"column": "pt1"}]})
    found = invoke("learn", "test", "analysis.yml", "--statistic", "scan", "--redraws", "20",
                   "-o", "l.json", "--force")  # fmt: skip
    with open("l.json") as file:
        window = json.load(file)["members"][0]["found"]
    for number, ends in zip(window["variables"], window["window"], strict=True):
        name = ("log(mass)", "pt1")[number]
        assert f"{name} {ends[0]:.4g} to {ends[1]:.4g}" in found.err


def test_whole_numbers_with_their_resolution(here):
    write(here, learn={"variables": [{"column": "floor(mass)", "resolution": 1.0}]})
    found = run("--redraws", "50")["members"][1]["found"]
    ends = np.array(found["window"])
    assert np.allclose(ends % 1, 0.5)


def test_the_order_of_the_rows_changes_nothing(here):
    one = run()
    table = dict(np.load("events.npz"))
    order = np.random.default_rng(1).permutation(4000)
    np.savez("events.npz", **{name: values[order] for name, values in table.items()})
    two = run()
    for record in (one, two):
        record.pop("analysis")
    assert one == two


def test_equal_efficiencies_that_nobody_stated_are_said(here):
    def bare(analysis):
        del analysis["lepton_id"], analysis["tested"]["fakes"]

    write(here, bare)
    record = run()
    assert any("equal efficiency" in line for line in record["warnings"])
    assert record["labels"]["pi_min"] == pytest.approx(record["labels"]["pi_max"])


def test_the_report_has_its_chapter(here):
    run()
    assert invoke("report", "l.json", "-o", "page.html").code == 0
    page = (here / "page.html").read_text()
    assert "Learned asymmetry" in page
    assert "redrawing the labels" in page


def test_fakes_that_no_event_takes_are_said(here):
    """Fakes in a bin without events, and of negative weight."""

    def below(analysis):
        analysis["tested"]["fakes"]["weight"] = "w - 2 * w * (mass > 30) * (mass < 40)"

    write(here, below)
    table = dict(np.load("events.npz"))
    np.savez("events.npz", **{k: v[table["mass"] < 60] for k, v in table.items()})
    fakes = make_tables()["fakes"]
    mass, w = fakes["mass"], fakes["w"]
    warnings = "; ".join(run("--redraws", "20")["warnings"])
    assert f"{w[(mass > 30) & (mass < 40)].sum():.3g} fakes below 0 are expected" in warnings
    assert f"{w[(mass >= 60) & (mass < 70)].sum():.3g} of" in warnings
    assert "in bins of 'events.axes' without events" in warnings


def test_an_unknown_statistic_is_refused(here):
    config = read_analysis(here / "analysis.yml", needs_signal=False)
    with pytest.raises(InputError, match="statistic 'best' is unknown; expected default"):
        learn_test(config, statistic="best")


def test_the_estimator():
    rng = np.random.default_rng(1)
    x = rng.exponential(1 / 8, 3000)
    tested = rng.random(3000) < 0.5 + 0.25 * (np.abs(x - 0.2) < 0.03)
    test = ddphf.AsymmetryTest(redraws=199, seed=1).fit(x, tested)
    assert test.p_value_ == pytest.approx(1 / 200)
    f = test.log_ratio([0.2, 0.05])
    assert f[0] > f[1] + 0.3
    with pytest.raises(InputError, match="call fit first"):
        ddphf.AsymmetryTest().log_ratio([1.0])
    with pytest.raises(InputError, match="do not fit"):
        ddphf.AsymmetryTest().fit(x, tested[:5])
    with pytest.raises(InputError, match="statistic 'x' is unknown"):
        ddphf.AsymmetryTest("x").fit(x, tested)
