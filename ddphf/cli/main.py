"""``ddphf``: finds the command, loads it only when it is called, turns errors into exit codes."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import os
import sys
from typing import NoReturn

import click

from ddphf import __version__
from ddphf.cli.signals import Terminated, ending, stopped
from ddphf.cli.verbosity import LEVEL, add_verbosity
from ddphf.exceptions import DdphfError
from ddphf.outputs import sweep_litter
from ddphf.text import clean_line

__all__ = ["main"]

# BLAS reads this when numpy is loaded, which is later. Its threads wait for each other: on a busy
# machine a matrix of a hundred rows then takes a hundred times as long as one thread does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Imported on use: `ddphf --help` must not wait for jax.
COMMANDS = {
    "build": "Emit the pyhf workspace of an analysis file.",
    "bumps": "Search mass spectra for bumps over backgrounds that no model tells.",
    "convert": "Write a model in the format of another tool: HS3, Combine, HistFactory XML.",
    "correlations": "Say which correlation of the lepton-ID errors is conservative.",
    "discover": "State the observed and expected significance, by asymptotics and toys.",
    "fit": "Fit any pyhf workspace, certify the fit, state its significance.",
    "init": "Write a short commented analysis file to begin with.",
    "inject": "Put a signal of a wanted significance into a workspace.",
    "inspect": "Print what is in a pyhf workspace.",
    "learn": "Learn whether and where two samples differ, with p-values by redrawn labels.",
    "limit": "Find upper limits and intervals of the signal strength.",
    "masses": "Scan hundreds of mass hypotheses: limits, local and global p-values.",
    "patch": "Replace the signal of a published workspace by yours.",
    "publish": "Pack a workspace with its results and the proof of both.",
    "rank": "Rank parameters by their impact on the POI.",
    "report": "Write one HTML page from result files of one workspace.",
    "scan": "Scan 2NLL along one or two parameters.",
    "search": "Search two samples for a difference, and say what looking everywhere costs.",
    "study": "Do a published study again, number by number.",
    "toys": "Draw and fit toys of a workspace, kept in a file.",
    "verify": "Check a published bundle, from its checksums to refits by stock pyhf.",
    "yields": "Tell expected events per channel and bin, with errors, tables, figures.",
}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ddphf.cli.{cmd_name}").command
        return add_verbosity(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(COMMANDS))}"
            ctx.fail(f"no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ddphf")
def group() -> None:
    """Search for new physics through Standard Model symmetries with pyhf workspaces.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 bad input, config or model, 4 the
    numbers failed, 130 interrupted, 143 terminated.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):  # names that the terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    LEVEL.verbose = LEVEL.quiet = False
    try:
        group.main(args=arguments, prog_name="ddphf", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        end(error)
    sys.exit(0)


def end(error: BaseException) -> NoReturn:
    """Say what happened and exit; a bug keeps its traceback."""
    ending()
    sweep_litter()
    stop = stopped() or type(error)
    if stop is Terminated:
        _fail("terminated", 143)
    if issubclass(stop, (KeyboardInterrupt, click.Abort)):
        _fail("interrupted", 130)
    if isinstance(error, DdphfError):
        _fail(str(error), error.exit_code)
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            print(clean_line(line), file=sys.stderr)
        sys.exit(2)
    if isinstance(error, BrokenPipeError):  # the reader of a pipe went away, as `head` does
        _silence_stdout()
        sys.exit(0)
    if isinstance(error, OSError):  # of the machine, not of the input: a full disk under a library
        what = "a temporary file" if error.filename is None else error.filename
        _fail(f"{what}: cannot be read or written ({error.strerror or error})", 2)
    raise error


def _silence_stdout() -> None:
    """Point standard output at nothing: Python flushes it again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody can be told
        print(clean_line(f"ddphf: error: {message}"), file=sys.stderr)
    sys.exit(code)
