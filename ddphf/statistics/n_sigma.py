"""N_sigma: the difference of two histograms in units of its error, without a signal model.

    N_sigma = 1/sqrt(M) sum_i (B_i - A_i) / sqrt(variance_i)

over the M bins of a window (Birman et al., Eur. Phys. J. C 82 (2022) 508, Eq. 1-2). It is the score
test of the pair for a signal proportional to sqrt(A + B). What differs between the forms is the
variance; with unequal efficiencies the published plug-in variance biases the statistic.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from scipy.special import logsumexp, ndtri_exp
from scipy.stats import binom, norm

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.statistics.background import profile_background

__all__ = ["Form", "exact_p_value", "n_sigma", "n_sigma_terms", "null_variance"]


Form = Literal["published", "null"]

TAIL_TERMS = 1_000_000
"""Terms of a binomial tail that double precision cannot hold; they fall fast there."""


def n_sigma_terms(
    tested: Any,
    partner: Any,
    *,
    form: Form = "null",
    ratio: Any = 1.0,
    fakes_tested: Any = 0.0,
    fakes_partner: Any = 0.0,
    variance_tested: Any = None,
    variance_partner: Any = None,
) -> Array:
    """Return the normalised difference of every bin, shape of ``tested``; 0 in empty bins.

    The difference is (B - f_B) - r (A - f_A). Its variance is

    - ``"published"``: var_B + r^2 var_A, by default with the counts (Birman et al., Eur. Phys. J.
      C 82 (2022) 508, Eq. 2) or with the given sums of squared weights. Biased for r != 1: about
      -.22 sigma over 784 bins at 25 events and r = .9. A bin without events counts 0, also where
      fakes were expected;
    - ``"null"``: (r b + f_B) + r^2 (b + f_A) with b profiled under the null. Without fakes this is
      r (A + B), and mean and variance are exactly 0 and 1 for bins that are not empty.

    Args:
        tested: Counts B; the last axes are the bins, leading ones are data sets. Sums of weights
            may be negative where their variance is given.
        partner: Counts A, the same shape.
        form: Which variance.
        ratio: Efficiency ratio r > 0, broadcastable to the bins.
        fakes_tested: Expected non-prompt events f_B.
        fakes_partner: Expected non-prompt events f_A.
        variance_tested: Sum of squared weights of B, for ``"published"``.
        variance_partner: Sum of squared weights of A, for ``"published"``.

    Raises:
        InputError: Shapes differ, a number is negative or not finite, the form is unknown, a
            variance is given that the form does not use, or bins of given variance 0 differ.

    Example:
        >>> n_sigma_terms([130.0, 0.0], [100.0, 0.0])
        array([1.97814142, 0.        ])
    """
    if form not in get_args(Form):
        raise InputError(f"N_sigma: form '{form}' is unknown; expected published or null")
    weighted = not (variance_tested is None and variance_partner is None)
    if form == "null" and weighted:
        raise InputError(
            "N_sigma: the null-variance form is for raw counts; use form 'published' with "
            "sums of squared weights"
        )
    b_counts = _numbers("tested", tested, 0.0 if variance_tested is None else -np.inf)
    a_counts = _numbers("partner", partner, 0.0 if variance_partner is None else -np.inf)
    shape = b_counts.shape
    if a_counts.shape != shape:
        raise InputError(f"N_sigma: shapes {shape} and {a_counts.shape} differ")
    r = _numbers("ratio", ratio, np.nextafter(0.0, 1.0), shape)
    f_b = _numbers("fakes_tested", fakes_tested, 0.0, shape)
    f_a = _numbers("fakes_partner", fakes_partner, 0.0, shape)
    difference = (b_counts - f_b) - r * (a_counts - f_a)
    if form == "published":
        var_b, var_a = (
            counts if given is None else _numbers("variance", given, 0.0, shape)
            for counts, given in ((b_counts, variance_tested), (a_counts, variance_partner))
        )
        variance = var_b + r**2 * var_a
    else:
        variance = null_variance(b_counts, a_counts, r, f_b, f_a)[1]
    good = variance > 0
    if np.any(lost := weighted & ~good & (difference != 0)):
        raise InputError(
            f"N_sigma: bin {np.argwhere(lost)[0].tolist()}: the samples differ by "
            f"{difference[lost][0]:.4g} and their variances are 0; merge the bin with a neighbour"
        )
    return np.where(good, difference / np.sqrt(np.where(good, variance, 1.0)), 0.0)


def null_variance(
    tested: Array, partner: Array, ratio: Array, fakes_tested: Array, fakes_partner: Array
) -> tuple[Array, Array]:
    """Return b of the null and the variance of (B - f_B) - r (A - f_A) there, both shape (M,).

    v = (r b + f_B) + r^2 (b + f_A), with b of
    :func:`ddphf.statistics.background.profile_background`; without fakes v = r (A + B) (derived).

    Args:
        tested: Counts B, shape (M,).
        partner: Counts A.
        ratio: r > 0.
        fakes_tested: f_B >= 0.
        fakes_partner: f_A >= 0.

    Example:
        >>> b, v = null_variance(*(np.array([x]) for x in (90.0, 110.0, 0.8, 0.0, 0.0)))
        >>> round(float(b[0]), 6), round(float(v[0]), 6)
        (111.111111, 160.0)
    """
    background = profile_background(tested, partner, ratio, fakes_tested, fakes_partner)
    variance = (ratio * background + fakes_tested) + ratio**2 * (background + fakes_partner)
    return background, np.asarray(variance)


def _numbers(name: str, values: Any, lowest: float, shape: tuple[int, ...] | None = None) -> Array:
    """Return an array of the bins' shape, every number finite and at least ``lowest``."""
    array = np.asarray(values, dtype=float)
    if shape is not None:
        try:
            array = np.broadcast_to(array, shape)
        except ValueError:
            raise InputError(
                f"N_sigma: {name} of shape {array.shape} does not fit bins of shape {shape}"
            ) from None
    if np.any(bad := ~(np.isfinite(array) & (array >= lowest))):
        condition = {-np.inf: "a finite number", 0.0: "a number >= 0"}.get(lowest, "a number > 0")
        raise InputError(
            f"N_sigma: {name}, bin {np.argwhere(bad)[0].tolist()}: got {array[bad][0]:g}, "
            f"expected {condition}"
        )
    return array


