"""Closure in variables that no axis and no map has: event by event, and what it finds."""

import json

import numpy as np
import pytest
from conftest import invoke
from scipy.stats import chi2
from test_fakes import ELECTRON as LOOSE_ELECTRON
from test_fakes import MUON as LOOSE_MUON
from test_fakes import loose_events, write_loose_analysis
from test_lepton_id_build import (
    ELECTRON,
    MUON,
    PT,
    covariance_by_hand,
    make_tables,
    write_event_analysis,
)

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import InputError
from ddphf.statistics.n_sigma import null_variance
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.variable_bins import make_cells
from ddphf.workspace.build import build_workspace

JETS = 3


def add_jets(tables, seed=9):
    rng = np.random.default_rng(seed)
    for columns in tables.values():
        columns["n_jets"] = rng.choice([0, 1, 2], len(columns["mass"])).astype(float)
    return tables


def write(folder, closure=("n_jets",), change=None, tables=None):
    """The analysis of test_fakes with a variable, its loose events in the same folder."""
    made = add_jets({**make_tables(), "loose": loose_events()}) if tables is None else tables
    path = write_loose_analysis(folder, lambda a: edit(a, closure, change))
    for name, columns in made.items():
        np.savez(folder / f"{name}.npz", **columns)
    return path, made


def edit(analysis, closure, change):
    analysis["closure"] = list(closure)
    if change is not None:
        change(analysis)


def closed(path):
    return build_workspace(load_pair(read_analysis(path)), signal_scale=1.0)


def by_hand(tables):
    """y and its covariance in bins of n_jets, event by event, over all mass bins."""

    def pt_bin(pt):
        return int(np.searchsorted(PT, pt, side="right") - 1)

    counts = {13: np.zeros(JETS), 11: np.zeros(JETS)}
    fakes, squares = ({13: np.zeros(JETS), 11: np.zeros(JETS)} for _ in range(2))
    shifts: dict = {}
    num, den = np.zeros(JETS), np.zeros(JETS)
    w_b, w_a = np.zeros((JETS, 6)), np.zeros((JETS, 6))
    for name in ("events", "loose"):
        columns = tables[name]
        for row in range(len(columns["mass"])):
            if not 30 <= columns["mass"][row] < 70:
                continue
            j, lead = int(columns["n_jets"][row]), columns["f1"][row]
            weight = 1.0
            if name == "events":
                counts[lead][j] += 1
            else:
                electron = abs(columns["loose_flavour"][row]) == 11
                factors = LOOSE_ELECTRON if electron else LOOSE_MUON
                k, w = pt_bin(columns["loose_pt"][row]), columns["w"][row]
                fakes[lead][j] += w * factors["value"][k]
                squares[lead][j] += (w * factors["value"][k]) ** 2
                weight = -w * factors["value"][k]
                parts = {(electron, k): factors["statistical"][k]}
                if electron:
                    parts["prompt"] = factors["prompt"][k]
                for key, size in parts.items():
                    for code in (13, 11):
                        shifts.setdefault((key, code), np.zeros(JETS))
                    shifts[key, lead][j] += w * size
            one, two = pt_bin(columns["pt1"][row]), pt_bin(columns["pt2"][row])
            eff_b = MUON["value"][one] * ELECTRON["value"][two]
            eff_a = ELECTRON["value"][one] * MUON["value"][two]
            p = eff_b / (eff_a + eff_b)
            num[j] += weight * p
            den[j] += weight * (1 - p)
            w_b[j, 3 + one] += weight * p
            w_b[j, two] += weight * p
            w_a[j, one] += weight * (1 - p)
            w_a[j, 3 + two] += weight * (1 - p)
    r = num / den
    background, v = null_variance(counts[13], counts[11], r, fakes[13], fakes[11])
    moved = (r * background)[:, None] * (w_b / num[:, None] - w_a / den[:, None])
    v = np.diag(v + squares[13] + r**2 * squares[11]) + moved @ covariance_by_hand() @ moved.T
    for key in {key for key, _ in shifts}:
        column = shifts[key, 13] - r * shifts[key, 11]
        v += np.outer(column, column)
    column = (1.2 - 1 / 1.2) / 2 * (fakes[13] - r * fakes[11])
    v += np.outer(column, column)
    return (counts[13] - fakes[13]) - r * (counts[11] - fakes[11]), v


def test_a_variable_by_hand(folder):
    """Ratio, composition, fakes and all their errors in bins of the variable."""
    path, tables = write(folder)
    found = closed(path).metadata["closure"]["variables"]
    y, v = by_hand(tables)
    (result,) = found["results"]
    assert found["region"] == "all"  # this signal is everywhere
    assert [b["label"] for b in result["bins"]] == ["0", "1", "2"]
    difference = [b["tested"] - b["restored"] for b in result["bins"]]
    assert difference == pytest.approx(y, rel=1e-9)
    assert [b["error"] for b in result["bins"]] == pytest.approx(np.sqrt(np.diag(v)), rel=1e-9)
    assert result["chi2"] == pytest.approx(y @ np.linalg.inv(v) @ y, rel=1e-9)
    assert result["p_value"] == pytest.approx(chi2.sf(result["chi2"], 3), rel=1e-9)
    assert (found["tried"], found["global_p_value"]) == (1, pytest.approx(result["p_value"]))


