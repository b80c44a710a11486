"""The study of symmetrised NPLM, small; and the nuisances of the fakes of a large sample."""

import numpy as np
import pytest
from conftest import invoke
from test_lepton_id_build import write_event_analysis

from ddphf.config.analysis import read_analysis
from ddphf.figures.nplm import draw_nplm
from ddphf.files import to_json
from ddphf.learning.read_labels import KEPT, _count, _fake_changes, _fake_columns
from ddphf.results.learn import LearnResult
from ddphf.results.registry import check_record
from ddphf.search.event_nuisances import other_directions
from ddphf.search.read_events import read_base_events
from ddphf.studies import nplm
from ddphf.studies.nplm_table import nplm_text

LEARN = {"variables": [{"column": "mass", "label": "collinear mass", "unit": "GeV"}]}


@pytest.fixture
def sample(tmp_path):
    path = write_event_analysis(tmp_path, lambda analysis: analysis.update(learn=LEARN))
    return read_analysis(path, needs_signal=False)


def test_the_study_with_a_sample(sample, tmp_path, monkeypatch):
    for name, value in {
        "EPOCHS": (50, 100), "CASES": (("tail", 10, 200), ("bulk", 40, 2_500)),
        "LUMINOSITY": (200, 400), "PERMUTED": (400,),
    }.items():  # fmt: skip
        monkeypatch.setattr(nplm, name, value)
    monkeypatch.setattr("ddphf.studies.nplm_sample.PAPER_POOL", 3_000)
    monkeypatch.setattr("ddphf.studies.nplm_sample.TRAININGS", 5)
    result = nplm.run_nplm_study(sample=sample, toys=3, redraws=100, seed=1)
    record = result.to_dict()
    assert check_record(record) is None
    assert LearnResult.from_dict(record).to_dict() == record
    study = record["study"]
    assert [row["events"] for row in study["sample"]["rows"]] == [4000, 3000]
    for row in study["sample"]["rows"]:
        for test in ("default", "permutation", "network", "nplm"):
            assert 0 < row[test]["p"] <= 1
    assert study["luminosity"][1]["t_ideal"] == pytest.approx(
        2 * study["luminosity"][0]["t_ideal"], rel=1e-3
    )
    assert all(row["why"] and row["ours"] for row in study["table"])
    assert any(row["paper"] == "2 sigma where Z_id is 5" for row in study["table"])
    assert [row["where"] for row in study["permutation"]] == list(nplm.DIFFERENCES)
    text = nplm_text(study, 1)
    for part in (
        "| quantity | paper | ours | why different |", "collinear mass of from_events",
        "## What the source leaves unstated", "inbarsavoray/LFVNN-symmetrized",
    ):  # fmt: skip
        assert part in text
    assert [name for name, _ in draw_nplm(study)] == [
        "null.png",
        "luminosity.png",
        "permutation.png",
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.json").write_text(to_json(record))
    assert invoke("report", "study.json", "-o", "page.html").code == 0
    assert "the loss has no minimum to reach" in (tmp_path / "page.html").read_text()


def test_permutation_fails_by_how_much_efficiencies_move():
    """A turn-on moves few events, a step half of them: p < .05 in some and in most experiments."""
    step, fading = (
        nplm._permutation(np.random.default_rng(2), where, 4_000, 12, 99, 1)
        for where in nplm.DIFFERENCES
    )
    assert step["permutation"] > fading["permutation"] + 0.15
    assert fading["redraws"] < 0.2
    assert step["redraws"] < 0.2
    pt = np.array([20.0, 30.0, 1e4])
    ratios = [ratio(pt).tolist() for ratio in nplm.DIFFERENCES.values()]
    assert ratios[0] == [0.8, 0.8, 1.0]
    assert ratios[1] == pytest.approx([0.8, 1 - 0.2 / np.e, 1.0])


def test_few_directions_of_the_fakes_are_those_of_the_whole_table(sample):
    """What is left out adds less than 1 % to the variance of any sum of residuals."""
    read = read_base_events(sample, [("learn.variables", "mass")], "learn")
    base, counts = read.base, _count(read.base)
    used = np.flatnonzero(base.event & base.known)
    changes = _fake_changes(base, counts, other_directions(sample, read.samples, base))
    found, said = _fake_columns(base, counts, changes, used)
    assert said == []
    place, n = counts
    s = (base.ratio / (1 + base.ratio))[used]
    table = []
    for b, a in changes:
        k_b, k_a = (np.where(n > 0, c / np.maximum(n, 1), 0)[place][used] for c in (b, a))
        table.append(k_b - s * (k_b + k_a))
    table = np.array(table).T
    root = np.sqrt(base.share * (1 - base.share))[used]
    both = np.concatenate([table, found], axis=1) / root[:, None]
    values, axes = np.linalg.eigh(both.T @ both)  # the few directions in which either moves
    basis = both @ axes[:, values > 1e-9] / np.sqrt(values[values > 1e-9])
    whole, few = (basis.T @ (t / root[:, None]) for t in (table, found))
    left = np.linalg.eigvalsh(whole @ whole.T - few @ few.T)
    assert left.min() > -1e-4
    assert left.max() < KEPT
    assert found.shape[1] < len(changes)


def test_more_directions_than_are_taken_are_said(sample, monkeypatch):
    monkeypatch.setattr("ddphf.learning.read_labels.MOST_FAKES", 2)
    from ddphf.learning.read_labels import read_labelled_events

    events = read_labelled_events(sample)
    assert sum(n["name"].startswith("fakes_") for n in events.nuisances) == 2
    assert any("directions of the fakes" in line and "at most" in line for line in events.warnings)
