"""The first analysis file: valid as written, and it builds once its files are there."""

from pathlib import Path

import numpy as np
import pytest
from conftest import invoke

from ddphf.config.analysis import read_analysis


@pytest.mark.parametrize("kind", ["pair", "events"])
def test_the_file_is_valid_as_written(folder, kind):
    outcome = invoke("init", f"--{kind}")
    assert (outcome.code, outcome.out) == (0, "")
    assert "ddphf build analysis.yml -o workspace.json" in outcome.err
    assert read_analysis("analysis.yml").name == "my_search"
    assert invoke("init", f"--{kind}", "-o", "-").out == Path("analysis.yml").read_text()


@pytest.mark.parametrize("kind", ["pair", "events"])
def test_the_options_in_comments_are_valid_too(folder, kind):
    text = invoke("init", f"--{kind}", "-o", "-").out
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("schema"))
    opened = [line.removeprefix("#") for line in lines[head:]]
    Path("open.yml").write_text("\n".join(opened) + "\n")
    config = read_analysis("open.yml")
    assert config.tested.fakes is not None


def test_an_existing_file_stays(folder):
    Path("analysis.yml").write_text("mine")
    outcome = invoke("init")
    assert outcome.code == 2
    assert "analysis.yml: exists; give --force" in outcome.message
    assert Path("analysis.yml").read_text() == "mine"


def test_it_builds_with_histograms(folder):
    invoke("init")
    text = Path("analysis.yml").read_text().replace("histograms.root", "histograms.npz")
    Path("analysis.yml").write_text(text)
    rng = np.random.default_rng(1)
    signal = np.array([1.0, 9.0, 5.0])
    np.savez(
        "histograms.npz", signal=signal, edges_0=np.arange(4.0),
        A_observed=rng.poisson(100.0, 3), B_observed=rng.poisson(100.0 + signal),
    )  # fmt: skip
    outcome = invoke("build", "analysis.yml", "-o", "workspace.json")
    assert outcome.code == 0, outcome.err
