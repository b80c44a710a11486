"""``ddphf scan``: 2NLL along one parameter, or over the plane of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddphf.cli import common
from ddphf.cli.figures import figure_options, write_record
from ddphf.cli.sidecar import read_statement, statement_files
from ddphf.results.fit import describe_error

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.results.scan import ScanResult

__all__ = ["command"]


@click.command("scan")
@click.argument("workspace")
@common.output_option
@click.option(
    "--parameter", "parameters", multiple=True, required=True, metavar="NAME",
    help="What to scan, such as mu or 'symmetric_shape[317]'; twice for a plane.",
)  # fmt: skip
@click.option(
    "--points", type=click.IntRange(2, 10001), metavar="N",
    help="Per parameter; 41 for one, 31 for two by default.",
)  # fmt: skip
@click.option(
    "--range", "ranges", type=float, nargs=2, multiple=True, metavar="LOW HIGH",
    help="Of each parameter, in their order; some errors on either side by default.",
)  # fmt: skip
@common.measurement_option
@figure_options("Draw the scan into this folder.")
@common.statement_options
def command(
    workspace: str,
    output: str,
    parameters: tuple[str, ...],
    points: int | None,
    ranges: tuple[tuple[float, float], ...],
    measurement: str | None,
    plots: str | None,
    poi_bounds: tuple[float, float] | None,
    kind: str | None,
    where: str | None,
    force: bool,
) -> None:
    """Scan 2NLL of WORKSPACE (- reads standard input), everything else refitted.

    Example: ddphf scan workspace.json --parameter mu -o scan.json
    """
    figures, outputs = statement_files(workspace, output, plots, kind, ("scan",), force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        spec, declared, said = read_statement(workspace)
        from ddphf.inference.scan import scan_parameters

        result = scan_parameters(
            spec, parameters, measurement=measurement, poi_bounds=poi_bounds, points=points,
            ranges=ranges, declared=declared,
            progress=say, refit_progress=say.bar("refits"), runner=runner,
        )  # fmt: skip
    common.print_warnings([*said, *result.warnings])
    write_record(outputs, output, result.to_dict(), figures, lambda: _draw(result))
    for line in describe_scan(result):
        common.print_summary(line)


def _draw(result: ScanResult) -> dict[str, Figure]:
    from ddphf.figures.scan import draw_scan

    return {"scan": draw_scan(result)}


def describe_scan(result: ScanResult) -> list[str]:
    """Return the lines that the terminal shows."""
    lines = [
        f"{axis.name} = {axis.best:.6g} {describe_error(axis.error)}, {len(axis.values)} points "
        f"from {axis.values[0]:.6g} to {axis.values[-1]:.6g}"
        for axis in result.parameters
    ]
    for interval in result.intervals:
        ends = (interval["low"], interval["high"])
        low, high = ("the bound" if x is None else f"{x:.6g}" for x in ends)
        lines.append(f"{interval['level']:.2%}: {low} to {high}")
    for contour in result.contours:
        n = len(contour["paths"])
        lines.append(f"{contour['level']:.2%}: {n} contour line{'s' * (n != 1)} in the grid")
    return lines
