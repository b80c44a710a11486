"""Fakes below 0 and errors of fake factors above 15 %: what the options do, by hand and by pyhf."""

import json

import numpy as np
import pyhf
import pytest
from conftest import AXES, C, invoke, plain_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fakes import MASS, loose_events, write_loose_analysis
from test_lepton_id_build import make_tables, write_event_analysis, write_map

from ddphf.config.analysis import read_analysis
from ddphf.exceptions import InputError, ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.inputs.histogram import Axis, make_histogram
from ddphf.symmetry.fake_templates import keep_positive, mend_negative
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.pair import Channel, Systematic, Template
from ddphf.workspace.build import build_workspace


@st.composite
def negative_fakes(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    axes = [
        Axis(f"x{k}", tuple(np.cumsum(rng.uniform(0.5, 3, n + 1)).tolist()))
        for k, n in enumerate(shape)
    ]
    values = rng.normal(1.0, draw(st.sampled_from([0.5, 2.0, 8.0])), shape)
    error, shift = rng.uniform(0.1, 1, shape), rng.normal(0, 0.1, shape)
    return (
        make_histogram(values, axes=axes),
        make_histogram(error, axes=axes),
        [Systematic("s", "histosys", values + shift, values - shift)],
    )


@given(negative_fakes())
def test_merging_keeps_the_sums_of_fakes_errors_and_shapes(given_fakes):
    yields, error, systematics = given_fakes
    if yields.values.sum() < 0:
        with pytest.raises(InputError, match="all bins together hold -"):
            mend_negative(yields, error, systematics, "merge")
        return
    made, new_error, (shape,), record = mend_negative(yields, error, systematics, "merge")
    assert made.values.min() >= -1e-12 * np.abs(yields.values).sum()
    assert made.values.sum() == pytest.approx(yields.values.sum(), abs=1e-9)
    assert np.sum(new_error.values**2) == pytest.approx(np.sum(error.values**2), rel=1e-9)
    if record["negative_bins"]:
        shift = (np.asarray(shape.up) - np.asarray(shape.down)) / 2
        assert np.sum(shift) == pytest.approx(
            np.sum(systematics[0].up - systematics[0].down) / 2, abs=1e-9
        )
    moved = {i for group in record.get("merged_bins", []) for i in group}
    still = [i for i in range(yields.values.size) if i not in moved]
    assert np.array_equal(made.flat[still], yields.flat[still])
    assert set(record["negative_bins"]) <= moved
    # Equal density in every bin of a group.
    widths = np.ones(1)
    for axis in yields.axes:
        widths = np.outer(widths, np.diff(axis.edges)).ravel()
    for group in record.get("merged_bins", []):
        density = made.flat[group] / widths[group]
        assert density == pytest.approx(np.full(len(group), density[0]), rel=1e-9, abs=1e-9)


@given(negative_fakes())
def test_zero_changes_negative_bins_alone(given_fakes):
    yields, error, systematics = given_fakes
    made, new_error, (shape,), record = mend_negative(yields, error, systematics, "zero")
    good = yields.values >= 0
    assert np.array_equal(made.values, np.where(good, yields.values, 0.0))
    assert np.array_equal(new_error.values, np.where(good, error.values, 0.0))
    assert np.array_equal(np.asarray(shape.up), np.where(good, systematics[0].up, 0.0))
    assert record["negative_bins"] == np.flatnonzero(~good.ravel()).tolist()


def test_a_relative_shape_is_merged_as_events():
    yields = make_histogram([4.0, -1.0, 2.0])
    shape = Systematic("s", "histosys", [1.1, 1.2, 1.0], [0.9, 0.8, 1.0], relative=True)
    _, _, (made,), record = mend_negative(yields, None, [shape], "merge")
    assert record["merged_bins"] == [[0, 1]]
    assert np.asarray(made.up) == pytest.approx([1.6, 1.6, 2.0])  # (4.4 - 1.2) / 2
    assert not made.relative


def negative_tables():
    """Prompt events subtracted from the fakes: the third mass bin is below 0."""
    tables = make_tables()
    mass, w = tables["fakes"]["mass"], tables["fakes"]["w"]
    here = (mass >= 50) & (mass < 60)
    tables["fakes"]["w"] = np.where(here, -0.05 * w, w)
    return tables


@pytest.mark.parametrize("rule", ["zero", "merge"])
def test_negative_fakes_from_events_are_mended_as_asked(folder, rule):
    tables = negative_tables()
    write_event_analysis(folder, None, tables)
    refused = invoke("build", "analysis.yml", "-o", "pair.json")
    assert refused.code == 3
    assert "set 'negative: zero' or 'negative: merge'" in refused.message
    write_event_analysis(folder, lambda a: a["tested"]["fakes"].update(negative=rule), tables)
    built = invoke("build", "analysis.yml", "-o", "pair.json")
    assert built.code == 0, built.err
    before = np.histogram(tables["fakes"]["mass"], MASS, weights=tables["fakes"]["w"])[0]
    squares = np.histogram(tables["fakes"]["mass"], MASS, weights=tables["fakes"]["w"] ** 2)[0]
    expected, error = np.maximum(before, 0.0), np.sqrt(squares) * (before > 0)
    if rule == "merge":
        partner = 1 if before[1] > before[3] else 3
        expected, error = before.copy(), np.sqrt(squares)
        expected[[2, partner]] = before[[2, partner]].mean()
        error[[2, partner]] = np.sqrt(squares[[2, partner]].mean())
    spec = json.loads((folder / "pair.json").read_text())
    (fakes,) = [s for s in spec["channels"][1]["samples"] if s["name"] == "fakes"]
    assert fakes["data"] == pytest.approx(expected, rel=1e-12)
    (stat,) = [m for m in fakes["modifiers"] if m["type"] == "shapesys"]
    assert stat["data"] == pytest.approx(error, rel=1e-12)
    record = json.loads((folder / "pair.metadata.json").read_text())["fakes"]["SR_mue"]
    assert (record["negative"], record["negative_bins"]) == (rule, [2])
    assert record["sum_before"] == pytest.approx(before.sum(), rel=1e-12)
    assert record["sum_after"] == pytest.approx(expected.sum(), rel=1e-12)
    assert ("merged_bins" in record) == (rule == "merge")
    assert "1 bin(s) below 0" in " ".join(built.err.split())
    assert invoke("fit", "pair.json", "-o", "fit.json").code == 0


def test_negative_fakes_from_maps_keep_their_shapes_consistent(folder):
    events = loose_events()
    here = (events["mass"] >= 50) & (events["mass"] < 60)
    events["w"] = np.where(here, -0.02, events["w"])
    write_loose_analysis(
        folder, lambda a: [a[r]["fakes"].update(negative="zero") for r in ("tested", "partner")]
    )
    np.savez(folder / "loose.npz", **events)
    built = build_workspace(load_pair(read_analysis(folder / "analysis.yml")), signal_scale=1)
    for channel in built.workspace["channels"]:
        fakes = next(s for s in channel["samples"] if s["name"] == "fakes")
        assert fakes["data"][2] == 0
        for modifier in fakes["modifiers"]:
            if modifier["type"] == "histosys":
                assert modifier["data"]["hi_data"][2] == modifier["data"]["lo_data"][2] == 0
    assert set(built.metadata["fakes"]) == {"SR_mue", "CR_emu"}
    assert built.metadata["fakes"]["CR_emu"]["maps"][0]["sources_left_out"] == ["flat"]
    assert built.metadata["fakes"]["CR_emu"]["normalisation"] == 0.2


def expectation(systematics, nominal):
    """The fakes of a built template as a function of its nuisances, by pyhf."""
    tested = Channel("mue", C["tested"], signal=Template(C["signal"]),
                     fakes=Template(nominal, systematics=systematics))  # fmt: skip
    built = build_workspace(plain_pair(tested=tested, axes=AXES), signal_scale="auto").workspace
    channel = next(c for c in built["channels"] if c["name"] == "SR_mue")
    fakes = [s for s in channel["samples"] if s["name"] == "fakes"]
    model = pyhf.Model({"channels": [{"name": "c", "samples": fakes}]}, poi_name=None)

    def at(**alpha):
        point = [alpha.get(name, 0.0) for name in model.config.par_order]
        return np.asarray(model.expected_actualdata(point))

    return at


@settings(max_examples=15)  # each builds a workspace and a pyhf model
@given(st.integers(0, 2**32 - 1))
def test_wide_shapes_stay_positive_and_keep_their_size(seed):
    rng = np.random.default_rng(seed)
    nominal = rng.uniform(1, 20, 4)
    wide = rng.uniform(0.15, 1.2) + rng.uniform(-0.08, 0.08, 4)
    small = rng.uniform(-0.05, 0.05, 4)
    given_shapes = [
        Systematic("wide", "histosys", nominal * (1 + wide), nominal * (1 - wide)),
        Systematic("small", "histosys", 1 + small, 1 - small, relative=True),
    ]
    made, changed = keep_positive(given_shapes, nominal)
    assert set(changed) == ({"wide"} if np.any(wide**2 + small**2 >= 0.04) else set())
    at = expectation(made, nominal)
    if changed.get("wide", "stated") == "stated":
        assert at(wide=1.0) == pytest.approx(nominal * (1 + wide), rel=1e-9)
        assert at(wide=-1.0) == pytest.approx(nominal * (1 - wide), rel=1e-9)
    else:
        assert at(wide=1.0) == pytest.approx(nominal * np.exp(wide), rel=1e-9)
        assert at(wide=-1.0) == pytest.approx(nominal * np.exp(-wide), rel=1e-9)
    for angle in np.linspace(0, 2 * np.pi, 13):  # 5 sigma in every direction
        assert at(wide=5 * np.cos(angle), small=5 * np.sin(angle)).min() > 0
    # The error near the nominal is the stated one: the slope between the ends by code 4.
    slope = (at(wide=0.01) - at(wide=-0.01)) / (0.02 * nominal)
    assert slope == pytest.approx(wide, rel=0.12)


def test_shapes_that_have_no_factor_are_left_to_the_builder():
    nominal = np.array([10.0, 20.0])
    one_sided = Systematic("s", "histosys", [0.1, 0.1], [0.12, 0.1], relative=True)
    assert keep_positive([one_sided], nominal) == ([one_sided], {})
    opposite = Systematic("s", "histosys", [1.4, 0.6], [0.6, 1.4], relative=True)
    assert keep_positive([opposite], nominal) == ([opposite], {})
    # A second normsys of the name would be lost.
    wide = Systematic("s", "histosys", [1.4, 1.4], [0.6, 0.6], relative=True)
    norm = Systematic("s", "normsys", 1.1, 0.9)
    assert keep_positive([wide, norm], nominal)[1] == {}
    appearing = Systematic("s", "histosys", [14.0, 1.0], [6.0, 1.0])
    assert keep_positive([appearing], np.array([10.0, 0.0]))[1] == {}


def test_fake_factors_with_errors_of_a_half_build_and_fit(folder):
    """The source that had to be excluded before: 25 to 50 % of the electrons' factors."""

    def change(analysis):
        for role in ("tested", "partner"):
            analysis[role]["fakes"]["maps"]["electron"].pop("exclude")
            analysis[role]["fakes"]["maps"]["muon"]["columns"] = {"sources": ["all"]}

    write_loose_analysis(folder, change)
    write_map(
        folder / "loose_muon.csv",
        {
            "value": [0.1, 0.15, 0.25],
            "statistical": [0.002, 0.002, 0.002],
            "all": [0.03, 0.05, 0.08],
        },
    )
    built = invoke("build", "analysis.yml", "-o", "pair.json")
    assert built.code == 0, built.err
    assert "too large for shapes alone" in " ".join(built.err.split())
    spec = json.loads((folder / "pair.json").read_text())
    record = json.loads((folder / "pair.metadata.json").read_text())["fakes"]["SR_mue"]
    assert "fakes_electron_flat" in record["shapes_as_factors"]
    model = pyhf.Workspace(spec).model(measurement_name="discovery")
    low = model.config.suggested_init()
    for name in ("fakes_electron_flat", "fakes_muon_all"):
        low[model.config.par_slice(name).start] = -5.0
    assert np.min(model.expected_actualdata(low)) > 0
    assert fit_workspace(spec).discovery.z0 is not None


def test_what_no_factor_can_mend_is_refused_as_before():
    shape = Systematic("s", "histosys", [1.9, 1.0, 1.0, 1.0], [0.1, 1.0, 1.0, 1.0], relative=True)
    systematics, _ = keep_positive([shape], C["fakes"])
    fakes = Template(C["fakes"], systematics=systematics)
    tested = Channel("mue", C["tested"], signal=Template(C["signal"]), fakes=fakes)
    with pytest.raises(ModelError, match="turns negative within 5 sigma"):
        build_workspace(plain_pair(tested=tested, axes=AXES), signal_scale="auto")
