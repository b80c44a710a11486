"""A test of a frozen window on events: none of them may have chosen it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import invoke
from test_lepton_id_build import make_tables, write_event_analysis

from ddphf.files import read_json


def number(table, first):
    table["run"] = np.full(len(table["f1"]), 7)
    table["event"] = np.arange(first, first + len(table["f1"]))


def run(line):
    done = invoke(*line.split())
    assert done.code == 0, done.err
    return done


@pytest.fixture
def frozen(folder):
    """A window of 4 000 events that are numbered from 0."""
    tables = make_tables()
    for table in tables.values():
        number(table, 0)

    def change(analysis):
        analysis["events"]["identifier"] = ["run", "event"]

    write_event_analysis(folder, change, tables)
    run("search pair analysis.yml --precision .3 -o s.json")
    run("search freeze s.json -o hypothesis.yml")
    return tables


def write_new(tables, first, **events):
    """Other events of the same kind, numbered from ``first``."""
    rng = np.random.default_rng(99)
    rows = rng.integers(0, 4000, 3000)
    new = {name: values[rows] for name, values in tables["events"].items()}
    number(new, first)
    np.savez("new.npz", **new)
    text = yaml.safe_load(Path("analysis.yml").read_text())
    text["events"].update({"file": "new.npz", **events})
    del text["tested"]["signal"]
    Path("new.yml").write_text(yaml.safe_dump(text))


@pytest.mark.compiles
def test_lepton_id_and_fakes_are_profiled(frozen):
    record = read_json("s.json")
    names = [entry["name"] for entry in record["nuisances"]]
    assert "fakes_norm" in names
    assert names[-1] == "fakes_stat_SR_mue"
    assert any(name.startswith("lepid_id_eig") for name in names)
    run("build hypothesis.yml -o w.json")
    run("fit w.json -o fit.json")
    z = read_json("fit.json")["discovery"]["z0"]
    # The template is flat, the statistic goes as the root of the events, which vary by 2.
    assert z == pytest.approx(record["best"][0]["local"]["z"], abs=0.3)


def test_events_that_chose_the_window_are_found_in_new_tables(frozen):
    write_new(frozen, 10_000)
    run("search test hypothesis.yml new.yml -o t.json")
    write_new(frozen, 3_990)  # ten of them again
    done = invoke("search", "test", "hypothesis.yml", "new.yml")
    assert done.code == 3
    assert "10 of 3000 events (run, event) are among those on which" in done.message


def test_the_same_table_is_refused_unless_its_selection_differs(frozen):
    write_new(frozen, 10_000)
    text = yaml.safe_load(Path("new.yml").read_text())
    text["events"]["file"] = "events.npz"
    del text["events"]["identifier"]
    text["events"]["axes"][0]["edges"] = {"bins": 4, "low": 30, "high": 70}
    text["events"]["select"] = "event < 2000"
    Path("new.yml").write_text(yaml.safe_dump(text))
    done = invoke("search", "test", "hypothesis.yml", "new.yml", "-o", "t.json")
    assert done.code == 0, done.err
    assert "a table of events is one of those on which the window was chosen" in done.err


def test_tables_that_are_gone_are_said(frozen):
    write_new(frozen, 10_000)
    Path("events.npz").rename("elsewhere.npz")
    done = run("search test hypothesis.yml new.yml -o t.json")
    assert "events are not compared with those that chose the window" in done.err


def test_weights_have_no_exact_null(frozen):
    write_new(frozen, 10_000, weight="1.0", axes=[
        {"column": "mass", "edges": {"bins": 200, "low": 30, "high": 70}}
    ])  # fmt: skip
    text = yaml.safe_load(Path("new.yml").read_text())
    del text["tested"]["fakes"]
    Path("new.yml").write_text(yaml.safe_dump(text))
    done = invoke("search", "pair", "new.yml", "--precision", ".3", "-o", "n.json")
    assert (done.code, "sums of weights" in done.message) == (3, True), done.err
    done = invoke("search", "pair", "new.yml", "--null", "gaussian", "--precision", ".3")
    assert done.code == 0, done.err


def test_standard_input_is_read_once(frozen):
    write_new(frozen, 10_000)
    text = Path("new.yml").read_text()
    done = invoke("search", "test", "hypothesis.yml", "-", "-o", "t.json", stdin=text)
    assert done.code == 0, done.err
    assert read_json("t.json")["analysis"] == {"digest": None, "file": None}
