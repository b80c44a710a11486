"""Every kind of record, once: all that reads, draws, publishes or verifies records asks here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import jsonschema

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.files import read_json
from ddphf.results import (
    birman,
    bumps,
    correlations,
    discover,
    documents,
    evaluation,
    fit,
    injection,
    learn,
    limit,
    masses,
    published,
    rank,
    scan,
    search,
    verified,
    yields,
)
from ddphf.results.agreement import Stated
from ddphf.results.growth import Written, describe_unknown, split_known

if TYPE_CHECKING:
    from ddphf.results.published import PublishedResults

__all__ = [
    "KINDS",
    "Published",
    "Record",
    "RecordKind",
    "check_record",
    "kind_of",
    "known_part",
    "load_function",
    "read_record",
]

R = TypeVar("R", bound=Written)


class Record(Protocol):
    """What every class of record has."""

    SCHEMA: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Read what :meth:`to_dict` wrote."""


def _nothing(*_: Any) -> Iterator[Any]:
    return iter(())


def _no_summary(_: dict[str, Any]) -> Spec:
    return {}


@dataclass(frozen=True)
class Published:
    """How a bundle takes a kind of record.

    What needs fits stands by its name, ``module:function``, so that records import none.

    Attributes:
        included: Whether its file stands in the bundle; a fit's numbers are results.json's own.
        about: What the README's table says of its file.
        stated: Its numbers that the certified fits give too.
        summarize: What results.json says about it.
        digests: Keys of ``provenance`` that may name the workspace.
        lines: ``(where, entry of results.json) -> lines`` of the README.
        refit: ``(bundle, name, record, say) -> checks`` of level 5.
        refit_by_toys: ``(bundle, name, record, say, progress) -> checks`` of level 5 by toys.
        redraw: The same for level 6.
        attach: ``(record, path) -> bytes`` of the file beside it that results.json names as its
            ``events``.
        inspect: ``(record, bytes) -> sentence`` of what is wrong with that file, for level 0.
    """

    included: bool = True
    about: str = "result record"
    stated: Callable[[dict[str, Any], PublishedResults], Iterator[Stated]] = _nothing
    summarize: Callable[[dict[str, Any]], Spec] = _no_summary
    digests: tuple[str, ...] = ("workspace_digest",)
    lines: str = ""
    refit: str = ""
    refit_by_toys: str = ""
    redraw: str = ""
    attach: str = ""
    inspect: str = ""


@dataclass(frozen=True)
class RecordKind:
    """One kind of record.

    Attributes:
        record: Its class, which states the schema.
        shape: JSON Schema; keys that it does not name are of later versions.
        command: The command that writes it: ``ddphf ...``.
        misfits: Yields what JSON Schema cannot say.
        chapter: What a report calls it; empty where a report takes none.
        several: Whether a report takes more than one.
        published: How a bundle takes it among the results; None where it does not.
    """

    record: type[Record]
    shape: Spec
    command: str
    misfits: Callable[[dict[str, Any]], Iterator[str]] = _nothing
    chapter: str = ""
    several: bool = False
    published: Published | None = field(default=None)

    @property
    def schema(self) -> str:
        """Such as the one of a fit, version included."""
        return self.record.SCHEMA

    @property
    def name(self) -> str:
        """The schema's middle part: ``rank``."""
        return self.schema.split("/")[1]


RERUN = "ddphf.publish.rerun_records"
RERUN_TOYS = "ddphf.publish.rerun_toys"
LINES = "ddphf.publish.record_lines"
LEARNED = "ddphf.publish.learned"

