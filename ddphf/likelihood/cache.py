"""The persistent compilation cache of the command line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import jax

from ddphf.exceptions import UsageError
from ddphf.outputs import write_atomically

__all__ = ["CACHE", "WholeFiles", "enable_compilation_cache"]

CACHE = "ddphf.likelihood.cache:enable_compilation_cache"
"""What worker processes begin with: they take compiled programs from the disk."""

try:  # not public: a later jax may have it elsewhere, and then keeps its programs in its own way
    from jax._src import compilation_cache

    JAX_FILES: Any = compilation_cache
    NEEDED = ("get_file_cache", "compress_executable", "decompress_executable")
    if not all(hasattr(JAX_FILES, name) for name in NEEDED):
        JAX_FILES = None
except ImportError:
    JAX_FILES = None


class WholeFiles:
    """Compiled programs in files, each written whole or not at all.

    jax writes its own in place: a full disk or a killed process leaves half a file, which is never
    written again and complained about whenever its program is needed.

    Args:
        path: The directory.

    Example:
        >>> from tempfile import mkdtemp
        >>> cache = WholeFiles(mkdtemp())
        >>> cache.get("f") is None
        True
        >>> cache.put("f", JAX_FILES.compress_executable(b"program"))
        >>> JAX_FILES.decompress_executable(cache.get("f"))
        b'program'
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def get(self, key: str) -> bytes | None:
        """Return a program; None where there is none, or where it is damaged, which removes it."""
        file = self._file(key)
        try:
            value = file.read_bytes()
        except OSError:
            return None
        try:
            JAX_FILES.decompress_executable(value)
        except Exception:  # each compressor has its own
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, unless the disk does not take it: it is compiled again then."""
        with contextlib.suppress(UsageError), write_atomically(self._file(key)) as temporary:
            temporary.write_bytes(value)

    def _file(self, key: str) -> Path:
        return self._path / f"{key}-cache"


def enable_compilation_cache(directory: Path | None = None) -> Path | None:
    """Keep compiled programs between processes.

    Args:
        directory: Where; by default ``ddphf/jax`` in the user's cache directory (XDG_CACHE_HOME,
            or ~/.cache).

    Returns:
        The directory, or None where it cannot be written: a cache is no reason to fail.
    """
    if directory is None:
        base = os.environ.get("XDG_CACHE_HOME", "")
        # The XDG specification has relative paths ignored.
        home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        directory = home / "ddphf" / "jax"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(directory, os.W_OK):
        return None
    if JAX_FILES is not None:
        JAX_FILES.get_file_cache = lambda path: (WholeFiles(path), path)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return directory