def n_sigma(terms: Array, window: Any = None, *, n_axes: int | None = None) -> Array:
    """Return N_sigma over a window of bins.

    Args:
        terms: From :func:`n_sigma_terms`, shape (..., bins).
        window: Boolean mask or tuple of slices over the bin axes; everything by default. A slice
            that reaches beyond its axis is refused, where numpy would take what is left of it.
        n_axes: How many trailing axes are bins; all by default.

    Returns:
        Shape of the leading axes.

    Raises:
        InputError: The window holds no bin, or does not fit the axes.

    Example:
        >>> terms = n_sigma_terms([[130.0, 90.0], [100.0, 100.0]], [[100.0] * 2] * 2)
        >>> round(float(n_sigma(terms, np.s_[:1, :])), 6)
        0.885768
    """
    n_axes = terms.ndim if n_axes is None else n_axes
    if not 1 <= n_axes <= terms.ndim:
        raise InputError(f"window: {n_axes} axes of bins in an array of {terms.ndim} axes")
    bins = terms.shape[terms.ndim - n_axes :]
    mask = np.zeros(bins, dtype=bool)
    try:
        mask[... if window is None else window] = True
    except IndexError as error:
        raise InputError(f"window: does not fit {bins} bins ({error})") from None
    if not mask.any():
        raise InputError(f"window: holds none of the {bins} bins")
    _check_slices(window, bins)
    return np.asarray(terms[..., mask].sum(axis=-1) / np.sqrt(mask.sum()))


def _check_slices(window: Any, bins: tuple[int, ...]) -> None:
    """Refuse slices that end beyond their axis."""
    parts = window if isinstance(window, tuple) else (window,)
    split = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    front, back = parts[:split], parts[split + 1 :]
    places = [*zip(front, bins, strict=False), *zip(back[::-1], bins[::-1], strict=False)]
    for part, n in places:
        if not isinstance(part, slice):
            continue
        if any(end is not None and not -n <= end <= n for end in (part.start, part.stop)):
            raise InputError(
                f"window: {part.start}:{part.stop} reaches beyond the {n} bins of its axis; take a "
                "smaller one"
            )


def exact_p_value(
    tested: float, partner: float, *, ratio: float = 1.0
) -> tuple[float | None, float | None]:
    """Return the exact p-value of an excess in the sums of one window, and its Z.

    Given n = A + B the count B is binomial with probability r / (1 + r), whatever the background:
    p = P(B' >= B). Without fakes, and with one ratio for the window.

    Args:
        tested: Count B.
        partner: Count A.
        ratio: Efficiency ratio r > 0.

    Returns:
        p, None where it underflows (a p-value is never 0); Z, None where p is 1.

    Raises:
        InputError: A count is no whole number >= 0 (sums of weights are not binomial), or the ratio
            is no number > 0.

    Example:
        >>> p, z = exact_p_value(9, 1)
        >>> round(p, 6), round(z, 4)
        (0.010742, 2.2994)
    """
    for name, count in (("tested", tested), ("partner", partner)):
        if not (np.isfinite(count) and count >= 0 and count == np.round(count)):
            raise InputError(f"exact p-value: {name} is {count:g}, expected a whole number >= 0")
    if not (np.isfinite(ratio) and ratio > 0):
        raise InputError(f"exact p-value: ratio is {ratio:g}, expected a number > 0")
    if tested == 0:
        return 1.0, None
    n, part = int(tested + partner), ratio / (1 + ratio)
    p = float(binom.sf(tested - 1, n, part))
    if p > 0.5:  # 1 - p is what carries the digits
        return p, float(norm.ppf(binom.cdf(tested - 1, n, part)))
    if p > 0:
        return p, float(norm.isf(p))
    last = int(min(n, tested + TAIL_TERMS))
    log = logsumexp(binom.logpmf(np.arange(int(tested), last + 1), n, part))
    return None, float(-ndtri_exp(log))
