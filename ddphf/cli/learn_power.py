"""``ddphf learn power``: how large a difference would be seen?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import click
from rich.table import Table

from ddphf.cli import common
from ddphf.cli.figures import open_outputs
from ddphf.cli.learn_common import Asked, learn_options
from ddphf.cli.search_common import read_unsigned, write_found
from ddphf.exceptions import UsageError

__all__ = ["FIGURES", "command", "power_table"]

FIGURES = ("learn_power",)


@click.command("power")
@click.argument("analysis", type=click.Path(dir_okay=False))
@click.option(
    "--inject", required=True, metavar="MEAN:WIDTH",
    help="The signal: a Gaussian in the variable; of several variables one each, with commas.",
)  # fmt: skip
@common.text_option("--strengths", "EVENTS,...", "Expected signal events.", "0,20,50,100,200")
@common.choice_option("--into", ["tested", "partner"], "The sample with the signal.", "tested")
@common.count_option("--toys", "Of each strength.", least=2, default=200)
@learn_options("Draw median Z and power into this folder.")
def command(
    analysis: str, inject: str, strengths: str, into: str, toys: int, **asked: Unpack[Asked]
) -> None:
    """Tell median Z and power of a test for a signal in the events of ANALYSIS.

    Toys are the events with their labels redrawn, and the signal on top. Beside them
    stands what the best of all tests of 12 degrees of freedom would see, and a test
    that knows the signal's shape.

    Example: ddphf learn power events.yml --inject 50:2 --toys 10 --redraws 50 -o power.json
    """
    figures, outputs = open_outputs(asked, FIGURES, [analysis])
    events = _numbers("--strengths", strengths)
    pairs = [_numbers("--inject", part, ":") for part in inject.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise UsageError(
            f"--inject {inject}: expected MEAN:WIDTH, of several variables with commas"
        )
    with common.progress_line() as say, common.runner_at(asked["where"], say) as runner:
        say("reading")
        from ddphf.learning.power import Injected, Signal, learn_power

        config = read_unsigned(analysis, outputs)
        means, widths = zip(*pairs, strict=True)
        signal = Signal(means, widths, into == "tested")
        result = learn_power(
            config, Injected(signal, events, asked["statistic"], toys),
            redraws=asked["redraws"], nuisances=asked["nuisances"] == "analysis",
            seed=asked["seed"], work=say.work("toys", runner),
        )  # fmt: skip
    record = write_found(result, analysis, asked["output"], outputs, figures)
    common.print_summary(power_table(record))


def _numbers(option: str, text: str, between: str = ",") -> list[float]:
    try:
        return [float(part) for part in text.split(between)]
    except ValueError:
        raise UsageError(f"{option} {text}: expected numbers") from None


def power_table(record: Mapping[str, Any]) -> Table:
    """Return median Z and power beside the limits."""
    power = record["power"]
    table = Table(
        title=f"{record['statistic']}, {power['toys']} toys of each strength", title_justify="left"
    )
    for column in ("events", "median Z", "power at 5 %", "ideal Z, 12 d.o.f.", "Z of known shape"):
        table.add_column(column, justify="right")
    for point in power["points"]:
        table.add_row(
            f"{point['strength']:g}", f"{point['median_z']:.2f} +- {point['error']:.2f}",
            f"{point['power']:.3f} +- {point['power_error']:.3f}", f"{point['ideal']['z']:.2f}",
            f"{point['q0_l1']['z']:.2f}",
        )  # fmt: skip
    return table
