"""What the process does when it is asked to stop: quietly before it has begun, cleanly after."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

__all__ = ["Terminated", "ending", "listening", "raise_if_stopped", "run", "show_bug", "stopped"]

AGAIN_SECONDS = 0.05
"""After a stop that was lost in a callback, the time until it is raised again."""

PATIENCE_SECONDS = 2.0
"""After a further stop, the time until it is raised: cleaning up takes less."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP: unwinds like Ctrl-C, so that no half-written file is left."""


STOPS = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
    signal.SIGHUP: Terminated,
}


STOPPED = (130, 143)
"""Exit codes of a process that was asked to stop."""

_asked: list[type[BaseException]] = []
_ending: list[bool] = []


def stopped() -> type[BaseException] | None:
    """Return what the process was asked to stop by, None where it was not.

    Libraries may turn the exception of a signal into one of their own (matplotlib's compiled part
    makes a ValueError of it) or swallow it: whatever comes after a stop is that stop.
    """
    return _asked[-1] if _asked else None


def raise_if_stopped() -> None:
    """Raise a stop again that a library swallowed."""
    if _asked:
        raise _asked[-1]


def ending() -> None:
    """Let no signal interrupt what the process still does until :func:`listening` ends."""
    _ending.append(True)


@contextlib.contextmanager
def listening(leave: Callable[[type[BaseException]], None] | None = None) -> Iterator[None]:
    """Turn signals into exceptions of the main thread, none of which is lost.

    Python prints and forgets an exception that a signal raises inside a callback of a weak
    reference, of which jax has many: such a stop is raised again a moment later. A further signal
    does not interrupt the cleaning that the first one began; it is raised where the process still
    runs long after. A signal that the caller ignores (``nohup``, a background job) stays ignored.

    Args:
        leave: Ends the process where a signal comes in the middle of an import: compiled libraries
            crash where their beginning is cut short by an exception.
    """
    _asked.clear()
    _ending.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        if leave is not None and not _ending and _importing(frame):
            leave(STOPS.get(signal.Signals(number), Terminated))
        further = bool(_asked) and number != signal.SIGALRM
        kind = STOPS.get(signal.Signals(number), _asked[-1] if _asked else Terminated)
        _asked.append(kind)
        if _ending:
            return
        if further:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
            return
        raise kind

    def again(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, (KeyboardInterrupt, Terminated)):
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            hook(lost)

    hook, before = sys.unraisablehook, dict[Any, Any]()
    for number in (*STOPS, signal.SIGALRM):
        before[number] = signal.getsignal(number)
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    sys.unraisablehook = again
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        sys.unraisablehook = hook
        _asked.clear()
        _ending.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, its texts cleaned: messages may quote names of files."""
    from ddphf.text import clean_text

    with contextlib.suppress(OSError):  # nobody can be told
        for text in traceback.format_exception(kind, error, trace):
            for line in text.splitlines():
                print(clean_text(line), file=sys.stderr)


def run() -> None:
    """Run the program ``ddphf``: entry point of the console script.

    Nothing but this file is imported before: Ctrl-C during the imports ends the process without a
    traceback, there being nothing to clean up.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ddphf.cli.main import end, main

    sys.excepthook = show_bug
    try:
        with listening(_stop_in_import):
            try:
                main()
            except (KeyboardInterrupt, Terminated) as error:  # between any two lines of main
                end(error)
            finally:  # all is written: what comes now is the interpreter's own end
                for number in STOPS:
                    signal.signal(number, signal.SIG_IGN)
    except SystemExit as leave:
        if leave.code in STOPPED:
            _leave(leave.code)
        raise


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _stop_in_import(kind: type[BaseException]) -> None:
    from ddphf.outputs import sweep_litter

    sweep_litter()
    word, code = ("interrupted", 130) if kind is KeyboardInterrupt else ("terminated", 143)
    with contextlib.suppress(OSError, RuntimeError):  # nobody can be told
        print(f"ddphf: error: {word}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End at once: the interpreter's own end may crash in a library whose import was cut short."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
