"""``ddphf masses``: one search over hundreds of hypotheses, in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import (
    choices,
    force_option,
    output_option,
    print_summary,
    print_warnings,
    progress_line,
    require_work,
    runner_at,
    scheduler_option,
    seed_option,
)
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.compute.work import work_of
from ddphf.exceptions import UsageError
from ddphf.outputs import Outputs, check_folder

if TYPE_CHECKING:
    from ddphf.masses.scan import MassScan

__all__ = ["FIGURES", "command"]

FIGURES = ("masses_limits", "masses_p0", "masses_mu", "masses_toys")

METHODS = ("asymptotic", "toys")

SHOWN = 5
"""Hypotheses that the terminal shows: those with the largest z."""


def _read_levels(context: click.Context, option: click.Parameter, text: str) -> tuple[float, ...]:
    del context, option
    try:
        levels = tuple(float(x) for x in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0.5 < x < 1 for x in levels) or len(set(levels)) < len(levels):
        raise UsageError(f"--cl {text}: expected levels between 0.5 and 1, such as 0.9,0.95")
    return levels


@click.command("masses")
@click.argument("scan")
@output_option
@click.option(
    "--cl", "levels", default="0.95", show_default=True, metavar="LEVELS", callback=_read_levels,
    help="Confidence levels of the limits, with commas.",
)  # fmt: skip
@click.option(
    "--empty-bins", type=click.Choice(["keep", "drop", "floor", "merge"]),
    help="What is done to bins without simulated background, instead of what SCAN says.",
)  # fmt: skip
@click.option(
    "--method", default="asymptotic", show_default=True, metavar="LIST",
    help="Of the limits: asymptotic, toys, or both with a comma.",
)  # fmt: skip
@click.option(
    "--toys", type=click.IntRange(min=1), default=None, metavar="N",
    help="Toys per ensemble of limits by toys; nine ensembles per hypothesis.  [default: 1000]",
)  # fmt: skip
@click.option(
    "--global-toys", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Toys of all hypotheses, for the global p-value.",
)  # fmt: skip
@click.option(
    "--keep", metavar="DIR", help="Keep pieces of the toys there: what was stopped goes on."
)
@figure_options("Draw limits, p0 and mu_hat against the parameter into this folder.")
@seed_option
@scheduler_option
@force_option
def command(
    scan: str, output: str, levels: tuple[float, ...], empty_bins: str | None, method: str,
    toys: int | None, global_toys: int, keep: str | None, plots: str | None,
    kind: str | None, seed: int, where: str | None, force: bool,
) -> None:  # fmt: skip
    """Fit every hypothesis of SCAN, set limits, and say what looking at all of them costs.

    SCAN is a scan file (docs/masses.md), or an npz of its arrays.

    Example: ddphf masses scan.yml -o masses.json --plots figures
    """
    methods = choices("--method", method, METHODS)
    if toys is not None and "toys" not in methods:
        raise UsageError("--toys: is for --method toys; give it, or leave --toys out")
    drawn = "toys" in methods or global_toys > 0
    require_work(where, drawn, "--method toys or --global-toys")
    if keep is not None and not drawn:
        raise UsageError("--keep: is for --method toys or --global-toys; give one, or leave it out")
    folder = None if keep is None else check_folder("--keep", keep)
    figures = figure_paths(plots, kind, FIGURES)
    outputs = Outputs([output, *figures.values()], inputs=[scan], force=force)
    with progress_line() as say, runner_at(where, say) as runner:
        say("reading")
        from ddphf.masses.run import run_scan

        found, files = _read(scan, empty_bins)
        outputs.protect(files)
        result = run_scan(
            found, levels=levels, methods=methods, toys=1000 if toys is None else toys,
            global_toys=global_toys, seed=seed, folder=folder,
            work=work_of(say, say.bar("toys"), runner),
        )  # fmt: skip
    record = result.to_dict()
    print_warnings(result.warnings)

    def draw() -> dict[str, Any]:
        from ddphf.figures.masses import draw_masses

        return draw_masses(record)

    missing = write_record(outputs, output, record, figures, draw)
    print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    print_summary(make_table(record))
    print_summary(_looking_everywhere(record))


def _read(scan: str, empty_bins: str | None) -> tuple[MassScan, list[Any]]:
    from ddphf.masses.config import read_arrays, read_scan

    if scan.lower().endswith(".npz"):
        return read_arrays(scan, empty_bins=empty_bins)
    return read_scan(scan, empty_bins=empty_bins)


def make_table(record: dict[str, Any]) -> Table:
    """Return the hypotheses with the largest z, with their limits."""
    name, unit = record["parameter"]["name"], record["parameter"]["unit"]
    level = f"{100 * record['levels'][0]:g} % limit"
    title = f"{record['name']}: {len(record['values'])} hypotheses, those with the largest local Z"
    table = Table(title=Text(title), title_justify="left")
    for column in (f"{name} {unit}".strip(), record["poi"]["name"], "Z local", "p0 local", level,
                   "expected"):  # fmt: skip
        table.add_column(Text(column), justify="right")
    rows = zip(record["values"], record["hypotheses"], strict=True)
    ranked = sorted(
        ((v, h) for v, h in rows if h["z0"] is not None), key=lambda pair: -pair[1]["z0"]
    )
    for value, found in ranked[:SHOWN]:
        limit = found["limit"]["asymptotic"]
        table.add_row(
            f"{value:.5g}", _number(found["mu_hat"], ".4g"), _number(found["z0"], ".3f"),
            _number(found["p0"], ".3g"), _number(limit["observed"], ".4g"),
            _number(limit["expected"][2], ".4g"),
        )  # fmt: skip
    return table


def _looking_everywhere(record: dict[str, Any]) -> str:
    """Return what the largest local Z is worth after looking at all hypotheses."""
    overall = record["global"]
    if overall is None:
        return "every Z and p0 here is local; --global-toys N gives the global p of the largest"
    low, high = overall["p_interval"]
    p = f"below {high:.2g}" if overall["p"] is None else f"{overall['p']:.3g}"
    name = record["parameter"]["name"]
    return (
        f"largest local Z {overall['z0']:.3f} at {name} = {overall['value']:.5g}: global p {p} "
        f"[{low:.3g}, {high:.3g}] of {overall['toys']} toys, "
        f"{_number(overall['gross_vitells']['p'], '.3g')} by Gross and Vitells"
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
