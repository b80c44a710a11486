"""``ddphf build``: analysis file to workspace and sidecar."""

from __future__ import annotations

from pathlib import Path

import click

from ddphf.cli.common import force_option, output_option, print_warnings, stderr
from ddphf.files import check_writable, to_json, write_file, write_output

__all__ = ["command"]


@click.command("build")
@click.argument("analysis", type=click.Path(dir_okay=False))
@output_option
@force_option
def command(analysis: str, output: str, force: bool) -> None:
    """Emit the pyhf workspace of the analysis file ANALYSIS (- reads standard input).

    Beside the workspace goes its sidecar, NAME.metadata.json: bin edges, units, pairing, signal
    scale, sources. With standard output as the target only the workspace is written.
    """
    from ddphf.config.analysis import read_analysis
    from ddphf.symmetry.load import load_pair
    from ddphf.workspace.build import build_workspace

    sidecar = None if output == "-" else metadata_path(output)
    for path in (output, sidecar):
        if path is not None:
            check_writable(path, force=force)
    config = read_analysis(analysis)
    built = build_workspace(load_pair(config), signal_scale=config.signal_scale, name=config.name)
    print_warnings(built.warnings)
    text = to_json(built.workspace)
    if sidecar is None:
        write_output(text, output)
        return
    # Both or none: the workspace appears only when its sidecar is complete too.
    with write_file(output, force=force) as workspace, write_file(sidecar, force=force) as metadata:
        workspace.write_text(text, encoding="utf-8")
        metadata.write_text(to_json(built.metadata), encoding="utf-8")
    signal = built.metadata["signal"]
    stderr.print(
        f"{output}: {len(built.workspace['channels'])} channels, mu = 1 is "
        f"{sum(signal['events_at_mu_1'].values()):.6g} signal events (scale "
        f"{signal['scale']:g}), expected sigma(mu) {signal['expected_sigma_mu']:.3g}",
        markup=False,
    )


def metadata_path(workspace: str | Path) -> Path:
    """Return where the sidecar of a workspace lies.

    Example:
        >>> metadata_path("out/pair.json").name
        'pair.metadata.json'
    """
    path = Path(workspace)
    return path.with_name(f"{path.stem}.metadata.json")
