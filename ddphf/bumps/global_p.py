"""How often the best bump is as good where there is none: toys through the whole procedure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddphf.arrays import Array
from ddphf.bumps.binning import Binning
from ddphf.bumps.hunt import hunt
from ddphf.bumps.paired import largest_z
from ddphf.compute.blas import ONE_BLAS_THREAD, one_blas_thread
from ddphf.compute.blocks import run_blocks
from ddphf.compute.streams import BUMPS, block_generator
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.statistics.tails import TIE, refuse_failures, tail_interval

__all__ = ["GlobalP", "combine_all", "pair_maxima", "toy_maxima", "toy_p"]

TOYS_PER_BLOCK = 32
"""Small enough for the caches: of 60 bins, a block's arrays are a megabyte each."""

PAIRS_FROM = 1 << 30
"""Number of the first pair among the ensembles of toys: before it are spectra without partner."""

LEVEL = 0.6827


def _block(
    item: int, toys: int, seed: int, first: int = 0
) -> tuple[int, slice, np.random.Generator]:
    """Return the spectrum of a block, which of the toys drawn are kept, and the generator."""
    blocks = -(-toys // TOYS_PER_BLOCK)
    number, block = divmod(item, blocks)
    rng = block_generator(seed, BUMPS.start(first + number, blocks) + block)
    return number, slice(toys - block * TOYS_PER_BLOCK), rng


def _poisson(rng: np.random.Generator, expected: Array) -> Array:
    """Return the counts of a whole block, so that toy i is the same however many are kept."""
    return rng.poisson(expected, size=(TOYS_PER_BLOCK, len(expected))).astype(float)


@dataclass(frozen=True, eq=False)
class Toys:
    """The best bump of each toy in a block.

    Attributes:
        binnings: Of each spectrum.
        backgrounds: That the toys of each are drawn from.
        seed: Of the scan.
        toys: Of each spectrum.
    """

    binnings: Sequence[Binning]
    backgrounds: Sequence[Array]
    seed: int
    toys: int

    def __call__(self, item: int) -> Array:
        """Return the largest stated z of each toy; -inf where none is stated, NaN for a failure."""
        number, kept, rng = _block(item, self.toys, self.seed)
        drawn = _poisson(rng, self.backgrounds[number])[kept]
        found = hunt(self.binnings[number], drawn, best_alone=True)
        return np.array([np.nan if one.failed else one.z for one in found])


def make_toys(
    edges: Sequence[Array], widths: Sequence[Array], backgrounds: Sequence[Array], seed: int,
    toys: int,
) -> Toys:  # fmt: skip
    """Return what does a block, on whatever worker."""
    binnings = [Binning(e, w) for e, w in zip(edges, widths, strict=True)]
    return Toys(binnings, backgrounds, seed, toys)


def toy_maxima(
    binnings: Sequence[Binning],
    backgrounds: Sequence[Array],
    toys: int,
    *,
    seed: int,
    work: Work = HERE,
) -> Array:
    """Return the z of the best bump of every toy, shape (spectra, toys).

    Each toy is a spectrum of its own: the background is chosen and fitted again.

    Args:
        binnings: Of each spectrum.
        backgrounds: Expected counts of each without a bump.
        toys: Of each.
        seed: Toy i of spectrum j is the same whatever their numbers are, but for the number of
            blocks that they have.
        work: Where they are scanned; on threads by default; counts blocks of toys.
    """
    task = Task(
        f"{__name__}:make_toys",
        {
            "edges": [b.edges for b in binnings], "widths": [b.widths for b in binnings],
            "backgrounds": list(backgrounds), "seed": seed, "toys": toys,
        },
        begin=ONE_BLAS_THREAD,
    )  # fmt: skip
    return _run(task, len(binnings), toys, work)


def _run(task: Task, spectra: int, toys: int, work: Work) -> Array:
    """Return what blocks of toys give, shape (spectra, toys)."""
    blocks = -(-toys // TOYS_PER_BLOCK)
    with one_blas_thread():
        numbers = range(spectra * blocks)
        pieces = list(run_blocks(task, numbers, runner=work.runner, progress=work.count))
    rows = [np.concatenate(pieces[i * blocks : (i + 1) * blocks]) for i in range(spectra)]
    return np.array(rows).reshape(spectra, toys)


@dataclass(frozen=True, eq=False)
class PairToys:
    """The best bump of each toy of pairs, both samples drawn.

    Attributes:
        binnings: Edges and widths of each pair.
        backgrounds: Expected counts of each tested sample without a bump.
        ratios: Of the efficiencies of each, tested over partner.
        seed: Of the scan.
        toys: Of each pair.
    """

    binnings: Sequence[tuple[Array, Array]]
    backgrounds: Sequence[Array]
    ratios: Sequence[Array]
    seed: int
    toys: int

    def __call__(self, item: int) -> Array:
        """Return the largest z of each toy; NaN for a failure."""
        number, kept, rng = _block(item, self.toys, self.seed, PAIRS_FROM)
        b, r = self.backgrounds[number], self.ratios[number]
        n, a = _poisson(rng, b), _poisson(rng, b / r)
        return largest_z(Binning(*self.binnings[number]), n[kept], a[kept], r)


def pair_maxima(
    binnings: Sequence[Binning],
    backgrounds: Sequence[Array],
    ratios: Sequence[Array],
    toys: int,
    *,
    seed: int,
    work: Work = HERE,
) -> Array:
    """Return the z of the best bump of every toy of pairs, shape (pairs, toys).

    Args:
        binnings: Of each pair.
        backgrounds: Expected counts of each tested sample without a bump.
        ratios: Of the efficiencies of each.
        toys: Of each.
        seed: As of :func:`toy_maxima`, other random numbers.
        work: Where they are scanned; on threads by default; counts blocks of toys.
    """
    settings = {
        "binnings": [(b.edges, b.widths) for b in binnings], "backgrounds": list(backgrounds),
        "ratios": list(ratios), "seed": seed, "toys": toys,
    }  # fmt: skip
    task = Task(f"{__name__}:PairToys", settings, begin=ONE_BLAS_THREAD)
    return _run(task, len(binnings), toys, work)


@dataclass(frozen=True)
class GlobalP:
    """A global p-value.

    Attributes:
        p: Of toys as good as the data; None where there are none.
        interval: Of Clopper and Pearson, 68 %.
        toys: Certified and not.
        failed: Without a certificate.
    """

    p: float | None
    interval: tuple[float, float]
    toys: int
    failed: int


def toy_p(z: float, maxima: Array, name: str = "") -> GlobalP:
    """Return how often a toy is as good.

    Args:
        z: Of the data.
        maxima: Of the toys, NaN where one failed.
        name: Of the spectrum.

    Raises:
        FitError: More than one in a thousand failed.

    Example:
        >>> found = toy_p(2.0, np.array([1.0, 3.0, 2.5, -np.inf]))
        >>> found.p, [round(x, 3) for x in found.interval]
        (0.5, [0.185, 0.815])
    """
    failed = int(np.isnan(maxima).sum())
    refuse_failures(failed, len(maxima), name)
    reached = int(np.sum(maxima >= z - TIE))
    fine = len(maxima) - failed
    p = reached / fine if reached else None
    return GlobalP(p, tail_interval(len(maxima), failed, reached, LEVEL), len(maxima), failed)


def combine_all(p: float, spectra: int) -> float:
    """Return how often the best of several spectra is as good: 1 - (1 - p)^n.

    Exact for independent spectra, and too large for those that share events.

    Example:
        >>> round(combine_all(0.01, 100), 4)
        0.634
    """
    return float(-np.expm1(spectra * np.log1p(-p))) if p < 1 else 1.0
