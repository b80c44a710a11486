"""The figures of ``--plots``: their names, their format, and how they are staged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from ddphf.cli import common
from ddphf.exceptions import UsageError
from ddphf.files import to_json
from ddphf.outputs import Outputs, check_folder

if TYPE_CHECKING:
    from ddphf.figures.style import Figure

__all__ = [
    "FORMATS", "Drawn", "drawn_options", "figure_options", "figure_paths", "open_outputs",
    "stage_figures", "write_record",
]  # fmt: skip

FORMATS = ("png", "pdf", "svg")


def figure_options(what: str) -> Callable[[Any], Any]:
    """Add ``--plots DIR`` and ``--format`` to a command, as ``plots`` and ``kind``.

    Args:
        what: Help text of ``--plots``.
    """

    def decorate(function: Any) -> Any:
        kind = click.option(
            "--format", "kind", type=click.Choice(FORMATS), help="Of the figures.  [default: png]"
        )
        return click.option("--plots", metavar="DIR", help=what)(kind(function))

    return decorate


class Drawn(TypedDict):
    """What commands of long work with figures are asked: :func:`drawn_options`."""

    plots: str | None
    kind: str | None
    seed: int
    where: str | None
    output: str
    force: bool


def drawn_options(what: str) -> Callable[[common.Command], common.Command]:
    """Add ``--plots``, ``--format``, ``--seed``, ``--scheduler``, ``-o`` and ``--force``.

    Args:
        what: Help text of ``--plots``.
    """

    def decorate(function: common.Command) -> common.Command:
        function = common.output_option(common.force_option(function))
        function = common.seed_option(common.scheduler_option(function))
        decorated: common.Command = figure_options(what)(function)
        return decorated

    return decorate


def open_outputs(
    asked: Drawn, names: Iterable[str], inputs: Sequence[str] = (), *more: str | None
) -> tuple[dict[str, Path], Outputs]:
    """Return the file of each figure, and all that a command writes.

    Args:
        asked: Of the command.
        names: Of its figures.
        inputs: Files that no output may replace.
        more: Further files that are written.

    Raises:
        UsageError: A file cannot be written, or would replace another.
    """
    figures = figure_paths(asked["plots"], asked["kind"], names)
    written = [asked["output"], *more, *figures.values()]
    return figures, Outputs(written, inputs=inputs, force=asked["force"])


def figure_paths(plots: str | None, kind: str | None, names: Iterable[str]) -> dict[str, Path]:
    """Return the file of each figure; none without ``--plots``.

    Raises:
        UsageError: A format without figures, or an empty folder name.

    Example:
        >>> figure_paths("out", "pdf", ["scan"])["scan"].as_posix()
        'out/scan.pdf'
    """
    if plots is None:
        if kind is not None:
            raise UsageError("--format: is for figures; give --plots DIR too")
        return {}
    folder = check_folder("--plots", plots)
    return {name: folder / f"{name}.{kind or FORMATS[0]}" for name in names}


def stage_figures(
    outputs: Outputs, paths: Mapping[str, Path], figures: Mapping[str, Figure | None]
) -> list[str]:
    """Stage the figures that were drawn.

    Returns:
        The names of those without anything to draw.
    """
    from ddphf.figures.style import save_figure  # matplotlib: half a second of import

    for name, figure in figures.items():
        if figure is not None:
            with outputs.stage(paths[name]) as temporary:
                save_figure(figure, temporary)
    return [name for name, figure in figures.items() if figure is None]


def write_record(
    outputs: Outputs,
    output: str,
    record: Mapping[str, Any],
    paths: Mapping[str, Path],
    draw: Callable[[], Mapping[str, Figure | None]],
    beside: Mapping[Path, bytes] | None = None,
) -> list[str]:
    """Write a record and the figures that are made of it, all of them or none.

    Args:
        outputs: What the command writes.
        output: File of the record; ``-`` is standard output.
        record: Its JSON form.
        paths: File of each figure; none where no figures are asked for.
        draw: Returns the figures; None for one that has nothing to draw.
        beside: Contents of further files.

    Returns:
        The names of those without anything to draw.
    """
    with outputs:
        outputs.write(output, to_json(record))
        for path, content in (beside or {}).items():
            outputs.write_bytes(path, content)
        return stage_figures(outputs, paths, draw()) if paths else []
