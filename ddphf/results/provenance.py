"""Where numbers come from: the versions behind them."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from ddphf import __version__

PACKAGES = ("pyhf", "jax", "numpy", "scipy", "iminuit")


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
