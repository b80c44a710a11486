"""CLs upper limits by toys, with errors by bootstrap over the toys.

Per mu the signal toys are their own; the background toys are the same for all mu. The bootstrap
draws whole background toys again, so that it keeps what the points share, and finds their quantiles
again, so that the bands' errors hold the error of the quantile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from ddphf.inference.limits.cls import cls_asymptotic, cls_expected
from ddphf.inference.limits.crossing import find_crossings
from ddphf.inference.limits.profile import ProfileScan
from ddphf.inference.statements import N_SIGMA
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.statistics import ToyStatistics, toy_statistics
from ddphf.inference.toys.store import TIE

__all__ = ["ToyLimit", "limit_by_toys"]

Array = np.ndarray[Any, np.dtype[np.float64]]

SAMPLES = 200
"""Bootstrap samples: the errors are known to 7 %."""

MAX_LOST = 0.2
"""Share of them that may have no crossing; beyond it the limit is not known."""

PROBABILITIES = norm.cdf([-x for x in N_SIGMA])
"""A background n sigma above its expectation has the (1 - Phi(n))-th quantile of q~."""

FIRST_TOY = 1 << 44

BOOTSTRAP = 1 << 32
"""Beside the seed of the toys: other random numbers than theirs."""


@dataclass(frozen=True)
class ToyLimit:
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

    observed: float | None
    observed_error: float | None
    expected: tuple[float | None, ...]
    expected_error: tuple[float | None, ...]
    n: int
    n_failed: int
    seed: int
    mu: Array
    scan_observed: Array
    scan_error: Array
    scan_expected: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "observed": self.observed,
            "observed_error": self.observed_error,
            "expected": list(self.expected),
            "expected_error": list(self.expected_error),
            "n": self.n,
            "n_failed": self.n_failed,
            "seed": self.seed,
            "scan": {
                "mu": self.mu.tolist(),
                "observed": self.scan_observed.tolist(),
                "observed_error": self.scan_error.tolist(),
                "expected": self.scan_expected.tolist(),
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ToyLimit:
        """Read what :meth:`to_dict` wrote."""
        scan = {key: np.array(values, dtype=float) for key, values in data["scan"].items()}
        keys = ("observed", "observed_error", "n", "n_failed", "seed")
        return cls(
            **{key: data[key] for key in keys},
            expected=tuple(data["expected"]),
            expected_error=tuple(data["expected_error"]),
            mu=scan["mu"],
            scan_observed=scan["observed"],
            scan_error=scan["observed_error"],
            scan_expected=scan["expected"],
        )


def limit_by_toys(
    observed: ProfileScan,
    asimov: ProfileScan,
    mu: Array,
    level: float,
    n: int,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> ToyLimit:
    """Return the CLs upper limits of one data set by toys.

    At every mu, CLs = P(q~ >= observed | mu) / P(q~ >= observed | 0). Toys are drawn with the other
    parameters conditional on the data (main and auxiliary data fluctuate).

    Args:
        observed: The data.
        asimov: Asimov data without signal: the shape of CLs between the points.
        mu: Points to scan, rising, > 0, around the limits.
        level: Confidence level.
        n: Toys of each ensemble.
        seed: Their seed.
        progress: Called with (done, total).

    Raises:
        FitError: A fit has no certificate, or too many toys failed.
    """
    tests = [float(x) for x in mu]
    total, done = n * (len(tests) + 1), 0

    def count(some: int) -> None:
        nonlocal done
        done += some
        if progress is not None:
            progress(done, total)

    def draw(poi: float, which: int, at: list[float]) -> ToyStatistics:
        source = ToySource.conditional(observed.model, poi)
        first = FIRST_TOY + (which << 32)
        return toy_statistics(source, at, n, seed=seed, first=first, progress=count)

    background = draw(0.0, 0, tests)
    signals = [draw(test, j + 1, [test]) for j, test in enumerate(tests)]
    q_observed = np.array([observed.q_tilde(test) for test in tests])
    rng = np.random.default_rng([seed, BOOTSTRAP])
    counts, fractions, trials = _resample(
        q_observed,
        [background.q_tilde(j) for j in range(len(tests))],
        [signal.q_tilde(0) for signal in signals],
        rng,
    )
    roots = [asimov.q_tilde(test) for test in tests]
    shapes = [[cls_asymptotic(q, a) for q, a in zip(q_observed, roots, strict=True)]]
    shapes += [[cls_expected(a, x) for a in roots] for x in N_SIGMA]
    found = np.array(
        [
            find_crossings(mu, counts[i], trials, fractions[i], np.array(shapes[i]), 1 - level)
            for i in range(len(shapes))
        ]
    )
    found[1:] = _in_order(found[1:])
    limits, errors = zip(*map(_value_and_error, found), strict=True)
    cls, error = _ratio(counts[:, 0], fractions[:, 0], trials, len(background.mu_hat))
    return ToyLimit(
        observed=limits[0],
        observed_error=errors[0],
        expected=limits[1:],
        expected_error=errors[1:],
        n=n,
        n_failed=background.n_failed + sum(signal.n_failed for signal in signals),
        seed=seed,
        mu=mu,
        scan_observed=cls[0],
        scan_error=error[0],
        scan_expected=np.sort(cls[1:], axis=0),
    )


def _resample(
    observed: Array, background: list[Array], signal: list[Array], rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Count toys at least as far out as the data and as the bands, and in bootstrap samples.

    Args:
        observed: q~ of the data at each mu, shape (k,).
        background: q~ of the same background toys at each mu.
        signal: q~ of each mu's own toys.
        rng: Draws the samples.

    Returns:
        Signal toys, shape (6, 1 + SAMPLES, k); the fraction of background toys, same shape; and
        the numbers of signal toys, shape (k,). The first row of each are the toys as they are.
    """
    n, k = len(background[0]), len(observed)
    order = [np.argsort(q) for q in background]
    ordered = [q[o] for q, o in zip(background, order, strict=True)]
    # Per outcome: background toys below it, by their rank, and signal toys not below it.
    below = [np.searchsorted(q, q - TIE) for q in ordered]
    at_least = [_count(s, q) for s, q in zip(signal, ordered, strict=True)]
    counts = np.empty((6, 1 + SAMPLES, k))
    fractions = np.empty_like(counts)
    for row in range(1 + SAMPLES):
        times = np.bincount(rng.integers(n, size=n), minlength=n) if row else np.ones(n, int)
        for j in range(k):
            sums = np.concatenate([[0], np.cumsum(times[order[j]])])
            # The toy whose expected rank is the quantile.
            ranks = np.searchsorted(sums[1:], PROBABILITIES * (n + 1) - 0.5)
            mine = np.searchsorted(ordered[j], observed[j] - TIE)
            fractions[:, row, j] = 1.0 - sums[np.append(mine, below[j][ranks])] / n
            counts[0, row, j] = _count(signal[j], observed[j : j + 1])[0]
            counts[1:, row, j] = at_least[j][ranks]
    trials = np.array([len(s) for s in signal], dtype=float)
    counts[:, 1:] = _redraw(counts[:, 1:], trials, rng)
    return counts, fractions, trials


