"""Numbers that a record shares with the certified fits, and how near they must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ddphf.arrays import Spec

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = ["STALE", "Stated", "allowed", "stated_by_measurement", "stated_by_statement"]

STALE = 1e-5
"""Largest difference from the certified fits: of 2NLL and q0, and of parameters in errors."""

Stated = tuple[str, float, float, float]
"""What it is, the record's number, that of the fits, and how far apart they may be."""


def allowed(error: float | None) -> float:
    """Return how far a parameter of this error may be from the fitted one."""
    return STALE * max(error or 0.0, 1.0)


def stated_by_statement(name: str, stated: Spec, results: PublishedResults) -> Iterator[Stated]:
    """Yield q0, mu_hat and its error of a discovery statement.

    Args:
        name: Of the measurement.
        stated: What a record says of it.
        results: Certified fits.

    Raises:
        KeyError: There is no statement of this measurement, or a number is missing.
    """
    found = {s["measurement"]: s for s in results.statements}[name]
    near = allowed(found["mu_error"])
    yield "q0", stated["q0"], found["q0"], STALE
    yield "mu_hat", stated["mu_hat"], found["mu_hat"], near
    yield "mu_error", stated["mu_error"] or 0.0, found["mu_error"] or 0.0, near


def stated_by_measurement(
    name: str, stated: Spec | None, results: PublishedResults
) -> Iterator[Stated]:
    """Yield value, errors and tested value of the statement of a measurement without a null.

    Args:
        name: Of the measurement.
        stated: What a record says of it; None where it says nothing.
        results: Certified fits.

    Raises:
        KeyError: There is no statement of this measurement, or a number is missing.
    """
    if stated is None:
        return
    found = {s["measurement"]: s for s in results.measured}[name]
    near = STALE * (found["error"] or 1.0)
    for key in ("value", "error", "error_up", "error_down", "statistical"):
        yield key, stated[key] or 0.0, found[key] or 0.0, near
    own, other = stated.get("tested"), found.get("tested")
    if own is not None and other is not None and own["value"] == other["value"]:
        yield "t", own["t"], other["t"], STALE
