"""What toys say about one observed q0: part of the records of fits and discoveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ToySummary"]


@dataclass(frozen=True)
class ToySummary:
    """What an ensemble says about one observed q0.

    Attributes:
        n: Number of toys, failed ones included.
        n_failed: Number without a certificate.
        n_ge: Certified toys with q0 >= the observed one.
        p0: n_ge / (n - n_failed); None where no toy reached it.
        p0_interval: Clopper-Pearson interval; failed toys count as >= in its upper end and as <
            in its lower end.
        z0: Significance of p0; None where p0 is None, or 1.
        level: Confidence level of the interval.
        seed: Seed of the toys; None if several were merged.
        at_zero: Fraction of certified toys with mu_hat exactly 0.
    """

    n: int
    n_failed: int
    n_ge: int
    p0: float | None
    p0_interval: tuple[float, float]
    z0: float | None
    level: float
    seed: int | None
    at_zero: float

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        out = {**vars(self), "p0_interval": list(self.p0_interval), "p0_interval_level": self.level}
        del out["level"]
        return out
