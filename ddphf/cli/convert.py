"""``ddphf convert``: a model in the format of another tool, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import click

from ddphf.cli import common
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
@click.option(
    "--basedir", metavar="FOLDER",
    help="What paths in HistFactory XML are relative to, and the only folder read; the folder of "
    "MODEL by default.",
)  # fmt: skip
@click.option(
    "--measurement", metavar="NAME", help="Of a datacard, which has one; the first by default."
)
@click.option(
    "--exact", is_flag=True,
    help="Write pyhf's own interpolation of normsys into a datacard, instead of lnN.",
)  # fmt: skip
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Where to write; - is standard output, for JSON. A datacard NAME.txt has NAME.root beside "
    "it, NAME.xml has NAME_CHANNEL.xml, NAME.root and NAME.dtd.",
)  # fmt: skip
@common.force_option
def command(
    model: str, target: str, source: str | None, analysis: str | None, shapesys: str | None,
    basedir: str | None, measurement: str | None, exact: bool, output: str, force: bool,
) -> None:  # fmt: skip
    """Write MODEL in the format of another tool.

    MODEL is a pyhf workspace or an HS3 document (- reads either from standard input), or the top
    file of HistFactory XML. HS3 and XML are read again after they were written, and 2NLL
    differences compared with the input's.

    Example: ddphf convert workspace.json --to hs3 -o model.hs3.json
    """
    for option, given, needed in (
        ("--measurement", measurement is not None, "combine"), ("--exact", exact, "combine")
    ):  # fmt: skip
        if given and target != needed:
            raise UsageError(f"{option}: is for --to {needed}")
    path = Path(output)
    if target in ("combine", "root") and output == "-":
        raise UsageError(f"--to {target}: writes several files; give the first one by -o FILE")
    if target in ("combine", "root") and not re.fullmatch(r"[\w.+-]+", path.name, re.ASCII):
        raise UsageError(
            f"{output}: files of --to {target} name each other, and their readers end names at "
            "blanks and quotes; take letters, digits and . _ + -"
        )
    if target == "root" and path.suffix != ".xml":
        raise UsageError(f"{output}: the top file of HistFactory XML is called NAME.xml")
    histograms = path.with_suffix(".root") if target == "combine" else None
    if histograms == path:
        raise UsageError(f"{output}: is the name of the histograms; call the datacard NAME.txt")
    outputs = Outputs([output, histograms], inputs=[model], force=force)
    with common.progress_line() as say:
        say("reading")
        from ddphf.interchange.convert import to_combine, to_hs3, to_pyhf, to_root

        workspace, kind, left_out, read = _read(model, source, analysis, shapesys, basedir)
        outputs.protect(read)
        if kind == target:
            raise UsageError(f"{model}: is {kind} already, so there is nothing to convert")
        say("converting")
        files: dict[str | Path, str | bytes] = {}
        tables: dict[str, Any] = {}
        if target == "hs3":
            converted = to_hs3(workspace)
            files[output], said = to_json(converted.document), converted.warnings
            summary = _agree(converted.difference)
        elif target == "pyhf":
            said = to_pyhf(workspace)  # first: what is no number becomes no JSON
            files[output] = to_json(workspace)
            summary = "checked by pyhf"
        elif target == "combine":
            card, said = to_combine(
                workspace, path.with_suffix(".root").name, measurement=measurement, exact=exact
            )
            files[output], tables, said = card.text, card.histograms, (*said, *card.notes)
            summary = f"{len(card.histograms)} histograms"
        else:
            written, difference, said = to_root(workspace, path.stem)
            files = {path.parent / name: content for name, content in written.files.items()}
            summary = _agree(difference)
            outputs = Outputs(files, inputs=[model], force=force)
    common.print_warnings([*left_out, *said])
    with outputs:
        for name, content in files.items():
            if isinstance(content, str):
                outputs.write(name, content)
            else:
                outputs.write_bytes(name, content)
        if histograms is not None:
            from ddphf.interchange.combine_write import write_histograms

            with outputs.stage(histograms) as temporary:
                write_histograms(tables, temporary)
    if output != "-":
        common.print_summary(f"{output}: {summary}")


def _agree(difference: float) -> str:
    return f"read again, its 2NLL differences agree to {difference:.1g}"


def _read(
    model: str, source: str | None, analysis: str | None, shapesys: str | None, basedir: str | None
) -> tuple[Any, str, list[str], list[Path]]:
    """Return the workspace of any model, its format, what was left out, which files it names."""
    from ddphf.interchange.convert import Source, document_as_workspace, recognise
    from ddphf.interchange.hs3_per_bin import ShapesysVals
    from ddphf.interchange.xml_read import read_xml

    if source is None and model.endswith(".xml"):
        source = "root"
    if basedir is not None and source != "root":
        raise UsageError("--basedir: is for HistFactory XML")
    if source == "root":
        if analysis is not None or shapesys is not None:
            raise UsageError("--analysis and --shapesys: are for HS3")
        workspace, said, files = read_xml(model, basedir)
        return workspace, source, said, files
    document = read_json(model)
    kind = cast("Source", source or recognise(document))
    workspace, said = document_as_workspace(
        document, kind, analysis=analysis, shapesys=cast("ShapesysVals | None", shapesys)
    )
    return workspace, kind, said, []
