"""Whether new data share events with those that chose a hypothesis, as far as that can be seen."""

from __future__ import annotations

import hashlib

import numpy as np

from ddphf.config.analysis import Analysis, named_files
from ddphf.config.sections import EventsConfig
from ddphf.exceptions import InputError
from ddphf.inputs.event_table import EventTable
from ddphf.search.freeze import sample_digests
from ddphf.search.pair import SearchPair
from ddphf.symmetry.event_tables import join_tables, read_table
from ddphf.symmetry.split import number_events

__all__ = ["refuse_shared", "table_digests"]


def table_digests(analysis: Analysis) -> list[str] | None:
    """Return the digest of every table of events that an analysis reads; None from histograms."""
    if analysis.events is None:
        return None
    address = analysis.events.file
    files = named_files([address] if isinstance(address, str) else list(address), analysis.folder)
    return sorted({f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files})


def refuse_shared(hypothesis: Analysis, pair: SearchPair, analysis: Analysis) -> list[str]:
    """Refuse data that chose the window, or that share a sample or a table of events with them.

    Args:
        hypothesis: With the section ``data_directed``, and the addresses of the data that chose it.
        pair: The new data.
        analysis: Where they are from.

    Returns:
        Sentences about what may be shared and cannot be seen.

    Raises:
        InputError: They are no new data.
    """
    chosen = hypothesis.data_directed
    assert chosen is not None
    remedy = "a test of a window wants data that had no part in its choice"
    if pair.digest == chosen["data_digest"]:
        raise InputError(f"these are the data on which the window was chosen; {remedy}")
    own = sample_digests(pair)
    before = {chosen.get(key): key.removesuffix("_digest") for key in own if chosen.get(key)}
    for key, digest in own.items():
        if digest in before:
            raise InputError(
                f"the {key.removesuffix('_digest')} sample is the {before[digest]} sample of the "
                f"data on which the window was chosen; {remedy}"
            )
    said = _refuse_shared_events(hypothesis, analysis, remedy)
    shared = set(table_digests(analysis) or ()) & set(chosen.get("files", ()))
    if not shared:
        return said
    select = "" if analysis.events is None else analysis.events.select or ""
    if select == chosen.get("select", ""):
        raise InputError(
            f"a table of events is one of those on which the window was chosen, with the same "
            f"selection; {remedy}"
        )
    return [
        *said,
        "a table of events is one of those on which the window was chosen; their selections "
        "differ, and only 'identifier' in both analyses would tell whether an event passes both",
    ]


def _refuse_shared_events(hypothesis: Analysis, new: Analysis, remedy: str) -> list[str]:
    """Refuse new data that hold an event of the old ones, where both number their events alike.

    Raises:
        InputError: Some event is in both.
    """
    first, second = hypothesis.events, new.events
    if first is None or second is None or not first.identifier:
        return []
    if first.identifier != second.identifier:
        return []
    try:
        before = _read_identifiers(hypothesis, first)
    except InputError as error:
        return [f"events are not compared with those that chose the window: {error}"]
    now = _read_identifiers(new, second)
    labels = number_events(join_tables(before, now), first.identifier)
    shared = np.intersect1d(labels[: before.n_events], labels[before.n_events :])
    if shared.size:
        raise InputError(
            f"{shared.size} of {now.n_events} events ({', '.join(first.identifier)}) are among "
            f"those on which the window was chosen; {remedy}"
        )
    return []


def _read_identifiers(analysis: Analysis, events: EventsConfig) -> EventTable:
    return read_table(
        analysis, events, events.file, select=events.select, columns=events.identifier
    )
