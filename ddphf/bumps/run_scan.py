"""From files with spectra to the record of their bumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array, Mask, Spec
from ddphf.bumps.functions import add_functions
from ddphf.bumps.global_p import GlobalP, combine_all, toy_maxima, toy_p
from ddphf.bumps.hunt import LEAST_RHO, Hunt
from ddphf.bumps.known import fit_signal
from ddphf.bumps.many import hunt_all
from ddphf.bumps.prepare import Prepared, Width, prepare
from ddphf.bumps.spectra import Spectrum
from ddphf.bumps.starts import fit_rises
from ddphf.bumps.templates import density_templates
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.results.bumps import BumpsResult
from ddphf.results.provenance import make_provenance

__all__ = ["scan_spectra"]

DESCRIBES = 1e-3
"""p-value of the deviance below which no background describes a spectrum, which is not ranked."""

DIGITS = 9
"""Significant digits of lists: files of thousands of spectra are long."""

SCANNED, SILENT, UNDESCRIBED, EXCLUDED = (
    "scanned", "no significance", "background does not describe", "excluded",
)  # fmt: skip


@dataclass(eq=False)
class _Entry:
    prepared: Prepared
    found: Hunt | None = None
    status: str = EXCLUDED
    why: str = ""
    overall: GlobalP | None = None
    extra: Spec = field(default_factory=dict)


def scan_spectra(
    spectra: Sequence[Spectrum],
    width: Width,
    *,
    toys: int = 0,
    first: int = 20,
    mass: float | None = None,
    seed: int = 0,
    work: Work = HERE,
) -> BumpsResult:
    """Scan spectra for bumps.

    Args:
        spectra: At least one.
        width: Of a bump.
        toys: Of each of the first spectra; without them no global p-value is stated.
        first: How many spectra, the largest z first, have toys and fits of functions.
        mass: Where a bump is stated too, beside the best one.
        seed: Of the toys.
        work: Where it is done.

    Raises:
        InputError: Nothing can be scanned.
        FitError: Too many toys have no certificate.
    """
    work.say("preparing")
    entries = [_Entry(prepare(spectrum, width)) for spectrum in spectra]
    usable = [e for e in entries if e.prepared.binning is not None]
    work.say(f"backgrounds of {len(usable)} spectra")
    hunts = hunt_all(
        [e.prepared.binning for e in usable if e.prepared.binning is not None],
        [e.prepared.counts for e in usable], work=work,
    )  # fmt: skip
    for entry, found in zip(usable, hunts, strict=True):
        entry.found = found
    for entry in entries:
        _judge(entry)
    ranked = sorted(
        (e for e in entries if e.status == SCANNED), key=lambda e: -(e.found.z if e.found else 0)
    )
    if not any(e.status in (SCANNED, SILENT) for e in entries):
        reasons = [f"{e.prepared.spectrum.name}: {e.why}" for e in entries]
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise InputError(f"no spectrum can be scanned: {'; '.join(reasons[:3])}{more}")
    if toys:
        _add_toys(ranked[:first], toys, seed, work)
        ranked.sort(key=_by_global_p)
    work.say(f"functions for {len(ranked[:first])} spectra")
    for entry in ranked[:first]:
        entry.extra = add_functions(entry.prepared, entry.found, mass, DESCRIBES)
    others = sorted((e for e in entries if e.status != SCANNED), key=lambda e: e.status != SILENT)
    rows = [_row(entry, rank) for rank, entry in enumerate(ranked, start=1)]
    rows += [_row(entry, None) for entry in others]
    return BumpsResult(
        spectra=tuple(rows),
        overall=_overall(ranked[: first if toys else 0], len(ranked)),
        width=width.describe(),
        method="spline",
        toys=toys,
        seed=seed,
        left_out=_left_out(ranked, others, toys, first),
        warnings=_warnings(entries),
        provenance=make_provenance(),
    )


def _judge(entry: _Entry) -> None:
    """Say what can be stated of a spectrum."""
    found = entry.found
    if found is None:
        entry.why = entry.prepared.why
        return
    deviance, expected, p = found.deviance
    if p < DESCRIBES:
        entry.status = UNDESCRIBED
        entry.why = (
            f"no smooth background describes it: deviance {deviance:.1f}, {expected:.1f} expected, "
            f"p = {p:.1g}; a kink, a turn-on or several bumps"
        )
    elif found.best is None:
        entry.status = SILENT
        entry.why = (
            "the background that describes it swallows a bump in every bin that is away from the "
            f"ends (rho below {LEAST_RHO:g}): take a longer range or a narrower bump"
        )
    elif _background_rises(entry.prepared, found):
        entry.status = UNDESCRIBED
        entry.why = (
            "no smoothly falling background describes it: the fitted one has a peak of its own; "
            "take a range with more events beside it"
        )
    else:
        entry.status = SCANNED


def _background_rises(prepared: Prepared, found: Hunt) -> bool:
    assert prepared.binning is not None
    binning = prepared.binning
    return fit_rises(found.background, binning.exposure, binning.widths / np.diff(binning.edges))


def _add_toys(entries: list[_Entry], toys: int, seed: int, work: Work) -> None:
    work.say(f"toys of {len(entries)} spectra")
    found = [(e, e.found, e.prepared.binning) for e in entries]
    maxima = toy_maxima(
        [b for _, _, b in found if b is not None], [h.null for _, h, _ in found if h is not None],
        toys, seed=seed, work=work,
    )  # fmt: skip
    for (entry, hunted, _), row in zip(found, maxima, strict=True):
        assert hunted is not None
        entry.overall = toy_p(hunted.z, row, entry.prepared.spectrum.name)


def _by_global_p(entry: _Entry) -> tuple[float, float]:
    """Return what ranks: the global p-value, then z where toys cannot tell."""
    assert entry.found is not None
    if entry.overall is None:
        return 2.0, -entry.found.z
    return (0.0 if entry.overall.p is None else entry.overall.p), -entry.found.z


def _overall(tested: list[_Entry], spectra: int) -> Spec | None:
    """Return the global p-value over all spectra."""
    best = next((e for e in tested if e.overall is not None), None)
    if best is None or best.overall is None:
        return None
    p = best.overall.p
    low, high = (combine_all(x, spectra) for x in best.overall.interval)
    both = None if p is None else combine_all(p, spectra)
    return {
        "p": both,
        "p_interval": [low, high],
        "z": None if both is None else _finite(norm.isf(both)),
        "spectra": spectra,
        "name": best.prepared.spectrum.name,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _list(values: Array) -> list[float | None]:
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values]


def _row(entry: _Entry, rank: int | None) -> Spec:
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
        _why(ok, away, rho) for ok, away, rho in zip(found.searched, inner, found.rho, strict=True)
    ]
    deviance, expected, p = found.deviance
    row["background"] = {
        "method": f"splines in {found.coordinate}, {found.link} link",
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
        "given": [] if spectrum.background is None else _list(spectrum.background),
    }
    row |= entry.extra
    if entry.status == SCANNED:
        row["best"] = _best(entry, found)
        row["warnings"] = _edge_warning(found, inner, binning.centres)
    return row


def _why(searched: bool, away: bool, rho: float) -> str | None:
    if searched:
        return None
    if not away:
        return "next to an end"
    return "rho" if rho < LEAST_RHO else "no certificate"


def _best(entry: _Entry, found: Hunt) -> Spec:
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
        "events_error": _finite(found.events[1]),
        "z": found.z,
        "z_known": float(found.z_known[at]),
        "rho": float(found.rho[at]),
        "p_local": float(norm.sf(found.z)),
        "p_global": p,
        "p_global_interval": None if overall is None else list(overall.interval),
        "z_global": None if p is None else _finite(norm.isf(p)),
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


def _left_out(ranked: list[_Entry], others: list[_Entry], toys: int, first: int) -> tuple[str, ...]:
    lines = []
    if not toys and ranked:
        lines.append("no global p-value: none was asked for (--toys)")
    elif len(ranked) > first:
        lines.append(f"no toys of {len(ranked) - first} spectra after the first {first}")
    for status in (SILENT, UNDESCRIBED, EXCLUDED):
        count = sum(e.status == status for e in others)
        if count:
            lines.append(f"{status}: {count} of {len(ranked) + len(others)} spectra, not ranked")
    return tuple(lines)


def _warnings(entries: list[_Entry]) -> tuple[str, ...]:
    lines = []
    for entry in entries:
        name, found = entry.prepared.spectrum.name, entry.found
        if entry.prepared.start and found is not None:
            lines.append(
                f"{name}: rises over its first {entry.prepared.start} bins, which are left out"
            )
        if found is not None and found.failed:
            lines.append(f"{name}: {found.failed} fits have no certificate and are left out")
    return tuple(lines)
