"""Record of upper limits and intervals: what ``ddphf limit`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ddphf.arrays import Array, Hole, Spec
from ddphf.results import shapes
from ddphf.results.agreement import Stated, allowed
from ddphf.results.growth import Written
from ddphf.results.shown import Shown

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = [
    "SHAPE", "AsymptoticLimit", "IntervalResult", "LimitResult", "ToyLimit", "misfits", "stated",
    "summarize",
]  # fmt: skip


CURVES = {
    "mu": "mu", "observed": "scan_observed", "observed_error": "scan_error",
    "expected": "scan_expected",
}  # fmt: skip
"""Attributes of a limit by their keys in the record's ``scan``."""


class _Scanned(Shown):
    """Base of limits that are read off curves, which stand in the record as ``scan``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        scan = {key: own.pop(name).tolist() for key, name in CURVES.items() if name in own}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}, "scan": scan}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        scan = {CURVES[k]: np.array(values, dtype=float) for k, values in data["scan"].items()}
        own = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "scan"}
        return cls(**own, **scan)


@dataclass(frozen=True, repr=False)
class AsymptoticLimit(_Scanned):
    """Upper limits at one confidence level.

    Attributes:
        observed: None where CLs does not fall below 1 - level inside the POI's bounds.
        expected: At -2, -1, 0, 1, 2 sigma of the background alone; None as above.
        mu: Points of the scan, shape (n,).
        scan_observed: CLs there.
        scan_expected: Expected CLs, shape (5, n).
    """

    observed: Hole
    expected: tuple[float | None, ...]
    mu: Array
    scan_observed: Array
    scan_expected: Array


@dataclass(frozen=True, repr=False)
class ToyLimit(_Scanned):
    """Upper limits by toys at one confidence level.

    Attributes:
        observed: None where the toys do not say where CLs falls below 1 - level.
        observed_error: By bootstrap, half of the central 68 %.
        expected: At -2, -1, 0, 1, 2 sigma of the background alone, rising; None as above.
        expected_error: By bootstrap.
        n: Toys per ensemble; there is one per mu and one without signal.
        n_failed: Toys without a certificate, in all ensembles.
        seed: Their seed.
        mu: Points of the scan, shape (k,).
        scan_observed: CLs there.
        scan_error: Their errors.
        scan_expected: Expected CLs, shape (5, k).
    """

    observed: Hole
    observed_error: Hole
    expected: tuple[float | None, ...]
    expected_error: tuple[float | None, ...]
    n: int
    n_failed: int
    seed: int
    mu: Array
    scan_observed: Array
    scan_error: Array
    scan_expected: Array


@dataclass(frozen=True, repr=False)
class IntervalResult(Shown):
    """One interval of the POI.

    Attributes:
        level: Confidence level.
        method: ``"asymptotic"`` or ``"toys"``.
        lower: Lower end; None where no scanned point is excluded, many errors away.
        upper: Upper end; None as above.
        at_lower_bound: The lower end is the POI's bound: the data do not end the interval.
        at_upper_bound: The same above.
        lower_error: From the number of toys; None for asymptotic ends.
        upper_error: The same.
        n: Toys per scanned point.
        n_failed: Toys without a certificate, in all.
        seed: Their seed.
        thresholds: ``mu``, ``value`` and ``error`` of the calibrated threshold of t.
    """

    level: float
    method: str
    lower: Hole
    upper: Hole
    at_lower_bound: bool
    at_upper_bound: bool
    lower_error: Hole = None
    upper_error: Hole = None
    n: int | None = None
    n_failed: int | None = None
    seed: int | None = None
    thresholds: dict[str, list[float]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what toys alone have is absent for asymptotic intervals."""
        out = asdict(self)
        if self.method == "asymptotic":
            for key in ("lower_error", "upper_error", "n", "n_failed", "seed", "thresholds"):
                del out[key]
        return out


