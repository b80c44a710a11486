"""``ddphf inspect``: what is in a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ddphf.cli.build import metadata_path
from ddphf.cli.common import force_option, print_warnings, progress_line, stdout
from ddphf.cli.figures import figure_options, figure_paths, stage_figures
from ddphf.cli.sidecar import DAMAGED, read_sidecar
from ddphf.exceptions import InputError
from ddphf.files import read_json, to_json
from ddphf.outputs import Outputs
from ddphf.text import clean_text
from ddphf.workspace_json import Workspace

if TYPE_CHECKING:
    from ddphf.figures.style import Figure

__all__ = ["command"]

REGIONS = {"side": "away from the signal", "all": "a signal included"}
"""Where closure in further variables was tested."""


@click.command("inspect")
@click.argument("workspace")
@click.option("--measurement", metavar="NAME", help="Whose parameters to list; the first one.")
@click.option("-o", "--output", metavar="FILE", help="Write JSON there (- for standard output).")
@figure_options("Draw closure and lepton-ID variations here.")
@force_option
def command(
    workspace: str,
    measurement: str | None,
    output: str | None,
    plots: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Print what is in WORKSPACE (- reads standard input).

    Beside a workspace of `ddphf build` its sidecar tells what the lepton-ID eigen-variations do.

    Example: ddphf inspect workspace.json
    """
    names = ("closure", "lepton_id_correlation", "lepton_id_spectrum", "lepton_id_variations")
    figures = figure_paths(plots, kind, names)
    inputs: list[str | Path | None] = [workspace, metadata_path(workspace)]
    outputs = Outputs([output, *figures.values()], inputs=inputs, force=force)
    with progress_line() as say:
        say("reading")
        from ddphf.likelihood.summary import summarize_workspace

        spec = read_json(workspace)
        summary = summarize_workspace(spec, measurement)
        sidecar, said = read_sidecar(workspace, summary["digest"], spec)
        summary["warnings"] += said
        if sidecar is not None and "pairing" in sidecar:
            try:
                summary["closure"] = _closure(spec, sidecar)
            except DAMAGED:
                raise InputError(
                    f"{metadata_path(workspace)}: is no sidecar of 'ddphf build' (pairing or "
                    "closure); build it again or move it away"
                ) from None
        if sidecar is not None and "lepton_id" in sidecar:
            summary["lepton_id"] = sidecar["lepton_id"]
            summary["absorbed"] = sidecar.get("absorbed", [])
        with outputs:
            if figures:
                say("drawing")
                stage_figures(outputs, figures, _draw(spec, sidecar))
            if output is not None:
                outputs.write(output, to_json(summary))
    print_warnings(summary["warnings"])
    if output is not None:
        return
    summary = clean_text(summary)  # a name of several lines is one line here
    console = stdout()
    console.print(f"workspace   {summary['digest']}", markup=False)
    console.print(
        f"measurement {summary['measurement']}, POI {summary['poi'] or 'none'}", markup=False
    )
    table = Table(title="channels", title_justify="left")
    samples = sorted({name for c in summary["channels"] for name in c["samples"]})
    for column in ("channel", "bins", "observed", *samples):
        table.add_column(Text(column), justify="left" if column == "channel" else "right")
    for channel in summary["channels"]:
        yields = [
            f"{channel['samples'][s]:.6g}" if s in channel["samples"] else "" for s in samples
        ]
        table.add_row(
            Text(channel["name"]), str(channel["bins"]), f"{channel['observed']:.10g}", *yields
        )
    console.print(table)
    for kind, names in summary["modifiers"].items():
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        console.print(f"{kind:12s}{len(names):4d}  {shown}", markup=False)
    parameters = summary["parameters"]
    console.print(f"parameters  {parameters['total']}, {parameters['free']} free")
    for item in summary["measurements"]:
        held = f", fixed: {', '.join(item['fixed'])}" if item["fixed"] else ""
        console.print(
            f"measurement {item['name']} (POI {item['poi'] or 'none'}{held})", markup=False
        )
    for channel_name, events in summary["signal_events"].items():
        console.print(
            f"signal      {events:.6g} events at {summary['poi']} = 1 in {channel_name}",
            markup=False,
        )
    if "closure" in summary:
        _print_closure(console, summary["closure"])
    if "lepton_id" in summary:
        _print_spectrum(console, summary["lepton_id"], summary["absorbed"])


