"""Leptons and maps that do not fit each other, and errors at the leptons through a whole build."""

import json

import correctionlib
import numpy as np
import pytest
from conftest import invoke
from test_lepton_id_build import EVENT_ANALYSIS, make_tables, write_event_analysis

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import InputError
from ddphf.inputs.map_files import read_map
from ddphf.symmetry.efficiency import LeptonColumns
from ddphf.symmetry.load import load_pair


def eta_tables(low=-2.4):
    tables = make_tables()
    rng = np.random.default_rng(5)
    for columns in tables.values():
        for name in ("eta1", "eta2"):
            columns[name] = rng.uniform(low, 2.4, len(columns["f1"]))
    return tables


def eta_analysis(folder, table, outside=None, low=-2.4, **options):
    """Maps of both flavours from one table in eta, or from one correction."""
    file = "eta.json" if "correction" in options else "eta.csv"

    def change(analysis):
        for number, lepton in enumerate(analysis["events"]["leptons"], 1):
            lepton["eta"] = f"eta{number}"
        for name in ("electron", "muon"):
            analysis["lepton_id"]["maps"][name] = {
                "file": file, "kind": "efficiency", **options,
            }  # fmt: skip
        if outside:
            analysis["lepton_id"]["outside"] = outside

    (folder / file).write_text(table)
    write_event_analysis(folder, change, eta_tables(low))
    return invoke("build", "analysis.yml", "-o", "pair.json", "--force")


ABSOLUTE = "eta_low,eta_high,value,stat\n0,0.9,.9,.01\n0.9,2.4,.8,.01\n"


@pytest.mark.parametrize("outside", [None, "nearest", "exclude"])
def test_an_axis_of_absolute_eta_under_another_name(folder, outside):
    """The outermost bin would give a wrong ratio; the remedy names the axis of the file."""
    outcome = eta_analysis(folder, ABSOLUTE, outside)
    remedy = (
        "the axis 'eta' of map 'electron' runs from 0 to 2.4, but 50% of the leptons have eta < 0; "
        "if it is the absolute eta, say 'axes: {eta: abseta}'"
    )
    assert remedy in outcome.err
    assert outcome.code == (0 if outside == "exclude" else 3)
    assert "outside: nearest" not in outcome.err
    remedied = eta_analysis(folder, ABSOLUTE, outside, axes={"eta": "abseta"})
    assert remedied.code == 0
    assert "eta" not in remedied.err
    forward = eta_analysis(folder, ABSOLUTE, outside, low=0.0)  # a detector on one side
    assert (forward.code, "abseta" in forward.err) == (0, False)


def test_a_refusal_names_the_axis_that_leptons_leave(folder):
    outcome = eta_analysis(folder, "eta_low,eta_high,value\n-1.5,1.5,.9\n")
    assert outcome.code == 3
    assert "; eta of 'electron' beyond -1.5 to 1.5; eta of 'muon'" in outcome.err


GAPS = (
    "eta_low,eta_high,value,stat\n"
    "-2.4,-1.6,.9,.01\n-1.6,-1.4,1,1\n-1.4,1.4,.9,.01\n1.4,2.4,.9,.012\n"
)


def test_a_placeholder_is_named_and_can_be_excluded(folder):
    outcome = eta_analysis(folder, GAPS)
    assert (
        "eta.csv: electron bin 1 (eta -1.6 to -1.4): value 1, relative error 1, wh" in outcome.err
    )
    assert "Say 'exclude_bins: [1]' for the map and 'outside: exclude'" in outcome.err
    without = eta_analysis(folder, GAPS, exclude_bins=[1])
    assert without.code == 3
    assert "set 'outside: exclude' to drop them from both samples" in without.err
    remedied = eta_analysis(folder, GAPS, "exclude", exclude_bins=[1])
    assert remedied.code == 0
    assert "placeholder" not in remedied.err
    sidecar = json.loads((folder / "pair.metadata.json").read_text())
    left = sidecar["lepton_id"]["outside"]["events_excluded"]["both/observed"]
    tables = eta_tables()["events"]
    inside = np.ones(len(tables["f1"]), dtype=bool)
    for name in ("eta1", "eta2"):
        inside &= ~((tables[name] >= -1.6) & (tables[name] < -1.4))
    assert left == np.count_nonzero(~inside)
    assert np.all(relative_errors(folder) < 0.05)


def relative_errors(folder):
    lepton_id = load_pair(read_analysis(folder / "analysis.yml")).lepton_id
    w = np.concatenate([lepton_id.tested, lepton_id.partner])
    return np.sqrt(np.diag(w @ lepton_id.covariance.matrix @ w.T))


