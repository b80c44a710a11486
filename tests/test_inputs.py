"""The same content through every format, and through the Python API, is the same histogram."""

import json

import hist
import numpy as np
import pytest
import uhi.io.json
import uproot
from others_data import OTHERS, needs

from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis, describe_bin, make_histogram
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace

AXES = [
    hist.axis.Variable([30, 35, 45, 60], name="mass", label="mass [GeV]"),
    hist.axis.Regular(2, 0, 1, name="eta", label="eta"),
    hist.axis.Regular(4, 10, 50, name="pt", label="pt [GeV]"),
]
EDGES = [(30.0, 35.0, 45.0, 60.0), (0.0, 0.5, 1.0), (10.0, 20.0, 30.0, 40.0, 50.0)]
UNITS = ["GeV", "", "GeV"]
FORMATS = ["root", "directory.root", "json", "mapping.json", "npz", "csv"]
CABINETRY = OTHERS / "cabinetry_tutorial/inputs/histograms.root"


def make_hist(n_axes):
    """A histogram in which every bin differs, so that a wrong order shows."""
    h = hist.Hist(*AXES[:n_axes], storage=hist.storage.Weight())
    shape = h.values().shape
    h.values()[...] = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    h.variances()[...] = 2 * h.values()
    return h


def write(folder, kind, h):
    """Write a histogram, and return its address."""
    names = [axis.name for axis in h.axes]
    path = folder / f"h.{kind}"
    if kind.endswith("root"):
        path = folder / "h.root"
        name = "dir/sub/h" if "directory" in kind else "h"
        with uproot.recreate(path) as file:
            file[name] = h
        return f"{path}:{name}"
    if kind.endswith("json"):
        data = json.loads(json.dumps(h, default=uhi.io.json.default))
        several = kind == "mapping.json"
        path.write_text(json.dumps({"other": data, "h": data} if several else data))
        return f"{path}:h" if several else str(path)
    if kind == "npz":
        np.savez(
            path,
            h=h.values(),
            h_variances=h.variances(),
            axis_names=np.array(names),
            axis_units=np.array(UNITS[: len(names)]),
            **{f"edges_{i}": axis.edges for i, axis in enumerate(h.axes)},
        )
        return f"{path}:h"
    heads = [f"{n} [{u}]" if u else n for n, u in zip(names, UNITS, strict=False)]
    lines = [",".join([f"{head}_{end}" for head in heads for end in ("low", "high")] + ["h"])]
    for index in np.ndindex(h.values().shape):
        edges = [a.edges[i + k] for a, i in zip(h.axes, index, strict=True) for k in (0, 1)]
        lines.append(",".join(map(str, [*edges, h.values()[index]])))
    lines[1:] = lines[:0:-1]  # rows in any order
    path.write_text("# a comment\n" + "\n".join(lines) + "\n")
    return f"{path}:h"


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_histogram(tmp_path, kind, n_axes):
    h = make_hist(n_axes)
    address = write(tmp_path, kind, h)
    got = read_histogram(address)
    np.testing.assert_array_equal(got.values, h.values())
    assert got.values.dtype == np.float64
    assert [axis.name for axis in got.axes] == ["mass", "eta", "pt"][:n_axes]
    assert [axis.unit for axis in got.axes] == UNITS[:n_axes]
    assert [axis.edges for axis in got.axes] == EDGES[:n_axes]
    assert got.flow == 0.0
    assert got.source == address
    if kind != "csv":  # which has no place for them
        np.testing.assert_array_equal(got.variances, 2 * h.values())


@pytest.mark.parametrize("kind", ["root", "json", "npz", "csv"])
def test_flattening_is_c_order_last_axis_fastest(tmp_path, kind):
    got = read_histogram(write(tmp_path, kind, make_hist(3)))
    mass, eta, pt = 2, 1, 3
    assert got.flat[mass * 2 * 4 + eta * 4 + pt] == got.values[mass, eta, pt]
    np.testing.assert_array_equal(got.flat.reshape(got.shape), got.values)
    place = "mass 45 to 60 GeV, eta 0.5 to 1, pt 40 to 50 GeV"
    assert describe_bin(got.axes, 23) == f"bin 23 ({place})"


def test_single_histogram_needs_no_name(tmp_path):
    h = make_hist(2)
    for kind in ("root", "json", "npz", "csv"):
        got = read_histogram(write(tmp_path, kind, h).removesuffix(":h"))
        np.testing.assert_array_equal(got.values, h.values())
        assert (got.variances is None) == (kind == "csv")


