"""``ddphf bumps workspace``: a found bump as a pyhf workspace."""

from __future__ import annotations

from pathlib import Path

import click

from ddphf.cli import common
from ddphf.cli.bumps_common import ranked_spectrum, read_bumps
from ddphf.exceptions import UsageError
from ddphf.files import to_json
from ddphf.outputs import Outputs
from ddphf.results.bumps import describe_p

__all__ = ["command"]


@click.command("workspace")
@click.argument("bumps", type=click.Path(dir_okay=False))
@common.count_option("--rank", "Of the spectrum in the record.", least=1, default=1)
@common.text_option(
    "--background", "NAME", "The splines that were chosen, or a function such as bernstein-4.",
    "spline",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, metavar="FILE",
    help="Where to write the workspace; beside it NAME.bump.json says how it was made.",
)  # fmt: skip
@common.force_option
def command(bumps: str, rank: int, background: str, output: str, force: bool) -> None:
    """Write the workspace of the best bump of a spectrum of BUMPS.

    BUMPS is a record of 'ddphf bumps scan'. What is linear in its parameters becomes free
    normfactors; other functions inflated eigen-variations, whose difference to the
    direct fit is recorded.

    Example: ddphf bumps workspace b.json --rank 1 -o bump.json
    """
    if output == "-":
        raise UsageError("-o -: a file stands beside the workspace; name a file")
    companion = Path(output).parent / f"{Path(output).stem}.bump.json"
    outputs = Outputs([output, companion], inputs=[bumps], force=force)
    with common.progress_line() as say:
        say("reading")
        row = ranked_spectrum(read_bumps(bumps), rank, bumps)
        from ddphf.bumps.to_workspace import bump_workspace

        workspace, about = bump_workspace(row, background)
    with outputs:
        outputs.write(output, to_json(workspace))
        outputs.write(companion, to_json(about))
    z = about["z"]
    common.print_summary(
        f"{output}: bump at {about['bump']['mass']:.6g}, mu = 1 is "
        f"{about['bump']['events_at_mu_1']:.6g} events; {about['background']['form']}",
        f"local Z = {z['workspace']:.4f} (direct fit {z['direct']:.4f}); the place was chosen on "
        f"these data: global {describe_p(row['best'])}",
    )
