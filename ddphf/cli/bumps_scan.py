"""``ddphf bumps scan``: the best bump of each of any number of spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli import common
from ddphf.cli.bumps_common import METHODS, network_of, weights_option
from ddphf.cli.figures import Drawn, drawn_options, open_outputs, stage_figures
from ddphf.exceptions import UsageError
from ddphf.files import to_json
from ddphf.outputs import Outputs
from ddphf.results.bumps import describe_p
from ddphf.text import cut_middle

__all__ = ["command"]

SHOWN = 20
"""Rows of the terminal's table."""


@click.command("scan")
@click.argument("spectra", nargs=-1, required=True)
@common.number_option(
    "--width-bins", "W", "Standard deviation of a bump, in bins.", min=0, min_open=True
)
@common.number_option("--width", "W", "The same in units of the mass.", min=0, min_open=True)
@common.text_option(
    "--resolution", "A+B", "The same from the resolution of two objects, such as photon+photon."
)
@common.count_option(
    "--toys", "Of each of the first spectra, for global p-values.", most=1_000_000, default=0
)
@common.count_option("--first", "Spectra that have toys, the largest Z first.", least=1, default=20)
@common.text_option(
    "--partner", "FILE",
    "Counts of the partner sample of a symmetry, as background in the place of splines.",
)  # fmt: skip
@common.choice_option("--method", METHODS, "What ranks; what is stated has splines.", METHODS[0])
@weights_option
@common.text_option(
    "--combine", "WORD",
    "Scan sums of neighbours too: of names that differ by one in the number before WORD.",
)  # fmt: skip
@common.number_option("--mass", "M", "State a bump at this mass too, over every function.")
@common.text_option("--page", "FILE", "Write the ranking as one sortable HTML page too.")
@drawn_options("Draw the best bump into this folder.")
def command(
    spectra: tuple[str, ...], width_bins: float | None, width: float | None,
    resolution: str | None, toys: int, first: int, partner: str | None, method: str,
    weights: str | None, combine: str | None, mass: float | None, page: str | None,
    **asked: Unpack[Drawn],
) -> None:  # fmt: skip
    """Find the best bump of each of SPECTRA.

    SPECTRA are files (CSV with mass_low, mass_high and counts; npz, UHI JSON, ROOT),
    FILE:NAME, or patterns such as 'spectra/*.csv'. What is called background in a file
    is a known one, what is called partner the partner sample of a symmetry.

    Example: ddphf bumps scan spectrum.csv --width-bins 1.5 --toys 99 -o b.json
    """
    from ddphf.bumps.prepare import Width

    if page == "-":
        raise UsageError("--page -: standard output is the record's; name a file")
    wanted = Width(width_bins, width, resolution)
    figures, outputs = open_outputs(asked, ("bump",), [weights] if weights else [], page)
    with common.progress_line() as say, common.runner_at(asked["where"], say) as runner:
        say("reading")
        from ddphf.bumps.run_scan import scan_spectra
        from ddphf.bumps.spectra import read_spectra

        network = network_of(method, weights)
        read, files = read_spectra(spectra, partner)
        outputs.protect(files)
        said: list[str] = []
        if combine is not None:
            from ddphf.bumps.neighbours import add_neighbours

            read, said = add_neighbours(read, combine)
        result = scan_spectra(
            read, wanted, toys=toys, first=first, mass=mass, network=network,
            seed=asked["seed"], work=say.work("blocks", runner),
        )  # fmt: skip
    result = replace(result, warnings=(*said, *result.warnings))
    record = result.to_dict()
    common.print_warnings(result.warnings)

    with outputs:
        outputs.write(asked["output"], to_json(record))
        if page is not None:
            from ddphf.report.bumps_page import bumps_page

            outputs.write(page, bumps_page(record))
        missing = _stage_figures(outputs, figures, record)
    common.print_warnings([f"{figures[name].name}: nothing to draw" for name in missing])
    common.print_summary(make_table(record))
    common.print_summary(*(_why(s) for s in record["spectra"][:SHOWN] if s.get("why")))
    common.print_summary(
        *(f"{cut_middle(s['name'])}: {w}" for s in record["spectra"][:SHOWN] for w in s["warnings"])
    )
    common.print_summary(*(line for s in record["spectra"][:SHOWN] for line in _functions(s)))
    common.print_summary(*describe_overall(record))


