"""Record of a study of correlation assumptions: what ``ddphf correlations`` writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ddphf.arrays import Numbers, Rows
from ddphf.results.growth import Written
from ddphf.results.shapes import OPEN, fields

__all__ = ["SHAPE", "CorrelationResult"]


@dataclass(frozen=True, repr=False)
class CorrelationResult(Written):
    """Pull widths, rows rho of the data, columns rho of the model.

    Attributes:
        rho: The correlations, in order.
        poi: ``"mu"`` or ``"ratio"`` of a pair; the name of the POI of a ratio workspace.
        closed: By the closed form.
        toys: By fits of toys, or None.
        toy_errors: Their standard errors, or None.
        n_toys: Per row.
        n_failed: Fits of toys without a certificate, left out.
        seed: Of the toys.
        uncorrelated: Relative error per bin added to the tested channel's symmetric background.
        conservative: The rho to assume where the true one is unknown, or None where no column
            covers every row.
        advice: The same in a sentence.
        provenance: Versions.
    """

    rho: Numbers
    poi: str
    closed: Rows
    toys: Rows | None
    toy_errors: Rows | None
    n_toys: int
    n_failed: int
    seed: int | None
    uncorrelated: float
    conservative: float | None
    advice: str
    provenance: dict[str, Any]

    SCHEMA = "ddphf/correlations/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": self.SCHEMA,
            **{key: value for key, value in asdict(self).items() if value is not None},
        }

    @classmethod
    def _read(cls, data: dict[str, Any]) -> CorrelationResult:

        def table(key: str) -> Any:
            rows = data.get(key)
            return None if rows is None else tuple(tuple(row) for row in rows)

        return cls(
            rho=tuple(data["rho"]),
            poi=data["poi"],
            closed=table("closed"),
            toys=table("toys"),
            toy_errors=table("toy_errors"),
            n_toys=data["n_toys"],
            n_failed=data["n_failed"],
            uncorrelated=data["uncorrelated"],
            seed=data.get("seed"),
            conservative=data.get("conservative"),
            advice=data["advice"],
            provenance=data["provenance"],
        )


SHAPE = CorrelationResult.SHAPE = fields({}, {"provenance": OPEN}, of=CorrelationResult)
