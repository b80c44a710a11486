"""One model from format to format: what is read, what is written, and how well both agree."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ddphf.arrays import Spec
from ddphf.exceptions import UsageError
from ddphf.interchange.agreement import all_measurements, compare
from ddphf.interchange.combine_write import Datacard, write_card
from ddphf.interchange.hs3_document import is_hs3
from ddphf.interchange.hs3_per_bin import ShapesysVals
from ddphf.interchange.hs3_read import read_hs3
from ddphf.interchange.hs3_write import write_hs3
from ddphf.interchange.xml_read import read_xml
from ddphf.interchange.xml_write import XmlFiles, write_xml
from ddphf.likelihood.reference import ReferenceModel

__all__ = [
    "Converted", "Source", "document_as_workspace", "recognise", "to_combine", "to_hs3", "to_pyhf",
    "to_root",
]  # fmt: skip

Source = Literal["hs3", "pyhf", "root"]


@dataclass(frozen=True)
class Converted:
    """A document in another format.

    Attributes:
        document: JSON data.
        difference: By how much 2NLL differences differ when it is read again.
        warnings: What is unusual or was left out.
    """

    document: Spec
    difference: float
    warnings: tuple[str, ...]


def recognise(document: Any) -> Source:
    """Return the format of a JSON document: what has distributions is HS3, anything else pyhf.

    Example:
        >>> recognise({"metadata": {"hs3_version": "0.2"}})
        'hs3'
    """
    other = isinstance(document, dict) and "distributions" in document
    return "hs3" if is_hs3(document) or other else "pyhf"


def document_as_workspace(
    document: Any, source: Source, *, analysis: str | None, shapesys: ShapesysVals | None
) -> tuple[Any, list[str]]:
    """Return the pyhf workspace of a document, and what was left out.

    Raises:
        InputError: It is damaged, or says what pyhf cannot.
        UsageError: Options of another format.
    """
    if source == "hs3":
        return read_hs3(document, analysis=analysis, shapesys=shapesys)
    if analysis is not None or shapesys is not None:
        option = "--analysis" if analysis is not None else "--shapesys"
        raise UsageError(f"{option}: is for HS3, the input is {source}")
    return document, []


def to_hs3(workspace: Any) -> Converted:
    """Return a workspace as HS3, read again and compared.

    Raises:
        ModelError: The workspace is refused, or says what HS3 cannot.
        FitError: What is read again is another likelihood.
    """
    references = all_measurements(workspace)
    document = write_hs3(references)
    again, _ = read_hs3(document)
    return Converted(document, compare(references, again), warnings_of(references))


def to_pyhf(workspace: Any) -> tuple[str, ...]:
    """Check a workspace in every measurement, and return what is unusual.

    Raises:
        ModelError: The workspace is refused.
    """
    return warnings_of(all_measurements(workspace))


def to_combine(
    workspace: Any, root_file: str, *, measurement: str | None, exact: bool
) -> tuple[Datacard, tuple[str, ...]]:
    """Return one measurement as a Combine datacard, and what is unusual.

    Raises:
        ModelError: The workspace is refused, or says what a card cannot.
    """
    reference = ReferenceModel(workspace, measurement)
    return write_card(reference, root_file, exact=exact), tuple(reference.warnings)


def to_root(workspace: Any, stem: str) -> tuple[XmlFiles, float, tuple[str, ...]]:
    """Return a workspace as HistFactory XML, read again and compared.

    Returns:
        The files, by how much 2NLL differences differ when they are read again, and warnings.

    Raises:
        ModelError: The workspace is refused, or says what XML cannot.
        FitError: What is read again is another likelihood.
    """
    references = all_measurements(workspace)
    written = write_xml(references, stem)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in written.files.items():
            (Path(folder) / name).write_bytes(content)
        again, said, _ = read_xml(Path(folder) / next(iter(written.files)))
    difference = compare(all_measurements(written.workspace), again)
    return written, difference, (*warnings_of(references), *said, *written.notes)


def warnings_of(references: Sequence[ReferenceModel]) -> tuple[str, ...]:
    """Return what is unusual in any measurement, each sentence once."""
    return tuple(dict.fromkeys(line for r in references for line in r.warnings))
