"""``ddphf publish`` of a mass scan: which files are one, and the bundle made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddphf.exceptions import ConfigError, InputError
from ddphf.files import parse_json, read_input, read_json
from ddphf.results.masses import MassesResult
from ddphf.results.registry import kind_of

if TYPE_CHECKING:
    from ddphf.masses.repeat import Repeatable
    from ddphf.progress import Stage
    from ddphf.publish.scan_bundle import ScanPublication

__all__ = ["is_scan_source", "publish_scan", "submit_scan"]


def is_scan_source(source: str, results: Sequence[str]) -> bool:
    """Return whether what is published is a scan: its file, its arrays, or a record of one."""
    if source.lower().endswith(".npz"):
        return True
    if source.endswith((".yml", ".yaml")) and os.path.isfile(source):
        from ddphf.yaml_text import parse_yaml

        try:
            data = parse_yaml(read_input(source, source).decode())
        except (ConfigError, InputError, UnicodeDecodeError):
            return False  # whoever reads it says why
        return isinstance(data, dict) and data.get("schema") == MassesResult.SCHEMA
    return any(_is_record(path) for path in results)


def _is_record(path: str) -> bool:
    if not path.endswith(".json") or not os.path.isfile(path):
        return False
    try:
        kind = kind_of(read_json(path))
    except InputError:
        return False
    return kind is not None and kind.record is MassesResult


def publish_scan(
    source: str, results: Sequence[str], *, name: str | None, inspire: str | None,
    license: str | None, citation: str | None, say: Stage,
) -> ScanPublication:  # fmt: skip
    """Read a scan and its record, and return what is published.

    Args:
        source: Scan file, npz of arrays, or background-only workspace.
        results: The record, and the patchset of a workspace.
        name: Of the publication; that of the scan where None.
        inspire: INSPIRE id, or None.
        license: Text, or None.
        citation: Text, or None.
        say: Called with a line for each stage.

    Raises:
        InputError: A file that is none of these, or of another scan.
    """
    from ddphf.figures.masses import draw_masses
    from ddphf.figures.style import figure_bytes
    from ddphf.publish.scan_bundle import ScanPublication, check_scan_record, sources_of
    from ddphf.results.registry import known_part

    path, content, given = _sort(source, results)
    record = parse_json(content, path)
    check_scan_record(record, path)
    record = known_part(record)[0]
    found = _read(source, given, record)
    if record["provenance"].get("data_digest") != found.digest:
        raise InputError(
            f"{path}: is about another scan than {source}, or was made with other empty bins, or "
            "was changed; make it again with 'ddphf masses'"
        )
    repeatable, files = sources_of(found, given, inspire)
    say("figures")
    figures = {
        f"{key}.png": figure_bytes(figure, "png")
        for key, figure in draw_masses(record).items()
        if figure is not None
    }
    return ScanPublication(
        name=record["name"] if name is None else name, record=record, content=content,
        source=repeatable, files=files, figures=figures, license=license, citation=citation,
    )  # fmt: skip


def _sort(source: str, results: Sequence[str]) -> tuple[str, bytes, dict[str, bytes]]:
    """Return path and content of the record, and the files of a patchset."""
    records: dict[str, bytes] = {}
    patchsets: dict[str, bytes] = {}
    for path in results:
        content = read_input(path, path)
        data: Any = None if content[:2] == b"PK" else parse_json(content, path)
        kind = kind_of(data)
        if kind is not None and kind.record is MassesResult:
            records[path] = content
        elif isinstance(data, dict) and "patches" in data:
            patchsets[path] = content
        else:
            raise InputError(
                f"{path}: is no result of 'ddphf masses' and no patchset; a mass scan is published "
                "with these alone"
            )
    if len(records) != 1:
        found = ", ".join(records) or "none"
        raise InputError(
            f"{source}: is a mass scan, which is published with one result of 'ddphf masses'; "
            f"given: {found}"
        )
    is_workspace = source.lower().endswith(".json")
    if len(patchsets) != int(is_workspace):
        found = ", ".join(patchsets) or "none"
        wanted = "the patchset of the hypotheses" if is_workspace else "no patchset"
        raise InputError(f"{source}: expected {wanted} beside it; given: {found}")
    given: dict[str, bytes] = {}
    if is_workspace:
        given = {
            "BkgOnly.json": read_input(source, source),
            "patchset.json": next(iter(patchsets.values())),
        }
    ((path, content),) = records.items()
    return path, content, given


def _read(source: str, given: Mapping[str, bytes], record: dict[str, Any]) -> Repeatable:
    from ddphf.masses.config import read_arrays, read_scan
    from ddphf.masses.patchset import read_hypotheses
    from ddphf.masses.repeat import Repeatable

    if given:
        base, patchset = (parse_json(content, name) for name, content in given.items())
        found = read_hypotheses(base, patchset, record["parameter"]["name"])
        return Repeatable.of_patchset(found, record)
    policy = (record.get("empty_bins") or {}).get("policy")
    read = read_arrays if source.lower().endswith(".npz") else read_scan
    return Repeatable.of_scan(read(source, empty_bins=policy)[0], record)


def submit_scan(
    publication: ScanPublication, output: str, packed: bytes
) -> tuple[bytes, list[str]]:
    """Return the HEPData submission, and notes for the user."""
    from ddphf.publish.hepdata import pack_submission
    from ddphf.publish.scan_tables import scan_tables

    record = publication.record
    return pack_submission(
        f"{publication.name}: upper limits and local significance at {len(record['values'])} "
        f"values of {record['parameter']['name']}.",
        "Archive of the statistical models of all hypotheses for pyhf, recorded minima, a "
        "README.md with the commands that reproduce them, and a script that checks them.",
        scan_tables(record), Path(output).name, packed,
    )  # fmt: skip
