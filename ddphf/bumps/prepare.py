"""The part of a spectrum that is scanned, with the width of a bump in it, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.binning import EDGE, Binning
from ddphf.bumps.resolution import mass_resolution
from ddphf.bumps.spectra import FEWEST_BINS, FEWEST_EVENTS, Spectrum, check_counts
from ddphf.bumps.starts import find_start, rises_again
from ddphf.exceptions import UsageError

__all__ = ["Prepared", "Width", "prepare"]

NARROWEST, WIDEST = 0.4, 12.0
"""Widths of a bump in bins: below, it is one bin; above, it is background."""

SMOOTHED = 5
"""Bins that a width in bins is averaged over, where these alternate."""


@dataclass(frozen=True)
class Width:
    """How wide a bump is: one of three ways.

    Attributes:
        bins: Standard deviation in bins.
        mass: In units of the mass.
        objects: Of whose resolution it is; see :mod:`ddphf.bumps.resolution`.
    """

    bins: float | None = None
    mass: float | None = None
    objects: str | None = None

    def __post_init__(self) -> None:
        given = [x for x in (self.bins, self.mass, self.objects) if x is not None]
        if len(given) != 1:
            raise UsageError(
                "give the width of a bump once: --width-bins, --width, or --resolution"
            )
        if self.objects is not None:
            mass_resolution(self.objects)

    def at(self, edges: Array) -> Array:
        """Return the standard deviation in the middle of each bin, shape (n,)."""
        wide = np.diff(edges)
        if self.mass is not None:
            return np.full(len(wide), self.mass)
        if self.objects is not None:
            return mass_resolution(self.objects)((edges[1:] + edges[:-1]) / 2)
        padded = np.pad(wide, SMOOTHED // 2, mode="edge")
        mean = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED).mean(axis=1)
        assert self.bins is not None
        return np.asarray(self.bins * mean)

    def describe(self) -> dict[str, float | str]:
        """Return what a record says of it."""
        stated: dict[str, float | str | None] = {
            "bins": self.bins, "mass": self.mass, "resolution": self.objects
        }  # fmt: skip
        return {key: value for key, value in stated.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is scanned of a spectrum.

    Attributes:
        spectrum: The whole.
        start: First bin that is scanned.
        binning: Of the scanned part; None where nothing is scanned.
        counts: Of the scanned part.
        why: Why nothing is scanned; empty where it is.
    """

    spectrum: Spectrum
    start: int
    binning: Binning | None
    counts: Array
    why: str = ""


def prepare(spectrum: Spectrum, width: Width) -> Prepared:
    """Return what is scanned of a spectrum.

    Args:
        spectrum: As read.
        width: Of a bump.
    """

    def exclude(why: str, start: int = 0) -> Prepared:
        return Prepared(spectrum, start, None, spectrum.counts[start:], why)

    wrong = check_counts(spectrum)
    if wrong is not None:
        return exclude(wrong)
    wide = np.diff(spectrum.edges)
    if width.objects is not None and spectrum.edges[0] <= 0:
        return exclude("masses of 0 and below have no resolution")
    unit = spectrum.unit.strip()
    if width.objects is not None and unit and not unit.casefold().startswith("gev"):
        return exclude(
            f"masses in {unit}, and a resolution of objects is one in GeV: give --width in {unit}"
        )
    widths = width.at(spectrum.edges)
    in_bins = widths / wide
    for number in (int(in_bins.argmin()), int(in_bins.argmax())):
        if not NARROWEST <= in_bins[number] <= WIDEST:
            return exclude(
                f"a bump is {in_bins[number]:.3g} bins wide at bin {number}; expected "
                f"{NARROWEST:g} to {WIDEST:g}"
            )
    if spectrum.partner is not None:  # nothing has to be smooth: all of it is scanned
        return Prepared(spectrum, 0, Binning(spectrum.edges, widths), spectrum.counts)
    exposure = wide / wide.mean()
    typical = float(np.median(in_bins))
    start = find_start(spectrum.counts, exposure, typical)
    counts = spectrum.counts[start:]
    after = f" after its maximum in bin {start}" if start else ""
    if len(counts) < FEWEST_BINS:
        return exclude(f"{len(counts)} bins are left{after}; expected {FEWEST_BINS}", start)
    if counts.sum() < FEWEST_EVENTS:
        return exclude(f"{counts.sum():g} events are left{after}; expected {FEWEST_EVENTS}", start)
    if rises_again(counts, exposure[start:], typical):
        return exclude("rises where a smoothly falling spectrum falls", start)
    binning = Binning(spectrum.edges[start:], widths[start:])
    if not binning.inner.any():
        return exclude(
            f"too narrow for the resolution: no bin is {EDGE:g} widths away from both ends", start
        )
    return Prepared(spectrum, start, binning, counts)
