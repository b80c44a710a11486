"""Maps as collaborations publish them, each kind made small; values against correctionlib."""

import gzip
import json

import correctionlib
import numpy as np
import pytest

from ddphf.exceptions import InputError
from ddphf.inputs.map_files import read_map

PT, ETA = np.array([12.0, 25.0, 47.0, 150.0, 900.0]), np.array([-2.2, -1.5, 0.4, 1.5, 2.3])


def variables(**types):
    return [{"name": name, "type": kind} for name, kind in types.items()]


def category(name, default=None, /, **entries):
    return keyed(name, entries, default)


def keyed(name, entries, default=None):
    items = [{"key": key, "value": value} for key, value in entries.items()]
    return {"nodetype": "category", "input": name, "content": items, "default": default}


def grid(content, flow="error", **edges):
    return {
        "nodetype": "multibinning", "inputs": list(edges), "edges": list(edges.values()),
        "content": content, "flow": flow,
    }  # fmt: skip


def binned(name, edges, content, flow="error"):
    return {
        "nodetype": "binning", "input": name, "edges": edges, "content": content, "flow": flow,
    }  # fmt: skip


def formula(text, *names):
    return {
        "nodetype": "formula", "expression": text, "parser": "TFormula", "variables": list(names),
    }  # fmt: skip


def write(folder, inputs, data, file="sf.json", **more):
    """Write a correction; return correctionlib's own."""
    one = {
        "name": "SF", "version": 1, "inputs": inputs, "data": data,
        "output": {"name": "weight", "type": "real"}, **more,
    }  # fmt: skip
    text = json.dumps({"schema_version": 2, "corrections": [one]})
    (folder / file).write_bytes(gzip.compress(text.encode()) if file[-1] == "z" else text.encode())
    return correctionlib.CorrectionSet.from_string(text)["SF"]


def read(folder, file="sf.json", **options):
    return read_map(file, name="m", kind="scale_factor", folder=folder, correction="SF", **options)


def test_muons_with_stat_syst_and_both(tmp_path):
    """Sizes under the keys stat and syst, varied values under systup: each read as what it is."""
    numbers = {"nominal": 0.98, "stat": 0.002, "syst": 0.004, "systup": 0.9845, "systdown": 0.9755}
    cell = category("scale_factors", **numbers)
    data = binned("abseta", [0.0, 1.2, 2.4], [binned("pt", [10.0, 40.0, "inf"], [cell, cell])] * 2)
    write(tmp_path, variables(abseta="real", pt="real", scale_factors="string"), data)
    keys = {"value": {"scale_factors": "nominal"}, "statistical": {"scale_factors": "stat"}}
    m = read(tmp_path, **keys, sources={"syst": {"scale_factors": "syst"}})
    assert (m.statistical[0], m.sources["syst"][0]) == (0.002, 0.004)
    assert m.locate(pt=PT, eta=ETA).tolist() == [2, 2, 1, 3, 3]
    varied = read(
        tmp_path, value=keys["value"], sources={"all": {"scale_factors": "systup"}}, varied=True
    )
    assert varied.sources["all"] == pytest.approx([0.0045] * 4)
    with pytest.raises(
        InputError, match=r"'all' is 100% to 100% of the value in every bin.*varied"
    ):
        read(tmp_path, value=keys["value"], sources={"all": {"scale_factors": "systup"}})
    with pytest.raises(InputError, match=r"'syst' is .* in every bin.*turn 'varied' round"):
        read(tmp_path, value=keys["value"], sources={"syst": keys["statistical"]}, varied=True)


ELECTRONS = variables(year="string", ValType="string", WorkingPoint="string", eta="real", pt="real")


