"""The section ``learned`` of the analysis file: which events a template was learned from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddphf.exceptions import ConfigError

__all__ = ["LearnedConfig", "parse_learned", "seal_learned"]

UNSEALED = ("seal", "training")
"""The file of the training half may be moved: its contents are known by their digest."""


@dataclass(frozen=True)
class LearnedConfig:
    """What ``ddphf learn template`` writes.

    Attributes:
        training: Address of the numbers of the events that the template was learned from.
        columns: By whose contents they are known again.
        coincidences: Held-out events with the contents of another one in the training half.
        digests: Of the numbers of either half.
        section: As it is written, but for the address.
    """

    training: str
    columns: tuple[str, ...]
    coincidences: int
    digests: dict[str, str]
    section: Mapping[str, Any]


def parse_learned(data: Mapping[str, Any] | None) -> LearnedConfig | None:
    """Return the section ``learned``, already valid by the schema.

    Raises:
        ConfigError: It is not as ``ddphf learn template`` wrote it.
    """
    if data is None:
        return None
    if seal_learned(data) != data["seal"]:
        raise ConfigError(
            "at learned: was changed since 'ddphf learn template' wrote it, so that nothing tells "
            "which events the template was learned from; learn the template again"
        )
    digests = {key: data[f"{key}_digest"] for key in ("training", "held_out")}
    return LearnedConfig(
        data["training"], tuple(data["columns"]), data.get("coincidences", 0), digests,
        {key: value for key, value in data.items() if key != "training"},
    )  # fmt: skip


def seal_learned(section: Mapping[str, Any]) -> str:
    """Return the digest of a section ``learned``, by which a changed one is known.

    Args:
        section: As the analysis file has it; its own ``seal`` is left out.

    Example:
        >>> one = seal_learned({"coincidences": 0, "training": "a.npz"})
        >>> one == seal_learned({"coincidences": 0, "training": "b.npz", "seal": "x"})
        True
        >>> one == seal_learned({"coincidences": 9, "training": "a.npz"})
        False
    """
    held = {key: value for key, value in section.items() if key not in UNSEALED}
    text = json.dumps(held, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
