"""Figures of the reference study, drawn from its record alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.stats import norm

from ddphf.figures.style import BLUE, FONT, GREEN, GREY, ORANGE, axis_label, panels_of
from ddphf.results.birman import BirmanResult

__all__ = ["draw_birman"]

STYLES = {
    "L1": (ORANGE, "-", "s"),
    "L2": (BLUE, "-", "o"),
    "N_sigma window": (GREEN, "--", "^"),
    "N_sigma all": (GREY, ":", "v"),
}
WIDTH, HEIGHT = 3.3, 3.1
"""Of one panel, in inches."""


def draw_birman(result: BirmanResult) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, figure), numbered as in the paper."""
    drawers: tuple[tuple[str, Callable[[BirmanResult], Figure]], ...] = (
        ("figure1_templates.png", draw_templates),
        ("figure2_distributions.png", draw_distributions),
        ("figure3_windows.png", draw_windows),
        ("figure4_roc.png", draw_roc),
        ("figure5_injected.png", draw_injected),
    )
    for name, draw in drawers:
        with mpl.rc_context(FONT):
            yield name, draw(result)


def draw_templates(result: BirmanResult) -> Figure:
    """Draw background (top) and injected signal (bottom), with the window of N_sigma."""
    figure, panels = _panels(result, rows=2)
    for column, setup in enumerate(result.setups):
        x, y = (np.asarray(axis["edges"]) for axis in setup.axes)
        for row, (values, name) in enumerate(
            ((setup.background, "background"), (setup.signal, "signal"))
        ):
            panel = panels[row][column]
            grid = np.asarray(values).reshape(setup.shape).T
            flat = grid.min() == grid.max()
            mesh = panel.pcolormesh(
                x, y, grid, cmap="viridis",
                vmin=0 if flat or row else grid.min(), vmax=2 * grid.max() if flat else None,
            )  # fmt: skip
            bar = figure.colorbar(mesh, ax=panel)
            bar.set_label(f"{name} events / bin", fontsize=8)
            (i, j), (k, m) = setup.window_start, setup.window_size
            panel.add_patch(
                mpl.patches.Rectangle(
                    (x[i], y[j]), x[i + k] - x[i], y[j + m] - y[j],
                    fill=False, ec="white", lw=1.2, ls="--",
                )
            )  # fmt: skip
            panel.set_xlabel(axis_label(setup.axes[0]))
            panel.set_ylabel(axis_label(setup.axes[1]))
        panels[0][column].set_title(setup.title, loc="left", fontsize=9)
    figure.suptitle("Templates; dashed: the window of N_sigma")
    return figure


def draw_distributions(result: BirmanResult) -> Figure:
    """Draw null and signal ensembles of L1, L2 and N_sigma of the window."""
    names = ("L1", "L2", "N_sigma window")
    figure, panels = _panels(result, rows=len(names))
    for column, setup in enumerate(result.setups):
        for row, name in enumerate(names):
            panel, statistic = panels[row][column], setup.statistic(name)
            edges = np.asarray(statistic.edges)
            scale = 1.0 / (statistic.n * np.diff(edges))
            x = np.linspace(edges[0], edges[-1], 300)
            for counts, colour, label in (
                (statistic.null_counts, GREY, "null toys"),
                (statistic.signal_counts, STYLES[name][0], "signal toys"),
            ):
                panel.stairs(np.asarray(counts) * scale, edges, fill=True, alpha=0.45, color=colour,
                             label=label)  # fmt: skip
            panel.plot(x, norm.pdf(x), "k-", lw=0.9, label="N(0, 1)")
            panel.plot(x, norm.pdf(x - statistic.asimov), "k--", lw=0.9, label="N(Asimov, 1)")
            panel.set_xlabel("N_sigma, window" if row == 2 else f"Z of {name}")
            panel.set_ylabel("probability density")
            panel.set_xlim(-4.5, 9.5)
            panel.set_ylim(0, 0.56)
            panel.text(
                0.98, 0.97, f"{statistic.signal_mean:.3f} ± {statistic.signal_sd:.3f}\n"
                f"(Asimov {statistic.asimov:.3f})",
                transform=panel.transAxes, ha="right", va="top", fontsize=7,
            )  # fmt: skip
        panels[0][column].set_title(setup.title, loc="left", fontsize=9)
    panels[0][0].legend(fontsize=7, frameon=False, loc="upper left")
    figure.suptitle(f"Null and signal ensembles, {result.toys} toys each; signal: Z_L1 = 5")
    return figure


