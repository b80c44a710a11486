"""Records of discovery statements, and their JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Numbers, Spec
from ddphf.results.agreement import Stated, stated_by_statement
from ddphf.results.fit import DiscoveryResult
from ddphf.results.growth import Written
from ddphf.results.nulls import COMPARISON, IMPORTANCE, ImportanceResult, NullComparison
from ddphf.results.provenance import DATA_DIRECTED
from ddphf.results.shapes import (
    ANY,
    BANDS,
    COMMON,
    COUNT,
    HOLE,
    NUMBER,
    STATEMENT,
    TEXT,
    TOYS,
    WARNINGS,
    fields,
    increases,
    listed,
    maybe,
)
from ddphf.results.shown import Shown

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = [
    "N_SIGMA", "SHAPE", "DiscoverResult", "ExpectedResult", "StatementResult", "misfits",
    "p_value_of", "stated", "summarize",
]  # fmt: skip

N_SIGMA = (-2, -1, 0, 1, 2)
"""Bands of an expectation."""


@dataclass(frozen=True, repr=False)
class ExpectedResult(Shown):
    """What would be seen of a signal.

    Attributes:
        mu: Strength of the signal.
        q0: Signed q0 of the Asimov data at ``mu``, other parameters conditional on the data.
        z0: Its significance.
        p0: 1 - Phi(z0), None where it underflows.
        z0_asymptotic: Z at -2, -1, 0, 1, 2 sigma: z0 plus the number of sigma.
        toys: From toys with the signal: ``n``, ``n_failed``, ``seed``, ``z0`` at the same five
            places, and ``p0_null_toys``, their p-values by the null toys (None where no null toy
            reaches them).
    """

    mu: float
    q0: float
    z0: float
    p0: float | None
    z0_asymptotic: Numbers
    toys: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        out: dict[str, Any] = {
            "mu": self.mu,
            "asimov": {"q0": self.q0, "z0": self.z0, "p0": self.p0},
            "n_sigma": list(N_SIGMA),
            "asymptotic": {
                "z0": list(self.z0_asymptotic),
                "p0": [p_value_of(z) for z in self.z0_asymptotic],
            },
        }
        if self.toys is not None:
            out["toys"] = self.toys
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ExpectedResult:
        """Read what :meth:`to_dict` wrote."""
        bands = tuple(data["asymptotic"]["z0"])
        return cls(mu=data["mu"], **data["asimov"], z0_asymptotic=bands, toys=data.get("toys"))


@dataclass(frozen=True, repr=False)
class StatementResult(Shown):
    """What one measurement says.

    Attributes:
        measurement: Its name.
        observed: Fitted strength and signed q0.
        asymptotic: Whether the asymptotic null was asked for.
        toys: Summary of the toy null, with ``resolved``: enough toys reach the observed q0.
        importance: p0 by importance sampling.
        failed: Kinds of null that were asked for and could not be done, with the reason.
        comparison: The toy null against the asymptotic one.
        expected: What would be seen of a signal; None where a warning says why there is none.
    """

    measurement: str
    observed: DiscoveryResult
    asymptotic: bool
    toys: dict[str, Any] | None
    importance: ImportanceResult | None
    comparison: NullComparison | None
    expected: ExpectedResult | None
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what was not asked for has no key, what failed is None."""
        observed = {**asdict(self.observed), "p0": p_value_of(self.observed.z0)}
        del observed["toys"]
        null: dict[str, Any] = {}
        if self.asymptotic:
            z0 = self.observed.z0
            log10 = float(norm.logsf(z0) / np.log(10))
            null["asymptotic"] = {"p0": p_value_of(z0), "log10_p0": log10, "z0": z0}
        if self.toys is not None:
            null["toys"] = self.toys
        if self.importance is not None:
            null["importance"] = self.importance.to_dict()
        if self.comparison is not None:
            null["comparison"] = self.comparison.to_dict()
        if self.failed:
            null |= dict.fromkeys(self.failed)
            null["failed"] = self.failed
        return {
            "measurement": self.measurement,
            "observed": observed,
            "null": null,
            "expected": None if self.expected is None else self.expected.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StatementResult:
        """Read what :meth:`to_dict` wrote."""
        null, observed = data["null"], dict(data["observed"])
        if observed["p0"] is None:
            observed["p0"] = float(norm.sf(observed["z0"]))
        return cls(
            measurement=data["measurement"],
            observed=DiscoveryResult(**observed),
            asymptotic="asymptotic" in null,
            toys=null.get("toys"),
            importance=_read(ImportanceResult, null.get("importance")),
            comparison=_read(NullComparison, null.get("comparison")),
            expected=_read(ExpectedResult, data["expected"]),
            failed=null.get("failed", {}),
        )


@dataclass(frozen=True, repr=False)
class DiscoverResult(Written):
    """What ``ddphf discover`` writes.

    Attributes:
        poi: Name of the signal strength.
        statements: The measurement that was asked for; then the one with known background (L1)
            where the workspace has it.
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
        data_directed: The mark of a signal that was chosen on these data, or None.
    """

    poi: str
    statements: tuple[StatementResult, ...]
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    data_directed: dict[str, Any] | None = None

    SCHEMA = "ddphf/discover/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            "provenance": self.provenance,
            "measurement": self.statements[0].measurement,
            "poi": self.poi,
            "statements": [statement.to_dict() for statement in self.statements],
            "warnings": list(self.warnings),
            **({} if self.data_directed is None else {"data_directed": self.data_directed}),
        }

    @classmethod
    def _read(cls, data: dict[str, Any]) -> DiscoverResult:
        return cls(
            poi=data["poi"],
            statements=tuple(StatementResult.from_dict(s) for s in data["statements"]),
            warnings=tuple(data.get("warnings", ())),
            provenance=data.get("provenance", {}),
            data_directed=data.get("data_directed"),
        )


