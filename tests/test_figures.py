"""The room of figures: each thing is drawn once, for `--plots` and for the report alike."""

import ast
import base64
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import full_pair, invoke

import ddphf
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
