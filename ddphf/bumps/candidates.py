"""Every background that a spectrum may have, each with its best bump, and which of them it is.

The choice is by the marginal likelihood of the counts (Laplace's approximation) with the best bump
in the model: without it a bump would buy freedom for the background that then swallows it. What
the penalty does not feel, a quadratic in each coordinate, counts alike for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.bumps.bands import Factors, solve
from ddphf.bumps.binning import Binning
from ddphf.bumps.fits import Fits, fit, start
from ddphf.bumps.links import evaluate
from ddphf.bumps.newton import Models
from ddphf.bumps.strengths import penalty_strengths

__all__ = ["Chosen", "choose", "score_bumps"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """The background of each spectrum of a batch, fitted without a bump.

    Spectra stand in the order of their designs; ``order`` is where each was.

    Attributes:
        order: Number of the spectrum, shape (H,).
        models: One per spectrum.
        freedom: Which of the strengths, shape (H,).
        null: Fits without a bump.
        score: Significance of a bump in each place by the score, shape (H, places).
        rho: sqrt of the part of a bump's information that the background leaves, same shape.
        evidence: Of every candidate, in the order designs, freedoms, shape (H, candidates).
        failed: Candidates without a certificate, shape (H,).
    """

    order: IntArray
    models: Models
    freedom: IntArray
    null: Fits
    score: Array
    rho: Array
    evidence: Array
    failed: IntArray


def choose(binning: Binning, counts: Array) -> Chosen:
    """Fit all candidates to all spectra, and choose.

    Args:
        binning: Of n bins.
        counts: Shape (H, n).
    """
    strengths = penalty_strengths(binning, counts)
    designs, spectra, freedoms = strengths.shape
    group = np.repeat(np.arange(designs), spectra * freedoms)
    models = Models(binning.designs, group, strengths.ravel())
    data = np.tile(np.repeat(counts, freedoms, axis=0), (designs, 1))
    null = fit(models, data, start(models, data))
    places = np.flatnonzero(binning.inner)
    score, rho = score_bumps(binning, models, null, data, places)
    best = places[np.argmax(np.where(np.isfinite(score), score, -np.inf), axis=1)]
    bump = fit(models, data, null.theta, binning.templates[best])
    fine = null.certified & bump.certified
    evidence = np.where(fine, _evidence(binning, models, bump), -np.inf)
    table = evidence.reshape(designs, spectra, freedoms).transpose(1, 0, 2).reshape(spectra, -1)
    winner = np.argmax(table, axis=1)
    order = np.argsort(winner // freedoms, kind="stable")
    design, freedom = winner[order] // freedoms, winner[order] % freedoms
    items = (design * spectra + order) * freedoms + freedom
    failed = (~fine).reshape(designs, spectra, freedoms).sum(axis=(0, 2))
    return Chosen(
        order, models.take(items), freedom, null.take(items), score[items], rho[items],
        table[order], failed[order],
    )  # fmt: skip


def score_bumps(
    binning: Binning, models: Models, null: Fits, counts: Array, places: IntArray
) -> tuple[Array, Array]:
    """Return the significance of a bump by the score, and rho, each of shape (N, places).

    Args:
        binning: Of n bins.
        models: N of them.
        null: Their fits without a bump.
        counts: Shape (N, n).
        places: Numbers of bins.
    """
    templates = binning.templates[places]
    score, rho = (np.empty((len(counts), len(places))) for _ in range(2))
    for g, part in models.groups():
        design = models.designs[g]
        rates = evaluate(design.link, null.theta[part] @ design.columns.T + design.offset)
        weight = 1 / rates.b
        slope = (counts[part] / rates.b - 1) @ templates.T
        known = weight @ (templates**2).T
        mixed = rates.first / rates.b
        side = np.stack([(mixed * t) @ design.columns for t in templates]).transpose(2, 0, 1)
        factors = Factors(null.factors.lower[..., part], null.factors.pivots[..., part])
        left = known - np.einsum("pcn,pcn->nc", side, solve(factors, np.ascontiguousarray(side)))
        with np.errstate(divide="ignore", invalid="ignore"):
            score[part] = slope / np.sqrt(left)
            rho[part] = np.sqrt(np.maximum(left / known, 0.0))
    return score, rho


def _evidence(binning: Binning, models: Models, bump: Fits) -> Array:
    """Return the logarithm of the marginal likelihood, but for what all candidates share."""
    directions, roughness = binning.rough
    prior = 0.5 * (directions.shape[1] * np.log(models.strength) + roughness)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = np.log(bump.factors.pivots).sum(axis=0) - bump.free_determinant
        return np.asarray(-bump.nll + prior - 0.5 * volume - 0.5 * np.log(bump.information))