def p_value_of(z: float) -> float | None:
    """Return 1 - Phi(z), None where it underflows: a p-value is never 0."""
    p = float(norm.sf(z))
    return p if p > 0 else None


def _read(kind: Any, data: dict[str, Any] | None) -> Any:
    return None if data is None else kind.from_dict(data)


NULLS = fields(
    {},
    {
        "asymptotic": maybe(fields({"p0": NUMBER, "z0": HOLE}, {"log10_p0": ANY})),
        "toys": maybe(TOYS),
        "importance": maybe(IMPORTANCE),
        "comparison": maybe(COMPARISON),
        "failed": {"type": "object", "additionalProperties": TEXT},
    },
)
EXPECTED = fields(
    {"mu": NUMBER, "asimov": fields({"z0": NUMBER}, {"q0": ANY, "p0": ANY})},
    {
        "n_sigma": ANY,
        "asymptotic": maybe(fields({"z0": BANDS}, {"p0": ANY})),
        "toys": maybe(
            fields(
                {"n": COUNT, "z0": BANDS},
                dict.fromkeys(("n_failed", "seed", "p0_null_toys"), ANY),
            )
        ),
    },
)
SHAPE = DiscoverResult.SHAPE = fields(
    {
        **COMMON,
        "statements": listed(
            fields(
                {"measurement": TEXT, "observed": STATEMENT},
                {"null": maybe(NULLS), "expected": maybe(EXPECTED)},
            ),
            minItems=1,
        ),
    },
    {**WARNINGS, "poi": ANY, "data_directed": DATA_DIRECTED},
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield histograms whose edges do not fit, and quantiles that are no pairs."""
    for statement in record["statements"]:
        comparison = (statement.get("null") or {}).get("comparison") or {}
        histogram = comparison.get("histogram")
        found = comparison.get("quantiles")
        names = ("probability", "asymptotic", "toys")
        if found and len({len(found[name]) for name in names}) > 1:
            yield "at statements: quantiles of different numbers"
        if histogram and len(histogram["edges"]) != len(histogram["counts"]) + 1:
            yield "at statements: a histogram needs one edge more than counts"
        elif histogram and not increases(histogram["edges"]):
            yield "at statements: edges of a histogram that do not increase"


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield the observed numbers of every measurement."""
    for entry in record["statements"]:
        yield from stated_by_statement(entry["measurement"], entry["observed"], results)


def summarize(record: dict[str, Any]) -> Spec:
    """Return the statements without the histograms of their toys."""
    return {
        "statements": [
            {
                "measurement": entry["measurement"],
                "observed": entry["observed"],
                "null": {k: v for k, v in (entry.get("null") or {}).items() if k != "comparison"},
                "expected": entry.get("expected"),
            }
            for entry in record["statements"]
        ]
    }
