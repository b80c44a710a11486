"""Write histograms.npz: a flat background, a centred square of signal, and their Asimov data.

    python make_histograms.py

28 x 28 bins of 10 000 events each; the signal is flat over the central 6 x 6 bins and as strong as
gives 5 sigma where the background is known (Birman et al., Eur. Phys. J. C 82 (2022) 508, Eq. 10):
2 sum[(B + mu S) ln(1 + mu S / B) - mu S] = 25.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import brentq

SIZE, WINDOW, BACKGROUND, SIGNIFICANCE = 28, 6, 10_000.0, 5.0


def known_significance(events: float) -> float:
    """Asimov Z with a known background of this many signal events."""
    s = events / WINDOW**2
    q0 = 2 * WINDOW**2 * ((BACKGROUND + s) * np.log1p(s / BACKGROUND) - s)
    return float(np.sqrt(q0))


def main() -> None:
    events = brentq(lambda n: known_significance(n) - SIGNIFICANCE, 1.0, 1e5, xtol=1e-10)
    first = (SIZE - WINDOW) // 2
    signal = np.zeros((SIZE, SIZE))
    signal[first : first + WINDOW, first : first + WINDOW] = events / WINDOW**2
    background = np.full((SIZE, SIZE), BACKGROUND)
    edges = np.arange(SIZE + 1, dtype=float)
    np.savez_compressed(
        Path(__file__).with_name("histograms.npz"),
        signal=signal, background=background, tested=background + signal, partner=background,
        edges_0=edges, edges_1=edges, axis_names=np.array(["x", "y"]),
    )  # fmt: skip
    print(f"{events:.6f} signal events")


if __name__ == "__main__":
    main()
