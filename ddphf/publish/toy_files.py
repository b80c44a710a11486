"""Files of toys in a bundle: read with care, and what results.json says about them."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np

from ddphf.array_guards import check_arrays
from ddphf.arrays import Spec
from ddphf.exceptions import InputError
from ddphf.inference.toys.store import ToySample, load_toys, require_whole, summarize_toys
from ddphf.publish.archive import LARGEST_UNPACKED

__all__ = ["Segment", "read_toys", "segments", "summarize_file"]

Segment = tuple[int, int, int]
"""Seed, number of the first toy, number of toys."""

COLUMNS = {"seed": "iu", "index": "iu", "q0": "f", "mu_hat": "f", "status": "iu", "at_zero": "b"}
"""Kinds of numpy's types."""


def read_toys(content: bytes, name: str) -> ToySample:
    """Read a file of toys that anybody may have made.

    Raises:
        InputError: No file of toys, one that unpacks to more than a bundle may, or columns that do
            not belong together.
    """
    try:
        size = check_arrays(BytesIO(content), name)
    except ValueError:
        size = 0.0  # load_toys says so
    if size > LARGEST_UNPACKED:
        raise InputError(
            f"{name}: unpacks to {size / 1e6:.0f} MB; no file of toys in a bundle has more than "
            f"{LARGEST_UNPACKED / 1e6:.0f}"
        )
    try:
        toys = load_toys(BytesIO(content), name=name)
    except (MemoryError, TypeError, OverflowError, NotImplementedError, zipfile.LargeZipFile):
        raise InputError(f"{name}: not a file of toys; give one that 'ddphf toys' wrote") from None
    require_whole(toys, name)
    n = np.size(toys.index)
    for column, kinds in COLUMNS.items():
        values = getattr(toys, column)
        if values.shape != (n,) or values.dtype.kind not in kinds or n == 0:
            raise InputError(
                f"{name}: the column '{column}' is none of {n} toys; draw them again with "
                "'ddphf toys'"
            )
    if min(toys.seed.min(), toys.index.min()) < 0:
        raise InputError(f"{name}: a negative seed or number of a toy; draw them again")
    return toys


def summarize_file(name: str, toys: ToySample, measurement: str, q0: float) -> Spec:
    """Return what results.json says about a file of toys.

    Args:
        name: The file.
        toys: What is in it.
        measurement: That they are toys of.
        q0: Observed there.
    """
    seeds, counts = np.unique(toys.seed, return_counts=True)
    summary = summarize_toys(toys, q0).to_dict()
    if toys.mu != 0:  # the tail of toys with signal is no p0
        for key in ("p0", "p0_interval", "p0_interval_level", "z0"):
            del summary[key]
    return {
        "file": name,
        "measurement": measurement,
        "mu": toys.mu,
        "q0": q0,
        "seeds": [{"seed": int(s), "n": int(c)} for s, c in zip(seeds, counts, strict=True)],
        "fingerprint": toys.fingerprint,
        **summary,
    }


def segments(toys: ToySample) -> list[Segment]:
    """Return the runs that an ensemble consists of, at most one per seed and gap.

    Example:
        >>> toys = ToySample(np.array([1, 1, 2]), np.array([0, 1, 5]), *[np.zeros(3)] * 4, 0.0, "")
        >>> segments(toys)
        [(1, 0, 2), (2, 5, 1)]
    """
    out: list[Segment] = []
    for seed, index in zip(toys.seed.tolist(), toys.index.tolist(), strict=True):
        if out and out[-1][0] == seed and sum(out[-1][1:]) == index:
            out[-1] = (seed, out[-1][1], out[-1][2] + 1)
        else:
            out.append((seed, index, 1))
    return out
