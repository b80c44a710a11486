"""A detector to try the whole chain on: true efficiencies drawn, events, fakes, files, the pair.

Events have a mass and two leptons of different flavour; the label is which flavour leads. The
tested sample has a leading muon, the partner a leading electron. Everything that the analysis is
told is nominal; what happens is drawn from the stated errors.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from ddphf.config.analysis import parse_analysis
from ddphf.symmetry.load import load_pair

__all__ = ["Truth", "draw_events", "draw_truth", "read_pair", "write_files"]

PT = np.array([10.0, 25.0, 35.0, 45.0, 55.0, 120.0])
MASS = {"bins": 10, "low": 40.0, "high": 140.0}
SIGNAL = (80.0, 6.0)
"""Mean and width of the signal's mass."""

EFFICIENCY = {
    11: {"value": [0.60, 0.70, 0.76, 0.80, 0.82], "statistical": 0.030, "tag": 0.010},
    13: {"value": [0.80, 0.86, 0.90, 0.92, 0.93], "statistical": 0.015, "tag": 0.005},
}
"""Relative errors: independent per bin, and one source of all bins of a map."""

FACTOR = {
    11: {"value": [0.30, 0.24, 0.20, 0.20, 0.20], "statistical": 0.20, "prompt": 0.25},
    13: {"value": [0.10, 0.10, 0.10, 0.10, 0.10], "statistical": 0.10, "prompt": 0.10},
}
"""Of loose leptons, the same way; above 15 % in all bins of the electron map."""

LOOSE = {"tested": (12_000, 11), "partner": (4000, 13)}
"""Mean size of the control regions, and the flavour of their loose lepton, the second one."""

NAMES = {11: "electron", 13: "muon"}


@dataclass(frozen=True)
class Truth:
    """What the detector does.

    Attributes:
        efficiency: By flavour, per bin of pT.
        factor: Fake factors, the same way.
        per_jet: Relative change of the tested sample's efficiency for each jet; no map knows it.
        signal: Mean number of signal events before the efficiencies.
        events: Mean number of other events before the efficiencies, in each sample.
    """

    efficiency: dict
    factor: dict
    per_jet: float = 0.0
    signal: float = 0.0
    events: float = 30_000


def draw_truth(rng, **options):
    """Draw true efficiencies and fake factors from their nominal values and covariance."""

    def draw(entry):
        value = np.array(entry["value"])
        source = next(v for k, v in entry.items() if k not in ("value", "statistical"))
        shift = entry["statistical"] * rng.normal(size=value.size) + source * rng.normal()
        return np.clip(value * (1 + shift), 0.0, None)

    return Truth(
        efficiency={code: np.minimum(draw(e), 1.0) for code, e in EFFICIENCY.items()},
        factor={code: draw(e) for code, e in FACTOR.items()},
        **options,
    )


def _pt_bin(pt):
    return np.clip(np.searchsorted(PT, pt, side="right") - 1, 0, PT.size - 2)


def _kinematics(rng, n, lead, peak=False):
    """Return n events whose leading lepton has flavour ``lead``; the mass goes with its pT."""
    mass = rng.normal(*SIGNAL, n) if peak else 40 + 100 * rng.beta(1.2, 2.2, n)
    pt1 = np.clip(mass * rng.normal(0.5, 0.06, n), 26, 119)
    return {
        "mass": mass, "pt1": pt1, "pt2": 10.01 + (pt1 - 11) * rng.beta(1.5, 1.5, n),
        "f1": np.full(n, lead), "f2": np.full(n, 24 - lead),
        "n_jets": rng.poisson(0.5 + mass / 100),
    }  # fmt: skip


def _chance(events, truth):
    """Probability to be found, by the true efficiencies of both leptons."""
    chance = np.ones(len(events["mass"]))
    for number in ("1", "2"):
        for code, values in truth.efficiency.items():
            here = events["f" + number] == code
            chance[here] *= values[_pt_bin(events["pt" + number][here])]
    jets = np.where(events["f1"] == 13, 1 + truth.per_jet * events["n_jets"], 1.0)
    return chance * jets


