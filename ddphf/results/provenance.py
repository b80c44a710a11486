"""Where numbers come from: versions, digests of what was read, and data that chose a hypothesis.

A hypothesis that was chosen on the data it is tested on has a local Z, and carries a mark. pyhf's
schema has one place where a note about a model can stand without changing it: settings of a
parameter that no modifier has. A workspace carries the mark there, in every measurement, so that it
is not lost with the sidecar.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, ClassVar, Protocol, TypeVar

from scipy.stats import norm

from ddphf import __version__
from ddphf.results.shapes import ANY, COUNT, HOLE, TEXT, fields, maybe

__all__ = [
    "DATA_DIRECTED", "MARK", "Mark", "data_digest", "describe_global", "digest_of_built",
    "digests_of_data", "json_digest", "made_of", "make_mark", "make_provenance", "mark_of",
    "poi_bounds_stated", "read_mark", "seal_of",
]  # fmt: skip

PACKAGES = ("pyhf", "jax", "numpy", "scipy", "iminuit")


class _Record(Protocol):
    """A frozen dataclass that states its provenance."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def provenance(self) -> dict[str, Any]: ...


Record = TypeVar("Record", bound=_Record)


def make_provenance(**extra: Any) -> dict[str, Any]:
    """Return the versions behind a number, and whatever else is given (digests, files, seeds).

    No time and no path: the same input gives the same bytes.
    """
    versions = {name: metadata.version(name) for name in PACKAGES}
    versions["ddphf"] = __version__
    versions["python"] = platform.python_version()
    return {"versions": versions, **extra}


def json_digest(document: Any) -> str:
    """Return pyhf's digest of a workspace or of another JSON document, as records quote it.

    Example:
        >>> json_digest({"b": 1, "a": [2.0]}) == json_digest({"a": [2.0], "b": 1})
        True
    """
    import pyhf  # slow to load

    return f"sha256:{pyhf.utils.digest(document)}"


def made_of(record: Record, workspace: Mapping[str, object]) -> Record:
    """Return a record that says which workspace and versions it was made with.

    What it states of itself, such as bounds of the POI that are not the workspace's, stays.

    Args:
        record: What was found in a model of the workspace.
        workspace: The pyhf workspace.
    """
    stated = make_provenance(workspace_digest=json_digest(workspace), **record.provenance)
    return replace(record, provenance=stated)


def poi_bounds_stated(bounds: tuple[float, float] | None) -> dict[str, Any]:
    """Return what a record's provenance says of bounds that replace those of the measurement.

    Example:
        >>> poi_bounds_stated((0.0, 20.0)), poi_bounds_stated(None)
        ({'poi_bounds': [0.0, 20.0]}, {})
    """
    return {} if bounds is None else {"poi_bounds": list(bounds)}


MARK = "data_directed"

PATTERN = re.compile(
    rf"{MARK}:global_p=(?P<p>[0-9.e+-]+|none):error=(?P<error>[0-9.e+-]+|none)"
    r":local_z=(?P<z>[0-9.e+-]+|none):windows=(?P<windows>\d{1,15}):data=(?P<data>[0-9a-f]{16})"
)

DATA_DIRECTED = maybe(
    fields(
        {"global": fields({"p": HOLE, "error": HOLE, "z": HOLE}), "windows": COUNT, "data": TEXT},
        {"local_z": HOLE, "note": ANY},
    )
)
"""JSON Schema of the mark in a record."""


