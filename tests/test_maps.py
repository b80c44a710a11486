"""Maps of every format, their bins and covariances; the real CMS maps where they lie at hand."""

import gzip
import json

import numpy as np
import pytest
from correctionlib import schemav2
from others_data import OTHERS, needs

from ddphf.exceptions import InputError, ModelError
from ddphf.inputs.covariance import axis_correlation, make_covariance, read_matrix
from ddphf.inputs.map_files import read_map
from ddphf.inputs.maps import make_map, map_covariance
from ddphf.workspace.eigen import decompose

CMS, BELLE = OTHERS / "cms_lepton_sf_2018UL", OTHERS / "belle2_sysvar_cov"
SOURCES = ("AltSig", "massBin", "massRange", "tagIso")

needs_cms = needs("cms_lepton_sf_2018UL")

CSV = """# electrons
pt_low,pt_high,abseta_low,abseta_high,value,statistical,tag,background
10,20,0,1.5,0.60,0.006,0.003,0.006
20,50,0,1.5,0.80,0.004,0.004,0.002
10,50,1.5,2.5,0.70,0.007,-0.007,0.000
"""

YAML = """
axes: {pt: [10, 20, .inf], charge: [-2, 0, 2]}
values: [[0.6, 0.61], [0.8, 0.82]]
statistical: [0.01, 0.01, 0.02, 0.02]
sources: {tag: [0.001, 0.001, 0.002, 0.002]}
"""


@pytest.fixture
def csv_map(tmp_path):
    (tmp_path / "map.csv").write_text(CSV)
    return read_map(
        "map.csv", name="electron", kind="efficiency", folder=tmp_path,
        columns={"sources": ["tag", "background"]},
    )  # fmt: skip


def correction(content, edges=((10.0, 20.0, "inf"), (0.0, 1.5, 2.5)), flow="error"):
    data = {
        "nodetype": "multibinning",
        "inputs": ["pt", "eta"],
        "edges": [list(e) for e in edges],
        "content": content,
        "flow": flow,
    }
    variables = [
        {"name": n, "type": t} for n, t in (("pt", "real"), ("eta", "real"), ("kind", "string"))
    ]
    made = {
        "name": "id", "version": 1, "inputs": variables,
        "output": {"name": "eff", "type": "real"}, "data": data,
    }  # fmt: skip
    schemav2.Correction.model_validate(made)
    return {"schema_version": 2, "corrections": [made]}


def cell(value):
    pairs = (("value", value), ("up", value + 0.01), ("stat", 0.02))
    items = [{"key": key, "value": number} for key, number in pairs]
    return {"nodetype": "category", "input": "kind", "content": items}


def test_csv_bins_need_no_grid(csv_map):
    assert csv_map.axes == ("pt", "abseta")
    pt, eta = np.array([15.0, 20.0, 15.0, 45.0, 60.0, 9.0]), np.array([-1, 1.4, -2, 2.4, 0, 0.0])
    assert csv_map.locate(pt=pt, eta=eta).tolist() == [0, 1, 2, 2, -1, -1]
    assert csv_map.locate(pt=pt, eta=eta, nearest=True).tolist() == [0, 1, 2, 2, 1, 0]
    assert csv_map.locate(pt=np.array([np.nan]), eta=np.array([0.0])).tolist() == [-1]


def test_covariance_by_sources_is_relative(csv_map):
    value = csv_map.values
    expected = np.diag((csv_map.statistical / value) ** 2)
    for shift in csv_map.sources.values():
        expected = expected + np.outer(shift / value, shift / value)
    assert map_covariance(csv_map).matrix == pytest.approx(expected, rel=1e-14)
    one = map_covariance(csv_map, exclude=["tag"]).matrix
    assert one[0, 2] == 0  # the background source has no error there


def test_covariance_by_rho_takes_the_sources_in_quadrature(csv_map):
    value = csv_map.values
    sigma = np.sqrt(csv_map.sources["tag"] ** 2 + csv_map.sources["background"] ** 2) / value
    matrix = map_covariance(csv_map, correlation={"pt": 0.5}).matrix
    bins = np.array([[10, 20], [20, 50], [10, 50]])
    expected = np.outer(sigma, sigma) * axis_correlation(bins, 0.5)
    expected = expected + np.diag((csv_map.statistical / value) ** 2)
    assert matrix == pytest.approx(expected, rel=1e-14)


