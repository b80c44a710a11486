"""``ddphf yields``: expected events before and after the fit, as JSON, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddphf.cli import common
from ddphf.cli.build import metadata_path
from ddphf.cli.figures import figure_options, figure_paths, stage_figures
from ddphf.cli.sidecar import digest_of, read_binning, read_declared
from ddphf.cli.verbosity import LEVEL
from ddphf.exceptions import InputError, UsageError
from ddphf.files import read_json, to_json
from ddphf.outputs import Outputs, check_folder

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.results.fit import FitResult
    from ddphf.results.yields import YieldsResult

__all__ = ["command", "read_fit"]

TABLES = ("channels.csv", "channels.tex", "bins.csv", "bins.tex")
FIGURES = ("prefit", "postfit", "null", "asymmetry", "z_map", "pulls", "correlations")


@click.command("yields")
@click.argument("workspace")
@common.output_option
@click.option("--fit", "fit_file", metavar="FILE", help="fit.json of this workspace; else fitted.")
@click.option("--measurement", metavar="NAME", help="Which one to fit; the first by default.")
@click.option("--tables", metavar="DIR", help="Write CSV and LaTeX tables into this folder.")
@figure_options("Draw spectra, asymmetry, Z map, pulls, correlations.")
@common.force_option
def command(
    workspace: str,
    output: str,
    fit_file: str | None,
    measurement: str | None,
    tables: str | None,
    plots: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Tell the events that WORKSPACE expects per channel, sample and bin, with errors.

    Errors after the fit come from the covariance of all parameters, per-bin ones included.

    Example: ddphf yields workspace.json --fit fit.json -o yields.json
    """
    table_paths = (
        [] if tables is None else [check_folder("--tables", tables) / name for name in TABLES]
    )
    figures = figure_paths(plots, kind, FIGURES)
    inputs: list[str | Path | None] = [workspace, metadata_path(workspace), fit_file]
    outputs = Outputs([output, *table_paths, *figures.values()], inputs=inputs, force=force)
    if fit_file is not None and measurement is not None:
        raise UsageError("--fit and --measurement: the fit has its measurement; give one of them")
    with common.progress_line() as say:
        say("reading")
        spec = read_json(workspace)
        digest = digest_of(spec)
        binning, warnings = read_binning(workspace, digest)
        from ddphf.inference.yields import predict_yields

        if fit_file is None:
            from ddphf.inference.fit import fit_workspace

            declared, said = read_declared(workspace, spec)
            warnings += [line for line in said if line not in warnings]
            fit = fit_workspace(spec, measurement=measurement, declared=declared, progress=say)
        else:
            fit = read_fit(fit_file, digest)
        say("propagating errors")
        result = predict_yields(spec, fit, **binning)
        common.print_warnings([*warnings, *fit.warnings, *result.warnings])
        say("writing")
        with outputs:
            outputs.write(output, to_json(result.to_dict()))
            _stage_tables(outputs, result, table_paths)
            if figures:
                stage_figures(outputs, figures, _draw(result))
    from ddphf.report.tables import channel_table

    table = channel_table(result).to_rich()
    if output == "-":
        common.print_summary(table)
    elif not LEVEL.quiet:
        common.stdout().print(table)


def read_fit(path: str, digest: str) -> FitResult:
    """Read fit.json and check that it is of this workspace.

    Raises:
        InputError: It is no fit.json, or of another workspace.
    """
    from ddphf.results.fit import FitResult

    try:
        fit = FitResult.from_dict(read_json(path))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: is no fit.json of 'ddphf fit'; fit the workspace again"
        ) from None
    owner = fit.provenance.get("workspace_digest") if isinstance(fit.provenance, dict) else None
    if owner != digest:
        raise InputError(
            f"{path}: belongs to another workspace ({owner}, expected {digest}); fit this one"
        )
    return fit


def _stage_tables(outputs: Outputs, result: YieldsResult, paths: list[Path]) -> None:
    from ddphf.report.tables import bin_summary, bin_table, channel_table

    for path in paths:
        if path.suffix == ".csv":
            text = (channel_table if path.stem == "channels" else bin_table)(result).to_csv()
        else:
            make = channel_table if path.stem == "channels" else bin_summary
            text = make(result).to_latex() + "\n"
        outputs.write(path, text)


def _draw(result: YieldsResult) -> dict[str, Figure]:
    """Draw what this workspace has: a map needs a 2-D pair, pulls need constraints."""
    from ddphf.figures.asymmetry import draw_asymmetry, draw_z_map
    from ddphf.figures.parameters import draw_correlations, draw_pulls
    from ddphf.figures.spectra import draw_spectra

    figures: dict[str, Figure] = {
        name: draw_spectra(result, name) for name in result.channels[0].predictions
    }
    if result.asymmetry:
        figures["asymmetry"] = draw_asymmetry(result)
        if len(result.axes) == 2:
            figures["z_map"] = draw_z_map(result)
    if result.pulls:
        figures["pulls"] = draw_pulls(result.pulls)
    if result.correlations is not None and len(result.correlations["names"]) > 1:
        figures["correlations"] = draw_correlations(result.correlations)
    return figures
