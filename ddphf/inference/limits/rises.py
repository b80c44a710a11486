"""Toys of a measurement without a null: how far 2NLL rises from their minimum to the truth."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import AnyArray, Array
from ddphf.compute.chunks import chunks_of
from ddphf.compute.work import HERE, Work
from ddphf.inference.toys.blocks import draw_block, map_toys
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.batch import BLOCK, minimize_batch
from ddphf.statistics.signed import BELOW_FREE
from ddphf.statistics.tails import FAILED, refuse_failures

__all__ = ["toy_rises"]


def toy_rises(
    source: ToySource, n: int, *, seed: int, first: int = 0, work: Work = HERE
) -> tuple[Array, int]:
    """Draw toys and return t(mu) of each at the POI that they were drawn with.

    Unlike :func:`ddphf.inference.toys.statistics.toy_statistics` nothing is fitted at mu = 0, which
    is no value of such a POI.

    The arguments are those of that function, and so is what is refused.

    Returns:
        t of the certified toys, >= 0, and how many have no certificate.

    Example:
        >>> from ddphf.likelihood.compiled import CompiledModel
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin())
        >>> t, failed = toy_rises(ToySource.conditional(model, 2.0), 64, seed=1)
        >>> bool(0.3 < np.mean(t < 1) < 0.95), failed
        (True, 0)
    """
    pieces = map_toys(
        "ddphf.inference.limits.rises:Rises", {"source": source, "seed": seed},
        np.arange(first, first + n), work=work,
    )  # fmt: skip
    t = np.concatenate(list(pieces))
    good = t > -BELOW_FREE  # NaN is not
    failed = int(np.sum(~good))
    what, so = f"mu = {source.mu:.4g}", "intervals from them would mean nothing"
    refuse_failures(failed, n, what, so)
    return np.maximum(t[good], 0.0), failed


class Rises:
    """The work of :func:`toy_rises`: t of wanted toys of one block, NaN where a fit failed.

    Args:
        source: Where they are drawn from.
        seed: Their seed.
    """

    def __init__(self, source: ToySource, seed: int) -> None:
        self.source, self.seed = source, seed

    def __call__(self, numbers: AnyArray) -> Array:
        """Draw and fit wanted toys of one block."""
        block = draw_block(self.source, self.seed, numbers)
        found = [self._fit(block.data[some]) for some in chunks_of(block.n, BLOCK)]
        return np.concatenate(found)[block.rows]

    def _fit(self, data: Array) -> Array:
        model, start = self.source.model, self.source.parameters
        held = minimize_batch(
            model, data, start=start, fixed=model.held_at(self.source.mu), errors=False
        )
        free = minimize_batch(model, data, start=start, errors=False)
        t = np.asarray(held.twice_nll - free.twice_nll)
        bad = (held.status == FAILED) | (free.status == FAILED)
        # The free fit stopped in another minimum, or found none: from where the held one ended.
        again = np.flatnonzero((bad | (t < -BELOW_FREE)) & (held.status != FAILED))
        if again.size:
            retried = minimize_batch(model, data[again], start=held.points[again], errors=False)
            t[again] = held.twice_nll[again] - retried.twice_nll
            bad[again] = retried.status == FAILED
        return np.where(bad, np.nan, t)