def test_yaml_map_with_charge_and_an_open_end(tmp_path):
    (tmp_path / "map.yml").write_text(YAML)
    m = read_map("map.yml", name="muon", kind="efficiency", folder=tmp_path)
    place = m.locate(pt=np.array([12.0, 900.0]), charge=np.array([-1.0, 1.0]))
    assert m.values[place].tolist() == [0.6, 0.82]
    assert m.sources["tag"].tolist() == [0.001, 0.001, 0.002, 0.002]


@pytest.mark.parametrize("compressed", [False, True])
def test_correctionlib_map_agrees_with_correctionlib(tmp_path, compressed):
    text = json.dumps(correction([cell(0.6), cell(0.7), cell(0.8), cell(0.9)]))
    path = tmp_path / ("map.json.gz" if compressed else "map.json")
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    m = read_map(
        path.name, name="electron", kind="efficiency", folder=tmp_path, correction="id",
        value={"kind": "value"}, statistical={"kind": "stat"},
    )  # fmt: skip
    pt, eta = np.array([15.0, 500.0]), np.array([2.0, 0.3])
    import correctionlib

    evaluator = correctionlib.CorrectionSet.from_string(text)["id"]
    mine = m.values[m.locate(pt=pt, eta=eta)]
    assert mine == pytest.approx(
        [evaluator.evaluate(a, b, "value") for a, b in zip(pt, eta, strict=True)]
    )
    assert m.statistical.tolist() == [0.02] * 4
    varied = read_map(
        path.name, name="electron", kind="efficiency", folder=tmp_path, correction="id",
        value={"kind": "value"}, sources={"total": {"kind": "up"}}, varied=True,
    )  # fmt: skip
    assert varied.sources["total"] == pytest.approx([0.01] * 4, rel=1e-12)


def test_clamped_binning_has_no_outside(tmp_path):
    text = json.dumps(correction([cell(0.6)] * 4, ((10, 20, 50), (0, 1.5, 2.5)), "clamp"))
    (tmp_path / "map.json").write_text(text)
    m = read_map(
        "map.json", name="e", kind="efficiency", folder=tmp_path, correction="id",
        value={"kind": "value"},
    )  # fmt: skip
    assert m.locate(pt=np.array([5.0, 900.0]), eta=np.array([-3.0, 3.0])).tolist() == [0, 3]


@needs_cms
def test_cms_muon_map():
    m = read_map(
        "muon_Z_v2.json", name="muon", kind="scale_factor", folder=CMS,
        correction="NUM_TightID_DEN_TrackerMuons", inputs={"year": "2018_UL"},
        value={"ValType": "sf"}, statistical={"ValType": "stat"},
        sources={**{s: {"ValType": s} for s in SOURCES}, "syst": {"ValType": "syst"}},
    )  # fmt: skip
    assert m.n_bins == 32
    assert m.axes == ("abseta", "pt")
    total = m.sources["syst"]
    quadrature = np.sqrt(sum(m.sources[s] ** 2 for s in SOURCES))
    assert quadrature == pytest.approx(total, abs=1e-9)
    # The quoted numbers are of the absolute covariance; scale factors are near 1.
    matrix = np.diag(m.statistical**2) + sum(np.outer(m.sources[s], m.sources[s]) for s in SOURCES)
    absolute = decompose(make_covariance(matrix), np.eye(32))
    part = np.cumsum(absolute.eigenvalues) / absolute.trace
    assert part[5] >= 0.95 > part[4]
    assert part[16] >= 0.99 > part[15]
    relative = decompose(map_covariance(m, exclude=["syst"]), np.eye(32))
    part = np.cumsum(relative.eigenvalues) / relative.trace
    assert part[5] > 0.95 > part[4]
    assert part[16] > part[15] > 0.99 > part[14]  # 16 do already


