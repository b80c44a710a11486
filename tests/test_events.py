"""Event tables of every format, the split, and expressions that are only expressions."""

import re
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import uproot
from others_data import OTHERS, needs

from ddphf.exceptions import InputError
from ddphf.inputs.events import make_events, read_events
from ddphf.symmetry.expressions import column_names, evaluate, evaluate_mask
from ddphf.symmetry.split import RULES, split_events

ROOT = OTHERS / "skhep_emu_root"
needs_root = needs("skhep_emu_root")

COLUMNS = {"mass": [91.0, 125.0, 80.0], "flavour": [11, 13, 13]}
BOTH = {"electron": "Electron_", "muon": "Muon_"}


def write(path: Path) -> str:
    arrays = {name: np.array(values) for name, values in COLUMNS.items()}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(arrays), path)
    else:
        with uproot.recreate(path) as file:
            file["tree"] = arrays
        return f"{path.name}:tree"
    return path.name


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".root"])
def test_the_same_table_from_every_format(tmp_path, suffix):
    table = read_events(write(tmp_path / f"events{suffix}"), folder=tmp_path)
    assert {k: v.tolist() for k, v in table.columns.items()} == COLUMNS
    only = read_events(write(tmp_path / f"two{suffix}"), folder=tmp_path, columns=["mass"])
    assert list(only.columns) == ["mass"]


@needs_root
def test_four_vectors_of_the_hzz_file():
    table = read_events("uproot-HZZ.root:events", folder=ROOT, collections=BOTH)
    e, mu = table["n_11"], table["n_13"]
    assert table.n_events == 2421
    assert (np.sum(mu > 0), np.sum(e > 0)) == (2362, 118)
    assert (np.sum(mu >= 2), np.sum(e >= 2)) == (1413, 52)
    pair = (e == 1) & (mu == 1)
    assert np.sum(pair) == 29
    assert np.sum(pair & (table["l1_charge"] * table["l2_charge"] < 0)) == 23
    full = pair & (table["l1_pt"] > 0)
    assert np.all(table["l1_pt"][full] >= table["l2_pt"][full])
    chosen = table.select(pair)
    split = split_events(chosen, *RULES["mue_emu"])
    assert split.tested.sum() + split.partner.sum() == 29


@needs_root
def test_jagged_branches_of_the_nanoaod_file():
    name = "nanoAOD_2015_CMS_Open_Data_ttbar.root:Events"
    table = read_events(name, folder=ROOT, columns=["Muon_pt[0]", "len(Muon_pt)"], collections=BOTH)
    e, mu = table["n_11"], table["n_13"]
    assert table.n_events == 200
    assert (np.sum(e > 0), np.sum(mu > 0), np.sum((e > 0) & (mu > 0))) == (63, 40, 4)
    assert np.array_equal(table["len(Muon_pt)"], mu)
    assert np.array_equal(np.isnan(table["Muon_pt[0]"]), mu == 0)
    leading = np.where(table["l1_flavour"] == 13, table["l1_pt"], table["l2_pt"])
    only_muons = (mu > 0) & (e == 0)
    assert np.array_equal(leading[only_muons], table["Muon_pt[0]"][only_muons])


def test_bad_tables_are_refused(tmp_path):
    (tmp_path / "bad.root").write_text("root?")
    (tmp_path / "bad.npz").write_text("PK")
    (tmp_path / "bad.parquet").write_text("PAR1")
    write(tmp_path / "good.root")
    write(tmp_path / "good.parquet")
    np.savez(tmp_path / "unequal.npz", a=np.zeros(2), b=np.zeros(3))
    np.savez(tmp_path / "deep.npz", a=np.zeros((2, 2)))
    pa.parquet.write_table(pa.table({"a": pa.array([1.0, None])}), tmp_path / "holes.parquet")
    for address, message in (
        ("absent.npz", "no file"),
        ("bad.root:t", "cannot be read as ROOT"),
        ("bad.npz", "no zip archive"),
        ("bad.parquet", "cannot be read as parquet"),
        ("unequal.npz", "column 'b' has 3 rows, 'a' has 2"),
        ("deep.npz", r"column 'a' has shape \(2, 2\)"),
        ("holes.parquet", "column 'a' has empty cells"),
        ("good.root:other", "which tree.* the file has: tree"),
    ):
        with pytest.raises(InputError, match=message):
            read_events(address, folder=tmp_path)
    for address in ("good.root:tree", "good.parquet"):
        with pytest.raises(InputError, match=r"no (column|branch) 'pt'"):
            read_events(address, folder=tmp_path, columns=["pt"])
    with pytest.raises(InputError, match="'collections' are read from ROOT trees and parquet"):
        read_events("deep.npz", folder=tmp_path, collections=BOTH)
    with pytest.raises(InputError, match="no branch 'Electron_pt', nor 'Electron_Px'"):
        read_events("good.parquet", folder=tmp_path, collections=BOTH)


