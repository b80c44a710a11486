"""What a bundle states of measurements without a null: told in its README, and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from ddphf.arrays import Spec
from ddphf.inference.attempts import moved_to
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.certificate import Minimum
from ddphf.progress import Stage
from ddphf.publish.markdown import code, prose
from ddphf.results.measured import Declared, MeasurementStatement
from ddphf.results.verified import FAIL, PASS, Check

if TYPE_CHECKING:
    from ddphf.publish.contents import Bundle

__all__ = ["check_measured", "check_profiles", "lines_of_measured"]

SAME = 1e-6
"""Largest difference of a number that follows from others, in errors of the POI."""

RISE_TOLERANCE = 1e-3
"""Largest difference of a rise of 2NLL at a stated value."""


def check_measured(bundle: Bundle) -> Iterator[Check]:
    """Level 1: value and error are the point's, and what is derived of them follows."""
    declared = Declared.of(bundle.metadata)
    for entry in bundle.results.measured:
        name = entry["measurement"]
        point = bundle.results.point(name)
        poi = next(p for p in point.minimum.parameters if p.name == entry["poi"])
        stated = MeasurementStatement.from_dict(_own(entry))
        near = SAME * max(abs(poi.value), poi.error or 0.0)
        wrong = [
            key
            for key, found in (("value", poi.value), ("error", poi.error))
            if not _near(getattr(stated, key), found, near)
        ]
        if stated.statistical is not None and stated.systematic is not None and poi.error:
            total = math.hypot(stated.statistical, stated.systematic)
            wrong += [] if _near(total, poi.error, near) else ["systematic"]
        rules = {rule.name: rule for rule in declared.derived}
        for d in stated.derived:
            again = None
            if d.name in rules:
                again = rules[d.name].apply(poi.value, poi.error or None, stated.statistical)
            keys = ("value", "error", "statistical", "systematic")
            same = again is not None and all(
                _near(getattr(d, key), getattr(again, key), SAME) for key in keys
            )
            wrong += [] if same else [d.name]
        yield Check(
            1, f"{name}, measurement of {stated.poi}", FAIL if wrong else PASS,
            f"does not follow from the points: {', '.join(wrong)}" if wrong else "",
            stated.value, poi.value,
        )  # fmt: skip
    if declared.measurement and bundle.results.statements:
        yield Check(
            1, "statements", FAIL,
            "metadata.json declares a measurement, which has no null, and results.json states q0",
        )  # fmt: skip


def check_profiles(bundle: Bundle, say: Stage) -> Iterator[Check]:
    """Level 5: how far 2NLL has risen at profile errors, ends of intervals, and tested values."""
    for entry in bundle.results.measured:
        name, stated = entry["measurement"], MeasurementStatement.from_dict(_own(entry))
        fitter = bundle.fitter_of(name)
        table = fitter.reference.parameters
        poi = table.names.index(stated.poi)
        free = fitter.minimize(table.init, table.fixed, "free fit").minimum
        expected: list[tuple[str, float, float]] = [
            (f"profile error {side}", stated.value + size, 1.0)
            for side, size in (("down", stated.error_down), ("up", stated.error_up))
            if size is not None
        ]
        expected += [
            (f"{side} end at {i['level']:.2%}", end, float(chi2.ppf(i["level"], 1)))
            for i in stated.intervals
            for side in ("low", "high")
            if (end := i[side]) is not None and i["level"] is not None
        ]
        if stated.tested is not None:
            expected.append(("tested value", stated.tested.value, stated.tested.t))
        for what, value, rise in expected:
            say(f"level 5: {name}, {what}")
            found = _rise(fitter, free, poi, value)
            good = abs(found - rise) <= RISE_TOLERANCE
            yield Check(5, f"{name}, rise of 2NLL at the {what} {value:.7g}",
                        PASS if good else FAIL, "", rise, found)  # fmt: skip


def lines_of_measured(entry: Spec) -> list[str]:
    """Return what README.md says of one, as lines of a list."""
    s = MeasurementStatement.from_dict(_own(entry))
    where = f"- {code(entry['measurement'])}: a measurement of {prose(s.poi)}, without a null"
    parts = []
    if s.statistical is not None and s.systematic is not None:
        parts.append(f"error {s.statistical:.3g} by the counts (+) {s.systematic:.3g} systematic")
    if s.error_up is not None and s.error_down is not None:
        parts.append(f"profile errors +{s.error_up:.4g} {s.error_down:.4g}")
    for i in s.intervals:
        low, high = ("the bound" if i[k] is None else f"{i[k]:.7g}" for k in ("low", "high"))
        parts.append(f"{i['level']:.2%} interval {low} to {high}")
    if s.tested is not None:
        p = s.tested.p_two_sided
        parts.append(
            f"{s.tested.value:.7g} tested: t = {s.tested.t:.5g}"
            + ("" if p is None else f", two-sided p = {p:.3g}")
        )
    lines = [f"{where}; {'; '.join(parts)}." if parts else f"{where}."]
    for d in s.derived:
        error = "" if d.error is None else f" +- {d.error:.4g}"
        if d.statistical is not None and d.systematic is not None:
            error += f" ({d.statistical:.3g} by the counts, {d.systematic:.3g} systematic)"
        lines.append(f"- {prose(d.name)} = {d.value:.6g}{error}, derived of {prose(s.poi)}.")
    return lines


def _own(entry: Spec) -> Any:
    return {key: value for key, value in entry.items() if key != "measurement"}


def _near(stated: float | None, found: float | None, near: float) -> bool:
    if stated is None or found is None:
        return stated is found
    return abs(stated - found) <= near


def _rise(fitter: Fitter, free: Minimum, poi: int, value: float) -> float:
    held = np.array(fitter.reference.parameters.fixed)
    held[poi] = True
    start = moved_to(free.parameters, poi, value)
    return float(fitter.minimize(start, held, "held").minimum.twice_nll - free.twice_nll)