def test_electrons_by_supercluster_eta_to_infinity(tmp_path):
    cells = grid([0.97, 1.01, 0.99, 1.0], eta=["-inf", 0.0, "inf"], pt=[10.0, 40.0, "inf"])
    up = grid([0.98, 1.02, 1.02, 1.01], eta=["-inf", 0.0, "inf"], pt=[10.0, 40.0, "inf"])
    points = category("WorkingPoint", Tight=cells)
    data = category(
        "year", **{"2018": category("ValType", sf=points, sfup=category("WorkingPoint", Tight=up))}
    )
    evaluator = write(tmp_path, ELECTRONS, data, "sf.json.gz")
    m = read(
        tmp_path, "sf.json.gz", inputs={"year": "2018", "WorkingPoint": "Tight"},
        value={"ValType": "sf"}, sources={"total": {"ValType": "sfup"}}, varied=True,
    )  # fmt: skip
    expected = evaluator.evaluate("2018", "sf", "Tight", ETA, PT)
    assert m.values[m.locate(pt=PT, eta=ETA)].tolist() == expected.tolist()
    assert m.sources["total"] == pytest.approx([0.01, 0.01, 0.03, 0.01])


def test_electrons_in_phi_and_working_points_with_other_bins(tmp_path):
    """One working point in phi and signed eta, another in absolute eta under the same name."""
    phi = grid(list(np.linspace(0.9, 1, 8)), eta=[-2.5, 0.0, 2.5], pt=[10.0, 100.0, "inf"],
               phi=[-3.2, -1.0, 3.2])  # fmt: skip
    low = grid([0.9, 0.95], eta=[0.0, 1.5, 2.5], pt=[10.0, 20.0])
    data = category("WorkingPoint", Reco=phi, RecoBelow20=low)
    inputs = variables(WorkingPoint="string", eta="real", pt="real", phi="real")
    evaluator = write(tmp_path, inputs, data)
    m = read(tmp_path, inputs={"WorkingPoint": "Reco"})
    angle = np.array([-2.0, -1.0, 0.0, 3.0, -3.0])
    seen = m.look_up({"pt": PT, "eta": ETA, "phi": angle})
    # The evaluator's own reader of JSON rounds the last digit otherwise.
    assert seen.values == pytest.approx(evaluator.evaluate("Reco", ETA, PT, angle), rel=1e-15)
    folded = read(tmp_path, inputs={"WorkingPoint": "RecoBelow20"}, axes={"eta": "abseta"})
    assert folded.axes == ("abseta", "pt")  # phi plays no part here, so no lepton need tell it
    assert folded.locate(pt=PT, eta=ETA).tolist() == [1, -1, -1, -1, -1]


def tau_correction(folder):
    """Numbers by decay mode for true taus, by eta for electrons and muons, formulas in pT."""
    syst = {"nom": "0.95+0.0002*x", "up": "0.98+0.0002*x", "down": "0.92+0.0002*x"}
    by_pt = {key: formula(text, "pt") for key, text in syst.items()}
    by_mode = {
        key: keyed("dm", {0: 0.94 + s, 1: 0.95 + s, 10: 0.93 + 2 * s})
        for key, s in (("nom", 0.0), ("up", 0.02), ("down", -0.02))
    }
    by_eta = {
        key: binned("eta", [0.0, 1.5, 2.3], [1.1 + s, 1.3 + s], 1.0)
        for key, s in (("nom", 0.0), ("up", 0.1), ("down", -0.1))
    }
    flags = category("flag", pt=category("syst", **by_pt), dm=category("syst", **by_mode))
    data = keyed("genmatch", {1: category("syst", **by_eta), 5: flags}, 1.0)
    inputs = variables(
        pt="real", eta="real", dm="int", genmatch="int", syst="string", flag="string"
    )
    return write(folder, inputs, data)


def test_taus_by_decay_mode(tmp_path):
    evaluator = tau_correction(tmp_path)
    m = read(
        tmp_path, inputs={"genmatch": 5, "flag": "dm"}, value={"syst": "nom"},
        sources={"id": {"syst": "up"}}, varied=True, variables=["dm"],
    )  # fmt: skip
    assert (m.axes, m.n_bins) == (("dm",), 3)
    mode = np.array([0.0, 1.0, 10.0, 11.0, 0.5])
    assert m.locate(dm=mode).tolist() == [0, 1, 2, -1, -1]
    expected = [evaluator.evaluate(30.0, 0.1, d, 5, "nom", "dm") for d in (0, 1, 10)]
    assert m.values.tolist() == expected
    assert m.sources["id"] == pytest.approx([0.02, 0.02, 0.04])


