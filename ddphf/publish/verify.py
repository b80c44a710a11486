"""Verify a bundle: from its checksums to refits by pyhf's own optimizers.

Each level takes the one below for granted, so the first level that fails is the last one run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddphf.exceptions import DdphfError
from ddphf.files import parse_json
from ddphf.likelihood.certificate import measure_rounding
from ddphf.likelihood.reference import BackendName, ReferenceModel
from ddphf.progress import Count, Stage
from ddphf.publish.archive import DamagedArchiveError, unpack
from ddphf.publish.contents import DAMAGE, Bundle, check_contents
from ddphf.publish.inventory import other_numbers
from ddphf.publish.measured import check_measured
from ddphf.publish.scan_contents import ScanBundle, check_scan_contents, is_scan
from ddphf.publish.stock_fits import STOCK, Optimizer, fit_stock, judge_stock
from ddphf.publish.summaries import stale_record
from ddphf.results.provenance import make_provenance
from ddphf.results.published import PointResult
from ddphf.results.verified import FAIL, LIMITED, PASS, Check, VerifyResult
from ddphf.statistics.signed import signed_statement
from ddphf.text import clean_text

__all__ = ["SECONDS", "verify_archive"]


SAME = 1e-6
"""Largest difference of two evaluations of -2 ln L at one point."""

ERRORS = 1e-3
"""Largest relative difference of a recorded error from that of a refit."""

SECONDS = 60.0
"""Time of one fit by a stock optimizer."""


def verify_archive(
    packed: bytes,
    *,
    level: int,
    seconds: float = SECONDS,
    name: str = "archive",
    progress: Stage | None = None,
    toy_progress: Count | None = None,
    records: bool = False,
) -> VerifyResult:
    """Verify a bundle.

    Args:
        packed: The archive.
        level: Highest level to run, 0 to 6, see :data:`ddphf.results.verified.LEVELS`.
        seconds: Time of one fit by a stock optimizer.
        name: What to call the archive in messages.
        progress: Called with a line for each stage.
        toy_progress: Called with (done, toys).
        records: Whether to run level 5 too, as far as it takes no toys, where ``level`` is lower:
            what a publisher asks of a bundle.

    Raises:
        InputError: No archive, or a hostile one.
    """
    say = progress if progress is not None else (lambda line: None)
    say("level 0: contents")
    checks: list[Check] = []
    bundle: Bundle | ScanBundle | None = None
    try:
        files = unpack(packed, name=name)
    except DamagedArchiveError as error:
        checks.append(Check(0, "archive", FAIL, str(error)))
    else:
        checks.append(Check(0, "archive", PASS))
        found, bundle = check_scan_contents(files) if is_scan(files) else check_contents(files)
        checks += found
    if bundle is not None:
        for number in range(1, level + 1):
            checks += _checked(number, _run_level(bundle, number, seconds, say, toy_progress))
            if not all(check.passed for check in checks):
                break
        else:
            if records and level < 5:
                checks += _checked(5, _asymptotic_records(bundle, say))
    return VerifyResult(
        name="" if bundle is None else bundle.name,
        digest=f"sha256:{hashlib.sha256(packed).hexdigest()}",
        level=level,
        # Names by anybody reach a terminal.
        checks=tuple(
            replace(check, what=clean_text(check.what), detail=clean_text(check.detail))
            for check in checks
        ),
        provenance=make_provenance(),
    )


def _checked(level: int, found: Iterator[Check]) -> Iterator[Check]:
    """Turn what a damaged record or a failed fit raises into a check that fails."""
    try:
        yield from found
    except DdphfError as error:
        yield Check(level, "refit", FAIL, str(error))
    except DAMAGE as error:
        yield Check(level, "records", FAIL, f"damaged: {type(error).__name__}: {error}")


def _asymptotic_records(bundle: Bundle | ScanBundle, say: Stage) -> Iterator[Check]:
    """Level 5 as far as it takes no toys."""
    if isinstance(bundle, ScanBundle):
        from ddphf.publish.scan_verify import check_limits

        return check_limits(bundle, say)
    from ddphf.publish.rerun_records import check_records

    return check_records(bundle, say, toys=False)


def _run_level(
    bundle: Bundle | ScanBundle,
    level: int,
    seconds: float,
    say: Stage,
    toys: Count | None,
) -> Iterator[Check]:
    if isinstance(bundle, ScanBundle):
        from ddphf.publish.scan_verify import run_scan_level

        yield from run_scan_level(bundle, level, seconds, say, toys)
    elif level == 1:
        yield from check_values(bundle, say)
    elif level == 2:
        yield from check_minima(bundle, seconds, say)
    elif level == 3:
        yield from check_cold(bundle, seconds, say)
    elif level == 4:
        from ddphf.publish.clean_venv import check_command_line

        yield from check_command_line(bundle, seconds, say)
    elif level == 5:
        from ddphf.publish.rerun_records import check_records

        yield from check_records(bundle, say, toys)
    else:
        from ddphf.publish.rerun_toys import check_toys

        yield from check_toys(bundle, say, toys)


@dataclass(frozen=True)
class _Place:
    """A recorded point in the order of its model."""

    reference: ReferenceModel
    point: PointResult

    @classmethod
    def of(cls, bundle: Bundle, point: PointResult) -> _Place:
        return cls(bundle.references[point.measurement], point)

    @property
    def values(self) -> Any:
        return np.array([p.value for p in self.point.minimum.parameters])

    @property
    def fixed(self) -> Any:
        table = self.reference.parameters
        held = table.fixed.copy()
        if self.point.poi_value is not None and table.poi is not None:
            held[table.poi] = True
        return held

    @property
    def cold(self) -> Any:
        table = self.reference.parameters
        start = table.init.copy()
        if self.point.poi_value is not None and table.poi is not None:
            start[table.poi] = self.point.poi_value
        return start


def check_values(bundle: Bundle, say: Stage) -> Iterator[Check]:
    """Level 1: -2 ln L at the recorded parameters, and the statements made of it."""
    values: dict[str, float] = {}
    for point in bundle.results.points:
        place = _Place.of(bundle, point)
        recorded, table = point.minimum.twice_nll, place.reference.parameters
        held = np.flatnonzero(place.fixed & (place.values != place.cold))
        outside = (place.values < table.lower) | (place.values > table.upper)
        outside = np.flatnonzero(outside & ~place.fixed)
        for index, trouble in (
            *((i, "is held by the measurement at another value") for i in held[:1]),
            *((i, "is outside the bounds of the measurement") for i in outside[:1]),
        ):
            yield Check(1, point.name, FAIL, f"{table.names[index]} {trouble}")
        backends: tuple[BackendName, ...] = ("numpy", "jax")
        for backend in backends:
            say(f"level 1: {point.name}, {backend}")
            found = place.reference.twice_nll(place.values, backend=backend)
            # Rounding of a sum of large terms, those of exact backgrounds among them.
            rounding = measure_rounding(place.reference)
            same = abs(found - recorded) <= SAME + 1e-12 * abs(recorded) + rounding
            detail = "" if same else f"differs by {found - recorded:.3g}"
            finite = bool(np.isfinite(found))
            yield Check(
                1, f"{point.name}, {backend}", PASS if same else FAIL,
                detail if finite else "is no number", recorded, found if finite else None,
            )  # fmt: skip
        values[point.name] = recorded
    for statement in bundle.results.statements:
        yield _check_statement(bundle, statement, values)
    yield from check_measured(bundle)
    for entry in bundle.results.included:
        data = parse_json(bundle.files[entry["name"]], entry["name"])
        trouble = stale_record(data, bundle.results)
        yield Check(1, f"{entry['name']}, about these points", FAIL if trouble else PASS, trouble)
    trouble = other_numbers(bundle.files, bundle.results)
    yield Check(1, "numbers of README.md", FAIL if trouble else PASS, trouble)


def _check_statement(bundle: Bundle, statement: dict[str, Any], values: dict[str, float]) -> Check:
    point = bundle.results.point(statement["point"])
    poi = next(p for p in point.minimum.parameters if p.name == point.poi)
    difference = values[statement["null"]] - values[statement["point"]]
    signed = signed_statement(difference, poi.value)
    expected = {"mu_hat": poi.value, "mu_error": poi.error, **signed._asdict()}
    wrong = [k for k, v in expected.items() if not _equal(statement[k], v)]
    return Check(
        1, f"{statement['measurement']}, q0", FAIL if wrong else PASS,
        f"does not follow from the points: {', '.join(wrong)}" if wrong else "",
        statement["q0"], signed.q0,
    )  # fmt: skip


def _equal(stated: float | None, found: float | None) -> bool:
    if stated is None or found is None:  # an error that an edge of the likelihood leaves undefined
        return stated is found
    return abs(stated - found) <= SAME


def _combinations(point: PointResult) -> tuple[tuple[BackendName, Optimizer], ...]:
    """Scipy alone where nothing floats: minuit crashes there (pyhf 0.7.6)."""
    return STOCK if point.n_free else (("numpy", "scipy"),)


def check_minima(bundle: Bundle, seconds: float, say: Stage) -> Iterator[Check]:
    """Level 2: from the recorded point no optimizer finds a lower one."""
    for point in bundle.results.points:
        place = _Place.of(bundle, point)
        recorded = point.minimum.twice_nll
        say(f"level 2: {point.name}, ddphf")
        fitter = bundle.fitter_of(point.measurement)
        own = fitter.minimize(place.cold, place.fixed, "refit").minimum
        above = own.twice_nll - recorded
        status, detail = PASS, ""
        if above < -SAME:
            status, detail = FAIL, f"lower by {-above:.3g}: the recorded point is no minimum"
        elif above > SAME:  # one-sided variations make several minima
            status, detail = LIMITED, f"ends in another minimum, {above:.3g} above"
        else:  # errors belong to a minimum
            errors = np.array([p.error or 0.0 for p in point.minimum.parameters])
            off = ~np.isclose(errors, own.errors, rtol=ERRORS, atol=0)
            if off.any():
                index = int(np.flatnonzero(off)[0])
                name = place.reference.parameters.names[index]
                status = FAIL
                detail = f"the error of {name} is {own.errors[index]:.6g}, not {errors[index]:.6g}"
        yield Check(2, f"{point.name}, ddphf, cold", status, detail, recorded, own.twice_nll)
        for backend, optimizer in _combinations(point):
            say(f"level 2: {point.name}, {backend} and {optimizer}")
            yield _warm(place, backend, optimizer, seconds, level=2)


def _warm(
    place: _Place, backend: BackendName, optimizer: Optimizer, seconds: float, *, level: int
) -> Check:
    fit = fit_stock(
        place.reference, backend, optimizer, start=place.values, fixed=place.fixed, seconds=seconds
    )
    status, detail = judge_stock(fit, place.point.minimum.twice_nll)
    return Check(
        level, f"{place.point.name}, {backend} and {optimizer}, warm", status, detail,
        place.point.minimum.twice_nll, fit.twice_nll,
    )  # fmt: skip


def check_cold(bundle: Bundle, seconds: float, say: Stage) -> Iterator[Check]:
    """Level 3: from the measurement's starting values, and warm where that stops early."""
    for point in bundle.results.points:
        place = _Place.of(bundle, point)
        for backend, optimizer in _combinations(point):
            say(f"level 3: {point.name}, {backend} and {optimizer}")
            fit = fit_stock(
                place.reference, backend, optimizer, start=place.cold, fixed=place.fixed,
                seconds=seconds,
            )  # fmt: skip
            status, detail = judge_stock(fit, point.minimum.twice_nll)
            yield Check(
                3, f"{point.name}, {backend} and {optimizer}, cold", status, detail,
                point.minimum.twice_nll, fit.twice_nll,
            )  # fmt: skip
            if status == LIMITED:
                yield _warm(place, backend, optimizer, seconds, level=3)
