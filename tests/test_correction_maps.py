"""Maps of correctionlib: what it evaluates at a lepton is the map's value, node by node."""

import contextlib
import json
import math

import correctionlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddphf.exceptions import InputError
from ddphf.inputs.events import make_events
from ddphf.inputs.map_files import read_map
from ddphf.inputs.maps import make_map, map_covariance
from ddphf.symmetry.efficiency import LeptonColumns
from ddphf.symmetry.fakes import fakes_from_maps
from ddphf.symmetry.load_maps import factors_from_rates

INPUTS = {"pt": "real", "eta": "real", "phi": "real", "charge": "int", "year": "string"}
EDGES = [-3.0, -1.5, 0.0, 0.7, 1.0, 2.5, 20.0, 30.0, 50.0, 100.0]
FORMULAS = ["0.5+0.001*x", "0.9-0.1*abs(x)", "0.7", "x/200", "0.2*x-0.1"]


def numbers():
    return st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 0.95])


def formulas():
    return st.builds(
        lambda text, name: {
            "nodetype": "formula", "expression": text, "parser": "TFormula", "variables": [name],
        },
        st.sampled_from(FORMULAS), st.sampled_from(["pt", "eta", "phi"]),
    )  # fmt: skip


def edges():
    several = st.lists(st.sampled_from(EDGES), min_size=2, max_size=4, unique=True).map(sorted)
    uniform = st.builds(
        lambda n, low, width: {"n": n, "low": low, "high": low + width},
        st.integers(1, 4), st.sampled_from([-2.0, 0.0, 10.0]), st.sampled_from([0.3, 4.0, 90.0]),
    )  # fmt: skip
    infinite = st.tuples(st.booleans(), several, st.booleans()).map(
        lambda t: ["-inf"] * t[0] + t[1] + ["inf"] * t[2]
    )
    return st.one_of(several, uniform, infinite)


def size(points):
    return points["n"] if isinstance(points, dict) else len(points) - 1


@st.composite
def binnings(draw, content):
    names = draw(st.lists(st.sampled_from(["pt", "eta", "phi", "charge"]), min_size=1, max_size=2))
    single = len(names) == 1
    points = [draw(edges()) for _ in names]
    n = math.prod(size(p) for p in points)
    flow = draw(st.one_of(st.sampled_from(["clamp", "error", "wrap"]), content))
    if flow == "wrap" and "inf" in json.dumps(points):  # correctionlib has no answer either
        flow = "clamp"
    axes = {"input": names[0], "edges": points[0]} if single else {"inputs": names, "edges": points}
    return {
        "nodetype": "binning" if single else "multibinning", **axes, "flow": flow,
        "content": [draw(content) for _ in range(n)],
    }  # fmt: skip


@st.composite
def categories(draw, content):
    name, keys = draw(st.sampled_from([("year", ["2016", "2017"]), ("charge", [-1, 1])]))
    keys = draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    return {
        "nodetype": "category", "input": name,
        "content": [{"key": key, "value": draw(content)} for key in keys],
        "default": draw(st.one_of(st.none(), content)),
    }  # fmt: skip


@st.composite
def transforms(draw, content):
    return {
        "nodetype": "transform", "input": draw(st.sampled_from(["pt", "eta", "charge"])),
        "rule": draw(st.one_of(formulas(), content)), "content": draw(content),
    }  # fmt: skip


REFERENCE = {"nodetype": "formularef", "index": 0, "parameters": [0.4, 0.002]}
NODES = st.recursive(
    st.one_of(numbers(), formulas(), st.just(REFERENCE)),
    lambda content: st.one_of(binnings(content), categories(content), transforms(content)),
    max_leaves=8,
)


def wrap(node, *more):
    """A correction with a key for the error beside the central value."""
    one = {
        "name": "id", "version": 1, "output": {"name": "w", "type": "real"}, "data": node,
        "inputs": [{"name": n, "type": t} for n, t in INPUTS.items()],
        "generic_formulas": [
            {
                "nodetype": "formula", "expression": "[0]+[1]*x", "parser": "TFormula",
                "variables": ["pt"],
            }
        ],
    }  # fmt: skip
    return {"schema_version": 2, "corrections": [one, *more]}


