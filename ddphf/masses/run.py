"""The whole scan: fits, limits, what looking everywhere costs, and the record of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, InputError
from ddphf.likelihood.rows.fits import RowFits
from ddphf.masses.asymptotic import Asimov, RowLimits, find_limits, make_asimov
from ddphf.masses.check import check_by_pyhf
from ddphf.masses.engine import ScanEngine
from ddphf.masses.global_p import global_p
from ddphf.masses.kept import work_digest
from ddphf.masses.scan import UNSTATED, MassScan
from ddphf.masses.toy_limits import toy_limits
from ddphf.results.masses import MassesResult
from ddphf.results.provenance import make_provenance
from ddphf.statistics.one_sided import is_one_sided
from ddphf.statistics.signed import signed_z
from ddphf.statistics.tails import CAREFUL, FAILED

__all__ = ["Fitted", "digest_of", "fit_scan", "run_scan"]

WORDS = {CAREFUL: "careful", FAILED: "failed"}

WIDENED = 7
"""Times that an upper bound which nobody stated grows tenfold, until all limits are below it."""

NAMED = 5
"""Hypotheses that a warning names."""


@dataclass(frozen=True)
class Fitted:
    """The fits of a scan's data.

    Attributes:
        engine: The scan's.
        null: At mu = 0.
        free: With everything free.
        q0: 2NLL(0) - 2NLL(free), >= 0; inf where mu = 0 is impossible; signed by mu_hat.
        asimov: Data without a signal.
    """

    engine: ScanEngine
    null: RowFits
    free: RowFits
    q0: Array
    asimov: Asimov


def fit_scan(scan: MassScan) -> Fitted:
    """Fit all hypotheses free and without a signal.

    Raises:
        FitError: Not one of them has a certificate.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> fitted = fit_scan(small_scan())
        >>> bool(fitted.free.ok.all()), fitted.q0.shape
        (True, (4,))
    """
    engine = ScanEngine(scan)
    data, row = engine.model.observed, np.arange(len(scan))
    null, free = engine.both(data, row)
    ok = null.ok & free.ok
    if not ok.any():
        raise FitError("no hypothesis has a certified fit with and without a signal")
    q = engine.statistic(data, row, null, free)
    q0 = np.where(free.theta[:, 0] < 0, -q, np.where(free.theta[:, 0] == 0, 0.0, q))
    return Fitted(engine, null, free, np.where(ok, q0, np.nan), make_asimov(engine, null))


def run_scan(
    scan: MassScan,
    *,
    levels: Sequence[float] = (0.95,),
    methods: Collection[str] = ("asymptotic",),
    toys: int = 1000,
    global_toys: int = 0,
    seed: int = 0,
    folder: Path | None = None,
    work: Work = HERE,
) -> MassesResult:
    """Fit a scan and state everything of it.

    Args:
        scan: The scan.
        levels: Confidence levels of the limits.
        methods: ``"asymptotic"``, ``"toys"``: of limits.
        toys: Toys of each ensemble of limits by toys; nine to twelve per hypothesis and level.
        global_toys: Toys of all hypotheses for the global p-value; none where 0.
        folder: Where pieces of the toys are kept, and taken from; None for nowhere.
        seed: Of everything drawn.
        work: How long work is done.

    Raises:
        InputError: A level that is none.
        FitError: No fit has a certificate.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> result = run_scan(small_scan())
        >>> len(result.hypotheses), result.hypotheses[0]["status"]
        (4, 'converged')
    """
    for level in levels:
        if not 0.5 < level < 1:
            raise InputError(f"confidence level {level:g}: expected a number between 0.5 and 1")
    fitted, limits = _asymptotic(scan, levels, work)
    said = []
    for _ in range(WIDENED * (not scan.poi.stated)):
        if not _any_beyond(fitted, limits):
            break
        scan = replace(scan, poi=replace(scan.poi, upper=10 * scan.poi.upper))
        fitted, limits = _asymptotic(scan, levels, work)
        said = [
            f"no bounds of '{scan.poi.name}' are stated: the upper one was widened from "
            f"{UNSTATED[1]:g} to {scan.poi.upper:g}, so that limits are below it"
        ]
    by_toys: list[list[Spec | None]] = [[None] * len(scan) for _ in levels]
    if "toys" in methods:
        work.say("limits by toys")
        by_toys = toy_limits(
            scan, limits, fitted.free.theta[:, 0], toys, seed=seed, folder=folder, work=work
        )
    overall = None
    if global_toys:
        work.say("global p-value")
        overall = global_p(scan, fitted.q0, global_toys, seed=seed, folder=folder, work=work)
    work.say("check by pyhf")
    checked = check_by_pyhf(fitted.engine, fitted.free, fitted.null, fitted.q0)
    status = np.maximum(fitted.free.status, fitted.null.status)
    return MassesResult(
        name=scan.name,
        parameter={"name": scan.parameter.name, "unit": scan.parameter.unit},
        poi={
            "name": scan.poi.name,
            "unit": scan.poi.unit,
            "bounds": [scan.poi.lower, scan.poi.upper],
        },
        values=tuple(scan.parameter.values.tolist()),
        levels=tuple(levels),
        hypotheses=tuple(
            _hypothesis(fitted, limits, [column[i] for column in by_toys], i, int(status[i]))
            for i in range(len(scan))
        ),
        overall=overall,
        empty_bins=_describe_empty(scan, fitted.engine),
        fits={
            "careful": int(np.sum(status == CAREFUL)),
            "failed": int(np.sum(status == FAILED)),
            "checked": checked,
        },
        interpolation=scan.interpolation,
        seed=seed if global_toys or "toys" in methods else None,
        warnings=(*said, *scan.warnings, *_warn(fitted, limits), *_unresolved(by_toys, levels)),
        provenance=make_provenance(data_digest=digest_of(scan)),
    )


def digest_of(scan: MassScan) -> str:
    """Return what a scan is known again by: its rows and its name."""
    return f"sha256:{work_digest(scan.rows().digest_parts(), scan.name)}"


def _asymptotic(
    scan: MassScan, levels: Sequence[float], work: Work
) -> tuple[Fitted, list[RowLimits]]:
    work.say("fits")
    fitted = fit_scan(scan)
    limits = []
    for level in levels:
        work.say(f"asymptotic limits at {100 * level:g} %")
        found = find_limits(fitted.engine, fitted.free, fitted.null, fitted.asimov, level)
        limits.append(found)
    return fitted, limits


def _any_beyond(fitted: Fitted, limits: Sequence[RowLimits]) -> bool:
    ok = fitted.free.ok & fitted.null.ok
    return any(
        bool(np.isnan(limit.observed[ok]).any() or np.isnan(limit.expected[ok]).any())
        for limit in limits
    )


def _hypothesis(
    fitted: Fitted, limits: Sequence[RowLimits], toys: list[Spec | None], i: int, status: int
) -> Spec:
    scan, free = fitted.engine.scan, fitted.free
    q0 = _number(fitted.q0[i])
    z0 = None if q0 is None else float(signed_z(q0))
    dark = fitted.engine.signal_only[i] & (fitted.engine.model.counts[i] > 0)
    entry: Spec = {"n": int(scan.empty[i].sum()), "with_events": int(dark.sum())}
    if dark.any():
        entry["bins"] = np.flatnonzero(dark).tolist()
    ok = bool(free.ok[i])
    stated = [_limit(limit, i) for limit in limits]
    for level, drawn in zip(stated, toys, strict=True):
        if drawn is not None:
            level["toys"] = drawn
    out: Spec = {
        "mu_hat": float(free.theta[i, 0]) if ok else None,
        "mu_error": float(free.errors[i, 0]) if ok else None,
        "q0": q0,
        "z0": z0,
        "p0": None if z0 is None else float(norm.sf(z0)),
        "limit": stated[0] if stated else {},
        "empty_bins": entry,
        "status": WORDS.get(status, "converged"),
    }
    if len(stated) > 1:
        out["limits"] = stated[1:]
    if scan.between is not None:
        out["interpolated"] = bool(np.isfinite(scan.between[i, 0]))
        if out["interpolated"]:
            out["between"] = scan.between[i].tolist()
    return out


def _limit(limit: RowLimits, i: int) -> Spec:
    return {
        "level": limit.level,
        "asymptotic": {
            "observed": _number(limit.observed[i]),
            "expected": [_number(x) for x in limit.expected[i]],
        },
    }


BANDS = ("observed", "-2 sigma", "-1 sigma", "median", "+1 sigma", "+2 sigma")


def _unresolved(by_toys: Sequence[Sequence[Spec | None]], levels: Sequence[float]) -> list[str]:
    """Return which limits by toys are null because there are too few of them."""
    out = []
    for level, rows in zip(levels, by_toys, strict=True):
        drawn = [row for row in rows if row is not None]
        missing = [
            f"{band} of {n} hypotheses"
            for i, band in enumerate(BANDS)
            if (n := sum([row["observed"], *row["expected"]][i] is None for row in drawn))
        ]
        if missing:
            out.append(
                f"limits by toys at {100 * level:g} % are null ({', '.join(missing)}): "
                f"{drawn[0]['n']} toys per ensemble do not resolve CLs = {1 - level:.2g} there, or "
                "it is reached beyond the tested values; ask for more toys"
            )
    return out


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _describe_empty(scan: MassScan, engine: ScanEngine) -> Spec | None:
    if not scan.policy:
        return None
    return {
        "policy": scan.policy,
        "n": int(scan.empty.sum()),
        "hypotheses": int(scan.empty.any(axis=1).sum()),
        "with_events": int(engine.impossible.sum()),
    }


def _name(scan: MassScan, rows: AnyArray) -> str:
    values = [f"{scan.parameter.values[i]:.5g}" for i in rows[:NAMED]]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{scan.parameter.name} = {', '.join(values)}{more}"


def _warn(fitted: Fitted, limits: Sequence[RowLimits]) -> list[str]:
    scan, out = fitted.engine.scan, []
    impossible = np.flatnonzero(fitted.engine.impossible)
    if len(impossible):
        first = int(impossible[0])
        dark = fitted.engine.signal_only[first] & (fitted.engine.model.counts[first] > 0)
        out.append(
            f"{len(impossible)} of {len(scan)} hypotheses have events in bins where nothing but "
            "the signal is expected, so mu = 0 is impossible there: they have limits, but no q0 "
            f"and no p0 ({_name(scan, impossible)}; bins {np.flatnonzero(dark).tolist()} of the "
            "first)"
        )
    top = np.flatnonzero(fitted.free.ok & (fitted.free.theta[:, 0] >= scan.poi.upper))
    if len(top):
        out.append(
            f"the best fit sits at the upper bound {scan.poi.upper:g} of '{scan.poi.name}' and the "
            f"data lie beyond, so q0, z0 and p0 understate them ({_name(scan, top)}): widen "
            "poi.bounds"
        )
    model = fitted.engine.model
    for what, fits in (("free fit", fitted.free), ("fit without a signal", fitted.null)):
        ends = (fits.theta <= model.lower) | (fits.theta >= model.upper)
        for k, name in enumerate(model.names[1:], start=1):
            held = np.flatnonzero(fits.ok & ends[:, k])
            if len(held):
                out.append(f"{what}: '{name}' is at its bound at {_name(scan, held)}")
    out += _say_one_sided(fitted.engine)
    failed = np.flatnonzero(~(fitted.free.ok & fitted.null.ok))
    if len(failed):
        out.append(
            f"{len(failed)} of {len(scan)} hypotheses have a fit without a certificate: "
            f"{_name(scan, failed)}"
        )
    for limit in limits:
        beyond = np.flatnonzero(np.isnan(limit.observed) & fitted.free.ok & fitted.null.ok)
        if len(beyond):
            out.append(
                f"the observed limit at {100 * limit.level:g} % is beyond the upper bound "
                f"{scan.poi.upper:g} of '{scan.poi.name}' at {_name(scan, beyond)}: widen "
                "poi.bounds"
            )
        lost = np.flatnonzero(np.isnan(limit.expected).any(axis=1))
        if len(lost):
            out.append(
                f"expected limits at {100 * limit.level:g} % beyond the upper bound "
                f"{scan.poi.upper:g} of '{scan.poi.name}' are null: {_name(scan, lost)}"
            )
    return out


def _say_one_sided(engine: ScanEngine) -> list[str]:
    scan, found = engine.scan, dict(engine.sides)
    places = {name: f"'{name}'" for name in found}
    for sample in scan.samples:
        for entry in sample.norms:
            bent = is_one_sided(entry.up, entry.down)
            if bent.any():
                found[entry.name] = found.get(entry.name, bent) | bent
                places[entry.name] = f"'{entry.name}' of '{sample.name}'"
    return [
        f"systematic {places[name]}: up and down change yields the same way at "
        f"{_name(scan, np.flatnonzero(bent))}; such a one-sided variation makes several minima: "
        "where it is not small fits begin on either side of it, and the lowest is reported, so "
        "check it"
        for name, bent in found.items()
    ]
