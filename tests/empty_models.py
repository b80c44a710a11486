"""Small workspaces with empty bins, several of one structure so that they share a compilation."""

import numpy as np

KINDS = ("none", "normfactor", "staterror", "shapesys", "shapefactor")


def make_empty(kind, seed, *, dark=False, n_bins=3):
    """Return a workspace at about one event per bin: one channel, or three with one shapefactor.

    Args:
        kind: What the background carries besides a normsys and a histosys.
        seed: Of the numbers; the structure does not depend on it.
        dark: Leave the background out of the first bin, so that only signal is there.
        n_bins: Bins per channel.
    """
    rng = np.random.default_rng(seed)
    channels, observations = [], []
    for c in range(3 if kind == "shapefactor" else 1):
        background = rng.uniform(0.3, 4, n_bins).round(3)
        signal = rng.uniform(0.2, 2, n_bins).round(3)
        background[0] *= not dark
        modifiers = {
            "none": [],
            "normfactor": [{"name": "norm", "type": "normfactor", "data": None}],
            "staterror": [{"name": "stat", "type": "staterror", "data": 0.3 * background}],
            "shapesys": [{"name": "sys", "type": "shapesys", "data": 0.3 * background}],
            "shapefactor": [{"name": "shape", "type": "shapefactor", "data": None}],
        }[kind]
        for modifier in modifiers:
            if modifier["data"] is not None:
                modifier["data"] = modifier["data"].tolist()
        high, low = (background * 1.1).tolist(), (background * 0.93).tolist()
        modifiers += [
            {"name": "n0", "type": "normsys", "data": {"hi": 1.2, "lo": 0.85}},
            {"name": "h0", "type": "histosys", "data": {"hi_data": high, "lo_data": low}},
        ]
        samples = [{"name": "bkg", "data": background.tolist(), "modifiers": modifiers}]
        if c == 0:
            mu = [{"name": "mu", "type": "normfactor", "data": None}]
            samples.append({"name": "sig", "data": signal.tolist(), "modifiers": mu})
        channels.append({"name": f"c{c}", "samples": samples})
        counts = rng.poisson(background * rng.choice([0.1, 0.5, 1.0]))
        counts[rng.integers(n_bins)] = 0
        observations.append({"name": f"c{c}", "data": counts.astype(float).tolist()})
    parameters = [{"name": "mu", "bounds": [[-20.0, 20.0]], "inits": [rng.choice([0.0, 1.0])]}]
    if kind == "normfactor":
        parameters.append({"name": "norm", "bounds": [[0.0, 50.0]], "inits": [1.0]})
    if kind == "shapefactor":
        parameters.append(
            {"name": "shape", "bounds": [[1e-10, 50.0]] * n_bins, "inits": [1.0] * n_bins}
        )
    return {
        "channels": channels,
        "observations": observations,
        "version": "1.0.0",
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
    }
