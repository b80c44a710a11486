"""The room of figures: each thing is drawn once, for `--plots` and for the report alike."""

import ast
import base64
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import full_pair, invoke

import ddphf
from ddphf.figures.limit import draw_limit
from ddphf.figures.null import bin_toys, draw_null
from ddphf.figures.parameters import draw_correlations, draw_pulls, draw_ranking
from ddphf.figures.style import figure_bytes
from ddphf.results.yields import PullResult
from ddphf.workspace.build import build_workspace

PRODUCT = Path(ddphf.__file__).parent
ROOM = PRODUCT / "figures"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_matplotlib_is_imported_by_figures_alone():
    users = {
        path.relative_to(PRODUCT).parts[0]
        for path in PRODUCT.rglob("*.py")
        if any(name.split(".")[0] == "matplotlib" for name in imported(path))
    }
    assert users == {"figures"}


def test_no_two_figures_share_a_name():
    """by_cabinetry draws what `rank --engine cabinetry` found, as cabinetry does."""
    names = Counter(
        node.name
        for path in ROOM.glob("*.py")
        if path.stem != "by_cabinetry"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All figures that the commands draw of one pair, as SVG, and its report."""
    folder = tmp_path_factory.mktemp("figures")
    built = build_workspace(full_pair(), signal_scale=1.0)
    (folder / "pair.json").write_text(json.dumps(built.workspace))
    (folder / "pair.metadata.json").write_text(json.dumps(built.metadata))
    plots = ["--plots", folder / "plots", "--format", "svg"]
    fit = folder / "fit.json"
    for command, *options in (
        ("fit",),
        ("yields", "--fit", fit, *plots),
        ("rank", *plots),
        ("limit", "--method", "asymptotic,toys", "--toys", "100", *plots),
        ("discover", "--null", "asymptotic,toys", "--toys", "200", *plots),
        ("scan", "--parameter", "mu", *plots),
    ):
        made = folder / f"{command}.json"
        outcome = invoke(command, folder / "pair.json", *options, "-o", made)
        assert outcome.code == 0, outcome.err
    records = sorted(folder.glob("*.json"))
    page = invoke("report", *records)
    assert page.code == 0, page.err
    return folder / "plots", page.out


@pytest.mark.parametrize(
    "name",
    ["limit", "discover_null", "ranking", "pulls", "correlations", "scan", "asymmetry"],
)
def test_plots_and_report_show_the_same_picture(drawn, name):
    plots, page = drawn
    picture = base64.b64encode((plots / f"{name}.svg").read_bytes()).decode()
    assert picture in page


LONG = "jet_energy_scale_of_forward_and_central_jets_component_"


def texts(panel):
    return [text.get_text() for text in panel.texts]


def legend(panel):
    return panel.get_legend_handles_labels()[1]


@pytest.mark.parametrize("key", ["asymptotic", "toys"])
def test_a_limit_begins_at_0_where_nothing_is_excluded(key):
    scan = {"mu": [1.0, 2.0], "observed": [0.3, None], "expected": [[0.4, None]] * 5}
    part = {"observed": None, "expected": [None] * 5, "scan": scan}
    record = {"measurement": LONG, "poi": LONG, "level": 0.9, key: part}
    panel = draw_limit(record).axes[0]
    (median,) = (line for line in panel.lines if line.get_label() == "expected")
    assert median.get_xydata()[:2].tolist() == [[0.0, 1.0], [1.0, 0.4]]
    assert "not reached" in legend(panel)[-1]
    assert "90 % CL" in texts(panel)
    assert panel.get_title(loc="left") == "jet_energy_scale_of_..._component_"


def test_a_limit_without_a_scan_is_not_drawn():
    part = {"observed": 1.0, "expected": [None] * 5}
    assert draw_limit({"measurement": "m", "level": 0.9, "asymptotic": part}) is None


@pytest.mark.parametrize("level", [-1, 0, 1, 95])
def test_a_level_that_is_none_has_no_line(level):
    part = {"observed": None, "scan": {"mu": [0], "observed": [0]}}
    figure = draw_limit({"measurement": "m", "level": level, "toys": part})
    assert texts(figure.axes[0]) == []
    assert figure_bytes(figure, "png").startswith(b"\x89PNG")


def test_a_null_tells_what_its_bins_leave_out():
    toys = bin_toys(np.array([-1.0, np.nan, 0.2, 0.4]), 7.3)
    figure = draw_null(toys, 7.3, LONG)
    assert [legend(panel) for panel in figure.axes] == [["asymptotic", "observed Z = 7.30", "toys"]]
    cut = {**toys, "histogram": {"edges": [-1.5, 0.0, 0.3], "counts": [1, 1]}}
    cut["quantiles"] = {"probability": [], "asymptotic": [], "toys": []}
    left, right = draw_null(cut, 7.3, "m").axes
    assert legend(left)[1:] == ["observed Z = 7.30 (outside)", "toys, 1 outside"]
    assert left.get_ylabel() == "toys / bin"
    assert texts(right) == ["too few toys"]


def test_an_impact_that_is_not_known_is_no_zero():
    entries = [
        {"name": LONG, "pull": None, "postfit_up": 0.2, "postfit_down": None},
        {"name": "b", "pull": 0.1, "constraint": None, "postfit_up": 0.0, "postfit_down": 0.0},
    ]
    left, right = draw_ranking({"poi": {"name": "mu"}, "parameters": entries}).axes
    assert [(text.xy, text.get_text()) for text in right.texts] == [((0, 0), "?")]
    assert left.get_yticklabels()[0].get_text() == "jet_energy_scale_of_..._component_"


def test_parameters_without_constraints_have_no_panel_of_pulls():
    free = [{"name": f"shape[{i}]", "postfit_up": -0.1, "postfit_down": 0.1} for i in range(3)]
    figure = draw_ranking({"poi": {"name": "mu"}, "parameters": free})
    (panel,) = figure.axes
    assert panel.get_xlabel() == "shift of mu"
    assert [label.get_text() for label in panel.get_yticklabels()] == [e["name"] for e in free]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["post-fit, up", "post-fit, down"]
    one = {"name": "jes", "pull": 0.3, "constraint": 1.0, "prefit_up": 0.2, "prefit_down": -0.2}
    assert len(draw_ranking({"poi": {"name": "mu"}, "parameters": [*free, one]}).axes) == 2


def test_small_correlations_are_not_written():
    matrix = [[1.0, -0.001, 0.7], [-0.001, 1.0, 0.0], [0.7, 0.0, 1.0]]
    panel = draw_correlations({"names": ["a", "b", LONG], "matrix": matrix}).axes[0]
    assert texts(panel) == ["1.00", "0.70", "1.00", "0.70", "1.00"]


def test_of_many_parameters_the_largest_are_drawn():
    pulls = [PullResult(f"{LONG}{i}", i / 10, None, 0.0, 1.0) for i in range(90)]
    figure = draw_pulls(pulls)
    assert figure.get_suptitle() == "pulls, largest 60 of 90"
    assert figure.axes[0].get_yticklabels()[0].get_text().endswith("_30")
    assert figure_bytes(figure, "svg") == figure_bytes(draw_pulls(pulls), "svg")


def test_a_text_that_leaves_no_room_is_no_warning():
    """A significance of a hundred digits, as only a record of another program may have it."""
    figure = draw_null(bin_toys(np.zeros(2), None), 1e100, "m")
    assert figure_bytes(figure, "png").startswith(b"\x89PNG")
