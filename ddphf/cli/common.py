"""What several commands share: options, the console on stderr, quiet libraries."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ddphf.cli.signals import raise_if_stopped
from ddphf.cli.verbosity import LEVEL, StageLog
from ddphf.compute.blocks import Runner
from ddphf.compute.runners import open_runner, read_place
from ddphf.compute.streams import LARGEST_SEED
from ddphf.compute.work import Work
from ddphf.exceptions import UsageError
from ddphf.progress import Count
from ddphf.text import clean_line, clean_text

__all__ = [
    "CleanConsole",
    "choice_option",
    "choices",
    "count_option",
    "force_option",
    "measurement_option",
    "number_option",
    "output_option",
    "poi_bounds_option",
    "print_summary",
    "print_warnings",
    "progress_line",
    "require_work",
    "runner_at",
    "scheduler_option",
    "seed_option",
    "stderr",
    "stdout",
    "text_option",
    "titled",
]


class CleanConsole(Console):
    """A console on which no name of a file can command the terminal, forge markup or an emoji."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, cleaning every text but the commands of the console itself."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(clean_text, segment.text.split("\n")))
                yield Segment(text, segment.style)

    def on_broken_pipe(self) -> None:
        """Pass on that a reader went away, as `head` does: rich would exit with 1."""
        raise BrokenPipeError


# Logs are not folded at 80 columns; a terminal knows its own width.
stderr = CleanConsole(stderr=True, width=None if sys.stderr.isatty() else 120)

output_option = click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Where to write the JSON; - is standard output.",
)  # fmt: skip
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of everything drawn.",
)


