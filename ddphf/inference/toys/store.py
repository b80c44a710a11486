"""Toys on disk: one npz per ensemble, written atomically, resumable and mergeable."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.stats import norm

from ddphf.array_guards import check_arrays
from ddphf.arrays import AnyArray
from ddphf.exceptions import InputError, UsageError
from ddphf.inference.toys.blocks import FIT_BLOCK
from ddphf.outputs import locked, write_atomically
from ddphf.results.shown import Shown
from ddphf.results.toys import ToySummary
from ddphf.statistics.signed import signed_z
from ddphf.statistics.tails import FAILED, TIE, tail_interval

__all__ = [
    "SAVE_SECONDS",
    "Shard",
    "ToySample",
    "add_toys",
    "load_toys",
    "merge_toys",
    "require_whole",
    "save_toys",
    "summarize_toys",
]

VERSION = 1

SAVE_SECONDS = 10.0
"""Between two writes of a file that toys are added to."""

COLUMNS = ("seed", "index", "q0", "mu_hat", "status", "at_zero")
"""Of a file, and attributes of a sample: one entry per toy."""


@dataclass(frozen=True)
class Shard:
    """A part of an ensemble: whole blocks of its toys.

    Attributes:
        number: Which, from 1.
        of: How many there are.
        total: Toys of the ensemble.
    """

    number: int
    of: int
    total: int

    @property
    def toys(self) -> range:
        """Numbers of its toys."""
        blocks = -(-self.total // FIT_BLOCK)
        first, end = (blocks * n // self.of * FIT_BLOCK for n in (self.number - 1, self.number))
        return range(first, min(end, self.total))

    def __str__(self) -> str:
        return f"shard {self.number}/{self.of} of {self.total} toys"


@dataclass(frozen=True, repr=False)
class ToySample(Shown):
    """Toys of one ensemble; row j is toy ``index[j]`` of ``seed[j]``.

    Attributes:
        seed: Shape (n,).
        index: Shape (n,): toy number within its seed.
        q0: Shape (n,): signed; NaN where failed.
        mu_hat: Shape (n,); NaN where failed.
        status: Shape (n,): 0 certified on the fast path, 1 on the careful path, 2 failed.
        at_zero: Shape (n,): mu_hat is exactly 0.
        mu: The POI that the toys were drawn with.
        fingerprint: Digest of model, data and parameters that they were drawn from.
        workspace_digest: pyhf's digest of the workspace; empty where the file does not tell.
        shard: Which part of an ensemble they are; None for toys of a whole one.
    """

    seed: AnyArray
    index: AnyArray
    q0: AnyArray
    mu_hat: AnyArray
    status: AnyArray
    at_zero: AnyArray
    mu: float
    fingerprint: str
    workspace_digest: str = ""
    shard: Shard | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def z0(self) -> AnyArray:
        """Signed significances, sgn(q0) sqrt|q0|."""
        return signed_z(self.q0)


def summarize_toys(toys: ToySample, q0: float, *, level: float = 0.6827) -> ToySummary:
    """Compare an observed signed q0 with toys.

    Args:
        toys: Toys drawn with the POI at 0.
        q0: Observed signed q0.
        level: Confidence level of the interval of p0.

    Raises:
        UsageError: There are no toys.

    Example:
        >>> n = 1000
        >>> toys = ToySample(np.zeros(n, int), np.arange(n), np.linspace(-9, 9, n), np.zeros(n),
        ...                  np.zeros(n, np.int8), np.zeros(n, bool), 0.0, "")
        >>> summary = summarize_toys(toys, 8.0)
        >>> summary.n_ge, summary.p0, [round(x, 4) for x in summary.p0_interval]
        (56, 0.056, [0.0487, 0.0643])
    """
    n = len(toys)
    if n == 0:
        raise UsageError("no toys to compare with; run at least one")
    ok = toys.status != FAILED
    n_failed, n_ge = int(np.sum(~ok)), int(np.sum(ok & (toys.q0 >= q0 - TIE)))
    p0 = n_ge / (n - n_failed) if n_ge else None
    seeds = np.unique(toys.seed)
    return ToySummary(
        n=n,
        n_failed=n_failed,
        n_ge=n_ge,
        p0=p0,
        p0_interval=tail_interval(n, n_failed, n_ge, level),
        z0=float(norm.isf(p0)) if p0 is not None and p0 < 1 else None,
        level=level,
        seed=int(seeds[0]) if len(seeds) == 1 else None,
        at_zero=float(np.mean(toys.at_zero[ok])) if ok.any() else 0.0,
    )


def save_toys(toys: ToySample, path: Path) -> None:
    """Write toys, atomically: a reader sees the old file or the new one.

    Raises:
        UsageError: The file cannot be written; the old one stays.
    """
    content = {name: value for name, value in vars(toys).items() if name != "shard"}
    if toys.shard is not None:
        content["shard"] = astuple(toys.shard)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            version=VERSION,
            **content,
        )


def add_toys(toys: ToySample, path: Path) -> ToySample:
    """Add toys to a file to which other processes may be adding too: none of them is lost.

    Returns:
        All toys of the file.

    Raises:
        UsageError: The file cannot be written, or holds another ensemble.
    """
    with locked(path):
        old = [load_toys(path)] if Path(path).exists() else []
        if any(some.shard != toys.shard for some in old):
            raise UsageError(
                f"{path} holds {old[0].shard or 'toys of a whole ensemble'}, not "
                f"{toys.shard or 'those of a whole one'}; choose another file"
            )
        merged = merge_toys([*old, toys])
        save_toys(merged, path)
    return merged


def load_toys(path: Path | BinaryIO, *, name: str | None = None) -> ToySample:
    """Read toys.

    Args:
        path: The file, or an open one.
        name: What to call it in messages; the path by default.

    Raises:
        InputError: The file is none of ours.
    """
    name = str(path) if name is None else name
    try:
        with contextlib.ExitStack() as stack:
            # numpy leaves a file open when it is no archive, unless it is ours to close.
            handle = stack.enter_context(open(path, "rb")) if isinstance(path, Path) else path
            check_arrays(handle, name)
            file = stack.enter_context(np.load(handle, allow_pickle=False))
            if int(file["version"]) != VERSION:
                raise InputError(f"{name}: toys of version {file['version']}, expected {VERSION}")
            return ToySample(
                **{name: file[name] for name in COLUMNS},
                mu=float(file["mu"]),
                fingerprint=str(file["fingerprint"]),
                workspace_digest=str(file["workspace_digest"])
                if "workspace_digest" in file
                else "",
                shard=_read_shard(file) if "shard" in file else None,
            )
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # numpy's own words for a damaged file advise to unpickle it: never pass them on.
        raise InputError(f"{name}: not a file of toys; give one that 'ddphf toys' wrote") from None


def _read_shard(file: Mapping[str, AnyArray]) -> Shard:
    number, of, total = (int(value) for value in file["shard"])
    if not (1 <= number <= of <= total and np.size(file["seed"])):
        raise ValueError
    return Shard(number, of, total)


def require_whole(toys: ToySample, name: str) -> None:
    """Refuse a part of an ensemble where the ensemble is meant.

    Raises:
        InputError: Says how to merge it.
    """
    if toys.shard is not None:
        raise InputError(
            f"{name}: is {toys.shard}; merge all {toys.shard.of} first: 'ddphf toys WORKSPACE "
            "--toys 0 --merge FILE --merge FILE ... -o WHOLE'"
        )


def merge_toys(samples: Sequence[ToySample]) -> ToySample:
    """Merge toys of one ensemble; a toy that appears twice counts once.

    Raises:
        UsageError: The toys come from different models, data or POI values.
    """
    if not samples:
        raise UsageError("nothing to merge")
    first = samples[0]
    for other in samples[1:]:
        if (other.fingerprint, other.mu) != (first.fingerprint, first.mu):
            raise UsageError(
                "these toys were drawn from different models, data or POI values "
                f"({first.fingerprint[:12]} mu={first.mu} and {other.fingerprint[:12]} "
                f"mu={other.mu}); merge only toys of one ensemble"
            )
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(s, name) for s in samples]) for name in COLUMNS
    }
    order = np.lexsort((columns["index"], columns["seed"]))
    key = np.stack([columns["seed"][order], columns["index"][order]])
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any(key[:, 1:] != key[:, :-1], axis=0)
    order = order[new]
    picked = {name: value[order] for name, value in columns.items()}
    digest = next((s.workspace_digest for s in samples if s.workspace_digest), "")
    return replace(first, workspace_digest=digest, **picked)
