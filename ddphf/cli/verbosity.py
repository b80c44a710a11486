"""``--verbose`` and ``--quiet`` of every command, and the log of its stages on stderr."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click

from ddphf.progress import Stage

__all__ = ["LEVEL", "Level", "StageLog", "add_verbosity"]

SECONDS_BEFORE_LOG = 2.0
"""Commands shorter than this log no stages."""

SECONDS_BETWEEN_COUNTS = 10.0


@dataclass
class Level:
    """What the command line asked for."""

    verbose: bool = False
    quiet: bool = False


LEVEL = Level()


def add_verbosity(command: click.Command) -> click.Command:
    """Give a command, and the commands below it, ``--verbose`` and ``--quiet``."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_verbosity(below)
    elif not any(parameter.name == "quiet" for parameter in command.params):
        command.params += [
            click.Option(
                ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set,
                help="Log every stage with its time.",
            ),
            click.Option(
                ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set,
                help="No progress, no tables; warnings and errors stay.",
            ),
        ]  # fmt: skip
    return command


def _set(context: click.Context, option: click.Parameter, value: Any) -> None:
    del context
    setattr(LEVEL, str(option.name), bool(value))
    if LEVEL.verbose and LEVEL.quiet:
        raise click.UsageError("--verbose and --quiet: give one of them")


class StageLog:
    """Lines on stderr where no terminal shows a bar, or where --verbose asks for them.

    Args:
        write: Takes one line.
        hidden: Whether the progress bar is not shown.
    """

    def __init__(self, write: Stage, *, hidden: bool) -> None:
        self._write, self._hidden = write, hidden
        self._start = self._counted = time.monotonic()

    def stage(self, line: str) -> None:
        """Log a stage when it begins, once the command has run for two seconds."""
        if LEVEL.quiet:
            return
        elapsed = time.monotonic() - self._start
        if LEVEL.verbose or (self._hidden and elapsed > SECONDS_BEFORE_LOG):
            self._write(f"ddphf: {elapsed:.1f} s: {line}")

    def count(self, what: str, done: int, total: int) -> None:
        """Log a count every ten seconds."""
        now = time.monotonic()
        if LEVEL.quiet or not (self._hidden or LEVEL.verbose):
            return
        if now - self._counted >= SECONDS_BETWEEN_COUNTS:
            self._counted = now
            self._write(f"ddphf: {now - self._start:.1f} s: {what} {done:,} of {total:,}")
