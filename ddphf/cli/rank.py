"""``ddphf rank``: which parameter moves the POI by how much, and what its error is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.figures import figure_options, write_record
from ddphf.cli.sidecar import read_statement, statement_files
from ddphf.exceptions import UsageError

if TYPE_CHECKING:
    from ddphf.figures.style import Figure
    from ddphf.results.rank import RankResult

__all__ = ["command"]

FIGURES = ("ranking", "ranking_pulls", "ranking_correlations")

SHOWN = 20
"""Rows of the table on the terminal; the JSON has all."""


def _parse_groups(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    del context, option
    pairs = []
    for value in values:
        name, equals, globs = value.partition("=")
        if not (name and equals and globs):
            raise UsageError(f"--group {value}: expected NAME=GLOB, such as theory='xs_*'")
        pairs.append((name, globs))
    return tuple(pairs)


@click.command("rank")
@click.argument("workspace")
@common.output_option
@common.measurement_option
@click.option(
    "--group", "groups", multiple=True, metavar="NAME=GLOB", callback=_parse_groups,
    help="Parameters to freeze together; more globs after commas; may be repeated. A ratio's own "
    "by default.",
)  # fmt: skip
@click.option(
    "--parameters", multiple=True, metavar="GLOB",
    help="What to rank, also per-bin parameters; may be repeated. All but those by default.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Keep the N leading ones.")
@click.option(
    "--engine", type=click.Choice(["ddphf", "cabinetry"]), default="ddphf", show_default=True,
    help="cabinetry: its own ranking, one refit after the other; for comparison.",
)  # fmt: skip
@figure_options("Draw ranking, pulls and correlations there.")
@common.scheduler_option
@common.force_option
def command(
    workspace: str,
    output: str,
    measurement: str | None,
    groups: tuple[tuple[str, str], ...],
    parameters: tuple[str, ...],
    top: int | None,
    engine: str,
    plots: str | None,
    kind: str | None,
    where: str | None,
    force: bool,
) -> None:
    """Rank the parameters of WORKSPACE (- reads standard input) by their impact on the POI.

    Example: ddphf rank workspace.json -o rank.json --plots figures
    """
    if engine == "cabinetry" and groups:
        raise UsageError("--group: cabinetry has no grouped impacts; use the engine ddphf")
    figures, outputs = statement_files(workspace, output, plots, kind, FIGURES, force)
    if engine == "cabinetry" and where is not None:
        raise UsageError("--scheduler: cabinetry refits one after the other; use the engine ddphf")
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        spec, declared, said = read_statement(workspace)
        groups = groups or declared.groups
        if engine == "cabinetry":
            from ddphf.inference.ranking.by_cabinetry import rank_with_cabinetry

            result = rank_with_cabinetry(
                spec, measurement=measurement, parameters=parameters, top=top, progress=say
            )
        else:
            from ddphf.inference.ranking.impacts import rank_parameters

            result = rank_parameters(
                spec, measurement=measurement, parameters=parameters, groups=groups, top=top,
                declared=declared, progress=say, refit_progress=say.bar("refits"), runner=runner,
            )  # fmt: skip
    common.print_warnings([*said, *result.warnings])
    missing = write_record(outputs, output, result.to_dict(), figures, lambda: _draw(result))
    common.print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    common.print_summary(make_table(result))
    if result.groups:
        common.print_summary(make_group_table(result))
    for line in _sums(result):
        common.print_summary(line)


def make_table(result: RankResult) -> Table:
    """Return the leading impacts."""
    poi = result.poi
    title = f"impact on {poi.name} = {poi.value:.4g} {poi.stated_error}"
    # Text: names of foreign workspaces may hold what rich takes for markup.
    table = Table(title=Text(title), title_justify="left")
    columns = ("", "post-fit +", "post-fit -", "pre-fit +", "pre-fit -", "auxiliary", "pull")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for p in result.parameters[:SHOWN]:
        sides = [x for x in (p.auxiliary_up, p.auxiliary_down) if x is not None]
        auxiliary = (sides[0] - sides[1]) / 2 if len(sides) == 2 else None
        pull = "" if p.pull is None else f"{p.pull:+.2f} +- {p.constraint:.2f}"
        numbers = (p.postfit_up, p.postfit_down, p.prefit_up, p.prefit_down, auxiliary)
        none = "-" if poi.error is None else ""
        table.add_row(Text(p.name), *(none if x is None else f"{x:+.4f}" for x in numbers), pull)
    if result.n_ranked > SHOWN:
        table.caption = f"{min(SHOWN, len(result.parameters))} of {result.n_ranked} parameters"
    return table


def make_group_table(result: RankResult) -> Table:
    """Return the frozen groups."""
    table = Table(title="groups", title_justify="left")
    columns = ("", "parameters", f"error of {result.poi.name} without", "impact", "auxiliary")
    for column in columns:
        table.add_column(Text(column), justify="right" if column else "left")
    for g in result.groups:
        numbers = (f"{x:.4g}" for x in (g.frozen_error, g.impact, g.auxiliary))
        table.add_row(Text(g.name), str(g.parameters), *numbers)
    return table


def _sums(result: RankResult) -> list[str]:
    lines = []
    if (f := result.frozen) is not None:
        lines.append(
            f"frozen: total {f['total']:.4g} = statistical {f['statistical']:.4g} (+) systematic "
            f"{f['systematic']:.4g}; squares of the groups leave {f['remainder_variance']:+.3g} of "
            f"{f['total'] ** 2 - f['all_groups'] ** 2:.3g}: post-fit correlations"
        )
    if (a := result.auxiliary) is not None:
        lines.append(
            f"auxiliary data: counts {a['statistical']:.4g} (+) auxiliary {a['systematic']:.4g} = "
            f"{a['sum']:.4g}, {a['ratio']:.4f} of the total"
        )
    return lines


def _draw(result: RankResult) -> dict[str, Figure | None]:
    """Draw what there is: nothing may be ranked, constrained or correlated."""
    if result.engine == "cabinetry":
        from ddphf.figures import by_cabinetry

        return {
            "ranking": by_cabinetry.draw_ranking(result),
            "ranking_pulls": by_cabinetry.draw_pulls(result),
            "ranking_correlations": by_cabinetry.draw_correlations(result),
        }
    from ddphf.figures.parameters import draw_correlations, draw_pulls, draw_ranking
    from ddphf.results.yields import PullResult

    pulls = [
        PullResult(p.name, p.value, p.error, p.nominal, p.prior_width)
        for p in result.parameters
        if p.nominal is not None and p.prior_width is not None
    ]
    found = result.correlations
    free = [i for i, error in enumerate(found.errors) if error > 0]
    correlations = {
        "names": [found.names[i] for i in free],
        "matrix": [[found.matrix[i][j] for j in free] for i in free],
    }
    return {
        "ranking": draw_ranking(result.to_dict()) if result.parameters else None,
        "ranking_pulls": draw_pulls(pulls) if pulls else None,
        "ranking_correlations": draw_correlations(correlations) if len(free) > 1 else None,
    }
