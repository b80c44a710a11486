"""The best bump of each spectrum of a batch: every place profiled with the background that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.bumps.binning import PAIRS, Binning
from ddphf.bumps.candidates import Chosen, choose, score_bumps
from ddphf.bumps.deviance import deviance_p
from ddphf.bumps.fits import Fits, fit
from ddphf.bumps.known import fit_signal
from ddphf.bumps.links import LOGARITHMIC, background_of
from ddphf.bumps.strengths import FREEDOMS

__all__ = ["LEAST_RHO", "Hunt", "hunt"]

LEAST_RHO = 0.75
"""Below it the background may swallow so much of a bump that no significance is stated."""


WITHIN = 1.5
"""More than significances by score and by likelihood ratio order places differently."""


@dataclass(frozen=True, eq=False)
class Hunt:
    """What was found in one spectrum.

    Attributes:
        z_profiled: Signed sqrt of the likelihood ratio with the background fitted in both terms, in
            each bin; NaN where it was not fitted, shape (n,).
        z_known: The same with the background of one fit held: that with the likeliest bump of all
            places that are far from the ends, of whatever rho. It estimates what a known background
            would give, and ranks.
        rho: sqrt of the part of a bump's information that the fitted background leaves.
        searched: Bins whose significance is stated.
        best: Bin of the best bump; None where there is no bin to state one in.
        events: Of the best bump, and their error.
        background: Of the best bump's fit, shape (n,).
        null: Background of the fit without a bump, shape (n,).
        deviance: Of the fit with the best bump, its degrees of freedom and p-value.
        coordinate: Of the splines.
        link: ``log`` or ``identity``.
        freedom: Degrees of freedom of the background beyond a quadratic's.
        strength: Of the penalty.
        edm: Largest estimated distance from a minimum, in 2NLL, of the fits behind these numbers.
        failed: Fits without a certificate, whose numbers are left out.
        failed_candidates: Backgrounds that have none, and were not chosen.
    """

    z_profiled: Array
    z_known: Array
    rho: Array
    searched: Mask
    best: int | None
    events: tuple[float, float]
    background: Array
    null: Array
    deviance: tuple[float, float, float]
    coordinate: str
    link: str
    freedom: float
    strength: float
    edm: float
    failed: int
    failed_candidates: int

    @property
    def z(self) -> float:
        """Of the best bump; minus infinity where there is none."""
        return -np.inf if self.best is None else float(self.z_profiled[self.best])

    def ranks(self, inner: Mask) -> float:
        """Return the largest estimate of z_known, which every spectrum has: what ranks it.

        Args:
            inner: Places that are far enough from both ends.
        """
        return float(self.z_known[inner].max())


def hunt(binning: Binning, counts: Array, *, best_alone: bool = False) -> list[Hunt]:
    """Hunt for bumps.

    Args:
        binning: Of n bins.
        counts: Shape (H, n); memory grows with H.
        best_alone: Whether only places that may have the best bump are profiled: excesses whose
            score is within :data:`WITHIN` of the largest.

    Returns:
        One per spectrum.
    """
    if not len(counts):
        return []
    chosen = choose(binning, counts)
    data = counts[chosen.order]
    places = np.flatnonzero(binning.inner) if best_alone else np.arange(len(binning.centres))
    score, rho = score_bumps(binning, chosen.models, chosen.null, data, places)
    wanted = rho >= LEAST_RHO
    inner = binning.inner[places]
    likeliest = np.argmax(np.where(inner & np.isfinite(score), score, -np.inf), axis=1)
    if best_alone:
        most = np.max(np.where(wanted, score, -np.inf), axis=1, keepdims=True)
        wanted &= score >= most - WITHIN
    wanted[np.arange(len(wanted)), likeliest] |= inner[likeliest]
    items, columns = np.nonzero(wanted)
    fits = chosen.null.take(items)
    if items.size:
        templates = binning.templates[places[columns]]
        fits = fit(chosen.models.take(items), data[items], fits.theta, templates)
    gain = 2 * (chosen.null.nll[items] - fits.nll)
    z = np.where(fits.certified, np.sign(fits.mu) * np.sqrt(np.maximum(gain, 0.0)), np.nan)
    ends = np.searchsorted(items, np.arange(len(data) + 1))
    found: list[Hunt | None] = [None] * len(data)
    for h, number in enumerate(chosen.order.tolist()):
        some = np.arange(ends[h], ends[h + 1])
        all_rho = np.full(len(binning.centres), np.nan)
        all_rho[places] = rho[h]
        profiles = _Profiles(places[columns[some]], z[some], fits.take(some), all_rho)
        found[number] = _describe(binning, chosen, h, profiles, data[h])
    return [one for one in found if one is not None]


class _Profiles(NamedTuple):
    """Fits of one spectrum: their places, shape (places,), z, and rho of every bin."""

    places: IntArray
    z: Array
    fits: Fits
    rho: Array


def _describe(binning: Binning, chosen: Chosen, h: int, profiles: _Profiles, counts: Array) -> Hunt:
    """Return what was found in the h-th spectrum of a batch."""
    places, z, fits, rho = profiles
    z_profiled = np.full(len(counts), np.nan)
    z_profiled[places] = np.where(rho[places] >= LEAST_RHO, z, np.nan)
    design = chosen.models.designs[int(chosen.models.group[h])]
    freedom = float(FREEDOMS[int(chosen.freedom[h])])

    def background(theta: Array) -> Array:
        return background_of(design.link, design.columns @ theta + design.offset)

    searched = np.asarray(binning.inner & np.isfinite(z_profiled))
    null = background(chosen.null.theta[h])
    best, events, b, parameters, rate = None, (0.0, np.nan), null, 3 + freedom, null
    if searched.any() and chosen.null.certified[h]:
        best = int(np.argmax(np.where(searched, z_profiled, -np.inf)))
        at = int(np.searchsorted(places, best))
        events = (float(fits.mu[at]), float(1 / np.sqrt(fits.information[at])))
        b, parameters = background(fits.theta[at]), parameters + 1
        rate = b + events[0] * binning.templates[best]
    z_inner = np.where(binning.inner[places] & np.isfinite(z), z, -np.inf)
    likeliest = background(fits.theta[int(np.argmax(z_inner))]) if np.isfinite(z_inner).any() else b
    return Hunt(
        z_profiled=z_profiled,
        z_known=fit_signal(counts, likeliest, binning.templates).z,
        rho=rho,
        searched=searched,
        best=best,
        events=events,
        background=b,
        null=null,
        deviance=deviance_p(counts, rate, parameters),
        coordinate=PAIRS[int(chosen.models.group[h])][0],
        link="log" if design.link == LOGARITHMIC else "identity",
        freedom=freedom,
        strength=float(chosen.models.strength[h]),
        edm=float(np.max(np.append(fits.edm[np.isfinite(z)], chosen.null.edm[h]))),
        failed=int(np.sum(~np.isfinite(z))) + int(not chosen.null.certified[h]),
        failed_candidates=int(chosen.failed[h]),
    )
