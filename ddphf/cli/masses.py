"""``ddphf masses``: one search over hundreds of hypotheses, in one batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.figures import figure_options, figure_paths, write_record
from ddphf.exceptions import UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs, check_folder

if TYPE_CHECKING:
    from ddphf.masses.scan import MassScan
    from ddphf.results.masses import MassesResult

__all__ = ["FIGURES", "command"]

FIGURES = ("masses_limits", "masses_p0", "masses_mu", "masses_toys")

METHODS = ("asymptotic", "toys")

SHOWN = 5
"""Hypotheses that the terminal shows: those with the largest z."""


def _read_levels(context: click.Context, option: click.Parameter, text: str) -> tuple[float, ...]:
    del context, option
    try:
        levels = tuple(float(x) for x in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0.5 < x < 1 for x in levels) or len(set(levels)) < len(levels):
        raise UsageError(f"--cl {text}: expected levels between 0.5 and 1, such as 0.9,0.95")
    return levels


@click.command("masses")
@click.argument("scan")
@common.output_option
@click.option(
    "--cl", "levels", default="0.95", show_default=True, metavar="LEVELS", callback=_read_levels,
    help="Confidence levels of the limits, with commas.",
)  # fmt: skip
@common.choice_option(
    "--empty-bins", ["keep", "drop", "floor", "merge"],
    "What is done to bins without simulated background, instead of what SCAN says.",
)  # fmt: skip
@common.text_option(
    "--method", "LIST", "Of the limits: asymptotic, toys, or both with a comma.", "asymptotic"
)
@common.count_option(
    "--toys", "Toys per ensemble of limits by toys; up to twelve ensembles per hypothesis.  "
    "[default: 1000]", least=1,
)  # fmt: skip
@common.count_option("--global-toys", "Toys of all hypotheses, for the global p-value.", default=0)
@common.text_option(
    "--patchset", "FILE",
    "A pyhf patchset, one patch per hypothesis, of the background-only workspace SCAN.",
)  # fmt: skip
@common.text_option("--parameter", "LABEL", "Which label of the patchset is scanned; the only one.")
@common.text_option(
    "--workspaces", "DIR", "Write what gives every hypothesis's pyhf workspace there: BkgOnly.json "
    "and patchset.json of a common background, else scan.npz, scan.json and make_workspace.py.",
)  # fmt: skip
@common.text_option("--inspire", "ID", "Such as ins1234567, which patchset.json has to state.")
@common.text_option("--keep", "DIR", "Keep finished pieces there: what was stopped goes on.")
@figure_options("Draw limits, p0 and mu_hat against the parameter into this folder.")
@common.seed_option
@common.scheduler_option
@common.force_option
def command(
    scan: str, output: str, levels: tuple[float, ...], empty_bins: str | None, method: str,
    toys: int | None, global_toys: int, patchset: str | None, parameter: str | None,
    workspaces: str | None, inspire: str | None, keep: str | None, plots: str | None,
    kind: str | None, seed: int, where: str | None, force: bool,
) -> None:  # fmt: skip
    """Fit every hypothesis of SCAN, set limits, and say what looking at all of them costs.

    SCAN is a scan file (docs/masses.md), an npz of its arrays, or with --patchset a
    background-only workspace.

    Example: ddphf masses scan.yml -o masses.json --plots figures
    """
    methods = common.choices("--method", method, METHODS)
    if toys is not None and "toys" not in methods:
        raise UsageError("--toys: is for --method toys; give it, or leave --toys out")
    drawn = "toys" in methods or global_toys > 0
    long = drawn or patchset is not None  # hypotheses one by one
    common.require_work(where, long, "--method toys, --global-toys or --patchset")
    if keep is not None and not long:
        raise UsageError(
            "--keep: is for --method toys, --global-toys or --patchset; give one, or leave it out"
        )
    _check_patchset(patchset, parameter, global_toys)
    published = _published_paths(workspaces, inspire, patchset)
    folder = None if keep is None else check_folder("--keep", keep)
    figures = figure_paths(plots, kind, FIGURES)
    inputs = [scan] if patchset is None else [scan, patchset]
    targets: list[str | Path] = [output, *figures.values(), *published.values()]
    outputs = Outputs(targets, inputs=inputs, force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("reading")
        beside: dict[Path, bytes] = {}
        settings: dict[str, Any] = {
            "levels": levels, "methods": methods, "toys": 1000 if toys is None else toys,
            "seed": seed, "folder": folder, "work": say.work("toys", runner),
        }  # fmt: skip
        if patchset is not None:
            result = _run_patchset(scan, patchset, parameter, empty_bins, settings)
        else:
            from ddphf.masses.run import run_scan

            found, files = _read(scan, empty_bins)
            outputs.protect(files)
            beside = _workspace_files(found, published, inspire)
            result = run_scan(found, global_toys=global_toys, **settings)
            if (upper := result.poi["bounds"][1]) != found.poi.upper:  # nobody stated it
                found = replace(found, poi=replace(found.poi, upper=upper))
                beside = _workspace_files(found, published, inspire)
    record = result.to_dict()
    common.print_warnings(result.warnings)

    def draw() -> dict[str, Any]:
        from ddphf.figures.masses import draw_masses

        return draw_masses(record)

    missing = write_record(outputs, output, record, figures, draw, beside)
    common.print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    common.print_summary(make_table(record))
    common.print_summary(_looking_everywhere(record, windows=patchset is None))


def _published_paths(
    folder: str | None, inspire: str | None, patchset: str | None
) -> dict[str, Path]:
    if folder is None:
        if inspire is not None:
            raise UsageError("--inspire: is for --workspaces; give it, or leave --inspire out")
        return {}
    if patchset is not None:
        raise UsageError(
            "--workspaces: the patchset gives the workspaces already; leave one of them out"
        )
    from ddphf.likelihood.patches import check_inspire
    from ddphf.masses.workspaces import FILES

    if inspire is not None:
        check_inspire(inspire)
    return {name: check_folder("--workspaces", folder) / name for name in FILES}


def _workspace_files(
    scan: MassScan, paths: dict[str, Path], inspire: str | None
) -> dict[Path, bytes]:
    if not paths:
        return {}
    from ddphf.masses.workspaces import workspace_files

    return {paths[name]: content for name, content in workspace_files(scan, inspire).items()}


def _check_patchset(patchset: str | None, parameter: str | None, global_toys: int) -> None:
    if parameter is not None and patchset is None:
        raise UsageError("--parameter: is for --patchset; give it, or leave --parameter out")
    if patchset is not None and global_toys:
        raise UsageError(
            "--global-toys: is for a scan file with the edges of windows, which a patchset does "
            "not have; leave one of them out"
        )


def _run_patchset(
    workspace: str, patchset: str, parameter: str | None, empty_bins: str | None,
    settings: dict[str, Any],
) -> MassesResult:  # fmt: skip
    from ddphf.masses.patchset import read_hypotheses
    from ddphf.masses.run_patchset import run_patchset

    found = read_hypotheses(read_json(workspace), read_json(patchset), parameter)
    return run_patchset(found, empty_bins=empty_bins, **settings)


def _read(scan: str, empty_bins: str | None) -> tuple[MassScan, list[Any]]:
    from ddphf.masses.config import read_arrays, read_scan

    if scan.lower().endswith(".npz"):
        return read_arrays(scan, empty_bins=empty_bins)
    return read_scan(scan, empty_bins=empty_bins)


def make_table(record: dict[str, Any]) -> Table:
    """Return the hypotheses with the largest z, with their limits."""
    name, unit = record["parameter"]["name"], record["parameter"]["unit"]
    level = f"{100 * record['levels'][0]:g} % limit"
    title = f"{record['name']}: {len(record['values'])} hypotheses, those with the largest local Z"
    table = Table(title=Text(title), title_justify="left")
    for column in (f"{name} {unit}".strip(), record["poi"]["name"], "Z local", "p0 local", level,
                   "expected"):  # fmt: skip
        table.add_column(Text(column), justify="right")
    rows = zip(record["values"], record["hypotheses"], strict=True)
    ranked = sorted(
        ((v, h) for v, h in rows if h["z0"] is not None), key=lambda pair: -pair[1]["z0"]
    )
    for value, found in ranked[:SHOWN]:
        limit = found["limit"]["asymptotic"]
        table.add_row(
            f"{value:.5g}", _number(found["mu_hat"], ".4g"), _number(found["z0"], ".3f"),
            _number(found["p0"], ".3g"), _number(limit["observed"], ".4g"),
            _number(limit["expected"][2], ".4g"),
        )  # fmt: skip
    return table


def _looking_everywhere(record: dict[str, Any], *, windows: bool) -> str:
    """Return what the largest local Z is worth after looking at all hypotheses."""
    overall = record["global"]
    if overall is None:
        hint = "; --global-toys N gives the global p of the largest" if windows else ""
        return f"every Z and p0 here is local{hint}"
    low, high = overall["p_interval"]
    p = f"below {high:.2g}" if overall["p"] is None else f"{overall['p']:.3g}"
    name = record["parameter"]["name"]
    return (
        f"largest local Z {overall['z0']:.3f} at {name} = {overall['value']:.5g}: global p {p} "
        f"[{low:.3g}, {high:.3g}] of {overall['toys']} toys, "
        f"{_number(overall['gross_vitells']['p'], '.3g')} by Gross and Vitells"
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
