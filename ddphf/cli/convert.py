"""``ddphf convert``: a model in the format of another tool, and back."""

from __future__ import annotations

from typing import Any, cast

import click

from ddphf.cli.common import (
    force_option,
    output_option,
    print_summary,
    print_warnings,
    progress_line,
)
from ddphf.exceptions import UsageError
from ddphf.files import read_json, to_json
from ddphf.outputs import Outputs

__all__ = ["command"]

SHAPESYS = ("relative", "absolute", "counts", "root-counts")


@click.command("convert")
@click.argument("model")
@click.option(
    "--to", "target", type=click.Choice(["combine", "hs3", "pyhf", "root"]), required=True,
    help="Format to write: a Combine datacard, HS3 or pyhf JSON, HistFactory XML.",
)  # fmt: skip
@click.option(
    "--from", "source", type=click.Choice(["hs3", "pyhf", "root"]), metavar="hs3|pyhf|root",
    help="Format of MODEL, where its name and content do not tell.",
)  # fmt: skip
@click.option(
    "--analysis", metavar="NAME", help="Of an HS3 document whose analyses have different data."
)
@click.option(
    "--shapesys", type=click.Choice(SHAPESYS),
    help="What the vals of shapesys modifiers of an HS3 document are, where it does not say.",
)  # fmt: skip
@output_option
@force_option
def command(
    model: str, target: str, source: str | None, analysis: str | None, shapesys: str | None,
    output: str, force: bool,
) -> None:  # fmt: skip
    """Write MODEL in the format of another tool.

    MODEL is a pyhf workspace, an HS3 document (- reads either from standard input), or the top
    file of HistFactory XML. What is written is read again or evaluated, and 2NLL differences are
    compared with the input's.

    Example: ddphf convert workspace.json --to hs3 -o model.hs3.json
    """
    outputs = Outputs([output], inputs=[model], force=force)
    with progress_line() as say:
        say("reading")
        from ddphf.interchange.convert import (
            Source,
            document_as_workspace,
            recognise,
            to_hs3,
            to_pyhf,
        )
        from ddphf.interchange.hs3_per_bin import ShapesysVals

        document: Any = read_json(model)
        kind = cast("Source", source or recognise(document))
        if kind == target:
            raise UsageError(f"{model}: is {kind} already, so there is nothing to convert")
        workspace, left_out = document_as_workspace(
            document, kind, analysis=analysis, shapesys=cast("ShapesysVals | None", shapesys)
        )
        say("converting")
        converted = to_hs3(workspace) if target == "hs3" else to_pyhf(workspace)
    print_warnings([*left_out, *converted.warnings])
    with outputs:
        outputs.write(output, to_json(converted.document))
    if target == "hs3":
        print_summary(f"read again: 2NLL differences agree to {converted.difference:.1g}")
