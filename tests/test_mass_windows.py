"""Events of a mass scan in windows: against numpy's histograms, and a scan of the same arrays."""

import json

import numpy as np
import pytest
from conftest import invoke

from ddphf.exceptions import InputError
from ddphf.masses.config import read_scan
from ddphf.masses.shared_events import SharedEvents

MASSES = [2.0, 2.5, 3.0]
ANGLES = [0.0, 0.5, 1.0]


def write_events(folder, **changed):
    """Events of data, background with weights, and a signal of two or three masses."""
    rng = np.random.default_rng(8)
    parts = {
        "data": {"m": rng.uniform(0, 6, 300), "angle": rng.random(300)},
        "background": {
            "m": rng.uniform(0, 6, 3000), "angle": rng.random(3000),
            "weight": rng.choice([0.05, 0.15], 3000),
        },
        "signal": {
            "m": np.concatenate([mass + 0.3 * rng.normal(size=2000) for mass in MASSES]),
            "angle": rng.random(6000), "weight": np.full(6000, 0.005),
            "made": np.repeat(MASSES, 2000),
        },
    }  # fmt: skip
    for name, columns in parts.items():
        np.savez(folder / f"{name}.npz", **{**columns, **changed.get(name, {})})
    return {name: {k: np.array(v) for k, v in part.items()} for name, part in parts.items()}


def scan_file(**changed):
    return {
        "schema": "ddphf/masses/1", "name": "events",
        "parameter": {"name": "mass", "values": MASSES},
        "observed": {"events": "data.npz"},
        "background": {"yields": {"events": "background.npz", "weight": "weight"}},
        "signal": {"yields": {"events": "signal.npz", "weight": "weight", "generated": "made"}},
        "window": {
            "column": "m", "resolution": 0.3, "half_width": 4, "bins": 6,
            "other": {"column": "angle", "edges": ANGLES},
        },
        "poi": {"name": "mu", "bounds": [0, 50]},
        **changed,
    }  # fmt: skip


def read(folder, **changed):
    (folder / "scan.yml").write_text(json.dumps(scan_file(**changed)))
    return read_scan(str(folder / "scan.yml"))


def test_windows_are_numpys_histograms(tmp_path):
    parts = write_events(tmp_path)
    scan, files = read(tmp_path)
    assert {file.name for file in files} == {"data.npz", "background.npz", "signal.npz"}
    for i, mass in enumerate(MASSES):
        bins = (mass + 0.3 * np.linspace(-4, 4, 7), ANGLES)

        def fill(part, power, bins=bins):
            weights = part.get("weight", np.ones(len(part["m"]))) ** power
            return np.histogram2d(part["m"], part["angle"], bins=bins, weights=weights)[0].ravel()

        made = {k: v[parts["signal"]["made"] == mass] for k, v in parts["signal"].items()}
        assert scan.edges[i] == pytest.approx(bins[0])
        assert scan.counts[i].tolist() == fill(parts["data"], 1).tolist()
        (background,) = scan.backgrounds
        assert background.yields[i] == pytest.approx(fill(parts["background"], 1), rel=1e-12)
        assert background.error[i] == pytest.approx(np.sqrt(fill(parts["background"], 2)))
        assert scan.signal.yields[i] == pytest.approx(fill(made, 1), rel=1e-12)
        assert scan.signal.error[i] == pytest.approx(np.sqrt(fill(made, 2)))


def test_toys_share_events(tmp_path):
    """In bins that two windows have in common a toy has the same events."""
    write_events(tmp_path)
    window = {"column": "m", "resolution": 0.25, "half_width": 4, "bins": 4}  # bins of 0.5
    scan, _ = read(tmp_path, window=window)
    counts = SharedEvents(scan).draw(np.random.default_rng(1)).counts
    assert counts[0, 1:].tolist() == counts[1, :-1].tolist()
    assert counts[1, 1:].tolist() == counts[2, :-1].tolist()
    assert counts.sum() > 0


def test_events_between_simulated_masses(tmp_path):
    """Each simulated mass has its own window, and those between are interpolated."""
    parts = write_events(tmp_path)
    keep = parts["signal"]["made"] != 2.5
    write_events(tmp_path, signal={k: v[keep] for k, v in parts["signal"].items()})
    signal = {**scan_file()["signal"], "simulated": [2.0, 3.0]}
    found, _ = read(tmp_path, signal=signal)
    write_events(tmp_path)
    truth, _ = read(tmp_path)
    assert found.between[1].tolist() == [2.0, 3.0]
    for i in (0, 2):
        assert found.signal.yields[i].tolist() == truth.signal.yields[i].tolist()
    ends = found.signal.yields[[0, 2]].sum(axis=1)
    assert found.signal.yields[1].sum() == pytest.approx(ends.mean(), rel=1e-12)
    (tmp_path / "scan.yml").write_text(json.dumps(scan_file()))
    invoke("masses", str(tmp_path / "scan.yml"), "-o", str(tmp_path / "masses.json"))
    record = json.loads((tmp_path / "masses.json").read_text())
    assert [h["status"] for h in record["hypotheses"]] == ["converged"] * 3


WRONG = {
    "window. is missing": {"window": None},
    "observed: column 'm' of event 1 is nan": {"data": {"m": [1.0, np.nan], "angle": [0.1, 0.2]}},
    "no column 'eta'": {
        "file": {"window": {**scan_file()["window"], "column": "eta"}},
    },
    "event 0 was simulated for 9": {"signal": {"made": np.full(6000, 9.0)}},
    "'generated' is missing": {"file": {"signal": {"yields": {"events": "signal.npz"}}}},
    "signal.error: follows from": {
        "file": {"signal": {**scan_file()["signal"], "error": [[1.0]]}},
    },
    "'window' makes them": {"file": {"edges": [1.0, 2.0]}},
    "resolution: expected above 0": {
        "file": {"window": {**scan_file()["window"], "resolution": 0}},
    },
    "other.edges: expected two": {
        "file": {"window": {**scan_file()["window"], "other": {"column": "angle", "edges": [1]}}},
    },
    "window: there are no events": {
        "file": {
            "observed": [[1]] * 3, "background": {"yields": [[1.0]] * 3},
            "signal": {"yields": [[1.0]] * 3},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_is_refused(tmp_path, message):
    case = dict(WRONG[message])
    changed = case.pop("file", {})
    drop = [key for key in case if case[key] is None]
    write_events(tmp_path, **{key: case[key] for key in case if key not in drop})
    document = {k: v for k, v in scan_file(**changed).items() if k not in drop}
    (tmp_path / "scan.yml").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        read_scan(str(tmp_path / "scan.yml"))
