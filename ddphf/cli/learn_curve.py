"""``ddphf learn curve``: where is the difference?"""

from __future__ import annotations

import click

from ddphf.cli import common
from ddphf.cli.figures import figure_options, figure_paths
from ddphf.cli.learn_common import known_option, redraws_option
from ddphf.cli.search_common import read_unsigned, write_found
from ddphf.outputs import Outputs
from ddphf.results.learn import describe_p

__all__ = ["FIGURES", "command"]

FIGURES = ("learn_curve",)


@click.command("curve")
@click.argument("analysis", type=click.Path(dir_okay=False))
@redraws_option
@known_option
@figure_options("Draw the curve, or the map of two variables, into this folder.")
@common.seed_option
@common.output_option
@common.force_option
def command(
    analysis: str,
    redraws: int | None,
    nuisances: str,
    plots: str | None,
    kind: str | None,
    seed: int,
    output: str,
    force: bool,
) -> None:
    """Learn the log ratio f(x) of the samples of ANALYSIS, with its bands.

    In one or two variables. The bands are those without a difference, pointwise and for
    all points at once; region and events that drive the difference are listed.

    Example: ddphf learn curve events.yml --redraws 200 --seed 1 -o curve.json
    """
    figures = figure_paths(plots, kind, FIGURES)
    outputs = Outputs([output, *figures.values()], inputs=[analysis], force=force)
    with common.progress_line() as say:
        say("reading")
        from ddphf.learning.curve import learn_curve

        config = read_unsigned(analysis, outputs)
        result = learn_curve(
            config, redraws=redraws, nuisances=nuisances == "analysis", seed=seed,
            work=say.work("redraws"),
        )  # fmt: skip
    record = write_found(result, analysis, output, outputs, figures)
    curve = record["curve"]
    at = ", ".join(f"{x:.4g}" for x in curve["largest"]["at"])
    common.print_summary(
        f"largest |f| / sd: {curve['largest']['pull']:.2f} at {at}; for all points at once "
        f"{describe_p(record)}"
    )
    region = curve["region"]
    ends = "; ".join(", ".join(f"{a:.4g} to {b:.4g}" for a, b in box) for box in region["boxes"])
    what = "outside the band" if region["outside_band"] else "nowhere outside the band; nearest"
    common.print_summary(
        f"{what}: {ends}, with {region['tested']} {record['pairing']['tested']} "
        f"({region['expected_tested']:.1f} expected) and {region['partner']} "
        f"{record['pairing']['partner']} events"
    )
