"""What a verification finds: one check after the other, and whether the levels pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ddphf.results.growth import Written
from ddphf.results.shapes import ANY, OPEN, fields, listed

__all__ = [
    "FAIL",
    "LEVELS",
    "LIMITED",
    "NOTHING",
    "NOT_RUN",
    "PASS",
    "UNPHYSICAL",
    "Check",
    "VerifyResult",
]

PASS, FAIL = "PASS", "FAIL"
LIMITED = "OPTIMIZER-LIMITED"
UNPHYSICAL = "UNPHYSICAL"
NOT_RUN = "NOT RUN"
NOTHING = "NOTHING RECORDED"

LEVELS = (
    "contents",
    "2NLL at the recorded points",
    "no better point nearby",
    "cold refits by stock pyhf",
    "stock pyhf command line",
    "limits, expected significances, impacts",
    "toys",
)
"""What each level checks."""


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        level: 0 to 6, see LEVELS.
        what: What was checked.
        status: PASS; FAIL; OPTIMIZER-LIMITED, where a stock optimizer stops above the recorded
            value; UNPHYSICAL, where it stops below it at a negative rate; NOT RUN, which fails a
            level that is required; NOTHING RECORDED.
        detail: A sentence, where the status alone does not say it.
        recorded: Number in the bundle.
        found: Number found here.
    """

    level: int
    what: str
    status: str
    detail: str = ""
    recorded: float | None = None
    found: float | None = None

    @property
    def passed(self) -> bool:
        """Whether a required level may have this status."""
        return self.status not in (FAIL, NOT_RUN)


@dataclass(frozen=True, repr=False)
class VerifyResult(Written):
    """What ``ddphf verify`` writes.

    Attributes:
        name: Of the publication; empty where it could not be read.
        digest: ``sha256:...`` of the archive.
        level: Highest level that was asked for.
        checks: In order; a level that fails is the last one.
        provenance: Versions of this machine.

    Example:
        >>> result = VerifyResult("a", "sha256:0", 0, (Check(0, "SHA256SUMS", PASS),))
        >>> VerifyResult.from_dict(result.to_dict()) == result
        True
    """

    name: str
    digest: str
    level: int
    checks: tuple[Check, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/verify/1"

    @property
    def passed(self) -> bool:
        """Whether every check of every level passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> Iterator[Check]:
        """The checks that did not pass."""
        return (check for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        checks = [asdict(check) for check in self.checks]
        return {"schema": self.SCHEMA, **vars(self), "passed": self.passed, "checks": checks}

    @classmethod
    def _read(cls, data: dict[str, Any]) -> VerifyResult:
        return cls(
            name=data["name"],
            digest=data["digest"],
            level=data["level"],
            checks=tuple(Check(**check) for check in data["checks"]),
            provenance=data["provenance"],
        )


SHAPE = VerifyResult.SHAPE = fields(
    {"provenance": OPEN, "checks": listed(fields({}, of=Check))}, {"passed": ANY}, of=VerifyResult
)
