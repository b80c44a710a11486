"""Lepton maps from CSV and YAML tables, and from correctionlib JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.exceptions import ConfigError, InputError
from ddphf.files import is_file, read_input
from ddphf.guards import check_json, gunzip
from ddphf.inputs.csv_table import read_bin_table
from ddphf.inputs.histogram import Array
from ddphf.inputs.maps import Kind, LeptonMap, make_map
from ddphf.yaml_text import parse_yaml

__all__ = ["read_map"]

Inputs = dict[str, str | int]
Box = dict[str, tuple[float, float]]

ALIASES = {
    "pt": "pt", "eta": "eta", "abseta": "abseta", "abs_eta": "abseta", "aeta": "abseta",
    "charge": "charge", "q": "charge", "sceta": "eta", "etasc": "eta",
}  # fmt: skip
"""Common spellings, lower case; anything else is named by the caller."""

LARGEST_CATEGORY = 0.5


def read_map(
    path: str,
    *,
    name: str,
    kind: Kind,
    folder: str | Path = ".",
    axes: Mapping[str, str] | None = None,
    correction: str | None = None,
    inputs: Mapping[str, str | int] | None = None,
    value: Mapping[str, str | int] | None = None,
    statistical: Mapping[str, str | int] | None = None,
    sources: Mapping[str, Mapping[str, str | int]] | None = None,
    varied: bool = False,
) -> LeptonMap:
    """Read a map.

    CSV: columns ``<axis>_low``, ``<axis>_high``, ``value``, optionally ``statistical``; every other
    column is a source. One row per bin; bins may be missing and need not form a grid. YAML:
    ``axes`` (edges by axis), ``values``, ``statistical``, ``sources``; the last axis runs fastest.

    Args:
        path: ``.csv``, ``.yml``/``.yaml`` or correctionlib ``.json``/``.json.gz``.
        name: Such as ``muon``.
        kind: ``"efficiency"``, ``"scale_factor"`` or ``"fake_factor"``.
        folder: What a relative path is relative to.
        axes: The file's name of an axis to ours, where it is not a common one.
        correction: correctionlib: which one.
        inputs: correctionlib: its string and integer inputs, such as ``{"year": "2018_UL"}``.
        value: correctionlib: the inputs that select the central value, ``{"ValType": "sf"}``.
        statistical: correctionlib: the same for the statistical error.
        sources: correctionlib: the same for every named source.
        varied: correctionlib: errors are stored as value plus error, not as the error itself.

    Raises:
        InputError: The file is missing or damaged, or holds no such map.
    """
    file = Path(folder) / path
    if not is_file(file):
        raise InputError(f"{path}: no file '{file}'")
    renamed = dict(axes or {})
    suffix = file.suffix.lower()
    if suffix in (".csv", ".yml", ".yaml"):
        selecting = {
            "correction": correction, "inputs": inputs, "value": value, "statistical": statistical,
            "sources": sources, "varied": varied,
        }  # fmt: skip
        for key, given in selecting.items():
            if given:
                raise InputError(
                    f"{path}: '{key}' selects from correctionlib files; a table says it itself, so "
                    "leave the key out"
                )
    if suffix == ".csv":
        return _read_csv(file, path, name, kind, renamed)
    if suffix in (".yml", ".yaml"):
        return _read_yaml(file, path, name, kind, renamed)
    if suffix not in (".json", ".gz"):
        raise InputError(f"{path}: expected a .csv, .yml, .json or .json.gz file")
    if correction is None:
        raise InputError(f"{path}: which correction? give 'correction: NAME'")
    return _read_correction(
        file, path, name, kind, renamed, correction, dict(inputs or {}), dict(value or {}),
        None if statistical is None else dict(statistical),
        {key: dict(keys) for key, keys in (sources or {}).items()}, varied,
    )  # fmt: skip


def _our_axes(names: Sequence[str], renamed: Mapping[str, str], where: str) -> tuple[str, ...]:
    """Return our names of the axes of a file.

    Raises:
        InputError: ``renamed`` has an axis that the file lacks, or two axes are the same.
    """
    for name in renamed:
        if name not in names:
            raise InputError(f"{where}: 'axes' renames '{name}'; it has: {', '.join(names)}")
    ours = tuple(renamed.get(name, ALIASES.get(name.lower(), name)) for name in names)
    if len(set(ours)) < len(ours):
        raise InputError(
            f"{where}: axes {', '.join(names)} mean {', '.join(ours)}, one of them twice; tell "
            "them apart in 'axes', or drop one"
        )
    return ours


def _read_csv(
    file: Path, path: str, name: str, kind: Kind, renamed: Mapping[str, str]
) -> LeptonMap:
    table = read_bin_table(file, path)
    if "value" not in table.contents:
        raise InputError(f"{path}: no column 'value'; it has: {', '.join(table.contents)}")
    names = table.axes
    lows = np.stack([table[f"{a}_low"] for a in names], axis=1)
    highs = np.stack([table[f"{a}_high"] for a in names], axis=1)
    for row, column in np.argwhere(~(lows < highs)):
        raise InputError(
            f"{path}: row {row + 1}: axis '{names[column]}' from {lows[row, column]:g} to "
            f"{highs[row, column]:g}, expected low < high"
        )
    return LeptonMap(
        name=name,
        kind=kind,
        axes=_our_axes(names, renamed, path),
        lows=lows,
        highs=highs,
        values=table["value"],
        statistical=(
            table["statistical"] if "statistical" in table.contents else np.zeros(len(lows))
        ),
        sources={c: table[c] for c in table.contents if c not in ("value", "statistical")},
        source=path,
    )


def _read_yaml(
    file: Path, path: str, name: str, kind: Kind, renamed: Mapping[str, str]
) -> LeptonMap:
    try:
        data = parse_yaml(read_input(file, path).decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except ConfigError as error:
        raise InputError(f"{path}: {error}") from None
    axes, sources = (data.get(k) for k in ("axes", "sources")) if isinstance(data, dict) else (0, 0)
    if not (isinstance(axes, dict) and axes and "values" in data):
        raise InputError(f"{path}: expected a mapping with 'axes' (edges by name) and 'values'")
    if not (sources is None or isinstance(sources, dict)):
        raise InputError(f"{path}: 'sources' is no mapping of names to shifts")
    extra = sorted(set(data) - {"axes", "values", "statistical", "sources"})
    if extra:
        raise InputError(
            f"{path}: unknown key '{extra[0]}', expected axes, values, statistical, sources"
        )
    edges: dict[str, list[float]] = {}
    for axis, ours in zip(axes, _our_axes(list(axes), renamed, path), strict=True):
        try:
            edges[ours] = [float(x) for x in axes[axis] if isinstance(axes[axis], list)]
        except (TypeError, ValueError):
            edges[ours] = []
        if not edges[ours]:
            raise InputError(f"{path}: the edges of axis '{axis}' are not a list of numbers")
    return make_map(
        name, kind, edges, data["values"], data.get("statistical"), sources, source=path
    )


def _read_correction(
    file: Path, path: str, name: str, kind: Kind, renamed: Mapping[str, str], correction: str,
    inputs: Inputs, value: Inputs, statistical: Inputs | None, sources: dict[str, Inputs],
    varied: bool,
) -> LeptonMap:  # fmt: skip
    import correctionlib
    from correctionlib import schemav2

    try:
        raw = read_input(file, path)
        raw = gunzip(raw, path) if file.suffix == ".gz" else raw
        check_json(raw, path)
        text = raw.decode("utf-8")
        # CMS files write the bare word Infinity, which the schema wants as a string.
        data = json.loads(text, parse_constant=lambda c: c.replace("Infinity", "inf"))
        listed = {c["name"]: c for c in data["corrections"]}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as correctionlib JSON ({error})") from None
    if correction not in listed:
        some = ", ".join(sorted(listed)[:8]) + (", ..." if len(listed) > 8 else "")
        raise InputError(f"{path}: no correction '{correction}'; the file has: {some or 'none'}")
    where = f"{path}, correction '{correction}'"
    try:
        tree = schemav2.Correction.model_validate(listed[correction])
        # One correction alone: the evaluator then reads kilobytes instead of the whole file.
        small = schemav2.CorrectionSet(schema_version=2, corrections=[tree])
        evaluator = correctionlib.CorrectionSet.from_string(small.model_dump_json())[correction]
    except Exception as error:  # pydantic and the C++ evaluator raise several kinds
        line = str(error).splitlines()[0]
        raise InputError(f"{where}: breaks the correctionlib schema ({line})") from None

    def leaves(selected: Inputs) -> list[tuple[Box, frozenset[str]]]:
        return list(_walk(tree.data, {**inputs, **selected}, {}, frozenset(), where))

    boxes = leaves(value)
    names = [v.name for v in tree.inputs if any(v.name in box for box, _ in boxes)]
    for box, _ in boxes:
        missing = [n for n in names if n not in box]
        if missing:
            raise InputError(f"{where}: some bins have no '{missing[0]}'; select another value")

    def evaluate(selected: Inputs) -> Array:
        fixed = {**inputs, **selected}
        out = np.empty(len(boxes))
        for index, (box, _) in enumerate(boxes):
            point: list[Any] = []
            for variable in tree.inputs:
                if variable.name in box:
                    inside = _inside(*box[variable.name])
                    point.append(round(inside) if variable.type == "int" else inside)
                elif variable.name in fixed:
                    point.append(fixed[variable.name])
                else:
                    raise InputError(
                        f"{where}: input '{variable.name}' has no value; give it in 'inputs'"
                    )
            try:
                out[index] = evaluator.evaluate(*point)
            except (RuntimeError, IndexError, ValueError, TypeError) as error:
                raise InputError(f"{where}: cannot be evaluated at {point} ({error})") from None
        return out

    for selected in [*([] if statistical is None else [statistical]), *sources.values()]:
        if [b for b, _ in leaves(selected)] != [b for b, _ in boxes]:
            raise InputError(f"{where}: {selected} has other bins than the central value")
    axes = _our_axes(names, renamed, where)
    clamped = frozenset[str]().union(*(c for _, c in boxes))
    nominal = evaluate(value)
    base = nominal if varied else np.zeros_like(nominal)
    return LeptonMap(
        name=name,
        kind=kind,
        axes=axes,
        lows=np.array([[box[n][0] for n in names] for box, _ in boxes]),
        highs=np.array([[box[n][1] for n in names] for box, _ in boxes]),
        values=nominal,
        statistical=(
            np.zeros_like(nominal) if statistical is None else np.abs(evaluate(statistical) - base)
        ),
        sources={key: evaluate(keys) - base for key, keys in sources.items()},
        source=where,
        clamped=frozenset(a for n, a in zip(names, axes, strict=True) if n in clamped),
    )


def _inside(low: float, high: float) -> float:
    """Return a point of a bin that may reach to infinity."""
    if np.isinf(low):
        return 0.0 if np.isinf(high) else high - 1.0
    return low + 1.0 if np.isinf(high) else (low + high) / 2


def _walk(
    node: Any, fixed: Inputs, box: Box, clamped: frozenset[str], where: str
) -> Iterator[tuple[Box, frozenset[str]]]:  # fmt: skip
    """Yield the box of every leaf that the fixed inputs leave, in the order of the file."""
    kind = getattr(node, "nodetype", None)
    if kind is None:
        yield box, clamped
        return
    if kind == "category":
        entries = {item.key: item.value for item in node.content}
        if node.input in fixed:
            key = fixed[node.input]
            if key not in entries:
                known = ", ".join(str(k) for k in entries)
                raise InputError(f"{where}: input '{node.input}' has no '{key}', only: {known}")
            yield from _walk(entries[key], fixed, box, clamped, where)
        elif all(isinstance(key, int) for key in entries):  # such as the charge
            for key, content in entries.items():
                ends = (key - LARGEST_CATEGORY, key + LARGEST_CATEGORY)
                yield from _walk(content, fixed, {**box, node.input: ends}, clamped, where)
        else:
            known = ", ".join(str(k) for k in entries)
            raise InputError(
                f"{where}: input '{node.input}' has no value; give one of {known} in 'inputs'"
            )
        return
    if kind not in ("binning", "multibinning"):
        raise InputError(
            f"{where}: a {kind} inside a bin, so its value varies there; only binned maps have "
            "calibration bins"
        )
    variables = [node.input] if kind == "binning" else list(node.inputs)
    edges = [_edges(e, where) for e in ([node.edges] if kind == "binning" else node.edges)]
    if node.flow == "clamp":
        clamped = clamped | set(variables)
    pairs = [list(itertools.pairwise(e)) for e in edges]
    for content, cell in zip(node.content, itertools.product(*pairs), strict=True):
        inner = {**box, **dict(zip(variables, cell, strict=True))}
        yield from _walk(content, fixed, inner, clamped, where)


def _edges(edges: Any, where: str) -> list[float]:
    if hasattr(edges, "n"):  # a uniform binning
        return [float(x) for x in np.linspace(edges.low, edges.high, edges.n + 1)]
    try:
        return [float(x) for x in edges]  # correctionlib writes "inf" for infinity
    except (TypeError, ValueError):
        raise InputError(f"{where}: the edges of a binning are not a list of numbers") from None
