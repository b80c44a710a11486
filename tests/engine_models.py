"""Workspaces for the engine's tests, made from numbers alone."""

import numpy as np


def make_pair(
    template,
    a,
    b,
    signal,
    *,
    variations=None,
    ratio=1.0,
    fakes=None,
    errors=None,
    kind="shapesys",
    signal_variations=None,
    fakes_norm=False,
    signal_a=None,
    lower=1e-10,
):
    """Return a pair workspace; variations, fakes, errors are (tested, partner)."""
    template = np.asarray(template, float)
    m = len(template)

    def histosys(nominal, rows):
        return [
            {
                "name": f"lepid_main_eig{j:02d}",
                "type": "histosys",
                "data": {
                    "hi_data": (nominal * (1 + g)).tolist(),
                    "lo_data": (nominal * (1 - g)).tolist(),
                },
            }
            for j, g in enumerate(rows)
        ]

    channels = []
    for x, (name, scale, s) in enumerate((("SR_b", ratio, signal), ("CR_a", 1.0, signal_a))):
        nominal = template * scale
        rows = [] if variations is None else variations[x]
        samples = [
            {
                "name": "symmetric",
                "data": nominal.tolist(),
                "modifiers": [
                    {"name": "symmetric_shape", "type": "shapefactor", "data": None},
                    *histosys(nominal, rows),
                ],
            }
        ]
        if s is not None:
            s = np.asarray(s, float)
            extra = [] if signal_variations is None else histosys(s, signal_variations)
            samples.append(
                {
                    "name": "signal",
                    "data": s.tolist(),
                    "modifiers": [{"name": "mu", "type": "normfactor", "data": None}, *extra],
                }
            )
        if fakes is not None:
            modifiers = []
            if errors is not None:
                error = np.asarray(errors[x], float).tolist()
                modifiers.append({"name": f"fakes_{name}", "type": kind, "data": error})
            if fakes_norm:
                modifiers.append(
                    {"name": "fakes_norm", "type": "normsys", "data": {"hi": 1.2, "lo": 0.85}}
                )
            samples.append(
                {
                    "name": "fakes",
                    "data": np.asarray(fakes[x], float).tolist(),
                    "modifiers": modifiers,
                }
            )
        channels.append({"name": name, "samples": samples})
    parameters = [
        {"name": "mu", "inits": [0.0], "bounds": [[-1e5, 1e5]]},
        {"name": "symmetric_shape", "inits": [1.0] * m, "bounds": [[lower, 1e5]] * m},
    ]
    return {
        "channels": channels,
        "observations": [
            {"name": "SR_b", "data": np.asarray(b, float).tolist()},
            {"name": "CR_a", "data": np.asarray(a, float).tolist()},
        ],
        "measurements": [{"name": "discovery", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def gaussian_signal(n=28, width=4.0):
    """Return a 2-D Gaussian over n x n bins, flattened, unit sum."""
    x = np.arange(n) - (n - 1) / 2
    s = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * width**2)).ravel()
    return s / s.sum()


def rectangle_signal(n=28, width=6):
    """Return a centred width x width rectangle over n x n bins, flattened, unit sum."""
    s = np.zeros((n, n))
    low = (n - width) // 2
    s[low : low + width, low : low + width] = 1.0 / width**2
    return s.ravel()


def eigen_variations(k, m, rng, size=0.02):
    """Return k falling relative variations of RMS ``size`` in all, for both channels."""
    amplitude = 0.9 ** np.arange(k)
    amplitude *= size / np.sqrt(np.sum(amplitude**2) / 2)

    def one():
        phase = rng.uniform(0, 2 * np.pi, (k, 1))
        return amplitude[:, None] * np.cos(np.outer(np.arange(k) + 1, np.linspace(0, 3, m)) + phase)

    return one(), one()


def small_pair(k=2, n=3, t=400.0, seed=3, size=0.03, **options):
    """A fluctuated pair of n x n bins with k eigen-variations of a relative size."""
    rng, m = np.random.default_rng(seed), n * n
    flat = np.full(m, t)
    signal = gaussian_signal(n, n / 4) * 10 * np.sqrt(t)
    variations = eigen_variations(k, m, rng, size) if k else None
    a, b = rng.poisson(flat), rng.poisson(flat + signal)
    return make_pair(flat, a, b, signal, variations=variations, **options)
