"""``ddphf search pair``: every window of one pair of histograms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import click

from ddphf.cli.common import print_summary, progress_line, runner_at
from ddphf.cli.figures import open_outputs
from ddphf.cli.search_common import (
    Asked,
    common_options,
    describe_best,
    describe_nuisances,
    direction_option,
    nuisances_option,
    precision_option,
    statistic_option,
    top_option,
    window_table,
    windows_option,
    write_found,
)
from ddphf.results.search import describe_compared

if TYPE_CHECKING:
    from ddphf.config.analysis import Analysis
    from ddphf.search.pair import SearchPair

__all__ = ["FIGURES", "command", "load_search_pair"]

FIGURES = ("search_z_map", "search_profiled_map", "search_sizes", "search_maximum")


@click.command("pair")
@click.argument("analysis", type=click.Path(dir_okay=False))
@windows_option
@direction_option
@statistic_option("Of the whole histogram, stated beside the windows; n_sigma: these alone.")
@nuisances_option("efficiency ratio and fakes")
@click.option(
    "--null", type=click.Choice(["auto", "gaussian", "binomial", "counting"]), default="auto",
    show_default=True, help="Law of histograms without a signal; counting draws plain ones.",
)  # fmt: skip
@precision_option
@top_option(5, "Windows of the list; none shares a bin with another.")
@common_options("Draw Z maps, best Z against size, and the null into this folder.")
def command(
    analysis: str, statistic: str, nuisances: str, null: str, precision: float, top: int,
    **asked: Unpack[Asked],
) -> None:  # fmt: skip
    """Search the two samples of ANALYSIS for windows where they differ.

    ANALYSIS is an analysis file, with or without a signal, which is not looked at. Its
    systematics, lepton-ID errors and errors of fakes are profiled.

    Example: ddphf search pair analysis.yml --seed 1 -o search.json
    """
    figures, outputs = open_outputs(asked, FIGURES, [analysis])
    with progress_line(compiles=False) as say, runner_at(asked["where"], say) as runner:
        say("reading")
        from ddphf.search.run_pair import search_pair

        pair, config = load_search_pair(analysis, nuisances=nuisances == "analysis")
        outputs.protect(config.files)
        result = search_pair(
            pair, windows=asked["windows"], direction=asked["direction"], statistic=statistic,
            null=null, precision=precision, top=top, max_windows=asked["max_windows"],
            seed=asked["seed"], work=say.work("fields", runner),
        )  # fmt: skip
    record = write_found(result, analysis, asked["output"], outputs, figures)
    print_summary(window_table(record), describe_best(record))
    print_summary(*map(describe_compared, record["comparison"]))
    quantiles = record["null"]["quantiles"]
    parts = ", ".join(f"{float(q):.0%} {v:.2f}" for q, v in quantiles.items())
    print_summary(f"null of the maximum: {record['null']['method']}; quantiles {parts}")
    print_summary(describe_nuisances(record, "profiled"))


def load_search_pair(analysis: str, *, nuisances: bool = True) -> tuple[SearchPair, Analysis]:
    """Return the search's input of an analysis file, and what it says.

    Raises:
        InputError: It cannot be used.
    """
    from ddphf.config.analysis import read_analysis
    from ddphf.search.pair import check_ratio, prepare_pair
    from ddphf.symmetry.load import load_pair

    config = read_analysis(analysis, needs_signal=False)
    check_ratio(config)
    # A signal is not read: nothing is searched for in particular.
    bare = replace(
        config,
        tested=replace(config.tested, signal=None),
        partner=replace(config.partner, signal=None),
    )
    return prepare_pair(load_pair(bare), nuisances=nuisances), config
