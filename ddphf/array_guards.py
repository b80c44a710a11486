"""Limits of numpy's files: headers are compared with what is there before anything is allocated."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ddphf.exceptions import InputError
from ddphf.guards import MOST_ARRAYS, check_decoded, within
from ddphf.text import short_error

__all__ = ["check_arrays", "load_arrays"]

NUMPY_HEADER = 4096
"""Bytes of the header of one array, more than numpy writes for a record of 64 columns."""


def check_arrays(
    file: str | Path | BinaryIO, name: str, wanted: Sequence[str] | None = None
) -> float:
    """Refuse an npz or npy file whose arrays are not as large as they say, or too large.

    Args:
        file: A path, or an open file, whose position is kept.
        name: What to call it in messages.
        wanted: Arrays that will be read, all by default.

    Returns:
        Bytes that they take in memory.

    Raises:
        InputError: Says which limit.
        ValueError: It is damaged, or no such file.
        OSError: It cannot be read.
    """
    if isinstance(file, (str, Path)):
        with open(file, "rb") as stream:
            return check_arrays(stream, name, wanted)
    start = file.tell()
    try:
        packed = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(2) != b"PK":
            file.seek(0)
            size = float(_array_size(file, packed, name))
        else:
            size = _members_size(file, packed, name, wanted)
    except (EOFError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError,
            RuntimeError, SyntaxError) as error:  # fmt: skip
        raise ValueError(f"damaged ({type(error).__name__})") from None
    finally:
        file.seek(start)
    check_decoded(size, packed, name)
    return size


def _members_size(file: BinaryIO, packed: int, name: str, wanted: Sequence[str] | None) -> float:
    _check_directory(file, packed, name)
    total = 0.0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        within(name, "arrays", len(members), MOST_ARRAYS)
        if len({member.filename for member in members}) < len(members):
            raise InputError(f"{name}: an array is in it twice")
        for member in members:
            array = member.filename.removesuffix(".npy")
            if wanted is not None and array not in wanted:
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(f"{name}: '{array}' is packed in a way that numpy does not write")
            check_decoded(member.file_size, packed, name)
            with archive.open(member) as stream:
                array_like = stream.read(6) == np.lib.format.MAGIC_PREFIX
            if array_like or array != member.filename:  # numpy takes others for plain bytes
                with archive.open(member) as stream:
                    _array_size(stream, member.file_size, f"{name}, '{array}'")
            total += member.file_size
    return total


def load_arrays(
    file: Path,
    address: str,
    wanted: Sequence[str] | None = None,
    choose: Callable[[list[str]], Iterable[str]] = iter,
) -> dict[str, Any]:
    """Return arrays of an npz file, none of which may ask for more than the file holds.

    Args:
        file: The file.
        address: What it is called in messages.
        wanted: The only arrays whose sizes matter; all where None.
        choose: Returns which of the names in the file are read; all by default.

    Raises:
        InputError: It is no npz file, is damaged, or too large.
    """
    if not zipfile.is_zipfile(file):  # numpy would offer to unpickle it
        raise InputError(f"{address}: cannot be read as npz (no zip archive)")
    try:
        check_arrays(file, address, wanted)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in choose(archive.files)}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as npz ({short_error(error)})") from None


def _check_directory(file: BinaryIO, packed: int, name: str) -> None:
    """Limit the table of contents of a zip file, each entry of which takes a kilobyte of memory."""
    file.seek(max(packed - (1 << 16) - 22, 0))
    tail = file.read()
    places = [match.start() for match in re.finditer(b"PK\x05\x06", tail)]
    if b"PK\x06\x07" in tail and any(tail[end - 20 :].startswith(b"PK\x06\x07") for end in places):
        raise InputError(f"{name}: npz files beyond 2 GB are not read; write parquet or ROOT")
    for end in places:  # whichever of them a reader takes
        if len(tail) >= end + 16:
            size = struct.unpack("<L", tail[end + 12 : end + 16])[0]
            within(name, "bytes of table of contents", size, 200 * MOST_ARRAYS)


def _array_size(stream: Any, held: int, name: str) -> int:
    """Return the bytes of one array, which its header must not exaggerate."""
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the npy format")
    shape, _, kind = read(stream, max_header_size=NUMPY_HEADER)
    count = math.prod(shape)
    size = count * max(kind.itemsize, 1)
    if not kind.hasobject and size > max(held, 1):
        raise InputError(
            f"{name}: its header says {_shape(shape)} numbers, the file holds {held:,} bytes"
        )
    return int(size)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" if n < 10**15 else f"{n:.3g}" for n in shape) or "1"
