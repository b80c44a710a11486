"""``ddphf build``: analysis file to workspace and sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddphf.cli.common import force_option, output_option, print_summary, print_warnings
from ddphf.files import to_json
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.config.analysis import Analysis
    from ddphf.config.ratio import RatioConfig
    from ddphf.measurement.build import BuiltRatio
    from ddphf.workspace.build import BuiltWorkspace

__all__ = ["build_document", "command", "metadata_path"]


@click.command("build")
@click.argument("analysis", type=click.Path(dir_okay=False))
@output_option
@force_option
def command(analysis: str, output: str, force: bool) -> None:
    """Emit the pyhf workspace of the analysis or ratio file ANALYSIS (- reads standard input).

    Beside the workspace goes its sidecar, NAME.metadata.json: bin edges, units, pairing, signal
    scale, sources. With standard output as the target only the workspace is written.

    Example: ddphf build analysis.yml -o workspace.json
    """
    from ddphf.config.documents import read_document

    sidecar = None if output == "-" else metadata_path(output)
    outputs = Outputs([output, sidecar], inputs=[analysis], force=force)
    config = read_document(analysis)
    outputs.protect(config.files)
    built = build_document(config)
    print_warnings(built.warnings)
    with outputs:
        outputs.write(output, to_json(built.workspace))
        if sidecar is not None:
            outputs.write(sidecar, to_json(built.metadata))
    if sidecar is None:
        return
    print_summary(f"{output}: {_describe(built)}")


def build_document(config: Analysis | RatioConfig) -> BuiltWorkspace | BuiltRatio:
    """Build what a configuration file describes."""
    from ddphf.config.ratio import RatioConfig

    if isinstance(config, RatioConfig):
        from ddphf.measurement.build import build_ratio

        return build_ratio(config)
    from ddphf.symmetry.load import load_pair
    from ddphf.workspace.build import build_workspace

    return build_workspace(load_pair(config), signal_scale=config.signal_scale, name=config.name)


def _describe(built: BuiltWorkspace | BuiltRatio) -> str:
    channels = f"{len(built.workspace['channels'])} channels"
    if "ratio" in built.metadata:
        ratio = built.metadata["ratio"]
        return (
            f"{channels}, {ratio['poi']} = {ratio['numerator']} over {ratio['denominator']}, "
            f"{built.metadata['tested']:g} is tested"
        )
    signal = built.metadata["signal"]
    return (
        f"{channels}, mu = 1 is {sum(signal['events_at_mu_1'].values()):.6g} signal events (scale "
        f"{signal['scale']:g}), expected sigma(mu) {signal['expected_sigma_mu']:.3g}"
    )


def metadata_path(workspace: str | Path) -> Path:
    """Return where the sidecar of a workspace lies.

    Example:
        >>> metadata_path("out/pair.json").name
        'pair.metadata.json'
    """
    path = Path(workspace)
    return path.parent / f"{path.stem}.metadata.json"
