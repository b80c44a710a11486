"""Level 0: what is in a bundle is complete, unchanged, and about one and the same workspace.

A bundle may come from anybody. It holds the files that this page names and nothing else, so that
nothing in it is imported or run, and nothing is parsed that is not named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddphf.arrays import Spec
from ddphf.exceptions import DdphfError, InputError
from ddphf.files import parse_json
from ddphf.guards import MOST_CONTAINERS, MOST_VALUES, check_json, within
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.schemas import check_schema
from ddphf.publish.consistency import (
    integers,
    not_finite,
    other_codes,
    other_covariance,
    other_digest,
    other_order,
    other_pairing,
    other_patches,
)
from ddphf.publish.inventory import other_records, other_toys
from ddphf.results.measured import Declared
from ddphf.results.published import PublishedResults
from ddphf.results.registry import known_part
from ddphf.results.verified import FAIL, PASS, Check
from ddphf.workspace_json import Workspace

__all__ = [
    "DAMAGE", "OPTIONAL", "PNG", "REQUIRED", "SUMS", "Bundle", "asking",
    "check_contents", "is_named", "is_text", "make_sums", "measure_files", "other_requirements",
    "stock_script", "wrong_sums",
]  # fmt: skip


SUMS = "SHA256SUMS"
REQUIRED = (
    "CITATION.cff", "LICENSE", "README.md", SUMS, "metadata.json", "requirements.txt",
    "results.json", "verify_stock.py", "workspace.json",
)  # fmt: skip
OPTIONAL = (
    "BkgOnly.json", "covariance.json", "patchset.json", "postfit.png", "prefit.png",
)  # fmt: skip
PATCH_FILE = re.compile(r"patch_[A-Za-z0-9_]+\.json")
TEXTS = ("CITATION.cff", "LICENSE", "README.md", SUMS, "requirements.txt")

PNG = b"\x89PNG\r\n\x1a\n"

EARLIER_SCRIPTS = ("95586d7c043a0564aca72f7de1e3c706f5e0fcd4035ee99043a78dd463ae9949",)
"""SHA-256 of verify_stock.py as earlier versions shipped it: their bundles still verify."""

DAMAGE = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, MemoryError,
    RecursionError,
)  # fmt: skip
"""What a record that does not hold what it should makes Python raise."""

REQUIREMENT = re.compile(r"(numpy|pyhf|scipy)==\d+(\.\d+)*((a|b|rc|\.post)\d+)?")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose contents passed level 0.

    Attributes:
        files: Content by name.
        workspace: The pyhf workspace.
        results: What it states.
        metadata: Bin edges, sources, signal scale.
        references: The likelihood by measurement.
    """

    files: dict[str, bytes]
    workspace: Workspace
    results: PublishedResults
    metadata: Spec
    references: dict[str, ReferenceModel]
    _fitters: dict[tuple[str, tuple[float, float] | None], Fitter] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """Of the publication."""
        return self.results.name

    def fitter_of(self, measurement: str, record: Spec | None = None) -> Fitter:
        """Return the model that a record was made with, compiled once for all of them.

        Args:
            measurement: Name of the measurement.
            record: The record, whose POI may have other bounds than the measurement's.

        Raises:
            InputError: Bounds that are no two numbers.
        """
        bounds = None if record is None else poi_bounds_of(record)
        key = (measurement, bounds)
        if key not in self._fitters:
            reference = (
                self.references[measurement]
                if bounds is None
                else ReferenceModel(self.workspace, measurement, bounds)
            )
            declared = Declared.of(known_part(self.metadata)[0])
            self._fitters[key] = Fitter(reference, declared=declared)
        return self._fitters[key]


def poi_bounds_of(record: Spec) -> tuple[float, float] | None:
    """Return the bounds of the POI that a record states in the place of the workspace's, or None.

    Raises:
        InputError: They are no two numbers.

    Example:
        >>> poi_bounds_of({"provenance": {"poi_bounds": [0, 20]}}), poi_bounds_of({})
        ((0.0, 20.0), None)
    """
    bounds = record.get("provenance", {}).get("poi_bounds")
    if bounds is None:
        return None
    if not (
        isinstance(bounds, list)
        and len(bounds) == 2
        and all(isinstance(b, int | float) and not isinstance(b, bool) for b in bounds)
    ):
        raise InputError(f"poi_bounds of a record: {bounds!r}, expected two numbers")
    return float(bounds[0]), float(bounds[1])


