"""Lepton maps from correctionlib: values by its evaluator, errors by leaf or at the leptons."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.files import read_input
from ddphf.guards import check_json, gunzip
from ddphf.inputs.correction_tree import Fixed, Leaf, Values
from ddphf.inputs.correction_values import SelectedCorrection, make_evaluator
from ddphf.inputs.look_up import OUTSIDE, LookUp, refuse_varied
from ddphf.inputs.map_axes import join_edges, name_axes
from ddphf.inputs.maps import Kind, LeptonMap

__all__ = ["CorrectionKeys", "read_correction"]


@dataclass(frozen=True)
class CorrectionKeys:
    """What the analysis selects from a correction.

    Attributes:
        correction: Its name.
        inputs: Inputs that all values share, such as ``{"year": "2018_UL"}``.
        value: Inputs of the central value.
        statistical: Inputs of the statistical error, or None.
        sources: Inputs of each named source.
        varied: Whether errors are stored as value plus error.
    """

    correction: str
    inputs: Fixed = field(default_factory=dict)
    value: Fixed = field(default_factory=dict)
    statistical: Fixed | None = None
    sources: Mapping[str, Fixed] = field(default_factory=dict)
    varied: bool = False


@dataclass(frozen=True)
class _AtLeptons:
    """An error that is evaluated at the leptons.

    A source has two pseudo-bins, for leptons that it moves up and down; the statistical error,
    whose label is empty, has one for each of its leaves.
    """

    selected: SelectedCorrection
    first: int
    label: str

    @property
    def pseudo_bins(self) -> slice:
        n = 2 if self.label else len(self.selected.tree.leaves)
        return slice(self.first, self.first + n)


@dataclass(frozen=True)
class _Evaluator:
    """Looks leptons up in a correction; see :class:`ddphf.inputs.maps.Evaluator`."""

    value: SelectedCorrection
    axes: Mapping[str, str]  # input to axis
    errors: tuple[_AtLeptons, ...]
    varied: bool
    kind: Kind
    unusable: frozenset[int]

    @property
    def n_columns(self) -> int:
        """The leaf, and one for each error that is evaluated at the lepton."""
        return 1 + len(self.errors)

    @property
    def varies(self) -> bool:
        """Whether the value may vary inside a leaf."""
        return not self.value.constant

    def look_up(
        self, given: Mapping[str, Array], n: int, *, nearest: bool, excluded: frozenset[int]
    ) -> LookUp:
        by_input = {name: given[axis] for name, axis in self.axes.items()}
        values = self.value.complete(by_input, n)
        cells = self.value.locate(values, n, nearest)
        cells = np.where(np.isin(cells, list(excluded | self.unusable)), OUTSIDE, cells)
        rows = np.flatnonzero(cells >= 0)
        found = self.value.evaluate(values, rows, nearest)
        cells[rows[np.isnan(found)]] = OUTSIDE
        rows, found = rows[~np.isnan(found)], found[~np.isnan(found)]
        self._check(found, rows, by_input)
        out = np.ones(n)
        out[rows] = found
        columns, weights = [cells], [np.ones(n)]
        for error in self.errors:
            place, share = self._error(error, by_input, rows, found, n, nearest)
            columns.append(np.where(cells >= 0, place, OUTSIDE))
            weights.append(share)
        return LookUp(cells, out, np.stack(columns, axis=1), np.stack(weights, axis=1))

    def _error(
        self, error: _AtLeptons, given: Values, rows: IntArray, found: Array, n: int, nearest: bool
    ) -> tuple[IntArray, Array]:
        """Return the pseudo-bin and the relative error of every lepton."""
        selected = error.selected
        values = selected.complete(given, n)
        shift = selected.evaluate(values, rows, nearest)
        for row in np.flatnonzero(~np.isfinite(shift)):
            raise InputError(
                f"{selected.where}: no number for {dict(selected.fixed)} at "
                f"{_point(self.axes, values, rows[row])}, where the central value has one"
            )
        relative = (shift - found if self.varied else shift) / np.where(found > 0, found, np.inf)
        if self.kind != "fake_factor":
            refuse_varied(relative, error.label or "statistical", selected.where)
        place, share = np.full(n, OUTSIDE, dtype=np.int64), np.zeros(n)
        if error.label:
            place[rows] = error.first + (relative < 0)
        else:
            place[rows] = error.first + selected.locate(values, n, nearest)[rows]
        share[rows] = np.abs(relative)
        return place, share

    def _check(self, found: Array, rows: IntArray, values: Values) -> None:
        """Refuse a value that the kind of map cannot have."""
        good = np.isfinite(found) & (found >= 0 if self.kind == "fake_factor" else found > 0)
        if self.kind == "efficiency":
            good &= found <= 1
        for row in np.flatnonzero(~good)[:1]:
            expected = {
                "efficiency": "an efficiency > 0 and <= 1", "fake_factor": "a fake factor >= 0",
            }.get(self.kind, "a scale factor > 0")  # fmt: skip
            raise InputError(
                f"{self.value.where}: {found[row]:g} at {_point(self.axes, values, rows[row])}, "
                f"expected {expected}; drop such leptons with 'events.select'"
            )


def _point(names: Mapping[str, str], values: Values, row: int) -> str:
    return ", ".join(f"{name} {values[name][row]:g}" for name in names)


def _load(file: Path, path: str, correction: str) -> Any:
    """Return a correction of a file, as correctionlib's schema."""
    from correctionlib import schemav2
    from pydantic import ValidationError

    try:
        raw = read_input(file, path)
        raw = gunzip(raw, path) if file.suffix == ".gz" else raw
        check_json(raw, path)
        text = raw.decode("utf-8")
        # CMS files write the bare word Infinity, which the schema wants as a string.
        data = json.loads(text, parse_constant=lambda c: c.replace("Infinity", "inf"))
        listed = {c["name"]: c for c in data["corrections"]}
        stacked = {c["name"]: c["stack"] for c in data.get("compound_corrections") or []}
    except RecursionError:
        raise InputError(
            f"{path}: cannot be read as correctionlib JSON (nested too deeply)"
        ) from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as correctionlib JSON ({error})") from None
    if correction in stacked and correction not in listed:
        raise InputError(
            f"{path}: '{correction}' is a compound correction, which feeds one correction into the "
            f"next; take one of its parts: {', '.join(map(str, stacked[correction]))}"
        )
    if correction not in listed:
        some = ", ".join(sorted(listed)[:8]) + (", ..." if len(listed) > 8 else "")
        raise InputError(f"{path}: no correction '{correction}'; the file has: {some or 'none'}")
    try:
        return schemav2.Correction.model_validate(listed[correction])
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"] if "[" not in str(part)]
        place = ".".join(parts if len(parts) < 9 else [*parts[:4], "...", *parts[-3:]])
        raise InputError(
            f"{path}, correction '{correction}': breaks the correctionlib schema"
            f"{' at ' + place if place else ''} ({first['msg']})"
        ) from None
    except (RecursionError, AssertionError) as error:
        raise InputError(
            f"{path}, correction '{correction}': breaks the correctionlib schema ({error})"
        ) from None


def read_correction(
    file: Path,
    path: str,
    *,
    name: str,
    kind: Kind,
    keys: CorrectionKeys,
    renamed: Mapping[str, str],
    variables: tuple[str, ...] = (),
    excluded: frozenset[int] = frozenset(),
) -> LeptonMap:
    """Read a correction as a map.

    The value of a lepton is what correctionlib evaluates at it, flow, defaults, rewritten inputs
    and formulas included; every leaf is a calibration bin. Where a statistical error or a source
    has the same leaves with one number each, its errors are those of the bins. Otherwise it is
    evaluated at the leptons: a source is fully correlated, a statistical error fully within a leaf
    of its own and independent between them.

    Args:
        file: JSON, or JSON compressed by gzip.
        path: What to call it in messages.
        name: Of the map.
        kind: Of the map.
        keys: What to take.
        renamed: The file's name of an axis to ours.
        variables: Further names of axes that the leptons have.
        excluded: Bins, by number, whose leptons count as outside.

    Raises:
        InputError: No such correction or input, a random number, or values that are impossible.
    """
    correction = _load(file, path, keys.correction)
    where = f"{path}, correction '{keys.correction}'"

    def select(fixed: Fixed) -> SelectedCorrection:
        return SelectedCorrection(correction, {**keys.inputs, **fixed}, where)

    make_evaluator(correction, correction.data, False, where)  # refuses a damaged one
    value = select(keys.value)
    leaves = value.tree.leaves
    unusable = frozenset(leaf.number for leaf in leaves if leaf.beside and not _usable(leaf, kind))
    unknown = [leaf.value is None or leaf.number in unusable for leaf in leaves]
    nominal = np.where(unknown, 1.0, [leaf.value or 0.0 for leaf in leaves])
    shifts: dict[str, Array] = {}  # "" is the statistical error
    errors: list[_AtLeptons] = []
    extra: list[str] = []
    chosen = {**({} if keys.statistical is None else {"": keys.statistical}), **keys.sources}
    trees = [value]
    for label, fixed in chosen.items():
        selected = select(fixed)
        trees.append(selected)
        if selected.constant and value.constant and selected.tree.shape == value.tree.shape:
            found = np.array([leaf.value or 0.0 for leaf in selected.tree.leaves])
            shifts[label] = np.where(unknown, 0.0, found - (nominal if keys.varied else 0.0))
            continue
        errors.append(_AtLeptons(selected, len(leaves) + len(extra), label))
        if label:
            extra += [f"{label} evaluated at the leptons, {sign}" for sign in ("up", "down")]
        else:
            extra += [f"statistical, {_describe(leaf)}" for leaf in selected.tree.leaves]
    total = len(leaves) + len(extra)

    def shift_of(label: str) -> Array:
        out = np.zeros(total)
        out[: len(leaves)] = shifts.get(label, 0.0)
        for error in errors:
            if error.label == label:
                out[error.pseudo_bins] = [1.0, -1.0] if label else 1.0
        return out

    names = [v.name for v in correction.inputs if any(v.name in tree.open for tree in trees)]
    axes = name_axes(names, renamed, where, variables)
    rewritten = set().union(*(tree.tree.rewritten for tree in trees))
    boxes = [leaf.box for leaf in leaves] + [{}] * len(extra)
    whole_line = (-np.inf, np.inf)
    ends = np.array([[box.get(n, whole_line) for n in names] for box in boxes], dtype=float)
    ends = ends.reshape(total, len(names), 2)
    lows, highs = join_edges(ends[:, :, 0], ends[:, :, 1])
    beside = {x.number: f"bin {x.number} ({_describe(x)})" for x in leaves if x.beside}
    return LeptonMap(
        name=name,
        kind=kind,
        axes=axes,
        lows=lows,
        highs=highs,
        values=np.append(nominal, np.ones(len(extra))),
        statistical=np.abs(shift_of("")),
        sources={label: shift_of(label) for label in keys.sources},
        source=where,
        written=tuple(names),
        rewritten=frozenset(a for n, a in zip(names, axes, strict=True) if n in rewritten),
        excluded=excluded,
        evaluator=_Evaluator(
            value, dict(zip(names, axes, strict=True)), tuple(errors), keys.varied, kind, unusable
        ),
        names={**beside, **{len(leaves) + i: text for i, text in enumerate(extra)}},
        n_pseudo=len(extra),
        warnings=tuple(dict.fromkeys(note for tree in trees for note in tree.tree.notes)),
    )


def _usable(leaf: Leaf, kind: Kind) -> bool:
    if leaf.value is None:
        return True
    low = leaf.value >= 0 if kind == "fake_factor" else leaf.value > 0
    return bool(np.isfinite(leaf.value) and low and (kind != "efficiency" or leaf.value <= 1))


def _describe(leaf: Leaf) -> str:
    parts = [f"{name} {low:g} to {high:g}" for name, (low, high) in leaf.box.items()]
    return ", ".join([*parts, *([leaf.beside] if leaf.beside else [])]) or "everywhere"
