"""``ddphf report``: one self-contained HTML page of results that belong together."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddphf.cli.build import metadata_path
from ddphf.cli.common import Stages, force_option, print_warnings, progress_line
from ddphf.cli.sidecar import digest_of
from ddphf.exceptions import InputError, UsageError
from ddphf.files import read_json
from ddphf.outputs import Outputs

if TYPE_CHECKING:
    from ddphf.inference.toys.store import ToySample
    from ddphf.report.document import Materials
    from ddphf.results.registry import RecordKind

__all__ = ["command"]


@click.command("report")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", default="-", show_default=True, metavar="FILE",
    help="Where to write the HTML; - is standard output.",
)  # fmt: skip
@force_option
def command(inputs: tuple[str, ...], output: str, force: bool) -> None:
    """Write one HTML page from result files of one workspace, given in any order.

    FILEs are the workspace and what fit, yields, rank, discover, limit, scan and toys have
    written. With workspace and fit the expected events are computed where yields are not given.
    The page needs no network and can be printed.

    Example: ddphf report workspace.json fit.json -o report.html
    """
    outputs = Outputs([output], inputs=inputs, force=force)
    with progress_line() as say:
        say("reading")
        materials = _collect(inputs, say)
        say("drawing")
        from ddphf.report.document import build_report

        page = build_report(materials, date=_today())
    print_warnings(materials.warnings)
    with outputs:
        outputs.write(output, page)


def _today() -> str:
    """Return the date of the page; SOURCE_DATE_EPOCH (seconds) makes it the same every time."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.datetime.now(datetime.UTC)
    if fixed.isdecimal() and len(fixed) < 12:
        moment = datetime.datetime.fromtimestamp(int(fixed), datetime.UTC)
    return moment.strftime("%Y-%m-%d")


