"""How wide a narrow resonance of two objects is measured: from their resolutions.

Angles neglected and both at pT = m/2: sigma_m / m = sqrt(r1^2 + r2^2) / 2. Electrons, muons and
photons as in the ATLAS card of Delphes (|eta| up to 0.5, 1.5, 2.5). What decays to jets has the
resolution of their sum: a top quark counts as three jets of a third of its pT each, a W as two.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import UsageError

__all__ = ["mass_resolution", "resolution_edges"]

ELECTRON = {"0.5": (0.03, 1.3e-3), "1.5": (0.05, 1.7e-3), "2.5": (0.15, 3.1e-3)}
MUON = {"0.5": (0.01, 1e-4), "1.5": (0.015, 1.5e-4), "2.5": (0.025, 3.5e-4)}
PHOTON = (0.0017, 0.101)

FORMS = (
    "expected two objects such as muon+muon:1.5: electron or muon, with :0.5, :1.5 or :2.5 the "
    "region of eta (0.5 where none is named), photon, or jet:N,S,C with its three constants, of "
    "which top:N,S,C has three and w:N,S,C two"
)

JETS = {"jet": 1, "w": 2, "top": 3}
"""Jets of an object."""


def _object(text: str) -> Callable[[Array], Array]:
    """Return the relative resolution of one object as a function of pT in GeV."""
    kind, _, detail = text.strip().partition(":")
    if kind == "photon" and not detail:
        return lambda pt: np.sqrt(PHOTON[0] ** 2 + PHOTON[1] ** 2 / pt)
    regions = {"electron": ELECTRON, "muon": MUON}.get(kind)
    if regions is not None and (detail or "0.5") in regions:
        a, c = regions[detail or "0.5"]
        return lambda pt: np.sqrt(a**2 + (c * pt) ** 2)
    number = r"\d+\.?\d*(?:e-?\d+)?|\.\d+"
    found = re.fullmatch(rf"({number}),({number}),({number})", detail) if kind in JETS else None
    if found is None:
        raise UsageError(f"--resolution: '{text}': {FORMS}")
    noise, stochastic, constant = map(float, found.groups())
    k = JETS[kind]

    def relative(pt: Array) -> Array:
        each = pt / k  # r of a sum of k equal ones is that of one over sqrt(k)
        return np.asarray(np.sqrt(((noise / each) ** 2 + stochastic**2 / each + constant**2) / k))

    return relative


def mass_resolution(objects: str) -> Callable[[Array], Array]:
    """Return sigma_m as a function of the mass, both in GeV.

    Args:
        objects: Such as ``photon+photon`` or ``electron:1.5+jet:5,0.8,0.05``.

    Raises:
        UsageError: It is none of that.

    Example:
        >>> sigma = mass_resolution("photon+photon")
        >>> float(sigma(np.array(125.0)).round(3))
        1.139
    """
    parts = objects.split("+")
    if len(parts) != 2:
        raise UsageError(f"--resolution {objects}: {FORMS}")
    one, other = map(_object, parts)

    def sigma(mass: Array) -> Array:
        pt = np.asarray(mass) / 2
        return np.asarray(np.asarray(mass) * np.hypot(one(pt), other(pt)) / 2)

    return sigma


def resolution_edges(low: float, high: float, objects: str, bins_per_sigma: float) -> Array:
    """Return edges of bins that are sigma_m / bins_per_sigma wide: a bump has one width in bins.

    Args:
        low: First edge in GeV, above 0.
        high: The last one is the first that reaches it.
        objects: As of :func:`mass_resolution`.
        bins_per_sigma: Bins to a standard deviation.

    Example:
        >>> edges = resolution_edges(100.0, 160.0, "photon+photon", 1.0)
        >>> len(edges), float(np.diff(edges)[0].round(3))
        (54, 1.017)
    """
    sigma, edges = mass_resolution(objects), [low]
    while edges[-1] < high:
        edges.append(edges[-1] + float(sigma(np.array(edges[-1]))) / bins_per_sigma)
    return np.array(edges)