def _stage_figures(
    outputs: Outputs, figures: Mapping[str, Path], record: Mapping[str, Any]
) -> list[str]:
    if not figures:
        return []
    from ddphf.figures.bumps import draw_bumps

    return stage_figures(outputs, figures, draw_bumps(record))


def _why(spectrum: Mapping[str, Any]) -> str:
    return f"{cut_middle(spectrum['name'])}: {spectrum['status']}: {spectrum['why']}"


def _functions(spectrum: Mapping[str, Any]) -> list[str]:
    """Say by how much Z depends on the function."""
    lines = []
    for found, where in ((spectrum, "its best bump"), (spectrum.get("at") or {}, "")):
        spread = found.get("spread")
        if spread:
            place = where or f"a bump at {found['mass']:.6g}"
            lines.append(
                f"{cut_middle(spectrum['name'])}: functions as background give {place} Z = "
                f"{spread['lowest']:.2f} to {spread['highest']:.2f}"
            )
    return lines


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def make_table(record: Mapping[str, Any]) -> Table:
    """Return the table that the terminal shows, the best spectra first."""
    spectra = record["spectra"]
    table = Table(title=Text(f"bumps in {len(spectra)} spectra"), title_justify="left")
    for column in ("", "spectrum", "status"):
        table.add_column(column)
    asked = record["method"] == "network"
    columns = ("mass", "events", "Z local", "Z known", "rho", "p local")
    for column in (*columns, "Z network") if asked else columns:
        table.add_column(column, justify="right")
    table.add_column("global")
    for spectrum in spectra[:SHOWN]:
        best = spectrum["best"] or dict.fromkeys(
            ("mass", "events", "events_error", "z", "z_known", "rho", "p_local")
        )
        error = "" if best["events_error"] is None else f" +- {best['events_error']:.3g}"
        table.add_row(
            str(spectrum.get("rank", "")), Text(cut_middle(spectrum["name"])), spectrum["status"],
            _number(best["mass"], ".5g"), _number(best["events"], ".4g") + error,
            _number(best["z"], ".2f"), _number(best["z_known"], ".2f"),
            _number(best["rho"], ".2f"), _number(best["p_local"], ".2g"),
            *([_network(spectrum)] if asked else []),
            describe_p(best) if spectrum["best"] else "-",
        )  # fmt: skip
    if len(spectra) > SHOWN:
        table.caption = f"and {len(spectra) - SHOWN} more in the record"
        table.caption_justify = "left"
    return table


def _network(spectrum: Mapping[str, Any]) -> str:
    """Return the largest z by the network and where it is; no p-value comes of it."""
    found = spectrum.get("network")
    if found is None:
        return "-"
    flag = " !" if found["differs"] else ""
    return f"{found['best']['z']:.2f} at {found['best']['mass']:.5g}{flag}"


def describe_overall(record: Mapping[str, Any]) -> list[str]:
    """Return what is said below the table: the best of all spectra, and what was left out."""
    lines = [f"{line}" for line in record["left_out"]]
    overall = record["global"]
    if overall is not None and overall["spectra"] > 1:
        low, high = overall["p_interval"]
        p = (
            f"p < {high:.3g}"
            if overall["p"] is None
            else f"p = {overall['p']:.3g} [{low:.3g}, {high:.3g}]"
        )
        lines.insert(0, f"the best of {overall['spectra']} spectra: global {p}")
    return lines
