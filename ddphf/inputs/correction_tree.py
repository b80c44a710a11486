"""The nodes of a correction: which leaf each lepton falls into, node by node.

The values are correctionlib's own; this module knows where a leaf begins and ends, which the
evaluator does not tell, because each leaf is a calibration bin with errors of its own. Rules of
bins, flow and rewriting as in correctionlib 2.9 (``src/correction.cc``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.inputs.correction_bins import edge_points, find_bin, meet, to_edges
from ddphf.inputs.look_up import OUTSIDE

__all__ = ["CorrectionTree", "Fixed", "Leaf", "Values"]

Fixed = Mapping[str, str | int | float]
Values = Mapping[str, Array]
Box = dict[str, tuple[float, float]]
Rule = Callable[[Any, Values, IntArray], Array]

HALF = 0.5
"""A whole number n is shown as the bin from n - 1/2 to n + 1/2."""


@dataclass(frozen=True)
class Leaf:
    """Where the walk ends.

    Attributes:
        number: Of the calibration bin; leaves of the flow and of defaults come last.
        value: None where it varies inside the leaf, as a formula does.
        box: The bin by input, as written in the nodes above.
        beside: What the lepton lies outside of, such as ``outside pt 10 to 100``; empty in a bin.
    """

    number: int
    value: float | None
    box: Box
    beside: str = ""


@dataclass(frozen=True)
class _Bins:
    inputs: tuple[str, ...]
    edges: tuple[Any, ...]  # an array, or (n, low, high) of a uniform binning
    flow: Any  # "clamp", "error", "wrap" or a node
    contents: tuple[Any, ...]  # None where fixed inputs cannot come


@dataclass(frozen=True)
class _Choice:
    input: str
    contents: dict[int | str, Any]
    default: Any


@dataclass(frozen=True)
class _Rewrite:
    input: str
    whole: bool
    rule: Any
    content: Any


@dataclass
class CorrectionTree:
    """A correction with some of its inputs fixed.

    Attributes:
        correction: A ``correctionlib.schemav2.Correction``.
        fixed: Inputs that are given, by name.
        rule: Evaluates the rule of a ``transform`` node: (node, values, rows) to shape (rows,).
        where: For messages.
        leaves: In the order of the file.
        used: Inputs that the values depend on, apart from the fixed ones.
        rewritten: Inputs that a ``transform`` node changes.
        notes: Sentences for the user.
        shape: What two trees must have in common for their leaves to be the same bins.

    Raises:
        InputError: A random number, or a fixed input that the correction does not know.
    """

    correction: Any
    fixed: Fixed
    rule: Rule
    where: str
    leaves: list[Leaf] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    shape: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dead: list[str] = []  # why branches end without a leaf
        self._root = self._compile(self.correction.data, {}, "", frozenset())
        if not self.leaves:
            raise InputError(f"{self.where}: {self._dead[0] if self._dead else 'it has no values'}")
        order = sorted(range(len(self.leaves)), key=lambda i: bool(self.leaves[i].beside))
        self._rank = np.argsort(np.array(order, dtype=np.int64))
        self.leaves = [
            Leaf(new, self.leaves[old].value, self.leaves[old].box, self.leaves[old].beside)
            for new, old in enumerate(order)
        ]

    def locate(self, values: Values, n: int, *, nearest: bool = False) -> IntArray:
        """Return the number of the leaf of every lepton, -1 where the correction refuses it.

        Args:
            values: By input, shape (n,), the fixed ones too where they are numbers.
            n: Number of leptons.
            nearest: Treat ``error`` beyond the edges as ``clamp``.
        """
        out = np.full(n, OUTSIDE, dtype=np.int64)
        rows = np.arange(n)
        for name in self.used:
            rows = rows[~np.isnan(values[name][rows])]
        self._place(self._root, rows, dict(values), out, nearest)
        return np.where(out >= 0, self._rank[out], OUTSIDE)

    def _leaf(self, value: float | None, box: Box, beside: str) -> Leaf:
        leaf = Leaf(len(self.leaves), value, box, beside)
        self.leaves.append(leaf)
        self.shape.append((sorted(box.items()), beside))
        return leaf

    def _use(self, name: str, rewritten: frozenset[str]) -> bool:
        """Whether an input is open; it then counts as used."""
        if name in self.fixed and name not in rewritten:
            return False
        self.used.add(name)
        return True

    def _compile(self, node: Any, box: Box, beside: str, rewritten: frozenset[str]) -> Any:
        kind = getattr(node, "nodetype", None)
        if kind is None:
            return self._leaf(float(node), box, beside)
        if kind == "category":
            return self._compile_choice(node, box, beside, rewritten)
        if kind in ("binning", "multibinning"):
            return self._compile_bins(node, box, beside, rewritten)
        if kind == "transform":
            self._use(node.input, rewritten)
            self.rewritten.add(node.input)
            self._look_into(node.rule, rewritten)
            whole = any(v.name == node.input and v.type == "int" for v in self.correction.inputs)
            content = self._compile(node.content, box, beside, rewritten | {node.input})
            self.shape.append(("transform", node.input, node.rule))
            return _Rewrite(node.input, whole, node.rule, content)
        self._look_into(node, rewritten)
        return self._leaf(None, box, beside)

    def _look_into(self, node: Any, rewritten: frozenset[str]) -> None:
        """Note the inputs of whatever is evaluated as a whole, and refuse random numbers."""
        from correctionlib import schemav2

        def visit(inner: Any) -> None:
            kind = getattr(inner, "nodetype", None)
            names: list[str] = []
            if kind == "hashprng":
                raise InputError(
                    f"{self.where}: a hashprng draws a random number for each lepton; it is no "
                    "efficiency, take another correction"
                )
            if kind == "formula":
                names = inner.variables
            elif kind == "formularef":
                names = (self.correction.generic_formulas or [])[inner.index].variables
            elif kind in ("binning", "category", "transform"):
                names = [inner.input]
            elif kind == "multibinning":
                names = inner.inputs
            elif kind == "lwtnn":
                names = [item.name for item in inner.opaque.inputs]
            for name in names:
                self._use(name, rewritten)

        schemav2.walk_content(node, visit)

    def _compile_choice(self, node: Any, box: Box, beside: str, rewritten: frozenset[str]) -> Any:
        entries = {item.key: item.value for item in node.content}
        known = ", ".join(map(str, entries))
        other = beside or f"{node.input} none of {known}"
        if not self._use(node.input, rewritten):
            key = self.fixed[node.input]
            if key in entries:
                return self._compile(entries[key], box, beside, rewritten)
            if node.default is None:
                self._dead.append(f"input '{node.input}' has no {key!r}, only: {known or 'none'}")
                return None
            self.notes.append(
                f"{self.where}: input '{node.input}' has no {key!r} among {known or 'none'}; its "
                "default is used"
            )
            return self._compile(node.default, box, beside, rewritten)
        if any(isinstance(key, str) for key in entries):
            raise InputError(
                f"{self.where}: input '{node.input}' has no value; give one of {known} in 'inputs'"
            )
        contents = {
            key: self._compile(
                content, {**box, node.input: (key - HALF, key + HALF)}, beside, rewritten
            )
            for key, content in entries.items()
        }
        default = node.default
        if default is not None:
            default = self._compile(default, box, other, rewritten)
        return _Choice(node.input, contents, default)

    def _compile_bins(self, node: Any, box: Box, beside: str, rewritten: frozenset[str]) -> Any:
        single = node.nodetype == "binning"
        inputs = [node.input] if single else list(node.inputs)
        edges = [to_edges(e) for e in ([node.edges] if single else node.edges)]
        ends = [edge_points(e) for e in edges]
        reachable: list[int | None] = []
        out_of_range = False
        for name, points in zip(inputs, edges, strict=True):
            if self._use(name, rewritten):
                reachable.append(None)
                continue
            place = int(find_bin(np.array([float(self.fixed[name])]), points, node.flow)[0])
            out_of_range |= place < 0
            reachable.append(place)
        cells = [range(len(e) - 1) for e in ends]
        contents: list[Any] = []
        for content, cell in zip(node.content, itertools.product(*cells), strict=True):
            if any(only not in (None, c) for only, c in zip(reachable, cell, strict=True)):
                contents.append(None)
                continue
            inner = dict(box)
            for name, points, c in zip(inputs, ends, cell, strict=True):
                if name not in self.fixed or name in rewritten:
                    inner[name] = meet(box.get(name), (float(points[c]), float(points[c + 1])))
            contents.append(self._compile(content, inner, beside, rewritten))
        flow = node.flow
        word = flow if isinstance(flow, str) else "value"
        self.shape.append((inputs, [e.tolist() for e in ends], word))
        if not isinstance(flow, str) and None not in reachable and not out_of_range:
            flow = "error"  # the fixed inputs do not come there
        if flow == "error" and out_of_range:
            given = ", ".join(f"{n}: {self.fixed[n]}" for n in inputs if n in self.fixed)
            self._dead.append(f"{given} in 'inputs' lies outside the bins of the file")
        if not isinstance(flow, str):
            spans = " and ".join(
                f"{name} {points[0]:g} to {points[-1]:g}"
                for name, points in zip(inputs, ends, strict=True)
            )
            flow = self._compile(flow, box, beside or f"outside {spans}", rewritten)
        return _Bins(tuple(inputs), tuple(edges), flow, tuple(contents))

    def _place(
        self, node: Any, rows: IntArray, values: dict[str, Array], out: IntArray, nearest: bool
    ) -> None:
        """Write the leaf of every lepton in ``rows``."""
        if node is None or not len(rows):
            return
        if isinstance(node, Leaf):
            out[rows] = node.number
            return
        for content, inner, changed in self._children(node, rows, values, nearest):
            self._place(content, inner, changed, out, nearest)

    def _children(
        self, node: Any, rows: IntArray, values: dict[str, Array], nearest: bool
    ) -> Iterator[tuple[Any, IntArray, dict[str, Array]]]:
        if isinstance(node, _Rewrite):
            new = np.array(values[node.input], dtype=float)
            new[rows] = self.rule(node.rule, values, rows)
            if node.whole:  # half away from zero, as std::round
                new[rows] = np.sign(new[rows]) * np.floor(np.abs(new[rows]) + 0.5)
            yield node.content, rows[~np.isnan(new[rows])], {**values, node.input: new}
        elif isinstance(node, _Choice):
            mine = values[node.input][rows]
            other = np.ones(len(rows), dtype=bool)
            for key, content in node.contents.items():
                other &= mine != key
                yield content, rows[mine == key], values
            yield node.default, rows[other], values
        else:
            flow = "clamp" if nearest and node.flow == "error" else node.flow
            places = [
                find_bin(values[name][rows], points, flow)
                for name, points in zip(node.inputs, node.edges, strict=True)
            ]
            inside = np.all([place >= 0 for place in places], axis=0)
            shape = [len(edge_points(points)) - 1 for points in node.edges]
            flat = np.ravel_multi_index([np.maximum(p, 0) for p in places], shape)
            order = np.argsort(flat, kind="stable")
            order = order[inside[order]]
            found, starts = np.unique(flat[order], return_index=True)
            for index, part in zip(found, np.split(order, starts)[1:], strict=True):
                yield node.contents[index], rows[part], values
            if not isinstance(flow, str):
                yield flow, rows[~inside], values