def test_taus_by_a_formula_of_pt(tmp_path):
    evaluator = tau_correction(tmp_path)
    m = read(
        tmp_path, inputs={"genmatch": 5, "flag": "pt"}, value={"syst": "nom"},
        sources={"id": {"syst": "down"}}, varied=True,
    )  # fmt: skip
    seen = m.look_up({"pt": PT, "eta": ETA})
    nominal = np.array([evaluator.evaluate(x, 0.0, 0, 5, "nom", "pt") for x in PT])
    down = np.array([evaluator.evaluate(x, 0.0, 0, 5, "down", "pt") for x in PT])
    assert seen.values.tolist() == nominal.tolist()
    assert seen.columns[:, 1].tolist() == [2] * 5  # all of them move down
    assert seen.weights[:, 1] == pytest.approx(1 - down / nominal, rel=1e-12)


def test_taus_of_every_true_kind_at_once(tmp_path):
    """The true kind differs from lepton to lepton; kinds without an entry have the default 1."""
    evaluator = tau_correction(tmp_path)
    m = read(
        tmp_path, inputs={"flag": "dm"}, value={"syst": "nom"}, variables=["dm", "genmatch"],
        axes={"eta": "abseta"},
    )  # fmt: skip
    kind, mode = np.array([5.0, 1, 1, 6, 0]), np.array([1.0, 0, 0, 2, 2])
    eta = np.array([0.3, -0.3, 2.5, 0.3, 0.3])
    seen = m.look_up({"pt": PT, "eta": eta, "dm": mode, "genmatch": kind})
    expected = [
        evaluator.evaluate(*map(float, (x, abs(e))), int(d), int(k), "nom", "dm")
        for x, e, d, k in zip(PT, eta, mode, kind, strict=True)
    ]
    assert seen.values.tolist() == expected == [0.95, 1.1, 1.0, 1.0, 1.0]
    assert "none of 1, 5" in m.labels[m.locate(pt=PT, eta=eta, dm=mode, genmatch=kind)[4]]


def test_the_flow_of_one_lepton_is_a_formula(tmp_path):
    """High pT extrapolated: the last bin ends where a straight line begins."""
    data = binned("pt", [10.0, 50.0, 200.0], [0.97, 0.98], formula("0.98-0.0001*(x-200)", "pt"))
    evaluator = write(tmp_path, variables(pt="real"), data)
    m = read(tmp_path)
    assert m.look_up({"pt": PT}).values.tolist() == evaluator.evaluate(PT).tolist()
    assert m.labels[2] == "m bin 2 (outside pt 10 to 200)"


def test_the_same_input_binned_twice(tmp_path):
    """A coarse binning of pT around fine ones: the labels say the bin that is left."""
    fine = [binned("pt", [10.0, 15.0, 30.0], [0.9, 0.91]), binned("pt", [20.0, 60.0, 80.0], [1, 2])]
    evaluator = write(tmp_path, variables(pt="real"), binned("pt", [10.0, 20.0, 70.0], fine))
    m = read(tmp_path)
    pt = np.array([12.0, 15.0, 19.0, 20.0, 65.0])
    assert m.values[m.locate(pt=pt)].tolist() == evaluator.evaluate(pt).tolist()
    assert m.labels[1] == "m bin 1 (pt 15 to 20)"
    assert m.labels[3] == "m bin 3 (pt 60 to 70)"


def test_a_charge_with_signs_of_any_size(tmp_path):
    data = keyed("q", {1: 0.9, -1: 0.8})
    write(tmp_path, variables(q="int"), data)
    m = read(tmp_path)
    assert m.axes == ("charge",)
    assert m.locate(charge=np.array([1.0, -1.0, 0.0, 2.0])).tolist() == [0, 1, -1, -1]


def test_a_lepton_without_a_number_is_outside_even_where_bins_clamp(tmp_path):
    """correctionlib would put it into the last bin."""
    write(tmp_path, variables(pt="real"), binned("pt", [10.0, 50.0], [0.9], "clamp"))
    assert read(tmp_path).locate(pt=np.array([np.nan, 5.0])).tolist() == [-1, 0]


def test_a_year_that_is_a_number(tmp_path):
    write(tmp_path, variables(year="int", pt="real"), keyed("year", {2017: 0.9, 2018: 0.8}))
    assert read(tmp_path, inputs={"year": 2018}).values.tolist() == [0.8]
    with pytest.raises(InputError, match="'year' is a whole number, got '2018'"):
        read(tmp_path, inputs={"year": "2018"})


