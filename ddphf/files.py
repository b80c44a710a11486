"""JSON text that diffs well, and writing that never leaves half a file behind."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from ddphf.exceptions import InputError
from ddphf.guards import LARGEST_FILE, check_json, read_bytes

__all__ = [
    "is_file",
    "parse_json",
    "read_input",
    "read_json",
    "to_json",
]


def to_json(data: Any) -> str:
    """Return deterministic JSON: sorted keys, two spaces, a flat list of numbers on one line.

    Args:
        data: Dictionaries, lists, strings, finite numbers, booleans and None.

    Raises:
        ValueError: A NaN or infinity, which JSON does not have.

    Example:
        >>> print(to_json({"b": [1.0, 2.5], "a": None}), end="")
        {
          "a": null,
          "b": [1.0, 2.5]
        }
    """
    return _dump(data, "") + "\n"


def _dump(node: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(node, dict) and node:
        items = [f"{inner}{json.dumps(k)}: {_dump(node[k], inner)}" for k in sorted(node)]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(node, (list, tuple)) and node:
        if all(isinstance(item, (int, float)) for item in node):
            return "[" + ", ".join(_scalar(item) for item in node) + "]"
        return "[\n" + ",\n".join(inner + _row(item, inner) for item in node) + f"\n{indent}]"
    return _scalar(list(node) if isinstance(node, tuple) else node)


def _row(node: Any, indent: str) -> str:
    """Write a list's item: a short flat record, such as one fitted parameter, on one line."""
    if (
        isinstance(node, dict)
        and node
        and not any(isinstance(v, (dict, list)) for v in node.values())
    ):
        items = (f"{json.dumps(key)}: {_scalar(node[key])}" for key in sorted(node))
        return "{" + ", ".join(items) + "}"
    return _dump(node, indent)


def _scalar(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    return json.dumps(value, allow_nan=False)


def read_json(source: str) -> Any:
    """Read JSON from a path, or from standard input where ``source`` is ``-``.

    Raises:
        InputError: The file is missing, unreadable, or no JSON (NaN and Infinity included).
    """
    name = "standard input" if source == "-" else source
    return parse_json(read_input(source, name), name)


def read_input(source: str | Path, name: str, most: float = LARGEST_FILE) -> bytes:
    """Read a file that somebody names, or standard input where it is called ``-``.

    Args:
        source: The path.
        name: What to call it in messages.
        most: Bytes that are read at most.

    Raises:
        InputError: The file is missing, unreadable, or too large.
    """
    try:
        return read_bytes(source, name, most)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{name}: cannot be read ({reason})") from None


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON strictly, within the limits of :mod:`ddphf.guards`.

    Args:
        text: The text, or its bytes in UTF-8.
        name: What to call it in messages.

    Raises:
        InputError: No JSON, NaN or Infinity, a key twice in one object, or too much to read.

    Example:
        >>> parse_json(b'{"a": [1.0]}', "a.json")
        {'a': [1.0]}
    """
    check_json(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), name)
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: cannot be read ({error})") from None

    def refuse(constant: str) -> Any:
        raise InputError(f"{name}: holds {constant}, which is not JSON; replace it by a number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise InputError(
                f"{name}: key '{key}' appears twice in one object; JSON readers keep the last one "
                "silently, so remove the others"
            )
        return out

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        xml = text.lstrip().startswith("<")
        remedy = "; 'ddphf convert' reads HistFactory XML" if xml else ""
        raise InputError(
            f"{name}: not JSON (line {error.lineno}, column {error.colno}: {error.msg}){remedy}"
        ) from None
    except RecursionError:
        raise InputError(f"{name}: not a workspace, nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{name}: not JSON ({error})") from None


def is_file(path: Path) -> bool:
    """Return whether a file is there: a name longer than the system allows is none."""
    try:
        return path.is_file()
    except OSError:
        return False
