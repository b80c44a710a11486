"""Templates of fakes fit for a model: bins that are not negative, shapes that stay positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Histogram
from ddphf.statistics.positive import N_SIGMA_POSITIVE
from ddphf.symmetry.pair import Systematic

__all__ = ["Rule", "keep_positive", "mend_negative"]

HELPFUL = 0.5
"""A factor must leave no more than this part of a shape; else it is the shape of no factor."""

SMALL_REST = 0.1
"""Relative shape beside its factor up to which the stated templates are kept."""

Rule = Literal["refuse", "zero", "merge"]


def keep_positive(
    systematics: Sequence[Systematic], nominal: Array
) -> tuple[list[Systematic], dict[str, str]]:
    """Return systematics whose shapes leave a template positive, and how those changed are written.

    Shapes (histosys) are linear beyond one sigma, so that errors above .2 in quadrature reach 0
    within 5 sigma. Where they do, the largest are written as a factor (normsys, exponential
    beyond one sigma, never 0) times a smaller shape of the same nuisance, one after the other until
    the rest is small. The factor is the middle of the shape's relative changes:

    - ``"stated"``: at +-1 sigma the templates are the stated ones to the digit;
    - ``"exponential"``: where that leaves too much, exp(+-e) with e half the difference of up and
      down, the stated error to first order.

    A shape that goes one way on both sides, or different ways in different bins, has no such
    factor and stays as it is, for the builder to refuse.

    Args:
        systematics: Of the template.
        nominal: Its yields.

    Example:
        >>> wide = Systematic("flat", "histosys", np.array([1.3, 2.6]), np.array([0.7, 1.4]))
        >>> made, changed = keep_positive([wide], np.array([1.0, 2.0]))
        >>> [(s.kind, round(s.up, 6), round(s.down, 6)) for s in made], changed
        ([('normsys', 1.3, 0.7)], {'flat': 'stated'})
    """
    base = np.asarray(nominal, dtype=float)
    out: list[list[Systematic]] = [[systematic] for systematic in systematics]
    factors = [_factors(s, base) if s.kind == "histosys" else None for s in systematics]
    size = [0.0 if f is None else float(np.max(np.abs(f - 1), initial=0.0)) for f in factors]
    norms = {s.name for s in systematics if s.kind == "normsys"}
    changed: dict[str, str] = {}
    for index in np.argsort(size)[::-1]:
        if _stays_positive(factors):
            break
        shape, original = factors[index], systematics[index]
        # A second normsys of one name would be lost.
        if shape is None or not shape.size or original.name in norms:
            continue
        form, middle, rest = _split(shape)
        if np.prod(middle - 1) >= 0 or np.max(np.abs(rest - 1)) > HELPFUL * size[index]:
            continue
        up, down = float(middle[0]), float(middle[1])
        parts = [replace(original, kind="normsys", up=up, down=down, relative=False)]
        if np.any(np.abs(rest - 1) > 1e-12):
            ends = [np.ones(base.shape), np.ones(base.shape)]
            for end, values in zip(ends, rest, strict=True):
                end[base > 0] = values
            parts.append(replace(original, up=ends[0], down=ends[1], relative=True))
        out[index], factors[index], changed[original.name] = parts, rest, form
    return [part for parts in out for part in parts], changed


def _split(shape: Array) -> tuple[str, Array, Array]:
    """Return the form, the factors up and down, and what is left of a shape, (2, n)."""
    middle = (shape.max(axis=1) + shape.min(axis=1)) / 2
    rest = shape / np.where(middle > 0, middle, np.nan)[:, None]
    if np.all(np.abs(rest - 1) < SMALL_REST):
        return "stated", middle, rest
    error = (shape[0] - shape[1]) / 2
    centre = (error.max() + error.min()) / 2
    return (
        "exponential",
        np.exp([centre, -centre]),
        np.exp([error - centre, centre - error]),
    )


def _factors(systematic: Systematic, nominal: Array) -> Array | None:
    """Return up and down as factors where there is yield, shape (2, n); None where they misfit."""
    ends = [np.asarray(getattr(end, "values", end), dtype=float) for end in
            (systematic.up, systematic.down)]  # fmt: skip
    if any(end.shape != nominal.shape or not np.all(np.isfinite(end)) for end in ends):
        return None
    filled = nominal > 0
    if not systematic.relative and any(np.any(end[~filled]) for end in ends):
        return None
    scale = 1.0 if systematic.relative else nominal[filled]
    return np.array([end[filled] / scale for end in ends])


def _stays_positive(factors: Sequence[Array | None]) -> bool:
    total = sum(np.max(np.abs(f - 1), axis=0) ** 2 for f in factors if f is not None)
    return bool(N_SIGMA_POSITIVE * np.sqrt(np.max(total, initial=0.0)) < 1)


def mend_negative(
    yields: Histogram, error: Histogram | None, systematics: Sequence[Systematic], rule: Rule
) -> tuple[Histogram, Histogram | None, list[Systematic], dict[str, Any]]:
    """Return fakes without negative bins, and what was done, for the sidecar.

    Prompt events that are subtracted leave bins below 0, which no Poisson mean can be.

    - ``"zero"``: such a bin is set to 0 and loses its error, so that the sum of the fakes rises;
    - ``"merge"``: such a bin shares its sum with the neighbour of the largest yield (then with that
      one's neighbours, until the sum is not negative), spread over the bins by their width. The sum
      of the fakes and the error of the sum stay;
    - ``"refuse"``: nothing is done here, the builder refuses them.

    Args:
        yields: Of the fakes.
        error: Uncorrelated, per bin, or None.
        systematics: Of the fakes; shapes are merged alike, or set to 0 in the same bins.
        rule: What to do.

    Raises:
        InputError: All bins together are negative, so that merging cannot help.

    Example:
        >>> from ddphf.inputs.histogram import make_histogram
        >>> made = mend_negative(make_histogram([4.0, -1.0, 2.0]), None, [], "merge")
        >>> made[0].values.tolist(), made[3]["merged_bins"]
        ([1.5, 1.5, 2.0], [[0, 1]])
    """
    values = yields.values
    negative = np.flatnonzero(yields.flat < 0)
    record: dict[str, Any] = {"negative": rule, "negative_bins": [int(i) for i in negative]}
    if rule == "refuse" or not negative.size or not np.all(np.isfinite(values)):
        return yields, error, list(systematics), record
    labels = np.arange(values.size)
    if rule == "merge":
        labels = _merge(yields)
        sizes = np.bincount(labels, minlength=values.size)
        groups = [np.flatnonzero(labels == g) for g in np.flatnonzero(sizes > 1)]
        record["merged_bins"] = [[int(i) for i in group] for group in groups]
    widths = np.ones(1)
    for axis in yields.axes:
        widths = np.outer(widths, np.diff(axis.edges)).ravel()

    def change(content: Array) -> Array:
        flat = np.ravel(content)
        if rule == "zero":
            return np.where(yields.flat < 0, 0.0, flat).reshape(content.shape)
        share = widths / np.bincount(labels, widths, values.size)[labels]
        return (np.bincount(labels, flat, values.size)[labels] * share).reshape(content.shape)

    def change_error(content: Array) -> Array:
        if rule == "zero":
            return change(content)
        total = np.sqrt(np.bincount(labels, np.ravel(content) ** 2, values.size))[labels]
        norm = np.sqrt(np.bincount(labels, widths**2, values.size))[labels]
        return (total * widths / norm).reshape(content.shape)

    def change_shape(systematic: Systematic) -> Systematic:
        ends = [np.asarray(getattr(e, "values", e)) for e in (systematic.up, systematic.down)]
        if systematic.kind != "histosys" or any(e.shape != values.shape for e in ends):
            return systematic
        ends = [change(e * values if systematic.relative else e) for e in ends]
        return replace(systematic, up=ends[0], down=ends[1], relative=False)

    mended = replace(yields, values=change(values), variances=None)
    if error is not None and error.values.shape == values.shape:
        error = replace(error, values=change_error(error.values))
    record |= {
        "lowest": float(values.min()),
        "sum_before": float(values.sum()),
        "sum_after": float(mended.values.sum()),
    }
    return mended, error, [change_shape(s) for s in systematics], record


def _merge(yields: Histogram) -> IntArray:
    """Return the group of every bin, flattened: negative ones joined to a neighbour."""
    shape = yields.values.shape
    number = np.arange(yields.values.size).reshape(shape)
    along = [np.moveaxis(number, k, 0) for k in range(len(shape))]
    pairs = np.concatenate([[n[:-1].ravel(), n[1:].ravel()] for n in along], axis=1)
    labels = number.ravel().copy()
    while True:
        sums = np.bincount(labels, yields.flat, labels.size)
        worst = int(np.argmin(sums))
        if sums[worst] >= 0:
            return labels
        ends = labels[pairs]
        beside = ends[:, np.any(ends == worst, axis=0)].ravel()
        beside = np.unique(beside[beside != worst])
        if not beside.size:
            raise InputError(
                f"{yields.source or 'fakes'}: all bins together hold {sums[worst]:.4g} events, so "
                "'negative: merge' cannot help; correct what is subtracted, or leave the fakes out"
            )
        joined = beside[np.argmax(sums[beside])]
        labels[(labels == worst) | (labels == joined)] = min(worst, joined)
