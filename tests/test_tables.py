"""Event tables as they are stored: paths of branches, 64-bit numbers, several files."""

import awkward as ak
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import uproot
from others_data import OTHERS, needs

from ddphf.exceptions import InputError
from ddphf.inputs.branches import Branches
from ddphf.inputs.events import make_events, read_events
from ddphf.symmetry.expressions import evaluate, evaluate_mask
from ddphf.symmetry.split import split_events

STRUCTS = "../cases/inputs/e1_same_leaf/uproot-issue-513.root"

HUGE = 2**63
IDS = np.arange(6, dtype=np.uint64) + np.uint64(HUGE)


def branches(*paths):
    return Branches(paths, lambda path: ak.Array([float(paths.index(path))]), "t")


PATHS = ("a/time", "b/time", "b/mom", "jet/jet.pt", "Muon.pt", "time", "evt./id", "x/y/z", "y/z")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/time", "a/time"), ("a.time", "a/time"), ("mom", "b/mom"), ("jet.pt", "jet/jet.pt"),
        ("Muon/pt", "Muon.pt"), ("time", "time"), ("evt.id", "evt./id"), ("x/y/z", "x/y/z"),
        ("y/z", "y/z"), ("id", "evt./id"), ("none", None), ("ime", None),
    ],
)  # fmt: skip
def test_names_of_branches(name, path):
    """A full path is exact, also where it ends another one."""
    assert branches(*PATHS).resolve(name) == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pt", "'pt' is the name of 2 branches; write one of jet/jet.pt, Muon.pt"),
        ("z", "'z' is the name of 2 branches; write one of x/y/z, y/z"),
        ("b", "'b' holds several branches; write one of b/mom, b/time"),
        ("q", "no branch 'q'; it has: Muon.pt, a/time"),
        ("u/v", "'u/v' is the full path of 2 branches, which nothing tells apart"),
        ("v", "'u/v' is the full path of 2 branches, which nothing tells apart"),
    ],
)
def test_ambiguous_names_are_refused_with_the_paths(name, message):
    with pytest.raises(InputError, match=message):
        branches(*PATHS, "u/v", "u/v").read(name)


def test_elements_that_are_no_numbers_are_refused(tmp_path):
    nested = ak.Array([[[1.0], [2.0, 3.0]], [[4.0]]])
    records = ak.Array([[{"a": 1.0, "b": 2}], []])
    tree = Branches(["n", "r"], {"n": nested, "r": records}.__getitem__, "t")
    for name in ("n[0]", "r[0]"):
        with pytest.raises(InputError, match=r"holds several numbers per event; name one of them"):
            tree.column(name)


@hypothesis.given(
    st.lists(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join),
        min_size=1, max_size=8, unique=True,
    )
)  # fmt: skip
def test_every_full_path_is_its_own_name(paths):
    for path in paths:
        assert branches(*paths).resolve(path) == path


@pytest.mark.parametrize("write", ["rntuple", "ttree"])
def test_leaves_elements_and_structs_of_a_file(tmp_path, write):
    struct = ak.zip({"pt": [1.0, 2.0], "q": [3, 4]})
    jagged = ak.Array([[{"pt": 1.0}, {"pt": 7.0}], [{"pt": 2.0}]])
    flags = {"x": np.array([[1, 2], [3, 4]]), "flag": np.array([True, False])}
    with uproot.recreate(tmp_path / "t.root") as file:
        if write == "rntuple":
            file["t"] = {"e": struct, "Electron": jagged, **flags}
        else:
            file.mktree("t", {"Electron": "var * {pt: float64}", "x": ("i8", (2,)), "flag": "bool"})
            file["t"].extend({"Electron": jagged, **flags})
    join = "." if write == "rntuple" else "_"
    names = [f"Electron{join}pt[0]", f"Electron{join}pt[1]", f"len(Electron{join}pt)", "x[1]"]
    table = read_events("t.root:/t;1", folder=tmp_path, columns=[*names, "flag"])
    assert [table[name].tolist() for name in (names[0], names[2], "x[1]")] == [
        [1.0, 2.0], [2, 1], [2, 4]
    ]  # fmt: skip
    assert np.array_equal(table[names[1]], [7.0, np.nan], equal_nan=True)
    assert evaluate_mask(f"flag and `{names[0]}` > 0", table).tolist() == [True, False]
    if write == "rntuple":
        assert read_events("t.root", folder=tmp_path, columns=["q", "e/pt"])["q"].tolist() == [3, 4]
        with pytest.raises(InputError, match="'pt' is the name of 2 branches"):
            read_events("t.root", folder=tmp_path, columns=["pt"])
        with pytest.raises(InputError, match=r"branch 'e' holds several, pt, q; write 'e/pt'"):
            read_events("t.root", folder=tmp_path, columns=["e"])


