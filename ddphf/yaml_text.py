"""YAML read strictly: no duplicate keys, no code, no bombs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ddphf.exceptions import ConfigError

__all__ = ["parse_yaml"]

MOST_NODES = 1_000_000
"""Values after aliases are expanded: a few lines of them can stand for more than any memory."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with two traps removed: duplicate keys, and 1e4 read as a string."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor` may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} is not text; quote it"
                )
            if key in seen:
                raise ConfigError(
                    f"line {key_node.start_mark.line + 1}: key '{key}' appears twice; YAML would "
                    "keep the last one silently"
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str) -> Any:
    """Return what YAML says.

    Raises:
        ConfigError: It is no YAML, repeats a key, or says more than :data:`MOST_NODES` values.

    Example:
        >>> parse_yaml("a: [1e4, text]")
        {'a': [10000.0, 'text']}
    """
    try:
        data = yaml.load(text, Loader=_Loader)
        size = _count(data, {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"not YAML ({where}{problem})") from None
    except RecursionError:
        raise ConfigError("not YAML (nested too deeply)") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"not YAML ({error})") from None
    if size == float("inf"):
        raise ConfigError("an alias (*name) lies inside what it stands for")
    if size > MOST_NODES:
        raise ConfigError(
            f"more than {MOST_NODES} values once its aliases (*name) are expanded; write them out"
        )
    return data


def _count(node: Any, known: dict[int, float]) -> float:
    """Return how many values a node stands for, each object counted once; a cycle is infinite."""
    if not isinstance(node, (dict, list, tuple, set)):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")
        children = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]
