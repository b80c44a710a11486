"""One table of jagged branches, as in NanoAOD: both samples, fakes and prompt events of it."""

import copy
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot
import yaml
from conftest import invoke

from ddphf.config.analysis import parse_analysis, read_analysis
from ddphf.exceptions import ConfigError, InputError
from ddphf.inputs.events import leading_pair, read_events
from ddphf.inputs.lepton_pairs import MASSES, Collection, pair_columns
from ddphf.symmetry.load import load_pair
from ddphf.workspace.build import build_workspace

EDGES = [20.0, 60.0, 100.0, 200.0]
RATES = {"electron": [0.2, 0.3], "muon": [0.1, 0.25]}
RATE_EDGES = [10.0, 30.0, 500.0]

ANALYSIS = {
    "schema": "ddphf/analysis/1",
    "name": "nano",
    "events": {
        "file": "data*.root:Events",
        "select": "l1_tight and l2_tight and l1_flavour != l2_flavour",
        "collections": {
            "electron": {
                "prefix": "Electron_",
                "select": "pt > 12 && cutBased >= 1",
                "tight": "cutBased >= 4",
                "columns": {"sceta": "eta + deltaEtaSC"},
            },
            "muon": {
                "prefix": "Muon_",
                "select": "looseId and pt > 12",
                "tight": "!looseId == 0 and iso < 0.15",
                "columns": {"sceta": "eta"},
            },
        },
        "identifier": ["run", "event"],
        "axes": [{"column": "pair_mass", "unit": "GeV", "edges": EDGES}],
        "leptons": [
            {"flavour": "l1_flavour", "pt": "l1_pt", "eta": "fabs(l1_sceta)"},
            {"flavour": "l2_flavour", "pt": "l2_pt", "eta": "fabs(l2_sceta)"},
        ],
    },
    "tested": {
        "label": "mue",
        "select": "l1_flavour == 13",
        "signal": {"events": "signal.root:Events", "weight": 0.05},
        "fakes": {
            "events": ["data1.root:Events", "data2.root:Events"],
            "select": "l1_tight != l2_tight and l1_flavour != l2_flavour",
            "lepton": {"flavour": "loose_flavour", "pt": "loose_pt"},
            "maps": {
                name: {"file": f"{name}.csv", "kind": "fake_rate"} for name in ("electron", "muon")
            },
            "prompt": {"events": "prompt.root:Events", "weight": "genWeight * 0.1"},
        },
    },
    "partner": {"label": "emu", "select": "l1_flavour == 11"},
    "background": {"floor": 0.5},
    "signal_scale": "auto",
}


def make_table(seed, n):
    rng = np.random.default_rng(seed)
    columns = {}
    for name, mean in (("Electron", 1.4), ("Muon", 1.4)):
        counts = np.minimum(rng.poisson(mean, n), 3)
        size = int(counts.sum())
        flat = {
            "pt": rng.exponential(30, size) + 8, "eta": rng.uniform(-2.4, 2.4, size),
            "phi": rng.uniform(-np.pi, np.pi, size), "charge": rng.choice([-1, 1], size),
        }  # fmt: skip
        if name == "Electron":
            flat["cutBased"] = rng.integers(0, 5, size)
            flat["deltaEtaSC"] = rng.normal(0, 0.02, size)
        else:
            flat["looseId"] = rng.random(size) < 0.9
            flat["iso"] = rng.exponential(0.1, size)
        columns |= {f"{name}_{k}": ak.unflatten(v, counts) for k, v in flat.items()}
    columns["run"] = np.full(n, 1, dtype=np.uint32)
    columns["event"] = (np.uint64(2**63) + np.arange(n, dtype=np.uint64)) + np.uint64(seed << 32)
    columns["genWeight"] = rng.choice([-1.0, 1.0], n, p=[0.1, 0.9])
    return columns


TABLES = {
    "data1": make_table(1, 1500), "data2": make_table(2, 1500), "signal": make_table(3, 400),
    "prompt": make_table(4, 700),
}  # fmt: skip


