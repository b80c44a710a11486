"""The site: its pages, what of them runs, its references, its links, and what is released."""

import ast
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from test_first_hour import OTHER_TESTS, PAGES, SAMPLES, commands

import ddphf
from ddphf.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))
import api  # noqa: E402
import check_links  # noqa: E402
import commands as command_pages  # noqa: E402
import gallery  # noqa: E402
import stage  # noqa: E402

DOCS = ROOT / "docs"
SOURCES = sorted(ROOT / page for page in stage.pages())
PYTHON_RUN_BY = {
    "README.md": "test_python_example", "reproduce.md": "test_python_of_reproduce",
    "windows.md": "test_python_of_the_pages", "learn.md": "test_python_of_the_pages",
    "search.md": "test_python_of_the_pages",
}  # fmt: skip
NOT_RUN = {
    "make ": "CI is these",
    ". .venv/bin/activate": "of a shell that stays open",
    "pip install": "asks an index; `make dist` installs the wheel",
    "eval ": "test_completion_of_bash_offers_the_commands",
    "dask ": "a cluster of several machines; tests/test_distributed.py has one of this machine",
    'pip install "pythia8mc': "a simulation of 11 minutes, of which only its result is used",
    "docker ": "no daemon in CI; the Dockerfile is read by test_the_image_has_the_tested_versions",
    "python published/make_workspace.py": (
        "test_other_backgrounds_are_written_as_arrays_with_a_script"
    ),
    "mkdir": "with the commands below it", "sha256sum": "tests/test_publish_docs.py",
    "$ sha256sum": "tests/test_publish_docs.py", "export OPENBLAS": "tests/test_publish_docs.py",
    "import json, pyhf": "test_pyhfs_default_optimizer_stops_far_from_the_minimum_and_says_success",
    "from ddphf.likelihood.compiled": "test_python_of_the_pages",
    "import ddphf\n\nwith ddphf.open_runner": "test_python_of_the_pages",
}  # fmt: skip
"""Blocks of programs that no replay of commands runs, by how they begin, and why or where."""

PROGRAM = re.compile(
    r"^(\$ |\. |(ddphf|pyhf|make|pip|python3?|mkdir|cp|cd|tar|git|export|eval|dask|docker|"
    r"sha256sum|import|from) )"
)


def blocks(text):
    """Yield (language, code) of every fenced or indented block of a page."""
    for language, code in re.findall(r"^```(\S*).*?\n(.*?)^```", text, re.M | re.S):
        yield language or "text", code
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for code in re.findall(r"(?:^\n|\A)((?:    [^\n]*\n(?:\n(?=    ))?)+)", text, re.M):
        yield "indented", inspect.cleandoc(code) + "\n"


def replayed(name):
    known = (*PAGES, *OTHER_TESTS, *SAMPLES)
    return name in known


