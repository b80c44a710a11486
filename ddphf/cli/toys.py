"""``ddphf toys``: the null distribution of q0 by pseudo-experiments, kept in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddphf.cli.common import (
    force_option,
    print_summary,
    print_warnings,
    progress_line,
    require_work,
    runner_at,
    scheduler_option,
    seed_option,
)
from ddphf.cli.sidecar import digest_of
from ddphf.exceptions import InputError, UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.inference.toys.store import ToySample

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
@click.option(
    "--shard", metavar="I/N",
    help="Draw part I of N of the toys, for a file to --merge with the others.",
)  # fmt: skip
@scheduler_option
@force_option
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
    require_work(where, toys, "--toys N")
    numbers = None if shard is None else _read_shard(shard)
    Outputs([output], inputs=[workspace, *merge], force=force or resume)
    path = Path(output)
    with progress_line() as say, runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.fit import check_failures
        from ddphf.inference.fitter import Fitter
        from ddphf.inference.toys.ensembles import toy_ensemble
        from ddphf.inference.toys.shards import check_shard, join_shards
        from ddphf.inference.toys.source import ToySource
        from ddphf.inference.toys.store import add_toys, load_toys, merge_toys
        from ddphf.likelihood.reference import ReferenceModel
        from ddphf.statistics.tails import FAILED

        own = None if numbers is None else check_shard(*numbers, toys)
        spec = read_json(workspace)
        digest = digest_of(spec)
        fitter = Fitter(ReferenceModel(spec, measurement))
        fitter.require_null()
        others = {name: load_toys(Path(name)) for name in merge}
        old = load_toys(path) if resume and path.exists() else None
        say(f"fit at mu = {mu:g}")
        source = ToySource.conditional(fitter.require_compiled(), mu)
        # What 'ddphf fit' refuses, such as a POI that another factor copies, has no toys either.
        say("free fit")
        table = fitter.reference.parameters
        fitter.minimize(table.init, table.fixed, "free fit")
        known = others if old is None else {**others, output: old}
        for name, sample in known.items():
            if (sample.fingerprint, sample.mu) != (source.fingerprint, source.mu):
                raise InputError(
                    f"{name}: holds toys of another model, data set or --mu; draw them again from "
                    "this workspace"
                )
        if old is not None and old.shard != own:
            raise InputError(
                f"{output}: holds {old.shard or 'toys of a whole ensemble'}; give the same --shard "
                "and --toys as before, or another --output"
            )
        together = [] if old is None else [old]
        if others:
            whole = join_shards(others, whole=not _completed(others, toys, seed))
            together.insert(0, whole)
        # With --force the old file stays until there are new toys, whatever goes wrong before.
        store = path.with_name(f".{path.name}.part") if force and not resume else path
        if store != path:
            store.unlink(missing_ok=True)
        try:
            if together:
                add_toys(replace(merge_toys(together), workspace_digest=digest), store)
            if toys:
                part = range(toys) if own is None else own.toys
                toy_ensemble(
                    source, len(part), seed=seed, first=part.start, store=store,
                    workspace_digest=digest, shard=own, progress=say.toys, runner=runner,
                )  # fmt: skip
        finally:
            if store != path and store.exists():
                store.replace(path)
    print_warnings(fitter.reference.warnings)
    sample = load_toys(path)
    of_shard = "" if sample.shard is None else f"{sample.shard}, "
    print_summary(
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


def _completed(others: Mapping[str, ToySample], toys: int, seed: int) -> bool:
    """Whether this command draws what shards lack.

    Raises:
        UsageError: It would draw other toys beside them.
    """
    for name, sample in others.items():
        if sample.shard is not None and toys:
            if (toys, seed) != (sample.shard.total, int(sample.seed[0])):
                raise UsageError(
                    f"--toys {toys} --seed {seed}: {name} is {sample.shard} of seed "
                    f"{sample.seed[0]}; give --toys 0 to merge, or that --toys and --seed to draw "
                    "what is missing"
                )
            return True
    return False
