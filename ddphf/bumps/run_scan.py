"""From files with spectra to the record of their bumps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Spec
from ddphf.bumps.binning import PAIRS
from ddphf.bumps.functions import add_functions
from ddphf.bumps.global_p import combine_all, pair_maxima, toy_maxima, toy_p
from ddphf.bumps.hunt import LEAST_RHO, Hunt
from ddphf.bumps.many import hunt_all
from ddphf.bumps.network import Network, estimate_all
from ddphf.bumps.paired import hunt_pair
from ddphf.bumps.prepare import Prepared, Width, prepare
from ddphf.bumps.scan_rows import EXCLUDED, SCANNED, SILENT, UNDESCRIBED, Entry, finite, row_of
from ddphf.bumps.spectra import BACKGROUND, COUNTS, RATIO, Spectrum
from ddphf.bumps.starts import fit_rises
from ddphf.bumps.strengths import FREEDOMS
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.results.bumps import BumpsResult
from ddphf.results.provenance import make_provenance

__all__ = ["scan_spectra"]

HELD = {
    COUNTS: "those of whole counts are Poisson's",
    BACKGROUND: "z_known takes it as exact",
    RATIO: "Z and p take it as exact; an analysis file of the pair ('ddphf build') has them",
}
"""What is said of errors that are not used."""

CANDIDATES = len(PAIRS) * len(FREEDOMS)
"""Backgrounds of splines that a spectrum may have."""

DESCRIBES = 1e-3
"""p-value of the deviance below which no background describes a spectrum, which is not ranked."""


def scan_spectra(
    spectra: Sequence[Spectrum],
    width: Width,
    *,
    toys: int = 0,
    first: int = 20,
    mass: float | None = None,
    network: Network | None = None,
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
        network: That ranks, in the place of z; what is stated stays that of the splines.
        seed: Of the toys.
        work: Where it is done.

    Raises:
        InputError: Nothing can be scanned.
        FitError: Too many toys have no certificate.
    """
    work.say("preparing")
    entries = [Entry(prepare(spectrum, width)) for spectrum in spectra]
    usable = [e for e in entries if e.prepared.binning is not None]
    work.say(f"backgrounds of {len(usable)} spectra")
    _hunt(usable, work)
    if network is not None:
        _ask_network(usable, network)
    for entry in entries:
        _judge(entry)
    ranked = sorted((e for e in entries if e.status == SCANNED), key=_by_z)
    if not any(e.status in (SCANNED, SILENT) for e in entries):
        reasons = [f"{e.prepared.spectrum.name}: {e.why}" for e in entries]
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise InputError(f"no spectrum can be scanned: {'; '.join(reasons[:3])}{more}")
    if toys:
        _add_toys(ranked[:first], toys, seed, work)
        ranked.sort(key=_by_global_p)
    work.say(f"functions for {len(ranked[:first])} spectra")
    for entry in ranked[:first]:
        if entry.prepared.spectrum.partner is None:
            entry.extra = add_functions(entry.prepared, entry.found, mass, DESCRIBES)
    others = sorted((e for e in entries if e.status != SCANNED), key=lambda e: e.status != SILENT)
    rows = [row_of(entry, rank) for rank, entry in enumerate(ranked, start=1)]
    rows += [row_of(entry, None) for entry in others]
    return BumpsResult(
        spectra=tuple(rows),
        overall=_overall(ranked[: first if toys else 0], len(ranked)),
        width=width.describe(),
        method="spline" if network is None else "network",
        toys=toys,
        seed=seed,
        left_out=_left_out(ranked, others, toys, first),
        warnings=_warnings(entries, asked=network is not None),
        network=None if network is None else network.describe(),
        provenance=make_provenance(),
    )


def _hunt(entries: Sequence[Entry], work: Work) -> None:
    """Find the best bump of each spectrum: over its partner sample, or over splines."""
    smooth = [e for e in entries if e.prepared.spectrum.partner is None]
    found = hunt_all(
        [e.prepared.binning for e in smooth if e.prepared.binning is not None],
        [e.prepared.counts for e in smooth], work=work,
    )  # fmt: skip
    for entry, one in zip(smooth, found, strict=True):
        entry.found = one
    for entry in entries:
        spectrum, binning = entry.prepared.spectrum, entry.prepared.binning
        if spectrum.partner is not None and binning is not None:
            entry.found = hunt_pair(binning, spectrum.counts, spectrum.partner, spectrum.ratios)


def _ask_network(entries: Sequence[Entry], network: Network) -> None:
    asked = [
        (e, e.prepared.binning)
        for e in entries
        if e.prepared.binning is not None and e.prepared.spectrum.partner is None
    ]
    z = estimate_all(network, [b for _, b in asked], [e.prepared.counts for e, _ in asked])
    for (entry, _), one in zip(asked, z, strict=True):
        entry.network = one


