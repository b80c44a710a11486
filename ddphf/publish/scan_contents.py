"""Level 0 of the bundle of a mass scan: complete, unchanged, all about the same hypotheses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import norm

from ddphf.arrays import Spec
from ddphf.files import parse_json
from ddphf.likelihood.reference import ReferenceModel
from ddphf.masses.patchset import read_hypotheses
from ddphf.masses.portable import FILES as ARRAYS
from ddphf.masses.portable import read_array_files, script
from ddphf.masses.repeat import Repeatable
from ddphf.publish.contents import (
    PNG,
    SUMS,
    asking,
    is_text,
    measure_files,
    other_requirements,
    wrong_sums,
)
from ddphf.results.published import INTERPOLATION
from ddphf.results.registry import check_record, known_part
from ddphf.results.verified import PASS, Check
from ddphf.statistics.signed import signed_z

__all__ = ["ScanBundle", "check_scan_contents", "is_scan", "scan_script"]

REQUIRED = (
    "CITATION.cff", "LICENSE", "README.md", SUMS, "masses.json", "points.json",
    "requirements.txt", "verify_scan.py",
)  # fmt: skip
PATCHSET = ("BkgOnly.json", "patchset.json")
FIGURES = ("masses_limits.png", "masses_mu.png", "masses_p0.png", "masses_toys.png")
TEXTS = ("CITATION.cff", "LICENSE", "README.md", SUMS, "requirements.txt")


@dataclass(frozen=True)
class ScanBundle:
    """A bundle of a scan whose contents passed level 0.

    Attributes:
        files: Content by name.
        record: masses.json, as far as this version knows it.
        points: points.json.
        source: The hypotheses.
    """

    files: dict[str, bytes]
    record: Spec
    points: Spec
    source: Repeatable

    @property
    def name(self) -> str:
        """Of the publication."""
        return str(self.points["name"])

    def reference(self, point: Spec) -> ReferenceModel:
        """Return the likelihood of a recorded point."""
        return ReferenceModel(dict(self.source.workspace(point["index"])))


def is_scan(files: Mapping[str, bytes]) -> bool:
    """Return whether the files are those of a mass scan, and not of one workspace."""
    return "masses.json" in files and "workspace.json" not in files


def scan_script() -> bytes:
    """Return verify_scan.py, which needs pyhf alone."""
    text = Path(__file__).with_name("verify_scan.py").read_bytes()
    return text.replace(b"@MAKER@", hashlib.sha256(script()).hexdigest().encode())


def check_scan_contents(files: dict[str, bytes]) -> tuple[list[Check], ScanBundle | None]:
    """Run level 0 of a scan's bundle; arguments and results are as of ``check_contents``."""
    checks, ask = asking()
    loaded: dict[str, Any] = {}
    made: list[Repeatable] = []

    def load() -> str:
        names = [name for name in sorted(files) if name.endswith(".json")]
        measure_files(files, names)
        for name in names:
            loaded[name] = parse_json(files[name], name)
        return ""

    def records() -> str:
        for name in ("masses.json", "points.json"):
            if trouble := check_record(loaded[name]):
                return f"{name}: {trouble}"
            if said := known_part(loaded[name])[1]:
                checks.append(Check(0, f"{name}, of a later version", PASS, said))
        return ""

    def hypotheses() -> str:
        made.append(_read(files, loaded))
        return _other_hypotheses(made[0])

    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("files", lambda: _strange(files) or other_requirements(files)),
        ("SHA256SUMS", lambda: wrong_sums(files)),
        ("JSON without NaN", load),
        ("masses.json and points.json", records),
        ("hypotheses", hypotheses),
    )
    for what, question in steps:
        if not ask(what, question):
            return checks, None
    source, points = made[0], loaded["points.json"]
    both = "patchset.json" in files and "scan.json" in files
    answers = [
        ask("points are of these hypotheses", lambda: _other_points(source, points)),
        ask("numbers of the record fit together", lambda: _other_numbers(source.record)),
        *([ask("the patchset makes the workspaces of the arrays",
               lambda: _other_patchset(source, loaded))] if both else []),
    ]  # fmt: skip
    if not all(answers):
        return checks, None
    return checks, ScanBundle(files, source.record, points, source)