def _count(signal: Array, q: Array) -> Array:
    return np.asarray(len(signal) - np.searchsorted(np.sort(signal), q - TIE), dtype=float)


def _redraw(counts: Array, trials: Array, rng: np.random.Generator) -> Array:
    """Draw numbers of toys beyond nested thresholds again, shape (6, samples, k)."""
    order = np.argsort(-counts, axis=0)
    falling = np.take_along_axis(counts, order, axis=0)
    out = np.empty_like(counts)
    all_toys = np.broadcast_to(trials, counts.shape[1:])
    drawn = all_toys.astype(int)
    for i, before in enumerate([all_toys, *falling[:-1]]):
        drawn = rng.binomial(drawn, np.where(before > 0, falling[i] / np.maximum(before, 1), 0.0))
        out[i] = drawn
    back = np.empty_like(out)
    np.put_along_axis(back, order, out, axis=0)
    return back


def _in_order(bands: Array) -> Array:
    """Sort the limits of each column that are known: noise must not let bands cross."""
    out = bands.copy()
    for column in out.T:
        known = np.isfinite(column)
        column[known] = np.sort(column[known])
    return out


def _value_and_error(row: Array) -> tuple[float | None, float | None]:
    """Return the first number and half of the central 68 % of the others."""
    others = row[1:][np.isfinite(row[1:])]
    if not np.isfinite(row[0]) or len(others) < (1 - MAX_LOST) * (len(row) - 1):
        return None, None
    low, high = np.quantile(others, norm.cdf([-1.0, 1.0]))
    return float(row[0]), float(high - low) / 2


def _ratio(
    counts: Array, fractions: Array, trials: Array, n_background: int
) -> tuple[Array, Array]:
    """Return CLs of outcomes and its binomial error, shape (6, k); 0 where no toy is left."""
    seen = fractions > 0
    cls = np.where(seen, counts / trials / np.where(seen, fractions, 1.0), 0.0)
    # At least one toy's worth of error.
    above = np.maximum(counts / trials, 1 / trials)
    below = np.maximum(fractions, 1 / n_background)
    relative = (1 - above) / (above * trials) + (1 - below) / (below * n_background)
    return cls, np.where(seen, above / below * np.sqrt(relative), 1.0 / n_background)
