"""Histograms on the axes of others: by name, in any order, or refused."""

import itertools
from dataclasses import replace

import hist
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import uproot

from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.inputs.histogram import Axis, Histogram, make_histogram
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.yields import resolve_pair

EDGES = (10.0, 20.0, 30.0)


def histogram(*axes, start=1.0):
    shape = tuple(axis.n_bins for axis in axes)
    values = np.arange(start, start + np.prod(shape)).reshape(shape)
    return Histogram(values, axes, variances=2 * values)


def axis(name, edges=EDGES, label="", unit="", categories=()):
    return Axis(name, edges, label or name, unit, categories)


@hypothesis.given(st.permutations(range(3)), st.integers(1, 3), st.integers(1, 3))
@hypothesis.settings(max_examples=30)
def test_any_order_of_named_axes_gives_the_same_bins(order, first, second):
    """Also where all edges are equal, so that only the names tell the axes apart."""
    axes = [
        axis("mass", tuple(float(i) for i in range(first + 1))),
        axis("pt", tuple(float(i) for i in range(second + 1))),
        axis("eta", (0.0, 1.0)),
    ]
    ours = histogram(*axes)
    theirs = Histogram(
        ours.values.transpose(order), tuple(axes[i] for i in order), ours.variances.transpose(order)
    )
    got, notes = align(theirs, axes)
    np.testing.assert_array_equal(got.values, ours.values)
    np.testing.assert_array_equal(got.variances, ours.variances)
    assert (got.axes, notes) == (ours.axes, [])


@pytest.mark.parametrize(
    ("theirs", "notes"),
    [
        ((axis("axis_0"), axis("axis_1")), 0),
        ((axis("xaxis"), axis("yaxis")), 0),
        ((axis("Collinear_Mass"), axis("p_T", label="pt")), 0),
        ((axis("m_ll"), axis("pt")), 1),
        ((axis("x"), axis("y")), 1),
    ],
)
def test_names_that_tell_no_order_leave_it(theirs, notes):
    """Axes without names, or with other ones, are taken in their order; the latter is said."""
    ours = (axis("m", label="collinear mass"), axis("pt"))
    got, said = align(histogram(*theirs), ours)
    assert got.values[0].tolist() == [1.0, 2.0]
    assert len(said) == notes


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ((axis("pt"), axis("other")), r"its axes are \(pt, other\).*names do not tell one order"),
        ((axis(""), axis("mass")), "names do not tell one order"),
        ((axis("mass"),), r"binning \(mass 2 bins 10..30\) differs"),
        ((axis("mass", unit="MeV"), axis("pt")), "'mass' is in MeV, the tested sample's in GeV"),
        (
            (axis("mass", (1e4, 2e4, 3e4)), axis("pt")),
            "by a factor 1000 along 'mass', as MeV and GeV; use one unit",
        ),
        (
            (axis("mass", (0.01, 0.02, 0.03), unit="TeV"), axis("pt")),
            "by a factor 0.001 along 'mass'",
        ),
        ((axis("mass", (10.0, 20.0, 31.0)), axis("pt")), r"10\.\.31.*rebin one of them"),
    ],
)
def test_axes_that_contradict_are_refused(theirs, message):
    ours = (axis("mass", unit="GeV"), axis("pt"))
    with pytest.raises(InputError, match=message):
        align(histogram(*theirs), ours)


def test_units_that_say_the_same_differently_agree():
    for ours, theirs in (("GeV", "gev/c^2"), ("", "GeV"), ("rad", ""), ("GeV", "widgets")):
        align(histogram(axis("m", unit=theirs)), (axis("m", unit=ours),))


def test_categories_are_matched_by_name():
    """A growing axis has them in the order of filling, which differs between samples."""
    filled = {}
    for name, order in (("one", ["a", "b", "c"]), ("two", ["c", "a", "b"])):
        h = hist.Hist(
            hist.axis.StrCategory([], growth=True, name="region"), storage=hist.storage.Weight()
        )
        for region in order:
            h.fill(region=region, weight={"a": 1.0, "b": 2.0, "c": 5.0}[region])
        filled[name] = make_histogram(h)
    assert filled["two"].values.tolist() == [5.0, 1.0, 2.0]
    got, _ = align(filled["two"], filled["one"].axes)
    assert got.values.tolist() == [1.0, 2.0, 5.0]
    assert got.variances.tolist() == [1.0, 4.0, 25.0]
    other = replace(filled["one"].axes[0], categories=("a", "b", "d"))
    with pytest.raises(InputError, match="category 'c' of axis 'region' is in one of the two"):
        align(filled["two"], (other,))