def leptons(rng, n):
    """Inside, outside, and on the edges."""
    columns = {
        "pt": rng.choice([*EDGES, 10.0, 100.0 - 1e-12], n)
        + rng.choice([0, 1.0, 20.0], n) * rng.random(n),
        "eta": rng.uniform(-4, 4, n), "phi": rng.uniform(-7, 7, n),
        "charge": rng.choice([-2.0, -1.0, 0.0, 1.0], n),
    }  # fmt: skip
    columns["eta"][: n // 4] = rng.choice(EDGES, n // 4)
    return columns


def evaluate(correction, columns, year):
    """What correctionlib says, lepton by lepton; NaN where it refuses."""
    out = np.full(len(columns["pt"]), np.nan)
    for row in range(len(out)):
        point = [columns[n][row] for n in ("pt", "eta", "phi")]
        try:
            out[row] = correction.evaluate(*map(float, point), int(columns["charge"][row]), year)
        except (RuntimeError, IndexError, ValueError):
            continue
    return out


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(node=NODES, seed=st.integers(0, 99), year=st.sampled_from(["2016", "2018"]))
def test_any_correction_gives_what_correctionlib_evaluates(tmp_path, node, seed, year):
    text = json.dumps(wrap(node))
    (tmp_path / "map.json").write_text(text)
    columns = leptons(np.random.default_rng(seed), 60)
    expected = evaluate(correctionlib.CorrectionSet.from_string(text)["id"], columns, year)
    options = {"kind": "fake_factor", "correction": "id", "inputs": {"year": year}}
    if '"year"' in json.dumps(node) and np.all(np.isnan(expected)):
        with contextlib.suppress(InputError):  # the year is fixed: a missing key is found at once
            found = read_map("map.json", name="m", folder=tmp_path, **options)
            assert np.all(found.locate(**columns) < 0)
        return
    found = read_map("map.json", name="m", folder=tmp_path, **options)
    keep = np.isnan(expected) | (np.isfinite(expected) & (expected >= 0))
    columns, expected = {name: c[keep] for name, c in columns.items()}, expected[keep]
    seen = found.look_up(columns)
    assert np.array_equal(seen.cells < 0, np.isnan(expected))
    inside = seen.cells >= 0
    assert np.array_equal(seen.values[inside], expected[inside])
    if not found.varies:  # then the value belongs to the leaf
        assert np.array_equal(found.values[seen.cells[inside]], expected[inside])


def test_a_year_without_a_key_is_refused_unless_something_else_decides(tmp_path):
    category = {
        "nodetype": "category", "input": "year", "content": [{"key": "2017", "value": 0.9}],
        "default": None,
    }  # fmt: skip
    for default in (None, 0.7):
        (tmp_path / "map.json").write_text(json.dumps(wrap({**category, "default": default})))
        read = {"name": "m", "kind": "efficiency", "folder": tmp_path, "correction": "id"}
        if default is None:
            with pytest.raises(InputError, match=r"input 'year' has no '2018', only: 2017"):
                read_map("map.json", inputs={"year": "2018"}, **read)
            continue
        found = read_map("map.json", inputs={"year": "2018"}, **read)
        assert found.values.tolist() == [0.7]
        assert found.warnings == (
            "map.json, correction 'id': input 'year' has no '2018' among 2017; its default is used",
        )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"year": 2018}, r"'year' is a string, but YAML reads 2018 .*; quote it: {year: '2018'}"),
        ({"year": "2018", "charge": "1"}, r"'charge' is a whole number, got '1'; write it without"),
        ({"yaer": "2018"}, "there is no input 'yaer'; it has: pt, eta, phi, charge, year"),
    ],
)  # fmt: skip
def test_inputs_of_another_type_or_name_are_refused(tmp_path, inputs, message):
    (tmp_path / "map.json").write_text(json.dumps(wrap(0.9)))
    with pytest.raises(InputError, match=message):
        read_map(
            "map.json", name="m", kind="efficiency", folder=tmp_path, correction="id", inputs=inputs
        )


