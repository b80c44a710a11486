"""``ddphf verify``: is a published bundle what it says?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ddphf.cli.common import force_option, print_summary, progress_line, stdout
from ddphf.exceptions import FitError
from ddphf.files import to_json
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.results.verified import VerifyResult

__all__ = ["command", "make_table"]

COLOURS = {"PASS": "green", "FAIL": "red", "NOT RUN": "red"}


@click.command("verify")
@click.argument("bundle")
@click.option(
    "--level", type=click.IntRange(0, 6), default=2, show_default=True,
    help="0 contents, 1 2NLL at the recorded points, 2 no better point nearby, 3 cold refits by "
    "stock pyhf, 4 its command line in a clean environment (needs a package index), 5 limits, "
    "6 toys. All levels up to this one must pass.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(min=0.0, min_open=True), default=60.0, show_default=True,
    help="Time of one fit by a stock optimizer.",
)  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Write JSON there (- for standard output).")
@force_option
def command(bundle: str, level: int, seconds: float, output: str | None, force: bool) -> None:
    """Verify BUNDLE, the .tar.gz of `ddphf publish`; exit code 0 only if every level passes.

    Example: ddphf verify pair.tar.gz
    """
    outputs = Outputs([output], inputs=[bundle], force=force)
    with progress_line() as say:
        from ddphf.publish.archive import read_archive
        from ddphf.publish.verify import verify_archive

        result = verify_archive(
            read_archive(bundle), level=level, seconds=seconds, name=Path(bundle).name,
            progress=say, toy_progress=say.toys,
        )  # fmt: skip
    with outputs:
        if output is not None:
            outputs.write(output, to_json(result.to_dict()))
    if output is None:
        stdout().print(make_table(result))
    else:
        print_summary(make_table(result))
    if not result.passed:
        first = next(result.failures)
        detail = f": {first.detail}" if first.detail else ""
        raise FitError(f"{bundle}: level {first.level}, {first.what}, {first.status}{detail}")


def make_table(result: VerifyResult) -> Table:
    """Return the table that the terminal shows."""
    table = Table(title=Text(f"{result.name or 'bundle'}, {result.digest}"), title_justify="left")
    for column in ("level", "check", "recorded", "found - recorded", "status", ""):
        table.add_column(column, justify="right" if column in ("recorded", "found - recorded")
                         else "left", overflow="fold")  # fmt: skip
    for check in result.checks:
        recorded = "" if check.recorded is None else f"{check.recorded:.6f}"
        both = check.recorded is not None and check.found is not None
        difference = f"{check.found - check.recorded:+.1e}" if both else ""  # type: ignore[operator]
        table.add_row(
            str(check.level), Text(check.what), recorded, difference,
            Text(check.status, style=COLOURS.get(check.status, "yellow")), Text(check.detail),
        )  # fmt: skip
    return table
