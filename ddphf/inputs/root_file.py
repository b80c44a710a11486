"""ROOT files by strangers: what a block unpacks to is limited by what its header says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddphf.exceptions import InputError

__all__ = ["open_root"]


def open_root(path: str | Path) -> Any:
    """Open a ROOT file; a context manager, as ``uproot.open`` is.

    uproot unpacks a whole block, ten thousand times its size where somebody means it, and compares
    with the header (at most 16 MB) afterwards. Here it stops at what the header says.

    Raises:
        InputError: This uproot unpacks in another way, which cannot be stopped so.
        Exception: Of many kinds: uproot's on damaged files.
    """
    import uproot
    from uproot import compression

    # The objects that uproot takes for blocks of a file, whichever settings it was given.
    for name, method in (("ZLIB", "zlib"), ("LZMA", "xz"), ("ZSTD", "zstd")):
        unpacks = getattr(compression, f"_decompress_{name}", None)
        if unpacks is None:
            raise InputError(
                f"{Path(path).name}: uproot {uproot.__version__} unpacks blocks in a way that "
                "ddphf cannot limit; install uproot 5.7"
            )
        unpacks.decompress = _Bounded(method)
    return uproot.open(path)


class _Bounded:
    """Unpacks one block into as many bytes as its header says."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __call__(self, data: Any, uncompressed_bytes: int) -> Any:
        import cramjam

        out = bytearray(uncompressed_bytes)
        filled = getattr(cramjam, self._method).decompress_into(bytes(data), out)
        if filled != uncompressed_bytes:
            raise ValueError(f"a block of {filled} bytes, its header says {uncompressed_bytes}")
        return out
