"""``ddphf init``: a short commented analysis file to begin with."""

from __future__ import annotations

from importlib import resources

import click

from ddphf.cli.common import force_option, print_summary
from ddphf.outputs import Outputs

__all__ = ["command"]

NEXT = {
    "pair": "put your histograms in, then: ddphf build {0} -o workspace.json",
    "events": "put your event table and maps in, then: ddphf build {0} -o workspace.json",
}


@click.command("init")
@click.option(
    "--pair", "kind", flag_value="pair", default="pair", help="From two histograms (the default)."
)
@click.option(
    "--events", "kind", flag_value="events", help="From an event table with efficiency maps."
)
@click.option(
    "-o",
    "--output",
    default="analysis.yml",
    show_default=True,
    metavar="FILE",
    help="Where to write it; - is standard output.",
)
@force_option
def command(kind: str, output: str, force: bool) -> None:
    """Write a short commented analysis file.

    Example: ddphf init --events -o analysis.yml
    """
    outputs = Outputs([output], force=force)
    template = resources.files("ddphf.config").joinpath(f"templates/{kind}.yml")
    with outputs:
        outputs.write(output, template.read_text("utf-8"))
    if output != "-":
        print_summary(f"{output}: {NEXT[kind].format(output)}")
