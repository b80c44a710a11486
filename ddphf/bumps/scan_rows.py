"""What a record says of each spectrum of a scan."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array, Mask, Spec
from ddphf.bumps.global_p import GlobalP
from ddphf.bumps.hunt import LEAST_RHO, Hunt
from ddphf.bumps.known import fit_signal
from ddphf.bumps.prepare import Prepared
from ddphf.bumps.templates import density_templates

__all__ = ["DIFFERS", "EXCLUDED", "SCANNED", "SILENT", "UNDESCRIBED", "Entry", "finite", "row_of"]

DIGITS = 9
"""Significant digits of lists: files of thousands of spectra are long."""

DIFFERS = 2.0
"""Estimates of network and splines that are further apart are said."""

SCANNED, SILENT, UNDESCRIBED, EXCLUDED = (
    "scanned", "no significance", "background does not describe", "excluded",
)  # fmt: skip


@dataclass(eq=False)
class Entry:
    """A spectrum, and what was found in it.

    Attributes:
        prepared: What is scanned of it.
        found: None where nothing is.
        status: How far it came.
        why: It came no further.
        overall: Global p-value, where there are toys.
        network: Its z in the scanned bins, where it knows such bumps.
        extra: Fits of functions.
    """

    prepared: Prepared
    found: Hunt | None = None
    status: str = EXCLUDED
    why: str = ""
    overall: GlobalP | None = None
    network: Array | None = None
    extra: Spec = field(default_factory=dict)


def finite(value: float) -> float | None:
    """Return a number, None for what is none."""
    return float(value) if np.isfinite(value) else None


def _list(values: Array) -> list[float | None]:
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values]


def row_of(entry: Entry, rank: int | None) -> Spec:
    """Return what the record says of a spectrum."""
    spectrum, found, start = entry.prepared.spectrum, entry.found, entry.prepared.start
    row: Spec = {
        "name": spectrum.name,
        "status": entry.status,
        "edges": _list(spectrum.edges),
        "observed": _list(spectrum.counts),
        "start": start,
        "unit": spectrum.unit,
        "digest": spectrum.digest,
        "z_known": [],
        "z_profiled": [],
        "rho": [],
        "excluded": [],
        "best": None,
        "background": None,
        "warnings": [],
    }
    if spectrum.sources:
        row["sources"] = list(spectrum.sources)
    if rank is not None:
        row["rank"] = rank
    if entry.why:
        row["why"] = entry.why
    if found is None or entry.prepared.binning is None:
        return row
    before = np.full(start, np.nan)

    def whole(values: Array) -> list[float | None]:
        return _list(np.concatenate([before, values]))

    known = found.z_known
    binning = entry.prepared.binning
    if spectrum.partner is not None:
        row |= {"partner": _list(spectrum.partner), "ratio": _list(spectrum.ratios)}
    if spectrum.background is not None:
        templates = density_templates(binning.edges, binning.centres, binning.widths)
        given = spectrum.background[start:]
        known = fit_signal(entry.prepared.counts, given, templates).z
    inner = binning.inner
    row["widths"] = whole(binning.widths)
    row["z_known"] = whole(known)
    row["z_profiled"] = whole(found.z_profiled)
    row["rho"] = whole(found.rho)
    row["excluded"] = ["before the maximum"] * start + [
        _why(ok, away, rho)
        for ok, away, rho in zip(
            found.searched, inner | (spectrum.partner is not None), found.rho, strict=True
        )
    ]
    deviance, expected, p = found.deviance
    row["background"] = {
        "method": (
            f"splines in {found.coordinate}, {found.link} link"
            if spectrum.partner is None
            else "partner sample, free in every bin"
        ),
        "coordinate": found.coordinate,
        "link": found.link,
        "freedom": found.freedom,
        "strength": found.strength,
        "deviance": deviance,
        "expected_deviance": expected,
        "p": p,
        "expected": whole(found.background),
        "without_bump": whole(found.null),
        "edm": found.edm,
        "failed_candidates": found.failed_candidates,
        "given": [] if spectrum.background is None else _list(spectrum.background),
    }
    row |= entry.extra
    if entry.network is not None:
        row["network"], said = _network(entry, found, entry.network)
        row["network"]["z"] = whole(entry.network)
        row["warnings"] = said
    if entry.status == SCANNED:
        row["best"] = _best(entry, found)
        if spectrum.partner is None:
            row["warnings"] += _edge_warning(found, inner, binning.centres)
    return row


def _network(entry: Entry, found: Hunt, z: Array) -> tuple[Spec, list[str]]:
    """Return the best bump by the network, and where splines say something else."""
    assert entry.prepared.binning is not None
    binning = entry.prepared.binning
    inner, masses = binning.inner, binning.centres
    at, other = (int(np.argmax(np.where(inner, v, -np.inf))) for v in (z, found.z_known))
    worst = max((at, other), key=lambda i: abs(z[i] - found.z_known[i]))
    differs = bool(abs(z[worst] - found.z_known[worst]) > DIFFERS)
    best = {
        "mass": float(masses[at]), "bin": entry.prepared.start + at, "z": float(z[at]),
        "z_spline": float(found.z_known[at]),
    }  # fmt: skip
    said = (
        f"network and splines differ at {masses[worst]:g}: they estimate z = {z[worst]:.2f} and "
        f"{found.z_known[worst]:.2f} over a known background; trust neither before it is understood"
    )
    return {"best": best, "differs": differs}, [said] if differs else []


def _why(searched: bool, away: bool, rho: float) -> str | None:
    if searched:
        return None
    if not away:
        return "next to an end"
    return "rho" if rho < LEAST_RHO else "no certificate"


def _best(entry: Entry, found: Hunt) -> Spec:
    assert found.best is not None
    assert entry.prepared.binning is not None
    binning, at = entry.prepared.binning, found.best
    overall = entry.overall
    p = None if overall is None else overall.p
    return {
        "mass": float(binning.centres[at]),
        "width": float(binning.widths[at]),
        "width_bins": float(binning.widths[at] / np.diff(binning.edges)[at]),
        "bin": entry.prepared.start + at,
        "events": found.events[0],
        "events_error": finite(found.events[1]),
        "z": found.z,
        "z_known": float(found.z_known[at]),
        "rho": float(found.rho[at]),
        "p_local": float(norm.sf(found.z)),
        "p_global": p,
        "p_global_interval": None if overall is None else list(overall.interval),
        "z_global": None if p is None else finite(norm.isf(p)),
        "toys": 0 if overall is None else overall.toys,
        "toys_failed": 0 if overall is None else overall.failed,
    }


def _edge_warning(found: Hunt, inner: Mask, centres: Array) -> list[str]:
    """Say where a larger z lies next to an end, where none is stated."""
    outside = np.where(~inner & np.isfinite(found.z_profiled), found.z_profiled, -np.inf)
    at = int(np.argmax(outside))
    if not outside[at] > max(found.z, 0.0):
        return []
    return [
        f"z = {outside[at]:.2f} at {centres[at]:g} is larger than that of the best bump, but lies "
        "next to an end of the spectrum, where fits are prone to it: extend the range to state it"
    ]