def write_nano(folder, change=None):
    for name, table in TABLES.items():
        with uproot.recreate(folder / f"{name}.root") as file:
            file["Events"] = table
    for name, rates in RATES.items():
        rows = [
            f"{RATE_EDGES[i]},{RATE_EDGES[i + 1]},{rates[i]},{0.1 * rates[i]}" for i in range(2)
        ]
        text = "\n".join(["pt_low,pt_high,value,statistical", *rows])
        (folder / f"{name}.csv").write_text(text + "\n")
    analysis = copy.deepcopy(ANALYSIS)
    if change is not None:
        change(analysis)
    path = folder / "nano.yml"
    path.write_text(yaml.safe_dump(analysis, sort_keys=False))
    return path


def by_hand(name):
    """The pair of every event, in plain Python."""
    table = {key: ak.to_list(values) for key, values in TABLES[name].items()}
    for row in range(len(table["run"])):
        leptons = []
        for i, pt in enumerate(table["Electron_pt"][row]):
            quality = table["Electron_cutBased"][row][i]
            if pt > 12 and quality >= 1:
                eta, phi = (table[f"Electron_{k}"][row][i] for k in ("eta", "phi"))
                leptons.append((pt, 11, eta, phi, quality >= 4))
        for i, pt in enumerate(table["Muon_pt"][row]):
            if pt > 12 and table["Muon_looseId"][row][i]:
                eta, phi = (table[f"Muon_{k}"][row][i] for k in ("eta", "phi"))
                leptons.append((pt, 13, eta, phi, table["Muon_iso"][row][i] < 0.15))
        leptons.sort(reverse=True)
        if len(leptons) >= 2 and leptons[0][1] != leptons[1][1]:
            yield leptons[:2], table["genWeight"][row]


def mass_bin(pair):
    total = [0.0] * 4
    for pt, code, eta, phi, _ in pair:
        p = [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)]
        energy = math.sqrt(sum(x * x for x in p) + MASSES[code] ** 2)
        total = [a + b for a, b in zip(total, [energy, *p], strict=True)]
    mass = math.sqrt(total[0] ** 2 - sum(x * x for x in total[1:]))
    return int(np.searchsorted(EDGES, mass, side="right")) - 1


def test_samples_fakes_and_prompt_events_by_hand(tmp_path):
    pair = load_pair(read_analysis(write_nano(tmp_path)))
    counts, signal = {11: np.zeros(3), 13: np.zeros(3)}, np.zeros(3)
    fakes, squares, slope = np.zeros(3), np.zeros(3), np.zeros(3)

    def add(name, weight):
        for (first, second), generator in by_hand(name):
            i = mass_bin((first, second))
            if not 0 <= i < 3 or first[1] != 13 or first[4] == second[4]:
                continue
            loose = second if first[4] else first
            k = int(loose[0] >= 30)
            rate = RATES["electron" if loose[1] == 11 else "muon"][k]
            w = weight if weight > 0 else weight * generator
            fakes[i] += w * rate / (1 - rate)
            squares[i] += (w * rate / (1 - rate)) ** 2
            if (loose[1], k) == (11, 1):
                slope[i] += w * 0.1 * rate / (1 - rate) ** 2

    for name in ("data1", "data2"):
        for (first, second), _ in by_hand(name):
            i = mass_bin((first, second))
            if 0 <= i < 3 and first[4] and second[4]:
                counts[first[1]][i] += 1
        add(name, 1.0)
    add("prompt", -0.1)
    for (first, second), _ in by_hand("signal"):
        i = mass_bin((first, second))
        if 0 <= i < 3 and first[4] and second[4] and first[1] == 13:
            signal[i] += 0.05
    assert counts[13].sum() > 50
    assert pair.tested.observed.flat.tolist() == counts[13].tolist()
    assert pair.partner.observed.flat.tolist() == counts[11].tolist()
    assert pair.tested.signal.yields.flat == pytest.approx(signal, rel=1e-12)
    assert pair.tested.fakes.yields.flat == pytest.approx(fakes, rel=1e-9)
    assert pair.tested.fakes.error.flat == pytest.approx(np.sqrt(squares), rel=1e-9)
    found = {s.name: s for s in pair.tested.fakes.systematics}
    up = found["fakes_electron_bin01"].up
    assert up == pytest.approx(fakes + slope, rel=1e-9)
    assert pair.integer_data
    build_workspace(pair)


def test_the_command_line_builds_it(folder):
    outcome = invoke("build", write_nano(folder), "-o", "nano.json")
    assert outcome.code == 0, outcome.err


