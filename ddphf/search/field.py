"""The pair as a field: one normalised difference per bin, and its law under the null."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import InputError
from ddphf.search.nuisances import Nuisances, Profile
from ddphf.statistics.n_sigma import n_sigma_terms, null_variance

__all__ = ["Field", "make_field"]


@dataclass(frozen=True)
class Field:
    """What the search needs of a pair; all arrays but the profile have the histogram's shape.

    Attributes:
        terms: t = (B - f_B - r (A - f_A)) / sqrt(v), before nuisances are profiled; 0 where empty.
        filled: Bins with v > 0.
        total: n = A + B.
        tested: B.
        tested_rate: Expectation of B under the null, given n: n r / (1 + r) without fakes.
        partner_rate: Of A.
        shifts: Change of the two rates per sigma of each nuisance, shape ``(2, k, *shape)``.
        variance: v.
        ratio: r.
        profile: The nuisances' projection, over the flat bins.
        nuisances: As given.
    """

    terms: Array
    filled: Mask
    total: Array
    tested: Array
    tested_rate: Array
    partner_rate: Array
    shifts: Array
    variance: Array
    ratio: Array
    profile: Profile
    nuisances: Nuisances

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins along each axis."""
        return tuple(self.terms.shape)

    @cached_property
    def profiled(self) -> Array:
        """t', the terms with the nuisances profiled, of the histogram's shape."""
        return np.asarray(self.profile.project(self.terms.ravel())).reshape(self.shape)

    @cached_property
    def share(self) -> Array:
        """q, the part of n expected to be tested under the null; r / (1 + r) without fakes."""
        both = self.tested_rate + self.partner_rate
        flat = self.ratio / (1 + self.ratio)
        return np.asarray(np.divide(self.tested_rate, both, out=flat, where=both > 0))

    def first_fraction(self) -> tuple[list[int], float] | None:
        """Return bin and content of the first count that is no whole number, None if all are."""
        for counts in (self.tested, self.total):
            if np.any(bad := counts != np.round(counts)):
                return np.argwhere(bad)[0].tolist(), float(counts[bad][0])
        return None


def make_field(
    tested: Any,
    partner: Any,
    *,
    ratio: Any = 1.0,
    fakes_tested: Any = 0.0,
    fakes_partner: Any = 0.0,
    nuisances: Nuisances | None = None,
) -> Field:
    """Return the field of a pair of histograms.

    Args:
        tested: Counts B, n-D.
        partner: Counts A, the same shape.
        ratio: Efficiency ratio r = eps_B / eps_A > 0, broadcastable to the bins.
        fakes_tested: Expected non-prompt events f_B.
        fakes_partner: Expected non-prompt events f_A.
        nuisances: What may move ratio and fakes; none by default.

    Raises:
        InputError: Shapes differ, or a number is negative or not finite.

    Example:
        >>> found = make_field([[130.0, 0.0]], [[100.0, 0.0]])
        >>> found.terms.round(6).tolist(), found.filled.tolist()
        ([[1.978141, 0.0]], [[True, False]])
    """
    terms = n_sigma_terms(
        tested, partner, ratio=ratio, fakes_tested=fakes_tested, fakes_partner=fakes_partner
    )
    shape = terms.shape
    b, a = np.asarray(tested, dtype=float), np.asarray(partner, dtype=float)
    r, f_b, f_a = (
        np.broadcast_to(np.asarray(x, dtype=float), shape)
        for x in (ratio, fakes_tested, fakes_partner)
    )
    background, variance = null_variance(*(x.ravel() for x in (b, a, r, f_b, f_a)))
    background, variance = background.reshape(shape), variance.reshape(shape)
    if nuisances is None:
        nuisances = Nuisances.make(shape)
    if nuisances.ratio.shape[1:] != shape:
        raise InputError(
            f"nuisances: for bins of shape {nuisances.ratio.shape[1:]}, the histogram has {shape}"
        )
    filled = variance > 0
    moved = r * background * nuisances.ratio + nuisances.fakes_tested - r * nuisances.fakes_partner
    pulls = np.divide(moved, np.sqrt(variance), out=np.zeros_like(moved), where=filled)
    # Given n, the background that nothing else measures makes the expectation n: b = (n - f_A -
    # f_B) / (1 + r). Where the fakes are above n, theirs alone are left.
    given = np.maximum((a + b - f_a - f_b) / (1 + r), 0.0)
    expected = r * given + f_b, given + f_a
    shifts = np.stack(
        [r * given * nuisances.ratio + nuisances.fakes_tested, nuisances.fakes_partner]
    )
    profile = Profile.make(pulls.reshape(len(pulls), math.prod(shape)).T, nuisances.free)
    return Field(terms, filled, a + b, b, *expected, shifts, variance, r, profile, nuisances)
