"""Every command that writes files, on the smallest inputs that it takes."""

import json
import shutil
from pathlib import Path

import click
from bump_data import drawn, smooth, with_bump, write_spectrum
from conftest import COLUMNS, invoke, plain_workspace, write_analysis, write_table
from test_lepton_id_build import write_event_analysis
from test_masses import write_scan

from ddphf.cli.main import COMMANDS as EVERY_COMMAND
from ddphf.cli.main import group

COMMANDS = {
    "build": "build analysis.yml -o new/w.json",
    "bumps evaluate": "bumps evaluate --signals 3 --backgrounds 3 -o new/e.json",
    "bumps scan": "bumps scan spectrum.csv --width-bins 1.5 --toys 20 -o new/b.json --plots new/f",
    "bumps train": "bumps train --steps 1 -o new/n.npz",
    "bumps workspace": "bumps workspace b.json -o new/w.json",
    "convert": "convert w.json --to hs3 -o new/w.hs3.json",
    "correlations": "correlations events/analysis.yml --toys 20 -o new/c.json --plots new/figures",
    "discover": "discover w.json --null asymptotic,toys --toys 300 -o new/d.json --plots new/f",
    "fit": "fit w.json -o new/fit.json --plots new/figures",
    "init": "init -o new/analysis.yml",
    "inject": "inject w.json --z 3 -o new/five.json",
    "inspect": "inspect pair.json -o new/i.json --plots new/figures",
    "learn curve": "learn curve events/analysis.yml --redraws 60 -o new/c.json --plots new/figures",
    "learn power": "learn power events/analysis.yml --inject 50:2 --strengths 0,99 --toys 3 "
    "--redraws 20 -o new/p.json --plots new/f",
    "learn template": "learn template events/analysis.yml -o new/learned.yml",
    "learn test": "learn test events/analysis.yml --redraws 60 -o new/l.json --plots new/figures",
    "limit": "limit w.json -o new/limit.json --plots new/figures",
    "masses": "masses masses.yml --method asymptotic,toys --toys 100 -o new/m.json --plots new/f",
    "patch": "patch w.json --signal SR_mue=signal.csv:signal -o new/patch.json",
    "publish": "publish w.json -o new/pair.tar.gz",
    "rank": "rank pair.json -o new/rank.json --plots new/figures",
    "report": "report w.json fit.json -o new/report.html",
    "scan": "scan w.json --parameter mu --points 5 -o new/scan.json --plots new/figures",
    "search events": "search events events/analysis.yml --flips 40 -o new/se.json --plots new/f",
    "search freeze": "search freeze search.json -o new/hypothesis.yml",
    "search null": "search null --shape 4 --z 2 -o new/null.json --plots new/figures",
    "search pair": "search pair analysis.yml --precision .2 -o new/search.json --plots new/figures",
    "search test": "search test hypothesis.yml new.yml -o new/test.json",
    "study birman": "study birman --toys 2 -o new",
    "study nplm": "study nplm --toys 2 --redraws 5 -o new",
    "toys": "toys w.json --toys 300 -o new/toys.npz",
    "verify": "verify pair.tar.gz --level 1 -o new/v.json",
    "yields": "yields w.json --fit fit.json -o new/y.json --tables new --plots new/figures",
}
COMMANDS = {name: tuple(line.split()) for name, line in COMMANDS.items()}

LONG = "study birman"
"""Takes ten seconds, however few toys."""

STUDIES = (LONG, "study nplm")
"""Take long, and write into a folder of their own."""

INPUTS = {
    name: line[len(name.split())]
    for name, line in COMMANDS.items()
    if name not in ("bumps evaluate", "bumps train", "init", "search null", *STUDIES)
}
"""A file that each command reads."""


def commands_with_outputs():
    """Name all commands that have an option for where to write."""
    context, names = click.Context(group), set()
    for name in EVERY_COMMAND:
        command = group.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        names |= {
            f"{name} {below}".strip()
            for below, one in inner.items()
            if any(option.name in ("output", "plots", "tables") for option in one.params)
        }
    return names


def make_inputs(folder: Path) -> None:
    """Write what the commands read into the working directory, which is ``folder``."""
    write_analysis(folder)
    Path("events").mkdir()
    write_spectrum("spectrum.csv", {"observed": drawn(with_bump(smooth(), 25, 300.0))})
    learn = {"variables": [{"column": "mass"}], "redraws": 100}
    write_event_analysis(Path("events"), lambda analysis: analysis.update(learn=learn))
    Path("w.json").write_text(json.dumps(plain_workspace()))
    write_scan(Path())
    write_table(Path("signal.csv"), {"signal": [1.0, 2.0, 3.0]}, [0.0, 1.0, 2.0, 3.0])
    for line in (
        "build analysis.yml -o pair.json",
        "fit w.json -o fit.json",
        "publish w.json -o pair.tar.gz",
        "search pair analysis.yml --precision .2 -o search.json",
        "bumps scan spectrum.csv --width-bins 1.5 -o b.json",
        "search freeze search.json -o hypothesis.yml",
    ):
        outcome = invoke(*line.split())
        assert outcome.code == 0, outcome.err
    write_new_data()


def write_new_data() -> None:
    """Write an analysis of other data on the same axes."""
    counts = {"tested": [131, 71, 55, 52], "partner": [118, 77, 61, 40]}
    write_table(Path("new.csv"), {**COLUMNS, **counts})
    text = Path("analysis.yml").read_text().replace("table.csv", "new.csv")
    Path("new.yml").write_text(text)


def files(place: Path) -> dict[str, bytes]:
    """Return what is in a folder, hidden files included."""
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def copy_inputs(source: Path, folder: Path) -> Path:
    """Give a test a copy of its own."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return folder
