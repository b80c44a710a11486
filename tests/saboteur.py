"""Faults at the moments at which a command touches its outputs: deterministic, one at a time."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

TOUCHES = ("open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir")
"""Audit events of the interpreter (docs.python.org, Audit events table), raised before the act."""

REFUSED = ("open", "os.mkdir", "os.link", "os.rename")
"""Those that a full disk refuses."""

WRITING = os.O_WRONLY | os.O_RDWR


Act = Callable[[], None]
When = Callable[[list[str]], bool]


class Saboteur:
    """Counts what is done below a folder, and acts once, before one of the times.

    Attributes:
        seen: The events below the folder since :meth:`watch`.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._place: str | None = None
        self._when: When = bool
        self._act: Act = _nothing
        sys.addaudithook(self._hook)  # there is no way to take it away

    def watch(self, place: Path, when: When | None = None, act: Act | None = None) -> None:
        """Begin to count; ``when`` is asked at each event whether it is time to ``act``."""
        self.seen, self._place = [], str(place.resolve())
        self._when, self._act = when or (lambda seen: False), act or _nothing

    def rest(self) -> None:
        """Stop counting."""
        self._place = None

    def _hook(self, event: str, arguments: tuple) -> None:
        if self._place is None or event not in TOUCHES or isinstance(arguments[0], int):
            return
        path = os.fsdecode(arguments[0]) if arguments[0] is not None else ""
        if not (path == self._place or path.startswith(self._place + os.sep)):
            return
        if event == "open" and not (arguments[2] or 0) & WRITING:
            return
        self.seen.append(event)
        if self._when(self.seen):
            self._when = lambda seen: False
            self._act()


def _nothing() -> None:
    return


def full_disk() -> None:
    """Refuse, as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def terminate() -> None:
    """Send SIGTERM to this process."""
    signal.raise_signal(signal.SIGTERM)


def interrupt() -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def kill() -> None:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)
