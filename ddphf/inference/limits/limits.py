"""Upper limits and intervals of any workspace: asymptotic, and by toys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import numpy as np

from ddphf.compute.blocks import Runner
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import FitError, InputError, ModelError
from ddphf.inference.fitter import Fitter
from ddphf.inference.limits.cls import asimov_unit, limit_asymptotic
from ddphf.inference.limits.intervals import interval_asymptotic, intervals_by_toys
from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.limits.toy_cls import limit_by_toys
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.progress import Count, Stage, silent
from ddphf.results.limit import AsymptoticLimit, IntervalResult, LimitResult
from ddphf.results.measured import PLAIN, Declared
from ddphf.results.provenance import made_of, poi_bounds_stated

__all__ = ["LimitMethod", "limit_model", "limit_workspace"]

LimitMethod = Literal["asymptotic", "toys"]
LIMIT_METHODS: tuple[LimitMethod, ...] = ("asymptotic", "toys")

ONE_SIGMA = 0.6827
"""Level of the interval that is given beside the one that was asked for."""

MIN_TOYS = 100

BELOW, ABOVE, NEAR = (0.5, 0.7, 0.85), (1.15, 1.3), (0.84, 0.95, 1.06, 1.2)
"""Scanned signal strengths, in units of the lowest, the highest and the observed limit."""

OF_BOUNDS = 0.05
"""Where a POI has no error: a first step towards the ends of its intervals, in its range."""

WIDENINGS = 7
"""How often pyhf's default upper bound of the POI is multiplied by ten: to 1e8."""


def limit_workspace(
    workspace: Mapping[str, object],
    *,
    measurement: str | None = None,
    level: float = 0.95,
    methods: Collection[LimitMethod] = LIMIT_METHODS[:1],
    poi_bounds: tuple[float, float] | None = None,
    interval: bool = False,
    toys: int = 5000,
    seed: int = 0,
    declared: Declared = PLAIN,
    progress: Stage | None = None,
    toy_progress: Count | None = None,
    runner: Runner | None = None,
) -> LimitResult:
    """Find the CLs upper limits of the signal strength, and its two-sided intervals.

    Args:
        workspace: Any pyhf JSON workspace.
        measurement: Name of the measurement; the first one by default.
        level: Confidence level, between 0.5 and 1.
        methods: ``"asymptotic"``, ``"toys"``.
        poi_bounds: Bounds of the POI instead of the measurement's. Where neither states any, the
            upper one is pyhf's default, and is widened as far as the limits need.
        interval: Whether to find two-sided intervals too, at 68.27 % and at ``level``.
        toys: Toys per ensemble; there is one per scanned mu.
        seed: Their seed.
        declared: What the sidecar says: a measurement that is declared to be none of a signal
            strength has intervals alone.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).
        runner: Where long work is done (:func:`ddphf.open_runner`); threads of this process by
            default. It changes no bit of the result.

    Raises:
        InputError: Too few toys for a limit.
        ModelError: The workspace is refused, has no null (intervals need none), or its POI's upper
            bound is below the observed limit.
        FitError: A fit has no certificate, or too many toys failed and there is nothing else. Where
            toys fail beside other results, a warning says what is missing.

    Example:
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> limit = limit_workspace(workspace)
        >>> round(limit.asymptotic.observed, 4), round(limit.asymptotic.expected[2], 4)
        (5.6709, 4.1287)
    """
    found = limit_model(
        Fitter(ReferenceModel(workspace, measurement, poi_bounds), declared=declared), level=level,
        methods=methods, interval=interval, toys=toys, seed=seed,
        work=Work(progress or silent, toy_progress, runner),
    )  # fmt: skip
    return made_of(found, workspace)


