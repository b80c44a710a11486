"""A new user's first hour: commands and YAML of README, docs and --help, run as they are written.

One folder, the pages in the order in which README names them. The fast replay draws few toys and
leaves out what takes minutes; the slow one changes nothing. Both print each command's processor
seconds.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml
from bump_data import drawn, smooth, with_bump, write_spectrum
from click.testing import CliRunner
from conftest import Outcome, invoke
from environments import with_tree
from layers import processor_seconds
from test_correlations import write_published
from test_lepton_id_build import write_event_analysis

from ddphf.cli.main import COMMANDS, group
from ddphf.config.analysis import parse_analysis

ROOT = Path(__file__).parents[1]
WINDOW, EVENTS = ROOT / "workspaces/higgs_lfv_window", ROOT / "workspaces/higgs_lfv_asymmetric"
PAGES = (
    "README.md", "docs/fit.md", "docs/rank.md", "docs/limits.md", "docs/discover.md",
    "docs/yields.md", "docs/publish.md", "docs/report.md", "docs/study_birman.md",
    "docs/search.md", "docs/learn.md", "docs/bumps.md", "docs/inject.md", "docs/lepton_id.md",
    "docs/masses.md", "docs/convert.md",
)  # fmt: skip
OTHER_TESTS = {
    "docs/getting_started.md": "test_ten_commands_from_nothing_to_a_report",
    "docs/ratio.md": "test_the_page_of_ratios",
    "docs/analysis_file.md": "test_the_steps_of_the_analysis_file",
    "docs/distributed.md": "tests/test_distributed.py",
    "docs/hepdata.md": "tests/test_publish_docs.py",
    "docs/reproduce.md": "tests/test_publish_docs.py",
}
SAMPLES = {
    f"workspaces/{name}/README.md": name
    for name in ("flat_reference", "higgs_lfv_asymmetric", "tau_ratio", "zprime_scan", "published")
}
MINUTES = ("study birman", "verify", "pyhf", "correlations", "bumps train")
PYHF = "from pyhf.cli import cli; cli()"
"""In a process of its own: it leaves files open."""
TOYS, WEIGHTED = 100, 1000
"""Of the fast replay; importance sampling asks for enough of them beyond the observed q0."""


def commands(text):
    """Return the indented command lines of a page, comments taken off; synopses have brackets."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\\\n", " ")
    lines = re.findall(r"^    ((?:ddphf|pyhf) .*)$", text, re.MULTILINE)
    lines = [re.sub(r"\s+#.*", "", line) for line in lines]
    return [line for line in lines if "[" not in line and not re.search(r"ddphf \S+ [A-Z]+ ", line)]