def _read_bounds(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[float, float] | None:
    del context, option
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--poi-bounds {text}: expected LOW,HIGH, two numbers, the lower first")
    return low, high


poi_bounds_option = click.option(
    "--poi-bounds", metavar="LOW,HIGH", callback=_read_bounds,
    help="Bounds of the POI instead of the measurement's.",
)  # fmt: skip
measurement_option = click.option(
    "--measurement", metavar="NAME", help="Which one; the first by default."
)


def _read_place(context: click.Context, option: click.Parameter, where: str | None) -> str | None:
    del context, option
    if where is not None:
        read_place(where)  # refused before any work
    return where


scheduler_option = click.option(
    "--scheduler", "where", metavar="WHERE", callback=_read_place,
    help="Where long work is done: threads:N, processes:N, local:N (a Dask cluster of this "
    "machine), or tcp://HOST:PORT (yours). The result is the same.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace existing output files.")

Command = TypeVar("Command", bound=Callable[..., Any])


class Option(Protocol):
    """What adds an option to a command."""

    def __call__(self, command: Command, /) -> Command: ...


def count_option(
    name: str, text: str, *, least: int = 0, most: int | None = None, default: int | None = None
) -> Option:
    """Return an option whose value is a number of something.

    Args:
        name: With its dashes.
        text: Its help.
        least: Smallest number.
        most: Largest number.
        default: Shown in the help.
    """
    return click.option(
        name, type=click.IntRange(least, most), default=default, show_default=True, metavar="N",
        help=text,
    )  # fmt: skip


def text_option(name: str, value: str, text: str, default: str | None = None) -> Option:
    """Return an option whose value is a name, a file or a list.

    Args:
        name: With its dashes.
        value: What stands for the value in the help.
        text: Its help.
        default: Shown in the help.
    """
    return click.option(name, metavar=value, default=default, show_default=True, help=text)


def number_option(name: str, value: str, text: str, **kind: Any) -> Option:
    """Return an option whose value is a number; ``kind`` is as in :class:`click.FloatRange`."""
    return click.option(
        name, type=click.FloatRange(**kind) if kind else float, metavar=value, help=text
    )


def choice_option(
    name: str, values: Sequence[str], text: str, default: str | None = None
) -> Option:
    """Return an option whose value is one of some words; a default is shown in the help."""
    return click.option(
        name, type=click.Choice(values), default=default, show_default=True, help=text
    )


def statement_options(command: Command) -> Command:
    """Add what the statements of fits end with: ``--poi-bounds``, ``--scheduler``, ``--force``."""
    return poi_bounds_option(scheduler_option(force_option(command)))


class Stages:
    """The running stage on stderr; ``toys`` turns it into a bar with rate and time left."""

    def __init__(self, bar: Progress, log: StageLog) -> None:
        self._bar, self._task = bar, bar.add_task("starting", total=None)
        self._log = log

    def __call__(self, line: str) -> None:
        """Name the running stage."""
        self._bar.reset(self._task, description=line, total=None)
        self._log.stage(line)
        raise_if_stopped()

    def toys(self, done: int, total: int) -> None:
        """Say how many toys are done."""
        self.bar("toys")(done, total)

    def work(self, what: str, runner: Runner | None = None) -> Work:
        """Return what long work is handed: where it is done, and who hears of what it counts."""
        return Work(self, self.bar(what), runner)

    def bar(self, what: str) -> Count:
        """Return what says how many of something are done."""

        def update(done: int, total: int) -> None:
            self._bar.update(self._task, description=what, completed=done, total=total)
            self._log.count(what, done, total)
            raise_if_stopped()

        return update


class _Counts(ProgressColumn):
    """Done, rate and time left, once the number to do is known; the elapsed time before."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(f"{task.elapsed or 0:.0f} s")
        rate = "" if task.speed is None else f", {task.speed:,.0f}/s"
        left = "" if task.time_remaining is None else f", {task.time_remaining:.0f} s left"
        return Text(f"{task.completed:,.0f} of {task.total:,.0f}{rate}{left}")


@contextlib.contextmanager
def progress_line(*, compiles: bool = True) -> Iterator[Stages]:
    """Show the running stage and its time on stderr, when that is a terminal.

    Args:
        compiles: Whether programs may be compiled, which are then kept; jax is a second of import.
    """
    logging.getLogger("pyhf").setLevel(logging.CRITICAL)
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), _Counts()]
    # rich would still print an empty line without a terminal, and in a notebook takes it for one
    hidden = LEVEL.quiet or not (stderr.is_terminal and sys.stderr.isatty())
    log = StageLog(lambda line: stderr.print(line, markup=False), hidden=hidden)
    with Progress(*columns, console=stderr, transient=True, disable=hidden) as bar:
        stages = Stages(bar, log)
        stages("loading")
        if compiles:
            from ddphf.likelihood.cache import enable_compilation_cache

            enable_compilation_cache()
        yield stages


def require_work(where: str | None, work: object, option: str) -> None:
    """Refuse ``--scheduler`` where there is nothing long to do.

    Raises:
        UsageError: Names the option that asks for some.
    """
    if where is not None and not work:
        raise UsageError(f"--scheduler: is for toys; give {option}, or leave --scheduler out")


@contextlib.contextmanager
def runner_at(where: str | None, say: Stages) -> Iterator[Runner | None]:
    """Start the workers that ``--scheduler`` asks for, and end them."""
    if where is None:
        yield None
        return
    say(f"workers: {where}")
    with open_runner(where) as runner:
        yield runner


def stdout() -> Console:
    """Return the console of the tables that are a command's output."""
    return CleanConsole()


def titled(title: str) -> Table:
    """Return a table with a title; names of foreign files may hold what rich takes for markup."""
    return Table(title=Text(title), title_justify="left")


def print_summary(*parts: Any) -> None:
    """Print what a person reads beside the output: tables and lines on stderr.

    Nothing with --quiet. Strings are printed as they are: names of foreign files may hold what
    rich takes for markup.
    """
    for part in parts if not LEVEL.quiet else ():
        stderr.print(part, markup=False)


def print_warnings(lines: list[str] | tuple[str, ...]) -> None:
    """Print warnings on stderr, one line each."""
    for line in lines:
        stderr.print(clean_line(f"ddphf: warning: {line}"), style="yellow")


def choices(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read a list of words with commas.

    Raises:
        UsageError: A word is unknown or twice, or there is none.

    Example:
        >>> choices("--null", "asymptotic,toys", ("asymptotic", "toys"))
        ('asymptotic', 'toys')
    """
    words = tuple(word.strip() for word in text.split(","))
    for word in words:
        if word not in known:
            raise UsageError(f"{option}: '{word}' is unknown; expected {', '.join(known)}")
        if words.count(word) > 1:
            raise UsageError(f"{option}: '{word}' is there twice")
    return words
