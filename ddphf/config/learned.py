"""The section ``learned`` of the analysis file: which events a template was learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LearnedConfig", "parse_learned"]


@dataclass(frozen=True)
class LearnedConfig:
    """What ``ddphf learn template`` writes.

    Attributes:
        training: Address of the numbers of the events that the template was learned from.
        columns: By whose contents they are known again.
        coincidences: Held-out events with the contents of another one in the training half.
        digests: Of the numbers of either half.
    """

    training: str
    columns: tuple[str, ...]
    coincidences: int
    digests: dict[str, str]


def parse_learned(data: Mapping[str, Any] | None) -> LearnedConfig | None:
    """Return the section ``learned``, already valid by the schema."""
    if data is None:
        return None
    digests = {key: data[f"{key}_digest"] for key in ("training", "held_out")}
    return LearnedConfig(
        data["training"], tuple(data["columns"]), data.get("coincidences", 0), digests
    )
