"""Record of a fit and of the discovery statement made of it: what ``ddphf fit`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ddphf.results.agreement import STALE, Stated, stated_by_measurement, stated_by_statement
from ddphf.results.goodness import GOODNESS, GoodnessResult
from ddphf.results.growth import Written
from ddphf.results.measured import MEASUREMENT, MeasurementStatement
from ddphf.results.provenance import DATA_DIRECTED
from ddphf.results.shapes import COMMON, MINIMUM, STATEMENT, TEXT, WARNINGS, fields, maybe
from ddphf.results.shown import Shown, find_named

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = [
    "CertificateResult",
    "DiscoveryResult",
    "FitResult",
    "MinimumResult",
    "ParameterResult",
    "describe_error",
]


@dataclass(frozen=True)
class ParameterResult:
    """One fitted parameter.

    Attributes:
        name: As pyhf expands it, such as ``symmetric_shape[317]``.
        value: Best value.
        error: From the inverse Hessian; 0 where it was fixed or sits at a bound, None where a rate
            of 0 or a corner of the likelihood leaves none.
        at_bound: True where it sits on one of its bounds.
        error_up: Where ``error`` is None, of the POI: where 2NLL has risen by 1 above ``value``,
            everything else refitted; None where it does not inside the bounds.
        error_down: The same below, <= 0; None also where the likelihood ends at ``value``.
    """

    name: str
    value: float
    error: float | None
    at_bound: bool = False
    error_up: float | None = None
    error_down: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; errors of either side stand where there is no symmetric one."""
        out = asdict(self)
        if self.error is not None:
            del out["error_up"], out["error_down"]
        return out

    @property
    def stated_error(self) -> str:
        """The error in words: symmetric, of either side, or that there is none.

        Example:
            >>> ParameterResult("mu", 0.0, None, False, 0.22298, None).stated_error
            '+0.223 (none below)'
        """
        if self.error is not None or (self.error_up is None and self.error_down is None):
            return describe_error(self.error)
        sides = (("+", self.error_up, "above"), ("-", self.error_down, "below"))
        return " ".join(
            f"(none {where})" if size is None else f"{sign}{abs(size):.3g}"
            for sign, size, where in sides
        )


@dataclass(frozen=True, repr=False)
class CertificateResult(Shown):
    """Why a point is accepted as the minimum.

    Attributes:
        projected_gradient: Largest |d(-2 ln L)| over the free directions.
        edm: Estimated distance to the minimum in units of -2 ln L.
        twice_nll_pyhf: -2 ln L at the point by pyhf's numpy backend.
    """

    projected_gradient: float
    edm: float
    twice_nll_pyhf: float


@dataclass(frozen=True, repr=False)
class MinimumResult(Shown):
    """A certified minimum of -2 ln L.

    Attributes:
        twice_nll: pyhf's -2 ln L, constants and constraint terms included.
        parameters: In the model's order.
        certificate: What certifies it.
        status: ``"converged"``; anything else never reaches a file.
    """

    twice_nll: float
    parameters: tuple[ParameterResult, ...]
    certificate: CertificateResult
    status: str = "converged"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        form = {**vars(self), "certificate": asdict(self.certificate)}
        return {**form, "parameters": [p.to_dict() for p in self.parameters]}

    def parameter(self, name: str) -> ParameterResult:
        """Return a parameter by name.

        Raises:
            KeyError: There is no such parameter.
        """
        return find_named(self.parameters, name)


@dataclass(frozen=True, repr=False)
class DiscoveryResult(Shown):
    """How significant the signal is.

    Attributes:
        mu_hat: Fitted signal strength.
        mu_error: Its error; 0 at a bound, None where there is none (:class:`ParameterResult`).
        q0: Signed statistic, negative for a deficit (Birman et al., Eq. 5-8).
        z0: sign(mu_hat) sqrt(|q0|).
        p0: 1 - Phi(z0), asymptotic.
        q0_capped: q0, but 0 for a deficit (Cowan et al., Eq. 12).
        toys: Summary of a toy null, where one was run.
    """

    mu_hat: float
    mu_error: float | None
    q0: float
    z0: float
    p0: float
    q0_capped: float
    toys: dict[str, Any] | None = None


