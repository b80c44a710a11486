"""Cases of tests/test_refusals.py for ``ddphf bumps``."""

import numpy as np
from bump_data import EDGES, drawn, smooth, write_spectrum

__all__ = ["BUMPS"]


def scan(counts, *options, edges=EDGES, more=None, width=("--width-bins", "1.5")):
    def prepare(folder):
        write_spectrum(folder / "spectrum.csv", {"observed": counts, **(more or {})}, edges)

    return {
        "arguments": ["bumps", "scan", "spectrum.csv", *width, "-o", "b.json", *options],
        "prepare": prepare,
    }


FALLING = drawn(smooth())


def changed(place, value):
    counts = FALLING.copy()
    counts[place] = value
    return counts


KINK = np.where(np.arange(50) < 25, 20000.0, 4000.0) * np.exp(-np.arange(50) / 40)

BUMPS = {
    "too few bins for a bump": scan(FALLING[:10], edges=EDGES[:11]),
    "a spectrum of fractions": scan(changed(7, 511.5)),
    "a spectrum with a negative count": scan(changed(7, -3.0)),
    "a spectrum with a hole": scan(changed(7, np.nan)),
    "a spectrum of few events": scan(np.where(np.arange(50) < 9, 1.0, 0.0)),
    "a spectrum that rises": scan(FALLING[::-1]),
    "a spectrum that rises again": scan(np.round(1000 - 900 * np.sin(np.linspace(0, np.pi, 50)))),
    "a spectrum too narrow for the resolution": scan(
        FALLING[:20], edges=EDGES[:21], width=("--width-bins", "3")
    ),
    "a bump wider than a spectrum takes": scan(FALLING, width=("--width-bins", "20")),
    "a bump narrower than a bin": scan(FALLING, width=("--width", "0.5")),
    "a width twice": scan(FALLING, "--width", "3"),
    "no width of a bump": scan(FALLING, width=()),
    "a resolution of nothing": scan(FALLING, width=("--resolution", "muon+pion")),
    "a spectrum that no smooth background describes": scan(np.round(KINK)),
    "a known background of nothing": scan(FALLING, more={"background": np.zeros(50)}),
    "a spectrum twice": {
        **scan(FALLING), "arguments": ["bumps", "scan", "spectrum.csv", "spectrum.csv",
                                       "--width-bins", "1.5", "-o", "b.json"],
    },
    "no spectrum of a pattern": {
        "arguments": ["bumps", "scan", "no*.csv", "--width-bins", "1.5", "-o", "b.json"],
    },
    "a spectrum of two axes": {
        "arguments": ["bumps", "scan", "two.npz:h", "--width-bins", "1.5", "-o", "b.json"],
        "prepare": lambda folder: np.savez(
            folder / "two.npz", h=np.ones((3, 3)), edges_0=np.arange(4.0), edges_1=np.arange(4.0)
        ),
    },
    "a spectrum that is not there": {
        "arguments": ["bumps", "scan", "absent.csv", "--width-bins", "1.5", "-o", "b.json"],
    },
}  # fmt: skip
