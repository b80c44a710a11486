"""What several commands share: options, the console on stderr, quiet libraries."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["force_option", "output_option", "print_warnings", "progress_line", "stderr"]

stderr = Console(stderr=True, highlight=False, soft_wrap=True)

output_option = click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Where to write the JSON; - is standard output.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace existing output files.")


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Show the running stage and its time on stderr, when that is a terminal."""
    logging.getLogger("pyhf").setLevel(logging.CRITICAL)
    # pyhf 0.7.6 validates through a deprecated class of jsonschema (scikit-hep/pyhf#2139).
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="pyhf")
    columns: list[Any] = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    ]
    hidden = not stderr.is_terminal  # rich would still print an empty line
    with Progress(*columns, console=stderr, transient=True, disable=hidden) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda line: bar.update(task, description=line)


def print_warnings(lines: list[str] | tuple[str, ...]) -> None:
    """Print warnings on stderr, one line each."""
    for line in lines:
        stderr.print(f"ddphf: warning: {line}", style="yellow", markup=False)