class _Pile:
    """Inputs by kind, all of one workspace."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.several: dict[str, list[dict[str, Any]]] = {}
        self.searched: list[tuple[str, str | None]] = []
        self.files: list[tuple[str, str, str]] = []
        self.warnings: list[str] = []
        self.digest: str | None = None
        self._first = ""

    def put(self, kind: str, name: str, value: Any, *, several: bool = False) -> None:
        """Add an input; ``several`` of its kind may be there."""
        if several:
            self.several.setdefault(kind, []).append(value)
        elif kind in self.found:
            raise UsageError(f"{name}: is the second {kind}; a report has one, so leave one out")
        else:
            self.found[kind] = value
        self.files.append((Path(name).name, kind, _sha256(name)))

    def all_of_several(self) -> list[tuple[str, dict[str, Any]]]:
        """Return kind and value of every input of which there may be several."""
        return [(kind, value) for kind, values in self.several.items() for value in values]

    def belongs(self, name: str, digest: Any) -> None:
        """Check that an input is of the same workspace as the others.

        Raises:
            InputError: It is not, or does not say.
        """
        if not isinstance(digest, str):
            raise InputError(
                f"{name}: does not say to which workspace it belongs (provenance.workspace_digest)"
                "; write it again"
            )
        if self.digest is None:
            self.digest, self._first = digest, name
        if digest != self.digest:
            raise InputError(
                f"{name}: belongs to workspace {digest[:19]}..., but {self._first} to "
                f"{self.digest[:19]}...; give files of one workspace"
            )


def _collect(inputs: Sequence[str], say: Stages) -> Materials:
    """Read the inputs, check that they belong together, and compute what follows from them."""
    from ddphf.report.document import Materials
    from ddphf.results.registry import KINDS, kind_of
    from ddphf.text import clean_text

    pile, workspace_name, spec = _Pile(), "", None
    for name in inputs:
        if Path(name).suffix.lower() == ".npz":
            _put_toys(pile, name)
            continue
        data = read_json(name)
        kind = kind_of(data)
        if kind is not None and kind.chapter:
            _put_record(pile, name, kind, clean_text(data))
        elif isinstance(data, dict) and {"channels", "measurements"} <= set(data):
            spec, workspace_name = data, name
            pile.put("workspace", name, clean_text(data))
            pile.belongs(name, digest_of(data))
        else:
            schema = data.get("schema") if isinstance(data, dict) else None
            given = "no schema" if schema is None else f"schema {str(schema)[:40]!r}"
            schemas = ", ".join(kind.schema for kind in KINDS if kind.chapter)
            raise InputError(
                f"{name}: {given}, expected a workspace, toys (.npz) or one of {schemas}"
            )
    _find_sidecar(pile, workspace_name)
    _check_searches(pile)
    fit, found = pile.found.get("fit"), pile.found
    measurement = None if fit is None else fit["measurement"]
    if measurement is not None:
        for what, record in (*found.items(), *pile.all_of_several()):
            other = record.get("measurement") if isinstance(record, dict) else None
            if other is not None and other != measurement:
                pile.warnings.append(
                    f"the {what} is of measurement '{other}', the fit of '{measurement}'"
                )
    for record in (*found.values(), *(record for _, record in pile.all_of_several())):
        lines = record.get("warnings", ()) if isinstance(record, dict) else ()
        pile.warnings += [line for line in lines if line not in pile.warnings]
    summary = None
    if spec is not None:
        say("workspace")
        from ddphf.likelihood.summary import summarize_workspace

        summary = clean_text(summarize_workspace(spec, measurement))
        pile.warnings += [w for w in summary["warnings"] if w not in pile.warnings]
    return Materials(
        digest=pile.digest,
        files=tuple(pile.files),
        workspace=found.get("workspace"),
        summary=summary,
        sidecar=found.get("sidecar"),
        fit=None if fit is None else _read(fit),
        goodness=None if fit is None else fit.get("goodness_of_fit"),
        yields=_find_yields(pile, say),
        ranking=found.get("ranking"),
        discover=found.get("discover"),
        limit=found.get("limit"),
        scans=tuple(_read(scan) for scan in pile.several.get("scan", ())),
        searches=tuple(pile.several.get("search", ())),
        bumps=tuple(pile.several.get("bumps", ())),
        masses=found.get("masses"),
        learned=tuple(pile.several.get("learn", ())),
        toys=found.get("toys"),
        warnings=tuple(pile.warnings),
    )


def _put_record(pile: _Pile, name: str, kind: RecordKind, data: dict[str, Any]) -> None:
    from ddphf.results.registry import check_record, known_part

    if (wrong := check_record(data)) is not None:
        raise InputError(f"{name}: no record {kind.schema}: {wrong}")
    known, unknown = known_part(data)
    if unknown:
        pile.warnings.append(f"{name}: {unknown}")
    pile.put(kind.chapter, name, known, several=kind.several)
    if kind.name == "bumps":
        return  # of spectra, which are no workspace
    if kind.name in ("search", "learn"):
        pile.searched.append((name, known.get("data_digest")))
        return
    if kind.name == "masses":  # of many workspaces, or of none
        return
    # A sidecar states it at the top.
    pile.belongs(name, known.get("provenance", known).get("workspace_digest"))


def _check_searches(pile: _Pile) -> None:
    """Refuse searches of other data than the workspace's, as far as its sidecar tells.

    Raises:
        InputError: Two of other data.
    """
    from ddphf.results.provenance import digests_of_data

    found = pile.found
    data: tuple[str, ...] = ()
    if "workspace" in found:
        data = digests_of_data(found["workspace"], found.get("sidecar"))
    for name, digest in pile.searched:
        if digest is None:
            continue  # a table without data
        data = data or (digest,)
        if digest not in data:
            raise InputError(
                f"{name}: is about the data {digest[:19]}..., the others are about "
                f"{data[0][:19]}...; give files of the same data"
            )


def _put_toys(pile: _Pile, name: str) -> None:
    import numpy as np

    from ddphf.inference.toys.store import load_toys, require_whole
    from ddphf.statistics.tails import FAILED

    toys: ToySample = load_toys(Path(name))
    require_whole(toys, name)
    if toys.mu != 0:
        raise InputError(
            f"{name}: holds toys at mu = {toys.mu:g}; a report compares with toys of the null, at 0"
        )
    numbers = [np.asarray(x) for x in (toys.q0, toys.status)]
    if any(x.ndim != 1 or x.dtype.kind not in "fiu" for x in numbers) or len(numbers[0]) != len(
        numbers[1]
    ):
        raise InputError(f"{name}: not a file of toys; give one that 'ddphf toys' wrote")
    pile.put("toys", name, np.where(toys.status == FAILED, np.nan, toys.z0))
    if toys.workspace_digest:
        pile.belongs(name, toys.workspace_digest)
    else:
        pile.warnings.append(
            f"{name}: does not say to which workspace its toys belong; draw or --resume them "
            "again, so that it does"
        )


def _find_sidecar(pile: _Pile, workspace: str) -> None:
    """Take the sidecar beside the workspace where none was given."""
    if "sidecar" in pile.found or not workspace or workspace == "-":
        return
    path = metadata_path(workspace)
    if not path.is_file():
        return
    from ddphf.results.documents import SidecarDocument
    from ddphf.results.registry import kind_of
    from ddphf.text import clean_text

    data = clean_text(read_json(str(path)))
    kind = kind_of(data)
    if kind is None or kind.schema != SidecarDocument.SCHEMA:
        raise InputError(
            f"{path}: is no sidecar of 'ddphf build' (no binning); build it again or move it away"
        )
    if data.get("workspace_digest") != pile.digest:
        pile.warnings.append(f"{path.name}: belongs to another workspace; it is left out")
        return
    _put_record(pile, str(path), kind, data)


def _read(data: dict[str, Any]) -> Any:
    """Turn a checked record into what the report draws."""
    from ddphf.results.registry import kind_of

    kind = kind_of(data)
    assert kind is not None  # it is in the pile
    try:
        return kind.record.from_dict(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the {kind.chapter} is damaged ({type(error).__name__}: {error}); write it again"
        ) from None


def _find_yields(pile: _Pile, say: Stages) -> Any:
    """Return the expected events, computed where workspace and fit are there."""
    found = pile.found
    if "yields" in found:
        return _read(found["yields"])
    if "workspace" not in found or "fit" not in found:
        return None
    say("expected events")
    from ddphf.inference.yields import predict_yields

    sidecar = found.get("sidecar")
    binning = (
        {}
        if sidecar is None
        else {
            "axes": sidecar.get("binning", {}).get("axes", ()),
            "pairing": sidecar.get("pairing"),
        }
    )
    return predict_yields(found["workspace"], _read(found["fit"]), **binning)


def _sha256(name: str) -> str:
    if name == "-":
        return "of standard input not known"
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()
