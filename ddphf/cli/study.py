"""``ddphf study``: published studies done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from ddphf.cli import common
from ddphf.cli.figures import stage_figures
from ddphf.exceptions import InputError
from ddphf.files import to_json
from ddphf.outputs import Outputs, check_folder

if TYPE_CHECKING:
    from ddphf.results.birman import BirmanResult, TableRow

__all__ = ["command"]

FIGURES = (
    "figure1_templates.png",
    "figure2_distributions.png",
    "figure3_windows.png",
    "figure4_roc.png",
    "figure5_injected.png",
)

NPLM_FIGURES = ("null.png", "luminosity.png", "permutation.png")


@click.group("study")
def command() -> None:
    """Published studies done again, number by number."""


@command.command("birman")
@click.option(
    "-o", "--output", default="birman", show_default=True, metavar="DIR",
    help="Folder of study.json, table.md and the figures.",
)  # fmt: skip
@common.count_option("--toys", "Per ensemble and background.", default=20_000)
@click.option(
    "--analysis", type=click.Path(dir_okay=False), metavar="FILE",
    help="Analysis file of a simulated sample with a known background, to run beside the flat "
    "backgrounds; workspaces/higgs_lfv/analysis.yml of the repository is the shipped one.",
)  # fmt: skip
@click.option(
    "--window", type=int, default=6, show_default=True, metavar="K",
    help="N_sigma of K x K bins, where it is largest on Asimov data.",
)  # fmt: skip
@common.seed_option
@common.scheduler_option
@common.force_option
def birman(
    output: str,
    toys: int,
    analysis: str | None,
    window: int,
    seed: int,
    where: str | None,
    force: bool,
) -> None:
    """Birman et al., Eur. Phys. J. C 82 (2022) 508: L1, L2 and N_sigma against each other.

    Example: ddphf study birman -o birman --toys 500
    """
    if toys < 2:
        raise InputError(f"--toys {toys}: expected 2 or more: an ensemble needs a spread")
    folder = check_folder("-o", output)
    targets = [folder / name for name in ("study.json", "table.md", *FIGURES)]
    outputs = Outputs(targets, inputs=[analysis], force=force)
    with common.progress_line() as say, common.runner_at(where, say) as runner:
        say("loading")
        from ddphf.config.analysis import read_analysis
        from ddphf.figures.birman import draw_birman
        from ddphf.studies.birman import run_study
        from ddphf.studies.birman_setups import sample_setup

        sample = None
        if analysis is not None:
            config = read_analysis(analysis)
            outputs.protect(config.files)
            sample = sample_setup(config)
        result = run_study(
            toys=toys, seed=seed, sample=sample, window=window,
            work=say.work("toys", runner),
        )  # fmt: skip
        say("figures")
        with outputs:
            outputs.write(targets[0], to_json(result.to_dict()))
            outputs.write(targets[1], make_text(result))
            drawn = dict(draw_birman(result))
            stage_figures(outputs, {name: folder / name for name in drawn}, drawn)
    common.print_summary(make_table(result))
    if sample is None:
        common.print_summary(
            "the sample was not run: give --analysis workspaces/higgs_lfv/analysis.yml of the "
            "repository, or your own"
        )
    common.print_summary(f"{folder}: study.json, table.md and {len(FIGURES)} figures")


@command.command("nplm")
@click.option(
    "-o", "--output", default="nplm", show_default=True, metavar="DIR",
    help="Folder of study.json, table.md and the figures.",
)  # fmt: skip
@click.option(
    "--analysis", type=click.Path(dir_okay=False), metavar="FILE",
    help="Analysis file of events whose collinear mass, or first variable of the section learn, is "
    "tested too; workspaces/higgs_lfv_asymmetric/analysis.yml of the repository is the shipped "
    "one.",
)  # fmt: skip
@common.count_option(
    "--toys", "Of each row; a row of 50 000 epochs takes a third of a second for each.",
    least=2, default=24,
)  # fmt: skip
@common.count_option("--redraws", "Of the labels of each toy.", least=1, default=199)
@common.seed_option
@common.force_option
def nplm(
    output: str, analysis: str | None, toys: int, redraws: int, seed: int, force: bool
) -> None:
    """Symmetrised NPLM (arXiv:2401.09530): its null against epochs, its signals, its limits.

    Example: ddphf study nplm -o nplm --toys 24
    """
    folder = check_folder("-o", output)
    targets = [folder / name for name in ("study.json", "table.md", *NPLM_FIGURES)]
    outputs = Outputs(targets, inputs=[analysis], force=force)
    with common.progress_line() as say:
        say("loading")
        from ddphf.config.analysis import read_analysis
        from ddphf.figures.nplm import draw_nplm
        from ddphf.studies.nplm import run_nplm_study
        from ddphf.studies.nplm_table import nplm_text

        sample = None
        if analysis is not None:
            sample = read_analysis(analysis, needs_signal=False)
            outputs.protect(sample.files)
        result = run_nplm_study(sample=sample, toys=toys, redraws=redraws, seed=seed, stage=say)
        assert result.study is not None
        text = nplm_text(result.study, seed)
        with outputs:
            outputs.write(targets[0], to_json(result.to_dict()))
            outputs.write(targets[1], text)
            drawn = dict(draw_nplm(result.study))
            stage_figures(outputs, {name: folder / name for name in drawn}, drawn)
    common.print_summary(text)


def _cells(row: TableRow) -> tuple[str, str, str]:
    if row.ours is None:
        ours = "-"
    elif row.error is None:
        ours = f"{row.ours:.5g}"
    else:
        ours = f"{row.ours:.5f} +- {row.error:.2g}"
    return row.quantity, "-" if row.paper is None else row.paper, ours


def make_table(result: BirmanResult) -> Table:
    """Return the table that the terminal shows; the reasons are in table.md."""
    table = Table(title=f"Birman et al., {result.toys} toys", title_justify="left")
    table.add_column("quantity")
    table.add_column("paper", justify="right")
    table.add_column("ours", justify="right")
    for row in result.table:
        table.add_row(*_cells(row))
    return table


def make_text(result: BirmanResult) -> str:
    """Return the table with its reasons as Markdown."""
    lines = [
        "# Birman et al., Eur. Phys. J. C 82 (2022) 508: paper and ours",
        "",
        f"{result.toys} toys per ensemble, seed {result.seed}. Errors are statistical.",
        "",
        "| quantity | paper | ours | why different |",
        "| --- | ---: | ---: | --- |",
        *(f"| {' | '.join([*_cells(row), row.why])} |" for row in result.table),
    ]
    return "\n".join(lines) + "\n"
