"""Which random numbers belong to whom.

Toy i of a seed is the same wherever and in whatever pieces it is drawn. Within one seed every use
of toys has a range of toy numbers of its own, so that no two of them are the same draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddphf.exceptions import UsageError

__all__ = [
    "BOOTSTRAP", "BUMPS", "COVERAGE", "EXPECTED", "IMPORTANCE", "INTERVALS", "LARGEST_SEED",
    "LEARNING", "LIMITS", "MASSES", "NULL", "OWNERS", "SEARCH", "Owner", "block_generator",
    "check_seed", "generator", "seed_of_part",
]  # fmt: skip

LARGEST_SEED = 2**63 - 1
"""Files of toys keep seeds as signed 64-bit integers."""

BOOTSTRAP = 1 << 32
"""Part of a seed that draws again from toys that are there."""


@dataclass(frozen=True)
class Owner:
    """A range of toy numbers.

    Attributes:
        name: Whose it is.
        first: Its first toy number.
        end: The first number that is not in it.
        ensemble: Toy numbers of one of its ensembles.
    """

    name: str
    first: int
    end: int
    ensemble: int = 1 << 32

    def start(self, which: int, n: int) -> int:
        """Return the first toy number of an ensemble.

        Args:
            which: Number of the ensemble, from 0.
            n: Its toys.

        Raises:
            UsageError: It would run into another ensemble or into another owner's numbers.

        Example:
            >>> LIMITS.start(1, 1000) - LIMITS.start(0, 1000) == 1 << 32
            True
        """
        first = self.first + which * self.ensemble
        if which < 0 or n > self.ensemble or first + n > self.end:
            room = (self.end - self.first) // self.ensemble
            raise UsageError(
                f"toys of {self.name}: ensemble {which} of {n} toys; there are numbers for {room} "
                f"ensembles of {self.ensemble} toys: ask for fewer, or use several seeds"
            )
        return first


NULL = Owner("the null", 0, 1 << 40, 1 << 40)
"""What `ddphf toys` keeps; injected strengths, goodness and studies draw from other sources."""
EXPECTED = Owner("the expected significance", 1 << 40, 1 << 42, 1 << 40)
IMPORTANCE = Owner("importance sampling", 1 << 42, 1 << 44, 1 << 42)
LIMITS = Owner("limits", 1 << 44, 1 << 46)
INTERVALS = Owner("intervals", 1 << 46, 1 << 48)
COVERAGE = Owner("coverage", 1 << 48, 1 << 50)

SEARCH = Owner("the search", 1 << 50, 1 << 52, 1 << 44)
"""Numbers of blocks, beyond the blocks of all toys."""

MASSES = Owner("mass scans", 1 << 52, 1 << 54)
"""Numbers of blocks: ensemble 0 are toys of all hypotheses, then those of each one's limits."""

LEARNING = Owner("learning", 1 << 54, 1 << 56, 1 << 44)
"""Numbers of blocks of redrawn labels."""

BUMPS = Owner("bumps", 1 << 56, 1 << 58, 1 << 24)
"""Numbers of blocks of toy spectra."""

OWNERS = (NULL, EXPECTED, IMPORTANCE, LIMITS, INTERVALS, COVERAGE, SEARCH, MASSES, LEARNING, BUMPS)


def check_seed(seed: int) -> int:
    """Return a seed that files can keep and every generator takes.

    Raises:
        UsageError: It is no whole number in [0, 2^63).

    Example:
        >>> check_seed(1)
        1
    """
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not (whole and 0 <= seed <= LARGEST_SEED):
        raise UsageError(f"seed {seed}: expected a whole number from 0 to 2^63 - 1")
    return int(seed)


def block_generator(seed: int, block: int) -> np.random.Generator:
    """Return the generator of one block of toys; blocks of a seed are independent.

    Example:
        >>> one, again = block_generator(1, 5), block_generator(1, 5)
        >>> one.integers(1000) == again.integers(1000)
        np.True_
    """
    # SFC64 is numpy's fastest generator.
    sequence = np.random.SeedSequence(check_seed(seed), spawn_key=(block,))
    return np.random.Generator(np.random.SFC64(sequence))


def seed_of_part(seed: int, part: int) -> int:
    """Return a seed for one part of a work, independent of its neighbours'.

    Args:
        seed: Of the whole.
        part: Number of the part.

    Example:
        >>> seed_of_part(1, 0) == seed_of_part(1, 1)
        False
    """
    return int(np.random.SeedSequence([check_seed(seed), part]).generate_state(1)[0])


def generator(seed: int, part: int | None = None) -> np.random.Generator:
    """Return a generator of anything but toys.

    Args:
        seed: Of the whole.
        part: Number of a part of the work, or :data:`BOOTSTRAP`; nothing for work in one piece,
            whose numbers are those of part 0.

    Example:
        >>> bool(generator(1).random() == generator(1, 2).random())
        False
    """
    return np.random.default_rng(check_seed(seed) if part is None else [check_seed(seed), part])
