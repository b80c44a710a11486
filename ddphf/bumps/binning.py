"""What all spectra of one binning share: places of bumps, their templates, splines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.bumps.designs import SPLINES, Design, spline_design
from ddphf.bumps.links import IDENTITY, LOGARITHMIC
from ddphf.bumps.templates import integral_templates

__all__ = ["EDGE", "PAIRS", "Binning"]

EDGE = 4.0
"""Widths of a bump next to either end of a spectrum where none is stated: nearly all false bumps of
smooth spectra lie there."""

PAIRS = (
    ("mass", LOGARITHMIC),
    ("log mass", LOGARITHMIC),
    ("mass", IDENTITY),
    ("log mass", IDENTITY),
    ("1/mass", IDENTITY),
)
"""Coordinates, of u from 0 to 1, and links: a background that is nearly a quadratic in one of them
needs little freedom, and leaves more of a bump."""


@dataclass(frozen=True, eq=False)
class Binning:
    """The bins of a spectrum, and how wide a bump is in them.

    Attributes:
        edges: Shape (n + 1,).
        widths: Standard deviation of a bump in the middle of each bin, shape (n,).
    """

    edges: Array
    widths: Array

    @cached_property
    def centres(self) -> Array:
        """Middles of the bins, where bumps are looked for, shape (n,)."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)

    @cached_property
    def templates(self) -> Array:
        """Part of a bump in each bin, shape (place, bin)."""
        return integral_templates(self.edges, self.centres, self.widths)

    @cached_property
    def inner(self) -> Mask:
        """Places that are far enough from both ends, shape (n,)."""
        off = np.minimum(self.centres - self.edges[0], self.edges[-1] - self.centres)
        return np.asarray(off >= EDGE * self.widths)

    @cached_property
    def exposure(self) -> Array:
        """Widths of the bins in units of their mean, shape (n,)."""
        wide = np.diff(self.edges)
        return np.asarray(wide / wide.mean())

    @cached_property
    def designs(self) -> tuple[Design, ...]:
        """Splines of each of :data:`PAIRS`."""
        u = (self.edges - self.edges[0]) / (self.edges[-1] - self.edges[0])
        stretched = {"mass": u, "log mass": np.log(u + 0.1), "1/mass": -1 / (u + 0.25)}
        return tuple(spline_design(stretched[name], self.exposure, link) for name, link in PAIRS)

    @cached_property
    def rough(self) -> tuple[Array, float]:
        """Directions of unit roughness, shape (p, p - 3), and the log-determinant of roughness."""
        design = self.designs[0]
        kept = design.free.shape[1]
        full = np.linalg.qr(np.hstack([design.free, np.eye(SPLINES)]))[0][:, kept:SPLINES]
        values, vectors = np.linalg.eigh(
            (full.T @ design.differences.T) @ design.differences @ full
        )
        return full @ vectors / np.sqrt(values), float(np.log(values).sum())
