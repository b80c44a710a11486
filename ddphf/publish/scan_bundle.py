"""What goes into the bundle of a mass scan: all hypotheses, their record, some minima in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.files import to_json
from ddphf.masses.patchset import Hypotheses
from ddphf.masses.portable import array_files, script
from ddphf.masses.repeat import Repeatable
from ddphf.masses.scan import UNSTATED
from ddphf.masses.workspaces import patchset_files
from ddphf.publish.bundle import SCAN_LICENSE, make_citation
from ddphf.publish.clean_venv import make_requirements
from ddphf.publish.contents import SUMS, make_sums
from ddphf.publish.scan_contents import scan_script
from ddphf.publish.scan_readme import make_scan_readme
from ddphf.results.documents import ScanPointsDocument
from ddphf.results.published import INTERPOLATION, make_environment
from ddphf.results.registry import check_record

__all__ = ["ScanPublication", "check_scan_record", "make_scan_files", "sources_of"]


@dataclass(frozen=True)
class ScanPublication:
    """What is published of a scan.

    Attributes:
        name: Of the publication.
        record: Of ``ddphf masses``.
        content: The same as it was given.
        source: The hypotheses.
        files: That say them: of a patchset, or arrays with a script, or both.
        figures: PNG by file name.
        license: Text, or None for CC0.
        citation: Text of CITATION.cff, or None for a plain one.
    """

    name: str
    record: Spec
    content: bytes
    source: Repeatable
    files: dict[str, bytes]
    figures: dict[str, bytes] = field(default_factory=dict)
    license: str | None = None
    citation: str | None = None


def check_scan_record(record: Any, path: str) -> None:
    """Refuse what is no whole record of ``ddphf masses``.

    Raises:
        InputError: Says why.
    """
    if trouble := check_record(record):
        raise InputError(
            f"{path}: is no complete result of 'ddphf masses' ({trouble}); make it again"
        )


def sources_of(
    source: Repeatable, given: Mapping[str, bytes], inspire: str | None
) -> tuple[Repeatable, dict[str, bytes]]:
    """Return the hypotheses as they are published, and the files that say them.

    A patchset that was given is published as it is where its workspaces are what was fitted; where
    bins were dropped, filled or merged, or bounds of the POI widened, what was fitted is written.

    Args:
        source: The hypotheses.
        given: BkgOnly.json and patchset.json as they were given; empty for a scan file.
        inspire: INSPIRE id, or None.

    Raises:
        UsageError: A patchset is written, and no id was given.
    """
    if given and not _changed(source):
        return source, dict(given)
    scan = source.scan
    assert scan is not None  # one by one nothing is changed
    files = {**array_files(scan), **patchset_files(scan, inspire, "ddphf publish")}
    return Repeatable.of_scan(scan, source.record), files


def _changed(source: Repeatable) -> bool:
    """Return whether rows are other models than the workspaces of their patchset."""
    found, record = source.found, source.record
    if source.scan is None or not isinstance(found, Hypotheses):
        return False
    policy = (record.get("empty_bins") or {}).get("policy", "keep")
    config = found.background["measurements"][0]["config"]
    poi: Any = next((p for p in config["parameters"] if p["name"] == config["poi"]), {})
    bounds = [float(x) for x in poi.get("bounds", [UNSTATED])[0]]
    return policy != "keep" or bounds != list(record["poi"]["bounds"])


def make_scan_files(publication: ScanPublication) -> dict[str, bytes]:
    """Return the files of the bundle by name.

    Raises:
        InputError: The record is of another scan.
    """
    record, source = publication.record, publication.source
    environment = make_environment()
    points: Spec = {
        "schema": ScanPointsDocument.SCHEMA,
        "name": publication.name,
        "interpolation": INTERPOLATION,
        "environment": environment,
        "points": [vars(point) for point in source.points()],
    }
    files = {
        **publication.files,
        **publication.figures,
        "masses.json": publication.content,
        "points.json": to_json(points).encode(),
        "requirements.txt": make_requirements(environment["versions"]).encode(),
        "verify_scan.py": scan_script(),
        "LICENSE": (publication.license or SCAN_LICENSE).encode(),
        "CITATION.cff": (
            publication.citation or make_citation(publication.name, environment["versions"])
        ).encode(),
    }
    if "scan.json" in files:
        assert files["make_workspace.py"] == script()
    files["README.md"] = make_scan_readme(files, record, points).encode()
    files[SUMS] = make_sums(files)
    return files
