"""Parts of one ensemble drawn by separate commands, and their whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ddphf.exceptions import InputError, UsageError
from ddphf.inference.toys.blocks import FIT_BLOCK
from ddphf.inference.toys.store import Shard, ToySample, merge_toys

__all__ = ["check_shard", "join_shards"]


def check_shard(number: int, of: int, toys: int) -> Shard:
    """Return a shard of an ensemble.

    Raises:
        UsageError: There is no such part, or it would have no block of toys.

    Example:
        >>> check_shard(2, 3, 2000).toys
        range(512, 1280)
    """
    blocks = -(-toys // FIT_BLOCK)
    if not 1 <= number <= of:
        raise UsageError(f"--shard {number}/{of}: expected I/N, such as 2/4: 1 <= I <= N")
    if of > blocks:
        raise UsageError(
            f"--shard {number}/{of}: {toys} toys are {blocks} blocks of {FIT_BLOCK}, which are "
            f"drawn whole; take at most {blocks} shards, or more --toys"
        )
    return Shard(number, of, toys)


def join_shards(parts: Mapping[str, ToySample], *, whole: bool = True) -> ToySample:
    """Merge files of toys of one ensemble; shards must belong together.

    Args:
        parts: Toys by the name of their file. They may be shards in any order, or none of them is.
        whole: Whether all shards must be there.

    Raises:
        InputError: A shard among files that are none, shards of several runs, one that is missing,
            or one that was interrupted. Says which, and what to do.
        UsageError: The toys are of several models.
    """
    shards = {name: toys.shard for name, toys in parts.items() if toys.shard is not None}
    if not shards:
        return merge_toys(list(parts.values()))
    lead, first = next(iter(shards.items()))
    seeds = {name: parts[name].seed for name in shards}
    for name, toys in parts.items():
        shard = toys.shard
        if shard is None:
            raise InputError(
                f"{name}: is no shard, and {lead} is {first}; merge the shards among themselves, "
                "and other toys with the file that comes of it"
            )
        if (shard.of, shard.total) != (first.of, first.total):
            raise InputError(
                f"{name}: is {shard}, and {lead} is {first}; merge shards of one run alone"
            )
        if not np.isin(toys.index, shard.toys).all():
            raise InputError(f"{name}: holds toys that are not of {shard}; draw it again")
        if np.any(toys.seed != seeds[lead][0]):
            raise InputError(
                f"{name}: {shard} of seed {toys.seed[0]}, and {lead} is of seed {seeds[lead][0]}; "
                f"draw it again with --seed {seeds[lead][0]} --shard {shard.number}/{shard.of}"
            )
        missing = len(shard.toys) - len(np.unique(toys.index))
        if whole and missing:
            raise InputError(
                f"{name}: {missing} of the {len(shard.toys)} toys of {shard} are missing, it was "
                "interrupted; give --resume to the command that writes it"
            )
    absent = sorted({*range(1, first.of + 1)} - {shard.number for shard in shards.values()})
    if whole and absent:
        names = ", ".join(f"{number}/{first.of}" for number in absent)
        raise InputError(
            f"shard {names} is missing; draw it with --toys {first.total} --seed "
            f"{seeds[lead][0]} --shard {absent[0]}/{first.of}, and merge it too"
        )
    merged = merge_toys(list(parts.values()))
    return ToySample(**{**vars(merged), "shard": None})