KINDS: tuple[RecordKind, ...] = (
    RecordKind(
        fit.FitResult, fit.SHAPE, "fit", fit.misfits, chapter="fit",
        published=Published(included=False, stated=fit.stated),
    ),
    RecordKind(yields.YieldsResult, yields.SHAPE, "yields", yields.misfits, chapter="yields"),
    RecordKind(
        rank.RankResult, rank.SHAPE, "rank", chapter="ranking",
        published=Published(
            about="impacts of the parameters", stated=rank.stated, summarize=rank.summarize,
            lines=f"{LINES}:lines_of_ranking", refit=f"{RERUN}:check_impacts",
        ),
    ),
    RecordKind(
        discover.DiscoverResult, discover.SHAPE, "discover", discover.misfits, chapter="discover",
        published=Published(
            about="significance, observed and expected", stated=discover.stated,
            summarize=discover.summarize, lines=f"{LINES}:lines_of_discovery",
            refit=f"{RERUN}:check_expected", redraw=f"{RERUN_TOYS}:check_nulls",
        ),
    ),
    RecordKind(
        limit.LimitResult, limit.SHAPE, "limit", limit.misfits, chapter="limit",
        published=Published(
            about="upper limits and intervals", stated=limit.stated, summarize=limit.summarize,
            lines=f"{LINES}:lines_of_limit", refit=f"{RERUN}:check_limit",
            refit_by_toys=f"{RERUN_TOYS}:check_limit_by_toys",
        ),
    ),
    RecordKind(
        scan.ScanResult, scan.SHAPE, "scan", scan.misfits, chapter="scan", several=True,
        published=Published(stated=scan.stated),
    ),
    RecordKind(
        search.SearchResult, search.SHAPE, "search pair", search.misfits, chapter="search",
        several=True,
        published=Published(
            about="search everywhere: local and global significance", summarize=search.summarize,
            digests=("data_digest",), lines=f"{LINES}:lines_of_search",
        ),
    ),
    RecordKind(masses.MassesResult, masses.SHAPE, "masses", masses.misfits, chapter="masses"),
    RecordKind(
        bumps.BumpsResult, bumps.SHAPE, "bumps scan", bumps.misfits, chapter="bumps", several=True
    ),
    RecordKind(
        learn.LearnResult, learn.SHAPE, "learn test", learn.misfits, chapter="learn", several=True,
        published=Published(
            about="what was learned from the labels of the events", summarize=learn.summarize,
            digests=("data_digest",), lines=f"{LEARNED}:lines_of_learned",
            refit=f"{LEARNED}:check_learned", redraw=f"{LEARNED}:check_trained",
            attach=f"{LEARNED}:attach_events", inspect=f"{LEARNED}:inspect_events",
        ),
    ),
    RecordKind(
        documents.SidecarDocument, documents.SidecarDocument.SHAPE, "build",
        documents.misfits_of_sidecar, chapter="sidecar",
    ),
    RecordKind(evaluation.BumpsEvaluation, evaluation.SHAPE, "bumps evaluate"),
    RecordKind(
        documents.BumpModelDocument, documents.BumpModelDocument.SHAPE, "bumps workspace"
    ),
    RecordKind(
        injection.InjectionResult, injection.SHAPE, "inject", injection.misfits,
        published=Published(
            stated=injection.stated, digests=("workspace_digest", "written_digest")
        ),
    ),
    RecordKind(correlations.CorrelationResult, correlations.SHAPE, "correlations"),
    RecordKind(birman.BirmanResult, birman.SHAPE, "study birman"),
    RecordKind(documents.SummaryDocument, documents.SummaryDocument.SHAPE, "inspect"),
    RecordKind(published.PublishedResults, published.SHAPE, "publish"),
    RecordKind(documents.ForeignDocument, documents.ForeignDocument.SHAPE, "publish"),
    RecordKind(documents.CovarianceDocument, documents.CovarianceDocument.SHAPE, "publish"),
    RecordKind(documents.ScanArraysDocument, documents.ScanArraysDocument.SHAPE, "publish"),
    RecordKind(documents.ScanPointsDocument, documents.ScanPointsDocument.SHAPE, "publish"),
    RecordKind(verified.VerifyResult, verified.SHAPE, "verify"),
)  # fmt: skip

BY_SCHEMA = {kind.schema: kind for kind in KINDS}


def kind_of(data: Any) -> RecordKind | None:
    """Return the kind of a record, None where it is none that this version reads.

    Example:
        >>> kind_of({"schema": "a/b/9"}) is None, kind_of({"schema": KINDS[0].schema}).name
        (True, 'fit')
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    return BY_SCHEMA.get(schema) if isinstance(schema, str) else None


def check_record(record: dict[str, Any]) -> str | None:
    """Return what is wrong with a record that anybody may have written, None if nothing is.

    Keys of later versions are not looked at.

    Example:
        >>> from ddphf.results.limit import LimitResult
        >>> check_record({"schema": LimitResult.SCHEMA, "provenance": {}, "measurement": "m",
        ...               "level": "high"})
        "at level: 'high' is not of type 'number'"
    """
    kind = kind_of(record)
    if kind is None:
        return f"schema {str(record.get('schema'))[:40]!r} is none that this version reads"
    known, _ = split_known(record, kind.shape)
    validator = jsonschema.Draft202012Validator(kind.shape)
    error = jsonschema.exceptions.best_match(validator.iter_errors(known))
    if error is None:
        return next(kind.misfits(known), None)
    path = ".".join(map(str, error.absolute_path)) or "the top"
    message = error.message if len(error.message) < 160 else f"... {error.message[-120:]}"
    return f"at {path}: {message}"


def read_record(name: str, record: type[R], command: str) -> R:
    """Return the record of one kind that a file holds.

    Args:
        name: Of the file; ``-`` is standard input.
        record: Its class.
        command: That writes such records, for the messages.

    Raises:
        InputError: It is no such record, or is damaged.
    """
    data = read_json(name)
    kind = kind_of(data)
    if kind is None or kind.schema != record.SCHEMA:
        raise InputError(f"{name}: is no record of '{command}'")
    if (wrong := check_record(data)) is not None:
        raise InputError(f"{name}: is no whole record of '{command}' ({wrong})")
    return record.from_dict(data)


def known_part(record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what this version knows of a record, and a sentence about keys of later versions.

    The sentence is empty where there are none; a record of no known kind is returned as it is.
    """
    kind = kind_of(record)
    if kind is None:
        return record, ""
    known, names = split_known(record, kind.shape)
    return known, describe_unknown(names) if names else ""


def load_function(name: str) -> Callable[..., Any]:
    """Return the function that a kind names as ``module:function``.

    Example:
        >>> load_function("ddphf.results.registry:kind_of") is kind_of
        True
    """
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