def test_a_continuous_input_that_the_analysis_fixes(tmp_path):
    """Pile-up as an input: one number for all leptons, its other bins are no calibration bins."""
    data = grid([0.9, 0.8, 0.7, 0.6], npv=[0.0, 30.0, 80.0], pt=[10.0, 40.0, "inf"])
    evaluator = write(tmp_path, variables(npv="real", pt="real"), data)
    m = read(tmp_path, inputs={"npv": 35})
    assert m.n_bins == 2
    expected = [evaluator.evaluate(35.0, x) for x in PT]
    assert m.values[m.locate(pt=PT)].tolist() == expected
    with pytest.raises(InputError, match="npv: 90 in 'inputs' lies outside the bins of the file"):
        read(tmp_path, inputs={"npv": 90})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 1, "corrections": []}', "no correction 'SF'; the file has: none"),
        ('{"corrections": [{"name": "SF"}]}', "breaks the correctionlib schema"),
        ("[]", "cannot be read as correctionlib JSON"),
        ('{"corrections": 3}', "cannot be read as correctionlib JSON"),
    ],
)
def test_files_that_are_no_corrections(tmp_path, content, message):
    (tmp_path / "sf.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def nested(depth):
    """A correction of bins in bins."""
    bin_ = '{"nodetype": "binning", "input": "pt", "edges": [0, 9], "flow": "clamp", "content": ['
    one = '{"name": "SF", "version": 1, "inputs": [{"name": "pt", "type": "real"}], "output": '
    data = bin_ * depth + "0.9" + "]}" * depth
    return (
        '{"schema_version": 2, "corrections": ['
        + one
        + ('{"name": "w", "type": "real"}, "data": ' + data + "}]}")
    )


@pytest.mark.parametrize("depth", [300, 9000])
def test_bins_in_bins_without_end(tmp_path, depth):
    (tmp_path / "sf.json").write_text(nested(depth))
    with pytest.raises(InputError, match=r"sf\.json: nested too deeply, \d+ levels"):
        read(tmp_path)
    (tmp_path / "sf.json").write_text(nested(100))
    assert read(tmp_path).values.tolist() == [0.9]


def test_damaged_archives_and_formulas_that_are_not_there(tmp_path):
    write(tmp_path, variables(pt="real"), 0.9, "sf.json.gz")
    raw = (tmp_path / "sf.json.gz").read_bytes()
    for damaged in (raw[:12] + b"\xff\xff\xff" + raw[15:], raw[:-6], raw[:5]):
        (tmp_path / "sf.json.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as correctionlib JSON"):
            read(tmp_path, "sf.json.gz")
    text = nested(0).replace('"data": 0.9', '"data": {"nodetype": "formularef", "index": 3, '
                             '"parameters": []}')  # fmt: skip
    (tmp_path / "sf.json").write_text(text)
    with pytest.raises(InputError, match="breaks the correctionlib schema"):
        read(tmp_path)


def test_a_spreadsheet_with_commas_for_points(tmp_path):
    (tmp_path / "m.csv").write_text("pt_low;pt_high;value\n10;20;0,95\n")
    with pytest.raises(InputError, match="column 'value': got '0,95', expected a number"):
        read_map("m.csv", name="m", kind="scale_factor", folder=tmp_path)


def test_a_table_with_blanks_and_capitals(tmp_path):
    (tmp_path / "m.csv").write_text(
        "\ufeffPT_low , PT_high , probe_absEta_low, probe_absEta_high, Value, Stat\n"
        " 10, 20, 0, 2.4, 0.9, 0.01\n\n 20, Infinity, 0, 2.4, 0.8, 0.02\n"
    )
    with pytest.raises(InputError, match=r"no column 'value'.*{value: Value}"):
        read_map("m.csv", name="m", kind="scale_factor", folder=tmp_path)
    m = read_map(
        "m.csv", name="m", kind="scale_factor", folder=tmp_path, columns={"value": "Value"}
    )
    assert m.axes == ("pt", "abseta")
    assert m.locate(pt=PT, eta=ETA).tolist() == [0, 1, 1, 1, 1]
