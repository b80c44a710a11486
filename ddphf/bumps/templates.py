"""What a narrow resonance puts into the bins: one Gaussian per place."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from ddphf.arrays import Array

__all__ = ["density_templates", "integral_templates"]


def integral_templates(edges: Array, masses: Array, widths: Array) -> Array:
    """Return the part of a Gaussian inside each bin, shape (places, n).

    Args:
        edges: Of the bins, shape (n + 1,).
        masses: Places, shape (places,).
        widths: Standard deviations there.

    Example:
        >>> integral_templates(np.arange(-1.0, 2.0), np.array([0.0]), np.array([1.0])).round(3)
        array([[0.341, 0.341]])
    """
    return np.asarray(np.diff(ndtr((edges - masses[:, None]) / widths[:, None]), axis=1))


def density_templates(edges: Array, masses: Array, widths: Array) -> Array:
    """Return a Gaussian's density at the centres times the bin widths, shape (places, n).

    arXiv:2107.11573 defines the significance in a bin by it.

    Args:
        edges: Of the bins, shape (n + 1,).
        masses: Places, shape (places,).
        widths: Standard deviations there.

    Example:
        >>> density_templates(np.array([-0.5, 0.5]), np.array([0.0]), np.array([1.0])).round(4)
        array([[0.3989]])
    """
    pulls = ((edges[1:] + edges[:-1]) / 2 - masses[:, None]) / widths[:, None]
    heights = np.exp(-0.5 * pulls**2) / (widths[:, None] * np.sqrt(2 * np.pi))
    return np.asarray(heights * np.diff(edges))
