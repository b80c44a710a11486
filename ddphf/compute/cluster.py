"""Blocks on the workers of a Dask cluster: this machine's own, or one that the user has started."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Self

from ddphf.compute.processes import lost
from ddphf.compute.tasks import ONE_THREAD, Packed, Submit, Task, do_blocks
from ddphf.exceptions import FitError, UsageError

__all__ = ["Cluster"]

CONNECT_SECONDS = 20
"""Until a scheduler must have answered and have a worker."""

QUIET = {
    # A large model is sent once per task, on purpose.
    "distributed.admin.large-graph-warning-threshold": "1TB",
    # Nobody looks at its profile, which is taken a hundred times a second.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    # No pages about the work, which anybody could read.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # In the place of Dask's own, which has glibc give every freed array back to the system at once.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
}


def keep(packed: Packed) -> Packed:
    """Return a task: by this call Dask has it on a worker, and again if that one is lost."""
    return packed


class Cluster:
    """Does blocks on a Dask cluster.

    Args:
        address: Of its scheduler, or None for a cluster of this machine, which ends with this
            object and which nobody else can use.
        n: Workers of that one, with a process and a thread each.

    Attributes:
        width: Blocks that are done at a time.
        bundles: Per worker: a task costs Dask some 10 ms of processor time, a third of what a block
            of toys may take.

    Raises:
        UsageError: Dask is not installed, nobody answers at the address, or there is no worker.
    """

    bundles: int | None = 8

    def __init__(self, address: str | None = None, n: int = 1) -> None:
        try:
            import cryptography  # noqa: F401  makes the certificates of a cluster of this machine
            import dask
            import distributed
        except ImportError:
            raise UsageError(
                "--scheduler: Dask is not installed; pip install 'ddphf[dask]', or take "
                "processes:N, which needs nothing"
            ) from None
        self._address = address
        with ExitStack() as stack:
            # What goes wrong is an exception here; Dask would log tracebacks beside it.
            log = logging.getLogger("distributed")
            stack.callback(log.setLevel, log.level)
            log.setLevel(logging.CRITICAL)
            stack.enter_context(dask.config.set(QUIET))
            if address is None:
                # Who can reach a scheduler runs code as its user: without certificates that would
                # be everybody on this machine.
                security = distributed.Security.temporary()
                local = distributed.LocalCluster(
                    n_workers=n, threads_per_worker=1, processes=True, host="127.0.0.1",
                    protocol="tls://", security=security, silence_logs=logging.CRITICAL,
                    dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0",
                )  # fmt: skip
                self._client = stack.enter_context(distributed.Client(stack.enter_context(local)))
            else:
                with _told_as(f"--scheduler {address}"):
                    client = distributed.Client(address, timeout=CONNECT_SECONDS)
                    self._client = stack.enter_context(client)
                    client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            self._executor = self._client.get_executor(pure=False)
            self._open = stack.pop_all()
        self.width = self._threads()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _threads(self) -> int:
        return max(1, int(sum(self._client.nthreads().values())))

    def prepare(self, task: Task) -> Submit:
        """Return what takes a bundle of blocks and promises their pieces."""
        self.width = self._threads()
        packed = self._client.submit(keep, task.pack())

        def submit(bundle: list[Any]) -> Future[list[Any]]:
            theirs = self._executor.submit(do_blocks, packed, bundle)
            ours: Future[list[Any]] = Future()
            ours.add_done_callback(lambda future: future.cancelled() and theirs.cancel())
            theirs.add_done_callback(lambda future: _settle(ours, future, bundle))
            return ours

        return submit


def _settle(ours: Future[list[Any]], theirs: Future[list[Any]], bundle: list[Any]) -> None:
    """Hand on pieces, or their error in this package's words."""
    if not ours.set_running_or_notify_cancel():
        return
    if theirs.cancelled():
        ours.set_exception(
            FitError("the Dask scheduler has gone away, with the blocks that were in work")
        )
        return
    error = theirs.exception()
    if error is None:
        ours.set_result(theirs.result())
    elif type(error).__name__ == "KilledWorker":
        ours.set_exception(lost(bundle))
    elif isinstance(error, ImportError):
        ours.set_exception(
            UsageError(f"the workers cannot load ddphf ({error}); install it where they run")
        )
    else:
        ours.set_exception(error)


@contextlib.contextmanager
def _told_as(what: str) -> Iterator[None]:
    """Say in one sentence that there is no cluster."""
    try:
        yield
    except TypeError:  # what Dask raises there
        raise UsageError(
            f"{what}: a tls:// address needs the certificates of that cluster in Dask's own "
            "configuration (distributed.comm.tls)"
        ) from None
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"{what}: no Dask scheduler with a worker answered in {CONNECT_SECONDS} s "
            f"({type(error).__name__}); start them with 'dask scheduler' and 'dask worker', and "
            "give the address that the scheduler prints"
        ) from None
