"""A template that was learned from events is not tested on them."""

from __future__ import annotations

import hashlib

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.inputs.contents import number_contents
from ddphf.inputs.events import EventTable, read_events

__all__ = ["digest_numbers", "event_numbers", "refuse_training_events"]

COLUMN = "contents"
"""Of the file of the training half's numbers."""


def event_numbers(table: EventTable, columns: tuple[str, ...]) -> AnyArray:
    """Return a number of the contents of some columns of each event, (n,), uint64."""
    return number_contents([table[name] for name in columns], table.n_events)


def digest_numbers(numbers: AnyArray) -> str:
    """Return the digest of a set of events, in whatever order.

    Example:
        >>> one = digest_numbers(np.array([2, 1], dtype=np.uint64))
        >>> one == digest_numbers(np.array([1, 2], dtype=np.uint64))
        True
    """
    content = np.sort(numbers).astype("<u8").tobytes()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def refuse_training_events(analysis: Analysis, table: EventTable) -> None:
    """Refuse events that the template of the analysis was learned from.

    Raises:
        InputError: Some are among them, or the file of their numbers was changed.
    """
    learned = analysis.learned
    if learned is None:
        return
    known = read_events(learned.training, folder=analysis.folder, columns=[COLUMN])[COLUMN]
    numbers = known.astype(np.uint64)
    if digest_numbers(numbers) != learned.digests["training"]:
        raise InputError(
            f"learned: {learned.training} is not the training half that the analysis file states "
            "(its digest differs); learn the template again"
        )
    again = int(np.isin(event_numbers(table, learned.columns), numbers).sum())
    if again > learned.coincidences:
        raise InputError(
            f"{table.source}: {again} of {table.n_events} events are among those that the template "
            "was learned from, and a test on them finds what was learned; give the held-out events "
            "that 'ddphf learn template' wrote, or new data"
        )
