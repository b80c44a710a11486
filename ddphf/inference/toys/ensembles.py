"""Toy ensembles: draw from the conditional parameters, fit with and without signal, keep q0.

Main and auxiliary data both fluctuate. Toy i of a seed is a function of (seed, i) alone: toys are
drawn in blocks of fixed size, each from its own generator, so chunking, resuming and merging cannot
change them. Drawing runs in threads beside the fits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np

from ddphf.exceptions import FitError, ModelError, UsageError
from ddphf.inference.toys.fits import FIT_BLOCK, ToyFitter
from ddphf.inference.toys.store import (
    AnyArray,
    ToySample,
    load_toys,
    merge_toys,
    save_toys,
)
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.minimum import Array

__all__ = ["ToySource", "map_chunks", "toy_ensemble"]

DRAW_BLOCK = 32
"""Toys per generator. Part of the definition of toy i: changing it changes all toys."""

WORKERS = 2
"""Chunks in work at a time."""

SAVE_SECONDS = 10.0

Progress = Callable[[int, int], None]
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class ToySource:
    """Where toys are drawn from.

    Attributes:
        model: The model.
        parameters: Shape (n,): conditional parameters, the POI at ``mu``.
        mu: The POI that toys are drawn with.
        rates: Expected main data.
        fingerprint: Digest of all of it.
    """

    model: CompiledModel
    parameters: Array
    mu: float
    rates: Array
    fingerprint: str

    @classmethod
    def conditional(cls, model: CompiledModel, mu: float = 0.0) -> ToySource:
        """Profile everything else at ``mu`` on the observed data.

        Raises:
            ModelError: There is no POI, or ``mu`` is outside its bounds.
            FitError: That fit has no certificate.
        """
        table = model.parameters
        if table.poi is None:
            raise ModelError("the measurement has no POI, so there is no null to draw toys from")
        low, high = float(table.lower[table.poi]), float(table.upper[table.poi])
        if not low <= mu <= high:
            raise ModelError(
                f"mu = {mu:g} is outside the bounds [{low:g}, {high:g}] of the POI "
                f"'{table.names[table.poi]}'; take one inside, or widen the bounds"
            )
        held, values = table.fixed.copy(), table.init.copy()
        held[table.poi], values[table.poi] = True, mu
        fit = model.minimize(fixed=held, values=values)
        if not fit.converged:
            raise FitError(f"the fit at mu = {mu:g} that toys are drawn from: {fit.status}")
        return cls.at(model, fit.parameters)

    @classmethod
    def at(cls, model: CompiledModel, parameters: Array) -> ToySource:
        """Draw from stated parameters, shape (n,)."""
        poi = model.parameters.poi
        if poi is None:
            raise ModelError("the measurement has no POI, so there is no null to draw toys from")
        digest = hashlib.sha256()
        for array in (*jax.tree.leaves(model.arrays), model.parameters.lower, parameters):
            digest.update(np.ascontiguousarray(np.asarray(array, dtype=float)).tobytes())
        digest.update(model.parameters.upper.tobytes() + model.parameters.fixed.tobytes())
        # Rounding may leave -1e-17 in an empty bin.
        rates = np.maximum(model.rates(parameters), 0.0)
        return cls(model, parameters, float(parameters[poi]), rates, digest.hexdigest())

    def auxiliary(self) -> Array:
        """Return the expected auxiliary data."""
        con, x = self.model.expansion.constraints, self.parameters
        out = np.zeros(len(self.model.data) - self.model.n_main)
        out[con.normal_data] = x[con.normal_parameter]
        out[con.poisson_data] = x[con.poisson_parameter] * con.poisson_tau
        return out

    def expected(self) -> Array:
        """Return the Asimov data: main and auxiliary data at their expectation."""
        return np.concatenate([self.rates, self.auxiliary()])

    def draw_block(self, seed: int, block: int) -> Array:
        """Draw toys DRAW_BLOCK * block and following, shape (DRAW_BLOCK, n_main + n_aux)."""
        # SFC64 is numpy's fastest generator; SeedSequence keeps blocks independent.
        sequence = np.random.SeedSequence(seed, spawn_key=(block,))
        generator = np.random.Generator(np.random.SFC64(sequence))
        n_main, con = self.model.n_main, self.model.expansion.constraints
        out = np.empty((DRAW_BLOCK, len(self.model.data)))
        out[:, :n_main] = generator.poisson(self.rates, (DRAW_BLOCK, n_main))
        mean = self.auxiliary()
        if con.normal_data.size:
            out[:, n_main + con.normal_data] = generator.normal(
                mean[con.normal_data], con.normal_sigma, (DRAW_BLOCK, con.normal_data.size)
            )
        if con.poisson_data.size:
            out[:, n_main + con.poisson_data] = generator.poisson(
                mean[con.poisson_data], (DRAW_BLOCK, con.poisson_data.size)
            )
        return out

    def draw(self, seed: int, toy: int) -> Array:
        """Draw one toy, shape (n_main + n_aux,)."""
        return np.asarray(self.draw_block(seed, toy // DRAW_BLOCK)[toy % DRAW_BLOCK])


def toy_ensemble(
    source: ToySource,
    n: int,
    *,
    seed: int,
    first: int = 0,
    store: Path | None = None,
    progress: Progress | None = None,
    fit_block_size: int = FIT_BLOCK,
) -> ToySample:
    """Draw and fit toys first, ..., first + n - 1 of a seed.

    Args:
        source: Where they are drawn from.
        n: Number of toys.
        seed: Non-negative integer.
        first: First toy.
        store: File to resume from and to keep what is done, also when interrupted.
        progress: Called with (done, n).
        fit_block_size: Toys per compiled call.

    Returns:
        All toys of the range (and any others that the store held), by seed and number.

    Raises:
        UsageError: The store holds another ensemble, or n is not positive.
        KeyboardInterrupt: After saving what is done.
    """
    if n < 1 or first < 0 or seed < 0:
        raise UsageError(f"n = {n}, first = {first}, seed = {seed}: expected n >= 1, others >= 0")
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
    skipped, done, saved = n - len(wanted), 0, time.monotonic()

    def keep() -> ToySample:
        merged = merge_toys(pieces)
        pieces[:] = [merged]
        if store is not None:
            save_toys(merged, store)
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

    yield from map_chunks(source, wanted, seed, fit, size=size)


def map_chunks(
    source: ToySource,
    wanted: AnyArray,
    seed: int,
    fit: Callable[[AnyArray, Array], Piece],
    *,
    size: int = FIT_BLOCK,
) -> Iterator[Piece]:
    """Draw toys and do something with them chunk by chunk, two chunks at a time, in order.

    Args:
        source: Where they are drawn from.
        wanted: Numbers of the toys.
        seed: Their seed.
        fit: Called with the numbers of a chunk's toys and their data, shape (size, n_main +
            n_aux); rows beyond the chunk repeat its first one.
        size: Toys per chunk.

    Yields:
        What ``fit`` returned.
    """
    chunks = [wanted[i : i + size] for i in range(0, len(wanted), size)]
    if not chunks:
        return

    def work(chunk: AnyArray) -> Piece:
        blocks, within = np.divmod(chunk, DRAW_BLOCK)
        data = np.empty((size, len(source.model.data)))
        for block in np.unique(blocks):
            here = blocks == block
            data[: len(chunk)][here] = source.draw_block(seed, int(block))[within[here]]
        data[len(chunk) :] = data[0]  # padding: one shape, one compilation
        return fit(chunk, data)

    yield work(chunks[0])  # alone: it compiles
    # One chunk draws or certifies while the other is in the compiled fit: 10 to 70 % faster than
    # one after the other, which leaves a core idle between the matrix products.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        ahead: list[Future[Piece]] = [pool.submit(work, c) for c in chunks[1 : 2 + WORKERS]]
        try:
            for chunk in [*chunks[2 + WORKERS :], *[None] * len(ahead)]:
                piece = ahead.pop(0).result()
                if chunk is not None:
                    ahead.append(pool.submit(work, chunk))
                yield piece
        finally:
            for future in ahead:
                future.cancel()
