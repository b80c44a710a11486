"""2NLL with one or two parameters held on a grid, everything else refitted, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import contourpy
import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.stats import chi2

from ddphf.arrays import Array, Mask
from ddphf.compute.blocks import Runner
from ddphf.compute.chunks import chunks_of
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, ModelError, UsageError
from ddphf.inference.fitter import Fitter
from ddphf.inference.other_sides import lower_scan
from ddphf.inference.refits import Refits, refit_all
from ddphf.inference.selection import find_parameter
from ddphf.likelihood.certificate import Minimum
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.errors.edges import held_by_data
from ddphf.likelihood.errors.profile import profile_errors
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.measured import PLAIN, Declared
from ddphf.results.provenance import made_of, poi_bounds_stated
from ddphf.results.scan import ScanAxis, ScanResult
from ddphf.statistics.signed import BELOW_FREE
from ddphf.text import list_names

__all__ = ["scan_model", "scan_parameters"]

LEVELS = (0.6827, 0.9545)
WIDTH = {1: 3.0, 2: 3.5}
"""The grid's half width in errors: beyond the outer interval or contour."""

POINTS = {1: 41, 2: 31}

FINER = 4
"""Points between two of the grid, for contours."""

CHUNK = 1024
"""Refits in memory at a time."""


def scan_parameters(
    workspace: Mapping[str, object],
    names: Sequence[str],
    *,
    measurement: str | None = None,
    poi_bounds: tuple[float, float] | None = None,
    points: int | None = None,
    ranges: Sequence[tuple[float, float]] = (),
    declared: Declared = PLAIN,
    progress: Stage | None = None,
    refit_progress: Count | None = None,
    runner: Runner | None = None,
) -> ScanResult:
    """Scan 2NLL along one or two parameters.

    Args:
        workspace: Any pyhf JSON workspace as a dictionary.
        names: One or two free parameters, such as ``mu`` or ``symmetric_shape[317]``.
        measurement: Name of the measurement; the first one by default.
        poi_bounds: Bounds of the POI instead of the measurement's; in the provenance.
        points: Per parameter; 41 for one, 31 for two by default.
        ranges: (low, high) for each parameter, inside its bounds; by default three errors on
            either side (3.5 for two), cut at the bounds.
        declared: What the sidecar says: where there is no null, none is fitted.
        progress: Called with a line for each stage.
        refit_progress: Called with (done, refits).
        runner: Where long work is done (:func:`ddphf.open_runner`); threads of this process by
            default. It changes no bit of the result.

    Returns:
        The grid, with intervals from the profile itself (one parameter) or contours interpolated
        in the grid (two).

    Raises:
        UsageError: Neither one nor two parameters, one of them twice, or another number of ranges.
        ModelError: A parameter is unknown or held, or a range leaves its bounds.
        FitError: The fit itself has no certificate. A refit without one is in ``failures``.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> scan = scan_parameters(workspace, ["mu"], points=3, ranges=[(0.0, 4.0)])
        >>> [round(x, 4) for x in scan.delta_twice_nll]
        [0.9198, 0.0, 0.9077]
    """
    found = scan_model(
        Fitter(ReferenceModel(workspace, measurement, poi_bounds), declared=declared), names,
        points=points, ranges=ranges, work=Work(progress or silent, refit_progress, runner),
    )  # fmt: skip
    return made_of(found, workspace)