def test_random_numbers_and_compound_corrections_are_refused(tmp_path):
    node = {"nodetype": "hashprng", "inputs": ["pt"], "distribution": "normal"}
    text = wrap(node)
    text["compound_corrections"] = [
        {
            "name": "all", "inputs": text["corrections"][0]["inputs"], "stack": ["id"],
            "output": {"name": "w", "type": "real"}, "inputs_update": [], "input_op": "*",
            "output_op": "*",
        }
    ]  # fmt: skip
    (tmp_path / "map.json").write_text(json.dumps(text))
    read = {"name": "m", "kind": "efficiency", "folder": tmp_path}
    with pytest.raises(InputError, match="a hashprng draws a random number for each lepton"):
        read_map("map.json", correction="id", **read)
    with pytest.raises(
        InputError, match=r"'all' is a compound correction.*take one of its parts: id"
    ):
        read_map("map.json", correction="all", **read)


def binning(content, flow="error", name="pt", points=(10.0, 30.0, 100.0)):
    return {
        "nodetype": "binning", "input": name, "edges": list(points), "content": content,
        "flow": flow,
    }  # fmt: skip


def keys(**nodes):
    return {
        "nodetype": "category", "input": "year", "default": None,
        "content": [{"key": key, "value": node} for key, node in nodes.items()],
    }  # fmt: skip


def formula(text):
    return {
        "nodetype": "formula", "expression": text, "parser": "TFormula", "variables": ["pt"],
    }  # fmt: skip


def read_keys(folder, kind="efficiency", **options):
    return read_map(
        "map.json", name="m", kind=kind, folder=folder, correction="id", value={"year": "sf"},
        **options,
    )  # fmt: skip


def test_nodes_of_one_map_may_flow_differently(tmp_path):
    nodes = binning(
        [binning([0.7, 0.8], "clamp"), binning([0.6, 0.9], 0.5), binning([0.65, 0.85], "wrap")],
        name="eta", points=[-2.4, 0.0, 1.0, 2.4],
    )  # fmt: skip
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=nodes))))
    m = read_keys(tmp_path)
    pt, eta = np.array([5.0, 200.0] * 3), np.array([-1.0, -1, 0.5, 0.5, 2, 2])
    assert m.values[m.locate(pt=pt, eta=eta)].tolist() == [0.7, 0.8, 0.5, 0.5, 0.85, 0.65]
    assert m.labels[6] == "m bin 6 (eta 0 to 1, outside pt 10 to 100)"  # leaves of the flow last
    assert m.labels[5] == "m bin 5 (pt 30 to 100, eta 1 to 2.4)"


def test_a_flow_that_is_no_efficiency_is_outside(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=binning([0.7, 0.8], 0.0)))))
    m = read_keys(tmp_path)
    assert m.locate(pt=np.array([20.0, 200.0])).tolist() == [0, -1]


