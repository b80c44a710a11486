"""The null of every test here: given the events, each label is a coin of known probability.

Under the symmetry an event of the pool of both samples is in the tested one with probability

    pi_i = s_i (1 - k_A - k_B) + k_B,   s_i = rho eps_B / (rho eps_B + eps_A)

with k the density of each sample's fakes over that of the pool, and rho the free ratio of the
samples' sizes: sum_i pi_i = N_B. Derived; plain permutation is the case of equal pi.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.exceptions import InputError

__all__ = ["MIN_EVENTS", "Labels", "make_labels", "saturated_t"]

MIN_EVENTS = 20
"""With fewer the labels have few outcomes, and no p-value means much."""

LARGEST_LOG_RHO = 40.0


@dataclass(frozen=True)
class Labels:
    """Labels of n events and what is known of them.

    Attributes:
        share: pi_i, probability of the tested sample, (n,).
        tested: y_i, whether the event is in the tested sample, (n,).
        slope: Change of pi_i per unit of ln rho, (n,).
        changes: Change of pi_i per sigma of each nuisance, (n, k), float32.
        rho: The free ratio of the samples' sizes.
        names: Of the k nuisances.
    """

    share: Array
    tested: Mask
    slope: Array
    changes: AnyArray
    rho: float
    names: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many events there are."""
        return len(self.share)

    @property
    def spread(self) -> Array:
        """Variance of each label, pi (1 - pi), (n,)."""
        return np.asarray(self.share * (1 - self.share))

    @property
    def residual(self) -> Array:
        """Y - pi of the data, (n,)."""
        return np.asarray(self.tested - self.share)

    @property
    def equal(self) -> bool:
        """Whether every event has the same probability, so that permutation is exact."""
        return bool(np.ptp(self.share) <= 1e-12)

    def take(self, rows: Any) -> Labels:
        """Return some of the events, with the same probabilities."""
        return Labels(
            self.share[rows], self.tested[rows], self.slope[rows], self.changes[rows], self.rho,
            self.names,
        )  # fmt: skip


def make_labels(
    tested: Any,
    ratio: Any = 1.0,
    *,
    fakes_tested: Any = 0.0,
    fakes_partner: Any = 0.0,
    changes: Any = None,
    names: Sequence[str] = (),
) -> Labels:
    """Return labels with rho fitted to the number of tested events.

    Args:
        tested: Whether each event is in the tested sample, (n,).
        ratio: eps_B / eps_A of each event, (n,), or one number.
        fakes_tested: k_B, part of the pool at each event that is fakes of the tested sample.
        fakes_partner: k_A, the same of its partner.
        changes: Change of pi per sigma of each nuisance at rho = 1, (n, k).
        names: Of the nuisances.

    Raises:
        InputError: Fewer than 20 events, a sample without events, a probability outside (0, 1).

    Example:
        >>> labels = make_labels([True] * 12 + [False] * 8, 2.0)
        >>> round(float(labels.share[0]), 6), round(labels.rho, 6)
        (0.6, 0.75)
    """
    y = np.asarray(tested, dtype=bool)
    n, n_tested = len(y), int(y.sum())
    if n < MIN_EVENTS or n_tested in (0, n):
        raise InputError(
            f"learn: {n} events, {n_tested} of them in the tested sample; expected {MIN_EVENTS} or "
            "more, and some in either sample"
        )
    r, in_tested, in_partner = (
        np.broadcast_to(np.asarray(x, dtype=float), y.shape)
        for x in (ratio, fakes_tested, fakes_partner)
    )
    bad = np.flatnonzero(~(np.isfinite(r) & (r > 0)))
    if bad.size:
        raise InputError(
            f"learn: efficiency ratio of event {bad[0]} is {r[bad[0]]:g}, expected > 0"
        )
    prompt, log_ratio = 1 - in_tested - in_partner, np.log(r)
    rho = _fit_rho(log_ratio, prompt, in_tested, n_tested)
    s = expit(log_ratio + np.log(rho))
    share = s * prompt + in_tested
    bad = np.flatnonzero(~((share > 0) & (share < 1) & (prompt >= 0)))
    if bad.size:
        k = int(bad[0])
        raise InputError(
            f"learn: the probability of the tested sample is {share[k]:.4g} for event {k} "
            f"({bad.size} of {n} events), outside (0, 1): {in_tested[k]:.3g} and "
            f"{in_partner[k]:.3g} of the events there are expected to be fakes; take coarser axes "
            "in 'events', in whose bins fakes are compared with events, or correct the fakes"
        )
    given = np.zeros((n, 0), dtype=np.float32) if changes is None else np.asarray(changes)
    unit = r / (1 + r) ** 2  # s (1 - s) at rho = 1
    moved = given.astype(np.float32, copy=True)
    moved *= (s * (1 - s) / unit).astype(np.float32)[:, None]
    return Labels(
        share=share, tested=y, slope=s * (1 - s) * prompt,
        changes=moved,
        rho=rho, names=tuple(names) or tuple(map(str, range(given.shape[1]))),
    )  # fmt: skip


def _fit_rho(log_ratio: Array, prompt: Array, fakes: Array, n_tested: int) -> float:
    """Return rho with sum_i pi_i = N_B."""

    def excess(log_rho: float) -> float:
        return float(np.sum(expit(log_ratio + log_rho) * prompt + fakes)) - n_tested

    if not excess(-LARGEST_LOG_RHO) < 0 < excess(LARGEST_LOG_RHO):
        raise InputError(
            f"learn: {n_tested} of {len(prompt)} events are in the tested sample, and "
            f"{float(np.sum(fakes)):.4g} fakes are expected in it: no ratio of the sizes gives "
            "probabilities in (0, 1); correct the fakes"
        )
    return float(np.exp(brentq(excess, -LARGEST_LOG_RHO, LARGEST_LOG_RHO, xtol=1e-13, rtol=1e-15)))


def saturated_t(tested: Any, partner: Any, ratio: Any = 1.0) -> tuple[float, float, float]:
    """Return t_A, t_B and rho of the symmetrised test with one free value of f and g per bin.

    Symmetrised NPLM (arXiv:2401.09530), Eq. 22, with efficiencies; t_A + t_B = t_CE.

    Args:
        tested: B of each bin, (bins,).
        partner: A of each bin.
        ratio: eps_B / eps_A of each bin.

    Example:
        >>> a, b = [100, 80, 60, 40], [130, 70, 66, 52]
        >>> [round(x, 6) for x in saturated_t(b, a)[:2]]
        [2.104223, 1.926319]
    """
    b, a = np.asarray(tested, dtype=float), np.asarray(partner, dtype=float)
    n = a + b
    log_ratio = np.log(np.broadcast_to(np.asarray(ratio, dtype=float), n.shape))

    def excess(log_rho: float) -> float:
        return float(np.sum(n * expit(log_ratio + log_rho)) - b.sum())

    log_rho = float(brentq(excess, -LARGEST_LOG_RHO, LARGEST_LOG_RHO, xtol=1e-13, rtol=1e-15))
    share = expit(log_ratio + log_rho)
    t_a = 2 * float(np.sum(_gain(a, (1 - share) * n)))
    t_b = 2 * float(np.sum(_gain(b, share * n)))
    return t_a, t_b, float(np.exp(log_rho))


def _gain(count: AnyArray, expected: AnyArray) -> AnyArray:
    """Return count ln(count / expected) - count + expected, 0 for 0 of 0."""
    safe = np.where(expected > 0, expected, 1.0)
    logs = np.log(np.where(count > 0, count, 1.0) / safe)
    return np.asarray(count * logs - count + expected)
