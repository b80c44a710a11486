"""What is done with numbered blocks of work, in a form that goes to another process.

A task names a function of this package and its settings. What the function returns is made once in
each process and does every block there. Only the program's own processes, and the Dask workers of
the user, read these descriptions; no file holds one.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ddphf import __version__
from ddphf.exceptions import UsageError

__all__ = ["ONE_THREAD", "Packed", "Submit", "Task", "do_blocks"]

Work = Callable[[Any], Any]
"""Called with a block, whatever the task takes for one; returns its piece."""

Submit = Callable[[list[Any]], Future[list[Any]]]
"""Takes a bundle of blocks and promises their pieces."""

DECIDING = ("numpy", "scipy", "jax", "jaxlib")
"""Packages whose versions a result's last digits depend on."""

THREADS = (
    "NPROC", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"
)  # fmt: skip
"""Variables by which XLA, the first, and kinds of BLAS are told their number of threads."""

ONE_THREAD = dict.fromkeys(THREADS, "1")
"""Environment of a worker: there are as many of them as cores, so each has one thread."""

KEPT = 2
"""Tasks that a process keeps ready: of a cluster that two commands use at once, say."""


def _find(name: str) -> Any:
    """Return what a name such as ``"ddphf.room.module:function"`` stands for."""
    module, _, attribute = name.partition(":")
    if module.split(".")[0] != "ddphf":
        raise UsageError(f"'{name}': workers do what this package defines, and nothing else")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Task:
    """A piece of work per block.

    Attributes:
        function: ``"ddphf.room.module:name"``; called with the settings, it returns what does a
            block. Its answer to a block may depend on nothing but the block.
        settings: Its arguments by name; they can be pickled.
        begin: The same form, or empty: called first in a process that is not the user's own.

    Example:
        >>> task = Task("ddphf.compute.streams:block_generator", {"seed": 1, "block": 0})
        >>> type(task.make()).__name__  # of a real task a callable
        'Generator'
    """

    function: str
    settings: Mapping[str, Any]
    begin: str = ""

    def make(self) -> Any:
        """Return what does a block."""
        return _find(self.function)(**self.settings)

    def pack(self) -> Packed:
        """Return the form that goes to other processes."""
        content = pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)
        return Packed(content, hashlib.sha256(content).hexdigest(), _versions())


@dataclass(frozen=True)
class Packed:
    """A task as bytes.

    Attributes:
        content: The task.
        digest: Of them.
        versions: Of the packages that decide its last digits, where it comes from.
    """

    content: bytes
    digest: str
    versions: Mapping[str, str]


_made: dict[str, Work] = {}
_making = threading.Lock()


def do_blocks(packed: Packed, bundle: list[Any]) -> list[Any]:
    """Do some blocks, in a process that is not the user's own.

    Raises:
        UsageError: Other versions are installed here than where the task comes from.
    """
    with _making:
        work = _made.get(packed.digest)
        if work is None:
            for name, value in ONE_THREAD.items():
                os.environ.setdefault(name, value)
            _compare_versions(packed.versions)
            task = pickle.loads(packed.content)
            if task.begin:
                _find(task.begin)()
            work = task.make()
            while len(_made) >= KEPT:
                _made.pop(next(iter(_made)))
            _made[packed.digest] = work
    return [work(block) for block in bundle]


def _versions() -> dict[str, str]:
    return {"ddphf": __version__, **{name: version(name) for name in DECIDING}}


def _compare_versions(wanted: Mapping[str, str]) -> None:
    own = _versions()
    other = [f"{name} {own[name]} for {wanted[name]}" for name in own if own[name] != wanted[name]]
    if other:
        raise UsageError(
            f"the workers run other versions than this process ({', '.join(other)}), so their "
            "results would differ in the last digits; install the same ones in both places"
        )
