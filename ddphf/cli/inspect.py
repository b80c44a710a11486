"""``ddphf inspect``: what is in a workspace."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import force_option, print_warnings, progress_line
from ddphf.files import check_writable, read_json, to_json, write_output

__all__ = ["command"]


@click.command("inspect")
@click.argument("workspace")
@click.option("--measurement", metavar="NAME", help="Whose parameters to list; the first one.")
@click.option("-o", "--output", metavar="FILE", help="Write JSON there (- for standard output).")
@force_option
def command(workspace: str, measurement: str | None, output: str | None, force: bool) -> None:
    """Print what is in WORKSPACE (- reads standard input)."""
    if output is not None:
        check_writable(output, force=force)
    with progress_line() as say:
        say("reading")
        from ddphf.likelihood.summary import summarize_workspace

        summary = summarize_workspace(read_json(workspace), measurement)
    print_warnings(summary["warnings"])
    if output is not None:
        write_output(to_json(summary), output, force=force)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"workspace   {summary['digest']}", markup=False)
    console.print(
        f"measurement {summary['measurement']}, POI {summary['poi'] or 'none'}", markup=False
    )
    table = Table(title="channels", title_justify="left")
    samples = sorted({name for c in summary["channels"] for name in c["samples"]})
    for column in ("channel", "bins", "observed", *samples):
        table.add_column(Text(column), justify="left" if column == "channel" else "right")
    for channel in summary["channels"]:
        yields = [
            f"{channel['samples'][s]:.6g}" if s in channel["samples"] else "" for s in samples
        ]
        table.add_row(
            Text(channel["name"]), str(channel["bins"]), f"{channel['observed']:.10g}", *yields
        )
    console.print(table)
    for kind, names in summary["modifiers"].items():
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        console.print(f"{kind:12s}{len(names):4d}  {shown}", markup=False)
    parameters = summary["parameters"]
    console.print(f"parameters  {parameters['total']}, {parameters['free']} free")
    for item in summary["measurements"]:
        held = f", fixed: {', '.join(item['fixed'])}" if item["fixed"] else ""
        console.print(
            f"measurement {item['name']} (POI {item['poi'] or 'none'}{held})", markup=False
        )
    for channel_name, events in summary["signal_events"].items():
        console.print(
            f"signal      {events:.6g} events at {summary['poi']} = 1 in {channel_name}",
            markup=False,
        )