def test_formulas_have_errors_at_the_leptons(tmp_path):
    """A source is one number of one sign per lepton; a statistical error one per leaf."""
    node = keys(
        sf=binning([formula("0.6+0.001*x"), formula("0.7")]),
        tag=formula("0.0002*(x-20)"),
        stat=binning([0.01, 0.02]),
    )
    (tmp_path / "map.json").write_text(json.dumps(wrap(node)))
    m = read_keys(tmp_path, sources={"tag": {"year": "tag"}}, statistical={"year": "stat"})
    pt = np.array([12.0, 28.0, 60.0, 5.0])
    value = np.array([0.612, 0.628, 0.7])
    seen = m.look_up({"pt": pt})
    assert seen.cells.tolist() == [0, 0, 1, -1]
    assert seen.values[:3] == pytest.approx(value, rel=1e-15)
    covariance = map_covariance(m).matrix
    assert covariance.shape == (2 + 2 + 2, 2 + 2 + 2)
    w = np.zeros((3, 6))  # of three template bins with one lepton each
    for row in range(3):
        for column, share in zip(seen.columns[row], seen.weights[row], strict=True):
            w[row, column] += share
    tag = 0.0002 * (pt[:3] - 20) / value
    stat = np.array([0.01, 0.01, 0.02]) / value
    same = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    expected = np.outer(tag, tag) + np.outer(stat, stat) * same
    assert w @ covariance @ w.T == pytest.approx(expected, rel=1e-12)
    assert "tag evaluated at the leptons, up" in m.labels[4]
    with pytest.raises(InputError, match="evaluated at the leptons and have no 'correlation'"):
        map_covariance(m, correlation={"pt": 0.5})


def test_a_source_of_other_bins_is_evaluated_at_the_leptons(tmp_path):
    node = keys(
        sf=binning([0.8, 0.9]), up=binning([0.84, 0.85, 0.99], points=[0.0, 20.0, 40.0, 100.0])
    )
    (tmp_path / "map.json").write_text(json.dumps(wrap(node)))
    m = read_keys(tmp_path, sources={"tag": {"year": "up"}}, varied=True)
    pt = np.array([12.0, 25.0, 35.0, 60.0])
    seen = m.look_up({"pt": pt})
    up = np.where(seen.columns[:, 1] == 2, 1, -1) * seen.weights[:, 1]
    expected = np.array([0.84, 0.85, 0.85, 0.99]) / np.array([0.8, 0.8, 0.9, 0.9]) - 1
    assert up == pytest.approx(expected, rel=1e-12)
    same = keys(sf=binning([0.8, 0.9]), up=binning([0.84, 0.85]))
    (tmp_path / "map.json").write_text(json.dumps(wrap(same)))
    m = read_keys(tmp_path, sources={"tag": {"year": "up"}}, varied=True)
    assert (m.n_pseudo, m.sources["tag"].tolist()) == (0, pytest.approx([0.04, -0.05]))


def test_a_formula_that_leaves_the_range_is_refused_at_its_lepton(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=formula("0.9+0.001*x")))))
    m = read_keys(tmp_path)
    with pytest.raises(InputError, match=r"1\.1 at pt 200, expected an efficiency > 0 and <= 1"):
        m.look_up({"pt": np.array([50.0, 200.0])})
    assert read_keys(tmp_path, kind="scale_factor").look_up({"pt": np.array([200.0])}).values == 1.1


def test_axes_that_the_leptons_name_or_that_follow_from_theirs(tmp_path):
    phi = binning([0.7, 0.8], "wrap", "phi", [-3.0, 0.0, 3.0])
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=phi))))
    m = read_keys(tmp_path)
    assert m.axes == ("phi",)
    assert m.locate(phi=np.array([-1.0, 1.0, 4.0])).tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"depends on phi, .* in 'leptons' \(variables: {phi: COL"):
        m.locate(pt=np.array([20.0]))


def test_excluded_bins_are_outside(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=binning([0.7, 1.8])))))
    m = read_keys(tmp_path, exclude_bins=[1])
    assert m.locate(pt=np.array([20.0, 50.0])).tolist() == [0, -1]
    with pytest.raises(InputError, match="no bin 5 to exclude; bins are numbered 0 to 1"):
        read_keys(tmp_path, exclude_bins=[1, 5])


def fake_map(folder, **options):
    """Fake factors and their error as formulas of pT, in two bins."""
    node = keys(
        sf=binning([formula("0.1+0.001*x"), formula("0.2")]),
        tag=formula("0.0005*(x-20)"),
        stat=binning([0.01, 0.02]),
    )
    (folder / "map.json").write_text(json.dumps(wrap(node)))
    return read_keys(
        folder, kind="fake_factor", sources={"tag": {"year": "tag"}},
        statistical={"year": "stat"}, **options,
    )  # fmt: skip