@needs(STRUCTS)
def test_structs_written_as_one_branch():
    tree, names = (
        f"{OTHERS / STRUCTS}:TrkAnaNeg/trkana",
        ["demcent/_time", "de/status", "evtinfo.eventid"],
    )
    table = read_events(tree, columns=names)
    edges = [0, 500, 600, 700, 900, 1400, 4000]
    assert np.histogram(table["demcent/_time"], edges)[0].tolist() == [2, 15, 9, 15, 28, 32]
    with uproot.open(OTHERS / STRUCTS) as file:
        branch = file["TrkAnaNeg/trkana"]
        assert table["de/status"].tolist() == branch["de"].array()["status"].tolist()
        assert table["evtinfo.eventid"].tolist() == branch["evtinfo."].array()["eventid"].tolist()
    message = "'_time' is the name of 5 branches; write one of demcent/_time, demcmid/_time"
    with pytest.raises(InputError, match=message):
        read_events(tree, columns=["_time"])


def write_ids(path, ids):
    columns = {"event": ids, "x": np.linspace(0, 1, len(ids))}
    if path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(columns), path)
    else:
        with uproot.recreate(path) as file:
            file["t"] = columns
    return path.name


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".root"])
@pytest.mark.parametrize("ids", [IDS, np.arange(6) - 2**62, np.arange(6) + 2**53])
def test_numbers_of_events_stay_integers(tmp_path, suffix, ids):
    """As floats they were equal: events of one sample seemed to be in both."""
    table = read_events(write_ids(tmp_path / f"t{suffix}", ids), folder=tmp_path)
    assert table["event"].dtype == ids.dtype
    assert np.array_equal(table["event"], ids)
    assert table["x"].dtype == np.float64
    assert evaluate("event % 2", table).tolist() == (ids % 2).tolist()
    split = split_events(table, "event % 2 == 0", "event % 2 == 1", identifier=["event", "x"])
    assert split.tested.tolist() == (ids % 2 == 0).tolist()
    if ids.min() > 0:
        assert evaluate_mask(f"event == {ids[3]}", table).tolist() == (ids == ids[3]).tolist()
        assert evaluate_mask(f"event > {ids[3]}", table).sum() == 2
    twice = make_events({"event": np.append(ids, ids[4]), "x": np.zeros(7)})
    with pytest.raises(InputError, match=r"1 events \(event\) are listed more than once"):
        split_events(twice, "x < 1", "x > 1", identifier=["event"])


def test_small_integers_are_floats_as_ever():
    table = make_events({"n": np.array([1, 2], np.uint8), "f": np.array([True, False])})
    assert table["n"].dtype == np.float64
    assert evaluate("n - 3", table).tolist() == [-2.0, -1.0]  # unsigned integers would wrap
    assert evaluate("f + 1", table).tolist() == [2.0, 1.0]
    assert evaluate("-(f) + n", table).tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([1e17, 2e17]), "lost digits"),
        (np.array([1.0, np.nan]), "'event' is nan in row 1"),
    ],
)
def test_numbers_of_events_that_are_no_integers_are_refused(ids, message):
    with pytest.raises(InputError, match=message):
        split_events(make_events({"event": ids, "x": [0, 1]}), "x < 1", "x > 0",
                     identifier=["event"])  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        [HUGE, None], [HUGE, 1.5], [HUGE, np.nan], np.array([HUGE, None], dtype=object),
        [np.datetime64("2020-01-01"), np.datetime64("2021-01-01")], [1j, 2.0],
    ],
)  # fmt: skip
def test_what_no_column_of_numbers_can_hold_is_refused(column):
    with pytest.raises(InputError, match="column 'event' holds something that is no number"):
        make_events({"event": column})
    assert np.isnan(make_events({"x": [1.0, None]})["x"][1])
    for ids in ([HUGE, HUGE + 1], [HUGE + 1, 5], [-(2**62) - 1, 5], [2**60 + 1, 0]):
        assert make_events({"event": ids})["event"].tolist() == ids


