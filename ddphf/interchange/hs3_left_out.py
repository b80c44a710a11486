"""What an HS3 document says and a pyhf workspace has no place for, so that it is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ddphf.arrays import Spec
from ddphf.interchange.hs3_channels import PER_BIN, Channel
from ddphf.interchange.hs3_document import Document
from ddphf.text import list_names

__all__ = ["say_left_out"]

VERSION = "0.2"
"""Of the standard that is read."""

POINT = {"const", "name", "value"}


def say_left_out(
    document: Document,
    analyses: Sequence[Spec],
    likelihood: Spec,
    channels: Sequence[Channel],
    read_anyway: Sequence[str],
) -> list[str]:
    """Return a sentence for each kind of thing that is not converted.

    What only an analysis that was not chosen uses is not listed beside it.

    Args:
        document: All of it, already read.
        analyses: Those that become measurements.
        likelihood: Theirs.
        channels: With their samples.
        read_anyway: Parameter points that are read beside those of the analyses.
    """
    spec = document.spec
    chosen = {a["name"] for a in analyses}
    every = document.analyses.values()
    version = spec["metadata"]["hs3_version"]
    out = []
    if not (isinstance(version, str) and f"{version}.".startswith(f"{VERSION}.")):
        out.append(f"metadata.hs3_version is {version!r:.40}, it is read as {VERSION}")
    inits = {a.get("init") for a in analyses if isinstance(a.get("init"), str)}
    named = {
        str(modifier["constraint_name"])
        for distribution in document.distributions.values()
        for sample in _objects(distribution.get("samples"))
        for modifier in _objects(sample.get("modifiers"))
        if "constraint_name" in modifier
    }
    likelihoods = document.likelihoods.values()
    terms = _names(d.get("mean") for d in document.distributions.values())
    left = {
        "analyses": [n for n in document.analyses if n not in chosen],
        "data": [n for n in document.data if n not in likelihood["data"]],
        "parameter points": [
            n for n in document.points if n not in inits and n not in read_anyway
        ],
        "priors": [str(a["prior"]) for a in analyses if a.get("prior") is not None],
        "likelihoods": _without(document.likelihoods, _names(a.get("likelihood") for a in every)),
        "distributions": _without(
            document.distributions,
            named.union(
                *(_names(x.get(k)) for x in likelihoods for k in ("distributions",
                                                                   "aux_distributions"))
            ),
        ),
        "functions": _without(document.functions, terms),
        "domains": _without(
            document.domains,
            set().union(*(_names(a.get(k)) for a in every for k in ("domains", "domain"))),
        ),
        "keys of metadata": sorted(set(spec["metadata"]) - {"hs3_version", "packages"}),
        "keys of misc": _foreign(spec.get("misc")),
        "keys of parameter points": sorted(
            set().union(
                *(entry for point in document.points.values()
                  for entry in _objects(point.get("parameters")))
            )
            - POINT
        ),
        "bin edges of channels": [c.name for c in channels if c.has_edges],
        "errors of variations of": [
            f"{c.name}/{sample.get('name')}"
            for c in channels
            for sample in _objects(document.distributions[c.name].get("samples"))
            if any(_has_errors(m.get("data")) for m in _objects(sample.get("modifiers")))
        ],
        "errors of samples without a modifier per bin": [
            f"{c.name}/{s.name}" for c in channels for s in c.samples
            if any(s.errors or ()) and not any(m.kind in PER_BIN for m in s.modifiers)
        ],
    }  # fmt: skip
    return out + [
        f"left out, since a pyhf workspace has no place for them: {what} {list_names(names)}"
        for what, names in left.items()
        if names
    ]


def _names(node: Any) -> set[str]:
    """Return the texts of a list, or one text."""
    if isinstance(node, str):
        return {node}
    if not isinstance(node, (list, Iterator)):
        return set()
    return {entry for entry in node if isinstance(entry, str)}


def _objects(node: Any) -> list[Spec]:
    return [entry for entry in node if isinstance(entry, dict)] if isinstance(node, list) else []


def _has_errors(data: Any) -> bool:
    """Return whether the ends of a variation have errors beside their contents."""
    ends = [data.get(key) for key in ("hi", "lo")] if isinstance(data, dict) else []
    stated = [end.get("errors") for end in ends if isinstance(end, dict)]
    return any(any(e) if isinstance(e, list) else e is not None for e in stated)


def _without(known: Iterable[str], used: set[str]) -> list[str]:
    return [name for name in known if name not in used]


def _foreign(misc: Any) -> list[str]:
    if isinstance(misc, dict):
        return [
            key for key, value in misc.items() if key != "ddphf" and value not in ({}, [], None)
        ]
    return [] if misc is None else [str(type(misc).__name__)]
