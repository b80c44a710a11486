"""Events of the toy model of symmetrised NPLM (arXiv:2401.09530, Eq. 25-28), and pools of them."""

import numpy as np

from ddphf.learning.labels import make_labels

SIGNALS = {
    "tail": lambda rng, n: rng.normal(0.8, 0.02, n),
    "bulk": lambda rng, n: rng.normal(0.2, 0.02, n),
    "non-local": lambda rng, n: rng.gamma(3.0, 1 / 8, n),
}


def toy(rng, signal=None, strength=0.0, size=2000):
    """Return x (n, 1) and whether each event is in B; A carries the signal."""
    a, b = (rng.exponential(1 / 8, rng.poisson(size)) for _ in range(2))
    extra = np.zeros(0) if signal is None else SIGNALS[signal](rng, rng.poisson(strength))
    x = np.concatenate([a, extra, b])
    tested = np.arange(len(x)) >= len(a) + len(extra)
    return x[:, None], tested


def unequal(rng, size=500, low=0.8, fakes=0.0, slope=0.02):
    """Return mass and pT, labels, r = eps_B / eps_A per event and the part that is fakes of B.

    Efficiencies differ by 20 % at low pT; a part of A's expected size comes on top of B as fakes.
    """
    n = rng.poisson(2 * size)
    mass, pt = rng.normal(90.0, 20.0, n), 20 + rng.exponential(30.0, n)
    ratio = np.where(pt < 40, low, 1.0)
    b = rng.random(n) < ratio / (1 + ratio)
    density = np.full(n, 0.0)
    if fakes:
        m = rng.poisson(2 * size * fakes)
        f_pt = 20 + rng.exponential(10.0, m)
        f_mass = rng.normal(90.0, 20.0, m)
        mass, pt = np.append(mass, f_mass), np.append(pt, f_pt)
        b = np.append(b, np.ones(m, dtype=bool))
        prompt = np.exp(-(pt - 20) / 30) / 30
        extra = fakes * np.exp(-(pt - 20) / 10) / 10
        density = extra / (prompt + extra)
        ratio = np.where(pt < 40, low, 1.0)
    return np.stack([mass, pt], axis=1), b, ratio, density


def labelled(rng, **settings):
    points, tested, ratio, density = unequal(rng, **settings)
    return points, make_labels(tested, ratio, fakes_tested=density)
