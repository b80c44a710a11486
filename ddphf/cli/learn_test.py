"""``ddphf learn test``: is there any difference?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import print_summary, progress_line, runner_at, titled
from ddphf.cli.figures import open_outputs
from ddphf.cli.learn_common import Asked, learn_options
from ddphf.cli.search_common import read_unsigned, write_found
from ddphf.results.learn import describe_band, describe_p

__all__ = ["FIGURES", "command"]

FIGURES = ("learn_null",)


@click.command("test")
@click.argument("analysis", type=click.Path(dir_okay=False))
@learn_options("Draw the null into this folder.")
def command(analysis: str, **asked: Unpack[Asked]) -> None:
    """Test whether the events of ANALYSIS know their labels.

    ANALYSIS is an analysis file with sections events and learn; it needs no signal.
    Efficiencies come from lepton_id or efficiency_ratio, fakes from control regions.

    Example: ddphf learn test events.yml --seed 1 -o learn.json
    """
    figures, outputs = open_outputs(asked, FIGURES, [analysis])
    with progress_line() as say, runner_at(asked["where"], say) as runner:
        say("reading")
        from ddphf.learning.run_test import learn_test

        config = read_unsigned(analysis, outputs)
        result = learn_test(
            config, statistic=asked["statistic"], redraws=asked["redraws"],
            nuisances=asked["nuisances"] == "analysis", seed=asked["seed"],
            work=say.work("blocks of redraws", runner),
        )  # fmt: skip
    record = write_found(result, analysis, asked["output"], outputs, figures)
    print_summary(member_table(record))
    print_summary(f"{record['statistic']}: t = {record['t']:.4g}; {describe_p(record)}")
    told, chi2 = record["significance"], record["chi2_12"]
    if told["from"] == "law":
        print_summary(
            f"beyond the redraws' reach, by the closed law that they confirm: p = {told['p']:.3g} "
            f"({told['z']:.2f} sigma)"
        )
    print_summary(_chi2(chi2))
    if band := describe_band(record):
        print_summary(band)
    if record["treatment"] is not None:
        ways = [f"{k} p = {v['p']:.3g}" for k, v in record["treatment"].items()]
        print_summary(f"{len(record['nuisances'])} nuisances: {', '.join(ways)}")


def _chi2(chi2: Mapping[str, Any]) -> str:
    """Return what chi2 with 12 degrees of freedom would say, and whether it holds."""
    what = "chi2 of 12 degrees of freedom"
    ks = f"KS p of the redraws {chi2['null_ks_p']:.2g}"
    if "why" in chi2:
        return f"{what} is no law of this statistic ({chi2['why']}): {ks}"
    holds = "holds" if chi2["null_ks_p"] > 0.01 else "does not hold"
    said = "below any number" if chi2["p"] is None else f"= {chi2['p']:.3g}"
    return f"{what} {holds} here: {ks}; it would say p {said}"


def member_table(record: Mapping[str, Any]) -> Table:
    """Return the statistics of a record side by side."""
    labels = record["labels"]
    table = titled(
        f"{labels['n_tested']} {record['pairing']['tested']} and {labels['n_partner']} "
        f"{record['pairing']['partner']} events, pi {labels['pi_min']:.3g} to "
        f"{labels['pi_max']:.3g}"
    )
    for column in ("statistic", "t", "p by redraws", "p by law", "found"):
        left = column in ("statistic", "found")
        table.add_column(Text(column), justify="left" if left else "right")
    for member in record["members"]:
        law = member.get("p_law")
        table.add_row(
            member["statistic"], f"{member['t']:.4g}", f"{member['p']:.3g}",
            "-" if law is None else f"{law:.3g}", Text(_found(record, member.get("found"))),
        )  # fmt: skip
    return table


def _found(record: Mapping[str, Any], found: Mapping[str, Any] | None) -> str:
    """Return the window of a scan, each variable with its transform: its ends are of that."""
    if not found or "window" not in found:
        return ""
    axes = found.get("variables") or range(len(found["window"]))
    ends = []
    for (low, high), axis in zip(found["window"], axes, strict=True):
        variable = record["variables"][axis]
        kind, name = variable.get("transform"), variable["column"]
        ends.append(f"{f'{kind}({name})' if kind else name} {low:.4g} to {high:.4g}")
    return f"Z = {found['z']:.2f} in {', '.join(ends)}"
