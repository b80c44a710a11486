"""Limits of what is read from files, checked before anything is parsed or allocated.

One place for all of them; docs/security.md is their table. They are far above what analyses need
and far below what a machine has; ``DDPHF_LIMITS=4`` in the environment allows four times as much.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.exceptions import InputError, UsageError

__all__ = [
    "DEEPEST",
    "LARGEST_ARRAYS",
    "LARGEST_FILE",
    "LARGEST_YAML",
    "LONGEST_NAME",
    "MOST_ARRAYS",
    "MOST_CELLS",
    "MOST_CONTAINERS",
    "MOST_NUMBERS",
    "MOST_TOYS",
    "MOST_VALUES",
    "MOST_YAML_NODES",
    "JsonSize",
    "check_decoded",
    "check_file",
    "check_json",
    "check_model",
    "gunzip",
    "measure_json",
    "read_bytes",
    "within",
]

LARGEST_FILE = 200_000_000
"""Bytes of a text: JSON (unpacked where it is .gz), CSV."""

MOST_VALUES = 10_000_000
"""Values of a JSON text; the largest workspaces have a tenth of that."""

MOST_CONTAINERS = 2_000_000
"""Lists and objects among them: a few bytes each in the file, hundreds in memory."""

DEEPEST = 250
"""Nested lists and objects of a JSON text."""

LARGEST_YAML = 10_000_000
"""Characters of a YAML text, which is read slowly."""

MOST_YAML_NODES = 1_000_000
"""Keys and values once aliases (``*name``) and merge keys (``<<``) are written out."""

LARGEST_ARRAYS = 4_000_000_000
"""Bytes of all arrays of a file together, or of all columns of a table that are read."""

MOST_ARRAYS = 10_000
"""Arrays of an npz file."""

EXPANSION, FREE = 200, 500_000_000
"""Arrays may take that many times the bytes of their file, or that many bytes without question."""

LONGEST_NAME = 1000
"""Characters of a name in a workspace: figures and tables have to be laid out around it."""

MOST_CELLS = 20_000_000
"""Modifiers times samples times bins of a model: pyhf keeps them all, 100 to 200 bytes each."""

MOST_NUMBERS = 100_000_000
"""Numbers of a scan of masses: hypotheses times bins times tables (yields, errors, both ends of
each shift) of all samples. One table may be named many times, and few of many bins be filled."""

MOST_TOYS = 10_000_000
"""Toys of one ensemble that a bundle may ask to draw again."""

CHUNK = 1 << 20


def within(name: str, what: str, got: float, most: float, *, unit: float = 1.0) -> None:
    """Refuse more than is read.

    Args:
        name: The file, for the message.
        what: What is counted, in the plural, with its unit.
        got: How many there are.
        most: How many are read; the factor ``DDPHF_LIMITS`` of the environment multiplies it.
        unit: What both are divided by in the message.

    Raises:
        InputError: More; says how to allow it.
    """
    if got <= most * _factor():
        return
    shown = f"{got / unit:,.0f}" if got < 1e15 else f"{got / unit:.3g}"
    raise InputError(
        f"{name}: {shown} {what}, more than the {most * _factor() / unit:,.0f} that are read; "
        f"where you trust the file, DDPHF_LIMITS={math.ceil(got / most)} in the environment "
        "allows them"
    )


def _factor() -> float:
    text = os.environ.get("DDPHF_LIMITS", "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1e6:
        raise UsageError(f"DDPHF_LIMITS={text}: expected a number from 1 to 1e6")
    return factor


def read_bytes(path: str | Path, name: str, most: float = LARGEST_FILE) -> bytes:
    """Read a file, or standard input where ``path`` is ``-``, never more than is allowed.

    Raises:
        InputError: It is too large.
        OSError: It cannot be read.
    """
    most_here = int(most * _factor())
    if path == "-":
        # Tests and notebooks have a standard input without bytes.
        stream = getattr(sys.stdin, "buffer", None)
        out = (
            sys.stdin.read(most_here + 1).encode() if stream is None else stream.read(most_here + 1)
        )
    else:
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode):
                within(name, "MB", state.st_size, most, unit=1e6)
            out = file.read(most_here + 1)  # a pipe or a device says no size
    within(name, "MB", len(out), most, unit=1e6)
    return bytes(out)


def check_file(path: str | Path, name: str, most: float = LARGEST_FILE) -> None:
    """Refuse a text that is too large, or no file, before it is opened.

    Raises:
        InputError: It is.
        OSError: There is none.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{name}: is no regular file")
    within(name, "MB", state.st_size, most, unit=1e6)


