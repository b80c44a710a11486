"""Event tables: one number per event and column, from ROOT trees, parquet or npz."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import load_arrays
from ddphf.exceptions import InputError
from ddphf.files import is_file
from ddphf.guards import check_decoded
from ddphf.inputs.branches import Branches, flat_branches, tree_branches
from ddphf.inputs.event_table import EXACT, EventTable, join_columns, make_events
from ddphf.inputs.lepton_pairs import (
    FLAVOURS,
    Collection,
    leading_pair,
    pair_columns,
    read_collection,
)
from ddphf.inputs.root_file import open_root
from ddphf.text import did_you_mean, short_error

__all__ = [
    "EXACT",
    "Collection",
    "EventTable",
    "leading_pair",
    "make_events",
    "read_events",
]

TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


def read_events(
    address: str | Sequence[str],
    *,
    folder: str | Path = ".",
    columns: Sequence[str] | None = None,
    collections: Mapping[str, str | Collection] | None = None,
) -> EventTable:
    """Read an event table.

    ``file.root:tree`` (a TTree or RNTuple; the name may be left out where there is one),
    ``file.parquet`` or a folder of such parts, ``file.npz``; a list of these, or a pattern such as
    ``run*.root:tree``, is read one after the other. A column of a tree or of parquet lists may be
    an element of a jagged branch, ``Muon_pt[0]`` (NaN where there are fewer), or its length,
    ``len(Muon_pt)``; a branch inside another is ``branch/leaf`` or ``branch.leaf``, its last part
    alone where only one has it.

    Args:
        address: File and, for ROOT, tree; or several.
        folder: What a relative path is relative to.
        columns: Those to read; all flat numeric ones by default.
        collections: Flavour to the leptons of its jagged branches, such as ``{"electron":
            "Electron_", "muon": "Muon_"}`` (the prefix, before ``pt``, ``eta``, ``phi`` and
            ``charge``, or ``Px``, ``Py``, ``Pz``): adds the columns of
            :func:`ddphf.inputs.lepton_pairs.pair_columns`.

    Raises:
        InputError: The file is missing or damaged, or a column is not there or no number.
    """
    wanted = {
        flavour: Collection(given) if isinstance(given, str) else given
        for flavour, given in (collections or {}).items()
    }
    single = [address] if isinstance(address, str) else list(address)
    files = [found for one in single for found in _find_files(one, Path(folder))]
    seen: set[tuple[Path, str]] = set()
    for file, tree, name in files:
        if (file.resolve(), tree) in seen:
            raise InputError(f"{name}: is read twice; every event counts once")
        seen.add((file.resolve(), tree))
    parts = [_read_file(*found, columns, wanted) for found in files]
    names = [name for _, _, name in files]
    source = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    data = parts[0] if len(parts) == 1 else join_columns(parts, names)
    return replace(make_events(data, source=source), files=tuple(str(Path(name)) for name in names))


def _find_files(address: str, folder: Path) -> list[tuple[Path, str, str]]:
    """Return file or folder, tree, and what to call it, of everything that an address names."""
    match = re.match(r"(?P<file>.*?\.root):(?P<tree>.*)", address, re.IGNORECASE | re.DOTALL)
    path, tree = (match["file"], match["tree"].strip("/")) if match else (address, "")
    file = folder / path
    if is_file(file) or _is_folder(file):
        return [(file, tree, address)]
    if glob.has_magic(path):
        suffix = f":{tree}" if tree else ""
        found = sorted(glob.glob(path, root_dir=folder, recursive=True))
        found = [name for name in found if is_file(folder / name)]
        if found:
            return [(folder / name, tree, f"{name}{suffix}") for name in found]
        raise InputError(f"{address}: no file matches '{file}'")
    raise InputError(f"{address}: no file '{file}'")


def _is_folder(file: Path) -> bool:
    try:
        return file.is_dir()
    except OSError:
        return False


def _read_file(
    file: Path, tree: str, address: str, columns: Sequence[str] | None,
    collections: Mapping[str, Collection],
) -> dict[str, Any]:  # fmt: skip
    """Return the columns of one file as arrays."""
    suffix = file.suffix.lower()
    if suffix == ".root":
        return _read_root(file, tree, address, columns, collections)
    if suffix in (".parquet", ".pq") or file.is_dir():
        return _read_parquet(file, address, columns, collections)
    if suffix != ".npz":
        raise InputError(f"{address}: expected a .root, .parquet or .npz file, got '{file.name}'")
    if collections:
        raise InputError(f"{address}: 'collections' are read from ROOT trees and parquet lists")
    return _read_npz(file, address, columns)


def _wanted(columns: Sequence[str] | None, names: Sequence[str], address: str) -> list[str]:
    """Return the columns to read: those asked for, all by default.

    Raises:
        InputError: One that is not there.
    """
    for column in columns or ():
        if column not in names:
            known = ", ".join(sorted(names)[:20]) or "none"
            hint = did_you_mean(column, names)
            raise InputError(f"{address}: no column '{column}'; {hint}it has: {known}")
    return list(names if columns is None else columns)


def _read_parquet(
    file: Path, address: str, columns: Sequence[str] | None, collections: Mapping[str, Collection]
) -> dict[str, Any]:
    import pyarrow.dataset

    try:
        data = _open_parts(file)
        names = data.schema.names
        plain = [n for n in names if not pyarrow.types.is_nested(data.schema.field(n).type)]
        nested = len(plain) < len(names) and any(c not in plain for c in columns or ())
        if collections or nested:
            return _columns(_parquet_branches(data, address), columns, plain, collections)
        wanted = _wanted(columns, names, address)
        _check_parquet(data, wanted, address)
        table = data.to_table(columns=wanted)
    except InputError:
        raise
    except Exception as error:  # pyarrow raises many kinds on damaged files
        raise InputError(f"{address}: cannot be read as parquet ({short_error(error)})") from None
    holes = [name for name in table.column_names if table.column(name).null_count]
    if holes:
        raise InputError(f"{address}: column '{holes[0]}' has empty cells; fill or drop those rows")
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _check_parquet(data: Any, wanted: Sequence[str], address: str) -> None:
    """Refuse columns that are no numbers, whose size nothing tells, and more numbers than fit."""
    import pyarrow.types as kinds

    numbers = (
        kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_null, kinds.is_decimal,
    )  # fmt: skip
    for name in wanted:
        kind = data.schema.field(name).type
        if kinds.is_dictionary(kind):
            kind = kind.value_type
        if not (kinds.is_nested(kind) or any(is_kind(kind) for is_kind in numbers)):
            raise InputError(
                f"{address}: column '{name}' holds something that is no number ({kind})"
            )
    count = data.count_rows() * len(wanted)
    listed = 0
    for fragment in data.get_fragments():
        for group in (fragment.metadata.row_group(i) for i in range(fragment.num_row_groups)):
            columns = (group.column(i) for i in range(group.num_columns))
            listed += sum(c.num_values for c in columns if c.path_in_schema.split(".")[0] in wanted)
    packed = sum(Path(part).stat().st_size for part in data.files)
    check_decoded(8.0 * max(count, listed), packed, address)


def _open_parts(file: Path) -> Any:
    """Open a file, or a folder of parts whose columns are those of all of them."""
    import pyarrow as pa
    import pyarrow.dataset

    if not file.is_dir():  # a folder year=2018 above a single file says nothing
        return pyarrow.dataset.dataset(file, format="parquet")
    data = pyarrow.dataset.dataset(file, format="parquet", partitioning="hive")
    # By default the first part tells the columns; an empty one has columns of no type.
    parts = [part.physical_schema for part in data.get_fragments()]
    return data.replace_schema(pa.unify_schemas([data.schema, *parts]))


def _parquet_branches(data: Any, address: str) -> Branches:
    """Return the columns of a table whose lists and structs have parts."""
    import awkward as ak

    paths: dict[str, tuple[str, ...]] = {}

    def walk(name: str, kind: Any, path: tuple[str, ...]) -> None:
        while hasattr(kind, "value_type") and not hasattr(kind, "index_type"):
            kind = kind.value_type
        parts = [kind.field(i) for i in range(kind.num_fields)]
        for part in parts:
            walk(f"{name}/{part.name}", part.type, (*path, part.name))
        if not parts:
            paths[name] = path

    for item in data.schema:
        walk(item.name, item.type, (item.name,))

    def load(path: str) -> Any:
        top, *rest = paths[path]
        _check_parquet(data, [top], address)
        values = ak.from_arrow(data.to_table(columns=[top]).column(top))
        for part in rest:
            values = values[part]
        if any(ak.any(ak.is_none(values, axis=axis), axis=None) for axis in range(values.ndim)):
            raise InputError(f"{address}: column '{path}' has empty cells; fill or drop those rows")
        if values.ndim != 2:
            return values
        # Without the 32-bit offsets and the masks of arrow, which awkward has not all kernels for.
        flat = np.asarray(ak.to_numpy(ak.flatten(values, axis=1)))
        return ak.unflatten(flat, ak.to_numpy(ak.num(values, axis=1)).astype(np.int64))

    return Branches(list(paths), load, address)


def _read_npz(file: Path, address: str, columns: Sequence[str] | None) -> dict[str, Any]:
    return load_arrays(file, address, columns, lambda names: _wanted(columns, names, address))


def _read_root(
    file: Path, tree: str, address: str, columns: Sequence[str] | None,
    collections: Mapping[str, Collection],
) -> dict[str, Any]:  # fmt: skip
    try:
        with open_root(file) as root:
            kinds = root.classnames()
            keys = [key for key, kind in kinds.items() if kind in TREES]
            trees = sorted({key.rpartition(";")[0] for key in keys})
            name = tree if tree else (trees[0] if len(trees) == 1 else "")
            if name not in trees and name not in keys:  # with a cycle, tree;1, an older one
                raise InputError(
                    f"{address}: which tree? write FILE:TREE; the file has: "
                    f"{', '.join(trees) or 'none'}"
                )
            size = file.stat().st_size
            n_read = 1 if columns is None else max(len(columns), 1)
            check_decoded(8.0 * root[name].num_entries * n_read, size, address)
            branches = tree_branches(root[name], address, size)
            flat = flat_branches(root[name]) if columns is None else ()
            return _columns(branches, columns, flat, collections)
    except InputError:
        raise
    except Exception as error:  # uproot and awkward raise many kinds on damaged files
        raise InputError(f"{address}: cannot be read as ROOT ({short_error(error)})") from None


def _columns(
    branches: Branches, columns: Sequence[str] | None, flat: Sequence[str],
    collections: Mapping[str, Collection],
) -> dict[str, Any]:  # fmt: skip
    """Return the columns asked for, with those of the pairs of leptons."""
    out: dict[str, Any] = {}
    for flavour in collections:
        if flavour not in FLAVOURS:
            raise InputError(
                f"{branches.where}: collection '{flavour}', expected one of {', '.join(FLAVOURS)}"
            )
    if collections:
        out |= pair_columns(
            {
                FLAVOURS[flavour]: read_collection(branches, collection, FLAVOURS[flavour])
                for flavour, collection in collections.items()
            }
        )
    if columns is None:
        single = [p for p in flat if branches.paths.count(p) == 1 and branches.read(p).ndim == 1]
        if not single and not out:
            raise InputError(
                f"{branches.where}: no branch is one number per event; it has: "
                f"{', '.join(sorted(branches.paths)[:20]) or 'none'}"
            )
        short = {path: re.split(r"[./]", path.rstrip("."))[-1] for path in single}
        once = [*short.values()]
        return {
            (name if once.count(name) == 1 else path): branches.column(path)
            for path, name in short.items()
        } | out
    for column in columns:
        if column not in out:
            out[column] = branches.column(column)
    return out
