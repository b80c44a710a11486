"""Write inputs.npz: two channels of leptonic tau decays, their uncertainties, and one data set.

    python make_inputs.py

3 polar angles x 7 momenta; a signal, a background with a genuine lepton and one with a fake lepton
in each channel; simulation of ten times the data. The data are drawn at equal couplings (R_mu is
the ratio of phase spaces, .9725627) with every nuisance drawn from its prior, so that pulls are as
they are in an experiment. Seeded: the file is the same every time.
"""

from pathlib import Path

import numpy as np

TRUE_RATIO = 0.972562707
SEED = 20_240_514

COS_THETA = np.array([-0.65, -0.1, 0.45, 0.9])
MOMENTUM = np.array([1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0])
SHAPE = (3, 7)

EVENTS = {
    ("electron", "signal"): 3.6e6,
    ("electron", "background"): 2.9e4,
    ("electron", "fake"): 1.1e4,
    ("muon", "signal"): 3.4e6,
    ("muon", "background"): 2.6e4,
    ("muon", "fake"): 2.2e4,
}
FALL = {"signal": 0.25, "background": 1.1, "fake": 2.2}
"""How fast a sample falls with momentum: exp(-FALL x) over the range."""

ANGLES = {"signal": [0.27, 0.45, 0.28], "background": [0.3, 0.42, 0.28], "fake": [0.25, 0.4, 0.35]}


def place():
    """Return position in momentum from 0 to 1 and the angular bin, shape (3, 7) each."""
    angle, momentum = np.meshgrid(np.arange(3), np.arange(7), indexing="ij")
    return momentum / 6.0, angle


def yields(sample: str, channel: str, events: float):
    x, _ = place()
    bump = 1.0 - (0.2 if channel == "muon" else 0.05) * np.exp(-((x / 0.15) ** 2))
    shape = np.array(ANGLES[sample])[:, None] * np.exp(-FALL[sample] * x) * bump
    return events * shape / shape.sum()


def shapes():
    """Relative shape variations by name and channel, shape (3, 7)."""
    x, angle = place()
    wave = {
        "FSR_shape": {"electron": 8e-4 * np.cos(np.pi * x), "muon": 3e-4 * np.cos(np.pi * x)},
        "photon_eff": 6e-4 * np.cos(np.pi * (x + 0.1 * angle)),
        "pi0_eff": 9e-4 * np.sin(np.pi * (x - 0.35)),
        "NN_selection": 7e-4 * (x - 0.5) * np.ones_like(x) + 2e-4 * (angle - 1),
        "ISR_shape": 4e-4 * np.cos(2 * np.pi * x),
        "photon_energy_bias": 3e-4 * np.sin(2 * np.pi * x + 0.4),
    }
    out = {}
    for name, value in wave.items():
        for channel in ("electron", "muon"):
            out[name, channel] = value[channel] if isinstance(value, dict) else value
    out["decay_in_flight", "muon"] = 0.05 - 0.02 * x
    return out


def calibrations():
    """Statistical and systematic relative errors of 7 momentum bins by name."""
    x = np.arange(7) / 6.0
    return {
        "electron_ID": (6e-4 + 4e-4 * x, 2.2e-3 * (1.0 + 0.9 * (2 * x - 1) ** 2)),
        "muon_ID": (7e-4 + 3e-4 * (1 - x), 2.6e-3 * (1.0 + 1.2 * (1 - x) ** 2)),
        "electron_misID": (0.03 + 0.02 * x, 0.09 * np.ones(7)),
        "muon_misID": (0.02 + 0.02 * x, 0.07 * np.ones(7)),
    }


def main() -> None:
    rng = np.random.default_rng(SEED)
    out = {
        "edges_0": COS_THETA,
        "edges_1": MOMENTUM,
        "axis_names": np.array(["cos_theta", "momentum"]),
        "axis_units": np.array(["", "GeV"]),
        "composition": np.tile(np.eye(7), (3, 1)),
    }
    nominal = {key: yields(key[1], key[0], events) for key, events in EVENTS.items()}
    factor = {key: np.ones(SHAPE) for key in nominal}
    for channel, sample in nominal:
        expected = nominal[channel, sample]
        out[f"{channel}_{sample}"] = expected
        out[f"{channel}_{sample}_mc"] = np.sqrt(expected / 10.0)
        factor[channel, sample] *= 1 + np.sqrt(0.1 / expected) * rng.standard_normal(SHAPE)
        pi0 = {"signal": 5e-4, "background": 0.03, "fake": 0.05}[sample]
        out[f"{channel}_{sample}_pi0"] = pi0 * expected
        factor[channel, sample] *= 1 + pi0 * rng.standard_normal(SHAPE)
        if sample != "fake":
            control = {"signal": 8e-4, "background": 0.01}[sample]
            out[f"{channel}_{sample}_control"] = control * expected
            factor[channel, sample] *= 1 + control * rng.standard_normal(SHAPE)
    for (name, channel), shift in sorted(shapes().items()):
        out[f"{name}_{channel}_up"], out[f"{name}_{channel}_down"] = 1 + shift, 1 - shift
    # One draw of every nuisance that samples share.
    draws = {name: rng.standard_normal() for name in sorted({n for n, _ in shapes()})}
    for channel, sample in nominal:
        for name, draw in draws.items():
            if (name, channel) in shapes() and (name != "decay_in_flight" or sample == "fake"):
                factor[channel, sample] *= 1 + draw * shapes()[name, channel]
    for name, (statistical, systematic) in calibrations().items():
        out[f"{name}_statistical"], out[f"{name}_systematic"] = statistical, systematic
        channel, kind = name.split("_")
        shift = statistical * rng.standard_normal(7) + systematic * rng.standard_normal()
        for sample in ("signal", "background") if kind == "ID" else ("fake",):
            factor[channel, sample] *= 1 + shift
    common = 1 + 0.003 * rng.standard_normal() + 0.006 * rng.standard_normal()  # tracking, lumi
    for name, error in (("background", 0.05), ("fake", 0.1)):
        for channel in ("electron", "muon"):
            factor[channel, name] *= (1 + error) ** rng.standard_normal()
    for channel in ("electron", "muon"):
        total = np.zeros(SHAPE)
        for sample in ("signal", "background", "fake"):
            ratio = TRUE_RATIO if (channel, sample) == ("muon", "signal") else 1.0
            total += common * ratio * factor[channel, sample] * nominal[channel, sample]
        out[channel] = rng.poisson(total).astype(float)
    np.savez_compressed(Path(__file__).with_name("inputs.npz"), **out)
    print(", ".join(f"{c} {out[c].sum():.0f}" for c in ("electron", "muon")), "events")


if __name__ == "__main__":
    main()
