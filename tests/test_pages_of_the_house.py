"""ARCHITECTURE.md, CONTRIBUTING.md, the changelog and the hooks say what is so."""

import ast
import re
import tomllib
from pathlib import Path

import layers
import pytest
import yaml
from test_architecture import GROUND, GROUND_MAY_IMPORT, MAY_IMPORT, PRODUCT, modules

import ddphf

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def table(text, heading):
    """Return the rows of the first table below a heading."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_rooms_of_the_page_are_those_of_the_table():
    found = {
        room.strip("`"): set(re.findall(r"`(\w+)`", imports))
        for room, _, imports in table(ARCHITECTURE, "Rooms, and what they may import")
    }
    assert found == {**MAY_IMPORT, **GROUND_MAY_IMPORT}


def test_the_picture_has_every_room():
    picture = ARCHITECTURE.split("\n## ")[0]
    upper, ground = picture.split("---- ground")
    assert set(re.findall(r"\b([a-z]+)/ ", upper)) == set(MAY_IMPORT) - GROUND
    assert set(re.findall(r"\b([a-z]+)/ ", ground)) == GROUND


def test_the_single_files_are_named():
    text = ARCHITECTURE.split("Single files of the ground:")[1].split(".\n")[0]
    files = {path.stem for path in PRODUCT.glob("*.py")} - {"__init__", "__main__"}
    assert set(re.findall(r"`(\w+)`", text)) == files


@pytest.mark.parametrize("row", table(ARCHITECTURE, "Tolerances"), ids=lambda row: row[0])
def test_tolerances_live_where_the_page_says(row):
    name, value, where, _ = (cell.strip("`") for cell in row)
    text = (PRODUCT / where).read_text()
    assert re.search(rf'^{name} = {value}\n"""', text, re.M), "no such constant with its reason"
    assert re.search(rf"`{name}` \| ", ARCHITECTURE)


WITHOUT_REASON = {
    "CLS_TOLERANCE", "EIGENVALUE_TOLERANCE", "ENOUGH", "FIRST_DAMPING", "RISE_TOLERANCE",
    "ROUNDING", "TINY", "Z_TOLERANCE",
}  # fmt: skip
"""May only shrink."""


def test_small_numbers_have_a_reason_below_them():
    found = set()
    for _, path in modules():
        body = ast.parse(path.read_text()).body
        for node, below in zip(body, [*body[1:], None], strict=True):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Constant(value=float(value))
                ) if value < 0.5:
                    reason = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                    found |= set() if reason else {name}
    assert found <= WITHOUT_REASON


def test_every_command_of_make_is_explained():
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
    assert set(re.findall(r"`make ([a-z-]+)`", CONTRIBUTING)) == targets


def test_layers_and_their_times_are_in_the_page():
    rows = {row[0].strip("`"): row for row in table(CONTRIBUTING, "Layers of the tests")}
    assert list(rows) == ["make test-fast", "make test", "make test-slow", "make test-matrix"]
    assert f"{layers.MOST_S:g} processor seconds" in CONTRIBUTING


def test_paths_that_the_pages_name_exist():
    for text in (ARCHITECTURE, CONTRIBUTING):
        for path in re.findall(r"`((?:ddphf|docs|tests|workspaces)/[\w./-]*\.\w+)`", text):
            assert "NAME" in path or (ROOT / path).exists(), path


def test_hooks_check_what_lint_checks():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1].replace("$(BIN)", ".venv/bin")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    called = " ".join(hook["entry"] for hook in hooks)
    for line in lint.split("\n\t"):
        assert line.strip().removesuffix(" .") in called


def test_the_changelog_keeps_its_rule():
    """One line or two per visible change, below the version that the product says it is."""
    text = (ROOT / "CHANGELOG.md").read_text()
    head, *entries = text.removeprefix("# Changelog\n\n").splitlines()
    version, _, when = head.removeprefix("## ").partition(" ")
    assert version == ddphf.__version__
    assert re.fullmatch(r"\((unreleased|\d{4}-\d\d-\d\d)\)", when)
    for line in entries:
        assert line == "" or line.startswith(("## ", "### ", "- ", "  ")), line
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ddphf.__version__


def test_floors_and_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["coverage"]["report"]["fail_under"] > 50
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    extras = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + extras["dev"] + extras["docs"]
    for line in wanted:
        name = re.match(r"[\w-]+", line)[0].lower().replace("_", "-")
        assert re.search(rf"^{name}==", pins, re.M), name
