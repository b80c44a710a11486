"""Where blocks of work are done, from the user's word for it."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager

from ddphf.compute.blocks import Runner
from ddphf.compute.cluster import Cluster
from ddphf.compute.processes import Processes
from ddphf.compute.threads import WORKERS, Threads
from ddphf.exceptions import UsageError

__all__ = ["open_runner", "read_place"]

MOST = 1024
"""Workers of one machine: a slip of the finger shall not start a million processes."""

FORMS = (
    "expected threads, processes or local, each with a number such as processes:4, or the address "
    "of a Dask scheduler such as tcp://host:8786"
)


def open_runner(where: str = "threads") -> AbstractContextManager[Runner]:
    """Return where long work is done, for every function with a ``runner``; close it with `with`.

    Results are the same bits whichever is chosen.

    Args:
        where: ``"threads"`` of this process; ``"processes:4"``; ``"local:4"``, a Dask cluster of
            this machine; or a Dask scheduler's address, ``"tcp://host:8786"`` or ``"tls://..."``,
            whose workers have this package installed. Without a number as many processes as this
            process may use cores.

    Raises:
        UsageError: It is none of these, Dask is not installed, or the scheduler does not answer.

    Example:
        >>> with open_runner("threads:3") as runner:
        ...     runner.width
        3
    """
    kind, n = read_place(where)
    if kind == "threads":
        return Threads(n)
    if kind == "processes":
        return Processes(n)
    return Cluster(None if kind == "local" else where, n)


def read_place(where: str) -> tuple[str, int]:
    """Return the kind of a runner, or its address, and its number of workers.

    Raises:
        UsageError: It is no such word.

    Example:
        >>> read_place("processes:4")
        ('processes', 4)
    """
    found = re.fullmatch(r"(threads|processes|local)(?::([0-9]{1,9}))?", where)
    if found is None:
        if re.fullmatch(r"(tcp|tls)://[^\s:/]+:[0-9]+", where):
            return where, 1
        raise UsageError(f"--scheduler {where}: {FORMS}")
    kind, number = found.groups()
    n = WORKERS if kind == "threads" else _cores()
    n = n if number is None else int(number)
    if not 1 <= n <= MOST:
        raise UsageError(f"--scheduler {where}: expected 1 to {MOST} workers")
    return kind, n


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; a batch system may give some of the machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
