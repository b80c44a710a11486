"""``ddphf fit``: certified fits and the discovery statement of any pyhf workspace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.build import metadata_path
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.cli.sidecar import closure_warnings, digest_of, read_binning, read_declared
from ddphf.files import read_json
from ddphf.outputs import Outputs
from ddphf.results.fit import describe_error
from ddphf.workspace_json import Workspace

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.inference.attempts import Engine
    from ddphf.results.fit import DiscoveryResult, FitResult
    from ddphf.results.goodness import GoodnessResult
    from ddphf.results.measured import MeasurementStatement

__all__ = ["command", "describe_goodness", "make_table"]


@click.command("fit")
@click.argument("workspace")
@common.output_option
@common.text_option("--measurement", "NAME", "Which one to fit; the first by default.")
@click.option(
    "--engine", type=click.Choice(["ddphf", "pyhf"]), default="ddphf", show_default=True,
    help="pyhf: its jax backend with iminuit, polished; for comparison.",
)  # fmt: skip
@common.count_option("--toys", "Draw N toys of the null too.", default=0)
@common.seed_option
@common.count_option("--goodness-toys", "Draw N toys of the fit, for its goodness.", default=0)
@common.number_option(
    "--tested", "VALUE",
    "Value of the POI to test in a measurement without a null; the sidecar's by default.",
)  # fmt: skip
@figure_options("Draw pre- and post-fit spectra into this folder.")
@common.statement_options
def command(
    workspace: str,
    output: str,
    measurement: str | None,
    engine: str,
    plots: str | None,
    kind: str | None,
    toys: int,
    seed: int,
    goodness_toys: int,
    tested: float | None,
    poi_bounds: tuple[float, float] | None,
    where: str | None,
    force: bool,
) -> None:
    """Fit WORKSPACE (any pyhf workspace; - reads standard input) and write what was found.

    Example: ddphf fit workspace.json -o fit.json --plots figures
    """
    common.require_work(where, toys or goodness_toys, "--toys N")
    figures = figure_paths(plots, kind, ("prefit", "postfit"))
    inputs: list[str | Path | None] = [workspace, metadata_path(workspace)]
    outputs = Outputs([output, *figures.values()], inputs=inputs, force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.fit import fit_workspace

        spec = read_json(workspace)
        binning: dict[str, Any] = {}
        warnings: list[str] = []
        if figures:  # a damaged sidecar is refused before any work
            binning, warnings = read_binning(workspace, digest_of(spec))
            common.print_warnings(warnings)
        declared, said = read_declared(workspace, spec)
        if tested is not None:
            declared = replace(declared, tested=tested)
        result = fit_workspace(
            spec, measurement=measurement, engine=cast("Engine", engine), poi_bounds=poi_bounds,
            toys=toys, seed=seed, declared=declared,
            goodness_toys=goodness_toys, progress=say, toy_progress=say.toys, runner=runner,
        )  # fmt: skip
        digest = result.provenance["workspace_digest"]
        closure = closure_warnings(workspace, spec, digest)
        lines = dict.fromkeys((*said, *result.warnings, *closure))
        result = replace(result, warnings=tuple(lines))
    common.print_warnings([line for line in result.warnings if line not in warnings])
    write_record(outputs, output, result.to_dict(), figures, lambda: _draw(spec, binning, result))
    common.print_summary(make_table(result))
    for line in describe_measured(result.measurement_statement):
        common.print_summary(line)
    if result.goodness_of_fit is not None:
        common.print_summary(describe_goodness(result.goodness_of_fit))


def make_table(result: FitResult) -> Table:
    """Return the table that the terminal shows."""
    # Text: names of foreign workspaces may hold what rich takes for markup.
    table = Table(title=Text(f"measurement {result.measurement}"), title_justify="left")
    local = " local" if result.data_directed is not None else ""
    alone = result.discovery is None
    tests = [] if alone else ["q0", f"Z{local}", f"p0{local}"]
    for column in ("", f"{result.poi or 'POI'}_hat", "error", *tests):
        table.add_column(Text(column), justify="left" if column == "" else "right")
    poi = result.mu_hat
    if alone and poi is not None:
        table.add_row(Text(poi.name), f"{poi.value:.6g}", _error(result))
    main = result.measurement
    if result.known_background is not None:
        main = "discovery (L2)"
    elif main == "known_background":
        main = "known background (L1)"
    for name, statement in (
        (main, result.discovery),
        ("known background (L1)", result.known_background),
    ):
        if statement is not None:
            error = _error(result) if statement is result.discovery else None
            table.add_row(Text(name), *_numbers(statement, error))
        if statement is not None and statement.toys is not None:
            table.add_row(*_toy_row(statement.toys))
    if result.data_directed is not None:
        table.add_section()
        table.add_row(*global_row(result.data_directed))
    edm = max(m.certificate.edm for m in (result.fit, result.null) if m is not None)
    table.caption = f"2NLL {result.fit.twice_nll:.6f}, EDM {edm:.1e}, {result.engine}"
    return table


def describe_measured(statement: MeasurementStatement | None) -> list[str]:
    """Return the lines that the terminal shows of a measurement without a null."""
    if statement is None:
        return []
    name, s = statement.poi, statement
    lines = []
    sides = ", ".join(
        f"{sign}{abs(size):.4g}" if size is not None else f"no end {where} inside the bounds"
        for sign, size, where in (("+", s.error_up, "above"), ("-", s.error_down, "below"))
    )
    split = ""
    if s.statistical is not None and s.systematic is not None:
        split = f" +- {s.statistical:.4g} (counts) +- {s.systematic:.4g} (systematic)"
    lines.append(f"{name} = {s.value:.7g}{split}; profile errors {sides}")
    for interval in s.intervals:
        ends = (interval["low"], interval["high"])
        low, high = ("the bound" if x is None else f"{x:.7g}" for x in ends)
        lines.append(f"{interval['level']:.2%}: {low} to {high}")
    if s.tested is not None:
        t = s.tested
        p = "" if t.p_two_sided is None else f", two-sided p = {t.p_two_sided:.4g}"
        lines.append(f"{name} = {t.value:.7g} tested: t = {t.t:.6g}{p}")
    for d in s.derived:
        parts = "" if d.error is None else f" +- {d.error:.4g}"
        if d.statistical is not None and d.systematic is not None:
            parts += f" = {d.statistical:.4g} (counts) (+) {d.systematic:.4g} (systematic)"
        lines.append(f"{d.name} = {d.value:.6g}{parts}")
    return lines


def describe_goodness(result: GoodnessResult) -> str:
    """Return the line that the terminal shows."""
    line = f"goodness of fit: D = {result.statistic:.5g}, {result.degrees_of_freedom} degrees"
    line += " of freedom"
    if result.p_value is not None:
        unsure = (
            "" if result.asymptotic else f", but D is {result.expected_statistic:.5g} on average"
        )
        line += f", p = {result.p_value:.4g} (asymptotic{unsure})"
    if (toys := result.toys) is not None:
        low, high = toys["p_interval"]
        p = f"< {high:.2g}" if toys["p_value"] is None else f"= {toys['p_value']:.4g}"
        line += f"; by {toys['n']} toys p {p} [{low:.3g}, {high:.3g}], mean D {toys['mean']:.5g}"
    return line


def _error(result: FitResult) -> str:
    assert result.mu_hat is not None
    return result.mu_hat.stated_error.removeprefix("+- ")


def _numbers(statement: DiscoveryResult, error: str | None) -> tuple[str, ...]:
    own = describe_error(statement.mu_error).removeprefix("+- ")
    return (
        f"{statement.mu_hat:.6g}",
        own if error is None else error,
        f"{statement.q0:.6g}",
        f"{statement.z0:.4f}",
        f"{statement.p0:.4g}",
    )


def _toy_row(toys: dict[str, Any]) -> tuple[str, ...]:
    name = f"{toys['n']} toys, {toys['n_failed']} failed"
    low, high = toys["p0_interval"]
    if toys["p0"] is None:
        return (name, "", "", "", "", f"< {high:.2g}")
    z0 = "" if toys["z0"] is None else f"{toys['z0']:.4f}"
    return (name, "", "", "", z0, f"{toys['p0']:.3g} [{low:.3g}, {high:.3g}]")


def global_row(mark: dict[str, Any]) -> tuple[str, ...]:
    """Return the row that stands below local significances of a window chosen on these data."""
    found = mark["global"]
    z = "" if found["z"] is None else f"{found['z']:.4f}"
    p = "not resolved" if found["p"] is None else f"{found['p']:.4g}"
    error = "" if found["error"] is None else f" +- {found['error']:.1g}"
    return (f"global, of {mark['windows']} windows", "", "", "", z, f"{p}{error}")


def _draw(spec: Workspace, binning: dict[str, Any], result: FitResult) -> dict[str, Figure]:
    from ddphf.figures.spectra import draw_spectra
    from ddphf.inference.yields import predict_yields

    yields = predict_yields(spec, result, **binning)
    return {name: draw_spectra(yields, name) for name in ("prefit", "postfit")}
