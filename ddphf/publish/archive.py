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

__all__ = ["DamagedArchiveError", "pack", "read_archive", "unpack"]

LARGEST_PACKED = 52_000_000
"""HEPData takes no larger file."""

LARGEST_UNPACKED = 500_000_000
MOST_FILES = 200

FLAT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,120}")

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


def _make_tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            if not FLAT_NAME.fullmatch(name):
                raise InputError(f"'{name}': no flat file name; use letters, digits, . _ + -")
            entry = tarfile.TarInfo(name)  # mode 0644, no owner, time 0
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    return out.getvalue()


def read_archive(path: str | Path) -> bytes:
    """Return the bytes of an archive that is not too large to be one.

    Raises:
        InputError: There is none, or it is too large.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError(f"{path}: is a folder; give the .tar.gz that 'ddphf publish' wrote")
        if file.is_file() and file.stat().st_size > LARGEST_PACKED:
            raise InputError(
                f"{path}: {file.stat().st_size / 1e6:.0f} MB; a bundle has at most "
                f"{LARGEST_PACKED / 1e6:.0f}"
            )
        return file.read_bytes()
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
    tar_bytes = _gunzip(packed, name)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar_bytes), mode="r:") as tar:
            for count, entry in enumerate(tar):
                if count >= MOST_FILES:
                    raise InputError(f"{name}: more than {MOST_FILES} files; no bundle has so many")
                _refuse_hostile(entry, files, name)
                content = tar.extractfile(entry)
                files[entry.name] = b"" if content is None else content.read()
    except tarfile.TarError as error:
        raise DamagedArchiveError(f"{name}: no tar inside, or a damaged one ({error})") from None
    except (ValueError, UnicodeError, OverflowError):  # numbers in a header that are none
        raise DamagedArchiveError(f"{name}: a damaged tar inside") from None
    if packed[: len(HEADER)] != HEADER or _make_tar(files) != tar_bytes:
        raise DamagedArchiveError(
            f"{name}: packed again or damaged: its headers are not those 'ddphf publish' writes"
        )
    return files


def _gunzip(packed: bytes, name: str) -> bytes:
    """Unpack one gzip member, never more than LARGEST_UNPACKED."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            out = stream.read(LARGEST_UNPACKED + 1)
            if len(out) > LARGEST_UNPACKED:
                raise InputError(
                    f"{name}: unpacks to more than {LARGEST_UNPACKED / 1e6:.0f} MB; no bundle does"
                )
            stream.read(1)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DamagedArchiveError(f"{name}: damaged ({error})") from None
    # Zeros after the end and further members pass gzip silently.
    if int.from_bytes(packed[-4:], "little") != len(out) & 0xFFFFFFFF:
        raise DamagedArchiveError(f"{name}: bytes after its end")
    return out


def _refuse_hostile(entry: tarfile.TarInfo, files: dict[str, bytes], name: str) -> None:
    member = entry.name[:80]
    if entry.name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", entry.name):
        raise InputError(f"{name}: '{member}' is an absolute path; nothing was unpacked")
    if ".." in re.split(r"[/\\]", entry.name):
        raise InputError(f"{name}: '{member}' points outside; nothing was unpacked")
    if entry.issym() or entry.islnk():
        raise InputError(f"{name}: '{member}' is a link; nothing was unpacked")
    if entry.issparse() or not entry.isreg():
        raise InputError(f"{name}: '{member}' is no regular file; nothing was unpacked")
    if not FLAT_NAME.fullmatch(entry.name):
        raise InputError(f"{name}: {member!a} is no flat file name; nothing was unpacked")
    if entry.name.lower() in {other.lower() for other in files}:
        raise InputError(f"{name}: '{member}' is in it twice; nothing was unpacked")
