"""``ddphf``: finds the command, loads it only when it is called, turns errors into exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from ddphf import __version__
from ddphf.exceptions import DdphfError
from ddphf.text import clean_line

__all__ = ["main"]

# Imported on use: `ddphf --help` must not wait for jax.
COMMANDS = {
    "build": "Emit the pyhf workspace of an analysis file.",
    "correlations": "Say which correlation of the lepton-ID errors is conservative.",
    "discover": "State the observed and expected significance, by asymptotics and toys.",
    "fit": "Fit any pyhf workspace, certify the fit, state its significance.",
    "inject": "Put a signal of a wanted significance into a workspace.",
    "inspect": "Print what is in a pyhf workspace.",
    "limit": "Find upper limits and intervals of the signal strength.",
    "patch": "Replace the signal of a published workspace by yours.",
    "publish": "Pack a workspace with its results and the proof of both.",
    "rank": "Rank parameters by their impact on the POI.",
    "report": "Write one HTML page from result files of one workspace.",
    "scan": "Scan 2NLL along one or two parameters.",
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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ddphf")
def group() -> None:
    """Search for new physics through Standard Model symmetries with pyhf workspaces.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 bad input, config or model, 4 the
    numbers failed, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):  # names that the terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        group.main(args=arguments, prog_name="ddphf", standalone_mode=False)
    except DdphfError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            print(clean_line(line), file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def _fail(message: str, code: int) -> Any:
    print(clean_line(f"ddphf: error: {message}"), file=sys.stderr)
    sys.exit(code)