def draw_windows(result: BirmanResult) -> Figure:
    """Draw N_sigma against the size of the window, with the bands of both ensembles."""
    figure, panels = _panels(result)
    for panel, setup in zip(panels[0], result.setups, strict=True):
        sizes = np.asarray(setup.window_sizes)
        bands, null = np.asarray(setup.window_bands), np.asarray(setup.window_null_bands)
        panel.plot(sizes, null[0], color="k", ls=":", lw=1, label="null, 95 %")
        panel.plot(sizes, null[4], color="k", ls=":", lw=1)
        panel.fill_between(
            sizes, bands[0], bands[4], color=GREEN, alpha=0.2, lw=0, label="signal, 95 %"
        )
        panel.fill_between(
            sizes, bands[1], bands[3], color=GREEN, alpha=0.35, lw=0, label="signal, 68 %"
        )
        panel.plot(sizes, bands[2], color=GREEN, lw=1.2, label="signal, median")
        panel.plot(sizes, setup.window_asimov, "k.", ms=5, label="Asimov")
        panel.axhline(setup.statistic("L2").asimov, color=BLUE, ls="--", lw=1, label="Z of L2")
        panel.set_xlabel("bins along each axis of the window")
        panel.set_ylabel("N_sigma (local)")
        panel.set_ylim(-2.4, 7.9)
        panel.set_title(setup.title, loc="left", fontsize=9)
    panels[0][0].legend(fontsize=7, frameon=False, loc="upper right", ncols=2)
    figure.suptitle("N_sigma against the size of a window around the signal")
    return figure


def draw_roc(result: BirmanResult) -> Figure:
    """Draw the ROC curves."""
    figure, panels = _panels(result, extra=0.9)
    for panel, setup in zip(panels[0], result.setups, strict=True):
        for statistic in setup.statistics:
            colour, line, _ = STYLES[statistic.name]
            area = f"{statistic.auc:.5f} ± {statistic.auc_error:.1g}"
            x, y = np.asarray(statistic.roc_background), np.asarray(statistic.roc_signal)
            seen = x > 0
            panel.plot(
                x[seen], y[seen], ls=line, color=colour, lw=1.4,
                label=f"{_statistic_name(statistic.name)}: {area}",
            )  # fmt: skip
        panel.plot(np.logspace(-4, 0, 50), np.logspace(-4, 0, 50), color="k", lw=0.5)
        panel.set_xscale("log")
        # Plain text: mathematics is not parsed here.
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        panel.set_xlim(1 / result.toys, 1)
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("efficiency without signal")
        panel.set_ylabel("efficiency with signal")
        panel.set_title(setup.title, loc="left", fontsize=9)
        panel.legend(
            fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22),
            title="area below", title_fontsize=7,
        )  # fmt: skip
    figure.suptitle("ROC curves; thin: no separation")
    return figure


def draw_injected(result: BirmanResult) -> Figure:
    """Draw found against injected significance."""
    figure, panels = _panels(result)
    for panel, setup in zip(panels[0], result.setups, strict=True):
        injected = np.asarray(setup.injected_z)
        shift = np.linspace(-0.12, 0.12, len(setup.statistics))
        for statistic, move in zip(setup.statistics, shift, strict=True):
            colour, line, marker = STYLES[statistic.name]
            panel.plot(injected, statistic.injected_asimov, ls=line, color=colour, lw=1)
            panel.errorbar(
                injected + move, statistic.injected_mean, statistic.injected_sd, fmt=marker,
                ms=3.5, lw=0.8, color=colour, label=_statistic_name(statistic.name),
            )  # fmt: skip
        panel.set_xlabel("injected Z (L1, Asimov)")
        panel.set_ylabel("found Z or N_sigma")
        panel.set_title(setup.title, loc="left", fontsize=9)
    panels[0][0].legend(fontsize=7, frameon=False, loc="upper left")
    figure.suptitle("Lines: Asimov data; points: mean and standard deviation of toys")
    return figure


def _panels(
    result: BirmanResult, rows: int = 1, extra: float = 0.0
) -> tuple[Figure, list[list[Axes]]]:
    columns = len(result.setups)
    height = HEIGHT * rows + 0.5 + extra
    figure = Figure(figsize=(WIDTH * columns + 0.4, height), layout="constrained")
    return figure, panels_of(figure, rows, columns)


def _statistic_name(name: str) -> str:
    return {"N_sigma window": "N_sigma, window", "N_sigma all": "N_sigma, all"}.get(name, name)
