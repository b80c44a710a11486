"""Makes scan.npz: 60 mass hypotheses of an invisible Z', from events that their windows share.

    python make_scan.py

The observable is the recoil mass squared M2, whose resolution falls with M2, and an angle. Windows
of 8 x 4 bins lie around each mass, a third of a resolution apart, so that neighbours share most
events. Background: few events at low M2, more at high; simulation ten times the data. Numbers are
made, not measured.
"""

from pathlib import Path

import numpy as np

SEED = 20_260
HYPOTHESES, BINS, ANGLES = 60, 8, 4
HALF_WIDTH = 4.0
"""Of a window, in resolutions."""

SIMULATED = 10
EVENTS_PER_FB = 8.0
RANGE = (-6.0, 40.0)


def resolution(m2):
    """Of M2, in GeV2."""
    return 1.1 - 0.018 * np.clip(m2, 0.0, None)


def draw_background(rng, scale):
    """Events of a density that rises with M2, and their angles."""
    n = rng.poisson(scale * 520)
    m2 = RANGE[0] + (RANGE[1] - RANGE[0]) * rng.random(n) ** (1 / 2.2)
    return m2, rng.beta(1.5, 1.2, n)


def draw_signal(rng, mass, n=40_000):
    return mass + resolution(mass) * rng.normal(size=n), rng.beta(1.1, 1.6, n)


def fill(edges, m2, angle):
    angles = np.linspace(0.0, 1.0, ANGLES + 1)
    return np.histogram2d(m2, angle, bins=(edges, angles))[0].ravel()


def main():
    rng = np.random.default_rng(SEED)
    masses = [0.5]
    while len(masses) < HYPOTHESES:
        masses.append(masses[-1] + resolution(masses[-1]) / 3 * 1.7)
    masses = np.round(masses, 4)
    units = np.linspace(-HALF_WIDTH, HALF_WIDTH, BINS + 1)
    edges = np.round([m + resolution(m) * units for m in masses], 6)
    data, simulated = draw_background(rng, 1), draw_background(rng, SIMULATED)
    rows = {"data": [], "background": [], "background_error": [], "signal": []}
    for mass, own in zip(masses, edges, strict=True):
        events = fill(own, *simulated)
        rows["data"].append(fill(own, *data))
        rows["background"].append(events / SIMULATED)
        rows["background_error"].append(np.sqrt(events) / SIMULATED)
        signal = draw_signal(rng, mass)
        rows["signal"].append(np.round(fill(own, *signal) * EVENTS_PER_FB / len(signal[0]), 6))
    arrays = {key: np.array(value) for key, value in rows.items()}
    path = Path(__file__).with_name("scan.npz")
    np.savez_compressed(path, m2=masses, edges=edges, **arrays)


if __name__ == "__main__":
    main()
