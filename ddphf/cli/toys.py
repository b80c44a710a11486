"""``ddphf toys``: the null distribution of q0 by pseudo-experiments, kept in a file."""

from __future__ import annotations

from pathlib import Path

import click

from ddphf.cli import common
from ddphf.exceptions import UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs

__all__ = ["command"]


@click.command("toys")
@click.argument("workspace")
@click.option("--toys", type=click.IntRange(min=0), default=20000, show_default=True)
@common.seed_option
@click.option("--mu", type=float, default=0.0, show_default=True, help="POI to draw toys with.")
@common.measurement_option
@click.option("-o", "--output", required=True, metavar="FILE", help="npz file of the toys.")
@click.option("--resume", is_flag=True, help="Keep the toys of an existing output and add to them.")
@click.option(
    "--merge", multiple=True, metavar="FILE", help="Add the toys of this file; may be repeated."
)
@common.force_option
def command(
    workspace: str, toys: int, seed: int, mu: float, measurement: str | None, output: str,
    resume: bool, merge: tuple[str, ...], force: bool,
) -> None:  # fmt: skip
    """Draw and fit toys of WORKSPACE: signed q0, mu_hat and status of each, in an npz file.

    Toy i of a seed is always the same, however the work is split. Interrupting keeps what is done;
    --resume goes on.

    Example: ddphf toys workspace.json --toys 2000 --seed 1 -o toys.npz
    """
    if output == "-":
        raise UsageError("-o: toys are a binary file; give a file name")
    if not toys and not merge:
        raise UsageError("--toys 0: there is nothing to do; ask for toys, or --merge files")
    Outputs([output], inputs=[workspace, *merge], force=force or resume)
    with common.progress_line() as say:
        say("reading")
        from ddphf.inference.fit import check_failures
        from ddphf.inference.toys.kept import toys_workspace
        from ddphf.statistics.tails import FAILED

        sample, warnings = toys_workspace(
            read_json(workspace), Path(output), measurement=measurement, toys=toys, mu=mu,
            seed=seed, merge=[Path(name) for name in merge], replace=force and not resume,
            progress=say, toy_progress=say.toys,
        )  # fmt: skip
    common.print_warnings(warnings)
    common.print_summary(
        f"{output}: {len(sample)} toys at mu = {mu:g}, {(sample.status == FAILED).sum()} failed, "
        f"{sample.at_zero.mean():.3g} with mu_hat exactly 0"
    )
    check_failures(sample)
