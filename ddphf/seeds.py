"""Seeds of everything drawn: one range for all of them."""

from __future__ import annotations

import numpy as np

from ddphf.exceptions import UsageError

__all__ = ["LARGEST_SEED", "check_seed"]

LARGEST_SEED = 2**63 - 1
"""Files of toys keep seeds as signed 64-bit integers."""


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
