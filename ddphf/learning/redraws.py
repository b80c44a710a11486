"""Redrawn labels: y* ~ Bernoulli(pi_i), everything else held; nuisances drawn from their priors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ddphf.arrays import AnyArray
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import LEARNING, block_generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.exceptions import InputError
from ddphf.learning.labels import Labels
from ddphf.learning.pool import Pool
from ddphf.search.latest import Latest
from ddphf.search.lines import LANES

__all__ = ["MOST_REDRAWS", "PoolRedraws", "draw_block", "redraw_pool", "redraw_residuals"]

PIECE = 1 << 12
"""Events whose labels are drawn at once: 2 MB with their 128 redraws, which stay in the cache."""

MOST_REDRAWS = 10_000_000

EDGE = 1e-6
"""A drawn nuisance leaves a label's probability at least so far from 0 and 1."""

PLAIN = 0
"""Ensemble of blocks of a test."""


def draw_block(
    labels: Labels, seed: int, block: int, ensemble: int = PLAIN
) -> Iterator[tuple[slice, AnyArray]]:
    """Yield the residuals y* - pi of a block of redraws, some events at a time.

    Args:
        labels: Of the events; pi is the nominal one, also where nuisances are drawn.
        seed: Of the test.
        block: Number of the block of 128 redraws.
        ensemble: Whose block it is.

    Yields:
        Which events, and (events, LANES), float32.
    """
    rng = block_generator(seed, LEARNING.start(ensemble, block + 1) + block)
    pulls = rng.standard_normal((labels.changes.shape[1], LANES), dtype=np.float32)
    share = labels.share.astype(np.float32)
    for start in range(0, labels.n, PIECE):
        some = slice(start, min(start + PIECE, labels.n))
        u = rng.random((some.stop - some.start, LANES), dtype=np.float32)
        nominal = share[some, None]
        threshold = nominal
        if len(pulls):
            threshold = labels.changes[some] @ pulls
            threshold += nominal
            np.clip(threshold, EDGE, 1 - EDGE, out=threshold)
        drawn = (u < threshold).astype(np.float32)
        drawn -= nominal
        yield some, drawn


def redraw_residuals(labels: Labels, seed: int, block: int, ensemble: int = PLAIN) -> AnyArray:
    """Return the residuals of a block of redraws at once, (n, LANES), float32."""
    return np.concatenate([part for _, part in draw_block(labels, seed, block, ensemble)])


@dataclass(frozen=True)
class PoolRedraws:
    """The statistics of a pool in a block of redraws.

    Attributes:
        pool: The events.
        seed: Of the test.
        ensemble: Whose blocks these are.
    """

    pool: Pool
    seed: int
    ensemble: int = PLAIN
    _adders: Latest[dict[str, list[list[AnyArray]]]] = field(
        default_factory=Latest, repr=False, compare=False
    )

    def __call__(self, block: int) -> AnyArray:
        """Return all statistics, float32, (treatments, members, LANES)."""
        pool = self.pool
        adders = self._adders(0, lambda: pool.adders(PIECE))
        dense = np.zeros((pool.columns.shape[1], LANES))
        added = {
            name: [np.zeros((c.count, LANES)) for c in cells] for name, cells in pool.cells.items()
        }
        for some, residual in draw_block(pool.labels, self.seed, block, self.ensemble):
            dense += pool.columns[some].T @ residual
            for name, sums in added.items():
                for total, pieces in zip(sums, adders[name], strict=True):
                    total += pieces[some.start // PIECE] @ residual
        return np.asarray(pool.evaluate(dense, added), dtype=np.float32)


def redraw_pool(
    pool: Pool,
    redraws: int,
    *,
    seed: int,
    ensemble: int = PLAIN,
    work: Work = HERE,
) -> AnyArray:
    """Return all statistics of a pool in every redraw, (treatments, members, redraws), float32.

    Redraw i of a seed is the same whatever their number.

    Args:
        pool: The events.
        redraws: How many.
        seed: Of the test.
        ensemble: Whose redraws these are.
        work: Where blocks are done, threads of this process by default; counts blocks.

    Raises:
        InputError: No redraw is asked for, or more than can be kept.
    """
    check_redraws(redraws)
    task = Task(
        f"{__name__}:PoolRedraws", {"pool": pool, "seed": seed, "ensemble": ensemble},
        ONE_BLAS_THREAD,
    )  # fmt: skip
    blocks = -(-redraws // LANES)
    LEARNING.start(ensemble, blocks)
    with one_blas_thread():
        parts = list(run_blocks(task, range(blocks), runner=work.runner, progress=work.count))
    return np.concatenate(parts, axis=-1)[..., :redraws]


def check_redraws(redraws: int) -> None:
    """Refuse a number of redraws that means nothing."""
    if not 1 <= redraws <= MOST_REDRAWS:
        raise InputError(f"learn: {redraws} redraws, expected 1 to {MOST_REDRAWS}")
