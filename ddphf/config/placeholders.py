"""Names of samples that a ratio file states once for several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ddphf.exceptions import ConfigError
from ddphf.text import did_you_mean

__all__ = ["fill", "match_samples"]


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """Return a text with its placeholders replaced; anything else as it is.

    Example:
        >>> fill("in.npz:{channel}_{sample}_up", {"{channel}": "muon", "{sample}": "fake"})
        'in.npz:muon_fake_up'
    """
    if not isinstance(value, str):
        return value
    for placeholder, name in names.items():
        value = value.replace(placeholder, name)
    return value


def match_samples(patterns: Sequence[str], known: Sequence[str], where: str = "") -> list[str]:
    """Return which ``CHANNEL/SAMPLE`` some pattern matches, in their order.

    Args:
        patterns: With ``*`` for any.
        known: All of them.
        where: Path of the patterns, to refuse one that matches nothing; nothing is refused without.

    Raises:
        ConfigError: A pattern matches nothing.

    Example:
        >>> match_samples(["*/fake"], ["muon/fake", "muon/signal"])
        ['muon/fake']
    """
    for pattern in patterns if where else ():
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = did_you_mean(pattern, known)
            raise ConfigError(
                f"{where}: '{pattern}' matches no sample; {hint}there are {', '.join(known)}"
            )
    return [name for name in known if any(fnmatchcase(name, p) for p in patterns)]
