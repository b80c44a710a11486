"""Texts of files by anybody, made fit for a terminal, a figure and a page."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "LONGEST_LINE",
    "clean_line",
    "clean_text",
    "cut_middle",
    "did_you_mean",
    "is_number",
    "list_names",
    "short_error",
]  # fmt: skip

LONGEST_LINE = 2000
"""Characters of one message on a terminal."""


def clean_text(node: Any) -> Any:
    r"""Return text, or JSON data of texts, that commands no terminal and reads as it is written.

    White space of any kind becomes a space. Replaced are control characters (ESC, the C1 ones),
    what turns the direction of writing or has no width, halves of characters and unassigned ones.

    Example:
        >>> clean_text({"names": ["mu\x1b[31m", "a\nb", 1]})
        {'names': ['mu�[31m', 'a b', 1]}
        >>> clean_text("safe\u202egpj.exe")
        'safe�gpj.exe'
    """
    if isinstance(node, str):
        if node.isprintable():
            return node
        return "".join(_clean(character) for character in node)
    if isinstance(node, dict):
        out: dict[Any, Any] = {}
        for key, value in node.items():
            name = clean_text(key)
            while name in out:  # two names that differ in what is replaced stay two
                name += "\ufffd"
            out[name] = clean_text(value)
        return out
    if isinstance(node, (list, tuple)):
        return type(node)(clean_text(value) for value in node)
    return node


def _clean(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\ufffd"


def clean_line(text: str) -> str:
    r"""Return a message as one line of a length that a terminal can show.

    Example:
        >>> len(clean_line("x" * 10_000)), clean_line("a: no\x07 such file")
        (2000, 'a: no� such file')
    """
    line: str = clean_text(text)
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2
    return f"{line[: half - 2]} ... {line[3 - half :]}"


def cut_middle(text: str, most: int = 120) -> str:
    """Return a text, cut in its middle where it is longer.

    Example:
        >>> cut_middle("a" * 100 + "b" * 100, 11)
        'aaaa...bbbb'
    """
    side = (most - 3) // 2
    return text if len(text) <= most else f"{text[:side]}...{text[-side:]}"


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Return a hint at the names nearest to a mistyped one; empty where none is near.

    Example:
        >>> did_you_mean("discvery", ["discovery", "known_background"])
        "did you mean 'discovery'? "
        >>> did_you_mean("x", ["discovery"])
        ''
    """
    near = difflib.get_close_matches(name, list(known), n=most)
    return "did you mean {}? ".format(" or ".join(f"'{n}'" for n in near)) if near else ""


def list_names(names: Sequence[str], most: int = 5) -> str:
    """Join the first names.

    Example:
        >>> list_names(["a", "b", "c"], most=2)
        'a, b, ...'
    """
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def short_error(error: Exception) -> str:
    r"""Return the first line of what a library says, cut; its kind where it says nothing.

    Example:
        >>> short_error(ValueError("no header\nat byte 3")), short_error(KeyError())
        ('no header', 'KeyError')
    """
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line if len(line) < 120 else line[:117] + "..."


def is_number(text: str) -> bool:
    """Return whether a cell of a table is a number, as Python reads it.

    Example:
        >>> is_number("1e-3"), is_number("0,5")
        (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True