TABLE = make_events({"x": [1.0, 2.0, 3.0], "f": [11, 13, 15], "Muon_pt[0]": [5.0, 6.0, np.nan]})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x > 1 and not f == 15", [False, True, False]),
        ("(x > 1) & ~(f == 15) | (x < 0)", [False, True, False]),
        ("1 < x <= 3", [False, True, True]),
        ("sqrt(x**2) == abs(-x)", [True, True, True]),
        ("`Muon_pt[0]` > 5.5", [False, True, False]),
        ("max(x, 2) / 0 > 5", [True, True, True]),
        ("min(x, f, 2) == 2", [False, True, True]),
        ("max(x, 0, f / 10) == x", [False, True, True]),
        ("abs(hypot(x, 2, 1) - sqrt(x**2 + 5)) < 1e-12", [True, True, True]),
        ("(x > 0) + (x > 1) + (x > 2) >= 2", [False, True, True]),
        ("-(x > 1) < 0", [False, True, True]),
        ("(x > 1) == (f > 14)", [True, False, True]),
        ("True", None),
    ],
)
def test_expressions(expression, expected):
    if expected is None:
        with pytest.raises(InputError, match="gives numbers, expected true or false"):
            evaluate_mask(expression, TABLE)
    else:
        assert evaluate_mask(expression, TABLE).tolist() == expected


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "x.__class__", "(lambda: 1)()", "x[0]", "'text'",
        "[y for y in x]", "open('f')", "x if f else x", "sqrt(x, out=x)", "x := 3", "x +", "f'{x}'",
        "(" * 3000, "x" * 3000,
    ],
)  # fmt: skip
def test_nothing_but_arithmetic_is_evaluated(expression):
    with pytest.raises(InputError, match=r"not allowed|cannot be parsed|characters, expected"):
        evaluate(expression, TABLE)


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("f == 13 or 11", "11"),
        ("x > 1 & f < 12", "1"),
        ("x and f == 13", "x"),
        ("not `Muon_pt[0]`", "`Muon_pt[0]`"),
        ("~f", "f"),
        ("(x > 1) | f", "f"),
    ],
)
def test_a_number_is_no_condition(expression, number):
    """In Python each of these is true for every event, or groups other terms than it seems to."""
    message = re.escape(f"'{number}' is a number where a condition is expected; compare it")
    with pytest.raises(InputError, match=message):
        evaluate(expression, TABLE)


@pytest.mark.parametrize(
    ("expression", "takes"),
    [
        ("abs(x, f) > 1", "has 2 arguments, but abs takes one"),
        ("min(x) > 1", "has 1 arguments, but min takes two arguments or more"),
        ("hypot() > 1", "has 0 arguments, but hypot takes two"),
    ],
)
def test_functions_take_their_arguments_and_write_to_none(expression, takes):
    before = TABLE["f"].copy()
    with pytest.raises(InputError, match=takes):
        evaluate(expression, TABLE)
    evaluate("min(x, 2, f)", TABLE)
    assert np.array_equal(TABLE["f"], before)


@pytest.mark.parametrize(
    "expression",
    ["`x > 1", "x > 1" + "0" * 400, "-" * 1900 + "x", "+".join(["x"] * 990), "x" + "**1" * 600],
)
def test_expressions_beyond_the_machine_are_refused(expression):
    with pytest.raises(InputError, match=r"cannot be parsed|too deeply|too large"):
        evaluate(expression, TABLE)


