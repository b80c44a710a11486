"""Generated workspaces: any mixture of modifiers over one to three channels."""

import numpy as np
from hypothesis import strategies as st

CODES = [(n, h) for n in ("code4", "code1") for h in ("code4p", "code0")]


@st.composite
def zoo(draw, max_bins=3):
    """Draw a workspace; hypothesis draws its structure, a seeded generator its numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_channels = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, max_bins)) for _ in range(n_channels)]
    if draw(st.booleans()):
        sizes = [sizes[0]] * n_channels
    lumi = draw(st.booleans())
    holes = draw(st.integers(0, 4)) == 0  # samples that are absent from some bins
    channels, observations = [], []
    for c, n_bins in enumerate(sizes):
        samples = []
        for s in range(draw(st.integers(1, 3))):
            nominal = rng.uniform(5.0, 60.0, n_bins)
            if holes and s:
                nominal[rng.integers(n_bins)] = 0.0
            modifiers = []

            def add(name, kind, data=None, modifiers=modifiers):
                data = data.tolist() if isinstance(data, np.ndarray) else data
                modifiers.append({"name": name, "type": kind, "data": data})

            if s == 0:
                add("mu", "normfactor")
            elif draw(st.booleans()):
                add("k", "normfactor")
            for j in range(draw(st.integers(0, 2))):
                low, high = rng.uniform(0.6, 1.3), rng.uniform(0.7, 1.4)
                add(f"norm{j}", "normsys", {"lo": low, "hi": high})
            for j in range(draw(st.integers(0, 2))):
                up = nominal * rng.uniform(0.7, 1.4, n_bins)
                down = nominal * rng.uniform(0.7, 1.2, n_bins)
                if draw(st.booleans()):
                    down = 2 * nominal - up
                data = {"hi_data": up.tolist(), "lo_data": down.tolist()}
                # One nuisance may change yield and shape under one name.
                add(draw(st.sampled_from([f"histo{j}", f"norm{j}"])), "histosys", data)
            if draw(st.booleans()):
                add("shape" if len(set(sizes)) == 1 else f"shape_{c}", "shapefactor")
            if draw(st.booleans()):
                add(f"sys_{c}_{s}", "shapesys", 0.2 * nominal)
            if draw(st.booleans()):
                add(f"stat_{c}", "staterror", 0.1 * nominal)
            if lumi and draw(st.booleans()):
                add("lumi", "lumi")
            samples.append({"name": f"s{s}", "data": nominal.tolist(), "modifiers": modifiers})
        channels.append({"name": f"c{c}", "samples": samples})
        total = np.sum([s["data"] for s in samples], axis=0)
        counts = rng.poisson(total) if draw(st.booleans()) else total
        observations.append({"name": f"c{c}", "data": counts.astype(float).tolist()})
    used = {m["name"] for c in channels for s in c["samples"] for m in s["modifiers"]}
    parameters = []
    if "lumi" in used:
        lumi = {"auxdata": [1.0], "sigmas": [0.02], "inits": [1.0], "bounds": [[0.9, 1.1]]}
        parameters.append({"name": "lumi", **lumi})
    if "norm0" in used and draw(st.booleans()):
        parameters.append({"name": "norm0", "fixed": True, "inits": [rng.normal()]})
    if "norm1" in used and draw(st.booleans()):
        parameters.append({"name": "norm1", "auxdata": [rng.normal()]})
    return {
        "channels": channels,
        "observations": observations,
        "version": "1.0.0",
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
    }


def random_point(table, rng):
    """Return parameters inside the bounds, some beyond +-1 sigma."""
    spread = np.where(table.lower >= 0, 0.3, 1.2)
    x = table.init + spread * rng.normal(size=len(table.init))
    return np.clip(x, table.lower, table.upper)


def size_of_terms(rates, data):
    """Return the sum of absolute values of the terms of ln L, about."""
    from scipy.special import gammaln

    counts = data[: len(rates)]
    return np.sum(counts * np.abs(np.log(rates)) + rates + gammaln(counts + 1)) + len(data)
