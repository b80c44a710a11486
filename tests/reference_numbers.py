"""Small worked examples whose numbers were derived independently of this code."""

import numpy as np
from scipy.optimize import brentq

FIVE_BINS = {
    "tested": [18, 33, 0, 4, 80],
    "partner": [12, 30, 7, 0, 55],
    "signal": [0.1, 0.2, 0.1, 0.2, 0.4],
}

TWELVE_BINS = {
    "known": [310, 243.6, 192, 151.7, 120.4, 96, 76.9, 62.1, 50.6, 41.6, 34.6, 29.2],
    "partner": [325, 263, 203, 135, 116, 100, 75, 63, 58, 47, 40, 29],
    "tested": [289, 236, 192, 139, 120, 106, 92, 75, 49, 45, 29, 34],
    "signal": np.exp(-0.5 * ((np.arange(12) - 5) / 1.3) ** 2)
    / np.exp(-0.5 * ((np.arange(12) - 5) / 1.3) ** 2).sum(),
}

# Flat 28 x 28: T per bin -> mu of Eq. 10, mu of Eq. 11, Z_L2, Z_L2 of the deficit B = T - mu S.
FLAT = {
    1e4: (3004.163780, 4255.146825, 3.533083, -3.547856),
    100.0: (304.138356, 436.825418, 3.511400, -3.663088),
    25.0: (154.111224, 224.754558, 3.488070, -3.801476),
}

# Z_L1 -> Z_L2 at T = 1e4.
CURVE = {
    1: 0.707009,
    2: 1.413821,
    3: 2.120437,
    3.5: 2.473672,
    4: 2.826858,
    6: 4.239113,
    10: 7.061281,
}


def square(size: int, n: int = 28) -> np.ndarray:
    """Centred size x size rectangle of unit sum on an n x n grid, flattened."""
    grid = np.zeros((n, n))
    low = (n - size) // 2
    grid[low : low + size, low : low + size] = 1.0 / size**2
    return grid.ravel()


def inject_known(background, signal, z):
    """Solve Eq. 10 of Birman et al. for mu: the Asimov Z with a known background is z."""

    def excess(mu):
        shift = mu * signal
        total = (background + shift) * np.log1p(shift / background)
        return 2 * (total.sum() - shift.sum()) - z**2

    return brentq(excess, 1e-3, 1e6, xtol=1e-12, rtol=1e-15)


def inject_pair(background, signal, z):
    """Solve Eq. 11 of Birman et al. for mu: the Asimov Z of the pair is z."""

    def excess(mu):
        shift = mu * signal
        with_signal = (background + shift) * np.log1p(shift / (2 * background + shift))
        without = background * np.log1p(shift / (2 * background))
        return 2 * (with_signal - without).sum() - z**2

    return brentq(excess, 1e-3, 1e6, xtol=1e-12, rtol=1e-15)