def test_placeholders_where_no_lepton_lies_are_not_said(folder):
    table = GAPS.replace("1.4,2.4,.9,.012", "1.4,2.4,.9,.012\n2.4,3,1,1")
    outcome = eta_analysis(folder, table.replace("-1.6,-1.4,1,1", "-1.6,-1.4,.9,.02"))
    assert "placeholder" not in outcome.err


@pytest.mark.parametrize(
    ("row", "said"),
    [("1,1", True), (".9,.5", True), (".9,.12", True), (".9,.05", False), (".8,.08", False)],
)
def test_what_counts_as_a_placeholder(folder, row, said):
    outcome = eta_analysis(folder, GAPS.replace("-1.6,-1.4,1,1", f"-1.6,-1.4,{row}"))
    assert ("placeholder" in outcome.err) == said


def formula_map(shift):
    """An efficiency and a source that are formulas of pT in two bins of eta, moved by ``shift``."""

    def node(texts):
        return {
            "nodetype": "binning", "input": "eta", "edges": [-2.4, 0.3, 2.4], "flow": "error",
            "content": [
                {"nodetype": "formula", "expression": t, "parser": "TFormula", "variables": ["pt"]}
                for t in texts
            ],
        }  # fmt: skip

    tag = ["0.0004*(x-25)", "0.006"]
    value = [f"0.7+0.003*x+{shift}*{tag[0]}", f"0.95-0.004*x+{shift}*{tag[1]}"]
    data = {
        "nodetype": "category", "input": "kind",
        "content": [{"key": "sf", "value": node(value)}, {"key": "tag", "value": node(tag)}],
    }  # fmt: skip
    inputs = [("kind", "string"), ("eta", "real"), ("pt", "real")]
    return json.dumps(
        {
            "schema_version": 2,
            "corrections": [
                {
                    "name": "id", "version": 1, "output": {"name": "w", "type": "real"},
                    "inputs": [{"name": n, "type": t} for n, t in inputs], "data": data,
                }
            ],
        }
    )  # fmt: skip


def test_a_source_of_a_formula_moves_the_yields_as_its_map_does(folder):
    """W C W^T against the yields of the tested channel with a map moved by a small part of it."""
    table = "eta_low,eta_high,value\n-2.4,2.4,.8\n"
    reading = {
        "file": "muon.json", "kind": "efficiency", "correction": "id", "value": {"kind": "sf"},
        "sources": {"tag": {"kind": "tag"}},
    }  # fmt: skip

    def ratios(shift):
        def change(analysis):
            for number, lepton in enumerate(analysis["events"]["leptons"], 1):
                lepton["eta"] = f"eta{number}"
            analysis["lepton_id"]["maps"]["electron"] = {"file": "eta.csv", "kind": "efficiency"}
            analysis["lepton_id"]["maps"]["muon"] = reading
            del analysis["tested"]["fakes"]

        (folder / "eta.csv").write_text(table)
        (folder / "muon.json").write_text(formula_map(shift))
        write_event_analysis(folder, change, eta_tables())
        return load_pair(read_analysis(folder / "analysis.yml"))

    pair = ratios(0.0)
    covariance = pair.lepton_id.covariance.matrix
    assert covariance.shape == (1 + 2 + 2, 1 + 2 + 2)
    w = pair.lepton_id.tested - pair.lepton_id.partner  # of the ratio
    step = 1e-5
    moved = (ratios(step).efficiency_ratio.flat - ratios(-step).efficiency_ratio.flat) / (2 * step)
    expected = moved / pair.efficiency_ratio.flat
    # An event's p moves with the map as well as r, so the average is of another weight: 2 %.
    assert w @ covariance @ w.T == pytest.approx(np.outer(expected, expected), rel=0.05)
    assert np.max(np.abs(expected)) > 1e-4


def test_the_leptons_of_an_analysis_name_further_axes(folder):
    tables = make_tables()
    for columns in tables.values():
        columns["mu1"], columns["mu2"] = (columns["mass"] - 25) / 50, columns["f1"] * 0.02
    text = "pileup_low,pileup_high,value\n0,.5,.8\n.5,1,.9\n"
    (folder / "pileup.csv").write_text(text)

    def change(analysis):
        for number, lepton in enumerate(analysis["events"]["leptons"], 1):
            lepton["variables"] = {"pileup": f"mu{number}"}
        for name in ("electron", "muon"):
            item = {"file": "pileup.csv", "kind": "efficiency"}
            analysis["lepton_id"]["maps"][name] = item

    write_event_analysis(folder, change, tables)
    assert load_pair(read_analysis(folder / "analysis.yml")).lepton_id.tested.shape[1] == 4
    lepton = LeptonColumns(11, "pt1", variables={"pileup": "mu1"})
    assert list(lepton.variables) == ["pileup"]
    assert "variables" not in EVENT_ANALYSIS["events"]["leptons"][0]
    with pytest.raises(InputError, match=r"axis 'pileup', expected some of pt, eta, .*'variables'"):
        read_map("pileup.csv", name="m", kind="efficiency", folder=folder)