def test_columns_of_the_pair(tmp_path):
    write_nano(tmp_path)
    given = {"electron": "Electron_", "muon": "Muon_"}
    table = read_events("data1.root:Events", folder=tmp_path, collections=given)
    assert {"l1_phi", "l2_phi", "pair_mass", "l1_mass"} <= set(table.columns)
    assert not {"n_tight", "loose_pt", "l1_tight"} & set(table.columns)
    pt, eta, phi = ([table[f"l{i}_{n}"] for i in (1, 2)] for n in ("pt", "eta", "phi"))
    massless = 2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1]))
    two = table["n_11"] + table["n_13"] >= 2
    assert table["pair_mass"][two] == pytest.approx(np.sqrt(massless[two]), rel=1e-2, abs=0.25)
    assert np.isnan(table["pair_mass"][~two]).all()
    assert (~two).any()


def test_the_loose_lepton_is_the_one_that_is_not_tight():
    e = {"pt": [[30.0], [30.0], [30.0], []], "tight": [[1.0], [0.0], [0.0], []]}
    mu = {"pt": [[40.0], [40.0], [40.0], [50.0]], "tight": [[0.0], [1.0], [0.0], [0.0]]}
    made = pair_columns(
        {code: {k: ak.Array(v) for k, v in f.items()} for code, f in ((11, e), (13, mu))}
    )
    assert made["loose_flavour"].tolist() == [13.0, 11.0, 0.0, 13.0]
    assert np.array_equal(made["loose_pt"], [40.0, 30.0, np.nan, 50.0], equal_nan=True)
    assert made["n_tight"].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert made["l2_tight"].tolist() == [True, False, False, False]


def test_a_missing_lepton_is_no_loose_one():
    """An event of a single lepton has no pair, so it belongs to no control region either."""
    one = {
        code: {"pt": ak.Array([pt]), "tight": ak.Array([[1.0] * len(pt)])}
        for code, pt in ((11, []), (13, [50.0]))
    }
    made = pair_columns(one)
    assert made["loose_flavour"].tolist() == [0.0]
    assert made["l2_tight"].tolist() == [False]


def test_leading_pair_keeps_its_form():
    e = tuple(ak.Array(x) for x in ([[30.0], []], [[0.1], []], [[1], []]))
    mu = tuple(ak.Array(x) for x in ([[40.0, 20.0], []], [[1.0, 2.0], []], [[-1, 1], []]))
    made = leading_pair({11: e, 13: mu})
    assert set(made) == {"n_11", "n_13"} | {
        f"l{i}_{name}" for i in (1, 2) for name in ("pt", "eta", "charge", "flavour")
    }