def blocks(text):
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def run_line(line, times, *, replace=True):
    """Run a line, pipes included; an output that an earlier page has made is replaced."""
    start, out = processor_seconds(), ""
    for part in line.split(" | "):
        words = shlex.split(part)
        if words[0] == "pyhf":
            command = [sys.executable, "-c", PYHF, *words[1:]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            outcome = Outcome(done.returncode, done.stdout, done.stderr)
        else:
            force = ["--force"] if replace and len(words) > 2 and "-h" not in words else []
            outcome = invoke(*words[1:], *force, stdin=out)
        assert outcome.code == 0, f"{part}: {outcome.err}"
        out = outcome.out
    times[line] = processor_seconds() - start
    print(f"{times[line]:7.1f} s  {line}", flush=True)  # at once: a test may be ended
    return outcome


def prepare(folder):
    """What a reader of the pages has: the repository, its histograms, and a signal of their own."""
    (folder / "workspaces").symlink_to(ROOT / "workspaces")
    shutil.copy(WINDOW / "histograms.root", folder)
    (folder / "analysis.yml").write_text(blocks((ROOT / "README.md").read_text())[0])
    with uproot.open(WINDOW / "histograms.root") as file:
        signal = file["signal"].to_hist()
    with uproot.recreate(folder / "my.root") as file:
        file["signal"] = file["h"] = signal
    write_published(folder)
    write_spectrum("spectrum.csv", {"observed": drawn(with_bump(smooth(), 25, 300.0))})
    for name in ("scan.yml", "scan.npz"):
        shutil.copy(ROOT / "workspaces/zprime_scan" / name, folder)


def add_selections(analysis):
    analysis["search"] = {
        "observables": [{"column": "mass", "edges": {"bins": 4, "low": 30, "high": 70}}],
        "grid": {"pt1": [20, 35]},
    }


def add_variables(analysis):
    analysis["learn"] = {"variables": [{"column": "mass"}], "redraws": 99}


def lay_out(page):
    """Some pages speak of analyses that have what README's has not, or of new data."""
    if page == "docs/search.md":  # new data: the known background, drawn again
        with uproot.open(WINDOW / "histograms.root") as file:
            shapes = [file["background"].to_hist() for _ in "BA"]
        rng = np.random.default_rng(11)
        with uproot.recreate("new.root") as file:
            for name, shape in zip("BA", shapes, strict=True):
                found = rng.poisson(shape.values()).astype(float)
                file[f"{name}_observed"] = (found, *(axis.edges for axis in shape.axes))
        text = Path("analysis.yml").read_text().replace("histograms.root", "new.root")
        analysis = yaml.safe_load(text)
        del analysis["tested"]["signal"]
        Path("new.yml").write_text(yaml.safe_dump(analysis))
        Path("tables").mkdir()  # of events, with selections
        made = yaml.safe_load(write_event_analysis(Path("tables"), add_selections).read_text())
        Path("selections.yml").write_text(yaml.safe_dump(made))
        for path in Path("tables").iterdir():
            if path.suffix != ".yml":
                shutil.move(path, path.name)
    if page == "docs/learn.md":
        Path("learned").mkdir()
        made = write_event_analysis(Path("learned"), add_variables)
        shutil.copy(made, "events.yml")
        for path in Path("learned").iterdir():
            if path.suffix != ".yml":
                shutil.copy(path, path.name)
    if page == "docs/bumps.md":
        pair = {"emu": drawn(with_bump(smooth(), 25, 300.0)), "mue": drawn(smooth(), seed=2)}
        Path("spectra").mkdir()
        for name, counts in pair.items():
            write_spectrum(f"{name}.csv", {"observed": counts})
            write_spectrum(f"spectra/{name}.csv", {"observed": counts})
    if page == "docs/inject.md":
        known = "background: {known: histograms.root:background}\n"
        Path("analysis.yml").write_text(Path("analysis.yml").read_text() + known)
        assert invoke("build", "analysis.yml", "-o", "workspace.json", "--force").code == 0
    if page == "docs/lepton_id.md":
        for path in EVENTS.iterdir():
            if path.suffix in (".csv", ".parquet", ".yml") or path.name == "muon_id.json":
                shutil.copy(path, path.name)
        write_published(Path())  # tables of other pages had the same names


def replay(folder, *, fast):
    times = {}
    prepare(folder)
    for page in PAGES:
        lay_out(page)
        for line in commands((ROOT / page).read_text()):
            if fast:
                if line.removeprefix("ddphf ").startswith(MINUTES):
                    continue
                most = WEIGHTED if "importance" in line else TOYS
                line = re.sub(r"--toys \d+", f"--toys {most}", line)
            run_line(line, times)
            if "publish" in line:
                with tarfile.open("pair.tar.gz") as bundle:
                    bundle.extract("BkgOnly.json", filter="data")
    return times


def test_pages_as_written(folder):
    times = replay(folder, fast=True)
    used = {line.split()[1] for line in times}
    assert used >= set(COMMANDS) - {"init", "verify", "study", "correlations"}


LAST = ("correlations", "init")
"""Their examples are about analyses that the others must not see."""
SHORTER = {"verify": "--level 1", "correlations": "--toys 4", "study": "--toys 32"}


def test_examples_of_help(folder):
    """Every one is run, with few toys."""
    prepare(folder)
    times = {}
    for name in (*sorted(set(COMMANDS) - set(LAST)), *LAST):
        if name == "correlations":
            lay_out("docs/lepton_id.md")
        if name == "learn":
            lay_out("docs/learn.md")
        line = re.sub(r"--toys \d+", f"--toys {TOYS}", example_of(name))
        run_line(f"{line} {SHORTER.get(name, '')}", times)


@pytest.mark.slow
def test_pages_as_written_and_nothing_left_out(folder):
    replay(folder, fast=False)


def test_every_page_with_commands_is_replayed():
    for path in (ROOT / "docs").glob("*.md"):
        page = f"docs/{path.name}"
        if commands(path.read_text()):
            assert page in PAGES or page in OTHER_TESTS, page


def test_ten_commands_from_nothing_to_a_report(folder):
    lines = commands((ROOT / "docs/getting_started.md").read_text())
    assert len(lines) == 10
    shutil.copy(WINDOW / "histograms.root", folder)
    times = {}
    for line in lines:
        run_line(line, times, replace=False)  # none stands in the way of another
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("figures/limit.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_of_ratios(folder):
    for name in ("ratio.yml", "inputs.npz"):
        shutil.copy(ROOT / "workspaces/tau_ratio" / name, folder)
    for line in commands((ROOT / "docs/ratio.md").read_text()):
        run_line(re.sub(r"--toys \d+", "--toys 4", line), {})


def replay_sample(page):
    Path("workspaces").symlink_to(ROOT / "workspaces")
    Path("build/published/higgs_lfv_window").mkdir(parents=True)
    for line in commands((ROOT / page).read_text()):
        if not line.removeprefix("ddphf ").startswith(MINUTES):
            line = re.sub(r"--toys \d+", f"--toys {WEIGHTED}", line)
            run_line(line.replace("../../../", ""), {})


@pytest.mark.parametrize("page", sorted(set(SAMPLES) - {"workspaces/published/README.md"}))
def test_commands_of_the_samples(folder, page):
    replay_sample(page)


@pytest.mark.slow
def test_commands_of_the_published_bundles(folder):
    replay_sample("workspaces/published/README.md")


def test_the_steps_of_the_analysis_file(folder):
    """Every step builds; the reference below them parses."""
    text = (ROOT / "docs/analysis_file.md").read_text()
    steps, reference = text.split("## Every key")
    for source in (WINDOW, EVENTS):
        for path in source.iterdir():
            if path.suffix in (".root", ".csv", ".json", ".parquet"):
                (folder / path.name).unlink(missing_ok=True)
                (folder / path.name).symlink_to(path)
    times = {}
    assert len(blocks(steps)) == 4
    for block in blocks(steps):
        Path("analysis.yml").write_text(block)
        (line,) = commands(steps)
        run_line(line.replace("workspace.json", "built.json"), times)
    for block in blocks(reference):
        known = set(yaml.safe_load(block))
        head = {"schema": "ddphf/analysis/1", "name": "x"}
        if "partner" not in known:
            head["partner"] = {"label": "emu", "select": "l1_flavour == 11"}
        missing = {key: value for key, value in head.items() if key not in known}
        text = (yaml.safe_dump(missing) if missing else "") + block
        assert parse_analysis(text, folder=folder).tested.label == "mue"


SUBCOMMAND = {
    "bumps": ("bumps", "scan"),
    "study": ("study", "birman"),
    "search": ("search", "pair"),
    "learn": ("learn", "test"),
}


def help_of(name):
    return invoke(*SUBCOMMAND.get(name, (name,)), "--help").out


def example_of(name):
    """Return the example of a command's help, which stands in one line."""
    return re.search(r"^  Example: (ddphf .*)\n\n", help_of(name), re.MULTILINE)[1]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_every_command(name):
    text = help_of(name)
    for option in ("-o, --output", "--force", "-v, --verbose", "-q, --quiet", "-h, --help"):
        assert option in text
    assert shlex.split(example_of(name))[1] == name


def test_completion_of_bash_offers_the_commands():
    """README's line defines a completion in bash; then bash asks this way."""
    line = re.search(
        r'^    (eval "\$\(_DDPHF_COMPLETE=.*?\)")', (ROOT / "README.md").read_text(), re.M
    )[1]
    script = f'ddphf() {{ "{sys.executable}" -m ddphf "$@"; }}; {line}; complete -p ddphf'
    done = subprocess.run(
        ["bash", "-c", script], env=with_tree(), capture_output=True, text=True, check=False
    )
    assert "-F _ddphf_completion ddphf" in done.stdout, done.stderr
    for typed, offered in (("ddphf li", "limit"), ("ddphf fit --me", "--measurement")):
        asked = {
            "_DDPHF_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        }
        found = CliRunner().invoke(group, env=asked, prog_name="ddphf").output
        assert f"plain,{offered}" in found.splitlines()
