"""Bins without simulated background, and what is done to them: the user says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from ddphf.arrays import Array, IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.masses.scan import MassScan, Sample

__all__ = ["POLICIES", "EmptyBins", "treat_empty_bins"]

EmptyBins = Literal["keep", "drop", "floor", "merge"]

POLICIES: tuple[EmptyBins, ...] = ("keep", "drop", "floor", "merge")

CHOICES = (
    "keep (nothing is expected there without a signal), drop (such bins are left out), floor "
    "(one simulated event with an error of 100 %) or merge (with the next bins in order)"
)


def treat_empty_bins(scan: MassScan, policy: str | None) -> MassScan:
    """Return a scan whose bins without simulated background are treated as the user wants.

    Raises:
        InputError: There are such bins and nothing is said of them, or they cannot be treated so.

    Example:
        >>> from ddphf.masses.examples import small_scan
        >>> scan = small_scan()
        >>> [int(treat_empty_bins(scan, policy).live.sum()) for policy in POLICIES]
        [24, 23, 24, 23]
    """
    empty = scan.live & (scan.background <= 0)
    scan = replace(scan, empty=empty)
    if not empty.any():
        return scan
    if policy is None:
        row = int(np.flatnonzero(empty.any(axis=1))[0])
        place = f"{scan.parameter.name} = {scan.parameter.values[row]:g}"
        raise InputError(
            f"at empty_bins: {int(empty.sum())} bins of {int(empty.any(axis=1).sum())} hypotheses "
            f"have no simulated background (the first one is bin "
            f"{int(np.flatnonzero(empty[row])[0])} of {place}); say what is done to them: {CHOICES}"
        )
    treat: dict[str, Callable[[MassScan, Mask], MassScan]] = {
        "keep": lambda scan, _: scan, "drop": _drop, "floor": _floor, "merge": _merge,
    }  # fmt: skip
    return replace(treat[policy](scan, empty), policy=policy)


def _map(scan: MassScan, change: Callable[[Array], Array]) -> MassScan:
    """Return a scan whose yields, counts and squares of errors are changed by a linear function."""

    def of(sample: Sample) -> Sample:
        error = None if sample.error is None else np.sqrt(change(sample.error**2))
        return replace(sample.change(change), error=error)

    return replace(
        scan,
        counts=change(scan.counts),
        backgrounds=tuple(map(of, scan.backgrounds)),
        signal=of(scan.signal),
        more_signals=tuple(map(of, scan.more_signals)),
    )


def _drop(scan: MassScan, empty: Mask) -> MassScan:
    changed = _map(scan, lambda values: np.where(empty, 0.0, values))
    left = sum(sample.yields.sum(axis=1) for sample in changed.signals)
    lost = np.flatnonzero(np.asarray(left) <= 0)
    if len(lost):
        raise InputError(
            f"at empty_bins: 'drop' leaves no signal at {scan.parameter.name} = "
            f"{scan.parameter.values[lost[0]]:g}, whose signal is all in bins without simulated "
            f"background ({len(lost)} such hypotheses); leave it out, or take keep, floor or merge"
        )
    return replace(changed, live=scan.live & ~empty)


def _floor(scan: MassScan, empty: Mask) -> MassScan:
    """Put one simulated event with an error of 100 % there: the weight that others have."""
    first = scan.backgrounds[0]
    if first.error is None or first.shapesys:
        raise InputError(
            "at empty_bins: 'floor' needs background.error of kind staterror, from which the "
            "weight of a simulated event is told; give it, or take keep, drop or merge"
        )
    total = np.sum(np.where(scan.live, first.yields, 0.0), axis=1)
    weight = np.sum(first.error**2, axis=1) / np.where(total > 0, total, 1.0)
    if np.any((weight <= 0) & empty.any(axis=1)):
        row = int(np.flatnonzero((weight <= 0) & empty.any(axis=1))[0])
        raise InputError(
            f"at empty_bins: 'floor' has no simulated event in hypothesis {row} to tell the weight "
            "of one from; take keep, drop or merge"
        )
    value = np.broadcast_to(weight[:, None], empty.shape)
    changed = replace(
        first.change(lambda table: np.where(empty, value, table)),
        error=np.where(empty, value, first.error),
    )
    return replace(scan, backgrounds=(changed, *scan.backgrounds[1:]))


def _merge(scan: MassScan, empty: Mask) -> MassScan:
    """Join each such bin with the next ones until something is simulated; the last with before."""
    background, bins = scan.background, scan.counts.shape[1]
    group: IntArray = np.zeros(scan.counts.shape, dtype=np.int64)
    live: Mask = np.zeros(scan.counts.shape, dtype=np.bool_)
    for row in np.flatnonzero(empty.any(axis=1)):
        some = np.flatnonzero(scan.live[row])
        filled = np.flatnonzero(background[row, some] > 0)
        if not len(filled):
            raise InputError(
                f"at empty_bins: 'merge': hypothesis {row} has no simulated background at all; "
                "take keep, or leave it out"
            )
        own = np.minimum(np.searchsorted(filled, np.arange(len(some))), len(filled) - 1)
        group[row, some] = own
        live[row, : len(filled)] = True
    whole = ~empty.any(axis=1)
    group[whole], live[whole] = np.arange(bins), scan.live[whole]

    def change(values: Array) -> Array:
        out = np.zeros_like(values)
        place = np.arange(len(out))[:, None], group
        np.add.at(out, place, np.where(scan.live, values, 0.0))
        return out

    return replace(_map(scan, change), live=live, raw=scan, group=group)
