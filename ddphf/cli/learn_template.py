"""``ddphf learn template``: what half of the events has taught, as a hypothesis for the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import yaml

from ddphf.cli import common
from ddphf.exceptions import UsageError
from ddphf.outputs import Outputs

__all__ = ["command"]

HEADER = """\
# A template that 'ddphf learn template' has learned from one half of the events, and the other half
# to test it on. Events that it was learned from are refused.
"""


@click.command("template")
@click.argument("analysis", type=click.Path(dir_okay=False))
@click.option(
    "--folds", type=click.IntRange(1, 2), default=1, show_default=True,
    help="2: also learn from the second half, for the first.",
)  # fmt: skip
@common.seed_option
@click.option(
    "-o", "--output", required=True, metavar="FILE",
    help="Where to write the analysis file; its events and template stand beside it. Of two folds "
    "the second has _2 in its name.",
)  # fmt: skip
@common.force_option
def command(analysis: str, folds: int, seed: int, output: str, force: bool) -> None:
    """Learn a signal template from half of the events of ANALYSIS, for the other half.

    'ddphf build', fit, limit and publish take what is written. Nothing of the tested half
    had a part in the learning, so that its significance needs no trial factor.

    Example: ddphf learn template events.yml --seed 1 -o learned.yml
    """
    if output == "-":
        raise UsageError("-o -: several files are written; give the name of a file")
    Outputs([output], inputs=[analysis], force=force)  # a name, before others are made of it
    path = Path(output)
    stems = [path.with_suffix(""), path.with_name(f"{path.stem}_2")][:folds]
    targets = []
    for stem in stems:
        yml = stem.with_name(stem.name + path.suffix)
        ends = ("_held_out.npz", "_training.npz", "_template.csv")
        targets.append([yml, *(stem.with_name(stem.name + end) for end in ends)])
    outputs = Outputs([t for some in targets for t in some], inputs=[analysis], force=force)
    with common.progress_line() as say:
        say("reading")
        from ddphf.config.addresses import move_addresses
        from ddphf.config.analysis import read_analysis
        from ddphf.files import read_input
        from ddphf.learning.template import learn_templates
        from ddphf.yaml_text import parse_yaml

        config = read_analysis(analysis, needs_signal=False)
        outputs.protect(list(config.files))
        if analysis == "-":
            raise UsageError("ANALYSIS -: is read twice; give the name of a file")
        document: Any = parse_yaml(read_input(Path(analysis), analysis).decode())
        move = Path(os.path.relpath(Path(analysis).parent, path.parent)).as_posix()

        def change(address: str) -> str:
            fixed = move == "." or os.path.isabs(address) or "://" in address
            return address if fixed else f"{move}/{address}"

        folds_made = learn_templates(
            config, move_addresses(document, change), [stem.name for stem in stems], seed=seed
        )
    common.print_warnings(folds_made[0].warnings)
    with outputs:
        for fold, (yml, held_out, training, template) in zip(folds_made, targets, strict=True):
            text = yaml.safe_dump(fold.document, sort_keys=False, allow_unicode=True, width=100)
            outputs.write(yml, HEADER + text)
            outputs.write_bytes(held_out, fold.held_out)
            outputs.write_bytes(training, fold.training)
            outputs.write(template, fold.template)
    for fold, (yml, *_) in zip(folds_made, targets, strict=True):
        found = ", ".join(f"{v:.1f} in {config_label(config, k)}" for k, v in fold.events.items())
        common.print_summary(
            f"{yml}: learned from {fold.learned_from} events, to be tested on {fold.tested_on} "
            f"others; mu = 1 before scaling is {found}. Next: ddphf build {yml}"
        )


def config_label(config: Any, role: str) -> str:
    """Return the label of a channel."""
    return str(getattr(config, role).label)
