"""Tail probabilities of toys: what counts as reached, as failed, and as too many failures."""

from __future__ import annotations

from scipy.stats import beta

from ddphf.exceptions import FitError

__all__ = [
    "CAREFUL", "CONVERGED_FAST", "FAILED", "MAX_FAILED", "TIE", "flat_interval", "refuse_failures",
    "tail_interval",
]  # fmt: skip

CONVERGED_FAST, CAREFUL, FAILED = 0, 1, 2
"""Status of a fit of an ensemble: certified on the fast path, on the careful path, not at all."""

TIE = 1e-7
"""Statistics this close are the same outcome, fitted twice."""

MAX_FAILED = 1e-3
"""Part of an ensemble that may have no certificate: failures are no random sample of it."""


def refuse_failures(
    failed: int, n: int, what: str = "", so: str = "their p-value would mean nothing"
) -> None:
    """Refuse an ensemble of which too many toys failed.

    Args:
        failed: Toys without a certificate.
        n: Toys.
        what: The ensemble, where there are several.
        so: What they are no good for.

    Raises:
        FitError: More than one in a thousand have no certificate.

    Example:
        >>> refuse_failures(3, 1000, "mu = 2")
        Traceback (most recent call last):
        ddphf.exceptions.FitError: mu = 2: 3 of 1000 toys have no certificate, more than 0.001; \
their p-value would mean nothing
    """
    if failed > MAX_FAILED * n:
        where = f"{what}: " if what else ""
        raise FitError(
            f"{where}{failed} of {n} toys have no certificate, more than {MAX_FAILED:g}; {so}"
        )


def tail_interval(n: int, n_failed: int, n_ge: int, level: float) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a tail probability.

    Args:
        n: Number of toys, failed ones included.
        n_failed: They count as >= in the upper end and as < in the lower end.
        n_ge: Certified toys at or above the observed value.
        level: Confidence level.

    Example:
        >>> [round(x, 4) for x in tail_interval(1000, 0, 56, 0.6827)]
        [0.0487, 0.0643]
    """
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, n_ge, n - n_ge + 1)) if n_ge else 0.0
    above = n_ge + n_failed
    high = float(beta.ppf(1 - tail, above + 1, n - above)) if above < n else 1.0
    return low, high


def flat_interval(n: int, n_ge: int, level: float) -> tuple[float, float]:
    """Return the central interval of a tail probability whose prior is flat; no end is 0 or 1.

    Args:
        n: Number of draws.
        n_ge: Those at or above the observed value.
        level: Probability of the interval.

    Example:
        >>> [round(x, 5) for x in flat_interval(999, 0, 0.6827)]
        [0.00017, 0.00184]
    """
    ends = [beta.ppf((1 + sign * level) / 2, n_ge + 1, n - n_ge + 1) for sign in (-1, 1)]
    return float(ends[0]), float(ends[1])