def test_root_axis_title_gives_name_label_and_unit(tmp_path):
    axis = hist.axis.Regular(2, 0, 1, name="x", label="Collinear mass [TeV]")
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = hist.Hist(axis, data=np.array([1.0, 2.0]))
    got = read_histogram("h.root:h", folder=tmp_path).axes[0]
    assert (got.name, got.label, got.unit) == ("collinear_mass", "Collinear mass", "TeV")
    assert got.title == "Collinear mass [TeV]"


@pytest.mark.parametrize("kind", ["root", "json"])
def test_flow_content_is_left_out_and_kept_account_of(tmp_path, kind):
    h = hist.Hist(AXES[0], storage=hist.storage.Double())
    h.fill([10.0, 31.0, 31.0, 99.0, 99.0])
    got = read_histogram(write(tmp_path, kind, h))
    np.testing.assert_array_equal(got.values, [2.0, 0.0, 0.0])
    assert got.flow == 3.0


def test_builder_says_where_events_were_lost():
    axis = hist.axis.Regular(2, 0, 2, name="x")
    observed = hist.Hist(axis).fill([0.5] * 40 + [1.5] * 50 + [7.0] * 3)
    pair = Pair(
        Channel("mue", observed, signal=Template([2.0, 8.0])),
        Channel("emu", np.array([38.0, 52.0])),
    )
    warnings = build_workspace(pair).warnings
    assert warnings == (
        "channel 'SR_mue', observed: 3 events lie under or over the axes and are left out; widen "
        "the outer bins if they belong to the search",
    )


def test_flow_that_is_no_number_is_not_hidden():
    h = hist.Hist(AXES[0])
    h.view(flow=True)[-1] = np.nan
    assert np.isnan(make_histogram(h).flow)


def test_python_api_takes_histograms_and_arrays():
    h = make_hist(2)
    from_hist = make_histogram(h)
    axes = [Axis("mass", EDGES[0], "mass", "GeV"), Axis("eta", EDGES[1], "eta")]
    from_array = make_histogram(h.values().tolist(), axes=axes)
    np.testing.assert_array_equal(from_hist.values, from_array.values)
    assert from_hist.axes == from_array.axes
    assert make_histogram(from_hist) is from_hist
    flat = h.values().ravel()
    pair = Pair(Channel("a", h, signal=Template(flat)), Channel("b", flat.reshape(3, 2)))
    assert pair.binning == from_hist.axes
    np.testing.assert_array_equal(pair.histogram(flat).values, h.values())


def test_a_record_does_not_alias_the_callers_array():
    array = np.array([1.0, 2.0])
    record = make_histogram(array)
    array[0] = 99.0
    assert record.values[0] == 1.0


@pytest.mark.parametrize(
    ("data", "axes", "message"),
    [
        (["a", "b"], None, "contents are not numbers"),
        ([[1.0], [1.0, 2.0]], None, "contents are not numbers"),
        (3.0, None, "has no bins"),
        ([], None, "has no bins"),
        ([1.0, 2.0], [Axis("x", (0.0, 1.0))], r"contents have shape \(2,\), the axes \(1,\)"),
    ],
)
def test_arrays_that_are_no_histogram(data, axes, message):
    with pytest.raises(InputError, match=message):
        make_histogram(data, axes=axes)
    with pytest.raises(InputError, match=f"tested sample 'a', observed: .*{message}"):
        Pair(Channel("a", data), Channel("b", [1.0]), axes=axes)


