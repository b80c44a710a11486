"""The error matrix of a pair as an array, with as many without a signal as a detector needs.

The error matrix of the slides has one number per bin: the difference of the two samples in units of
its error, t = (B - f_B - r (A - f_A)) / sqrt(v), nuisances profiled. A statistic of the user's own,
any function of such arrays, gets its p-value from matrices without a signal: given the events of a
bin each of them is in the tested sample with probability q, r / (1 + r) without fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.streams import SEARCH, block_generator
from ddphf.exceptions import InputError
from ddphf.progress import Stage, silent
from ddphf.search.field import Field
from ddphf.search.lines import LANES
from ddphf.search.many import count_p
from ddphf.search.pair import prepare_pair
from ddphf.search.scan import check_direction
from ddphf.search.scan import statistic as directed
from ddphf.search.whole_statistics import WHOLE, Whole, g_test, kolmogorov, slide_t
from ddphf.symmetry.pair import Pair

__all__ = [
    "Pairs",
    "compare_statistic",
    "draw_pairs",
    "error_matrix",
    "field_of",
    "whole_statistic",
]

ENSEMBLE = 18
"""Of blocks of pairs without a signal."""

SAMPLES = 10_000
"""Pairs that give a p-value its error: at most .005."""

STEP = 64 * LANES
"""Pairs drawn at once."""

NEAR = 1e-6
"""Part of the largest value: what is closer to that of the data counts as equal, since a network in
single precision rounds so much. KS distances of many events are 1e-3, so that it is a part."""


@dataclass(frozen=True)
class Pairs:
    """Pairs without a signal, with the n of each bin of the data.

    Attributes:
        tested: B, shape ``(n, *bins)``.
        difference: B - f_B - r (A - f_A), with the fakes of the data, ``(n, *bins)``.
        matrices: Error matrices, nuisances profiled, ``(n, *bins)``.
    """

    tested: Array
    difference: Array
    matrices: Array


def field_of(data: Pair | Field) -> Field:
    """Return the field of a pair, with all of its nuisances."""
    return data if isinstance(data, Field) else prepare_pair(data).field()


def error_matrix(data: Pair | Field) -> Array:
    """Return the error matrix of the data: one number per bin, 0 where it is empty.

    Args:
        data: A pair, whose nuisances are profiled, or a field of the search.

    Returns:
        Shape of the histogram.

    Raises:
        InputError: Samples that no search can compare, such as weighted counts.

    Example:
        >>> from ddphf.symmetry.pair import Channel
        >>> pair = Pair(Channel("mue", [[130.0, 0.0]]), Channel("emu", [[100.0, 0.0]]))
        >>> error_matrix(pair).round(4).tolist()
        [[1.9781, 0.0]]
    """
    return field_of(data).profiled


def draw_pairs(data: Pair | Field, n: int, *, seed: int, first: int = 0) -> Pairs:
    """Return pairs without a signal: B ~ Bin(n_i, q_i) in every bin, nuisances drawn too.

    Without nuisances and with r = 1 these are sign flips of the events. Pair i of a seed is the
    same whatever their number.

    Args:
        data: The data, a pair or a field of the search.
        n: How many.
        seed: Of the draws.
        first: Number of the first, a multiple of 128.

    Raises:
        InputError: A count is no whole number, or ``first`` is no multiple of 128.

    Example:
        >>> from ddphf.search.field import make_field
        >>> drawn = draw_pairs(make_field([[130.0, 20.0]], [[100.0, 22.0]]), 500, seed=1)
        >>> drawn.matrices.shape, bool(abs(drawn.matrices.std() - 1) < 0.1)
        ((500, 1, 2), True)
    """
    field = field_of(data)
    if (fraction := field.first_fraction()) is not None:
        raise InputError(
            f"pairs without a signal: bin {fraction[0]} holds {fraction[1]:g}, no whole number; "
            "events are flipped, not sums of weights"
        )
    if first % LANES:
        raise InputError(f"pairs without a signal: first {first}, expected a multiple of {LANES}")
    blocks = range(first // LANES, (first + n + LANES - 1) // LANES)
    parts = [_block(field, seed, block) for block in blocks]
    tested = np.concatenate(parts, axis=1)[:, :n]
    expected = field.share.ravel() * field.total.ravel()
    ratio = np.broadcast_to(field.ratio, field.shape).ravel()
    # Given n, D moves by (1 + r) for each label.
    difference = (1 + ratio)[:, None] * (tested - expected[:, None])
    root = np.sqrt(np.where(field.filled.ravel(), field.variance.ravel(), 1.0))
    terms = np.where(field.filled.ravel()[:, None], difference / root[:, None], 0.0)
    matrices = np.asarray(field.profile.project(terms))
    wide = (n, *field.shape)
    return Pairs(tested.T.reshape(wide), difference.T.reshape(wide), matrices.T.reshape(wide))


def _block(field: Field, seed: int, block: int) -> Array:
    """Return B of a block of pairs, (bins, LANES)."""
    rng = block_generator(seed, SEARCH.start(ENSEMBLE, block + 1) + block)
    total, share = field.total.ravel().astype(np.int64), field.share.ravel()
    pulls = field.profile.pulls
    if not pulls.shape[1]:
        return rng.binomial(total[:, None], share[:, None], (len(total), LANES)).astype(float)
    # Constrained nuisances move D by G alpha sqrt(v), so that q moves by this / (n (1 + r)); a
    # free one is profiled away, whatever its value.
    alpha = rng.standard_normal((pulls.shape[1], LANES)) * ~field.profile.free[:, None]
    ratio = np.broadcast_to(field.ratio, field.shape).ravel()
    weight = np.sqrt(field.variance.ravel()) / np.maximum(total * (1 + ratio), 1e-300)
    q = np.clip(share[:, None] + weight[:, None] * (pulls @ alpha), 0.0, 1.0)
    return rng.binomial(total[:, None], q).astype(float)


def whole_statistic(
    field: Field, which: Whole, pairs: Pairs | None = None, *, direction: str = "excess"
) -> Array:
    """Return t, KS, chi2 or G of the data, or of each of several pairs.

    Args:
        field: The data.
        which: ``t``, ``ks`` (one axis), ``chi2`` or ``g``.
        pairs: From :func:`draw_pairs`; the data where there are none.
        direction: Of t: ``excess``, ``deficit``: -t, or ``both``: its size. The others have none.

    Raises:
        InputError: The statistic or the direction is unknown, or ``ks`` of several axes.

    Example:
        >>> from ddphf.search.field import make_field
        >>> field = make_field([130.0, 90.0], [100.0, 100.0])
        >>> [round(float(whole_statistic(field, name)), 4) for name in ("t", "ks", "chi2", "g")]
        [0.7885, 0.0909, 4.4394, 4.4508]
    """
    if which not in WHOLE:
        raise InputError(f"statistic '{which}' is unknown; expected {', '.join(WHOLE)}")
    if which == "ks" and len(field.shape) > 1:
        raise InputError(
            f"statistic ks: the histogram has {len(field.shape)} axes, and cumulative shares need "
            "one; give one axis, or take another statistic"
        )
    bins = int(np.prod(field.shape))
    total = field.total.ravel().astype(float)
    expected = field.share.ravel() * total
    parts: list[AnyArray]
    if pairs is None:
        difference = field.terms * np.sqrt(field.variance)
        parts = [x.ravel() for x in (field.tested, difference, field.profiled)]
    else:
        parts = [x.reshape(-1, bins).T for x in (pairs.tested, pairs.difference, pairs.matrices)]
    tested, differences, matrices = parts
    if which == "chi2":
        return np.asarray(np.sum(matrices**2, axis=0))
    if which == "g":
        return np.asarray(g_test(tested, total, expected))
    if which == "ks":
        return np.asarray(kolmogorov(differences, tested))
    return directed(np.asarray(slide_t(differences, tested)), check_direction(direction))


def compare_statistic(
    data: Pair | Field,
    statistic: Whole | Callable[[Array], Any],
    *,
    direction: str = "excess",
    samples: int = SAMPLES,
    seed: int = 0,
    stage: Stage = silent,
) -> dict[str, Any]:
    """Return a statistic of the data and its p-value among pairs without a signal.

    Args:
        data: The data, a pair or a field of the search.
        statistic: ``t``, ``ks``, ``chi2`` or ``g``; or a function of error matrices of shape
            ``(n, *bins)``, such as a trained network, that returns (n,) numbers, large where they
            are interesting.
        direction: Of t: ``excess``, ``deficit`` or ``both``.
        samples: Pairs drawn.
        seed: Of the draws.
        stage: Called with a line before each 8192 pairs.

    Returns:
        ``statistic``, ``value``, ``p`` (never 0: the data are one of the pairs), ``error``, ``z``,
        ``samples``.

    Raises:
        InputError: The data cannot be flipped, or the function returns something else or numbers
            that are not finite.

    Example:
        >>> from ddphf.search.field import make_field
        >>> field = make_field([130.0, 90.0], [100.0, 100.0])
        >>> found = compare_statistic(field, lambda m: m.max(axis=1), samples=1999, seed=1)
        >>> 0.01 < found["p"] < 0.1
        True
    """
    field = field_of(data)
    if samples < 1:
        raise InputError(f"statistic: {samples} pairs without a signal, expected one or more")
    own = "" if isinstance(statistic, str) else getattr(statistic, "__name__", "function")

    def values_of(drawn: Pairs | None) -> Array:
        if isinstance(statistic, str):
            return np.atleast_1d(whole_statistic(field, statistic, drawn, direction=direction))
        matrices = error_matrix(field)[None] if drawn is None else drawn.matrices
        found = np.asarray(statistic(matrices), dtype=float)
        if found.shape != (len(matrices),):
            raise InputError(
                f"statistic {own}: returned an array of shape {found.shape}, expected "
                f"({len(matrices)},): one number for each error matrix"
            )
        if not np.all(np.isfinite(found)):
            raise InputError(
                f"statistic {own}: returned {found[~np.isfinite(found)][0]} for an error matrix; "
                "a number that is not finite has no rank"
            )
        return found

    value = float(values_of(None)[0])
    values = []
    for first in range(0, samples, STEP):
        stage(f"{own or statistic} of pairs without a signal")
        n = min(STEP, samples - first)
        values.append(values_of(draw_pairs(field, n, seed=seed, first=first)))
    drawn = np.concatenate(values)
    near = NEAR * max(abs(value), float(np.abs(drawn).max()))
    p, error, z = count_p(value, drawn, near)
    return {
        "statistic": statistic if isinstance(statistic, str) else own,
        "value": value,
        "p": p,
        "error": error,
        "z": z,
        "samples": samples,
    }