def scan_model(
    fitter: Fitter,
    names: Sequence[str],
    *,
    points: int | None = None,
    ranges: Sequence[tuple[float, float]] = (),
    work: Work = HERE,
) -> ScanResult:
    """Scan with a model that is already built; see :func:`scan_parameters`.

    Args:
        fitter: Of one measurement.
        names: One or two free parameters.
        points: Per parameter.
        ranges: (low, high) for each parameter.
        work: How long work is done.

    Returns:
        The scan; of the provenance the bounds of the POI alone.

    Raises:
        UsageError: Neither one nor two parameters, one of them twice, or another number of ranges.
        ModelError: A parameter is unknown or held, or a range leaves its bounds.
        FitError: The fit itself has no certificate.
    """
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise UsageError(f"--parameter {', '.join(names)}: expected one, or two different ones")
    if len(ranges) not in (0, len(names)):
        raise UsageError(
            f"--range: given {len(ranges)} times for {len(names)} parameters; give one for each, "
            "in their order, or none"
        )
    say, table = work.say, fitter.reference.parameters
    indices = [find_parameter(table, name) for name in names]
    model = fitter.require_compiled("scans")
    for index, (low, high) in zip(indices, ranges, strict=False):
        _check_range(table.names[index], low, high, table.lower[index], table.upper[index])
    fits = fitter.fit_free(say)
    free = fits.free
    number = POINTS[len(names)] if points is None else points
    grids = [
        np.linspace(*(ranges[i] if ranges else _default_range(model, free, index, len(names))),
                    number)
        for i, index in enumerate(indices)
    ]  # fmt: skip
    say(f"{number ** len(names)} refits")
    values = np.stack([g.ravel() for g in np.meshgrid(*grids, indexing="ij")], axis=1)
    always = model.parameters.fixed  # what has no effect too
    # A background whose rate sits at 0 is free again elsewhere.
    fixed = held_by_data(free, always) & (always | ~model.expansion.per_bin)
    fixed[indices] = True
    refits = _refit(model, free, fixed, indices, values, work)
    shape = tuple(len(g) for g in grids)
    warnings = list(fits.warnings)
    refits, lowered = lower_scan(model, refits, fixed, indices, values, shape)
    if lowered:
        warnings.append(
            "the likelihood has several minima "
            f"({list_names([table.names[i] for i in model.one_sided])}): at {lowered} of "
            f"{len(values)} points another start led lower; check these parameters"
        )
    delta = refits.twice_nll - free.twice_nll
    if np.nanmin(delta, initial=0.0) < -BELOW_FREE:
        lowest = refits.points[int(np.nanargmin(delta))]
        what = "free fit, from the scan's lowest point"
        better = fitter.minimize(lowest, table.fixed, what).minimum
        warnings.append(
            f"the scan found a lower minimum: 2NLL {better.twice_nll:.6f}, where the fit had "
            f"{free.twice_nll:.6f}; the scan is relative to the lower one"
        )
        free, delta = better, refits.twice_nll - better.twice_nll
    intervals: list[dict[str, Any]] = []
    contours: list[dict[str, Any]] = []
    if len(names) == 1:
        say("intervals")
        intervals, said = _intervals(model, free, indices[0])
        warnings += said
    else:
        contours = _contours(grids, delta.reshape(shape))
    failures = tuple(
        {"values": values[row].tolist(), "reason": reason}
        for row, reason in sorted(refits.reasons.items())
    )
    if failures:
        warnings.append(
            f"{len(failures)} of {len(values)} refits have no certificate and no number, the first "
            f"at {failures[0]['values']}: {failures[0]['reason']}"
        )
    return ScanResult(
        measurement=str(fitter.reference.measurement),
        twice_nll=free.twice_nll,
        parameters=tuple(
            ScanAxis(name, float(free.parameters[i]), free.error(i), tuple(g.tolist()))
            for name, i, g in zip(names, indices, grids, strict=True)
        ),
        delta_twice_nll=_nested(delta.reshape(shape)),
        intervals=tuple(intervals),
        contours=tuple(contours),
        failures=failures,
        warnings=tuple(warnings),
        provenance=poi_bounds_stated(fitter.reference.poi_bounds),
    )


