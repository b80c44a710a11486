"""A flat tar.gz whose bytes depend on its content alone, and the reading of anybody's."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from ddphf.exceptions import InputError

__all__ = ["DamagedArchiveError", "is_flat", "pack", "read_archive", "unpack"]

LARGEST_PACKED = 52_000_000
"""HEPData takes no larger file."""

LARGEST_UNPACKED = 200_000_000
"""Four times that: numbers of an honest bundle take a third of their text when packed."""

MOST_FILES = 200

FLAT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,90}")
"""Longer names do not fit the header of a tar file."""

DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever follows the dot."""

BLOCK, RECORD, CHUNK = 512, 10_240, 1 << 20
"""Bytes: the first two are of the tar format."""

REPACKED = "packed again or damaged: its headers are not those 'ddphf publish' writes"

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
"""gzip without file name and time, written by nobody's operating system in particular."""


class DamagedArchiveError(InputError):
    """What was an archive once: its checksums do not agree (exit code 3)."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz of files: sorted, no times, no owners, the same bytes for the same content.

    Args:
        files: Content by flat name.

    Raises:
        InputError: A name that is not flat, or more than HEPData takes.

    Example:
        >>> packed = pack({"b.txt": b"two", "a.txt": b"one"})
        >>> packed == pack({"a.txt": b"one", "b.txt": b"two"}), unpack(packed)["b.txt"]
        (True, b'two')
    """
    tar = _make_tar(files)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(tar) + deflate.flush()
    end = zlib.crc32(tar).to_bytes(4, "little") + (len(tar) & 0xFFFFFFFF).to_bytes(4, "little")
    packed = HEADER + body + end
    if len(packed) > LARGEST_PACKED:
        raise InputError(
            f"the bundle has {len(packed) / 1e6:.0f} MB, more than the {LARGEST_PACKED / 1e6:.0f} "
            "MB that HEPData takes; leave the file of toys out"
        )
    return packed


def is_flat(name: str) -> bool:
    """Return whether a name is that of a file in a folder, on every system.

    Example:
        >>> [is_flat(name) for name in ("rank.json", "../up.json", "con.json", ".pth")]
        [True, False, False, False]
    """
    return bool(FLAT_NAME.fullmatch(name)) and not DEVICE.fullmatch(name)


def _make_tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    for name in sorted(files):
        if not is_flat(name):
            raise InputError(f"'{name}': no flat file name; use letters, digits, . _ + -")
        out.write(_header(name, len(files[name])))
        out.write(files[name] + bytes(-len(files[name]) % BLOCK))
    out.write(bytes(2 * BLOCK))
    out.write(bytes(-out.tell() % RECORD))
    return out.getvalue()


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)  # mode 0644, no owner, time 0
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def read_archive(path: str | Path) -> bytes:
    """Return the bytes of an archive that is not too large to be one.

    Raises:
        InputError: There is none, or it is too large.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError(f"{path}: is a folder; give the .tar.gz that 'ddphf publish' wrote")
        size = file.stat().st_size
        with file.open("rb") as stream:  # a device says no size
            packed = stream.read(LARGEST_PACKED + 1) if size <= LARGEST_PACKED else b""
        if max(size, len(packed)) > LARGEST_PACKED:
            raise InputError(
                f"{path}: {max(size, len(packed)) / 1e6:.0f} MB; a bundle has at most "
                f"{LARGEST_PACKED / 1e6:.0f}"
            )
        return packed
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def unpack(packed: bytes, *, name: str = "archive") -> dict[str, bytes]:
    """Return the files of a flat tar.gz, in memory; nothing is written anywhere.

    Args:
        packed: The archive.
        name: What to call it in messages.

    Raises:
        InputError: No tar.gz, or one that no bundle is: absolute or parent paths, folders, links,
            devices, a name twice, too many files, too much inside.
        DamagedArchiveError: A checksum of gzip or tar does not agree, or there are bytes that
            ``pack`` does not write.
    """
    if packed[:2] != HEADER[:2]:
        raise InputError(f"{name}: not a gzip file; give the .tar.gz that 'ddphf publish' wrote")
    length = _unpacked_length(packed, name)
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        files = _read_members(stream, name)
    if packed[: len(HEADER)] != HEADER or list(files) != sorted(files) or length % RECORD:
        raise DamagedArchiveError(f"{name}: {REPACKED}")
    return files


def _unpacked_length(packed: bytes, name: str) -> int:
    """Run through one gzip member, keeping nothing: its checksum comes last."""
    length = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            while piece := stream.read(CHUNK):
                length += len(piece)
                if length > LARGEST_UNPACKED:
                    raise InputError(
                        f"{name}: unpacks to more than {LARGEST_UNPACKED / 1e6:.0f} MB; no bundle "
                        "does"
                    )
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DamagedArchiveError(f"{name}: damaged ({error})") from None
    # Zeros after the end and further members pass gzip silently.
    if int.from_bytes(packed[-4:], "little") != length & 0xFFFFFFFF:
        raise DamagedArchiveError(f"{name}: bytes after its end")
    return length


def _read_members(stream: gzip.GzipFile, name: str) -> dict[str, bytes]:
    """Read the members of a tar file.

    Python's own reader follows links, long names and sparse maps; here a member has the plain
    header that :func:`pack` writes, or there is no bundle.
    """
    files: dict[str, bytes] = {}
    repacked = False
    while (header := stream.read(BLOCK)) != bytes(BLOCK):
        try:
            entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError, OverflowError) as error:
            reason = f"no tar inside, or a damaged one ({error})"
            raise DamagedArchiveError(f"{name}: {reason}") from None
        if len(files) >= MOST_FILES:
            raise InputError(f"{name}: more than {MOST_FILES} files; no bundle has so many")
        _refuse_hostile(entry, files, name)
        content = stream.read(max(entry.size, 0))
        padding = stream.read(-len(content) % BLOCK)
        if len(content) != entry.size:
            raise DamagedArchiveError(f"{name}: damaged, '{entry.name}' is cut off")
        repacked |= header != _header(entry.name, entry.size) or any(padding)
        files[entry.name] = content
    rest = stream.read()  # one block at least, zeros up to a whole record
    if repacked or not files or not BLOCK <= len(rest) <= RECORD or any(rest):
        raise DamagedArchiveError(f"{name}: {REPACKED}")
    return files


def _refuse_hostile(entry: tarfile.TarInfo, files: dict[str, bytes], name: str) -> None:
    member = entry.name[:80]
    if entry.name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", entry.name):
        raise InputError(f"{name}: '{member}' is an absolute path; nothing was unpacked")
    if ".." in re.split(r"[/\\]", entry.name):
        raise InputError(f"{name}: '{member}' points outside; nothing was unpacked")
    if entry.issym() or entry.islnk():
        raise InputError(f"{name}: '{member}' is a link; nothing was unpacked")
    if entry.type != tarfile.REGTYPE:  # links, devices, sparse files, headers of further headers
        raise InputError(f"{name}: '{member}' is no regular file; nothing was unpacked")
    if not is_flat(entry.name):
        raise InputError(f"{name}: {member!a} is no flat file name; nothing was unpacked")
    if entry.name.lower() in {other.lower() for other in files}:
        raise InputError(f"{name}: '{member}' is in it twice; nothing was unpacked")
