"""Pages of the command reference, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ddphf.cli.main import COMMANDS, group

READ_ON = {
    "build": ("analysis_file.md", "workspace.md", "statistics.md#the-pair"),
    "bumps": ("bumps.md", "statistics.md#bumps-on-a-mass-spectrum"),
    "convert": ("convert.md", "statistics.md#the-pair"),
    "correlations": ("lepton_id.md", "ratio.md", "statistics.md#nuisance-parameters"),
    "discover": ("discover.md", "statistics.md#a-discovery"),
    "fit": ("fit.md", "statistics.md#a-discovery"),
    "init": ("getting_started.md", "analysis_file.md", "statistics.md#the-pair"),
    "inject": ("inject.md", "statistics.md#expected-significance"),
    "inspect": ("workspace.md", "statistics.md#the-pair"),
    "learn": ("learn.md", "statistics.md#learned-differences"),
    "limit": ("limits.md", "statistics.md#limits-and-intervals"),
    "masses": ("masses.md", "statistics.md#many-masses"),
    "patch": ("publish.md", "statistics.md#the-pair"),
    "publish": ("publish.md", "reproduce.md", "hepdata.md", "statistics.md#the-certificate"),
    "rank": ("rank.md", "statistics.md#impacts"),
    "report": ("report.md", "statistics.md"),
    "scan": ("rank.md", "statistics.md#limits-and-intervals"),
    "search": ("data_directed_search.md", "windows.md", "statistics.md#the-best-of-many-windows"),
    "study": ("study_birman.md", "statistics.md#n_sigma"),
    "toys": ("discover.md", "distributed.md", "statistics.md#toys"),
    "verify": ("publish.md", "security.md", "statistics.md#the-certificate"),
    "yields": ("yields.md", "statistics.md#expected-events"),
}
"""Pages of each command, the part of the statistics last."""


def cell(text: str) -> str:
    """Return a text as it may stand in a table."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", " ".join(text.split()))


def leaves(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """Yield the context of every command that can be run, below groups too."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from leaves(below, click.Context(below, info_name=name, parent=context))
    else:
        yield context


def paragraphs(command: click.Command) -> list[str]:
    """Return the help of a command, its synopses and examples as code."""
    text = inspect.cleandoc(command.help or "").split("\f")[0]
    out = []
    for part in text.split("\n\n"):
        part = part.replace("\b\n", "")
        example = re.match(r"Example: (ddphf .*)", " ".join(part.split()))
        out.append(f"Example:\n\n    {example[1]}" if example else cell(part))
    return out


def options(context: click.Context) -> list[str]:
    """Return the table of the options."""
    rows = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and (record[1] or isinstance(parameter, click.Option)):
            names, text = record
            rows.append(f"| `{names.replace('|', chr(92) + '|')}` | {cell(text)} |")
    return ["| option | what it does |", "|---|---|", *rows]


def section(context: click.Context, level: str) -> list[str]:
    """Return the part of one command."""
    usage = context.command.collect_usage_pieces(context)
    line = " ".join((context.command_path, *usage))
    out = [f"{level} `{context.command_path}`", "", "```text", line, "```", ""]
    for part in paragraphs(context.command):
        out += [part, ""]
    return [*out, *options(context), ""]


def page(name: str) -> str:
    """Return the page of a command."""
    top = click.Context(group, info_name="ddphf")
    command = group.get_command(top, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=top)
    below = list(leaves(command, context))
    out = []
    if isinstance(command, click.Group):
        out += [f"# `ddphf {name}`", ""]
        for part in paragraphs(command):
            out += [part, ""]
    for found in below:
        out += section(found, "##" if isinstance(command, click.Group) else "#")
    *guides, statistics = READ_ON[name]
    links = ", ".join(f"[](../{guide})" for guide in guides)
    out += [
        f"How it is used: {links}. What it computes: [the statistics](../{statistics}). "
        "What it refuses: [refusals](../refusals.md).",
        "",
    ]
    return "\n".join(out)


def write(folder: Path) -> None:
    """Write a page for each command, and the list of all."""
    folder.mkdir(parents=True)
    names = sorted(COMMANDS)
    for name in names:
        (folder / f"{name}.md").write_text(page(name))
    lines = [
        "# Commands", "",
        "Written from the program itself: `ddphf NAME --help` says the same. Exit codes of all: "
        "0 done, 1 a bug, 2 usage, 3 bad input, analysis file or model, 4 the numbers failed, "
        "130 interrupted, 143 terminated ([what is refused](../refusals.md)). "
        "[How to choose](../choosing.md) says which one answers which question.",
        "", "| command | what it does |", "|---|---|",
        *(f"| [`ddphf {name}`]({name}.md) | {cell(COMMANDS[name])} |" for name in names), "",
        "```{toctree}", ":hidden:", "", *names, "```", "",
    ]  # fmt: skip
    (folder / "index.md").write_text("\n".join(lines))
