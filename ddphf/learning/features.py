"""Features of events: bells along one variable, random waves over several; and cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import generator
from ddphf.exceptions import InputError

__all__ = ["Bells", "Features", "Waves", "make_features", "standardize"]

WAVES = 50
"""Random frequencies over several variables, each with a cosine and a sine."""

FREQUENCIES = 20_240
"""Seed of the frequencies: features are a function of the data alone."""


def standardize(points: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each variable of (n, d) points."""
    return points.mean(axis=0), points.std(axis=0)


@dataclass(frozen=True)
class Bells:
    """exp(-(x - c)^2 / 2 w^2) along one variable.

    Attributes:
        centres: c, (m,).
        widths: w of each, (m,).
    """

    centres: Array
    widths: Array

    def __call__(self, points: Array) -> Array:
        """Return the features of points (n, 1), (n, m)."""
        return np.asarray(np.exp(-0.5 * ((points - self.centres) / self.widths) ** 2))


@dataclass(frozen=True)
class Waves:
    """Cosines and sines whose products approximate a Gaussian kernel (Rahimi and Recht, 2007).

    Attributes:
        mean: Of each variable, (d,).
        frequencies: (d, m / 2).
    """

    mean: Array
    frequencies: Array

    def __call__(self, points: Array) -> Array:
        """Return the features of points (n, d), (n, m)."""
        phase = (points - self.mean) @ self.frequencies
        scale = self.frequencies.shape[1] ** -0.5
        return np.asarray(np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * scale)


Features = Bells | Waves


def make_features(
    points: Array, widths: tuple[float, ...] = (1.0,), resolution: AnyArray | None = None
) -> Features:
    """Return features of a pool, from its events alone and not from their labels.

    Args:
        points: Variables of each event, (n, d).
        widths: In standard deviations of the pool.
        resolution: Smallest width of each variable in its own units, (d,), or None.

    Example:
        >>> points = np.linspace(0.0, 1.0, 30)[:, None]
        >>> make_features(points)(points).shape
        (30, 5)
    """
    mean, deviation = standardize(points)
    if not np.all(deviation > 0):
        raise InputError("learn: a variable has the same value for every event")
    finest = np.zeros(points.shape[1]) if resolution is None else np.asarray(resolution)
    if points.shape[1] > 1:
        rng = generator(FREQUENCIES)
        draws = rng.standard_normal((len(widths), points.shape[1], WAVES))
        parts = [
            draw / np.maximum(w * deviation, finest)[:, None]
            for w, draw in zip(widths, draws, strict=True)
        ]
        return Waves(mean, np.concatenate(parts, axis=1))
    x = points[:, 0]
    low, high = float(x.min()), float(x.max())
    centres, all_widths = [], []
    for w in widths:
        width = max(w * float(deviation[0]), float(finest[0]))
        # Spread from the middle, so that a mirrored variable has mirrored centres.
        places = np.linspace(low, high, int(np.ceil((high - low) / width - 1e-9)) + 1)
        order = np.sort(x)
        near = np.searchsorted(order, places + width) > np.searchsorted(order, places - width)
        centres.append(places[near])
        all_widths.append(np.full(int(near.sum()), width))
    return Bells(np.concatenate(centres), np.concatenate(all_widths))