@pytest.mark.parametrize("page", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs_or_says_why_not(page):
    name = str(page.relative_to(ROOT))
    text = page.read_text()
    for language, code in blocks(text):
        if language == "{code-cell}":  # `make docs` runs the tutorials
            assert page.parent.name == "tutorials", name
        elif language == "python":
            known = page.name in PYTHON_RUN_BY or any(map(code.startswith, NOT_RUN))
            assert known, f"{name}: nothing runs\n{code}"
        elif language in ("yaml", "json"):
            assert yaml.safe_load(code) is not None
        elif language in ("indented", "text", "bash", "console") and PROGRAM.match(code):
            first = code.splitlines()[0]
            run = commands(f"\n    {first}\n") or first.startswith(("ddphf ", "pyhf "))
            reason = any(map(code.startswith, NOT_RUN))
            assert reason or (run and replayed(name)), f"{name}: nothing runs\n{code}"
        else:
            assert language in ("indented", "text", "{toctree}", "{eval-rst}"), (name, language)


def test_what_is_said_to_run_exists():
    named = {
        name
        for why in (*NOT_RUN.values(), *PYTHON_RUN_BY.values())
        for name in re.findall(r"test_\w+", why)
    }
    files = {path.stem for path in (ROOT / "tests").glob("*.py")}
    functions = {
        node.name
        for path in (ROOT / "tests").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert named <= files | functions, named - files - functions


def test_the_pages_lead_somewhere_and_the_start_page_to_all(tmp_path):
    """Every link of every page is followed when they are laid out."""
    stage.stage(tmp_path / "source")
    start = (DOCS / "index.md").read_text()
    listed = {
        line.strip() for block in re.findall(r"```{toctree}(.*?)```", start, re.S)
        for line in block.splitlines() if line.strip() and not line.startswith(":")
    }  # fmt: skip
    laid_out = {str(place.with_suffix("")) for place in stage.pages().values()} - {"index"}
    assert listed == laid_out | {"commands/index", "api/index", "gallery"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_page_and_its_statistics(name):
    *guides, statistics = command_pages.READ_ON[name]
    for guide in guides:
        assert guide in {str(place) for place in stage.pages().values()}
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^## (.*)$", (DOCS / "statistics.md").read_text(), re.M)
    }
    page, _, anchor = statistics.partition("#")
    assert page == "statistics.md"
    assert not anchor or anchor in anchors
    text = command_pages.page(name)
    assert f"ddphf {name}" in text
    assert "--output" in text
    assert f"../{statistics}" in text


def test_every_page_of_a_command_links_to_the_statistics():
    guides = {guide for *found, _ in command_pages.READ_ON.values() for guide in found}
    names = {str(place): page for page, place in stage.pages().items()}
    without = {
        "getting_started.md", "analysis_file.md", "reproduce.md", "hepdata.md", "security.md",
        "distributed.md", "publish.md", "report.md", "convert.md",
    }  # fmt: skip
    for guide in sorted(guides - without):
        assert "(statistics.md" in (ROOT / names[guide]).read_text(), guide


def numbers_of(text):
    """Return every number of a text, thousands with blanks or commas as one."""
    found = re.findall(r"(?<![\w.])(?:\d{1,3}(?:[ ,]\d{3})+|\d*)(?:\.\d+)?(?:e-?\d+)?(?!\w)", text)
    return {float(re.sub("[ ,]", "", number)) for number in found if re.search(r"\d", number)}


def test_measured_rows_of_the_comparison_are_those_of_the_pages():
    """A row is measured again on the page that it comes from, and follows it."""
    measured = (DOCS / "comparison.md").read_text().split("## Measured: fits")[1]
    rows = [
        line for line in measured.split("## Not measured")[0].splitlines()
        if line.startswith("|") and re.search(r"\d", line.split("|", 2)[2])
    ]  # fmt: skip
    assert len(rows) >= 11
    pages = ("performance", "rank", "ratio", "learn")
    known = numbers_of(" ".join((DOCS / f"{page}.md").read_text() for page in pages))
    strange = {}
    for row in rows:
        cells = re.sub(r"\]\(\S+\)", "]", row.split("|", 2)[2])
        if left := numbers_of(cells) - known - {0.0}:
            strange[row] = left
    assert not strange


def test_every_public_name_is_in_the_reference():
    found = api.packages(ROOT / "ddphf")
    modules = {module for package in found.values() for module in package}
    for path in (ROOT / "ddphf").rglob("*.py"):
        module = ".".join(("ddphf", *path.relative_to(ROOT / "ddphf").with_suffix("").parts))
        own, _ = api.exported(path)
        if own and module not in api.SCRIPTS | {"ddphf.__init__"}:
            assert module in modules
    face = api.face()
    for name in ddphf.__all__:
        assert f"ddphf.{name}" in face


@pytest.mark.parametrize("name", sorted(set(ddphf.__all__) - {"__version__"}))
def test_names_of_the_face_say_what_they_take_and_show_it(name):
    value = getattr(ddphf, name)
    text = inspect.getdoc(value)
    assert "Example:" in text
    assert re.search(r"^(Args|Attributes):", text, re.M)
    if inspect.isfunction(value) and name != "all_squares":
        assert "Raises:" in text


def test_python_of_the_pages(tmp_path, monkeypatch, capsys):
    """The fenced programs of three pages, each on its own."""
    monkeypatch.chdir(tmp_path)
    for page in ("windows.md", "learn.md", "search.md"):
        for language, code in blocks((DOCS / page).read_text()):
            if language == "python":
                exec(compile(code, page, "exec"), {})
    assert "p = 0.0" in capsys.readouterr().out


def write_site(folder, **pages):
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return check_links.check(folder)


def test_faults_of_links_are_found(tmp_path):
    assert write_site(tmp_path, index='<a href="a.html#x">a</a>', a='<p id="x">x</p>') == []
    faults = write_site(
        tmp_path,
        index='<a href="a.html#y">a</a><a href="absent.html">b</a><img src="//else.where/x.png">',
        alone="<p>nobody links here</p>",
    )
    assert faults == [
        "alone.html: no page links to it",
        "index.html: loads //else.where/x.png from elsewhere",
        "index.html: no such file: absent.html",
        "index.html: no such place: a.html#y",
    ]


def test_the_gallery_shows_figures_of_documented_commands():
    for entry in gallery.ENTRIES:
        program, name, *_ = entry.command.split()
        assert program == "ddphf"
        assert name in COMMANDS
        assert entry.page in {str(place) for place in stage.pages().values()}


def test_the_licence_of_every_tested_version_is_stated():
    page = (DOCS / "licences.md").read_text()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if "==" in line:
            name, version = line.split("==")
            assert re.search(
                rf"^\| {re.escape(name)} \| {re.escape(version)} \| \S.* \|$", page, re.M
            ), line
    needed, _ = page.split("## Needed for extras")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        name = re.match(r"[\w-]+", line)[0]
        assert re.search(rf"^\| {name} \| ", needed, re.M | re.I), name
    assert "GPL" not in re.sub(r"LGPL-2.1-or-later", "", needed.split("## Needed to run")[1])


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "ddphf/__init__.py"
    recipe = (ROOT / "packaging" / "recipe" / "meta.yaml").read_text()
    assert "load_file_regex" in recipe
    assert ddphf.__version__ not in recipe


def test_the_recipe_asks_for_what_the_package_asks_for():
    recipe = (ROOT / "packaging" / "recipe" / "meta.yaml").read_text()
    run = recipe.split("  run:\n")[1].split("\n\n")[0]
    asked = dict(re.match(r"    - ([\w-]+) ?(.*)", line).groups() for line in run.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = {"matplotlib": "matplotlib-base"}
    for line in project["dependencies"]:
        name, bound = re.match(r"([\w-]+)(.*)", line).groups()
        name = conda.get(name, name.lower())
        assert asked.pop(name) == bound.replace("~=0.7.6", ">=0.7.6,<0.8"), name
    assert asked == {"python": project["requires-python"]}


def test_the_image_has_the_tested_versions():
    text = (ROOT / "packaging" / "Dockerfile").read_text()
    assert "constraints.txt" in text
    assert re.search(r"^FROM python:3\.11-slim", text, re.M)
    assert 'ENTRYPOINT ["ddphf"]' in text
    assert re.search(r"^USER ", text, re.M)


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = {
        job: " ".join(step.get("run", "") for step in content["steps"])
        for job, content in workflow["jobs"].items()
    }
    assert "bash .ci/run" in steps["checks"]
    assert "make dist" in steps["wheel"]
    assert "make docs" in steps["docs"]
    assert workflow["permissions"] == {"contents": "read"}
    assert (ROOT / ".ci/run").read_text().endswith("make test\nexec make docs\n")


def test_no_release_file_names_a_host_or_this_machine():
    for name in ("packaging/Dockerfile", "packaging/recipe/meta.yaml", ".github/workflows/ci.yml"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|index-url|/root/|/home/", text), name