def limit_model(
    fitter: Fitter,
    *,
    level: float = 0.95,
    methods: Collection[LimitMethod] = LIMIT_METHODS[:1],
    interval: bool = False,
    toys: int = 5000,
    seed: int = 0,
    work: Work = HERE,
) -> LimitResult:
    """Find limits with a model that is already built; see :func:`limit_workspace`.

    Args:
        fitter: Of one measurement. Where an upper bound of the POI that nobody stated has to be
            widened, other models of its workspace are built.
        level: Confidence level, between 0.5 and 1.
        methods: ``"asymptotic"``, ``"toys"``.
        interval: Whether to find two-sided intervals too.
        toys: Toys per ensemble.
        seed: Their seed.
        work: How long work is done.

    Returns:
        The limits; of the provenance the bounds of the POI alone, where they are not the
        measurement's.

    Raises:
        InputError: Too few toys for a limit.
        ModelError: There is no null, which intervals alone do not need, or the POI's upper bound is
            below the observed limit.
        FitError: As :func:`limit_workspace`.
    """
    if not 0.5 < level < 1:
        raise InputError(f"confidence level {level:g}: expected a number between 0.5 and 1")
    if "toys" in methods and toys < MIN_TOYS:
        raise InputError(f"toys: {toys}, expected at least {MIN_TOYS} per scanned signal strength")
    say, stated = work.say, fitter.reference.poi_bounds
    if not fitter.has_limits:
        if not (interval and fitter.has_free_poi):
            fitter.require_null()
        return _intervals_alone(fitter, level, methods, toys, seed, work)
    found, observed, asimov, asymptotic = _asymptotic_limits(fitter, level, say)
    widened = None
    for _ in range(WIDENINGS * (not fitter.reference.states_poi_bounds)):
        if None not in (asymptotic.observed, *asymptotic.expected):
            break
        widened = (observed.lower, 10 * observed.upper)
        reference = fitter.reference
        fitter = Fitter(reference.sibling(str(reference.measurement), widened))
        found, observed, asimov, asymptotic = _asymptotic_limits(fitter, level, say)
    table = fitter.reference.parameters
    name, poi = str(fitter.reference.measurement), table.poi
    assert poi is not None
    _require_inside(asymptotic.observed, name, table.names[poi], level, observed)
    warnings = list(found)
    if widened is not None:
        warnings.append(
            f"the measurement states no bounds of '{table.names[poi]}', and the limits are beyond "
            f"pyhf's default of 10: its upper bound is {widened[1]:g} here; --poi-bounds LOW,HIGH "
            "sets others"
        )
    if None in asymptotic.expected:
        warnings.append(
            f"the expected limits beyond the upper bound {observed.upper:g} of the POI are null"
        )
    by_toys = None
    if "toys" in methods:
        say(f"{name}: limits by toys")
        try:
            by_toys = limit_by_toys(
                observed, asimov, _scan_points(asymptotic, observed.upper), level, toys, seed=seed,
                work=work,
            )  # fmt: skip
        except (FitError, ModelError) as error:
            if "asymptotic" not in methods:
                raise
            warnings.append(f"{name}: the limits by toys are missing: {error}")
        if by_toys is not None and None in (by_toys.observed, *by_toys.expected):
            warnings.append(
                f"limits by toys are null where {toys} toys per ensemble do not resolve CLs = "
                f"{1 - level:.4g}; ask for more toys"
            )
    intervals: tuple[IntervalResult, ...] = ()
    if interval:
        intervals, missing = _find_intervals(
            observed, lambda: asimov_unit(asimov), name, level, methods, toys, seed, True, work
        )
        warnings += missing
    return LimitResult(
        measurement=name,
        poi=table.names[poi],
        level=level,
        mu_hat=observed.mu_hat,
        mu_error=observed.free.error(poi),
        asymptotic=asymptotic if "asymptotic" in methods else None,
        toys=by_toys,
        intervals=intervals,
        warnings=tuple(warnings),
        provenance=poi_bounds_stated(
            None if widened is None and stated is None else (observed.lower, observed.upper)
        ),
    )