def test_the_columns_of_an_expression():
    assert column_names("abs(`len(J)` - y) > min(x, 3) and `J[0]` > x") == [
        "J[0]",
        "len(J)",
        "x",
        "y",
    ]


def test_only_the_columns_asked_for_must_be_numbers(tmp_path):
    """A table may hold names, empty cells and lists beside what an analysis needs."""
    extra = {
        "name": ["a", "b", "c"], "holes": pa.array([1.0, None, 2.0]), "many": [[1.0], [], [2.0]],
    }  # fmt: skip
    pa.parquet.write_table(pa.table({**COLUMNS, **extra}), tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", name=np.array([None, "b"], dtype=object), **COLUMNS)
    for address in ("t.parquet", "t.npz"):
        table = read_events(address, folder=tmp_path, columns=["mass"])
        assert table["mass"].tolist() == COLUMNS["mass"]
        with pytest.raises(InputError, match=r"no number|cannot be read"):
            read_events(address, folder=tmp_path, columns=["name"])


def test_jagged_branches_are_addressed_by_element(tmp_path):
    with uproot.recreate(tmp_path / "t.root") as file:
        file["t"] = {"x": np.arange(3.0), "J": ak.Array([[5.0, 6.0], [], [7.0]])}
    table = read_events("t.root:t", folder=tmp_path, columns=["J[0]", "len(J)", "x"])
    assert table["len(J)"].tolist() == [2, 0, 1]
    assert np.array_equal(table["J[0]"], [5.0, np.nan, 7.0], equal_nan=True)
    for column, message in (
        ("J", r"'J' has several numbers per event; write 'J\[0\]'"),
        ("x[0]", "'x' has one number per event; write 'x'"),
        ("y", "no branch 'y'; it has: J"),
    ):
        with pytest.raises(InputError, match=message):
            read_events("t.root:t", folder=tmp_path, columns=[column])


def test_wrong_arguments_and_columns_are_refused():
    with pytest.raises(InputError, match="no column 'pt'; it has: Muon_pt"):
        evaluate("pt > 3", TABLE)
    with pytest.raises(InputError, match=r"expression 'sqrt\(\)'"):
        evaluate("sqrt()", TABLE)


def test_the_split_is_disjoint_and_exhaustive():
    split = split_events(TABLE, "f == 13", "f != 13")
    assert np.all(split.tested ^ split.partner)
    with pytest.raises(InputError, match=r"2 of 3 events are in both samples \(first: row 1\)"):
        split_events(TABLE, "f > 10", "f > 12")
    with pytest.raises(InputError, match=r"1 of 3 events are in neither sample \(first: row 2\)"):
        split_events(TABLE, "f == 13", "f == 11")


def test_one_event_with_two_pairs_of_leptons_is_refused():
    table = make_events({"run": [1, 1, 1], "event": [7, 8, 7], "f": [11, 11, 13]})
    with pytest.raises(
        InputError, match=r"1 events \(run, event\) are in both samples \(first: row 0"
    ):
        split_events(table, "f == 13", "f == 11", identifier=["run", "event"])


def test_an_event_listed_twice_in_one_sample_is_refused():
    table = make_events({"event": [7, 8, 7], "f": [11, 13, 11]})
    with pytest.raises(InputError, match=r"1 events \(event\) are listed more than once in one s"):
        split_events(table, "f == 13", "f == 11", identifier=["event"])


@pytest.mark.parametrize("rule", RULES)
def test_common_rules_exclude_each_other(rule):
    rng = np.random.default_rng(2)
    codes = rng.choice([11, 13, 15], size=(2, 200))
    table = make_events(
        {
            "l1_flavour": codes[0], "l2_flavour": codes[1],
            "l1_charge": rng.choice([-1, 1], 200), "l1_eta": rng.normal(size=200),
        }
    )  # fmt: skip
    tested, partner = (evaluate_mask(r, table) for r in RULES[rule])
    assert not np.any(tested & partner)
    assert tested.any()
    assert partner.any()


def test_the_documented_selections_are_the_rules():
    text = (Path(__file__).parents[1] / "docs/analysis_file.md").read_text(encoding="utf-8")
    for tested, partner in RULES.values():
        assert f"| `{tested}` | `{partner}` |" in text
