"""The persistent compilation cache of the command line."""

from __future__ import annotations

import os
from pathlib import Path

import jax

__all__ = ["enable_compilation_cache"]


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
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return directory
