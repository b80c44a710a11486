"""Record of an injected signal: what ``ddphf inject`` writes beside the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ddphf.arrays import Numbers
from ddphf.results.agreement import Stated, stated_by_statement
from ddphf.results.fit import DiscoveryResult
from ddphf.results.growth import Written
from ddphf.results.shapes import OPEN, STATEMENT, WARNINGS, fields

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = ["SHAPE", "InjectionResult", "StrengthResult", "misfits", "stated"]


@dataclass(frozen=True)
class StrengthResult:
    """Toys of one strength.

    Attributes:
        mu: True strength.
        z_asimov: Asimov significance of it.
        n: Number of toys, failed ones included.
        n_failed: Number without a certificate.
        at_zero: Fraction with mu_hat exactly 0 (corners, or a bound there).
        mu_mean: Mean of mu_hat.
        mu_mean_error: Its standard error.
        mu_sd: Standard deviation of mu_hat.
        mu_sd_error: Its standard error, with the measured fourth moment.
        bias: mu_mean - mu; its error is ``mu_mean_error``.
        mu_error_mean: Mean of the errors that the fits state; to compare with ``mu_sd``.
        z_mean: Mean of the signed Z.
        z_mean_error: Its standard error.
        z_sd: Standard deviation of Z.
        z_sd_error: Its standard error.
        covered_error: Per level, 0.6827 and 0.95, how often |mu_hat - mu| is within 1 and 1.96
            stated errors.
        covered_profile: The same for the interval q(mu) <= 1 and 3.84 of the profile likelihood.
        coverage_error: Binomial standard errors of ``covered_profile``.
    """

    mu: float
    z_asimov: float
    n: int
    n_failed: int
    at_zero: float
    mu_mean: float
    mu_mean_error: float
    mu_sd: float
    mu_sd_error: float
    bias: float
    mu_error_mean: float
    z_mean: float
    z_mean_error: float
    z_sd: float
    z_sd_error: float
    covered_error: Numbers
    covered_profile: Numbers
    coverage_error: Numbers


@dataclass(frozen=True, repr=False)
class InjectionResult(Written):
    """What ``ddphf inject`` did.

    Attributes:
        measurement: Its name.
        poi: Name of the POI.
        background: Where the background comes from: ``"fit"`` or ``"known"``.
        z_wanted: The Z asked for; None where the strength was given.
        mu: Injected strength.
        z_asimov: Its Asimov significance in this measurement.
        signal_events: Injected events by channel.
        data: ``"asimov"``, ``"shift"`` or ``"poisson"``.
        seed: Of the draws; None where nothing was drawn.
        found: The discovery statement of the written data.
        scan: Per strength, what toys give.
        warnings: Sentences for the user.
        provenance: Versions and the digests of both workspaces.
    """

    measurement: str
    poi: str
    background: str
    z_wanted: float | None
    mu: float
    z_asimov: float
    signal_events: dict[str, float]
    data: str
    seed: int | None
    found: DiscoveryResult
    scan: tuple[StrengthResult, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/injection/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what is absent has no key."""
        out = {"schema": self.SCHEMA, **asdict(self)}
        if self.found.toys is None:
            del out["found"]["toys"]
        out["scan"], out["warnings"] = list(out["scan"]), list(self.warnings)
        return {key: value for key, value in out.items() if value is not None}

    @classmethod
    def _read(cls, data: dict[str, Any]) -> InjectionResult:
        lists = ("covered_error", "covered_profile", "coverage_error")
        scan = [{**row, **{name: tuple(row[name]) for name in lists}} for row in data["scan"]]
        known = ("schema", "found", "scan", "warnings")
        rest = {key: value for key, value in data.items() if key not in known}
        return cls(
            found=DiscoveryResult(**data["found"]),
            scan=tuple(StrengthResult(**row) for row in scan),
            warnings=tuple(data["warnings"]),
            **{"z_wanted": None, "seed": None, **rest},
        )


STRENGTH = fields({}, of=StrengthResult)
SHAPE = InjectionResult.SHAPE = fields(
    {},
    {
        **WARNINGS,
        "provenance": OPEN,
        "found": {**STATEMENT, "required": []},
        "scan": {"type": "array", "items": STRENGTH},
    },
    of=InjectionResult,
)


def misfits(record: dict[str, Any]) -> Iterator[str]:
    """Yield what keeps a record from being read."""
    try:
        InjectionResult.from_dict(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"damaged: {type(error).__name__}: {error}"


def stated(record: dict[str, Any], results: PublishedResults) -> Iterator[Stated]:
    """Yield the statement of the written data, where these are the workspace's."""
    if record["provenance"]["written_digest"] == results.workspace_digest:
        yield from stated_by_statement(record["measurement"], record["found"], results)
