"""``ddphf discover``: observed and expected significance, asymptotic and by toys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.cli.fit import global_row
from ddphf.cli.sidecar import check_null
from ddphf.exceptions import UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs
from ddphf.results.fit import describe_error

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.inference.discovery import NullMethod

__all__ = ["command", "make_table"]

METHODS = ("asymptotic", "toys", "importance")
FIGURES = ("discover_null", "discover_null_known_background")
"""Of the statements, in their order; `ddphf yields` draws null.png."""


@click.command("discover")
@click.argument("workspace")
@common.output_option
@common.measurement_option
@click.option(
    "--null", "nulls", default="asymptotic", show_default=True, metavar="LIST",
    help="How p0 is found: asymptotic, toys, importance; several with commas.",
)  # fmt: skip
@click.option(
    "--toys", type=int, default=None, metavar="N",
    help="Toys of the null, and as many of each other ensemble.  [default: 20000]",
)  # fmt: skip
@common.seed_option
@click.option("--toys-file", metavar="FILE", help="Toys of the null that 'ddphf toys' kept.")
@click.option(
    "--mu-expected", default="1", show_default=True, metavar="MU",
    help="Signal strength of the expectation; mu_hat takes the fitted one.",
)  # fmt: skip
@figure_options("Draw the toy null against the asymptotic one there.")
@common.statement_options
def command(
    workspace: str, output: str, measurement: str | None, nulls: str, toys: int | None, seed: int,
    toys_file: str | None, mu_expected: str, plots: str | None, kind: str | None,
    poi_bounds: tuple[float, float] | None, where: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Say how significant the signal of WORKSPACE is, and how significant it should have been.

    WORKSPACE is any pyhf workspace; - reads standard input.

    Example: ddphf discover workspace.json --null toys --toys 2000 -o p0.json
    """
    methods = common.choices("--null", nulls, METHODS)
    if plots is not None and "toys" not in methods:
        raise UsageError("--plots: draws the toy null; give --null asymptotic,toys too")
    common.require_work(where, {"toys", "importance"} & set(methods), "--null toys or importance")
    if toys_file is not None and "toys" not in methods:
        raise UsageError("--toys-file: is for the toy null; give --null asymptotic,toys too")
    if toys_file is not None and toys is not None:
        raise UsageError("--toys: their number is that of --toys-file; leave one of them out")
    if toys is not None and not {"toys", "importance"} & set(methods):
        raise UsageError("--toys: is for --null toys or importance; give it, or leave --toys out")
    mu = _read_mu(mu_expected)
    # L1, the second statement, is there only for some workspaces; its figure is checked as well.
    figures = figure_paths(plots, kind, FIGURES)
    outputs = Outputs([output, *figures.values()], inputs=[workspace, toys_file], force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.discovery import discover_workspace
        from ddphf.inference.toys.store import load_toys, require_whole

        spec = read_json(workspace)
        said = check_null(workspace, spec)
        sample = None if toys_file is None else load_toys(Path(toys_file))
        if toys_file is not None and sample is not None:
            require_whole(sample, toys_file)
        result = discover_workspace(
            spec, measurement=measurement, nulls=cast("tuple[NullMethod, ...]", methods),
            toys=20_000 if toys is None else toys, seed=seed, mu_expected=mu,
            poi_bounds=poi_bounds,
            sample=sample,
            progress=say, toy_progress=say.toys, runner=runner,
        )  # fmt: skip
    common.print_warnings([*said, *result.warnings])
    data = result.to_dict()
    write_record(outputs, output, data, figures, lambda: _draw(data))
    common.print_summary(make_table(data))


def _draw(data: dict[str, Any]) -> dict[str, Figure]:
    from ddphf.figures.null import draw_null

    return {
        name: draw_null(s["null"]["comparison"], s["observed"]["z0"], s["measurement"])
        for name, s in zip(FIGURES, data["statements"], strict=False)
        if "comparison" in s["null"]
    }


def _read_mu(text: str) -> float | None:
    if text == "mu_hat":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--mu-expected {text}: expected a number or mu_hat") from None


def make_table(data: dict[str, Any]) -> Table:
    """Return the table that the terminal shows, from discover.json."""
    table = Table(title=Text(f"signal strength {data['poi']}"), title_justify="left")
    mark = data.get("data_directed")
    local = "" if mark is None else " local"
    for column in ("", "mu", f"Z{local}", f"p0{local}", ""):
        table.add_column(Text(column), justify="left" if column == "" else "right")
    for statement in data["statements"]:
        _add_statement(table, statement)
        table.add_section()
    if mark is not None:
        name, *_, z, p = global_row(mark)
        table.add_row(name, "", z, p, "of the search that chose the window")
    return table


def _add_statement(table: Table, statement: dict[str, Any]) -> None:
    observed, null, expected = (statement[key] for key in ("observed", "null", "expected"))
    mu = f"{observed['mu_hat']:.4g} {describe_error(observed['mu_error'], 2)}"
    table.add_row(Text(statement["measurement"], style="bold"), "", "", "", "")
    table.add_row("observed, asymptotic", mu, f"{observed['z0']:.4f}", _p(observed["p0"]), "")
    if null.get("toys"):
        toys = null["toys"]
        low, high = toys["p0_interval"]
        z0 = "" if toys["z0"] is None else f"{toys['z0']:.3f}"
        p0 = f"< {high:.2g}" if toys["p0"] is None else f"{toys['p0']:.3g}"
        ends = "" if toys["p0"] is None else f"[{low:.3g}, {high:.3g}], "
        note = f"{ends}{toys['n_ge']} of {toys['n']} toys, {toys['n_failed']} failed"
        table.add_row("observed, toys", "", z0, p0, Text(note))
    if null.get("importance"):
        found = null["importance"]
        note = (
            f"+- {found['p0_error']:.1g}, {found['effective_sample_size']:.0f} effective "
            f"of {found['n']} toys"
        )
        z0, p0 = f"{found['z0']:.3f}", f"{found['p0']:.3g}"
        table.add_row("observed, importance sampling", "", z0, p0, note)
    for kind in null.get("failed", {}):
        table.add_row(f"observed, {kind}", "", "-", "-", "not done, see the warning")
    if expected is None:
        table.add_row("expected", "", "-", "-", "not done, see the warning")
        return
    asimov, bands = expected["asimov"], expected["asymptotic"]["z0"]
    note = _bands(bands)
    table.add_row(
        "expected, Asimov", f"{expected['mu']:.4g}", f"{asimov['z0']:.4f}", _p(asimov["p0"]), note
    )
    if "toys" in expected:
        bands = expected["toys"]["z0"]
        note = _bands(bands)
        table.add_row("expected, toys (median)", "", f"{bands[2]:.3f}", "", note)


def _bands(z: list[float]) -> str:
    return f"1 sigma: {z[1]:.2f} to {z[3]:.2f}, 2 sigma: {z[0]:.2f} to {z[4]:.2f}"


def _p(value: float | None) -> str:
    return "< 1e-307" if value is None else f"{value:.4g}"
