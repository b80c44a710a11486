"""Files beside results.json: named there, and with the same numbers (levels 0 and 1).

Every question returns an empty string, or a sentence that says what is wrong.
"""

from __future__ import annotations

from typing import Any

from ddphf.publish.readme import print_numbers
from ddphf.publish.summaries import publishing_of, summarize_record
from ddphf.publish.toy_files import read_toys, summarize_file
from ddphf.results.agreement import STALE
from ddphf.results.published import PublishedResults
from ddphf.results.registry import check_record, load_function

__all__ = ["other_numbers", "other_records", "other_toys"]

COUNTED = ("mu", "seeds", "fingerprint", "n", "n_failed", "n_ge")
"""What is the same on every machine."""


def other_records(
    loaded: dict[str, Any], files: dict[str, bytes], results: PublishedResults
) -> str:
    """Compare the records that results.json names with what it says, and with what is beside."""
    for entry in results.included:
        name = entry["name"]
        if trouble := check_record(loaded[name]):
            return f"{name}: {trouble}"
        if not _says(entry, summarize_record(name, loaded[name])):
            return f"{name}: results.json says other numbers about it"
        if inspect := publishing_of(loaded[name]).inspect:
            trouble = load_function(inspect)(loaded[name], files[entry["events"]])
            if trouble:
                return f"{name}: {trouble}"
    return ""


def _says(stated: Any, found: Any) -> bool:
    """Return whether a summary has all that is found; a later version may say more."""
    if isinstance(found, dict) and isinstance(stated, dict):
        return all(key in stated and _says(stated[key], found[key]) for key in found)
    if isinstance(found, list) and isinstance(stated, list):
        return len(stated) == len(found) and all(map(_says, stated, found))
    return bool(stated == found)


def other_toys(files: dict[str, bytes], results: PublishedResults) -> str:
    """Compare the files of toys with what results.json says about them."""
    for entry in results.toys:
        statement = next(
            (s for s in results.statements if s["measurement"] == entry["measurement"]), None
        )
        if statement is None or not abs(statement["q0"] - entry["q0"]) <= STALE:
            return f"toys of '{entry['measurement']}' are compared with another q0"
        if entry["file"] is None:
            continue
        toys = read_toys(files[entry["file"]], entry["file"])
        again = summarize_file(entry["file"], toys, entry["measurement"], entry["q0"])
        if wrong := [key for key in COUNTED if again[key] != entry[key]]:
            return f"{entry['file']}: results.json has another {', '.join(wrong)}"
    return ""


def other_numbers(files: dict[str, bytes], results: PublishedResults) -> str:
    """Look for the recorded numbers in README.md."""
    text = files["README.md"].decode()
    for line in [results.workspace_digest, *print_numbers(results).splitlines()]:
        if line not in text:
            return f"README.md does not say '{line}'"
    return ""
