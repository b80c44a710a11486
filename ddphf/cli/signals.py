"""What the process does when it is asked to stop: quietly before it has begun, cleanly after."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Terminated", "run"]


class Terminated(BaseException):
    """SIGTERM or SIGHUP: unwinds like Ctrl-C, so that no half-written file is left."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_IGN)  # once is enough; cleaning up is not interrupted
    raise Terminated


def run() -> None:
    """Run the program ``ddphf``: entry point of the console script.

    Nothing but this file is imported before: Ctrl-C during the imports ends the process without a
    traceback, there being nothing to clean up.
    """
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ddphf.cli.main import main

    signal.signal(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        main()
    finally:  # all is written: what comes now is the interpreter's own end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