@dataclass(frozen=True)
class Mark:
    """What a workspace says of how its signal was found.

    Attributes:
        global_p: How often the best of the windows is as good without a signal; None: not known.
        error: Statistical error of it, or None.
        local_z: Z of the window in the search, or None.
        windows: How many were compared.
        data: First 16 digits of the digest of the data that chose it.
    """

    global_p: float | None
    error: float | None
    local_z: float | None
    windows: int
    data: str

    @property
    def name(self) -> str:
        """The mark as the name of a parameter."""
        p, error, z = (
            "none" if x is None else f"{x:.6g}" for x in (self.global_p, self.error, self.local_z)
        )
        return (
            f"{MARK}:global_p={p}:error={error}:local_z={z}:windows={self.windows}:data={self.data}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        z = None
        if self.global_p is not None and 0 < self.global_p < 1:
            z = float(norm.isf(self.global_p))
        return {
            "local_z": self.local_z,
            "global": {"p": self.global_p, "error": self.error, "z": z},
            "windows": self.windows,
            "data": self.data,
            "note": "Z and p of the fit are local: its window was chosen on these data",
        }

    def describe(self) -> str:
        """Return the sentence that stands beside every local significance.

        Example:
            >>> Mark(0.0069, 2e-5, 5.0, 164836, "0" * 16).describe()
            'the signal is a window chosen on these data, out of 164836: every Z and p here is \
local; global p = 0.0069 +- 2e-05 (2.46 sigma)'
        """
        return (
            f"the signal is a window chosen on these data, out of {self.windows}: every Z and p "
            f"here is local; global {describe_global(self.to_dict()['global'])}"
        )


def data_digest(tested: Any, partner: Any, edges: Sequence[Sequence[float]]) -> str:
    """Return the digest by which data are known again: both histograms and their binning.

    Args:
        tested: Contents in C order.
        partner: The same of the partner.
        edges: Of each axis.

    Example:
        >>> one = data_digest([1, 2], [3, 4], [[0, 1, 2]])
        >>> one == data_digest([1.0, 2.0], [3.0, 4.0], [[0.0, 1.0, 2.0]]), one[:7]
        (True, 'sha256:')
    """
    content = {
        "tested": [float(x) for x in tested],
        "partner": [float(x) for x in partner],
        "edges": [[float(x) for x in axis] for axis in edges],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def digest_of_built(
    workspace: Mapping[str, object], sidecar: Mapping[str, Any] | None
) -> str | None:
    """Return the digest of the data of a built workspace, as a search of these data states it.

    Args:
        workspace: Of ``ddphf build``.
        sidecar: Beside it; without one the samples and their binning are not known: None.
    """
    if sidecar is None or "pairing" not in sidecar or "binning" not in sidecar:
        return None
    observations: Any = workspace["observations"]
    counts = {entry["name"]: entry["data"] for entry in observations}
    names = [sidecar["pairing"][role] for role in ("tested", "partner")]
    if any(name not in counts for name in names):
        return None
    edges = [axis["edges"] for axis in sidecar["binning"]["axes"]]
    return data_digest(counts[names[0]], counts[names[1]], edges)


def digests_of_data(
    workspace: Mapping[str, object], sidecar: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Return the digests of the data that records beside a workspace may be about.

    They are its own, and, where its signal was learned from one half of a sample for the other, the
    digest of the whole sample.
    """
    own = digest_of_built(workspace, sidecar)
    learned = None if own is None or sidecar is None else sidecar.get("learned")
    whole = None if learned is None else learned.get("sample_digest")
    return tuple(str(digest) for digest in (own, whole) if digest is not None)


def describe_global(entry: Mapping[str, Any]) -> str:
    """Return a global p-value in words.

    Example:
        >>> describe_global({"p": None}), describe_global({"p": 0.56, "error": 0.03, "z": -0.15})
        ('p not resolved', 'p = 0.56 +- 0.03 (-0.15 sigma)')
        >>> describe_global({"p": None, "error": None, "z": 40.2})
        'p below 1e-300 (40.20 sigma)'
    """
    z = "" if entry.get("z") is None else f" ({entry['z']:.2f} sigma)"
    if entry["p"] is None:
        return f"p below 1e-300{z}" if z else "p not resolved"
    error = f" +- {entry['error']:.2g}" if entry.get("error") else ""
    return f"p = {entry['p']:.4g}{error}{z}"


def seal_of(document: Mapping[str, Any]) -> str:
    """Return the digest of a frozen window and of what chose it, by which a changed file is known.

    Args:
        document: An analysis file with the section ``data_directed``; its own ``seal`` is left out.

    Example:
        >>> seal_of({"data_directed": {"rank": 1}})[:7]
        'sha256:'
    """
    section = {k: v for k, v in document["data_directed"].items() if k != "seal"}
    edges = {
        role: window.get("edges", window)
        for role in ("tested", "partner")
        if (window := ((document.get(role) or {}).get("signal") or {}).get("window")) is not None
    }
    text = json.dumps([section, edges], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def make_mark(section: Mapping[str, Any]) -> Mark:
    """Return the mark of the section ``data_directed`` of an analysis file."""
    overall, local = section["global"], section["local"]
    digest = str(section["data_digest"]).removeprefix("sha256:")
    return Mark(
        overall["p"], overall.get("error"), local.get("z"), section["windows"]["n"], digest[:16]
    )


def read_mark(workspace: Mapping[str, object]) -> Mark | None:
    """Return the mark of a workspace, None where there is none.

    Example:
        >>> mark = Mark(0.0069, 2e-5, 5.0, 164836, "0" * 16)
        >>> config = {"poi": "mu", "parameters": [{"name": mark.name}]}
        >>> read_mark({"measurements": [{"name": "m", "config": config}]}) == mark
        True
    """
    measurements: Any = workspace.get("measurements", ())
    for measurement in measurements:
        for parameter in measurement["config"]["parameters"]:
            found = PATTERN.fullmatch(str(parameter["name"]))
            if found is not None:
                return _read(found)
    return None


def mark_of(workspace: Mapping[str, object]) -> dict[str, Any] | None:
    """Return the mark of a workspace as records have it, None where there is none."""
    mark = read_mark(workspace)
    return None if mark is None else mark.to_dict()


def _read(found: re.Match[str]) -> Mark | None:
    try:
        p, error, z = (
            None if found[key] == "none" else float(found[key]) for key in ("p", "error", "z")
        )
    except ValueError:  # digits and signs that are no number: not ours
        return None
    return Mark(p, error, z, int(found["windows"]), found["data"])
