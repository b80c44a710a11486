"""The split of one event table into the two samples, by two expressions that nobody overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import IntArray, Mask
from ddphf.exceptions import InputError
from ddphf.inputs.events import EXACT, EventTable
from ddphf.symmetry.expressions import evaluate_mask

__all__ = ["RULES", "Split", "number_events", "split_events"]

RULES = {
    "mue_emu": ("l1_flavour == 13 and l2_flavour == 11", "l1_flavour == 11 and l2_flavour == 13"),
    "mumu_ee": ("l1_flavour == 13 and l2_flavour == 13", "l1_flavour == 11 and l2_flavour == 11"),
    "mutau_etau": (
        "l1_flavour == 13 and l2_flavour == 15 or l1_flavour == 15 and l2_flavour == 13",
        "l1_flavour == 11 and l2_flavour == 15 or l1_flavour == 15 and l2_flavour == 11",
    ),
    "positive_negative": ("l1_charge > 0", "l1_charge < 0"),
    "forward_backward": ("l1_eta > 0", "l1_eta <= 0"),
}
"""Common rules (tested, partner) for the columns of ``leading_pair``; any expression will do."""


@dataclass(frozen=True)
class Split:
    """Which events belong to which sample, shapes (n,)."""

    tested: Mask
    partner: Mask


def split_events(
    table: EventTable,
    tested: str,
    partner: str,
    *,
    identifier: Sequence[str] = (),
) -> Split:
    """Split a table into two samples: every event in exactly one of them.

    Args:
        table: The events, after the selection that both samples share.
        tested: Expression that is true for the tested sample.
        partner: The same for its partner; written out, so that it can be checked.
        identifier: Columns that number events, such as run and event: no event may appear twice,
            as it would where one collision is listed with different pairs of leptons.

    Raises:
        InputError: Events in both samples, in none, or twice.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> split = split_events(make_events({"id": [11, 13]}), "id == 13", "id == 11")
        >>> split.tested.tolist()
        [False, True]
    """
    where = table.source or "events"
    first, second = evaluate_mask(tested, table), evaluate_mask(partner, table)
    both, none = np.flatnonzero(first & second), np.flatnonzero(~first & ~second)
    if both.size:
        raise InputError(
            f"{where}: {both.size} of {table.n_events} events are in both samples (first: row "
            f"{both[0]}), but shared events are not independent; make '{tested}' and '{partner}' "
            "exclude each other"
        )
    if none.size:
        raise InputError(
            f"{where}: {none.size} of {table.n_events} events are in neither sample (first: row "
            f"{none[0]}); complete '{tested}' and '{partner}', or drop those events alike from "
            "both with 'events.select'"
        )
    if identifier:
        labels = number_events(table, identifier)
        counts = np.bincount(labels)
        shared = np.intersect1d(labels[first], labels[second])
        repeated = shared if shared.size else np.flatnonzero(counts > 1)
        if repeated.size:
            row = int(np.flatnonzero(labels == repeated[0])[0])
            what = "in both samples" if shared.size else "listed more than once in one sample"
            raise InputError(
                f"{where}: {repeated.size} events ({', '.join(identifier)}) are {what} "
                f"(first: row {row}); keep one pair of leptons per event"
            )
    return Split(first, second)


def number_events(table: EventTable, identifier: Sequence[str]) -> IntArray:
    """Return one number per event that is equal where all of its columns are.

    Raises:
        InputError: A column that cannot number events: NaN, or floats too large to be exact.
    """
    codes = []
    for name in identifier:
        column = table[name]
        if column.dtype.kind == "f":
            bad = np.flatnonzero(~(np.abs(column) <= EXACT))
            if bad.size:
                raise InputError(
                    f"{table.source or 'events'}: '{name}' is {column[bad[0]]:.17g} in row "
                    f"{bad[0]}, a number with a decimal point that has lost digits or is none; "
                    "store identifiers as integers"
                )
        codes.append(np.unique(column, return_inverse=True)[1].ravel())
    _, labels = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
    return np.asarray(labels.ravel(), dtype=np.int64)