def test_empty_cells_of_a_column_of_integers_are_refused(tmp_path):
    """Arrow makes floats of integers beside null."""
    table = pa.table({"event": pa.array([HUGE, None], pa.uint64()), "x": [1.0, 2.0]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'event' has empty cells"):
        read_events("t.parquet", folder=tmp_path)
    assert read_events("t.parquet", folder=tmp_path, columns=["x"])["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".root"])
def test_lists_and_patterns_of_files(tmp_path, suffix):
    (tmp_path / "sub").mkdir()
    for number, part in enumerate((IDS[:2], IDS[2:5], IDS[5:])):
        write_ids(tmp_path / f"sub/run{number}{suffix}", part)
    names = [f"sub/run{number}{suffix}" for number in range(3)]
    tree = ":t" if suffix == ".root" else ""
    for address in (f"sub/*{suffix}{tree}", f"**/run?{suffix}", [n + tree for n in names],
                    [names[0], f"sub/run[12]{suffix}"]):  # fmt: skip
        table = read_events(address, folder=tmp_path)
        assert table["event"].tolist() == IDS.tolist()
    assert table.source == f"{names[0]} and 2 more"
    with pytest.raises(InputError, match=r"run0.* is read twice; every event counts once"):
        read_events([names[0], f"sub/*{suffix}"], folder=tmp_path)
    with pytest.raises(InputError, match="no file matches"):
        read_events(f"other*{suffix}", folder=tmp_path)
    with pytest.raises(InputError, match=f"absent{suffix}: no file"):
        read_events([names[0], f"absent{suffix}"], folder=tmp_path)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    write_ids(tmp_path / "e[1].npz", IDS)
    assert read_events("e[1].npz", folder=tmp_path).n_events == 6


def test_columns_must_be_alike_in_all_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=[1.0], event=IDS[:1])
    np.savez(tmp_path / "b.npz", x=[2])
    np.savez(tmp_path / "c.npz", x=[2], event=[5.0])
    np.savez(tmp_path / "d.npz", x=[2], event=np.array([7], np.int64))
    assert read_events(["a.npz", "b.npz"], folder=tmp_path, columns=["x"])["x"].tolist() == [1, 2]
    with pytest.raises(InputError, match=r"b.npz: no column 'event', which the other files have"):
        read_events(["a.npz", "b.npz"], folder=tmp_path)
    with pytest.raises(InputError, match="'event' holds large integers in one file and other nu"):
        read_events(["a.npz", "c.npz"], folder=tmp_path)
    mixed = read_events(["a.npz", "d.npz"], folder=tmp_path)
    assert mixed["event"].tolist() == [HUGE, 7]


def test_a_folder_of_parquet_parts(tmp_path):
    table = pa.table({"event": IDS, "x": np.arange(6.0), "year": [2017] * 3 + [2018] * 3})
    pa.dataset.write_dataset(table, tmp_path / "plain", format="parquet", max_rows_per_file=2,
                             max_rows_per_group=2)  # fmt: skip
    (tmp_path / "plain/_SUCCESS").write_text("")
    got = read_events("plain", folder=tmp_path)
    assert sorted(got["event"].tolist()) == IDS.tolist()
    schema = pa.schema([("year", pa.int64())])
    pa.dataset.write_dataset(
        table, tmp_path / "years.parquet", format="parquet",
        partitioning=pa.dataset.partitioning(schema, flavor="hive"),
    )  # fmt: skip
    got = read_events("years.parquet", folder=tmp_path, columns=["event", "year"])
    assert got["year"][np.argsort(got["event"])].tolist() == [2017] * 3 + [2018] * 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: "):
        read_events("empty", folder=tmp_path)


@pytest.mark.parametrize(
    ("root", "python"),
    [
        ("x > 1 && f != 15", "x > 1 and f != 15"),
        ("x>1&&f==13||x==3", "x > 1 and f == 13 or x == 3"),
        ("!(x > 1)", "not (x > 1)"),
        ("!flag == flag", "(not flag) == flag"),
        ("!flag || x > 2", "(not flag) or x > 2"),
        ("fabs(-x) > 1", "abs(x) > 1"),
        ("TMath::Abs(x - 3) < TMath::Sqrt(2)", "abs(x - 3) < sqrt(2)"),
        ("std::max(x, 2.) == TMath::Max(x, 2)", "max(x, 2) == max(x, 2)"),
        ("TMath::Power(x, 2) + pow(x, 2) == 2 * x**2", "x == x"),
        ("TMath::Pi() > 3.14159 && TMath::Pi() < 3.1416", "x == x"),
        ("abs(TMath::ATan2(x, x) - TMath::Pi() / 4) < 1e-12", "x == x"),
        ("`a && !b` > 1", "`a && !b` > 1"),
        ("log10(x * 10) >= 1 && floor(x) == x", "x == x"),
    ],
)
def test_selections_written_as_for_a_tree(root, python):
    columns = {"x": [1.0, 2.0, 3.0], "f": [11, 13, 15], "a && !b": [0.0, 1.0, 2.0]}
    table = make_events({**columns, "flag": np.array([True, False, True])})
    assert evaluate_mask(root, table).tolist() == evaluate_mask(python, table).tolist()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("x > 10 < 90", "is no range; join comparisons by 'and'"),
        ("1 < x > 0", "is no range"),
        ("x == 1 != 2", "is no range"),
        ("x > 1 ? 2 : 3", "cannot be parsed; write conditions with and, or, not"),
        ("Muon_pt[0] > 3", r"not allowed; use columns \(this one in backquotes, if it is one\)"),
        ("e.pt > 3", "in backquotes"),
        ("!x", "'~?x' is a number where a condition is expected|'x' is a number"),
        ("pow(x) > 1", "has 1 arguments, but pow takes two arguments"),
        ("x ^ 2 > 1", "not allowed"),
        ("TMath::Gaus(x) > 1", "not allowed"),
    ],
)
def test_selections_that_would_mislead_are_refused(expression, message):
    with pytest.raises(InputError, match=message):
        evaluate_mask(expression, make_events({"x": [1.0, 2.0]}))


