"""YAML read strictly: no duplicate keys, no code, no bombs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ddphf.exceptions import ConfigError, InputError
from ddphf.guards import LARGEST_YAML, MOST_YAML_NODES, within

__all__ = ["parse_yaml"]

MERGE = "tag:yaml.org,2002:merge"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
LONGEST_TIME = 100
"""Characters of a sexagesimal number of YAML 1.1 (``1:30:00``): it takes the square of them."""

BEYOND = 1e18
"""A count that is as good as any larger one: aliases of aliases double it line by line."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with two traps removed: duplicate keys, and 1e4 read as a string."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:  # `<<: *anchor` may be overridden
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
    """Return what YAML says, within the limits of :mod:`ddphf.guards`.

    Raises:
        ConfigError: It is no YAML, repeats a key, or says too much.

    Example:
        >>> parse_yaml("a: [1e4, text]")
        {'a': [10000.0, 'text']}
    """
    try:
        within("YAML", "MB", len(text), LARGEST_YAML, unit=1e6)
        loader = _Loader(text)
        try:
            # Counted on the nodes: constructing them is what merge keys make explode.
            node = loader.get_single_node()
            size = 0.0 if node is None else _count(node, {})
            if size == float("inf"):
                raise ConfigError("an alias (*name) lies inside what it stands for")
            within(
                "YAML", "keys and values once its aliases (*name) are expanded", size,
                MOST_YAML_NODES,
            )  # fmt: skip
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"not YAML ({where}{problem})") from None
    except InputError as error:
        raise ConfigError(str(error)) from None
    except RecursionError:
        raise ConfigError("not YAML (nested too deeply)") from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"not YAML ({error})") from None


def _count(node: Any, known: dict[int, float]) -> float:
    """Return how many nodes a node stands for, aliases expanded; a cycle is infinite.

    What a merge key (``<<``) takes in counts as often as it is taken in.
    """
    if isinstance(node, yaml.ScalarNode):
        if node.tag in NUMBERS and ":" in node.value and len(node.value) > LONGEST_TIME:
            raise ConfigError(
                f"line {node.start_mark.line + 1}: {len(node.value)} characters of numbers and "
                "colons; quote them if they are text"
            )
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")
        pairs = isinstance(node, yaml.MappingNode)
        children = [child for pair in node.value for child in pair] if pairs else node.value
        total = 1 + sum(_count(child, known) for child in children)
        known[id(node)] = total if total == float("inf") else min(total, BEYOND)
    return known[id(node)]
