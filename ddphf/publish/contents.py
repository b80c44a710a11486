"""Level 0: what is in a bundle is complete, unchanged, and about one and the same workspace."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ddphf.exceptions import DdphfError
from ddphf.files import parse_json
from ddphf.likelihood.checks import check_schema
from ddphf.likelihood.reference import ReferenceModel
from ddphf.publish.checks import FAIL, PASS, Check
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
from ddphf.publish.records import PublishedResults

__all__ = ["DAMAGE", "REQUIRED", "SUMS", "Bundle", "check_contents", "make_sums"]

Spec = dict[str, Any]

SUMS = "SHA256SUMS"
REQUIRED = (
    "CITATION.cff", "LICENSE", "README.md", SUMS, "metadata.json", "requirements.txt",
    "results.json", "verify_stock.py", "workspace.json",
)  # fmt: skip

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
    workspace: Spec
    results: PublishedResults
    metadata: Spec
    references: dict[str, ReferenceModel]


def make_sums(files: dict[str, bytes]) -> bytes:
    """Return SHA256SUMS of files, as ``sha256sum -c`` reads it.

    Example:
        >>> make_sums({"a": b""}).decode()[:12]
        'e3b0c44298fc'
    """
    lines = (f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files) if n != SUMS)
    return "".join(lines).encode()


def check_contents(files: dict[str, bytes]) -> tuple[list[Check], Bundle | None]:
    """Run level 0.

    Args:
        files: Content by name.

    Returns:
        The checks, and the bundle where all of them pass.
    """
    checks: list[Check] = []

    def ask(what: str, question: Callable[[], str]) -> bool:
        """Record the answer: empty for yes, a sentence for no."""
        try:
            trouble = question()
        except DdphfError as error:
            trouble = str(error)
        except DAMAGE as error:
            trouble = f"{type(error).__name__}: {error}"
        checks.append(Check(0, what, FAIL if trouble else PASS, trouble))
        return not trouble

    loaded: dict[str, Any] = {}

    def load() -> str:
        for name in sorted(files):
            if name.endswith(".json"):
                loaded[name] = parse_json(files[name], name)
        return ""

    if not ask("files", lambda: _missing(files) or _other_requirements(files)):
        return checks, None
    if not ask("SHA256SUMS", lambda: _wrong_sums(files)):
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
        ask("records that results.json names", lambda: other_records(loaded, results)),
        ask("toys that results.json names", lambda: other_toys(files, results)),
    ]
    if not all(answers):
        return checks, None
    return checks, Bundle(files, workspace, results, metadata, references)


def _missing(files: dict[str, bytes]) -> str:
    missing = [name for name in REQUIRED if name not in files]
    return f"not in the archive: {', '.join(missing)}" if missing else ""


def _other_requirements(files: dict[str, bytes]) -> str:
    """Level 4 installs what this file names, so it names nothing else."""
    for line in files["requirements.txt"].decode(errors="replace").splitlines():
        if not REQUIREMENT.fullmatch(line):
            return f"requirements.txt: '{line[:60]}' is no version of pyhf, numpy or scipy"
    return ""


def _wrong_sums(files: dict[str, bytes]) -> str:
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