def test_parts_of_parquet_as_they_are_found(tmp_path):
    """An empty first part has no types; a single file below year=2018 has its own columns."""

    def parts(name, *tables):
        (tmp_path / name).mkdir()
        for number, columns in enumerate(tables):
            pa.parquet.write_table(pa.table(columns), tmp_path / f"{name}/{number}.parquet")
        return name

    empty = parts("empty_first", {"x": pa.nulls(0)}, {"x": [1.0, 2.0]})
    assert read_events(empty, folder=tmp_path)["x"].tolist() == [1.0, 2.0]
    parts("year=2018", {"year": [2018, 2018], "x": [1.0, 2.0]})
    single = read_events("year=2018/0.parquet", folder=tmp_path)
    assert single["year"].tolist() == [2018, 2018]
    more = parts("more", {"x": [1.0]}, {"x": [1.0], "y": [2.0]})
    assert read_events(more, folder=tmp_path, columns=["x"])["x"].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="column 'y' has empty cells"):
        read_events(more, folder=tmp_path, columns=["y"])
    unlike = parts("unlike", {"x": pa.array([2**60], pa.int64())}, {"x": [1.5]})
    with pytest.raises(InputError, match="unlike: cannot be read as parquet"):
        read_events(unlike, folder=tmp_path)


def test_encoded_and_other_columns_of_parquet(tmp_path):
    table = pa.table(
        {
            "n": pa.array([1, 2, 1]).dictionary_encode(),
            "d": pa.array([1, 2, 3], pa.decimal128(5, 1)),
            "h": pa.array([1.0, 2.0, 3.0], pa.float16()),
            "t": pa.array([1, 2, 3], pa.timestamp("ns")),
            "s": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    got = read_events("t.parquet", folder=tmp_path, columns=["n", "d", "h"])
    assert [got[c].tolist() for c in "ndh"] == [[1, 2, 1], [1, 2, 3], [1, 2, 3]]
    for column in "ts":
        with pytest.raises(InputError, match=f"column '{column}' holds something that is no num"):
            read_events("t.parquet", folder=tmp_path, columns=[column])


def test_arrays_of_other_byte_order(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.array([1, 2], ">i8"), e=np.array([HUGE, 5], ">u8"))
    table = read_events("t.npz", folder=tmp_path)
    assert table["e"].tolist() == [HUGE, 5]
    assert table["e"].dtype.isnative


def test_an_older_cycle_of_a_tree(tmp_path):
    with uproot.recreate(tmp_path / "t.root") as file:
        file["t"] = {"x": np.array([1.0])}
        file["t"] = {"x": np.array([2.0])}
    for name, first in (("t", 2.0), ("t;2", 2.0), ("t;1", 1.0), ("/t;1", 1.0)):
        assert read_events(f"t.root:{name}", folder=tmp_path)["x"].tolist() == [first]
    with pytest.raises(InputError, match=r"which tree\? write FILE:TREE; the file has: t"):
        read_events("t.root:t;7", folder=tmp_path)
