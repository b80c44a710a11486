"""Records beside results.json: what it says about them, and whether they are about its points."""

from __future__ import annotations

from ddphf.arrays import Spec
from ddphf.results.published import PublishedResults
from ddphf.results.registry import Published, kind_of

__all__ = ["publishing_of", "stale_record", "summarize_record"]


def publishing_of(data: Spec) -> Published:
    """Return how a record is published: one of no kind that this version reads says nothing.

    Args:
        data: The record, or what results.json says about it.
    """
    kind = kind_of(data)
    return Published() if kind is None or kind.published is None else kind.published


def summarize_record(name: str, data: Spec) -> Spec:
    """Return what results.json says about a record of ``rank``, ``limit``, ``discover``, ...

    Args:
        name: Its file in the bundle.
        data: The record, of a shape that ``check_record`` has nothing against.
    """
    return {
        "name": name, "schema": data["schema"], "measurement": data.get("measurement"),
        **publishing_of(data).summarize(data),
    }  # fmt: skip


def stale_record(data: Spec, results: PublishedResults) -> str:
    """Return which number of a record differs from the certified fits, empty if none does.

    Raises:
        KeyError: The record, or the results, lack one.
        TypeError: A number is none.
    """
    for what, given, found, near in publishing_of(data).stated(data, results):
        if not abs(given - found) <= near:
            return f"{what} is {given:.9g}, but the fit gives {found:.9g}"
    return ""