@needs_cms
def test_cms_electron_map_with_errors_of_100_percent():
    m = read_map(
        "electron.json", name="electron", kind="scale_factor", folder=CMS,
        correction="UL-Electron-ID-SF", inputs={"year": "2018", "WorkingPoint": "Tight"},
        value={"ValType": "sf"}, sources={"total": {"ValType": "sfup"}}, varied=True,
    )  # fmt: skip
    assert m.n_bins == 60
    assert np.max(np.abs(m.sources["total"] / m.values)) == pytest.approx(1.0, abs=1e-6)
    assert m.locate(pt=np.array([12.0]), eta=np.array([-3.0]))[0] >= 0  # open towards infinity


@needs("belle2_sysvar_cov")
def test_belle_covariance_is_not_positive_semi_definite():
    covariance = make_covariance(read_matrix("cov_custom.npy", folder=BELLE))
    with pytest.raises(
        ModelError, match=r"eigenvalue -9\.7\d*e-05 is negative, -0\.00299 of the larg"
    ):
        decompose(covariance, np.eye(4))
    clipped = decompose(covariance, np.eye(4), psd_tolerance=0.003)
    assert len(clipped.clipped) == 1
    assert clipped.n_kept == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, r"electron bin 1 \(pt 20 to 50\): value 0, expected an efficiency > 0 and <= 1"),
        (-0.2, r"value -0\.2, expected an efficiency > 0"),
        (1.2, r"value 1\.2, expected an efficiency > 0 and <= 1"),
        (np.nan, r"value nan, expected an efficiency"),
    ],
)
def test_impossible_efficiencies_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        make_map("electron", "efficiency", {"pt": [10, 20, 50]}, [0.8, value])


def test_scale_factors_may_exceed_one():
    assert make_map("muon", "scale_factor", {"pt": [10, 20]}, [1.02]).values[0] == 1.02
    with pytest.raises(InputError, match="expected a scale factor > 0"):
        make_map("muon", "scale_factor", {"pt": [10, 20]}, [0.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pt_low,pt_high,eff\n1,2,.9\n", "no column 'value'; it has: eff"),
        ("value\n.9\n", "expected a header with '<axis>_low' and '<axis>_high' columns"),
        ("pt_low,pt_high,value,value\n1,2,.9,.8\n", "column 'value' appears 2 times"),
        ("pt_low,pt_high,value\n1,3,0,9\n", "row 1 has 4 entries, the header 3; .*decimal point"),
        ("pt_low,pt_high,value\n1,3\n", "row 1 has 2 entries, the header 3"),
        ("eta_low,eta_high,sceta_low,sceta_high,value\n0,1,0,1,.9\n", "mean eta, eta, one of them"),
        ("abseta_low,abseta_high,value\n-1,0,.9\n0,1,.9\n", "bins of abseta below 0"),
        (
            "pt_low,pt_high,value\n20,10,0.9\n",
            r"row 1: axis 'pt' from 20 to 10, expected low < high",
        ),
        ("pt_low,pt_high,value\n1,3,.9\n2,4,.9\n", r"bins .*bin 0.* and .*bin 1.* overlap"),
        ("pt_low,pt_high,value\n1,3,much\n", "column 'value': got 'much', expected a number"),
        ("mass_low,mass_high,value\n1,3,.9\n", "axis 'mass', expected some of pt, eta, abseta"),
        ("pt_low,pt_high,value,statistical\n1,3,.9,-1\n", "statistical error -1, expected >= 0"),
    ],
)
def test_csv_that_is_no_map_is_refused(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_map("map.csv", name="e", kind="efficiency", folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "which correction"),
        ({"correction": "other"}, "no correction 'other'; the file has: id"),
        ({"correction": "id"}, "input 'kind' has no value; give one of value, up, stat"),
        (
            {"correction": "id", "value": {"kind": "sf"}},
            "input 'kind' has no 'sf', only: value, up",
        ),
    ],
)
def test_correctionlib_options_that_do_not_fit_are_refused(tmp_path, options, message):
    (tmp_path / "map.json").write_text(json.dumps(correction([cell(0.6)] * 4)))
    with pytest.raises(InputError, match=message):
        read_map("map.json", name="e", kind="efficiency", folder=tmp_path, **options)