def make_sums(files: dict[str, bytes]) -> bytes:
    """Return SHA256SUMS of files, as ``sha256sum -c`` reads it.

    Example:
        >>> make_sums({"a": b""}).decode()[:12]
        'e3b0c44298fc'
    """
    lines = (f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files) if n != SUMS)
    return "".join(lines).encode()


def asking() -> tuple[list[Check], Callable[[str, Callable[[], str]], bool]]:
    """Return the answers of level 0, and what asks for one: empty for yes, a sentence for no."""
    checks: list[Check] = []

    def ask(what: str, question: Callable[[], str]) -> bool:
        try:
            trouble = question()
        except DdphfError as error:
            trouble = str(error)
        except DAMAGE as error:
            trouble = f"{type(error).__name__}: {error}"
        checks.append(Check(0, what, FAIL if trouble else PASS, trouble))
        return not trouble

    return checks, ask


def check_contents(files: dict[str, bytes]) -> tuple[list[Check], Bundle | None]:
    """Run level 0.

    Args:
        files: Content by name.

    Returns:
        The checks, and the bundle where all of them pass.
    """
    checks, ask = asking()
    loaded: dict[str, Any] = {}

    def load() -> str:
        names = [name for name in sorted(files) if is_named(name) and name.endswith(".json")]
        measure_files(files, names)
        for name in names:
            loaded[name] = parse_json(files[name], name)
        return ""

    if not ask("files", lambda: _missing(files) or _strange(files) or other_requirements(files)):
        return checks, None
    if not ask("SHA256SUMS", lambda: wrong_sums(files)):
        return checks, None
    if not ask("JSON without NaN", load):
        return checks, None
    workspace, metadata = loaded["workspace.json"], loaded["metadata.json"]
    references: dict[str, ReferenceModel] = {}

    def validate() -> str:
        check_schema(workspace)
        return ""

    def build() -> str:
        for measurement in workspace["measurements"]:
            name = measurement["name"]
            references[name] = ReferenceModel(workspace, name)
        return ""

    if not ask("schema of workspace.json", validate):
        return checks, None
    if not ask("every measurement makes a model", build):
        return checks, None
    read: list[PublishedResults] = []

    def read_results() -> str:
        read.append(PublishedResults.from_dict(loaded["results.json"]))
        return ""

    if not ask("results.json", read_results):
        return checks, None
    results = read[0]

    def load_records() -> str:
        records, toys = _records(results)
        others = {name for name in files if not is_named(name)}
        if extra := sorted(others - records - toys):
            return f"in the archive, but not named in results.json: {', '.join(extra)}"
        if lost := sorted((records | toys) - others):
            return f"named in results.json, but not in the archive: {', '.join(lost)}"
        measure_files(files, [name for name in files if name.endswith(".json")])
        for name in sorted(records):
            loaded[name] = parse_json(files[name], name)
        return ""

    if not ask("every file is named", load_records):
        return checks, None
    # All of them, so that a reader sees everything that is wrong.
    answers = [
        ask("digest of the workspace", lambda: other_digest(loaded, workspace)),
        ask("numbers written as floats", lambda: integers(workspace, metadata)),
        ask("names and order", lambda: other_order(results, references)),
        ask("pairing", lambda: other_pairing(workspace, metadata)),
        ask("interpolation codes", lambda: other_codes(results)),
        ask("numbers are finite", lambda: not_finite(results)),
        ask("patches make the workspace", lambda: other_patches(loaded, workspace)),
        ask("covariance", lambda: other_covariance(loaded, workspace, metadata)),
        ask("records that results.json names", lambda: other_records(loaded, files, results)),
        ask("toys that results.json names", lambda: other_toys(files, results)),
    ]
    if not all(answers):
        return checks, None
    for name in sorted(loaded):
        if isinstance(loaded[name], dict) and (said := known_part(loaded[name])[1]):
            checks.append(Check(0, f"{name}, of a later version", PASS, said))
    return checks, Bundle(files, workspace, results, metadata, references)