def _strange(files: Mapping[str, bytes]) -> str:
    """Return what is missing, and what no bundle holds."""
    if missing := [name for name in REQUIRED if name not in files]:
        return f"not in the archive: {', '.join(missing)}"
    for group in (PATCHSET, ARRAYS):
        if 0 < len(here := [name for name in group if name in files]) < len(group):
            return f"{', '.join(group)} belong together; here is only {', '.join(here)}"
    if not any(group[0] in files for group in (PATCHSET, ARRAYS)):
        return "neither a patchset nor arrays say what the hypotheses are"
    for name, content in sorted(files.items()):
        if name not in (*REQUIRED, *PATCHSET, *ARRAYS, *FIGURES):
            return f"'{name}' is no file of a bundle of a scan"
        if name in FIGURES and not content.startswith(PNG):
            return f"{name}: is no PNG"
        if name in TEXTS and not is_text(content):
            return f"{name}: holds something that is no text"
    for name, own in (("verify_scan.py", scan_script()), ("make_workspace.py", script())):
        if files.get(name, own) != own:
            return f"{name} is not the script that ddphf publishes; do not run it"
    return ""


def _read(files: Mapping[str, bytes], loaded: Mapping[str, Any]) -> Repeatable:
    record = known_part(loaded["masses.json"])[0]
    if "scan.json" in files:
        return Repeatable.of_scan(read_array_files(files, loaded["scan.json"]), record)
    found = read_hypotheses(
        loaded["BkgOnly.json"], loaded["patchset.json"], record["parameter"]["name"]
    )
    return Repeatable.of_patchset(found, record)


def _other_hypotheses(source: Repeatable) -> str:
    """Compare the values, names and POI of the record with those of the hypotheses."""
    record, n = source.record, len(source)
    if len(record["values"]) != n:
        return f"masses.json has {len(record['values'])} hypotheses, there are {n}"
    own = source.found.values if source.scan is None else source.scan.parameter.values  # type: ignore[union-attr]
    if own.tolist() != record["values"]:
        return "masses.json has other values of the parameter"
    names = [row.get("name") for row in record["hypotheses"]]
    if source.found is not None and any(names) and names != list(source.found.names):
        return "masses.json names other patches"
    return ""


def _other_points(source: Repeatable, points: Spec) -> str:
    if points["interpolation"] != INTERPOLATION:
        return f"made with interpolation codes {points['interpolation']}, not {INTERPOLATION}"
    indices = [point["index"] for point in points["points"]]
    if tuple(indices) != source.sampled:
        return f"points.json has hypotheses {indices}, expected {list(source.sampled)}"
    return ""


def _other_numbers(record: Spec) -> str:
    """Ask whether z0 and p0 follow from q0, and the global p is of the largest z."""
    z = []
    for index, row in enumerate(record["hypotheses"]):
        if row["q0"] is None:
            if row["z0"] is not None or row["p0"] is not None:
                return f"hypothesis {index} has z0 or p0, but no q0"
            continue
        z.append(float(signed_z(row["q0"])))
        if row["z0"] is None or row["p0"] is None or abs(row["z0"] - z[-1]) > 1e-9:
            return f"hypothesis {index}: z0 does not follow from q0"
        if abs(row["p0"] / float(norm.sf(z[-1])) - 1) > 1e-6:
            return f"hypothesis {index}: p0 does not follow from q0"
        for limit in (row["limit"], *row.get("limits", ())):
            if limit.get("level") not in record["levels"]:
                return f"hypothesis {index} has a limit at a level that masses.json does not state"
    overall = record["global"]
    if overall is not None and (not z or abs(overall["z0"] - max(0.0, *z)) > 1e-9):
        return "the global p is not of the largest local z"
    return ""


def _other_patchset(source: Repeatable, loaded: Mapping[str, Any]) -> str:
    """Compare every workspace of the patchset with that of the arrays."""
    found = read_hypotheses(
        loaded["BkgOnly.json"], loaded["patchset.json"], source.record["parameter"]["name"]
    )
    if found.values.tolist() != source.record["values"]:
        return "patchset.json has other values of the parameter"
    for index in range(len(found)):
        if found.workspace(index) != source.workspace(index):
            return f"patch '{found.names[index]}' is not hypothesis {index} of the arrays"
    return ""
