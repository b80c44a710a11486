"""Where numbers come from: the versions behind them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any, ClassVar, Protocol, TypeVar

from ddphf import __version__

__all__ = ["json_digest", "made_of", "make_provenance", "poi_bounds_stated"]

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
