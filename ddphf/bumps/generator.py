"""Smooth spectra of many shapes, with and without a bump, drawn by a seed.

The functions of arXiv:2107.11573 (``talk``), and others that a method has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.families import BEAMS
from ddphf.bumps.known import fit_signal, strength_of
from ddphf.bumps.templates import density_templates

__all__ = ["FAMILIES_OF", "SETS", "Sample", "draw_background", "draw_sample"]

Rng = np.random.Generator
Shape = Callable[[Rng, Array], Array]

FEWEST, MOST = 10.0, 1e5
"""Entries of a bin: the smallest and the largest that are asked for."""


def _power(rng: Rng, x: Array) -> Array:
    """1/(a x^n) with n from .01 to 10, or a whole n from 1 to 4."""
    n = rng.choice([1.0, 2.0, 3.0, 4.0]) if rng.random() < 0.5 else rng.uniform(0.01, 10.0)
    return np.asarray((x + rng.uniform(0.05, 1.5)) ** -n)


TALK: dict[str, Shape] = {
    "exponential": lambda rng, x: np.exp(-rng.uniform(0.5, 7.0) * x),
    "straight line": lambda rng, x: 1 - rng.uniform(0.3, 1.0) * x,
    "power": _power,
    "half a parabola": lambda rng, x: (1.02 - x) ** 2,
    "quarter of a cosine": lambda rng, x: np.cos(np.pi / 2 * x),
    "logarithm": lambda rng, x: -np.log(x + rng.uniform(0.005, 0.3)),
    "half a hyperbolic cosine": lambda rng, x: np.cosh(rng.uniform(1.0, 5.0) * (1 - x)),
}
"""Falling functions of x from 0 to 1, each up to an offset and a factor."""


def _dijet(rng: Rng, x: Array) -> Array:
    m = (500.0 + 4500.0 * x) / BEAMS
    return np.asarray((1 - m) ** rng.uniform(5, 12) * m ** -(rng.uniform(3, 6)))


def _bernstein(rng: Rng, x: Array) -> Array:
    falling = np.sort(rng.uniform(0, 1, 5))[::-1]
    k = np.arange(5)
    basis = np.array([1, 4, 6, 4, 1]) * x[:, None] ** k * (1 - x[:, None]) ** (4 - k)
    return np.asarray(basis @ falling)


def _two_exponentials(rng: Rng, x: Array) -> Array:
    slow, fast = rng.uniform(0.5, 3.0), rng.uniform(5.0, 14.0)
    return np.asarray(np.exp(-slow * x) + rng.uniform(0.5, 5.0) * np.exp(-fast * x))


SETS: dict[str, dict[str, Shape]] = {
    "talk": TALK,
    "dijet": {"dijet": _dijet},
    "bernstein": {"bernstein": _bernstein},
    "two exponentials": {"two exponentials": _two_exponentials},
}
"""``talk`` is what networks are trained on; the others are unseen by them."""

FAMILIES_OF = {name: tuple(shapes) for name, shapes in SETS.items()}


def draw_background(rng: Rng, bins: int, shape: Shape) -> Array:
    """Return expected entries of a falling function, shape (bins,).

    The first bin holds 20 to 100 000 entries, the last at least 10, both uniform in the logarithm:
    factor and offset of the function are what that takes.

    Args:
        rng: Source of all that is drawn.
        bins: How many.
        shape: Of :data:`SETS`.
    """
    x = (np.arange(bins) + 0.5) / bins
    high = 10 ** rng.uniform(np.log10(2 * FEWEST), np.log10(MOST))
    low = 10 ** rng.uniform(np.log10(FEWEST), np.log10(high) - 0.2)
    values = np.minimum.accumulate(shape(rng, x))
    values = values - values[-1]
    return np.asarray(low + (high - low) * values / max(values[0], 1e-300))


@dataclass(frozen=True, eq=False)
class Sample:
    """One drawn spectrum.

    Attributes:
        family: Of its background.
        background: Expected, shape (bins,).
        counts: Shape (bins,).
        width: Of the signal, in bins.
        at: Bin of the signal; None where there is none.
        z: Signed significance that the known background gives in that bin, 0 without a signal.
    """

    family: str
    background: Array
    counts: Array
    width: float
    at: int | None
    z: float


def draw_sample(
    rng: Rng,
    which: str,
    *,
    signal: bool,
    width: float = 1.5,
    off: float = 4.0,
    bins: int | None = None,
) -> Sample:
    """Draw one spectrum of 30 to 100 bins.

    Args:
        rng: Source of all that is drawn.
        which: Of :data:`SETS`.
        signal: Whether there is a bump: of 1 to 20 standard deviations over the known background.
        width: Of the signal, in bins.
        off: Its distance to the ends, in widths.
        bins: How many, in the place of the drawn number.

    Example:
        >>> sample = draw_sample(np.random.default_rng(1), "talk", signal=True)
        >>> sample.family in FAMILIES_OF["talk"], 30 <= len(sample.counts) <= 100
        (True, True)
    """
    if bins is None:
        bins = int(rng.integers(30, 101))
    family = str(rng.choice(list(SETS[which])))
    background = draw_background(rng, bins, SETS[which][family])
    if not signal:
        counts = rng.poisson(background).astype(float)
        return Sample(family, background, counts, width, None, 0.0)
    margin = int(np.ceil(off * width))
    at = int(rng.integers(margin, bins - margin))
    edges = np.arange(bins + 1.0)
    template = density_templates(edges, np.array([at + 0.5]), np.array([width]))[0]
    events = float(strength_of(np.array(rng.uniform(1.0, 20.0)), background, template))
    counts = rng.poisson(background + events * template).astype(float)
    return Sample(
        family, background, counts, width, at, float(fit_signal(counts, background, template).z)
    )
