"""A correction with some of its inputs fixed, evaluated by correctionlib itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ddphf.arrays import Array, IntArray
from ddphf.exceptions import InputError
from ddphf.inputs.correction_tree import CorrectionTree, Fixed, Values

__all__ = ["SelectedCorrection", "make_evaluator"]

TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "int": (int,), "real": (int, float)}


class SelectedCorrection:
    """A correction with fixed inputs: its leaves, and its evaluator.

    Attributes:
        tree: The leaves.
        fixed: Inputs that are given, by name.
        where: For messages.

    Raises:
        InputError: A fixed input that is not there, of another type, or missing.
    """

    def __init__(self, correction: Any, fixed: Fixed, where: str) -> None:
        for name, given in fixed.items():
            _check_type(correction, name, given, where)
        self.correction, self.fixed, self.where = correction, fixed, where
        self._evaluators: dict[tuple[int, bool], Any] = {}
        self._nearest = False
        self.tree = CorrectionTree(correction, fixed, self._rule, where)
        for variable in correction.inputs:
            if variable.type == "string" and variable.name in self.tree.used - set(fixed):
                raise InputError(
                    f"{where}: input '{variable.name}' has no value; give it in 'inputs'"
                )

    @property
    def open(self) -> list[str]:
        """Inputs that the leptons must tell, in the order of the file."""
        used = self.tree.used - set(self.fixed)
        return [v.name for v in self.correction.inputs if v.name in used]

    @property
    def constant(self) -> bool:
        """Whether no leaf varies."""
        return all(leaf.value is not None for leaf in self.tree.leaves)

    def complete(self, given: Values, n: int) -> dict[str, Array]:
        """Return the values of every numeric input: given, fixed, or 0 where nothing uses it."""
        whole = {v.name for v in self.correction.inputs if v.type == "int"}
        out = {}
        for variable in self.correction.inputs:
            if variable.type == "string":
                continue
            fixed = self.fixed.get(variable.name, 0)
            values = given.get(variable.name, np.full(n, float(fixed)))
            if variable.name in whole:
                values = np.where(values == np.round(values), values, np.nan)
            out[variable.name] = values
        return out

    def locate(self, values: Values, n: int, nearest: bool) -> IntArray:
        """Return the leaf of every lepton; see :meth:`CorrectionTree.locate`."""
        self._nearest = nearest
        return self.tree.locate(values, n, nearest=nearest)

    def evaluate(self, values: Values, rows: IntArray, nearest: bool) -> Array:
        """Return correctionlib's values at some leptons, NaN where it refuses one."""
        return self._evaluate(self.correction.data, values, rows, nearest)

    def _rule(self, node: Any, values: Values, rows: IntArray) -> Array:
        return self._evaluate(node, values, rows, self._nearest)

    def _evaluate(self, node: Any, values: Values, rows: IntArray, nearest: bool) -> Array:
        key = (id(node), nearest)
        if key not in self._evaluators:
            self._evaluators[key] = make_evaluator(self.correction, node, nearest, self.where)
        arguments: list[Any] = []
        for variable in self.correction.inputs:
            if variable.type == "string":
                arguments.append(self.fixed.get(variable.name, ""))
            else:
                kind = np.int64 if variable.type == "int" else np.float64
                arguments.append(np.nan_to_num(values[variable.name][rows]).astype(kind))
        return _call(self._evaluators[key], arguments, len(rows))


def _call(evaluator: Any, arguments: list[Any], n: int) -> Array:
    """Evaluate at n leptons; one by one where the evaluator refuses some of them."""
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    try:
        out = np.asarray(evaluator.evaluate(*arguments), dtype=float)
        return out if arrays else np.full(n, float(out))
    except (RuntimeError, IndexError, ValueError):
        out = np.full(n, np.nan)
    for row in range(n):
        try:
            out[row] = evaluator.evaluate(
                *(a[row].item() if isinstance(a, np.ndarray) else a for a in arguments)
            )
        except (RuntimeError, IndexError, ValueError):
            continue
    return out


def make_evaluator(correction: Any, node: Any, nearest: bool, where: str) -> Any:
    """Return correctionlib's evaluator of one node, with ``error`` made ``clamp`` if asked for.

    One correction alone: the evaluator then reads kilobytes instead of the whole file.
    """
    import correctionlib
    from correctionlib import schemav2

    try:
        alone = correction.model_copy(update={"data": node})
        data = schemav2.CorrectionSet(schema_version=2, corrections=[alone]).model_dump(mode="json")
        text = json.dumps(_clamped(data) if nearest else data)
        return correctionlib.CorrectionSet.from_string(text)[correction.name]
    except Exception as error:  # pydantic and the C++ evaluator raise several kinds
        line = str(error).splitlines()[0]
        raise InputError(f"{where}: breaks the correctionlib schema ({line})") from None


def _clamped(node: Any) -> Any:
    if isinstance(node, list):
        return [_clamped(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _clamped(value) for key, value in node.items()}
    if out.get("nodetype") in ("binning", "multibinning") and out.get("flow") == "error":
        out["flow"] = "clamp"
    return out


def _check_type(correction: Any, name: str, given: Any, where: str) -> None:
    types = {v.name: v.type for v in correction.inputs}
    if name not in types:
        raise InputError(f"{where}: there is no input '{name}'; it has: {', '.join(types)}")
    kind = types[name]
    if isinstance(given, TYPES[kind]) and not isinstance(given, bool):
        return
    if kind == "string":
        raise InputError(
            f"{where}: input '{name}' is a string, but YAML reads {given} as a number; quote it: "
            f"{{{name}: '{given}'}}"
        )
    remedy = "without quotes" if isinstance(given, str) else "without a decimal point"
    raise InputError(
        f"{where}: input '{name}' is {'a whole number' if kind == 'int' else 'a number'}, got "
        f"{given!r}; write it {remedy}"
    )
