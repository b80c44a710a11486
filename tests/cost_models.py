"""Workspaces of any size for measurements of cost: generated, seeded, of general structure."""

from __future__ import annotations

import numpy as np


def spectrum(bins, nuisances, *, two_sided=False, noise=0.0, seed=1):
    """One channel, a peak over a falling background with histosys on it.

    Two-sided variations go to shapes of their own at +1 and -1 sigma: most are suspected of a
    second minimum. With noise, a fraction of each yield, they are variations of few simulated
    events: all are suspected, and there are several minima indeed.
    """
    rng = np.random.default_rng(seed)
    x = (np.arange(bins) + 0.5) / bins
    background = 2e5 / bins * np.exp(-2 * x)
    signal = 6e3 / bins * np.exp(-0.5 * ((x - 0.4) / 0.05) ** 2)
    variations = []
    for i in range(nuisances):
        size = 0.02 * rng.uniform(0.3, 1) / (1 if two_sided else np.sqrt(1 + i / 10))
        up = size * np.sin((i % 12 + 1) * np.pi * x + i)
        down = -up
        if two_sided:
            down = 0.02 * rng.uniform(0.3, 1) * np.sin((i % 7 + 1) * np.pi * x + 2 * i)
        if noise:
            down = -up * rng.uniform(0.3, 1.5) + noise * rng.normal(size=bins)
        data = {"hi_data": (background * (1 + up)).tolist()}
        data["lo_data"] = (background * (1 + down)).tolist()
        variations.append({"name": f"shape{i:04d}", "type": "histosys", "data": data})
    return workspace(
        [
            {
                "name": "c",
                "samples": [
                    {"name": "signal", "data": signal.tolist(), "modifiers": [STRENGTH]},
                    {"name": "background", "data": background.tolist(), "modifiers": variations},
                ],
            }
        ],
        [rng.poisson(background + signal)],
    )


STRENGTH = {"name": "mu", "type": "normfactor", "data": None}


def foreign(channels, bins, norms, shapes, *, one_sided=0, seed=1):
    """Channels of four samples with normsys, histosys and staterror, as experiments publish them.

    Parameters: 2 + norms + shapes + channels x bins.
    """
    rng = np.random.default_rng(seed)
    out, observations = [], []
    for c in range(channels):
        falling = np.exp(-np.linspace(0, 3, bins))
        yields = {
            name: rng.uniform(low, high, bins) * falling
            for name, low, high in (
                ("signal", 5, 30), ("top", 200, 400), ("w_jets", 100, 300), ("fakes", 10, 60),
            )
        }  # fmt: skip
        samples = []
        for name, nominal in yields.items():
            modifiers = [dict(STRENGTH)] if name == "signal" else []
            if name == "top":
                modifiers = [{"name": "k_top", "type": "normfactor", "data": None}]
            for i in range(norms):
                if rng.random() < 0.5 or name == "top":
                    data = {"hi": 1 + rng.uniform(0.005, 0.06), "lo": 1 - rng.uniform(0.005, 0.06)}
                    modifiers.append({"name": f"norm{i}", "type": "normsys", "data": data})
            for i in range(shapes):
                if rng.random() < 0.5 or name == "top":
                    tilt = 0.02 * rng.normal() * np.linspace(-1, 1, bins)
                    offset = 0.04 if i < one_sided else 0.0
                    data = {"hi_data": (nominal * (1 + tilt + offset)).tolist()}
                    data["lo_data"] = (nominal * (1 - 0.8 * tilt + 0.9 * offset)).tolist()
                    modifiers.append({"name": f"shape{i}", "type": "histosys", "data": data})
            error = {"name": f"stat_{c}", "type": "staterror", "data": (0.04 * nominal).tolist()}
            samples.append(
                {"name": name, "data": nominal.tolist(), "modifiers": [*modifiers, error]}
            )
        out.append({"name": f"region{c}", "samples": samples})
        observations.append(rng.poisson(sum(yields.values())))
    return workspace(out, observations)


def workspace(channels, observations):
    poi = {"name": "mu", "bounds": [[-20.0, 20.0]], "inits": [1.0]}
    return {
        "version": "1.0.0",
        "channels": channels,
        "observations": [
            {"name": channel["name"], "data": counts.tolist()}
            for channel, counts in zip(channels, observations, strict=True)
        ],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [poi]}}],
    }
