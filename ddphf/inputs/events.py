"""Event tables: one number per event and column, from ROOT trees, parquet or npz."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.files import is_file
from ddphf.guards import check_arrays, check_decoded
from ddphf.inputs.histogram import Array

__all__ = ["EventTable", "leading_pair", "make_events", "read_events"]

ELEMENT = re.compile(r"^(?P<branch>\w+)\[(?P<index>\d+)\]$")
LENGTH = re.compile(r"^len\((?P<branch>\w+)\)$")

FLAVOURS = {"electron": 11, "muon": 13, "tau": 15}


@dataclass(frozen=True)
class EventTable:
    """Columns of equal length.

    Attributes:
        columns: By name, each of shape (n,), floats.
        source: Where it came from, for messages.

    Example:
        >>> table = make_events({"mass": [91.0, 125.0], "flavour": [11, 13]})
        >>> table.n_events, table["mass"].tolist()
        (2, [91.0, 125.0])
    """

    columns: dict[str, Array]
    source: str = ""

    @property
    def n_events(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Array:
        """Return a column.

        Raises:
            InputError: There is no such column.
        """
        if name not in self.columns:
            known = ", ".join(sorted(self.columns)[:20]) or "none"
            raise InputError(f"{self.source or 'events'}: no column '{name}'; it has: {known}")
        return self.columns[name]

    def select(self, mask: Any) -> EventTable:
        """Return the rows where ``mask`` (shape (n,)) is true."""
        return EventTable({k: v[mask] for k, v in self.columns.items()}, self.source)


def make_events(columns: Mapping[str, Any], *, source: str = "") -> EventTable:
    """Make a table from arrays.

    Raises:
        InputError: No columns, unequal lengths, or contents that are no numbers.
    """
    where = source or "events"
    out: dict[str, Array] = {}
    for name, data in columns.items():
        try:
            out[name] = np.asarray(data, dtype=float)
        except (TypeError, ValueError):
            raise InputError(
                f"{where}: column '{name}' holds something that is no number"
            ) from None
        if out[name].ndim != 1:
            raise InputError(
                f"{where}: column '{name}' has shape {out[name].shape}, expected one per event"
            )
    lengths = {name: len(values) for name, values in out.items()}
    if not lengths:
        raise InputError(f"{where}: no columns")
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise InputError(
                f"{where}: column '{name}' has {length} rows, '{first}' has {lengths[first]}"
            )
    return EventTable(out, source)


def read_events(
    address: str,
    *,
    folder: str | Path = ".",
    columns: Sequence[str] | None = None,
    collections: Mapping[str, str] | None = None,
) -> EventTable:
    """Read an event table.

    ``file.root:tree`` (a TTree through uproot and awkward; the name may be left out where there is
    one), ``file.parquet``, ``file.npz``. A column of a tree may be an element of a jagged branch,
    ``Muon_pt[0]`` (NaN where there are fewer), or its length, ``len(Muon_pt)``.

    Args:
        address: File and, for ROOT, tree.
        folder: What a relative path is relative to.
        columns: Those to read; all flat numeric ones by default.
        collections: Flavour to prefix of its jagged branches, such as ``{"electron": "Electron_",
            "muon": "Muon_"}`` (``pt``, ``eta`` and ``charge``, or ``Px``, ``Py``, ``Pz``): adds
            the columns of :func:`leading_pair`.

    Raises:
        InputError: The file is missing or damaged, or a column is not there or no number.
    """
    path, _, tree = address.partition(".root:")
    path = f"{path}.root" if tree else address
    file = Path(folder) / path
    if not is_file(file):
        raise InputError(f"{address}: no file '{file}'")
    suffix = file.suffix.lower()
    if collections and suffix != ".root":
        raise InputError(f"{address}: 'collections' are read from ROOT trees alone")
    if suffix == ".root":
        return _read_root(file, tree, address, columns, collections or {})
    if suffix == ".parquet":
        data = _read_parquet(file, address, columns)
    elif suffix == ".npz":
        data = _read_npz(file, address, columns)
    else:
        raise InputError(f"{address}: expected a .root, .parquet or .npz file, got '{path}'")
    return make_events(data, source=address)


def _wanted(columns: Sequence[str] | None, names: Sequence[str], address: str) -> list[str]:
    """Return the columns to read: those asked for, all by default.

    Raises:
        InputError: One that is not there.
    """
    for column in columns or ():
        if column not in names:
            known = ", ".join(sorted(names)[:20]) or "none"
            raise InputError(f"{address}: no column '{column}'; it has: {known}")
    return list(names if columns is None else columns)


def _read_parquet(file: Path, address: str, columns: Sequence[str] | None) -> dict[str, Any]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            wanted = _wanted(columns, parquet.schema_arrow.names, address)
            _check_parquet(parquet, wanted, file.stat().st_size, address)
            table = parquet.read(columns=wanted)
    except InputError:
        raise
    except Exception as error:  # pyarrow raises many kinds on damaged files
        raise InputError(f"{address}: cannot be read as parquet ({_short(error)})") from None
    holes = [name for name in table.column_names if table.column(name).null_count]
    if holes:
        raise InputError(f"{address}: column '{holes[0]}' has empty cells; fill or drop those rows")
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _check_parquet(parquet: Any, wanted: Sequence[str], packed: int, address: str) -> None:
    """Refuse columns that are no numbers, whose size nothing tells, and more rows than fit."""
    import pyarrow.types as kinds

    for name in wanted:
        kind = parquet.schema_arrow.field(name).type
        numbers = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_null)
        if not any(is_kind(kind) for is_kind in numbers):
            raise InputError(f"{address}: column '{name}' holds {kind}, no numbers")
    check_decoded(8.0 * parquet.metadata.num_rows * len(wanted), packed, address)


def _read_npz(file: Path, address: str, columns: Sequence[str] | None) -> dict[str, Any]:
    if not zipfile.is_zipfile(file):  # numpy would offer to unpickle it
        raise InputError(f"{address}: cannot be read as npz (no zip archive)")
    try:
        check_arrays(file, address, columns)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in _wanted(columns, archive.files, address)}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as npz ({_short(error)})") from None


def _read_root(
    file: Path, tree: str, address: str, columns: Sequence[str] | None,
    collections: Mapping[str, str],
) -> EventTable:  # fmt: skip
    import awkward as ak
    import uproot

    try:
        with uproot.open(file) as root:
            classes = root.classnames(cycle=False)
            trees = sorted(n for n, kind in classes.items() if kind in ("TTree", "ROOT::RNTuple"))
            name = tree if tree else (trees[0] if len(trees) == 1 else "")
            if name not in trees:
                raise InputError(
                    f"{address}: which tree? write FILE:TREE; the file has: "
                    f"{', '.join(trees) or 'none'}"
                )
            branches = {key.split("/")[-1]: key for key in root[name].keys()}  # noqa: SIM118
            packed = file.stat().st_size
            n_read = len(branches if columns is None else columns)
            check_decoded(8.0 * root[name].num_entries * n_read, packed, address)

            def read(branch: str) -> Any:
                if branch not in branches:
                    known = ", ".join(sorted(branches)[:20])
                    raise InputError(
                        f"{address}: no branch '{branch}' in tree '{name}'; it has: {known}"
                    )
                found = root[name][branches[branch]]
                check_decoded(getattr(found, "uncompressed_bytes", 0), packed, address)
                return found.array(library="ak")

            def jagged(branch: str) -> Any:
                values = read(branch)
                if values.ndim < 2:
                    raise InputError(
                        f"{address}: branch '{branch}' has one number per event; write '{branch}'"
                    )
                return values

            data: dict[str, Any] = {}
            wanted = columns if columns is not None else _flat_branches(root[name], branches)
            for column in wanted:
                element, length = ELEMENT.match(column), LENGTH.match(column)
                if element is not None:
                    index = int(element["index"])
                    padded = ak.pad_none(jagged(element["branch"]), index + 1, axis=1)
                    data[column] = ak.to_numpy(ak.fill_none(padded[:, index], np.nan))
                elif length is not None:
                    data[column] = ak.to_numpy(ak.num(jagged(length["branch"]), axis=1))
                elif column in branches:
                    values = read(column)
                    if values.ndim != 1:
                        raise InputError(
                            f"{address}: branch '{column}' has several numbers per event; write "
                            f"'{column}[0]' or 'len({column})', in backquotes in an expression"
                        )
                    data[column] = ak.to_numpy(values)
                elif not collections:  # else it may be one of the columns added below
                    read(column)
            for flavour in collections:
                if flavour not in FLAVOURS:
                    raise InputError(
                        f"{address}: collection '{flavour}', expected one of {', '.join(FLAVOURS)}"
                    )
            if collections:
                kinematics = {
                    FLAVOURS[flavour]: _kinematics(read, branches, prefix)
                    for flavour, prefix in collections.items()
                }
                data.update(leading_pair(kinematics))
    except InputError:
        raise
    except Exception as error:  # uproot and awkward raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as ROOT ({_short(error)})") from None
    return make_events(data, source=address)


def _flat_branches(tree: Any, branches: Mapping[str, str]) -> list[str]:
    numeric = re.compile(r"^(std::)?(u?int\d+_t|double|float|bool)$")
    return [name for name, key in branches.items() if numeric.match(tree[key].typename)]


def _kinematics(read: Any, branches: Mapping[str, str], prefix: str) -> tuple[Any, Any, Any]:
    """Return jagged pT, eta and charge of one collection."""
    spelled = {key.lower(): key for key in branches}

    def get(name: str) -> Any:
        return read(spelled.get(f"{prefix}{name}".lower(), f"{prefix}{name}"))

    if f"{prefix}pt".lower() in spelled:
        return get("pt"), get("eta"), get("charge")
    px, py, pz = get("Px"), get("Py"), get("Pz")
    pt = np.hypot(px, py)
    return pt, np.arcsinh(pz / pt), get("Charge")


def leading_pair(collections: Mapping[int, tuple[Any, Any, Any]]) -> dict[str, Array]:
    """Return the two leptons of highest pT of every event, as flat columns.

    Args:
        collections: By PDG code: jagged (awkward) pT, eta and charge.

    Returns:
        ``n_<code>`` (leptons of each flavour) and, for i = 1, 2, ``l<i>_flavour``, ``l<i>_pt``,
        ``l<i>_eta``, ``l<i>_charge``; NaN where an event has fewer leptons (flavour 0).

    Example:
        >>> import awkward as ak
        >>> e = (ak.Array([[30.0], []]), ak.Array([[0.1], []]), ak.Array([[1], []]))
        >>> mu = (ak.Array([[40.0, 20.0], []]), ak.Array([[1.0, 2.0], []]), ak.Array([[-1, 1], []]))
        >>> leading_pair({11: e, 13: mu})["l1_flavour"].tolist()
        [13.0, 0.0]
    """
    import awkward as ak

    out: dict[str, Array] = {
        f"n_{code}": ak.to_numpy(ak.num(pt, axis=1)).astype(float)
        for code, (pt, _, _) in collections.items()
    }
    parts = [
        ak.zip({"pt": pt, "eta": eta, "charge": charge, "flavour": ak.full_like(pt, code)})
        for code, (pt, eta, charge) in collections.items()
    ]
    both = ak.concatenate(parts, axis=1)
    both = both[ak.argsort(both.pt, axis=1, ascending=False, stable=True)]
    padded = ak.pad_none(both, 2, axis=1)
    for index in (0, 1):
        for field in ("pt", "eta", "charge", "flavour"):
            empty = 0.0 if field == "flavour" else np.nan
            values = ak.fill_none(padded[field][:, index], empty)
            out[f"l{index + 1}_{field}"] = ak.to_numpy(values).astype(float)
    return out


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line if len(line) < 120 else line[:117] + "..."