def is_named(name: str) -> bool:
    """Return whether every bundle may hold a file of this name; others results.json must name.

    Example:
        >>> is_named("workspace.json"), is_named("patch_heavy.json"), is_named("venv.py")
        (True, True, False)
    """
    return name in (*REQUIRED, *OPTIONAL) or bool(PATCH_FILE.fullmatch(name))


def stock_script() -> bytes:
    """Return this ddphf's verify_stock.py."""
    return Path(__file__).with_name("verify_stock.py").read_bytes()


def _records(results: PublishedResults) -> tuple[set[str], set[str]]:
    """Return the files of records, and of toys and events, that results.json names."""
    records = {str(entry["name"]) for entry in results.included}
    toys = {str(entry["file"]) for entry in results.toys if entry["file"] is not None}
    toys |= {str(entry["events"]) for entry in results.included if entry.get("events")}
    for names, suffix in ((records, ".json"), (toys, ".npz")):
        for name in names:
            if is_named(name) or not name.endswith(suffix):
                raise ValueError(f"'{name}' cannot be the name of a *{suffix} beside results.json")
    return records, toys


def measure_files(files: dict[str, bytes], names: list[str]) -> None:
    """Refuse more JSON than a bundle may hold, before any of it is parsed."""
    sizes = [check_json(files[name], name) for name in names]
    within("the JSON files together", "values", sum(s.values for s in sizes), MOST_VALUES)
    within(
        "the JSON files together", "lists and objects", sum(s.containers for s in sizes),
        MOST_CONTAINERS,
    )  # fmt: skip


def _missing(files: dict[str, bytes]) -> str:
    missing = [name for name in REQUIRED if name not in files]
    return f"not in the archive: {', '.join(missing)}" if missing else ""


def _strange(files: dict[str, bytes]) -> str:
    """Return what no bundle holds: other kinds of file, commands to a terminal, another script."""
    for name, content in files.items():
        if not is_named(name) and not name.endswith((".json", ".npz")):
            return f"'{name}' is no file of a bundle"
        if name.endswith(".png") and not content.startswith(PNG):
            return f"{name}: is no PNG"
        if name in TEXTS and not is_text(content):
            return f"{name}: holds something that is no text"
    digest = hashlib.sha256(files["verify_stock.py"]).hexdigest()
    if files["verify_stock.py"] != stock_script() and digest not in EARLIER_SCRIPTS:
        return (
            f"verify_stock.py (sha256:{digest[:12]}...) is not the script that ddphf publishes; do "
            "not run it"
        )
    return ""


def is_text(content: bytes) -> bool:
    r"""Return whether a terminal can show a file: UTF-8 without control characters.

    Example:
        >>> is_text(b"CC0\n"), is_text(b"\x1b[31mCC0")
        (True, False)
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return all(
        c.isprintable() or c in "\n\r\t\f\ufeff" or (c.isspace() and ord(c) >= 0xA0) for c in text
    )


def other_requirements(files: dict[str, bytes]) -> str:
    """Level 4 installs what this file names, so it names nothing else."""
    for line in files["requirements.txt"].decode(errors="replace").splitlines():
        if not REQUIREMENT.fullmatch(line):
            return f"requirements.txt: '{line[:60]}' is no version of pyhf, numpy or scipy"
    return ""


def wrong_sums(files: dict[str, bytes]) -> str:
    """Return what SHA256SUMS says otherwise; empty where it agrees."""
    try:
        lines = files[SUMS].decode().splitlines()
    except UnicodeDecodeError:
        return "SHA256SUMS is no text"
    listed = {line[66:]: line[:64] for line in lines}
    if len(listed) < len(lines):
        return "SHA256SUMS lists a file twice"
    if extra := sorted(set(files) - {SUMS} - set(listed)):
        return f"not in SHA256SUMS: {', '.join(extra)}"
    if lost := sorted(set(listed) - set(files)):
        return f"in SHA256SUMS, but not in the archive: {', '.join(lost)}"
    wrong = [n for n in listed if hashlib.sha256(files[n]).hexdigest() != listed[n]]
    return f"changed: {', '.join(wrong)}" if wrong else ""