def _closure(spec: Workspace, sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return the closure of a workspace, with that in further variables from its sidecar."""
    from ddphf.studies.closure import summarize_closure
    from ddphf.workspace.closure import warn_of_closure

    entry = summarize_closure(spec, sidecar["pairing"])
    variables = sidecar["closure"].get("variables") if "closure" in sidecar else None
    if variables is None:
        return entry
    entry["variables"] = variables
    REGIONS[variables["region"]]
    warn_of_closure(entry, entry["bins"])  # reads every key that is shown
    return entry


def _print_closure(console: Console, entry: dict[str, Any]) -> None:
    names = {
        "raw_counts": "raw counts",
        "fakes_subtracted": "fakes subtracted",
        "ratio_applied": "efficiency ratio applied",
        "restored": "both",
    }
    shown = ", ".join(f"{entry['n_sigma'][key]:.2f} {name}" for key, name in names.items())
    console.print(f"N_sigma     {shown}", markup=False)
    console.print(
        f"            chi2 / bins {entry['chi2']:.1f} / {entry['bins']}, p {entry['p_value']:.2g}; "
        "ratio and fakes taken as known: too small where their errors matter",
        markup=False,
    )
    console.print(
        f"closure     {_describe(entry['profiled'])}; errors of maps and fakes profiled, a signal "
        "included",
        markup=False,
    )
    if entry["side"] is None:
        side = "no bin is away from the signal"
    else:
        side = (
            f"{_describe(entry['side'])}; {entry['side']['bins']} bins away from the signal, the "
            f"smaller of {entry['side']['tried']} p-values counts "
            f"{_show_p(entry['side']['global_p_value'])}"
        )
    console.print(f"            {side}", markup=False)
    if "variables" in entry:
        _print_variables(console, entry["variables"])
    restored = entry["restored"]
    console.print(
        f"restored    {restored['expected']:.8g} +- {restored['error']:.4g} events expected in the "
        f"tested channel, {restored['observed']:.10g} observed",
        markup=False,
    )


def _describe(test: dict[str, Any]) -> str:
    """Return chi2 and N_sigma of a profiled closure with their p-values."""
    z = test["n_sigma"]
    text = (
        f"chi2 / bins {test['chi2']:.1f} / {test['degrees_of_freedom']}, p "
        f"{_show_p(test['p_value'])}"
    )
    if z is not None:
        text += f", N_sigma {z:.2f}, two-sided p {_show_p(test['n_sigma_p_value'])}"
    return text


def _show_p(p: float | None) -> str:
    return "< 1e-300" if p is None else f"{p:.2g}"


def _print_variables(console: Console, entry: dict[str, Any]) -> None:
    region = REGIONS[entry["region"]]
    table = Table(
        title=Text(f"closure in further variables, {region}"),
        title_justify="left",
        caption=Text(
            f"smallest p of {entry['tried']}: {_show_p(entry['global_p_value'])} for all together"
        ),
    )
    for column in ("variable", "bins", "chi2", "p"):
        table.add_column(Text(column), justify="left" if column == "variable" else "right")
    for item in entry["results"]:
        bins = item["degrees_of_freedom"]
        numbers = (f"{item['chi2']:.1f}", _show_p(item["p_value"])) if bins else ("", "")
        table.add_row(Text(item["variable"]), str(bins), *numbers)
    console.print(table)


def _print_spectrum(console: Console, entry: dict[str, Any], absorbed: list[str]) -> None:
    felt = "ratio_variances" in entry  # older sidecars are ordered by the eigenvalues of C
    values = entry["ratio_variances"] if felt else entry["eigenvalues"]
    total = sum(values)
    console.print(
        f"lepton ID   {entry['covariance']['calibration_bins']} calibration bins, "
        f"{entry['covariance']['model']}",
        markup=False,
    )
    table = Table(title="eigen-variations", title_justify="left")
    what = "variance of the ratio / statistical" if felt else "eigenvalue"
    for column in ("", what, "of the trace", "together"):
        table.add_column(Text(column), justify="left" if column == "" else "right")
    together = 0.0
    for name in entry["kept"]:
        value = values[int(name.rpartition("_eig")[2])]
        together += value
        parts = (value / total, together / total) if total > 0 else (0.0, 0.0)
        table.add_row(Text(name), f"{value:.4g}", *(f"{part:.3%}" for part in parts))
    console.print(table)
    console.print(
        f"dropped     {entry['dropped']} ({entry['residual']}), max |C - C'| "
        f"{entry['largest_loss']:.3g}, largest sigma {entry['largest_sigma']:.3%}",
        markup=False,
    )
    if felt:
        console.print(
            f"sigma(mu)   {entry['sigma_mu_kept']:.3%} of that with all; of any other signal "
            f"at least {1 - entry['largest_loss_of_other_signals']:.3%}",
            markup=False,
        )
    if absorbed:
        console.print(
            f"absorbed    {', '.join(absorbed)}: alike in both channels, so the shared background "
            "takes them; not in the workspace",
            markup=False,
        )


def _draw(spec: Workspace, sidecar: dict[str, Any] | None) -> dict[str, Figure]:
    if sidecar is None or "pairing" not in sidecar:
        raise InputError(
            "--plots: no sidecar of this workspace lies beside it, so nothing tells its channels "
            "apart; build it with 'ddphf build', or leave --plots out"
        )
    from ddphf.figures import lepton_id
    from ddphf.figures.closure import draw_closure
    from ddphf.studies.closure import closure_pulls

    drawn = {
        "lepton_id_correlation": lepton_id.draw_lepton_id_correlation,
        "lepton_id_spectrum": lepton_id.draw_lepton_id_spectrum,
        "lepton_id_variations": lepton_id.draw_lepton_id_variations,
    }
    pairing, axes = sidecar["pairing"], sidecar["binning"]["axes"]
    title = f"{pairing['tested']} against {pairing['partner']}"
    figures = {"closure": draw_closure(closure_pulls(spec, pairing), axes, title)}
    kept = sidecar["lepton_id"]["kept"] if "lepton_id" in sidecar else []
    if not kept:  # nothing else to draw
        return figures
    variations = lepton_id.relative_variations(spec, kept)
    return figures | {name: draw(variations, sidecar) for name, draw in drawn.items()}
