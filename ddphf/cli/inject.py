"""``ddphf inject``: the strength of a wanted significance, data with it, and a scan by toys."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.table import Table

from ddphf.cli import common
from ddphf.cli.sidecar import check_null
from ddphf.exceptions import ConfigError
from ddphf.files import read_json, to_json
from ddphf.outputs import Outputs
from ddphf.results.fit import describe_error

if TYPE_CHECKING:
    from ddphf.inference.injection.signals import Background, DataKind
    from ddphf.results.injection import InjectionResult

__all__ = ["command"]


@click.command("inject")
@click.argument("workspace")
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Workspace with the injected data; FILE gets NAME.injection.json beside it.",
)  # fmt: skip
@common.number_option("--z", "Z", "Asimov significance to reach; < 0: a deficit.")
@common.number_option("--mu", "MU", "Strength to inject, instead of --z.")
@common.text_option(
    "--measurement", "NAME", "The first by default (L2 of a pair); known_background is L1."
)
@common.choice_option(
    "--background", ["fit", "known"],
    "Free parameters as fitted to the data at mu = 0, or those of known_background.", "fit",
)  # fmt: skip
@click.option(
    "--data", "kind", type=click.Choice(["asimov", "shift", "poisson"]), default="asimov",
    show_default=True, help="Expectation; observed data plus mu S; or drawn.",
)  # fmt: skip
@click.option(
    "--toys", type=click.IntRange(min=0), default=0, metavar="N",
    help="Scan strengths with N toys each: bias, widths, coverage.",
)  # fmt: skip
@common.text_option("--scan", "MU,MU,...", "Strengths of the scan; 0, mu/2 and mu by default.")
@common.seed_option
@common.scheduler_option
@common.force_option
def command(
    workspace: str, output: str, z: float | None, mu: float | None, measurement: str | None,
    background: str, kind: str, toys: int, scan: str | None, seed: int, where: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Inject a signal into WORKSPACE (any pyhf workspace with a POI; - reads standard input).

    The strength mu solves sqrt(q0) = Z on Asimov data of the measurement.

    Example: ddphf inject workspace.json --z 5 -o five.json
    """
    if (z is None) == (mu is None):
        raise click.UsageError("give --z or --mu, one of the two")
    for name, value in (("--z", z), ("--mu", mu)):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name} {value}: expected a finite number")
    strengths = _read_scan(scan)
    if scan is not None and not toys:
        raise ConfigError("--scan without toys has nothing to fit; give --toys N with N >= 2")
    if toys == 1:
        raise ConfigError("--toys 1: a width needs a spread; give 2 or more")
    common.require_work(where, toys, "--toys N")
    path = Path(output)
    record = None if output == "-" else path.parent / f"{path.stem}.injection.json"
    outputs = Outputs([output, record], inputs=[workspace], force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        from ddphf.inference.injection.record import inject_signal

        spec = read_json(workspace)
        said = check_null(workspace, spec)
        written, result = inject_signal(
            spec, z=z, mu=mu, measurement=measurement,
            background=cast("Background", background), kind=cast("DataKind", kind),
            scan=strengths, toys=toys, seed=seed, progress=say, toy_progress=say.toys,
            runner=runner,
        )  # fmt: skip
    common.print_warnings([*said, *result.warnings])
    with outputs:
        outputs.write(output, to_json(written))
        if record is not None:
            outputs.write(record, to_json(result.to_dict()))
    common.print_summary(make_summary(result))
    for table in make_tables(result) if result.scan else ():
        common.print_summary(table)


def _read_scan(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [float("nan")]
    if not all(map(math.isfinite, values)):
        raise ConfigError(f"--scan {text}: expected finite numbers, separated by commas")
    return values


def make_summary(result: InjectionResult) -> str:
    """Return the lines that the terminal shows."""
    events = ", ".join(f"{name} {n:.6g}" for name, n in result.signal_events.items() if n)
    return (
        f"{result.measurement}: {result.poi} = {result.mu:.8g} ({events or 'no'} events), Asimov Z "
        f"{result.z_asimov:.6f}\nwritten data ({result.data}): {result.poi}_hat = "
        f"{result.found.mu_hat:.6g} {describe_error(result.found.mu_error)}, "
        f"Z = {result.found.z0:.6f}"
    )


def make_tables(result: InjectionResult) -> list[Table]:
    """Return the scan as tables: estimates, and coverage by mu_hat +- error and by the profile."""
    estimates = Table(title=f"{result.scan[0].n} toys per strength", title_justify="left")
    coverage = Table(title="coverage of the intervals", title_justify="left")
    for name in (result.poi, "bias", "+-", "width", "stated", "Z Asimov", "Z", "+-", "width"):
        estimates.add_column(name, justify="right")
    for name in (result.poi, "68 % error", "68 % profile", "95 % error", "95 % profile"):
        coverage.add_column(name, justify="right")
    for row in result.scan:
        estimates.add_row(
            f"{row.mu:.5g}", f"{row.bias:.3g}", f"{row.mu_mean_error:.2g}", f"{row.mu_sd:.4g}",
            f"{row.mu_error_mean:.4g}", f"{row.z_asimov:.3f}", f"{row.z_mean:.3f}",
            f"{row.z_mean_error:.3f}", f"{row.z_sd:.3f}",
        )  # fmt: skip
        cells = []
        for i, error in enumerate(row.coverage_error):
            cells += [f"{row.covered_error[i]:.3f}", f"{row.covered_profile[i]:.3f} +- {error:.3f}"]
        coverage.add_row(f"{row.mu:.5g}", *cells)
    return [estimates, coverage]
