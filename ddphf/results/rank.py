"""The record of a ranking, its JSON, and its conversion to cabinetry's containers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ddphf.arrays import Hole, Numbers, Rows, Spec
from ddphf.results.agreement import STALE, Stated, allowed
from ddphf.results.fit import ParameterResult
from ddphf.results.growth import Written
from ddphf.results.shapes import (
    ANY,
    COMMON,
    COUNT,
    HOLE,
    PARAMETER,
    TEXT,
    WARNINGS,
    fields,
    listed,
    maybe,
)

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = [
    "LEADING", "SHAPE", "CorrelationsResult", "GroupResult", "ImpactResult", "RankResult", "stated",
    "summarize",
]  # fmt: skip


@dataclass(frozen=True)
class ImpactResult:
    """One nuisance parameter and what it does to the POI; None where a number does not exist.

    Attributes:
        name: As pyhf expands it.
        value: Best fit.
        error: From the inverse Hessian; None where a rate of 0 or a corner leaves none.
        at_bound: True where it sits on one of its bounds.
        constrained: Whether it has an auxiliary measurement.
        nominal: Where that has its maximum.
        prior_width: Width of the constraint term.
        pull: (value - nominal) / prior_width.
        constraint: error / prior_width.
        clipped: True where a shifted value was held at a bound instead.
        prefit_up: Change of the POI with the parameter held at value + prior_width.
        prefit_down: The same at value - prior_width.
        postfit_up: The same at value + error.
        postfit_down: The same at value - error.
        covariance: cov(POI, parameter) / error.
        auxiliary_up: Change of the POI with the auxiliary measurement one deviation higher.
        auxiliary_down: The same lower.
    """

    name: str
    value: float
    error: Hole
    at_bound: bool = False
    constrained: bool = False
    nominal: Hole = None
    prior_width: Hole = None
    pull: Hole = None
    constraint: Hole = None
    clipped: bool = False
    prefit_up: Hole = None
    prefit_down: Hole = None
    postfit_up: Hole = None
    postfit_down: Hole = None
    covariance: Hole = None
    auxiliary_up: Hole = None
    auxiliary_down: Hole = None

    @property
    def size(self) -> float:
        """The larger post-fit impact; 0 where both refits failed."""
        return max(abs(x) for x in (self.postfit_up, self.postfit_down, 0.0) if x is not None)


@dataclass(frozen=True)
class GroupResult:
    """Several parameters at once.

    Attributes:
        name: Of the group.
        parameters: How many.
        frozen_error: Error of the POI with all of them held.
        impact: sqrt(total^2 - frozen_error^2).
        auxiliary: Square root of the summed squares of their auxiliary shifts.
    """

    name: str
    parameters: int
    frozen_error: float
    impact: float
    auxiliary: float


@dataclass(frozen=True)
class CorrelationsResult:
    """The global (not per-bin) parameters, the POI first.

    Attributes:
        names: k of them.
        values: Best fit.
        errors: 0 where held, at a bound, or at a corner that leaves none.
        matrix: k rows of k correlations; 0 where an error is 0.
    """

    names: tuple[str, ...]
    values: Numbers
    errors: Numbers
    matrix: Rows


@dataclass(frozen=True, repr=False)
class RankResult(Written):
    """What ``ddphf rank`` writes.

    Attributes:
        measurement: Name of the measurement.
        engine: ``"ddphf"`` or ``"cabinetry"``.
        poi: The parameter of interest.
        twice_nll: At the best fit.
        parameters: In falling order of their post-fit impact.
        n_ranked: How many were ranked; ``parameters`` may hold fewer.
        groups: Frozen together; empty with cabinetry, and where the POI has no error.
        frozen: Decomposition of the error by freezing (docs/rank.md); None without an error.
        auxiliary: Decomposition of the error by shifted data; None without an error.
        correlations: Of the global parameters.
        failures: ``parameter``, ``shift`` and ``reason`` of each refit without a certificate.
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
    """

    measurement: str
    engine: str
    poi: ParameterResult
    twice_nll: float
    parameters: tuple[ImpactResult, ...]
    n_ranked: int
    groups: tuple[GroupResult, ...]
    frozen: dict[str, float] | None
    auxiliary: dict[str, float] | None
    correlations: CorrelationsResult
    failures: tuple[dict[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/rank/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"schema": self.SCHEMA, **asdict(self)}

    @classmethod
    def _read(cls, data: dict[str, Any]) -> RankResult:
        found = data["correlations"]
        return cls(
            measurement=data["measurement"],
            engine=data["engine"],
            poi=ParameterResult(**data["poi"]),
            twice_nll=data["twice_nll"],
            parameters=tuple(ImpactResult(**p) for p in data["parameters"]),
            n_ranked=data["n_ranked"],
            groups=tuple(GroupResult(**g) for g in data["groups"]),
            frozen=data["frozen"],
            auxiliary=data["auxiliary"],
            correlations=CorrelationsResult(
                names=tuple(found["names"]),
                values=tuple(found["values"]),
                errors=tuple(found["errors"]),
                matrix=tuple(map(tuple, found["matrix"])),
            ),
            failures=tuple(data["failures"]),
            warnings=tuple(data["warnings"]),
            provenance=data["provenance"],
        )

    def to_cabinetry_ranking(self) -> Any:
        """Return ``cabinetry.fit.RankingResults`` of the parameters that are listed.

        As there, an impact that does not exist for want of a constraint is 0; one whose refit
        failed is NaN.
        """
        from cabinetry.fit import RankingResults

        failed = {(f["parameter"], f["shift"]) for f in self.failures}

        def column(shift: str) -> Any:
            values = []
            for p in self.parameters:
                value = getattr(p, shift)
                missing = np.nan if (p.name, shift) in failed else 0.0
                values.append(missing if value is None else value)
            return np.array(values)

        return RankingResults(
            bestfit=np.array([p.value for p in self.parameters]),
            uncertainty=np.array([np.nan if p.error is None else p.error for p in self.parameters]),
            labels=[p.name for p in self.parameters],
            prefit_up=column("prefit_up"),
            prefit_down=column("prefit_down"),
            postfit_up=column("postfit_up"),
            postfit_down=column("postfit_down"),
        )

    def to_cabinetry_fit(self) -> Any:
        """Return ``cabinetry.fit.FitResults`` of the global parameters, the POI first."""
        from cabinetry.fit import FitResults

        found = self.correlations
        return FitResults(
            bestfit=np.array(found.values),
            uncertainty=np.array(found.errors),
            labels=list(found.names),
            corr_mat=np.array(found.matrix),
            best_twice_nll=self.twice_nll,
        )


IMPACT = fields(
    {"name": TEXT},
    dict.fromkeys(
        (
            "pull", "constraint", "prefit_up", "prefit_down", "postfit_up", "postfit_down",
            "auxiliary_up", "auxiliary_down",
        ),
        HOLE,
    ),
    of=ImpactResult,
)  # fmt: skip
GROUP = fields(
    {"name": TEXT}, dict.fromkeys(("frozen_error", "impact", "auxiliary"), HOLE), of=GroupResult
)
NUMBERS_BY_NAME = maybe({"type": "object", "additionalProperties": HOLE})
SHAPE = RankResult.SHAPE = fields(
    {**COMMON, "poi": PARAMETER, "parameters": listed(IMPACT)},
    {
        **WARNINGS,
        "n_ranked": COUNT,
        "groups": listed(GROUP),
        "frozen": NUMBERS_BY_NAME,
        "auxiliary": NUMBERS_BY_NAME,
        "correlations": fields({}, of=CorrelationsResult),
        "failures": listed(fields({"parameter": TEXT, "reason": TEXT}, {"shift": ANY})),
    },
    of=RankResult,
)


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield 2NLL, and value and error of every parameter."""
    fitted = results.point(record["measurement"]).minimum
    parameters = {p.name: p for p in fitted.parameters}
    yield "2NLL", record["twice_nll"], fitted.twice_nll, STALE
    for entry in (record["poi"], *record["parameters"]):
        own = parameters[entry["name"]]
        near = allowed(own.error)
        yield entry["name"], entry["value"], own.value, near
        yield f"the error of {entry['name']}", entry["error"] or 0.0, own.error or 0.0, near


LEADING = 20
"""Parameters of a ranking that results.json names; rank.json has all of them."""


def summarize(record: dict[str, Any]) -> Spec:
    """Return the leading parameters."""
    keys = ("name", "value", "error", "postfit_up", "postfit_down", "prefit_up", "prefit_down")
    leading = record["parameters"][:LEADING]
    return {"ranking": [{key: entry.get(key) for key in keys} for entry in leading]}