def test_labels_of_a_root_axis_are_categories(tmp_path):
    """As a histogram of regions, or one that TUnfold has unrolled, is stored."""
    for number, order in enumerate((["SR1", "SR2"], ["SR2", "SR1"])):
        h = hist.Hist(hist.axis.StrCategory(order, name="region"))
        h.fill(["SR1"] * 3 + ["SR2"] * 7)
        with uproot.recreate(tmp_path / f"{number}.root") as file:
            file["h"] = h
    first, second = (
        make_histogram(uproot.open(f"{tmp_path}/{number}.root")["h"]) for number in (0, 1)
    )
    if not first.axes[0].categories:
        pytest.skip("this uproot writes no labels")
    assert align(second, first.axes)[0].values.tolist() == [3.0, 7.0]


def test_other_axes_of_hist():
    """Circular, integer and boolean axes are ranges of numbers; flow bins are not part of them."""
    phi = hist.axis.Regular(4, 0, 2 * np.pi, circular=True, name="phi")
    plain = hist.axis.Regular(4, 0, 2 * np.pi, underflow=False, name="phi")
    one, two = (make_histogram(hist.Hist(a).fill([0.1, 7.0])) for a in (phi, plain))
    assert one.values.tolist() == [2.0, 0.0, 0.0, 0.0]
    assert (one.flow, two.flow) == (0.0, 1.0)
    align(two, one.axes)
    jets = make_histogram(hist.Hist(hist.axis.Integer(0, 3, name="n")).fill([0, 1, 1]))
    assert jets.axes[0].edges == (0.0, 1.0, 2.0, 3.0)
    assert make_histogram(hist.Hist(hist.axis.Boolean(name="b"))).axes[0].categories == ()
    years = hist.Hist(hist.axis.IntCategory([2018, 2016], name="year"))
    assert make_histogram(years).axes[0].categories == ("2018", "2016")


def swapped_pair(swap):
    mass = hist.axis.Variable(EDGES, name="mass")
    pt = hist.axis.Variable(EDGES, name="pt")
    b = np.array([[110.0, 85.0], [62.0, 41.0]])
    s = np.array([[1.0, 20.0], [2.0, 3.0]])
    signal = hist.Hist(pt, mass, data=s.T) if swap else hist.Hist(mass, pt, data=s)
    up = hist.Hist(pt, mass, data=1.1 * s.T) if swap else hist.Hist(mass, pt, data=1.1 * s)
    down = hist.Hist(mass, pt, data=0.9 * s)
    return Pair(
        Channel(
            "b",
            hist.Hist(mass, pt, data=b),
            signal=Template(signal, systematics=[Systematic("jes", "histosys", up, down)]),
        ),
        Channel("a", hist.Hist(mass, pt, data=b)),
    )


def test_a_signal_stored_with_its_axes_swapped_builds_the_same_workspace():
    """The edges are equal, so that the shapes alone would fit."""
    assert build_workspace(swapped_pair(True)).workspace == (
        build_workspace(swapped_pair(False)).workspace
    )


def test_names_that_differ_are_said_by_the_builder():
    x = hist.Hist(hist.axis.Regular(2, 0, 1, name="mass"), data=np.array([100.0, 90.0]))
    y = hist.Hist(hist.axis.Regular(2, 0, 1, name="pt"), data=np.array([10.0, 20.0]))
    warnings = resolve_pair(Pair(Channel("b", x, signal=Template(y)), Channel("a", x))).warnings
    assert warnings == (
        "channel 'SR_b', sample 'signal': axes are called 'pt' for 'mass'; they are taken as the "
        "same",
    )


def test_every_pair_of_three_axes_may_be_swapped():
    axes = [axis("a"), axis("b"), axis("c")]
    for order in itertools.permutations(range(3)):
        theirs = histogram(*axes)
        moved = Histogram(theirs.values.transpose(order), tuple(axes[i] for i in order))
        np.testing.assert_array_equal(align(moved, axes)[0].values, theirs.values)