def _judge(entry: Entry) -> None:
    """Say what can be stated of a spectrum."""
    found = entry.found
    if found is None:
        entry.why = entry.prepared.why
        return
    deviance, expected, p = found.deviance
    paired = entry.prepared.spectrum.partner is not None
    if p < DESCRIBES and paired:
        entry.status = UNDESCRIBED
        entry.why = (
            f"its partner sample does not describe it: deviance {deviance:.1f}, {expected:.1f} "
            f"expected, p = {p:.1g}; the symmetry does not hold, or its ratio of efficiencies is "
            "another"
        )
    elif p < DESCRIBES:
        entry.status = UNDESCRIBED
        entry.why = (
            f"no smooth background describes it: deviance {deviance:.1f}, {expected:.1f} expected, "
            f"p = {p:.1g}; a kink, a turn-on, several bumps, or one next to an end or where rho is "
            f"below {LEAST_RHO:g}"
        )
    elif found.best is None:
        entry.status = SILENT
        entry.why = (
            "the background that describes it swallows a bump in every bin that is away from the "
            f"ends (rho below {LEAST_RHO:g}): take a longer range or a narrower bump"
        )
    elif not paired and _background_rises(entry.prepared, found):
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


def _add_toys(entries: list[Entry], toys: int, seed: int, work: Work) -> None:
    """Draw spectra without a bump from each one's background, and both samples of a pair."""
    work.say(f"toys of {len(entries)} spectra")
    found = [(e, e.found, e.prepared.binning) for e in entries]
    whole = [(e, h, b) for e, h, b in found if h is not None and b is not None]
    smooth = [one for one in whole if one[0].prepared.spectrum.partner is None]
    pairs = [one for one in whole if one[0].prepared.spectrum.partner is not None]
    maxima = toy_maxima(
        [b for _, _, b in smooth], [h.null for _, h, _ in smooth],
        toys, seed=seed, work=work,
    )  # fmt: skip
    more = pair_maxima(
        [b for _, _, b in pairs], [h.null for _, h, _ in pairs],
        [e.prepared.spectrum.ratios for e, _, _ in pairs],
        toys, seed=seed, work=work,
    )  # fmt: skip
    for (entry, hunted, _), row in zip((*smooth, *pairs), (*maxima, *more), strict=True):
        entry.overall = toy_p(hunted.z, row, entry.prepared.spectrum.name)


def _by_z(entry: Entry) -> float:
    """Return what ranks: the network's z where it was asked, otherwise that of splines."""
    assert entry.found is not None
    if entry.network is None or entry.prepared.binning is None:
        return -entry.found.z
    return -float(entry.network[entry.prepared.binning.inner].max())


def _by_global_p(entry: Entry) -> tuple[float, float]:
    """Return what ranks: the global p-value, then z where toys cannot tell."""
    if entry.overall is None:
        return 2.0, _by_z(entry)
    return (0.0 if entry.overall.p is None else entry.overall.p), _by_z(entry)


def _overall(tested: list[Entry], spectra: int) -> Spec | None:
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
        "z": None if both is None else finite(norm.isf(both)),
        "spectra": spectra,
        "name": best.prepared.spectrum.name,
    }


def _left_out(ranked: list[Entry], others: list[Entry], toys: int, first: int) -> tuple[str, ...]:
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


def _not_asked(entry: Entry) -> str:
    if entry.prepared.spectrum.partner is not None:
        return "has a partner sample"
    return "a bump is narrower or wider in bins than those that it was trained with"


def _warnings(entries: list[Entry], *, asked: bool) -> tuple[str, ...]:
    lines = []
    for entry in entries:
        name, found = entry.prepared.spectrum.name, entry.found
        if entry.prepared.start and found is not None:
            lines.append(
                f"{name}: rises over its first {entry.prepared.start} bins, which are left out"
            )
        if found is not None:
            lines += [
                f"{name}: the errors of its {what} are not used: {HELD[what]}"
                for what in entry.prepared.spectrum.held
            ]
        if found is not None and found.failed:
            lines.append(f"{name}: {found.failed} fits have no certificate and are left out")
        if found is not None and found.failed_candidates:
            lines.append(
                f"{name}: {found.failed_candidates} of {CANDIDATES} backgrounds have no certified "
                "fit and could not be chosen"
            )
        if asked and found is not None and entry.network is None:
            lines.append(f"{name}: {_not_asked(entry)}, so the network did not rank it")
    return tuple(lines)