def _check_range(name: str, low: float, high: float, lower: float, upper: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UsageError(f"--range {low:g} {high:g}: expected two finite numbers, the lower first")
    if low < lower or high > upper:
        raise ModelError(
            f"--range {low:g} {high:g}: leaves the bounds [{lower:g}, {upper:g}] of '{name}'; a "
            "model means nothing outside its bounds"
        )


def _default_range(
    model: CompiledModel, free: Minimum, index: int, dimensions: int
) -> tuple[float, float]:
    table, best = model.parameters, float(free.parameters[index])
    lower, upper = float(table.lower[index]), float(table.upper[index])
    error = float(free.errors[index])
    if error == 0:  # at a bound or an edge, where 2NLL has a slope: until it has risen as far
        return _risen_range(model, free, index, WIDTH[dimensions] ** 2)
    width = WIDTH[dimensions] * error
    return max(best - width, lower), min(best + width, upper)


def _risen_range(
    model: CompiledModel, free: Minimum, index: int, rise: float
) -> tuple[float, float]:
    """Return from where to where 2NLL has risen by less, inside the bounds.

    A side on which some rate would be negative at once is cut.
    """
    table, best = model.parameters, float(free.parameters[index])
    try:
        down, up = profile_errors(model, free, index, rise=rise)
    except FitError:
        down = up = None
    held, start = table.fixed.copy(), free.parameters.copy()
    held[index] = True

    def end(size: float | None, bound: float) -> float:
        if size is not None:
            return best + size
        start[index] = bound
        return bound if minimize(model, start=start, fixed=held).converged else best

    low, high = end(down, float(table.lower[index])), end(up, float(table.upper[index]))
    return (low, high) if low < high else (float(table.lower[index]), float(table.upper[index]))


def _refit(
    model: CompiledModel,
    free: Minimum,
    fixed: Mask,
    indices: Sequence[int],
    values: Array,
    work: Work,
) -> Refits:
    """Refit with the parameters held at each row of values."""
    places, n = np.array(indices), len(values)
    out = Refits(np.full((n, len(fixed)), np.nan), np.full(n, np.nan), {})

    def run(rows: Any, origins: Array, work: Work) -> None:
        start = origins.copy()
        start[:, places] = values[rows]
        found = refit_all(model, start=start, fixed=fixed, work=work)
        out.points[rows], out.twice_nll[rows] = found.points, found.twice_nll
        for j, row in enumerate(map(int, rows)):
            out.reasons.pop(row, None)
            if j in found.reasons:
                out.reasons[row] = found.reasons[j]

    for rows in chunks_of(n, CHUNK):
        origins = np.repeat(free.parameters[None], len(rows), axis=0)
        run(rows, origins, work.part(int(rows[0]), n))
    good = np.flatnonzero(np.isfinite(out.twice_nll))
    bad = np.array(sorted(out.reasons), dtype=int)
    if bad.size and good.size:  # once more, from the nearest certified point
        scale = np.ptp(values, axis=0)
        near = [good[np.argmin(np.sum(((values[good] - values[j]) / scale) ** 2, 1))] for j in bad]
        run(bad, out.points[near], replace(work, count=None))
    return out


def _intervals(
    model: CompiledModel, free: Minimum, index: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the intervals of a parameter, and warnings."""
    out, warnings = [], []
    best = float(free.parameters[index])
    for level in LEVELS:
        rise = float(chi2.ppf(level, 1))
        try:
            low, high = profile_errors(model, free, index, rise=rise)
        except FitError as error:
            warnings.append(f"interval at {level:.2%}: {error}")
            low = high = None
        out.append(
            {
                "level": level,
                "rise": rise,
                "low": None if low is None else best + low,
                "high": None if high is None else best + high,
            }
        )
    return out, warnings


def _contours(grids: Sequence[Array], delta: Array) -> list[dict[str, Any]]:
    """Return the lines along which 2NLL has risen by the levels of two parameters."""
    x, y = grids
    if np.all(np.isfinite(delta)) and min(delta.shape) > 3:
        # 2NLL is smooth: a cubic surface is far closer to it between the points than a plane.
        surface = RectBivariateSpline(x, y, delta)
        x, y = (np.linspace(g[0], g[-1], FINER * (len(g) - 1) + 1) for g in grids)
        delta = surface(x, y)
    lines = contourpy.contour_generator(x, y, np.ma.masked_invalid(delta.T))
    out = []
    for level in LEVELS:
        rise = float(chi2.ppf(level, 2))
        paths = [
            {"x": line[:, 0].tolist(), "y": line[:, 1].tolist()}
            for line in map(np.asarray, lines.lines(rise))
        ]
        out.append({"level": level, "rise": rise, "paths": paths})
    return out


def _nested(values: Array) -> tuple[Any, ...]:
    if values.ndim == 1:
        return tuple(float(v) if np.isfinite(v) else None for v in values)
    return tuple(_nested(row) for row in values)
