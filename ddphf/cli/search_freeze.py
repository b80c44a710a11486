"""``ddphf search freeze``: a found window becomes an analysis file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import yaml

from ddphf.cli import common
from ddphf.cli.search_common import file_digest
from ddphf.cli.search_pair import load_search_pair
from ddphf.exceptions import InputError
from ddphf.outputs import Outputs
from ddphf.results.provenance import describe_global

__all__ = ["command"]

HEADER = """\
# A window that 'ddphf search' has found, as a hypothesis. On the data that chose it its
# significance is local: 'data_directed' says what looking everywhere made of it.
"""


@click.command("freeze")
@click.argument("search", type=click.Path(dir_okay=False))
@common.count_option("--rank", "Of the window in the list of the best.", least=1, default=1)
@common.choice_option(
    "--template", ["flat", "sqrt", "gaussian"],
    "Events of the signal: the same in each bin, as the root of the counts, or a bell.", "flat",
)  # fmt: skip
@click.option(
    "--analysis", type=click.Path(dir_okay=False), metavar="FILE",
    help="The analysis file that was searched, where it has moved.",
)  # fmt: skip
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Where to write the analysis file; - is standard output.",
)  # fmt: skip
@common.force_option
def command(
    search: str, rank: int, template: str, analysis: str | None, output: str, force: bool
) -> None:
    """Write the analysis file of a window of SEARCH, a record of 'ddphf search pair'.

    'ddphf build', fit, limit and publish take it; it states which data chose the window, and
    the fit of these data says that its significance is local.

    Example: ddphf search freeze search.json --rank 1 -o hypothesis.yml
    """
    outputs = Outputs([output], inputs=[search, analysis], force=force)
    with common.progress_line(compiles=False) as say:
        say("reading")
        text, said = _freeze(search, rank, template, analysis, output, outputs)
    common.print_warnings(said[1:])
    with outputs:
        outputs.write(output, text)
    common.print_summary(said[0])


def _freeze(
    search: str, rank: int, template: str, analysis: str | None, output: str, outputs: Outputs
) -> tuple[str, list[str]]:
    """Return the text of the analysis file, and what is to be said."""
    from ddphf.config.addresses import move_addresses
    from ddphf.config.analysis import parse_analysis
    from ddphf.results.registry import read_record
    from ddphf.results.search import SearchResult
    from ddphf.search.freeze import freeze_window, ranked_window
    from ddphf.search.shared_data import table_digests
    from ddphf.yaml_text import parse_yaml

    record = read_record(search, SearchResult, "ddphf search pair")
    found = ranked_window(record, rank)
    source = _find_analysis(search, record.analysis or {}, analysis)
    outputs.protect([source])
    pair, config = load_search_pair(str(source))
    outputs.protect(config.files)
    document: Any = parse_yaml(source.read_text("utf-8"))
    here = Path() if output == "-" else Path(output).parent
    move = Path(os.path.relpath(source.parent, here)).as_posix()

    def change(address: str) -> str:
        fixed = move == "." or os.path.isabs(address) or "://" in address
        return address if fixed else f"{move}/{address}"

    tables = table_digests(config)
    frozen, said = freeze_window(
        record, pair, move_addresses(document, change), rank=rank, template=template,
        files=tables, select=None if config.events is None else config.events.select,
    )  # fmt: skip
    text = HEADER + yaml.safe_dump(frozen, sort_keys=False, allow_unicode=True, width=100)
    parse_analysis(text, folder=here)  # what is written can be read
    z = found["local"]["z"]
    line = (
        f"{output}: window {rank}, local Z = {z:.3f}, global {describe_global(found['global'])}; "
        "mu = 1 is "
        f"{frozen['partner' if z < 0 else 'tested']['signal']['window']['events']:g} events"
    )
    return text, [line, *said]


def _find_analysis(search: str, stated: dict[str, Any], given: str | None) -> Path:
    """Return the analysis file that was searched.

    Raises:
        InputError: It is not there, or was changed since.
    """
    name = stated.get("file")
    if given is not None:
        path = Path(given)
    elif name is None:
        raise InputError(f"{search}: was searched from standard input; give --analysis FILE")
    else:
        path = (Path() if search == "-" else Path(search).parent) / name
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, but it is the analysis that {search} is about; put it back, or "
            "give --analysis FILE"
        )
    if stated.get("digest") is not None and file_digest(path) != stated["digest"]:
        raise InputError(f"{path}: was changed since {search} was written; search it again")
    return path
