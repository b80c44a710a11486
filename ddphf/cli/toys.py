"""``ddphf toys``: the null distribution of q0 by pseudo-experiments, kept in a file."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ddphf.cli import common
from ddphf.cli.sidecar import check_null
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
@click.option(
    "--shard", metavar="I/N",
    help="Draw part I of N of the toys, for a file to --merge with the others.",
)  # fmt: skip
@common.scheduler_option
@common.force_option
def command(
    workspace: str, toys: int, seed: int, mu: float, measurement: str | None, output: str,
    resume: bool, merge: tuple[str, ...], shard: str | None, where: str | None, force: bool,
) -> None:  # fmt: skip
    """Draw and fit toys of WORKSPACE: signed q0, mu_hat and status of each, in an npz file.

    Toy i of a seed is always the same, however the work is split. Interrupting keeps what is done;
    --resume goes on. Shards are merged with --toys 0.

    Example: ddphf toys workspace.json --toys 2000 --seed 1 -o toys.npz
    """
    if output == "-":
        raise UsageError("-o: toys are a binary file; give a file name")
    if not toys and not merge:
        raise UsageError("--toys 0: there is nothing to do; ask for toys, or --merge files")
    if shard is not None and merge:
        raise UsageError("--shard: draws one part; merge in a command of its own, with --toys 0")
    common.require_work(where, toys, "--toys N")
    numbers = None if shard is None else _read_shard(shard)
    Outputs([output], inputs=[workspace, *merge], force=force or resume)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.fit import check_failures
        from ddphf.inference.toys.kept import toys_workspace
        from ddphf.statistics.tails import FAILED

        spec = read_json(workspace)
        said = check_null(workspace, spec)
        sample, warnings = toys_workspace(
            spec, Path(output), measurement=measurement, toys=toys, mu=mu,
            seed=seed, merge=[Path(name) for name in merge], shard=numbers,
            replace=force and not resume, work=say.work("toys", runner),
        )  # fmt: skip
    common.print_warnings([*said, *warnings])
    of_shard = "" if sample.shard is None else f"{sample.shard}, "
    common.print_summary(
        f"{output}: {of_shard}{len(sample)} toys at mu = {mu:g}, "
        f"{(sample.status == FAILED).sum()} failed, "
        f"{sample.at_zero.mean():.3g} with mu_hat exactly 0"
    )
    check_failures(sample)


def _read_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UsageError(f"--shard {text}: expected I/N, such as 2/4: 1 <= I <= N")
    number, of = map(int, found.groups())
    return number, of
