"""``ddphf bumps evaluate``: how well bumps are measured where the background is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import (
    choices,
    force_option,
    output_option,
    print_summary,
    progress_line,
    runner_at,
    scheduler_option,
    seed_option,
)
from ddphf.files import to_json
from ddphf.outputs import Outputs

__all__ = ["command"]

SETS = ("talk", "dijet", "bernstein", "two exponentials")


@click.command("evaluate")
@click.option(
    "--sets", default="talk", show_default=True, metavar="A,B",
    help=f"Functions of the backgrounds: {', '.join(SETS)}.",
)  # fmt: skip
@click.option(
    "--signals", type=click.IntRange(min=2), default=300, show_default=True, metavar="N",
    help="Spectra with a bump, of each set.",
)  # fmt: skip
@click.option(
    "--backgrounds", type=click.IntRange(min=2), default=300, show_default=True, metavar="N",
    help="Spectra without one.",
)  # fmt: skip
@click.option(
    "--width-bins", type=click.FloatRange(0.5, 3), default=1.5, show_default=True, metavar="W",
    help="Standard deviation of a bump, in bins.",
)  # fmt: skip
@seed_option
@scheduler_option
@output_option
@force_option
def command(
    sets: str,
    signals: int,
    backgrounds: int,
    width_bins: float,
    seed: int,
    where: str | None,
    output: str,
    force: bool,
) -> None:
    """Draw spectra of known backgrounds, with and without bumps, and scan them.

    Delta Z is the estimated minus the known significance in the bin of the bump.

    Example: ddphf bumps evaluate --signals 20 --backgrounds 20 --seed 1 -o evaluation.json
    """
    wanted = choices("--sets", sets, SETS)
    outputs = Outputs([output], force=force)
    with progress_line(compiles=False) as say, runner_at(where, say) as runner:
        from ddphf.bumps.evaluate import evaluate_splines
        from ddphf.compute.work import Work

        result = evaluate_splines(
            wanted, signals=signals, backgrounds=backgrounds, width=width_bins, seed=seed,
            work=Work(say, say.bar("spectra"), runner),
        )  # fmt: skip
    record = result.to_dict()
    with outputs:
        outputs.write(output, to_json(record))
    print_summary(make_table(record))


def _number(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None else f"{value['value']:.3f} +- {value['error']:.3f}"


def make_table(record: Mapping[str, Any]) -> Table:
    """Return the table that the terminal shows."""
    table = Table(title=Text("estimated minus known Z, and bumps told from none"),
                  title_justify="left")  # fmt: skip
    table.add_column("functions")
    columns = (
        "signals",
        "bias",
        "half range",
        "AUC",
        "AUC, Z stated",
        "AUC, known",
        "false, Z > 3",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for found in record["sets"]:
        d, false = found["delta_z"], found["false_positives"]
        table.add_row(
            found["name"], f"{found['signals_stated']} of {found['signals']}",
            "-" if d["bias"] is None else f"{d['bias']:+.2f} +- {d['bias_error']:.2f}",
            "-" if d["half_range"] is None else f"{d['half_range']:.2f}", _number(found["auc"]),
            _number(found["auc_stated"]), _number(found["auc_known"]),
            f"{false[0]['rate']:.2%}" if false else "-",
        )  # fmt: skip
    return table
