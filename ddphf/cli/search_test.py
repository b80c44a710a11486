"""``ddphf search test``: a frozen window on new data."""

from __future__ import annotations

import click

from ddphf.cli.common import (
    force_option,
    output_option,
    print_summary,
    progress_line,
)
from ddphf.cli.search_common import nuisances_option, window_table, write_found
from ddphf.cli.search_pair import load_search_pair
from ddphf.outputs import Outputs
from ddphf.results.provenance import describe_global

__all__ = ["command"]


@click.command("test")
@click.argument("hypothesis", type=click.Path(dir_okay=False))
@click.argument("new", type=click.Path(dir_okay=False))
@nuisances_option("efficiency ratio and fakes")
@output_option
@force_option
def command(hypothesis: str, new: str, nuisances: str, output: str, force: bool) -> None:
    """Test the window of HYPOTHESIS on NEW, an analysis file of new data on the same axes.

    HYPOTHESIS is what 'ddphf search freeze' wrote. One window, so no trial factor: local and
    global p-value are one. Data on which the window was chosen are refused.

    Example: ddphf search test hypothesis.yml new.yml -o test.json
    """
    outputs = Outputs([output], inputs=[hypothesis, new], force=force)
    with progress_line(compiles=False) as say:
        say("reading")
        from ddphf.config.analysis import read_analysis
        from ddphf.search.run_test import run_test

        frozen = read_analysis(hypothesis)
        pair, config = load_search_pair(new, nuisances=nuisances == "analysis")
        outputs.protect(config.files)
        result = run_test(frozen, pair, config)
    record = write_found(result, new, output, outputs, {})
    overall = describe_global(record["global"])
    print_summary(
        window_table(record), f"one window, chosen on other data: local and global {overall}"
    )
