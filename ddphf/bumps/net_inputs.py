"""What the network sees of a spectrum: bumps over smooth curves, in units of chance.

Counts n become y = 2 sqrt(n + 3/8), whose chance is 1 whatever n is (Anscombe). Eight curves, of
four stiffnesses in each of two coordinates, are drawn through y by linear smoothing; what is left,
and how large a bump in each bin is over each curve, with the part of it given back that the curve
took, has no scale of its own. Counts come in by their logarithm alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.templates import integral_templates

__all__ = ["CHANNELS", "CURVES", "NetInputs"]

STIFFNESSES = (0.3, 1.0, 2.5, 6.0)
"""Degrees of freedom of the curves beyond those of a quadratic."""

CURVES = 2 * len(STIFFNESSES)
"""In the number of the bin, then in log(u + 1/10) with u from 0 to 1 over the range of masses."""

CHANNELS = 4 * CURVES + 2
"""Of each bin: bump, rest, and rho over each curve, how far the curve is off the whole spectrum;
logarithm of the counts, and width of a bump in bins."""

LARGEST_REST, LARGEST_BUMP = 12.0, 40.0
"""Standard deviations beyond which a bin is no further off, and a bump no larger."""

SMALLEST = 1e-3
"""rho below which nothing is given back."""


@dataclass(frozen=True, eq=False)
class NetInputs:
    """The linear maps of one binning.

    Attributes:
        edges: Of the bins, shape (n + 1,).
        widths: Standard deviation of a bump in each bin, shape (n,).
    """

    edges: Array
    widths: Array

    @cached_property
    def in_bins(self) -> Array:
        """Widths in bins, shape (n,)."""
        return np.asarray(self.widths / np.diff(self.edges))

    @cached_property
    def templates(self) -> Array:
        """Part of a bump in each bin, shape (place, bin)."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        return integral_templates(self.edges, centres, self.widths)

    @cached_property
    def exposure(self) -> Array:
        """Widths of the bins in units of their mean, shape (n,)."""
        wide = np.diff(self.edges)
        return np.asarray(wide / wide.mean())

    @cached_property
    def smoothers(self) -> Array:
        """Maps from y to the curves, shape (CURVES, n, n).

        With e the exposures, y / sqrt(e) is a density; its third derivatives are penalised.
        """
        n = len(self.exposure)
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        u = (centres - self.edges[0]) / (self.edges[-1] - self.edges[0])
        return np.concatenate(
            [_smoothers(v, self.exposure) for v in (np.arange(n) / n, np.log(u + 0.1))]
        )

    @cached_property
    def overlaps(self) -> tuple[Array, Array]:
        """Squares of the templates, (n,), and what each curve leaves of them, (CURVES, n)."""
        t = self.templates
        whole = (t * t).sum(axis=1)
        left = np.stack([whole - ((t @ s) * t).sum(axis=1) for s in self.smoothers])
        return whole, left

    def with_width(self, in_bins: float) -> NetInputs:
        """Return the same binning, whose curves are known already, with another width of bumps."""
        other = NetInputs(self.edges, in_bins * np.diff(self.edges))
        other.__dict__["smoothers"] = self.smoothers  # as cached_property keeps it
        return other

    def __call__(self, counts: Array) -> Array:
        """Return what the network sees.

        Args:
            counts: Shape (H, n).

        Returns:
            Shape (H, n, :data:`CHANNELS`).

        Example:
            >>> seen = NetInputs(np.arange(41.0), np.full(40, 1.5))(np.full((2, 40), 100.0))
            >>> seen.shape == (2, 40, CHANNELS), float(abs(seen[0, :, :8]).max()) < 1e-6
            (True, True)
        """
        y = 2 * np.sqrt(counts + 0.375)
        whole, left = self.overlaps
        out = np.empty((*counts.shape, CHANNELS))
        k = CURVES
        for j, smoother in enumerate(self.smoothers):
            curve = y @ smoother.T
            rest = y - curve
            root = np.maximum(curve / 2, 0.5)  # of the background
            rho = np.sqrt(np.maximum(left[j] / whole, SMALLEST**2))
            bump = (rest / root) @ self.templates.T * root / (np.sqrt(whole) * rho**2)
            shown = np.clip(rest, -LARGEST_REST, LARGEST_REST)
            out[..., j] = np.clip(bump, -LARGEST_BUMP, LARGEST_BUMP) / 5
            out[..., k + j] = shown / 3
            out[..., 2 * k + j] = rho
            off = np.mean(np.minimum(shown**2, 9.0), axis=-1, keepdims=True)
            out[..., 3 * k + j] = np.log(off + 0.05)
        out[..., 4 * k] = np.log10(root**2 + 1) / 2 - 1
        out[..., 4 * k + 1] = np.log(self.in_bins)
        return out


def _smoothers(v: Array, exposure: Array) -> Array:
    """Return the maps of one coordinate, one for each stiffness, shape (4, n, n)."""
    rough = np.eye(len(v))
    for order in (1, 2, 3):  # divided differences
        rough = np.diff(rough, axis=0) / (v[order:] - v[:-order])[:, None]
    rough *= np.sqrt(v[2:-1] - v[1:-2])[:, None] / np.sqrt(exposure)
    _, singular, rows = np.linalg.svd(rough / np.abs(rough).max())
    values = np.append(singular**2, np.zeros(3))  # quadratics cost nothing
    wanted = np.minimum(np.array(STIFFNESSES), 0.8 * (len(v) - 3))
    low, high = np.full(len(wanted), -10.0), np.full(len(wanted), 80.0)
    for _ in range(60):
        middle = (low + high) / 2
        freedom = np.sum(1 / (1 + np.exp(middle)[:, None] * values), axis=1) - 3
        low, high = (
            np.where(freedom > wanted, middle, low),
            np.where(freedom > wanted, high, middle),
        )
    kept = 1 / (1 + np.exp(middle)[:, None] * values)
    return np.asarray((rows.T * kept[:, None, :]) @ rows)