def test_parquet_lists_are_jagged_branches_too(tmp_path):
    flat = {k: ak.to_list(v) for k, v in TABLES["data1"].items() if k != "event"}
    pa.parquet.write_table(pa.table(flat), tmp_path / "lists.parquet")
    records = {
        name: [
            [dict(zip(("pt", "eta", "phi", "charge"), lepton, strict=True))
             for lepton in zip(*(flat[f"{name}_{k}"][row] for k in ("pt", "eta", "phi", "charge")),
                               strict=True)]
            for row in range(len(flat["run"]))
        ]
        for name in ("Electron", "Muon")
    }  # fmt: skip
    pa.parquet.write_table(pa.table(records), tmp_path / "records.parquet")
    write_nano(tmp_path)
    expected = read_events(
        "data1.root:Events", folder=tmp_path, columns=["Muon_pt[0]"],
        collections={"electron": "Electron_", "muon": "Muon_"},
    )  # fmt: skip
    for file, join in (("lists.parquet", "_"), ("records.parquet", ".")):
        got = read_events(
            file, folder=tmp_path, columns=[f"Muon{join}pt[0]", f"len(Muon{join}pt)"],
            collections={"electron": f"Electron{join}", "muon": f"Muon{join}"},
        )  # fmt: skip
        for name in ("l1_pt", "l2_flavour", "pair_mass", "n_13"):
            np.testing.assert_array_equal(got[name], expected[name])
        np.testing.assert_array_equal(got[f"Muon{join}pt[0]"], expected["Muon_pt[0]"])
        np.testing.assert_array_equal(got[f"len(Muon{join}pt)"], expected["n_13"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["events"]["collections"]["muon"].update(select="isGlobal"),
         "no branch 'Muon_isGlobal'"),
        (lambda a: a["events"]["collections"]["muon"].update(tight="iso"),
         "expression 'iso': gives numbers, expected true or false"),
        (lambda a: a["events"]["collections"]["muon"].update(columns={"pt": "2 * pt"}),
         "'columns' cannot redefine 'pt'"),
        (lambda a: a["events"]["collections"]["muon"].update(select="event > 3"),
         "no branch 'Muon_event'"),
    ],
)  # fmt: skip
def test_object_selections_that_cannot_be_used(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_pair(read_analysis(write_nano(tmp_path, change)))


def test_a_fake_rate_of_one_is_refused(tmp_path):
    path = write_nano(tmp_path)
    (tmp_path / "muon.csv").write_text("pt_low,pt_high,value\n10,500,1.0\n")
    with pytest.raises(InputError, match=r"muon bin 0 .*value 1, expected a fake rate < 1"):
        load_pair(read_analysis(path))


def test_branches_of_unequal_lengths_are_refused(tmp_path):
    with uproot.recreate(tmp_path / "t.root") as file:
        file["t"] = {
            "E_pt": ak.Array([[1.0], []]), "E_eta": ak.Array([[1.0], [2.0]]),
            "E_charge": ak.Array([[1], []]),
        }  # fmt: skip
    with pytest.raises(InputError, match="'E_eta' has not one number per lepton of 'E_pt'"):
        read_events("t.root:t", folder=tmp_path, collections={"electron": Collection("E_")})


def test_weighted_simulation_as_pseudo_data(tmp_path):
    """Sums of weights are the counts, and the build says that they are no data."""

    def change(analysis):
        analysis["events"]["weight"] = "0.5 * genWeight"
        del analysis["tested"]["fakes"]

    pair = load_pair(read_analysis(write_nano(tmp_path, change)))
    expected = np.zeros(3)
    for name in ("data1", "data2"):
        for (first, second), generator in by_hand(name):
            i = mass_bin((first, second))
            if 0 <= i < 3 and first[4] and second[4] and first[1] == 13:
                expected[i] += 0.5 * generator
    assert pair.tested.observed.flat == pytest.approx(expected, rel=1e-12)
    assert not pair.integer_data
    assert any("taken as pseudo-data" in text for text in build_workspace(pair).warnings)


def test_a_histogram_has_neither_selection_nor_prompt_events():
    for key, value in (("select", "x > 1"), ("prompt", {"events": "p.npz"})):
        analysis = {
            "schema": "ddphf/analysis/1", "name": "x",
            "tested": {"label": "a", "observed": "t.csv:a", "signal": {"yields": "t.csv:s"},
                       "fakes": {"yields": "t.csv:f", key: value}},
            "partner": {"label": "b", "observed": "t.csv:b"},
        }  # fmt: skip
        with pytest.raises(ConfigError, match=f"at tested.fakes.{key}: a histogram has no events"):
            parse_analysis(yaml.safe_dump(analysis))


def test_a_pattern_that_takes_the_signal_for_data_is_said(tmp_path):
    def change(analysis):
        analysis["events"]["file"] = "*.root:Events"
        del analysis["tested"]["fakes"]
        del analysis["events"]["identifier"]

    pair = load_pair(read_analysis(write_nano(tmp_path, change)))
    assert pair.warnings == (
        "signal.root:Events: is read as observed events and as the signal of 'tested'; leave it "
        "out of 'events.file' unless these are pseudo-data with that signal",
    )
    assert pair.warnings[0] in build_workspace(pair).warnings
    assert load_pair(read_analysis(write_nano(tmp_path))).warnings == ()


def test_the_documented_example_is_an_analysis(tmp_path):
    document = (Path(__file__).parents[1] / "docs/analysis_file.md").read_text(encoding="utf-8")
    block = document.split("## Leptons, tight and loose, of one table")[1].split("```")[1]
    head = "schema: ddphf/analysis/1\nname: nano\npartner: {label: emu, select: l1_flavour == 11}\n"
    parsed = parse_analysis(head + block.removeprefix("yaml"), folder=tmp_path)
    assert parsed.events.collections["muon"].columns == {"sceta": "eta"}
    assert [m.kind for m in parsed.tested.fakes.maps] == ["fake_rate", "fake_rate"]
    assert parsed.tested.fakes.prompt.weight == "genWeight * 0.02"
