"""``ddphf bumps train``: weights of the network that ranks spectra."""

from __future__ import annotations

import click

from ddphf.cli import common
from ddphf.exceptions import UsageError
from ddphf.outputs import Outputs

__all__ = ["command"]

STEPS = 2000
"""Of the weights that ddphf brings."""


@click.command("train")
@common.count_option(
    "--steps", "Of 128 spectra each; 5 to 10 in a processor second.", least=1, most=1_000_000,
    default=STEPS,
)  # fmt: skip
@common.seed_option
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where to write the weights, as npz.",
)  # fmt: skip
@common.force_option
def command(steps: int, seed: int, output: str, force: bool) -> None:
    """Train the network on drawn spectra whose backgrounds are known.

    Needs equinox and optax: pip install 'ddphf[train]'. The same steps and seed give the
    same weights on the same machine; those that ddphf brings are of seed 1.

    Example: ddphf bumps train --steps 20 --seed 1 -o network.npz
    """
    if output == "-" or not output.endswith(".npz"):
        raise UsageError(f"-o {output}: weights are a file of numpy; name one that ends with .npz")
    outputs = Outputs([output], force=force)
    with common.progress_line() as say:
        from ddphf.bumps.train import train_network

        say("training")
        network = train_network(steps=steps, seed=seed, say=say.bar("steps"))
    content = network.to_bytes()
    with outputs:
        outputs.write_bytes(output, content)
    about = network.describe()
    common.print_summary(
        f"{output}: {about['parameters']} parameters, {len(content)} bytes, {about['digest']}; "
        f"mean loss of the last steps {about['loss']:.4f}"
    )
