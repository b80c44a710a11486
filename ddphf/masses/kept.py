"""Pieces of long work kept in a folder, so that work that was stopped goes on where it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import check_arrays
from ddphf.arrays import AnyArray
from ddphf.compute.blocks import run_blocks
from ddphf.compute.tasks import Task
from ddphf.compute.work import Work
from ddphf.exceptions import UsageError
from ddphf.outputs import write_atomically

__all__ = ["Piece", "do_kept", "work_digest"]

Piece = dict[str, AnyArray]


def work_digest(arrays: Sequence[AnyArray], *settings: Any) -> str:
    """Return what work is known again by: 16 digits of the digest of all that decides it."""
    digest = hashlib.sha256(repr(settings).encode())
    for array in arrays:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def do_kept(
    task: Task,
    blocks: Sequence[Any],
    *,
    name: str,
    folder: Path | None,
    sizes: Sequence[int],
    work: Work,
) -> Generator[Piece, None, None]:
    """Do a task's blocks, which return arrays by name, but those whose pieces are in the folder.

    Args:
        task: What is done.
        blocks: Of work.
        name: Of this work, which the names of its files begin with.
        folder: Where pieces are kept; nowhere where None.
        sizes: How much each block is, for whom counts.
        work: How it is done.

    Yields:
        The pieces in the order of the blocks.

    Raises:
        UsageError: The folder cannot be used.
    """
    if folder is None:
        paths: list[Path | None] = [None] * len(blocks)
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot keep pieces there ({error.strerror})") from None
        # The last block of fewer toys is no block of more.
        paths = [folder / f"{name}_{i:05d}_{size}.npz" for i, size in enumerate(sizes)]
    kept = [None if path is None else _read(path) for path in paths]
    missing = [i for i, piece in enumerate(kept) if piece is None]
    total, done = sum(sizes), sum(sizes) - sum(sizes[i] for i in missing)
    fresh = iter(run_blocks(task, [blocks[i] for i in missing], runner=work.runner))
    for i, piece in enumerate(kept):
        if piece is None:
            piece = next(fresh)
            path = paths[i]
            if path is not None:
                with write_atomically(path) as temporary, open(temporary, "wb") as stream:
                    np.savez(stream, **piece)
            done += sizes[i]
            if work.count is not None:
                work.count(done, total)
        yield piece


def _read(path: Path) -> Piece | None:
    """Return a piece; None where there is none, or a damaged one, which is done again."""
    try:
        check_arrays(path, str(path))
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception:  # zipfile, zlib and numpy raise many kinds on damaged files
        return None