def npz(folder, **arrays):
    np.savez(folder / "h.npz", **arrays)
    return "h.npz:h"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"h": np.array(["a"])}, "contents are not numbers"),
        ({"h": np.ones(2)}, "has no 'edges_0' for axis 0"),
        ({"h": np.ones(2), "edges_0": np.array(["a"])}, "'edges_0' is not a list of numbers"),
        ({"h": np.ones(2), "edges_0": np.ones((3, 1))}, "'edges_0' is not a list of numbers"),
        ({"h": np.ones(2), "edges_0": np.arange(2)}, r"shape \(2,\), the axes \(1,\)"),
        ({"h": np.ones(2), "edges_0": np.array([0, 2, 1])}, "edges of axis 'axis_0' do not incr"),
        ({"h": np.ones(2), "edges_0": np.array([0, 1, np.nan])}, "'axis_0' do not increase"),
        (
            {"h": np.ones(2), "h_variances": np.ones(3), "edges_0": np.arange(3)},
            r"variances have shape \(3,\)",
        ),
        ({"h": np.array([1, None])}, "cannot be read as npz"),
    ],
)
def test_npz_that_is_no_histogram(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        read_histogram(npz(tmp_path, **arrays), folder=tmp_path)


@pytest.mark.parametrize("kind", ["root", "json", "npz", "csv"])
def test_truncated_files_are_input_errors(tmp_path, kind):
    h = make_hist(2)
    address = write(tmp_path, kind, h)
    path = tmp_path / f"h.{kind}"
    content = path.read_bytes()
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        if kind == "root" and share >= 0.3:  # only class descriptions at the end are lost
            np.testing.assert_array_equal(read_histogram(address).values, h.values())
            continue
        with pytest.raises(InputError, match=f"h\\.{kind}"):
            read_histogram(address)


def test_address_of_impossible_length():
    with pytest.raises(InputError, match="no file"):
        read_histogram("x" * 5000 + ".csv:h")


@needs("cabinetry_tutorial/inputs/histograms.root")
def test_cabinetry_tutorial_histograms():
    with uproot.open(CABINETRY) as file:
        names = [n for n, c in file.classnames(cycle=False).items() if c.startswith("TH1")]
        assert names
        for name in names:
            values, edges = file[name].to_numpy()
            got = read_histogram(f"{CABINETRY}:{name}")
            np.testing.assert_array_equal(got.flat, values)
            np.testing.assert_array_equal(got.axes[0].edges, edges)


HEPDATA = """#: name: Table 1
#: data_file: table1.yaml
#: SQRT(S) [GEV],,,8000.0,8000.0
"M [GEV]","M [GEV] LOW","M [GEV] HIGH","B","stat +","stat -","sys,lumi +","sys,lumi -","A"
35,30,40,100,10,-10,1,-2,99
45,40,50,110,11,-11,1,-2,108
55,50,60,90,9,-9,1,-2,93
"""

BLOCKS = """#: name: Table 9
#: EVENTS [GEV];;25
'ETMISS IN GEV LOW';'ETMISS IN GEV HIGH';'Data'
200.0;225.0;0.0
225.0;250.0;6.0

#: EVENTS [GEV];;25
'ETMISS IN GEV LOW';'ETMISS IN GEV HIGH';'Background, all';'error +';'error -'
200.0;225.0;0.5;0.2;-0.2
225.0;250.0;0.95;0.41;-0.41

"""


@pytest.mark.parametrize(
    ("text", "axis", "contents"),
    [
        (
            HEPDATA,
            Axis("M", (30.0, 40.0, 50.0, 60.0), "M", "GeV"),
            {"B": [100, 110, 90], "A": [99, 108, 93], "B stat": [10, 11, 9],
             "B sys,lumi -": [-2, -2, -2]},
        ),
        (
            BLOCKS,
            Axis("ETMISS", (200.0, 225.0, 250.0), "ETMISS", "GeV"),
            {"Data": [0, 6], "Background, all": [0.5, 0.95],
             "Background, all error": [0.2, 0.41]},
        ),
    ],
)  # fmt: skip
def test_hepdata_csv(tmp_path, text, axis, contents):
    """Centres beside the edges, errors after their column, and blocks as its converter writes."""
    (tmp_path / "t.csv").write_text(text)
    for name, values in contents.items():
        got = read_histogram(f"t.csv:{name}", folder=tmp_path)
        assert got.flat.tolist() == values
        assert got.axes == (axis,)


def test_errors_of_hepdata_must_be_declared(tmp_path):
    (tmp_path / "t.csv").write_text(HEPDATA)
    signal = read_histogram("t.csv:B", folder=tmp_path)
    data = read_histogram("t.csv:A", folder=tmp_path)
    pair = Pair(Channel("b", data, signal=Template(signal)), Channel("a", data))
    assert build_workspace(pair).warnings == (
        "channel 'SR_b', sample 'signal' (t.csv:B): its errors 'B stat', 'B sys,lumi' are not "
        "used; name one in 'error', or write 'error: none'",
    )
    for error in ("none", read_histogram("t.csv:B stat", folder=tmp_path)):
        pair = Pair(Channel("b", data, signal=Template(signal, error=error)), Channel("a", data))
        assert build_workspace(pair).warnings == ()


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (HEPDATA, "B sys,lumi", r"row 1: errors \+1 and -2 differ; name one of the columns"),
        (HEPDATA, "C", "no histogram 'C'; the file has: A, B$"),
        (HEPDATA.replace('A"\n', 'B"\n'), "B", "column 'B' appears 2 times"),
        (HEPDATA.replace("50,60", "50,-"), "A", "got '-', expected a number"),
        (BLOCKS.replace("200.0;225.0;0.5", "210.0;225.0;0.5"), "Data", "have different bins"),
        (BLOCKS.replace("Background, all", "Data"), "Data", "column 'Data' appears 2 times"),
        ("#: name: x\n'','A'\n'ttbar',0.5\n", "A", "expected a header with"),
    ],
)
def test_hepdata_csv_that_is_no_histogram(tmp_path, text, name, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_histogram(f"t.csv:{name}", folder=tmp_path)


def test_edges_of_a_table_that_differ_in_the_last_bit(tmp_path):
    lows = [0.1 * i for i in range(6)]
    highs = [float(np.nextafter(0.1 * (i + 1), 1.0)) for i in range(6)]
    assert lows[1:] != highs[:-1]
    rows = [f"{a!r},{b!r},{i}" for i, (a, b) in enumerate(zip(lows, highs, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(["x_low,x_high,h", *rows]))
    got = read_histogram("t.csv:h", folder=tmp_path)
    assert got.flat.tolist() == list(range(6))
    assert got.axes[0].same_edges(Axis("x", tuple(np.linspace(0, 0.6, 7))))


def test_cycles_and_folders_of_a_root_file(tmp_path):
    path = tmp_path / "h.ROOT"
    with uproot.recreate(path) as file:
        file["dir/B"] = hist.Hist(AXES[0], data=np.array([1.0, 2.0, 3.0]))
    with uproot.update(path) as file:
        file["dir/B"] = hist.Hist(AXES[0], data=np.array([4.0, 5.0, 6.0]))
        file["t"] = {"x": np.arange(3.0)}
    for name, first in (("dir/B", 4), ("/dir/B", 4), ("dir/B;2", 4), ("/dir/B;1", 1)):
        assert read_histogram(f"h.ROOT:{name}", folder=tmp_path).flat[0] == first
    for name, message in (
        ("dir/B;3", "no cycle 3 of 'dir/B'; it has: 1, 2"),
        ("B", "no histogram 'B'; the file has: dir/B"),
        ("dir", r"'dir' is a TDirectory \(a folder\), not a histogram of events"),
        ("t", r"'t' is a \S+ \(of events: give 'events'\), not a histogram"),
    ):
        with pytest.raises(InputError, match=message):
            read_histogram(f"h.ROOT:{name}", folder=tmp_path)


def test_a_profile_is_called_one(tmp_path):
    """Also in UHI JSON: its means are no events."""
    data = json.loads(
        json.dumps(hist.Hist(AXES[0], storage=hist.storage.Mean()), default=uhi.io.json.default)
    )
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"p.json: is a profile \(a mean per bin\)"):
        read_histogram("p.json", folder=tmp_path)


def uhi_json(path, h, edit=None):
    data = json.loads(json.dumps(h, default=uhi.io.json.default))
    if edit is not None:
        edit(data)
    path.write_text(json.dumps(data))
    return data


def test_uhi_json_of_other_forms(tmp_path):
    """Sparse storage, mappings in mappings, and axes sent without their contents."""
    h = hist.Hist(AXES[0], data=np.array([0.0, 2.0, 0.0]))
    data = uhi_json(tmp_path / "h.json", h)
    (tmp_path / "inner.json").write_text(json.dumps({"sub": {"h": data, "other": data}}))
    assert read_histogram("inner.json:sub/h", folder=tmp_path).flat.tolist() == [0, 2, 0]
    with pytest.raises(InputError, match="the file has: sub/h, sub/other"):
        read_histogram("inner.json:h", folder=tmp_path)
    if hasattr(uhi.io, "to_sparse"):
        sparse = json.dumps(uhi.io.to_sparse(h._to_uhi_()), default=uhi.io.json.default)
        (tmp_path / "s.json").write_text(sparse)
        assert read_histogram("s.json", folder=tmp_path).flat.tolist() == [0, 2, 0]
    uhi_json(tmp_path / "empty.json", h, lambda d: d["storage"].pop("values"))
    with pytest.raises(InputError, match=r"empty.json: holds axes without contents"):
        read_histogram("empty.json", folder=tmp_path)


def test_edges_at_infinity_are_flow_bins(tmp_path):
    (tmp_path / "t.csv").write_text("x_low,x_high,h\n0,1,3\n1,inf,4\n")
    with pytest.raises(InputError, match="row 2: axis 'x' from 1 to inf; under- and overflow are"):
        read_histogram("t.csv:h", folder=tmp_path)


def test_arrays_of_other_byte_order(tmp_path):
    np.savez(tmp_path / "h.npz", h=np.array([1, 2], ">f4"), h_variances=np.array([1, 4], ">f8"),
             edges_0=np.array([0, 1, 2], ">i4"))  # fmt: skip
    got = read_histogram("h.npz:h", folder=tmp_path)
    assert (got.flat.tolist(), got.variances.tolist()) == ([1.0, 2.0], [1.0, 4.0])