@dataclass(frozen=True, repr=False)
class FitResult(Written):
    """What ``ddphf fit`` writes.

    Attributes:
        measurement: Name of the fitted measurement.
        engine: ``"ddphf"`` or ``"pyhf"``.
        poi: Name of the parameter of interest, or None.
        fit: The minimum with everything free.
        null: The minimum at mu = 0; None without a POI or where it is fixed.
        discovery: The statement made of the two; None where ``null`` is.
        known_background: The same where the background is held at its known value (L1).
        warnings: Sentences for the user.
        provenance: Versions and the workspace's digest.
        goodness_of_fit: Of the fit with everything free.
        states_no_null: A POI is free, but there is no hypothesis without a signal: the JSON says
            so by null, where without a POI it says nothing.
        data_directed: The mark of a signal that was chosen on these data, which makes Z local; or
            None.
        measurement_statement: What a measurement without a null states of its POI; or None.
    """

    measurement: str
    engine: str
    poi: str | None
    fit: MinimumResult
    null: MinimumResult | None
    discovery: DiscoveryResult | None
    known_background: DiscoveryResult | None
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    goodness_of_fit: GoodnessResult | None = None
    states_no_null: bool = False
    data_directed: dict[str, Any] | None = None
    measurement_statement: MeasurementStatement | None = None

    SCHEMA = "ddphf/fit/1"

    @property
    def mu_hat(self) -> ParameterResult | None:
        """The fitted parameter of interest."""
        return None if self.poi is None else self.fit.parameter(self.poi)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; absent statements have no key."""
        fit = self.fit.to_dict()
        if self.mu_hat is not None:
            fit["poi"] = self.mu_hat.to_dict()
        out: dict[str, Any] = {
            "schema": self.SCHEMA,
            "provenance": self.provenance,
            "measurement": self.measurement,
            "engine": self.engine,
            "fit": fit,
            "warnings": list(self.warnings),
        }
        if self.null is not None:
            out["null"] = {**self.null.to_dict(), "poi_value": 0.0}
        if self.states_no_null:
            out["null"] = out["discovery"] = None
        if self.discovery is not None:
            out["discovery"] = _statement(self.discovery)
        if self.known_background is not None:
            out["known_background"] = _statement(self.known_background)
        if self.goodness_of_fit is not None:
            out["goodness_of_fit"] = self.goodness_of_fit.to_dict()
        if self.data_directed is not None:
            out["data_directed"] = self.data_directed
        if self.measurement_statement is not None:
            out["measurement_statement"] = self.measurement_statement.to_dict()
        return out

    @classmethod
    def _read(cls, data: dict[str, Any]) -> FitResult:
        null, discovery = data.get("null"), data.get("discovery")
        known, goodness = data.get("known_background"), data.get("goodness_of_fit")
        measured = data.get("measurement_statement")
        return cls(
            measurement=data["measurement"],
            engine=data["engine"],
            poi=data["fit"]["poi"]["name"] if "poi" in data["fit"] else None,
            fit=_minimum(data["fit"]),
            null=None if null is None else _minimum(null),
            discovery=None if discovery is None else DiscoveryResult(**discovery),
            known_background=None if known is None else DiscoveryResult(**known),
            warnings=tuple(data.get("warnings", ())),
            provenance=data.get("provenance", {}),
            goodness_of_fit=None if goodness is None else GoodnessResult.from_dict(goodness),
            states_no_null="null" in data and null is None,
            data_directed=data.get("data_directed"),
            measurement_statement=None
            if measured is None
            else MeasurementStatement.from_dict(measured),
        )


def describe_error(error: float | None, digits: int = 4) -> str:
    """Return an error in words; at a bound or an edge there is none.

    Example:
        >>> describe_error(0.25), describe_error(None)
        ('+- 0.25', '(no error)')
    """
    return f"+- {error:.{digits}g}" if error else "(no error)"


def _statement(result: DiscoveryResult) -> dict[str, Any]:
    out = asdict(result)
    if result.toys is None:
        del out["toys"]
    return out


def _minimum(data: dict[str, Any]) -> MinimumResult:
    return MinimumResult(
        twice_nll=data["twice_nll"],
        parameters=tuple(ParameterResult(**parameter) for parameter in data["parameters"]),
        certificate=CertificateResult(**data["certificate"]),
        status=data["status"],
    )


SHAPE = FitResult.SHAPE = fields(
    {**COMMON, "engine": TEXT, "fit": MINIMUM},
    {
        **WARNINGS,
        "null": maybe(MINIMUM),
        "discovery": maybe(STATEMENT),
        "known_background": STATEMENT,
        "goodness_of_fit": maybe(GOODNESS),
        "data_directed": DATA_DIRECTED,
        "measurement_statement": maybe(MEASUREMENT),
    },
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield what the schema of a fit cannot say."""
    names = {parameter["name"] for parameter in record["fit"]["parameters"]}
    if "poi" in record["fit"] and record["fit"]["poi"]["name"] not in names:
        yield "at fit.poi.name: is none of the parameters"


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield 2NLL of both minima and the discovery statement."""
    name = record["measurement"]
    yield "2NLL", record["fit"]["twice_nll"], results.point(name).minimum.twice_nll, STALE
    statement = next((s for s in results.statements if s["measurement"] == name), None)
    if statement is not None:
        null = results.point(statement["null"]).minimum.twice_nll
        yield "2NLL of the null", record["null"]["twice_nll"], null, STALE
        yield from stated_by_statement(name, record["discovery"], results)
    yield from stated_by_measurement(name, record.get("measurement_statement"), results)
