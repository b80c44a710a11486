"""Toy ensembles: draw from a source, fit with and without signal, keep q0.

Drawing runs in threads beside the fits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.chunks import map_chunks
from ddphf.compute.streams import check_seed
from ddphf.exceptions import UsageError
from ddphf.inference.toys.fits import FIT_BLOCK, ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import ToySample, add_toys, load_toys, merge_toys
from ddphf.progress import Count

__all__ = ["map_toys", "toy_ensemble"]

SAVE_SECONDS = 10.0

Piece = TypeVar("Piece")


def toy_ensemble(
    source: ToySource,
    n: int,
    *,
    seed: int,
    first: int = 0,
    store: Path | None = None,
    workspace_digest: str = "",
    progress: Count | None = None,
    fit_block_size: int = FIT_BLOCK,
) -> ToySample:
    """Draw and fit toys first, ..., first + n - 1 of a seed.

    Args:
        source: Where they are drawn from.
        n: Number of toys.
        seed: Whole number in [0, 2^63).
        first: First toy.
        store: File to resume from and to keep what is done, also when interrupted. Several
            processes may add to one file.
        workspace_digest: Kept in the file.
        progress: Called with (done, n).
        fit_block_size: Toys per compiled call.

    Returns:
        All toys of the range (and any others that the store held), by seed and number.

    Raises:
        UsageError: The store holds another ensemble, or n or the seed is out of range.
        KeyboardInterrupt: After saving what is done.
    """
    if n < 1 or first < 0:
        raise UsageError(f"n = {n}, first = {first}: expected n >= 1, first >= 0")
    seed = check_seed(seed)
    old: ToySample | None = None
    if store is not None and Path(store).exists():
        old = load_toys(store)
        if (old.fingerprint, old.mu) != (source.fingerprint, source.mu):
            raise UsageError(
                f"{store} holds toys of another model, data set or POI; choose another file"
            )
    wanted = np.arange(first, first + n)
    if old is not None:
        missing = ~np.isin(wanted, old.index[old.seed == seed])
        # Whole chunks, toys that are there included: a toy's last digits depend on its row.
        chunk = (wanted - first) // fit_block_size
        wanted = wanted[np.isin(chunk, chunk[missing])]
    pieces: list[ToySample] = [] if old is None else [old]
    skipped, done, saved = n - len(wanted), 0, time.monotonic()

    def keep() -> ToySample:
        merged = replace(merge_toys(pieces), workspace_digest=workspace_digest)
        if store is not None:
            merged = add_toys(merged, store)
        pieces[:] = [merged]
        return merged

    try:
        for toys in _run(source, wanted, seed, fit_block_size):
            pieces.append(toys)
            done += len(toys)
            if progress is not None:
                progress(skipped + done, n)
            if store is not None and time.monotonic() - saved > SAVE_SECONDS:
                keep()
                saved = time.monotonic()
    except BaseException:
        if pieces:
            keep()
        raise
    return keep()


def _run(source: ToySource, wanted: AnyArray, seed: int, size: int) -> Iterator[ToySample]:
    """Draw and fit the wanted toys chunk by chunk."""
    fitter = ToyFitter(source, size)

    def fit(chunk: AnyArray, data: Array) -> ToySample:
        q0, mu_hat, status, at_zero = fitter.fit(data, len(chunk))
        return ToySample(
            np.full(len(chunk), seed), chunk, q0, mu_hat, status, at_zero,
            source.mu, source.fingerprint,
        )  # fmt: skip

    yield from map_toys(source, wanted, seed, fit, size=size)


def map_toys(
    source: ToySource,
    wanted: AnyArray,
    seed: int,
    fit: Callable[[AnyArray, Array], Piece],
    *,
    size: int = FIT_BLOCK,
) -> Iterator[Piece]:
    """Draw toys and do something with them chunk by chunk, in order.

    Args:
        source: Where they are drawn from.
        wanted: Numbers of the toys.
        seed: Their seed.
        fit: As ``work`` of :func:`ddphf.compute.chunks.map_chunks`.
        size: Toys per chunk.
    """
    yield from map_chunks(wanted, partial(source.draw_toys, seed), fit, size=size)
