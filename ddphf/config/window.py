"""A box of bins as a signal, as written in the analysis file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ddphf.exceptions import ConfigError

__all__ = ["WindowConfig", "parse_window"]


@dataclass(frozen=True)
class WindowConfig:
    """A box of bins as a signal: by its bins or by its edges, one of the two is None.

    Attributes:
        start: First bin along each axis.
        size: Number of bins.
        edges: Lower and upper edge along each axis.
        template: ``flat``, ``sqrt`` (of the events of both samples) or ``gaussian``.
        events: Of the signal in all bins.
    """

    start: tuple[int, ...] | None
    size: tuple[int, ...] | None
    edges: tuple[tuple[float, float], ...] | None
    template: Literal["flat", "sqrt", "gaussian"]
    events: float


def parse_window(data: dict[str, Any] | None, where: str) -> WindowConfig | None:
    """Return the box of bins of a signal, or None.

    Raises:
        ConfigError: It is not given by either start and size, or edges.
    """
    if data is None:
        return None
    if ("edges" in data) == ("start" in data or "size" in data):
        raise ConfigError(f"{where}: 'edges', or 'start' and 'size', expected one of the two")
    if "edges" not in data and ("start" not in data or "size" not in data):
        missing = "size" if "start" in data else "start"
        raise ConfigError(f"{where}: '{missing}' is missing")
    edges = data.get("edges")
    return WindowConfig(
        start=None if edges is not None else tuple(data["start"]),
        size=None if edges is not None else tuple(data["size"]),
        edges=None if edges is None else tuple((float(a), float(b)) for a, b in edges),
        template=data.get("template", "flat"),
        events=float(data["events"]),
    )
