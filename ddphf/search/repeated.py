"""Events that are in the tables twice, where nothing numbers them."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.exceptions import InputError
from ddphf.inputs.contents import number_contents
from ddphf.inputs.events import EventTable

__all__ = ["check_repeated"]

SIGMAS, PART = 5.0, 0.05
"""How much oftener than coins the labels of equal rows agree, or differ, before they are copies: in
errors, and as a part of the pairs, since the share q of a label varies from event to event."""


def check_repeated(table: EventTable, exchanged: EventTable) -> list[str]:
    """Refuse events that are there twice, as far as columns without identifiers can tell.

    Two rows are equal where they agree in every column that was read, as they are or with the
    labels exchanged. Where some column tells all other events apart, they are one event. Where
    values are rounded, their labels tell: those of different events are independent coins, which is
    all that a flip takes for granted; those of copies are the same.

    Args:
        table: The events.
        exchanged: The same with the labels exchanged.

    Returns:
        A warning, or nothing.

    Raises:
        InputError: Says which rows.
    """
    names = sorted(table.columns)
    one, two = (
        number_contents([t.columns[n] for n in names], t.n_events) for t in (table, exchanged)
    )
    keys = np.minimum(one, two)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if not same.size:
        return []
    distinct = table.n_events - same.size
    first, again = sorted((int(order[same[0]]), int(order[same[0] + 1])))
    found = (
        f"{table.source or 'events'}: {same.size} of {table.n_events} rows repeat another one in "
        f"every column that is read (first: rows {first} and {again})"
    )
    for name, values in table.columns.items():
        if exchanged.columns[name] is values and len(np.unique(values)) == distinct > 1:
            raise InputError(
                f"{found}, and '{name}' tells all other events apart; an event must be there once: "
                "keep one of them"
            )
    pairs, agree, expected = _labels_of_equal_rows(one, two, keys)
    if abs(agree - expected) > SIGMAS * np.sqrt(pairs) / 2 + PART * pairs:
        raise InputError(
            f"{found}; {agree:.0f} of {pairs:.0f} such pairs have the same label, where labels of "
            f"different events agree in about {expected:.0f}; an event must be there once: keep "
            "one of each, or give 'events.identifier' to have them named"
        )
    return [
        f"{found}; as values are rounded, this may be chance: give 'events.identifier', and events "
        "that are there twice are refused"
    ]


def _labels_of_equal_rows(one: AnyArray, two: AnyArray, keys: AnyArray) -> tuple[float, ...]:
    """Return pairs of equal rows, how many have the same label, and how many would by chance.

    Args:
        one: Number of the contents of each row.
        two: With the labels exchanged; equal where a row has no label.
        keys: The smaller of the two.
    """
    labelled = one != two
    if not labelled.any():
        return 0.0, 0.0, 0.0
    group, times = np.unique(keys[labelled], return_inverse=True, return_counts=True)[1:]
    first = np.bincount(group, (one < two)[labelled], len(times))
    pairs, same, other = (float(np.sum(m * (m - 1) / 2)) for m in (times, first, times - first))
    q = float(np.mean((one < two)[labelled]))
    return pairs, same + other, pairs * (q**2 + (1 - q) ** 2)
