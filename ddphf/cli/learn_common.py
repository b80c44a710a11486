"""What the subcommands of ``ddphf learn`` share: their options."""

from __future__ import annotations

from collections.abc import Callable

from ddphf.cli.common import Command, choice_option, count_option
from ddphf.cli.figures import Drawn, drawn_options
from ddphf.cli.search_common import nuisances_option

__all__ = ["Asked", "known_option", "learn_options", "redraws_option"]

STATISTICS = ("default", "kernel", "scan", "energy", "network", "nplm", "classifier")

redraws_option = count_option(
    "--redraws", "Redraws of the labels; those of the analysis, or 999, by default.", least=1
)
known_option = nuisances_option("efficiencies and fakes")


class Asked(Drawn):
    """What tests of events are asked: :func:`learn_options`."""

    statistic: str | None
    redraws: int | None
    nuisances: str


def learn_options(plots: str) -> Callable[[Command], Command]:
    """Add ``--statistic``, ``--redraws``, ``--nuisances``, figures, seed and files.

    Args:
        plots: Help of ``--plots``.
    """
    text = "Smallest p of kernel and scan (default), or one statistic; else the analysis's."
    statistic = choice_option("--statistic", STATISTICS, text)
    return lambda command: statistic(redraws_option(known_option(drawn_options(plots)(command))))