def _intervals_alone(
    fitter: Fitter,
    level: float,
    methods: Collection[LimitMethod],
    toys: int,
    seed: int,
    work: Work,
) -> LimitResult:
    """Return the record of a measurement without a null: it has intervals, and no CLs."""
    fits = fitter.fit_free(work.say)
    observed = ProfileScan(fitter.require_compiled("intervals"), free=fits.free)
    table, name = fitter.reference.parameters, str(fitter.reference.measurement)
    error = fits.free.error(observed.poi)
    unit = error if error else OF_BOUNDS * (observed.upper - observed.lower)
    intervals, missing = _find_intervals(
        observed, lambda: unit, name, level, methods, toys, seed, False, work
    )
    if not intervals:
        raise FitError(missing[-1])
    return LimitResult(
        measurement=name,
        poi=table.names[observed.poi],
        level=level,
        mu_hat=observed.mu_hat,
        mu_error=error,
        intervals=intervals,
        warnings=(*fits.warnings, *missing),
        provenance=poi_bounds_stated(fitter.reference.poi_bounds),
    )


def _find_intervals(
    observed: ProfileScan,
    unit: Callable[[], float],
    name: str,
    level: float,
    methods: Collection[LimitMethod],
    toys: int,
    seed: int,
    has_null: bool,
    work: Work,
) -> tuple[tuple[IntervalResult, ...], list[str]]:
    """Return two-sided intervals, and what is missing."""
    intervals: list[IntervalResult] = []
    warnings: list[str] = []
    try:
        step = unit()
        plain = [interval_asymptotic(observed, x, step) for x in sorted({ONE_SIGMA, level})]
        if "asymptotic" in methods:
            intervals += plain
        if "toys" in methods:
            work.say(f"{name}: intervals by toys")
            intervals += intervals_by_toys(
                observed, plain, toys, seed=seed, has_null=has_null, work=work
            )
            if any(None in (x.lower, x.upper) for x in intervals):
                warnings.append(
                    "ends of intervals by toys are null where no scanned value of the POI is "
                    "excluded: the data hardly constrain it"
                )
    except (FitError, ModelError) as error:
        which = "the intervals by toys" if intervals else "the intervals"
        warnings.append(f"{name}: {which} are missing: {error}")
    return tuple(intervals), warnings


def _asymptotic_limits(
    fitter: Fitter, level: float, say: Stage
) -> tuple[tuple[str, ...], ProfileScan, ProfileScan, AsymptoticLimit]:
    """Return warnings, the profiles of the data and of Asimov data without signal, their limits."""
    fitter.require_limits()
    fits = fitter.fit_both(say)
    model = fitter.require_compiled()
    say(f"{fitter.reference.measurement}: asymptotic limits")
    observed = ProfileScan(model, free=fits.free)
    source = ToySource.conditional(model)
    data = source.expected()
    without = minimize(model, data=data, start=source.parameters)
    asimov = ProfileScan(model, data, free=without, what="Asimov data without signal")
    return fits.warnings, observed, asimov, limit_asymptotic(observed, asimov, level)


def _scan_points(limit: AsymptoticLimit, upper: float) -> np.ndarray[Any, Any]:
    """Return where to draw toys: at the expected limits, between and around them and the data's."""
    assert limit.observed is not None
    ends = np.array([x for x in limit.expected if x is not None] or [limit.observed])
    points = [
        ends[0] * np.array(BELOW),
        ends,
        (ends[1:] + ends[:-1]) / 2,
        ends[-1] * np.array(ABOVE),
    ]
    return np.unique(np.minimum(np.concatenate([*points, limit.observed * np.array(NEAR)]), upper))


def _require_inside(
    limit: float | None, measurement: str, poi: str, level: float, scan: ProfileScan
) -> None:
    if limit is None:
        raise ModelError(
            f"measurement '{measurement}': CLs is above {1 - level:.4g} up to the upper bound "
            f"{scan.upper:g} of the POI '{poi}', so the observed limit is beyond it; widen the "
            f"bound: --poi-bounds {scan.lower:g},{10 * abs(scan.upper):g}"
        )
