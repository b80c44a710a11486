"""Functions that collaborations fit to mass spectra, each with and without the same bump.

All are linear in their parameters, in the counts themselves or in their logarithm, so that their
fits are those of the splines without a penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import comb

from ddphf.arrays import Array
from ddphf.bumps.binning import Binning
from ddphf.bumps.designs import Design
from ddphf.bumps.deviance import deviance_p
from ddphf.bumps.fits import Fits, fit, start
from ddphf.bumps.known import fit_signal
from ddphf.bumps.links import IDENTITY, LOGARITHMIC, background_of
from ddphf.bumps.newton import Models

__all__ = ["FAMILIES", "FamilyFit", "describe_spread", "family_design", "fit_family"]

BEAMS = 13_000.0
"""Centre-of-mass energy of x = m / sqrt(s) in the dijet function, in GeV; its value hardly matters
where masses are far below."""


def _bernstein(degree: int) -> Callable[[Array, Array], Array]:
    def columns(m: Array, u: Array) -> Array:
        del m
        k = np.arange(degree + 1)
        return np.asarray(comb(degree, k) * u[:, None] ** k * (1 - u[:, None]) ** (degree - k))

    return columns


def _polynomial(degree: int) -> Callable[[Array, Array], Array]:
    return lambda m, u: np.vander(u, degree + 1, increasing=True)


def _power(degree: int) -> Callable[[Array, Array], Array]:
    return lambda m, u: np.vander(np.log(m / m[0]), degree + 1, increasing=True)


def _dijet(m: Array, u: Array) -> Array:
    x = m / BEAMS
    logs = np.log(m / m[0])
    return np.stack([np.ones_like(u), np.log1p(-x) - np.log1p(-x[0]), logs, logs**2], axis=1)


FAMILIES: dict[str, tuple[int, Callable[[Array, Array], Array]]] = {
    "bernstein-3": (IDENTITY, _bernstein(3)),
    "bernstein-4": (IDENTITY, _bernstein(4)),
    "bernstein-5": (IDENTITY, _bernstein(5)),
    "exp(linear)": (LOGARITHMIC, _polynomial(1)),
    "exp(quadratic)": (LOGARITHMIC, _polynomial(2)),
    "exp(cubic)": (LOGARITHMIC, _polynomial(3)),
    "power": (LOGARITHMIC, _power(1)),
    "power with running": (LOGARITHMIC, _power(2)),
    "dijet": (LOGARITHMIC, _dijet),
}
"""Link, and columns of masses m and of u from 0 to 1: Bernstein polynomials; exp of a polynomial;
m^a; m^(a + b ln m); (1 - x)^a x^(b + c ln x)."""


def family_design(binning: Binning, name: str) -> Design | None:
    """Return the columns of a family, None where it is not defined at these masses.

    Args:
        binning: Of n bins; functions are evaluated in their middles.
        name: Of :data:`FAMILIES`.
    """
    link, columns = FAMILIES[name]
    low, high = binning.edges[0], binning.edges[-1]
    m = binning.centres
    if name in ("power", "power with running", "dijet") and m[0] <= 0:
        return None
    if name == "dijet" and high >= BEAMS:
        return None
    x = columns(m, (m - low) / (high - low))
    offset = np.zeros(len(m))
    if link == IDENTITY:
        x = x * binning.exposure[:, None]
    else:
        offset = np.log(binning.exposure)
    p = x.shape[1]
    return Design(x, offset, link, p - 1, np.zeros((1, p)), np.eye(p))


@dataclass(frozen=True, eq=False)
class FamilyFit:
    """A bump over one function.

    Attributes:
        name: Of the family.
        design: Its columns.
        null: Fit without the bump.
        bump: Fit with it.
        z: Signed sqrt of the likelihood ratio; NaN where a fit has no certificate.
        z_plug: The same with the background of the fit with the bump held.
        background: Of that fit, shape (n,).
        deviance: Of that fit, its expectation and its p-value.
    """

    name: str
    design: Design
    null: Fits
    bump: Fits
    z: float
    z_plug: float
    background: Array
    deviance: tuple[float, float, float]

    @property
    def events(self) -> tuple[float, float]:
        """Of the bump, and their error."""
        return float(self.bump.mu[0]), float(1 / np.sqrt(self.bump.information[0]))


def fit_family(binning: Binning, counts: Array, template: Array, name: str) -> FamilyFit | None:
    """Fit a function with and without a bump.

    Args:
        binning: Of n bins.
        counts: Shape (n,).
        template: Part of the bump in each bin, shape (n,).
        name: Of :data:`FAMILIES`.

    Returns:
        None where the function is not defined at these masses.
    """
    design = family_design(binning, name)
    if design is None:
        return None
    models = Models((design,), np.zeros(1, dtype=np.int64), np.zeros(1))
    data = counts[None]
    null = fit(models, data, start(models, data))
    bump = fit(models, data, null.theta, template[None])
    fine = bool(null.certified[0] and bump.certified[0])
    gain = float(2 * (null.nll[0] - bump.nll[0]))
    z = float(np.sign(bump.mu[0]) * np.sqrt(max(gain, 0.0))) if fine else np.nan
    background = background_of(design.link, design.columns @ bump.theta[0] + design.offset)
    rate = background + bump.mu[0] * template
    plug = float(fit_signal(counts, background, template).z) if fine else np.nan
    deviance = deviance_p(counts, rate, design.columns.shape[1] + 1.0)
    return FamilyFit(name, design, null, bump, z, plug, background, deviance)


def describe_spread(fits: list[FamilyFit], describes: float) -> dict[str, float] | None:
    """Return the smallest and largest Z of functions that describe the counts, None without two.

    Args:
        fits: Of one bump.
        describes: Least p-value of the deviance.
    """
    z = [one.z for one in fits if np.isfinite(one.z) and one.deviance[2] >= describes]
    if len(z) < 2:
        return None
    return {"lowest": min(z), "highest": max(z), "spread": max(z) - min(z)}
