"""Figures of a search: from the record alone, local never without global."""

import json
from pathlib import Path

import numpy as np
import pytest

from ddphf.figures.search import draw_map, draw_maximum, draw_search, draw_sizes
from ddphf.figures.selections import draw_selections
from ddphf.figures.style import figure_bytes
from ddphf.inputs.histogram import Axis
from ddphf.report.search_chapter import search_parts
from ddphf.search.pair import prepare_pair
from ddphf.search.run_null import search_null
from ddphf.search.run_pair import search_pair
from ddphf.symmetry.pair import Channel, Pair

MASS, PT = Axis("mass", (30.0, 40.0, 50.0, 60.0, 80.0), "mass", "GeV"), Axis("pt", (0.0, 1.0, 3.0))


def record_of(tested, partner, axes, **options):
    pair = Pair(Channel("b", tested), Channel("a", partner), axes=axes)
    found = search_pair(prepare_pair(pair), precision=0.2, **options)
    return json.loads(json.dumps(found.to_dict()))


@pytest.fixture(scope="module")
def plane():
    counts = np.random.default_rng(1).poisson(50.0, (2, 4, 2))
    counts[:, 0, 0] = 0  # no event: no number
    counts[0, 2] += 30
    return record_of(counts[0], counts[1], (MASS, PT))


@pytest.fixture(scope="module")
def line():
    counts = np.random.default_rng(2).poisson(50.0, (2, 4))
    return record_of(counts[0], counts[1], (MASS,), direction="both")


def texts(figure):
    return [t.get_text() for t in figure.findobj(lambda x: hasattr(x, "get_text"))]


def test_axes_have_labels_and_units(plane, line):
    panel = draw_map(plane, "z").axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("mass [GeV]", "pt")
    assert draw_map(line, "z").axes[0].get_xlabel() == "mass [GeV]"
    assert draw_maximum(line).axes[0].get_xlabel() == "largest |Z| of 10 windows"


def test_every_figure_states_the_global_p(plane, line):
    for record in (plane, line):
        for name, figure in draw_search(record).items():
            assert figure is not None, name
            assert any("global p = " in text for text in texts(figure)), name
            assert figure_bytes(figure, "svg").startswith(b"<?xml")


def test_the_map_shows_the_numbers_of_the_record(plane):
    mesh = draw_map(plane, "z").axes[0].collections[0]
    values = np.ma.filled(mesh.get_array().astype(float), np.nan)
    wanted = np.array(plane["maps"]["z"], dtype=float).reshape(4, 2).T
    assert np.isnan(wanted[0, 0])
    assert np.allclose(values.ravel(), wanted.ravel(), equal_nan=True)


def test_the_best_window_is_where_the_record_has_it(plane):
    boxes = draw_map(plane, "z").axes[0].patches
    (left, right), (low, high) = plane["best"][0]["edges"]
    assert boxes[0].get_bbox().bounds == (left, low, right - left, high - low)


def test_of_three_axes_sizes_are_a_curve():
    counts = np.random.default_rng(3).poisson(40.0, (2, 3, 2, 2))
    axes = (Axis("x", (0.0, 1.0, 2.0, 3.0)), PT, PT)
    record = record_of(counts[0], counts[1], axes)
    assert record["maps"] is None
    assert draw_map(record, "z") is None
    panel = draw_sizes(record).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("bins of the window", "largest local Z")
    assert max(panel.lines[0].get_ydata()) == pytest.approx(record["best"][0]["local"]["z"])


def test_numbers_of_a_logarithmic_axis_are_numbers():
    """Formulas are off in figures, and would show as their source."""
    counts = np.random.default_rng(4).poisson(40.0, (2, 30))
    axis = Axis("mass", tuple(float(x) for x in range(31)))
    figure = draw_sizes(record_of(counts[0], counts[1], (axis,)))
    assert b"mathdefault" not in figure_bytes(figure, "svg")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"1", "2", "5", "10", "20"} <= set(labels)


def test_one_size_has_no_curve(plane):
    assert draw_sizes({**plane, "size_curve": plane["size_curve"][:1]}) is None


def test_the_table_of_trials_is_drawn_with_its_thresholds():
    record = search_null((4, 4), [2.0, 3.0], precision=0.2).to_dict()
    shown = [text for text in texts(draw_maximum(record)) if text.startswith("local Z = ")]
    assert {text.split(";")[0] for text in shown} == {"local Z = 2.00", "local Z = 3.00"}
    assert draw_maximum({**record, "null": None}) is None


def test_deficits_and_whole_histograms_are_drawn_as_what_they_are():
    path = Path(__file__).parent / "records" / "1.0.0" / "search_events.json"
    record = json.loads(path.read_text())
    for entry in record["selections"]:
        entry["local"] |= {"z": -2.5, "p": 0.0062}
    low = draw_selections({**record, "direction": "deficit"}).axes[0]
    assert low.get_xlabel() == "local -Z of the best window"
    assert {round(bar.get_width(), 6) for bar in low.patches} == {2.5}
    whole = {**record, "best": [], "windows": {**record["windows"], "n": 0, "rule": "none: chi2"}}
    assert draw_selections(whole).axes[0].get_xlabel() == "local Z of the histogram"
    figure = draw_maximum(whole)
    assert figure.axes[0].get_xlabel() == "-p of the best histogram, alone"
    assert any(t.startswith("local p = 0.0062; global p = ") for t in texts(figure))
    assert "-p of the best histogram" in "".join(search_parts([whole]))


@pytest.mark.parametrize("name", ["search", "search_null", "search_events"])
def test_records_of_a_release_are_drawn(name):
    path = Path(__file__).parent / "records" / "1.0.0" / f"{name}.json"
    for figure in draw_search(json.loads(path.read_text())).values():
        if figure is not None:
            assert figure_bytes(figure, "png").startswith(b"\x89PNG")
