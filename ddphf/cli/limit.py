"""``ddphf limit``: CLs upper limits and two-sided intervals of any pyhf workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.figures import figure_options, write_record
from ddphf.cli.sidecar import read_statement, statement_files
from ddphf.exceptions import UsageError
from ddphf.results.fit import describe_error

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.inference.limits.limits import LimitMethod

__all__ = ["command", "make_table"]

METHODS = ("asymptotic", "toys")


@click.command("limit")
@click.argument("workspace")
@common.output_option
@common.measurement_option
@click.option(
    "--cl", "level", type=float, default=0.95, show_default=True, help="Confidence level."
)
@click.option(
    "--method", default="asymptotic", show_default=True, metavar="LIST",
    help="asymptotic, toys, or both with a comma.",
)  # fmt: skip
@click.option("--interval", is_flag=True, help="Two-sided intervals too, at 68.27 % and at --cl.")
@click.option(
    "--toys", type=int, default=None, metavar="N",
    help="Toys per ensemble, one for each scanned mu.  [default: 5000]",
)  # fmt: skip
@common.seed_option
@figure_options("Draw CLs against mu there.")
@common.statement_options
def command(
    workspace: str, output: str, measurement: str | None, level: float, method: str,
    interval: bool, toys: int | None, seed: int, plots: str | None, kind: str | None,
    poi_bounds: tuple[float, float] | None, where: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Find the upper limits of the signal strength of WORKSPACE.

    WORKSPACE is any pyhf workspace; - reads standard input. A measurement without a null has no
    upper limits: --interval gives its two-sided intervals.

    Example: ddphf limit workspace.json -o limit.json --plots figures
    """
    methods = common.choices("--method", method, METHODS)
    if toys is not None and "toys" not in methods:
        raise UsageError("--toys: is for --method toys; give it, or leave --toys out")
    common.require_work(where, "toys" in methods, "--method toys")
    figures, outputs = statement_files(workspace, output, plots, kind, ("limit",), force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.limits.limits import limit_workspace

        spec, declared, said = read_statement(workspace)
        result = limit_workspace(
            spec, declared=declared, measurement=measurement, level=level,
            methods=cast("tuple[LimitMethod, ...]", methods), poi_bounds=poi_bounds,
            interval=interval,
            toys=5000 if toys is None else toys, seed=seed, progress=say, toy_progress=say.toys,
            runner=runner,
        )  # fmt: skip
    common.print_warnings([*said, *result.warnings])
    data = result.to_dict()
    missing = write_record(outputs, output, data, figures, lambda: _draw(data))
    common.print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    common.print_summary(make_table(data))


def _draw(data: dict[str, Any]) -> dict[str, Figure | None]:
    from ddphf.figures.limit import draw_limit

    return {"limit": draw_limit(data)}


def make_table(data: dict[str, Any]) -> Table:
    """Return the table that the terminal shows, from limit.json."""
    title = f"{data['measurement']}: {data['poi']} = {data['mu_hat']:.4g} "
    title += describe_error(data["mu_error"], 2)
    table = Table(title=Text(title), title_justify="left")
    limited = any(method in data for method in METHODS)
    first = f"{100 * data['level']:.4g} % upper limit" if limited else ""
    others = ("observed", "expected", "68 %", "95 %") if limited else ("interval",)
    table.add_column(Text(first), justify="left")
    for column in others:
        table.add_column(Text(column), justify="right")
    for method in METHODS:
        if method in data:
            part = data[method]
            observed = _with_error(part["observed"], part.get("observed_error"))
            errors = part.get("expected_error", [None] * 5)
            e = [_with_error(*pair) for pair in zip(part["expected"], errors, strict=True)]
            table.add_row(
                f"CLs, {method}", observed, e[2], f"{e[1]} to {e[3]}", f"{e[0]} to {e[4]}"
            )
    for interval in data.get("intervals", ()):
        lower, upper = _number(interval["lower"]), _number(interval["upper"])
        left = " (bound)" if interval["at_lower_bound"] else ""
        right = " (bound)" if interval["at_upper_bound"] else ""
        name = f"{100 * interval['level']:.4g} % interval, {interval['method']}"
        table.add_row(name, Text(f"[{lower}{left}, {upper}{right}]"))
    return table


def _with_error(value: float | None, error: float | None) -> str:
    return _number(value) + ("" if error is None else f" +- {error:.1g}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"