@dataclass(frozen=True, repr=False)
class LimitResult(Written):
    """What ``ddphf limit`` writes.

    Attributes:
        measurement: Its name.
        poi: Name of the signal strength.
        level: Confidence level of the limits.
        mu_hat: Fitted strength.
        mu_error: Its error; 0 at a bound, None where there is none.
        asymptotic: CLs limits by asymptotic formulas, where asked for.
        toys: CLs limits by toys, where asked for.
        intervals: Two-sided intervals, where asked for.
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
    """

    measurement: str
    poi: str
    level: float
    mu_hat: float
    mu_error: Hole
    asymptotic: AsymptoticLimit | None = None
    toys: ToyLimit | None = None
    intervals: tuple[IntervalResult, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/limit/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what was not asked for has no key."""
        out: dict[str, Any] = {
            "schema": self.SCHEMA,
            "provenance": self.provenance,
            "measurement": self.measurement,
            "poi": self.poi,
            "level": self.level,
            "mu_hat": self.mu_hat,
            "mu_error": self.mu_error,
            "warnings": list(self.warnings),
        }
        if self.asymptotic is not None:
            out["asymptotic"] = self.asymptotic.to_dict()
        if self.toys is not None:
            out["toys"] = self.toys.to_dict()
        if self.intervals:
            out["intervals"] = [interval.to_dict() for interval in self.intervals]
        return out

    @classmethod
    def _read(cls, data: dict[str, Any]) -> LimitResult:
        keys = ("measurement", "poi", "level", "mu_hat", "mu_error", "provenance")
        asymptotic, toys = data.get("asymptotic"), data.get("toys")
        return cls(
            **{key: data[key] for key in keys},
            asymptotic=None if asymptotic is None else AsymptoticLimit.from_dict(asymptotic),
            toys=None if toys is None else ToyLimit.from_dict(toys),
            intervals=tuple(IntervalResult(**item) for item in data.get("intervals", ())),
            warnings=tuple(data["warnings"]),
        )


SCAN = shapes.fields(
    {"mu": shapes.listed(shapes.NUMBER, minItems=1), "observed": shapes.HOLES},
    {
        "expected": shapes.listed(shapes.HOLES, minItems=5, maxItems=5),
        "observed_error": shapes.HOLES,
    },
)
LIMIT = shapes.fields(
    {"observed": shapes.HOLE},
    {
        "expected": shapes.BANDS,
        "observed_error": shapes.HOLE,
        "scan": SCAN,
        **dict.fromkeys(("expected_error", "n", "n_failed", "seed"), shapes.ANY),
    },
)
INTERVAL = shapes.fields(
    {"level": shapes.NUMBER, "method": shapes.TEXT, "lower": shapes.HOLE, "upper": shapes.HOLE},
    of=IntervalResult,
)
SHAPE = LimitResult.SHAPE = shapes.fields(
    {**shapes.COMMON, "level": shapes.NUMBER},
    {
        **shapes.WARNINGS,
        "poi": shapes.TEXT,
        "asymptotic": shapes.maybe(LIMIT),
        "toys": shapes.maybe(LIMIT),
        "intervals": shapes.maybe(shapes.listed(INTERVAL)),
    },
    of=LimitResult,
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield scans whose curves are of another length than their points."""
    for key in ("asymptotic", "toys"):
        scan: dict[str, Any] = (record.get(key) or {}).get("scan") or {}
        curves = [scan["observed"], *scan.get("expected", ())] if scan else []
        curves += [scan["observed_error"]] if "observed_error" in scan else []
        if any(len(curve) != len(scan["mu"]) for curve in curves):
            yield f"at {key}.scan: expected as many entries as mu has"


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield the fitted strength and its error."""
    fitted = results.point(record["measurement"]).minimum
    own = {p.name: p for p in fitted.parameters}[record["poi"]]
    near = allowed(own.error)
    yield "mu_hat", record["mu_hat"], own.value, near
    yield "mu_error", record["mu_error"] or 0.0, own.error or 0.0, near


def summarize(record: dict[str, Any]) -> Spec:
    """Return limits and intervals without their scans."""
    out: Spec = {"level": record["level"]}
    for method in ("asymptotic", "toys"):
        if record.get(method):
            out[method] = {k: v for k, v in record[method].items() if k != "scan"}
    keys = ("level", "method", "lower", "upper")
    out["intervals"] = [{k: entry[k] for k in keys} for entry in record.get("intervals") or ()]
    return out
