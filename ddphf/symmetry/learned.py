"""A template that was learned from events is not tested on them."""

from __future__ import annotations

import hashlib

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.inputs.contents import number_contents
from ddphf.inputs.events import EventTable, read_events
from ddphf.inputs.readers import read_note

__all__ = [
    "COLUMN", "digest_numbers", "event_numbers", "note_of", "refuse_other_templates",
    "refuse_training_events",
]  # fmt: skip

COLUMN = "numbers"
"""Of the file of the training half's numbers."""

NOTE = "learned by 'ddphf learn template' from half of the events, "

EXACT = 2.0**53
"""Whole numbers up to here are exact in double precision."""


def event_numbers(table: EventTable, columns: tuple[str, ...]) -> AnyArray:
    """Return a number of the contents of some columns of each event, (n,), uint64.

    It is that of the event in single precision, in which copies of events are often kept, but for
    whole numbers, which tell events apart.
    """
    return number_contents([_rounded(table[name]) for name in columns], table.n_events)


def _rounded(values: AnyArray) -> AnyArray:
    """Return bits of values, the same in whatever type a file has them.

    Example:
        >>> one = np.array([0.1, 123456789.0, np.nan])
        >>> bool(np.all(_rounded(one)[:2] == _rounded(np.array([np.float32(0.1), 123456789]))))
        True
    """
    plain = values.astype(np.float64)
    with np.errstate(over="ignore"):
        single = plain.astype(np.float32).astype(np.float64)
    kept = np.where(plain == np.rint(plain), plain, single) + 0.0  # -0.0 becomes 0.0
    bits = np.where(np.isnan(kept), np.nan, kept).view(np.uint64)
    if values.dtype.kind in "iu":
        bits = np.where(np.abs(plain) > EXACT, values.astype(np.uint64), bits)
    return np.asarray(bits)


def note_of(seal: str) -> str:
    """Return the comment of a template's file, by which it is known beside another section."""
    return NOTE + seal


def refuse_other_templates(analysis: Analysis) -> None:
    """Refuse a learned template without the section that tells from which events.

    Raises:
        InputError: There is no section ``learned``, or that of another template.
    """
    own = None if analysis.learned is None else str(analysis.learned.section["seal"])
    for role, channel in (("tested", analysis.tested), ("partner", analysis.partner)):
        address = None if channel.signal is None else channel.signal.yields
        note = "" if address is None else read_note(address, folder=analysis.folder)
        if not note.startswith(NOTE) or (own is not None and note == note_of(own)):
            continue
        section = "no section 'learned'" if own is None else "the section 'learned' of another one"
        raise InputError(
            f"{role} sample, signal: {address} was learned from half of some events, and the "
            f"analysis file has {section}, so that nothing tells from which; take the analysis "
            "file that 'ddphf learn template' wrote with it"
        )


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