@pytest.mark.parametrize("flows", [("clamp", "clamp"), ("clamp", 0.5), ("wrap", "clamp")])
def test_the_ratio_of_ragged_bins_is_that_of_the_values_of_correctionlib(folder, flows):
    """Bins of pT that differ under each bin of eta, and end where most leptons do not."""

    def under(edges, content, flow):
        return {
            "nodetype": "binning", "input": "pt", "edges": edges, "content": content, "flow": flow,
        }  # fmt: skip

    data = {
        "nodetype": "binning", "input": "eta", "edges": [-2.4, 0.0, 2.4], "flow": "error",
        "content": [
            under([15.0, 25.0, 35.0], [0.6, 0.8], flows[0]),
            under([20.0, 40.0, 45.0], [0.7, 0.95], flows[1]),
        ],
    }  # fmt: skip
    text = json.dumps(
        {
            "schema_version": 2,
            "corrections": [
                {
                    "name": "id", "version": 1, "output": {"name": "w", "type": "real"},
                    "inputs": [{"name": n, "type": "real"} for n in ("eta", "pt")], "data": data,
                }
            ],
        }
    )  # fmt: skip
    (folder / "muon.json").write_text(text)
    (folder / "eta.csv").write_text("eta_low,eta_high,value\n-2.4,1,.8\n1,2.4,.9\n")
    tables = eta_tables()

    def change(analysis):
        for number, lepton in enumerate(analysis["events"]["leptons"], 1):
            lepton["eta"] = f"eta{number}"
        analysis["lepton_id"]["maps"]["electron"] = {"file": "eta.csv", "kind": "efficiency"}
        analysis["lepton_id"]["maps"]["muon"] = {
            "file": "muon.json", "kind": "efficiency", "correction": "id",
        }  # fmt: skip
        del analysis["tested"]["fakes"]

    write_event_analysis(folder, change, tables)
    ratio = load_pair(read_analysis(folder / "analysis.yml")).efficiency_ratio.flat
    events, evaluator = tables["events"], correctionlib.CorrectionSet.from_string(text)["id"]
    muon = [evaluator.evaluate(events[f"eta{n}"], events[f"pt{n}"]) for n in (1, 2)]
    electron = [np.where(events[f"eta{n}"] < 1, 0.8, 0.9) for n in (1, 2)]
    tested, partner = muon[0] * electron[1], electron[0] * muon[1]
    p = tested / (tested + partner)
    place = np.floor((events["mass"] - 30) / 10)
    expected = [p[place == i].sum() / (1 - p[place == i]).sum() for i in range(4)]
    assert ratio == pytest.approx(expected, rel=1e-12)


def one_correction(node):
    return json.dumps(
        {
            "schema_version": 2,
            "corrections": [
                {
                    "name": "id", "version": 1, "output": {"name": "w", "type": "real"},
                    "inputs": [{"name": "eta", "type": "real"}], "data": node,
                }
            ],
        }
    )  # fmt: skip


def folded(flow):
    return {
        "nodetype": "binning", "input": "eta", "edges": [0.0, 1.2, 2.4], "content": [0.9, 0.8],
        "flow": flow,
    }  # fmt: skip


def test_a_correction_that_takes_the_absolute_eta_itself(folder):
    rule = {
        "nodetype": "formula", "expression": "abs(x)", "parser": "TFormula", "variables": ["eta"],
    }  # fmt: skip
    node = {"nodetype": "transform", "input": "eta", "rule": rule, "content": folded("error")}
    outcome = eta_analysis(folder, one_correction(node), "nearest", correction="id")
    assert (outcome.code, "absolute eta" in outcome.err) == (0, False)


def test_a_clamp_is_evaluated_and_said(folder):
    """It is what the file says; leptons at eta < 0 take the first bin, as correctionlib does."""
    outcome = eta_analysis(folder, one_correction(folded("clamp")), correction="id")
    assert outcome.code == 0
    assert "if it is the absolute eta, say 'axes: {eta: abseta}'" in outcome.err


def test_an_axis_of_another_unit(folder):
    table = "eta_low,eta_high,value\n20000,50000,.9\n50000,90000,.8\n"
    for outside in (None, "nearest"):
        outcome = eta_analysis(folder, table, outside)
        assert outcome.code == 3
        assert (
            "runs from 20000 to 90000, but 100% of the leptons lie beyond, from -2.3" in outcome.err
        )