def gunzip(packed: bytes, name: str, most: float = LARGEST_FILE) -> bytes:
    """Unpack gzip, never more than is allowed.

    Raises:
        InputError: It unpacks to more.
        OSError: It is no gzip.
        EOFError: It is not complete.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            out = stream.read(int(most * _factor()) + 1)
    except zlib.error as error:
        raise OSError(str(error)) from None
    within(name, "MB or more when unpacked", len(out), most, unit=1e6)
    return out


@dataclass(frozen=True)
class JsonSize:
    """What a JSON text holds at most.

    Attributes:
        values: Numbers, texts, ..., lists and objects.
        containers: Lists and objects among them.
        depth: Deepest nesting.
    """

    values: int
    containers: int
    depth: int


def measure_json(raw: bytes) -> JsonSize:
    r"""Count what a JSON text holds, without parsing it; a text that is no JSON may give any size.

    Example:
        >>> measure_json(b'{"a": [1, 2, "[,\\"["]}')
        JsonSize(values=5, containers=2, depth=2)
    """
    separators = containers = depth = deepest = 0
    inside, escaped = False, False
    view = memoryview(raw)
    for start in range(0, len(raw), CHUNK):
        chunk = bytes(view[start : start + CHUNK])
        if escaped:
            chunk = b" " + chunk[1:]
        if b"\\" in chunk:
            chunk = chunk.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        escaped = chunk.endswith(b"\\")
        codes = np.frombuffer(chunk, np.uint8)
        quoted = np.bitwise_xor.accumulate(codes == ord('"'))  # whether a text is open
        marks = codes[quoted == inside]  # those outside of texts, and closing quotes
        inside ^= bool(quoted[-1])
        opens = (marks == ord("[")) | (marks == ord("{"))
        closes = (marks == ord("]")) | (marks == ord("}"))
        separators += int(np.count_nonzero(marks == ord(",")))
        containers += int(np.count_nonzero(opens))
        steps = np.cumsum((opens.astype(np.int8) - closes.astype(np.int8))[opens | closes],
                          dtype=np.int64)  # fmt: skip
        if steps.size:
            deepest = max(deepest, depth + int(steps.max()))
            depth += int(steps[-1])
    return JsonSize(separators + containers + 1, containers, deepest)


def check_json(raw: bytes, name: str) -> JsonSize:
    """Refuse a JSON text that would take too much memory or too deep a stack.

    Raises:
        InputError: Says which limit.
    """
    within(name, "MB", len(raw), LARGEST_FILE, unit=1e6)
    size = measure_json(raw)
    within(name, "lists and objects", size.containers, MOST_CONTAINERS)
    within(name, "values", size.values, MOST_VALUES)
    if size.depth > DEEPEST:
        raise InputError(
            f"{name}: nested too deeply, {size.depth} levels of lists and objects, expected at "
            f"most {DEEPEST}"
        )
    return size


def check_model(channels: Sequence[Any]) -> None:
    """Refuse a model that takes gigabytes, however short its text: pyhf's arrays are dense.

    Args:
        channels: Of a workspace that passed its schema.

    Raises:
        InputError: Says how large it is.
    """
    samples = {sample["name"] for channel in channels for sample in channel["samples"]}
    modifiers = {
        (modifier["type"], modifier["name"])
        for channel in channels
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
    }
    bins = sum(len(channel["samples"][0]["data"]) for channel in channels if channel["samples"])
    within(
        "workspace", f"numbers of its model ({len(modifiers)} modifiers x {len(samples)} samples x "
        f"{bins} bins)", len(modifiers) * len(samples) * bins, MOST_CELLS,
    )  # fmt: skip


def check_decoded(size: float, packed: float, name: str) -> None:
    """Refuse arrays that are too large, alone or against the file that they come from.

    Args:
        size: Bytes that they take in memory.
        packed: Bytes of the file.
        name: The file, for messages.

    Raises:
        InputError: Says which limit.
    """
    within(name, "MB of numbers", size, LARGEST_ARRAYS, unit=1e6)
    within(name, "MB of numbers from so small a file", size, max(EXPANSION * packed, FREE),
           unit=1e6)  # fmt: skip
