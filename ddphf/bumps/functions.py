"""What a record says of functions as backgrounds: all are fitted, and the spread of Z is stated."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.bumps.families import FAMILIES, FamilyFit, describe_spread, fit_family
from ddphf.bumps.hunt import Hunt
from ddphf.bumps.prepare import Prepared
from ddphf.bumps.templates import integral_templates
from ddphf.exceptions import InputError

__all__ = ["add_functions"]


def add_functions(
    prepared: Prepared, found: Hunt | None, mass: float | None, describes: float
) -> Spec:
    """Return ``families`` and ``spread`` of the best bump, and ``at`` of a bump at a mass.

    Args:
        prepared: What was scanned.
        found: What was found; None where nothing was.
        mass: Of another bump, or None.
        describes: Least p-value of a deviance.

    Raises:
        InputError: The mass lies outside the spectrum.
    """
    binning = prepared.binning
    if binning is None or found is None:
        return {}
    out: Spec = {}
    if found.best is not None:
        fits = _fits(prepared, binning.templates[found.best])
        out |= {"families": [_row(one) for one in fits], "spread": describe_spread(fits, describes)}
    if mass is not None:
        if not binning.edges[0] < mass < binning.edges[-1]:
            raise InputError(
                f"--mass {mass:g}: lies outside the scanned part of {prepared.spectrum.name}, "
                f"{binning.edges[0]:g} to {binning.edges[-1]:g}"
            )
        width = float(np.interp(mass, binning.centres, binning.widths))
        template = integral_templates(binning.edges, np.array([mass]), np.array([width]))[0]
        fits = _fits(prepared, template)
        out["at"] = {
            "mass": mass,
            "width": width,
            "families": [_row(one) for one in fits],
            "spread": describe_spread(fits, describes),
        }
    return out


def _fits(prepared: Prepared, template: Array) -> list[FamilyFit]:
    assert prepared.binning is not None
    fits = [fit_family(prepared.binning, prepared.counts, template, name) for name in FAMILIES]
    return [one for one in fits if one is not None]


def _row(one: FamilyFit) -> Spec:
    stated = np.isfinite(one.z)
    return {
        "family": one.name,
        "z": one.z if stated else None,
        "z_plug": one.z_plug if stated else None,
        "events": one.events[0] if stated else None,
        "deviance": one.deviance[0],
        "p": one.deviance[2],
        "edm": float(max(one.null.edm[0], one.bump.edm[0])) if stated else None,
    }
