"""Signals between simulated masses: against templates whose truth is known."""

import json

import numpy as np
import pytest
from conftest import invoke
from scipy.stats import norm

from ddphf.masses.morphing import morph_signal
from ddphf.masses.scan import Sample

EDGES = np.linspace(0.0, 20.0, 41)
WEIGHT = 0.001


def peak(mass, yields=50.0):
    """A peak whose width grows with its mass, in common bins."""
    return yields * np.diff(norm.cdf(EDGES, mass, 0.6 + 0.05 * mass))


def signal_of(rows, weight=WEIGHT):
    rows = np.array(rows)
    return Sample("signal", rows, np.sqrt(weight * rows))


def windows(n, edges=EDGES):
    return np.tile(edges, (n, 1))


def test_a_peak_in_common_bins():
    """Mean, width and yield lie between the neighbours'; simulated values stay as they are."""
    at, values = np.array([6.0, 8.0, 10.0]), np.array([6.0, 6.5, 7.0, 8.0, 9.5])
    found = morph_signal(
        signal_of([peak(6, 40), peak(8, 50), peak(10, 60)]), at, values, windows(5), log=False,
        name="m",
    )  # fmt: skip
    for value, row in zip(values, found.signal.yields, strict=True):
        truth = peak(value, 40 + 5 * (value - 6))
        assert row == pytest.approx(truth, abs=0.02 * truth.max())
    assert found.signal.yields[0].tolist() == peak(6, 40).tolist()
    assert np.isnan(found.between[0]).all()
    assert found.between[1].tolist() == [6.0, 8.0]
    assert found.record["n_interpolated"] == 3
    assert abs(found.record["left_out"][0]["yield"]) < 1e-10
    assert found.warnings == ()
    # a mixture of two independent shapes, half of each
    expected = WEIGHT * (45 / 2) ** 2 * (1 / 40 + 1 / 50)
    assert np.sum(found.signal.error[2] ** 2) == pytest.approx(expected, rel=1e-6)


def test_yields_by_log():
    at, values = np.array([6.0, 10.0]), np.array([8.0])
    rows = signal_of([peak(6, 10), peak(10, 40)])
    totals = [
        morph_signal(rows, at, values, windows(1), log=log, name="m").signal.yields.sum()
        for log in (False, True)
    ]
    ends = peak(6, 10).sum(), peak(10, 40).sum()
    assert totals == pytest.approx([np.mean(ends), np.sqrt(ends[0] * ends[1])], rel=1e-12)


def test_windows_that_move_with_the_mass():
    """In such windows a peak stays where it is: the shape is kept, along other bins too."""
    own = np.outer(np.diff(norm.cdf(np.linspace(-4, 4, 11))), [0.2, 0.5, 0.3])
    rows = np.array([10 * own.ravel(), 20 * own.ravel()])
    values = np.array([1.0, 1.5, 2.0])
    edges = values[:, None] + np.linspace(-4, 4, 11)
    found = morph_signal(
        Sample("signal", rows), np.array([1.0, 2.0]), values, edges, log=False, name="m"
    )
    assert found.record["along"] == "bins of the window"
    assert found.signal.error is None
    assert found.signal.yields[1] == pytest.approx(15 * own.ravel(), rel=1e-9)
    assert "nothing checks the interpolation" in found.warnings[0]


def test_leaving_out_says_what_is_missed():
    """Simulations that scatter by their errors agree; one of another shape does not."""
    rng = np.random.default_rng(5)
    at, values = np.arange(4.0, 17.0, 1.0), np.array([4.5])
    rows = [WEIGHT * rng.poisson(peak(m) / WEIGHT) for m in at]
    found = morph_signal(signal_of(rows), at, values, windows(1), log=False, name="m")
    z = [entry["z"] for entry in found.record["left_out"]]
    assert len(z) == 11
    assert abs(np.mean(z)) < 3 / np.sqrt(11) + 0.3
    assert found.warnings == ()
    rows[6] = 1.2 * rows[6]
    (line,) = morph_signal(signal_of(rows), at, values, windows(1), log=False, name="m").warnings
    assert "the worst is m = 10" in line
    assert "simulate more values" in line
    bare = Sample("signal", np.array(rows))
    (line,) = morph_signal(bare, at, values, windows(1), log=False, name="m").warnings
    assert "signal.error is missing" in line


def test_what_leaving_out_says_is_calibrated():
    """Simulations of one truth: z of the middle one is a standard normal number."""
    rng, z = np.random.default_rng(1), []
    at, u = np.array([1.0, 2.0, 3.0]), np.linspace(-4, 4, 7)
    truth = np.tile(np.repeat(np.diff(norm.cdf(u)), 2) * 1000.0, (3, 1))
    for _ in range(200):
        rows = 0.005 * rng.poisson(truth)
        edges = at[:, None] + u
        found = morph_signal(signal_of(rows, 0.005), at, at, edges, log=False, name="m")
        z.append(found.record["left_out"][0]["z"])
    assert abs(np.mean(z)) < 0.25
    assert np.std(z) == pytest.approx(1.0, abs=0.15)


def test_a_scan_between_simulated_masses(tmp_path, monkeypatch):
    """The record says which hypotheses are interpolated, between which, and how well that goes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    values, at = np.array([6.0, 7.0, 8.0, 9.0, 10.0]), np.array([6.0, 8.0, 10.0])
    background = np.full((5, 40), 9.0)
    np.savez(
        "scan.npz", m=values, simulated=at, edges=EDGES, background=background,
        data=np.tile(rng.poisson(9.0, 40), (5, 1)), signal=[peak(m) for m in at],
        signal_error=[np.sqrt(WEIGHT * peak(m)) for m in at],
    )  # fmt: skip
    scan = {
        "schema": "ddphf/masses/1", "name": "peaks",
        "parameter": {"name": "m", "values": "scan.npz:m"},
        "observed": "scan.npz:data", "edges": "scan.npz:edges",
        "background": {"yields": "scan.npz:background"},
        "signal": {
            "yields": "scan.npz:signal", "error": "scan.npz:signal_error",
            "simulated": "scan.npz:simulated",
            "systematics": [{"name": "eff", "type": "normsys", "up": 1.05, "down": 0.95}],
        },
        "poi": {"name": "mu", "bounds": [0, 20]},
    }  # fmt: skip
    (tmp_path / "scan.yml").write_text(json.dumps(scan))
    invoke("masses", "scan.yml", "-o", "masses.json")
    record = json.loads((tmp_path / "masses.json").read_text())
    found = record["hypotheses"]
    assert [h["interpolated"] for h in found] == [False, True, False, True, False]
    assert [h.get("between") for h in found] == [None, [6.0, 8.0], None, [8.0, 10.0], None]
    assert [entry["value"] for entry in record["interpolation"]["left_out"]] == [8.0]
    limits = [h["limit"]["asymptotic"]["expected"][2] for h in found]
    assert limits[1] == pytest.approx((limits[0] * limits[2]) ** 0.5, rel=0.05)
