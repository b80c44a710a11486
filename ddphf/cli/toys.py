"""``ddphf toys``: the null distribution of q0 by pseudo-experiments, kept in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ddphf.cli.common import (
    force_option,
    print_summary,
    print_warnings,
    progress_line,
    seed_option,
)
from ddphf.cli.sidecar import digest_of
from ddphf.exceptions import InputError, UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs

__all__ = ["command"]


@click.command("toys")
@click.argument("workspace")
@click.option("--toys", type=click.IntRange(min=0), default=20000, show_default=True)
@seed_option
@click.option("--mu", type=float, default=0.0, show_default=True, help="POI to draw toys with.")
@click.option("--measurement", metavar="NAME", help="Which one; the first by default.")
@click.option("-o", "--output", required=True, metavar="FILE", help="npz file of the toys.")
@click.option("--resume", is_flag=True, help="Keep the toys of an existing output and add to them.")
@click.option(
    "--merge", multiple=True, metavar="FILE", help="Add the toys of this file; may be repeated."
)
@force_option
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
    path = Path(output)
    with progress_line() as say:
        say("reading")
        from ddphf.inference.fit import check_failures
        from ddphf.inference.fitter import Fitter
        from ddphf.inference.toys.ensembles import toy_ensemble
        from ddphf.inference.toys.source import ToySource
        from ddphf.inference.toys.store import add_toys, load_toys, merge_toys
        from ddphf.likelihood.reference import ReferenceModel
        from ddphf.statistics.tails import FAILED

        spec = read_json(workspace)
        digest = digest_of(spec)
        fitter = Fitter(ReferenceModel(spec, measurement))
        fitter.require_null()
        names = [Path(name) for name in merge] + [path] * (resume and path.exists())
        others = {name: load_toys(name) for name in names}
        say(f"fit at mu = {mu:g}")
        source = ToySource.conditional(fitter.require_compiled(), mu)
        # What 'ddphf fit' refuses, such as a POI that another factor copies, has no toys either.
        say("free fit")
        table = fitter.reference.parameters
        fitter.minimize(table.init, table.fixed, "free fit")
        for name, sample in others.items():
            if (sample.fingerprint, sample.mu) != (source.fingerprint, source.mu):
                raise InputError(f"{name}: holds toys of another model, data set or --mu")
        # With --force the old file stays until there are new toys, whatever goes wrong before.
        store = path.with_name(f".{path.name}.part") if force and not resume else path
        if store != path:
            store.unlink(missing_ok=True)
        try:
            if others:
                merged = merge_toys(list(others.values()))
                add_toys(replace(merged, workspace_digest=digest), store)
            if toys:
                toy_ensemble(
                    source, toys, seed=seed, store=store, workspace_digest=digest,
                    progress=say.toys,
                )  # fmt: skip
        finally:
            if store != path and store.exists():
                store.replace(path)
    print_warnings(fitter.reference.warnings)
    sample = load_toys(path)
    print_summary(
        f"{output}: {len(sample)} toys at mu = {mu:g}, {(sample.status == FAILED).sum()} failed, "
        f"{sample.at_zero.mean():.3g} with mu_hat exactly 0"
    )
    check_failures(sample)
