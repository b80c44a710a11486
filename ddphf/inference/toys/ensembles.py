"""Toy ensembles: draw from a source, fit with and without signal, keep q0."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.compute.streams import check_seed
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import UsageError
from ddphf.inference.toys.blocks import FIT_BLOCK, draw_block, map_toys
from ddphf.inference.toys.fits import ToyFitter
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import (
    SAVE_SECONDS,
    Shard,
    ToySample,
    add_toys,
    load_toys,
    merge_toys,
)

__all__ = ["Ensemble", "toy_ensemble"]


def toy_ensemble(
    source: ToySource,
    n: int,
    *,
    seed: int,
    first: int = 0,
    store: Path | None = None,
    workspace_digest: str = "",
    shard: Shard | None = None,
    work: Work = HERE,
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
        shard: Kept in the file, where the toys are one.
        work: Where they are drawn and fitted, threads of this process by default; counts toys.
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
        wanted = wanted[~np.isin(wanted, old.index[old.seed == seed])]
    pieces: list[ToySample] = [] if old is None else [old]
    saved = time.monotonic()

    def keep() -> ToySample:
        merged = replace(merge_toys(pieces), workspace_digest=workspace_digest, shard=shard)
        if store is not None:
            merged = add_toys(merged, store)
        pieces[:] = [merged]
        return merged

    found = map_toys(
        "ddphf.inference.toys.ensembles:Ensemble",
        {"source": source, "seed": seed, "size": fit_block_size},
        wanted, size=fit_block_size, work=work.part(n - len(wanted), n),
    )  # fmt: skip
    try:
        with closing(found):
            for toys in found:
                pieces.append(toys)
                if store is not None and time.monotonic() - saved > SAVE_SECONDS:
                    keep()
                    saved = time.monotonic()
    except BaseException:
        if pieces:
            keep()
        raise
    return keep()


class Ensemble:
    """The work of an ensemble: signed q0, mu_hat and status of toys.

    Args:
        source: Where they are drawn from.
        seed: Their seed.
        size: Toys per block.
    """

    def __init__(self, source: ToySource, seed: int, size: int) -> None:
        self.source, self.seed, self.size = source, seed, size
        self.fitter = ToyFitter(source, size)

    def __call__(self, numbers: AnyArray) -> ToySample:
        """Draw and fit wanted toys of one block."""
        block = draw_block(self.source, self.seed, numbers, self.size)
        q0, mu_hat, status, at_zero = (c[block.rows] for c in self.fitter.fit(block.data, block.n))
        return ToySample(
            np.full(len(numbers), self.seed), numbers, q0, mu_hat, status, at_zero,
            self.source.mu, self.source.fingerprint,
        )  # fmt: skip