def test_fakes_from_a_formula_and_their_shapes_by_hand(tmp_path):
    pt, w = np.array([12.0, 28.0, 60.0, 90.0, 25.0]), np.array([1.0, 2.0, 1.0, -0.5, 4.0])
    bins = np.array([0, 0, 0, 1, 1])
    factor = np.array([0.112, 0.128, 0.2, 0.2, 0.125])
    tag = 0.0005 * (pt - 20)
    made = fakes_from_maps(
        make_events({"pt": pt}), {11: fake_map(tmp_path)}, LeptonColumns(11, "pt"), bins, (2,),
        weights=w,
    )  # fmt: skip
    assert made.yields == pytest.approx(np.bincount(bins, w * factor), rel=1e-12)
    shapes = {s.name: s.up - made.yields for s in made.systematics}
    assert shapes["fakes_m_tag"] == pytest.approx(np.bincount(bins, w * tag), rel=1e-9)
    stat = [shift for name, shift in shapes.items() if "_bin" in name]
    expected = [np.bincount(bins, w * s * (pt < 30)) for s in (0.01,)]
    expected += [np.bincount(bins, w * 0.02 * (pt >= 30))]
    assert np.sort(stat, axis=0) == pytest.approx(np.sort(expected, axis=0), rel=1e-9)


def test_fake_rates_of_a_formula_are_refused(tmp_path):
    with pytest.raises(InputError, match="fake rates or their errors vary inside a bin"):
        factors_from_rates(fake_map(tmp_path))
    (tmp_path / "map.json").write_text(json.dumps(wrap(keys(sf=binning([0.2, 0.5])))))
    rates = read_keys(tmp_path, kind="fake_factor")
    seen = factors_from_rates(rates).look_up({"pt": np.array([20.0, 50.0])})
    assert seen.values == pytest.approx([0.25, 1.0])


def test_bins_of_ragged_edges_that_differ_by_rounding_correlate_as_one(tmp_path):
    """As of an axis that two programs wrote: .1 + .2 under one bin of eta, .3 under the other."""
    fine = [
        binning([0.7, 0.8], "clamp", points=[0.0, 0.1 + 0.2, 1.0]),
        binning([0.7, 0.8], "clamp", points=[0.0, 0.3, 1.0]),
    ]
    errors = [binning([0.01, 0.01], "clamp", points=p) for p in ([0, 0.1 + 0.2, 1], [0, 0.3, 1])]
    node = keys(
        sf=binning(fine, name="eta", points=[-1.0, 0.0, 1.0]),
        tag=binning(errors, name="eta", points=[-1.0, 0.0, 1.0]),
    )
    (tmp_path / "map.json").write_text(json.dumps(wrap(node)))
    m = read_keys(tmp_path, sources={"tag": {"year": "tag"}})
    matrix = map_covariance(m, correlation={"pt": 0.5}).matrix
    u = 0.01 / m.values
    rho = np.array([[1, 0.5, 1, 0.5], [0.5, 1, 0.5, 1], [1, 0.5, 1, 0.5], [0.5, 1, 0.5, 1]])
    assert matrix == pytest.approx(np.outer(u, u) * rho, rel=1e-12)


def test_an_error_at_the_leptons_cannot_be_excluded_as_a_bin(tmp_path):
    with pytest.raises(InputError, match="no bin 2 to exclude; bins are numbered 0 to 1"):
        fake_map(tmp_path, exclude_bins=[2])


def test_excluding_a_bin_leaves_the_numbers_of_the_caller_alone():
    values = np.array([0.9, 1.5])
    m = make_map("m", "efficiency", {"pt": [10, 20, 50]}, values, excluded=frozenset([1]))
    assert m.locate(pt=np.array([15.0, 30.0])).tolist() == [0, -1]
    assert values.tolist() == [0.9, 1.5]