def _take(events, mask):
    return {name: column[mask] for name, column in events.items()}


def draw_events(rng, truth):
    """Return the tables: events of both samples with their fakes, and the control regions."""
    parts, loose = [], []
    for role, lead in (("tested", 13), ("partner", 11)):
        prompt = _kinematics(rng, rng.poisson(truth.events), lead)
        parts.append(_take(prompt, rng.random(len(prompt["mass"])) < _chance(prompt, truth)))
        mean, code = LOOSE[role]
        factors = truth.factor[code]
        fakes = _kinematics(rng, rng.poisson(mean), lead)
        chance = factors[_pt_bin(fakes["pt2"])]
        parts.append(_take(fakes, rng.random(len(chance)) < chance))
        loose.append(_kinematics(rng, rng.poisson(mean), lead))
    if truth.signal:
        signal = _kinematics(rng, rng.poisson(truth.signal), 13, peak=True)
        parts.append(_take(signal, rng.random(len(signal["mass"])) < _chance(signal, truth)))
    join = {}
    for name, tables in (("events", parts), ("loose", loose)):
        join[name] = {k: np.concatenate([t[k] for t in tables]) for k in tables[0]}
    join["loose"]["loose_flavour"] = np.where(join["loose"]["f1"] == 13, 11, 13)
    return join


def write_files(folder: Path, *, closure=(), lepton_id=True, fake_errors=True):
    """Write the maps, the signal and the analysis: what an analyst knows, none of the truth."""
    for prefix, maps in (("id", EFFICIENCY), ("loose", FACTOR)):
        for code, entry in maps.items():
            value = np.array(entry["value"])
            on = lepton_id if prefix == "id" else fake_errors
            columns = {"value": value} | {
                key: error * value * on for key, error in entry.items() if key != "value"
            }
            header = ",".join(["pt_low", "pt_high", *columns])
            rows = np.column_stack([PT[:-1], PT[1:], *columns.values()])
            text = "\n".join(",".join(repr(float(x)) for x in row) for row in rows)
            (folder / f"{prefix}_{NAMES[code]}.csv").write_text(f"{header}\n{text}\n")
    rng = np.random.default_rng(1)
    signal = _kinematics(rng, 20_000, 13, peak=True)
    nominal = Truth({c: np.array(e["value"]) for c, e in EFFICIENCY.items()}, {})
    signal["w"] = 500 / 20_000 * _chance(signal, nominal)
    np.savez(folder / "signal.npz", **signal)
    fakes = {
        "events": "loose.npz",
        "lepton": {"flavour": "loose_flavour", "pt": "pt2"},
        "maps": {
            name: {"file": f"loose_{name}.csv", "columns": {"sources": ["prompt"]}}
            for name in NAMES.values()
        },
    }
    analysis = {
        "schema": "ddphf/analysis/1",
        "name": "pseudo_experiment",
        "events": {
            "file": "events.npz",
            "axes": [{"column": "mass", "unit": "GeV", "edges": MASS}],
            "leptons": [{"flavour": "f1", "pt": "pt1"}, {"flavour": "f2", "pt": "pt2"}],
        },
        "tested": {
            "label": "mue",
            "select": "f1 == 13",
            "signal": {"events": "signal.npz", "weight": "w", "error": "none"},
            "fakes": fakes,
        },
        "partner": {"label": "emu", "select": "f1 == 11", "fakes": fakes},
        "signal_scale": "auto",
        "lepton_id": {
            "maps": {
                name: {
                    "file": f"id_{name}.csv",
                    "kind": "efficiency",
                    "columns": {"sources": ["tag"]},
                }
                for name in NAMES.values()
            },
        },
        **({"closure": list(closure)} if closure else {}),
    }
    (folder / "analysis.yml").write_text(yaml.safe_dump(analysis, sort_keys=False))


def read_pair(folder: Path, tables):
    """Write the tables of one pseudo-experiment and read the pair as ``ddphf build`` does."""
    for name, columns in tables.items():
        np.savez(folder / f"{name}.npz", **columns)
    return load_pair(parse_analysis((folder / "analysis.yml").read_text(), folder=folder))
