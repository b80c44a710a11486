"""``ddphf bumps evaluate``: how well bumps are measured where the background is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Unpack

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.bumps_common import METHODS, network_of, weights_option
from ddphf.cli.figures import Drawn, drawn_options, open_outputs, write_record
from ddphf.exceptions import UsageError

__all__ = ["command"]

FIGURES = ("bumps_evaluation",)

NARROWEST, WIDEST = 0.5, 3.0
"""Bumps of drawn spectra, in bins: of 30 bins those at least four widths off the ends have room."""

SETS = ("talk", "dijet", "bernstein", "two exponentials")


@click.command("evaluate")
@common.text_option("--sets", "A,B", f"Functions of the backgrounds: {', '.join(SETS)}.", "talk")
@common.count_option("--signals", "Spectra with a bump, of each set.", least=2, default=300)
@common.count_option("--backgrounds", "Spectra without one.", least=2, default=300)
@common.text_option(
    "--width-bins", "W",
    "Standard deviation of a bump, in bins; LOW:HIGH draws one for each spectrum.", "1.5",
)  # fmt: skip
@common.choice_option("--method", METHODS, "What estimates.", METHODS[0])
@weights_option
@drawn_options("Draw Delta Z and the curve of false and true positives into this folder.")
def command(
    sets: str, signals: int, backgrounds: int, width_bins: str, method: str,
    weights: str | None, **asked: Unpack[Drawn],
) -> None:  # fmt: skip
    """Draw spectra of known backgrounds, with and without bumps, and scan them.

    Delta Z is the estimated minus the known significance in the bin of the bump.

    Example: ddphf bumps evaluate --signals 20 --backgrounds 20 --seed 1 -o evaluation.json
    """
    wanted, widths = common.choices("--sets", sets, SETS), _widths(width_bins)
    figures, outputs = open_outputs(asked, FIGURES, [weights] if weights else [])
    with common.progress_line() as say, common.runner_at(asked["where"], say) as runner:
        from ddphf.bumps.evaluate import evaluate_bumps

        result = evaluate_bumps(
            wanted, signals=signals, backgrounds=backgrounds, widths=widths,
            network=network_of(method, weights), seed=asked["seed"],
            work=say.work("spectra", runner),
        )  # fmt: skip
    record = result.to_dict()

    def draw() -> dict[str, Any]:
        from ddphf.figures.bumps_evaluation import draw_evaluation

        return {FIGURES[0]: draw_evaluation(record)}

    write_record(outputs, asked["output"], record, figures, draw)
    common.print_summary(make_table(record))
    common.print_summary(*(line for found in record["sets"] for line in _thresholds(found)))


def _widths(text: str) -> tuple[float, float]:
    """Return smallest and largest width of ``W`` or ``LOW:HIGH``.

    Raises:
        UsageError: It is neither, or outside.
    """
    number = r"\d+\.?\d*|\.\d+"
    found = re.fullmatch(rf"({number})(?::({number}))?", text.strip())
    low, high = (float(found[1]), float(found[2] or found[1])) if found else (0.0, 0.0)
    if not NARROWEST <= low <= high <= WIDEST:
        raise UsageError(
            f"--width-bins {text}: expected a number of bins such as 1.5, or two such as 1:2.5, "
            f"from {NARROWEST:g} to {WIDEST:g}"
        )
    return low, high


def _thresholds(found: Mapping[str, Any]) -> list[str]:
    """Say what one background in a thousand reaches."""
    at = found.get("threshold")
    if at is None:
        return []
    (low, high), (least, most) = at["rate_interval"], at["z_interval"]
    return [
        f"{found['name']}: {at['rate']:.2%} [{low:.2%}, {high:.2%}] of {found['backgrounds']} "
        f"spectra without a bump reach Z = {at['z']:.2f} [{least:.2f}, {most:.2f}], and "
        f"{at['signals']:.1%} of those with one"
    ]


def _number(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None else f"{value['value']:.3f} +- {value['error']:.3f}"


def make_table(record: Mapping[str, Any]) -> Table:
    """Return the table that the terminal shows."""
    method = record["method"]
    title = f"{method}: estimated minus known Z, and bumps told from none"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("functions")
    for column in (
        "signals", "bias", "half range", "Z stated", "bias", "half range", "AUC", "AUC, Z stated",
        "AUC, known", "false, Z > 3",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for found in record["sets"]:
        false = found["false_positives"]
        table.add_row(
            found["name"], str(found["signals"]), *_spread(found["delta_z_all"]),
            str(found["signals_stated"]), *_spread(found["delta_z"]), _number(found["auc"]),
            _number(found["auc_stated"]), _number(found["auc_known"]),
            f"{false[0]['rate']:.2%}" if false else "-",
        )  # fmt: skip
    return table


def _spread(d: Mapping[str, Any]) -> tuple[str, str]:
    return (
        "-" if d["bias"] is None else f"{d['bias']:+.2f} +- {d['bias_error']:.2f}",
        "-" if d["half_range"] is None else f"{d['half_range']:.2f}",
    )
