"""Whether new data share events with those that chose a hypothesis, as far as that can be seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ddphf.config.analysis import Analysis, named_files
from ddphf.exceptions import InputError
from ddphf.search.freeze import sample_digests
from ddphf.search.pair import SearchPair

__all__ = ["refuse_shared", "table_digests"]


def table_digests(analysis: Analysis) -> list[str] | None:
    """Return the digest of every table of events that an analysis reads; None from histograms."""
    if analysis.events is None:
        return None
    address = analysis.events.file
    files = named_files([address] if isinstance(address, str) else list(address), analysis.folder)
    return sorted({f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files})


def refuse_shared(chosen: Mapping[str, Any], pair: SearchPair, analysis: Analysis) -> list[str]:
    """Refuse data that chose the window, or that share a sample or a table of events with them.

    Args:
        chosen: Section ``data_directed`` of the hypothesis.
        pair: The new data.
        analysis: Where they are from.

    Returns:
        Sentences about what may be shared and cannot be seen.

    Raises:
        InputError: They are no new data.
    """
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
    shared = set(table_digests(analysis) or ()) & set(chosen.get("files", ()))
    if not shared:
        return []
    select = "" if analysis.events is None else analysis.events.select or ""
    if select == chosen.get("select", ""):
        raise InputError(
            f"a table of events is one of those on which the window was chosen, with the same "
            f"selection; {remedy}"
        )
    return [
        "a table of events is one of those on which the window was chosen; their selections "
        "differ, but whether an event passes both is not looked at"
    ]
