"""The record of a scan, its JSON, and its conversion to cabinetry's container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ddphf.arrays import Numbers
from ddphf.results.agreement import Stated, allowed
from ddphf.results.growth import Written
from ddphf.results.shapes import (
    COMMON,
    HOLE,
    NUMBER,
    OPEN,
    TEXT,
    WARNINGS,
    fields,
    increases,
    is_number,
    listed,
)

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = ["SHAPE", "ScanAxis", "ScanResult", "misfits", "stated"]


@dataclass(frozen=True)
class ScanAxis:
    """One scanned parameter.

    Attributes:
        name: As pyhf expands it.
        best: Best fit.
        error: From the inverse Hessian; 0 at a bound, None where a rate of 0 or a corner leaves
            none.
        values: Where it was held.
    """

    name: str
    best: float
    error: float | None
    values: Numbers


@dataclass(frozen=True, repr=False)
class ScanResult(Written):
    """What ``ddphf scan`` writes.

    Attributes:
        measurement: Name of the measurement.
        twice_nll: At the best fit.
        parameters: One or two axes.
        delta_twice_nll: 2NLL with the parameters held and everything else refitted, minus
            ``twice_nll``: one number per value, or one row per value of the first parameter; None
            where the refit failed.
        intervals: Of one parameter: ``level``, ``rise`` of 2NLL, ``low``, ``high`` (None where
            the rise is not reached inside the bounds).
        contours: Of two: ``level``, ``rise``, ``paths`` of ``x`` and ``y``.
        failures: ``values`` and ``reason`` of each refit without a certificate.
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
    """

    measurement: str
    twice_nll: float
    parameters: tuple[ScanAxis, ...]
    delta_twice_nll: tuple[Any, ...]
    intervals: tuple[dict[str, Any], ...] = ()
    contours: tuple[dict[str, Any], ...] = ()
    failures: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/scan/1"

    def grid(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return ``delta_twice_nll`` as an array, NaN where it is None."""
        return np.array(self.delta_twice_nll, dtype=float)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; intervals belong to one parameter, contours to two."""
        out = {"schema": self.SCHEMA, **asdict(self)}
        del out["contours" if len(self.parameters) == 1 else "intervals"]
        return out

    @classmethod
    def _read(cls, data: dict[str, Any]) -> ScanResult:
        axes = (ScanAxis(**{**p, "values": tuple(p["values"])}) for p in data["parameters"])
        rows = data["delta_twice_nll"]
        return cls(
            measurement=data["measurement"],
            twice_nll=data["twice_nll"],
            parameters=tuple(axes),
            delta_twice_nll=tuple(tuple(r) if isinstance(r, list) else r for r in rows),
            intervals=tuple(data.get("intervals", ())),
            contours=tuple(data.get("contours", ())),
            failures=tuple(data["failures"]),
            warnings=tuple(data["warnings"]),
            provenance=data["provenance"],
        )

    def to_cabinetry(self) -> Any:
        """Return ``cabinetry.fit.ScanResults`` of one parameter; failed points are NaN.

        Raises:
            ValueError: Two parameters were scanned.
        """
        from cabinetry.fit import ScanResults

        if len(self.parameters) != 1:
            raise ValueError("cabinetry scans one parameter, and this is a scan of two")
        axis = self.parameters[0]
        error = np.nan if axis.error is None else axis.error
        return ScanResults(axis.name, axis.best, error, np.array(axis.values), self.grid())


AXIS = fields({"name": TEXT, "best": NUMBER, "error": HOLE, "values": listed(NUMBER, minItems=2)})
INTERVAL = fields({"level": NUMBER, "rise": NUMBER, "low": HOLE, "high": HOLE})
LINE = fields({"x": listed(NUMBER), "y": listed(NUMBER)})
CONTOUR = fields({"level": NUMBER, "rise": NUMBER, "paths": listed(LINE)})
SHAPE = ScanResult.SHAPE = fields(
    {
        **COMMON,
        **WARNINGS,
        "twice_nll": NUMBER,
        "parameters": listed(AXIS, minItems=1, maxItems=2),
        "delta_twice_nll": {"type": "array", "minItems": 2},
        "failures": listed(OPEN),
    },
    {"intervals": listed(INTERVAL, maxItems=2), "contours": listed(CONTOUR, maxItems=2)},
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield lengths that do not agree, values that do not rise."""
    lengths = [len(p["values"]) for p in record["parameters"]]
    if not all(increases(p["values"]) for p in record["parameters"]):
        yield "at parameters: values that do not increase"
    rises = record["delta_twice_nll"]
    rows = rises if len(lengths) == 2 else [rises]
    bad = len(rises) != lengths[0] or any(
        not isinstance(row, list) or len(row) != lengths[-1] for row in rows
    )
    if bad or not all(v is None or is_number(v) for row in rows for v in row):
        yield "at delta_twice_nll: expected a number or null for each of the values"
    if ("contours" if len(lengths) == 2 else "intervals") not in record:
        yield "the top: a scan of one parameter has intervals, one of two has contours"
    paths = [path for c in record.get("contours", ()) for path in c["paths"]]
    if any(len(path["x"]) != len(path["y"]) for path in paths):
        yield "at contours: paths with as many x as y"


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield the best value of each parameter."""
    fitted = results.point(record["measurement"]).minimum
    parameters = {p.name: p for p in fitted.parameters}
    for entry in record["parameters"]:
        own = parameters[entry["name"]]
        yield entry["name"], entry["best"], own.value, allowed(own.error)