def test_a_stated_ratio_and_systematics_are_averaged_over_the_events(folder):
    """No maps, but a ratio per mass bin and a shape of the mass; n_jets goes with the mass."""
    tables = add_jets({**make_tables(), "loose": loose_events()})
    for columns in tables.values():
        columns["n_jets"] = ((columns["mass"] - 25) // 25).astype(float)
    ratio, up = np.array([0.9, 0.95, 1.0, 1.1]), np.array([1.02, 1.03, 1.04, 1.05])
    np.savez("ratio.npz", r=ratio, up=up, down=2 - up, edges_0=np.linspace(30, 70, 5))

    def no_maps(analysis):
        del analysis["lepton_id"]
        analysis["efficiency_ratio"] = "ratio.npz:r"
        for role in ("tested", "partner"):
            del analysis[role]["fakes"]
        ends = {"up": "ratio.npz:up", "down": "ratio.npz:down"}
        shape = {"name": "shape", "type": "histosys", "relative": True, **ends}
        analysis["tested"]["systematics"] = [shape]

    path, tables = write(folder, change=no_maps, tables=tables)
    (result,) = closed(path).metadata["closure"]["variables"]["results"]
    events = tables["events"]
    inside = (events["mass"] >= 30) & (events["mass"] < 70)
    cell = ((events["mass"][inside] - 30) // 10).astype(int)
    jets, lead = events["n_jets"][inside].astype(int), events["f1"][inside]
    p = ratio[cell] / (1 + ratio[cell])
    y, v = np.zeros(2), np.zeros((2, 2))
    shape = np.zeros(2)
    for j in range(2):
        here = jets == j
        r = p[here].sum() / (1 - p[here]).sum()
        b, a = np.sum(here & (lead == 13)), np.sum(here & (lead == 11))
        y[j], v[j, j] = b - r * a, r * (a + b)
        mean = np.sum(p[here] * (up[cell[here]] - 1)) / p[here].sum()
        shape[j] = r * (a + b) / (1 + r) * mean
    v += np.outer(shape, shape)
    assert [b["tested"] - b["restored"] for b in result["bins"]] == pytest.approx(y, rel=1e-9)
    assert result["chi2"] == pytest.approx(y @ np.linalg.inv(v) @ y, rel=1e-9)


def test_the_signal_region_is_left_out(folder):
    """A signal with many jets: in its window it would fail the variable."""
    tables = add_jets({**make_tables(), "loose": loose_events()})
    rng = np.random.default_rng(4)
    n = 400
    more = {name: rng.choice(column, n) for name, column in tables["events"].items()}
    more |= {"mass": rng.uniform(40, 50, n), "n_jets": np.full(n, 2.0), "f1": np.full(n, 13)}
    more["f2"] = 24 - more["f1"]
    joined = {k: np.concatenate([v, more[k]]) for k, v in tables["events"].items()}
    tables["events"] = joined
    tables["signal"]["mass"] = rng.uniform(40, 50, 300)
    path, _ = write(folder, tables=tables)
    built = closed(path)
    found = built.metadata["closure"]["variables"]
    assert found["region"] == "side"
    assert found["results"][0]["p_value"] > 0.01
    inside = (joined["mass"] >= 30) & (joined["mass"] < 70)
    outside_window = inside & ~((joined["mass"] >= 40) & (joined["mass"] < 50))
    assert found["results"][0]["events"] == np.sum(outside_window)
    assert not any("n_jets" in line for line in built.warnings)


def test_a_dependence_on_jets_is_found_and_said(folder):
    tables = add_jets({**make_tables(), "loose": loose_events()})
    events = tables["events"]
    rng = np.random.default_rng(12)
    lost = (events["f1"] == 13) & (rng.random(4000) < 0.15 * events["n_jets"])
    tables["events"] = {k: v[~lost] for k, v in events.items()}
    path, _ = write(folder, closure=["pt2", "n_jets"], tables=tables)
    assert invoke("build", path, "-o", "pair.json").code == 0
    sidecar = json.loads((folder / "pair.metadata.json").read_text())
    found = sidecar["closure"]["variables"]
    by_name = {r["variable"]: r for r in found["results"]}
    assert by_name["n_jets"]["p_value"] < 1e-4
    assert found["tried"] == 2
    assert found["smallest_p_value"] == by_name["n_jets"]["p_value"]
    assert found["global_p_value"] == pytest.approx(2 * by_name["n_jets"]["p_value"], rel=1e-5)
    fitted = invoke("fit", "pair.json", "-o", "fit.json")
    record = json.loads((folder / "fit.json").read_text())
    for lines in (sidecar["warnings"], record["warnings"]):
        assert any("closure in 'n_jets'" in x and "2 variables tried" in x for x in lines)
    assert "closure in 'n_jets'" in " ".join(fitted.err.split())
    shown = invoke("inspect", "pair.json").out
    assert "closure in further variables, a signal included" in shown
    assert "smallest p of 2" in shown


def test_bins_of_a_variable():
    rng = np.random.default_rng(6)
    jets = rng.poisson(1.0, 2000).astype(float)
    cells = make_cells(jets, None)
    assert cells.rule == "values"
    assert cells.labels[:3] == ("0", "1", "2")
    counts = np.bincount(cells.place(jets))
    assert counts.sum() == 2000
    assert counts.min() >= 25
    met = rng.exponential(30, 2000)
    cells = make_cells(met, None)
    assert (cells.rule, len(cells.labels)) == ("quantiles", 10)
    assert np.bincount(cells.place(met)) == pytest.approx(np.full(10, 200), abs=1)
    few = make_cells(met[:130], None)
    assert np.bincount(few.place(met[:130])).min() >= 25
    # Events without a value have a bin; explicit edges leave out what is beyond them.
    some = np.where(rng.random(2000) < 0.2, np.nan, met)
    cells = make_cells(some, None)
    assert cells.labels[-1] == "no value"
    assert np.bincount(cells.place(some))[-1] == np.sum(np.isnan(some))
    stated = make_cells(some, (0.0, 20.0, 50.0))
    assert stated.labels == ("0 to 20", "20 to 50")
    assert np.sum(stated.place(some) < 0) == np.sum(~(some < 50))
    # Many whole numbers are no classes; a spike and a constant are one bin each.
    assert make_cells(np.arange(1000.0), None).rule == "quantiles"
    assert make_cells(np.zeros(50), None).labels == ("0",)
    spiked = np.where(rng.random(2000) < 0.7, 0.5, met)
    assert np.bincount(make_cells(spiked, None).place(spiked)).min() >= 25
    assert make_cells(np.full(40, np.nan), None).labels == ("any value", "no value")
    assert make_cells(np.array([1.0, np.inf] * 30), None).labels == ("1", "no value")


@pytest.mark.parametrize(
    ("closure", "labels"),
    [
        (["n_jets > 0"], ["0", "1"]),
        (
            [{"column": "mass", "edges": {"bins": 2, "low": 30, "high": 70}}],
            ["30 to 50", "50 to 70"],
        ),
        ([{"column": "n_jets / 0", "edges": [0, 1]}], []),
    ],
)
def test_variables_are_expressions(folder, closure, labels):
    path, _ = write(folder, closure=closure)
    built = closed(path)
    (result,) = built.metadata["closure"]["variables"]["results"]
    assert [b["label"] for b in result["bins"]] == labels
    assert (result["p_value"] is None) == (not labels)
    json.dumps(built.metadata, allow_nan=False)
    assert not any("closure in" in line for line in built.warnings)


def test_without_maps_of_fakes_the_weights_are_their_errors(folder):
    """Fakes as weighted events with a normsys, no maps of fake factors."""
    tables = add_jets(make_tables())
    path = write_event_analysis(folder, lambda a: a.update(closure=["n_jets"]), tables)
    (result,) = closed(path).metadata["closure"]["variables"]["results"]
    fakes = tables["fakes"]
    inside = (fakes["mass"] >= 30) & (fakes["mass"] < 70)
    f = np.bincount(fakes["n_jets"][inside].astype(int), fakes["w"][inside])
    squares = np.bincount(fakes["n_jets"][inside].astype(int), fakes["w"][inside] ** 2)
    for item, yields, square in zip(result["bins"], f, squares, strict=True):
        r = (item["restored"] - yields) / item["partner"]
        stat = null_variance(
            *(np.array([x]) for x in (item["tested"], item["partner"], r, yields, 0.0))
        )
        assert item["error"] ** 2 > stat[1][0] + square + (0.2 * yields) ** 2
        assert (
            item["error"] ** 2
            < stat[1][0] + square + (0.2 * yields) ** 2 + (0.05 * item["tested"]) ** 2
        )


def test_the_label_is_no_variable(folder):
    path, _ = write(folder, closure=["f2"])
    with pytest.raises(
        InputError, match=r"closure in 'f2': all \d+ events of 11 are in one sample"
    ):
        closed(path)


def test_a_missing_column_is_named(folder):
    path, _ = write(folder, closure=["n_bjets"])
    with pytest.raises(InputError, match="no column 'n_bjets'"):
        load_pair(read_analysis(path))