def test_damaged_maps_are_refused(tmp_path):
    (tmp_path / "map.json").write_text("{}")
    (tmp_path / "map.yml").write_text("axes: 3\n")
    for path, message in (
        ("map.yml", "expected a mapping with 'axes'"),
        ("absent.csv", "no file"),
        ("x" * 300 + ".csv", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            read_map(path, name="e", kind="efficiency", folder=tmp_path)
    with pytest.raises(InputError, match="cannot be read as correctionlib JSON"):
        read_map("map.json", name="e", kind="efficiency", folder=tmp_path, correction="id")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: {pt: [1, 2, 3]}\nvalues: [0.5]\n", "'values' has 1 numbers, the axes 2 = 2 bins"),
        ("axes: {}\nvalues: [0.5]\n", "expected a mapping with 'axes'"),
        ("axes: {pt: '12'}\nvalues: [0.5]\n", "edges of axis 'pt' are not a list of numbers"),
        ("axes: {pt: [1, x]}\nvalues: [0.5]\n", "edges of axis 'pt' are not a list of numbers"),
        ("axes: {pt: [3, 1]}\nvalues: [0.5]\n", "edges of axis 'pt' do not increase"),
        ("axes: {pt: [1, 2], PT: [1, 2]}\nvalues: [0.5]\n", "axes pt, PT mean pt, pt"),
        (
            "axes: {pt: [1, 2]}\nvalues: [0.5]\nvalues: [0.6]\n",
            "line 3: key 'values' appears",
        ),
        ("axes: {pt: [1, 2]}\nvalues: [0.5]\nsources: [1]\n", "'sources' is no mapping"),
        ("axes: {pt: [1, 2]}\nvalues: 2001-99-99\n", "not YAML"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_yaml_that_is_no_map_is_refused(tmp_path, text, message):
    (tmp_path / "map.yml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_map("map.yml", name="e", kind="efficiency", folder=tmp_path)


def test_numbers_with_an_exponent_are_numbers_in_yaml_maps(tmp_path):
    (tmp_path / "map.yml").write_text("axes: {pt: [1e1, inf]}\nvalues: [5e-1]\nstatistical: [1e-3]")
    found = read_map("map.yml", name="e", kind="efficiency", folder=tmp_path)
    assert (found.lows[0, 0], found.highs[0, 0]) == (10.0, np.inf)
    assert (found.values[0], found.statistical[0]) == (0.5, 0.001)


@pytest.mark.parametrize(
    "options",
    [
        {"correction": "id"}, {"inputs": {"year": 2018}}, {"value": {"kind": "sf"}},
        {"statistical": {"kind": "stat"}}, {"sources": {"tag": {"kind": "tag"}}},
    ],
)  # fmt: skip
def test_a_table_has_nothing_to_select(tmp_path, options):
    """Such a key would be ignored, and with it the source that the user asked for."""
    (tmp_path / "map.csv").write_text("pt_low,pt_high,value\n10,20,.9\n")
    with pytest.raises(InputError, match=f"'{next(iter(options))}' selects from correctionlib"):
        read_map("map.csv", name="e", kind="efficiency", folder=tmp_path, **options)


def test_an_axis_that_the_file_lacks_cannot_be_renamed(tmp_path):
    (tmp_path / "map.csv").write_text("eta_low,eta_high,value\n0,2,.9\n")
    (tmp_path / "map.json").write_text(json.dumps(correction([cell(0.6)] * 4)))
    for path, options in (
        ("map.csv", {}),
        ("map.json", {"correction": "id", "value": {"kind": "value"}}),
    ):
        with pytest.raises(InputError, match="'axes' renames 'Eta'; it has: "):
            read_map(
                path,
                name="e",
                kind="efficiency",
                folder=tmp_path,
                axes={"Eta": "abseta"},
                **options,
            )


def test_unknown_sources_and_axes_of_a_model_are_refused(csv_map):
    with pytest.raises(InputError, match="no source 'trigger'; it has: tag, background"):
        map_covariance(csv_map, exclude=["trigger"])
    with pytest.raises(InputError, match="correlation along 'charge', which is no axis of the map"):
        map_covariance(csv_map, correlation={"charge": 1.0})
    with pytest.raises(InputError, match="depends on abseta, which the events do not have"):
        csv_map.locate(pt=np.array([20.0]))
