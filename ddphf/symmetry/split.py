"""The split of one event table into the two samples, by two expressions that nobody overlaps."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.inputs.histogram import Array

__all__ = ["RULES", "Mask", "Split", "evaluate", "evaluate_mask", "split_events"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]

RULES = {
    "mue_emu": ("l1_flavour == 13 and l2_flavour == 11", "l1_flavour == 11 and l2_flavour == 13"),
    "mumu_ee": ("l1_flavour == 13 and l2_flavour == 13", "l1_flavour == 11 and l2_flavour == 11"),
    "mutau_etau": (
        "l1_flavour == 13 and l2_flavour == 15 or l1_flavour == 15 and l2_flavour == 13",
        "l1_flavour == 11 and l2_flavour == 15 or l1_flavour == 15 and l2_flavour == 11",
    ),
    "positive_negative": ("l1_charge > 0", "l1_charge < 0"),
    "forward_backward": ("l1_eta > 0", "l1_eta <= 0"),
}
"""Common rules (tested, partner) for the columns of ``leading_pair``; any expression will do."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos,
    "sinh": np.sinh, "cosh": np.cosh, "tan": np.tan, "arcsinh": np.arcsinh, "hypot": np.hypot,
    "min": np.minimum, "max": np.maximum, "isfinite": np.isfinite,
}  # fmt: skip

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.divide,
    ast.Mod: np.mod, ast.Pow: np.power, ast.BitAnd: np.logical_and, ast.BitOr: np.logical_or,
}  # fmt: skip

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip

LONGEST = 2000
"""Characters of an expression: more is no selection, and nests too deeply to parse."""


def evaluate(expression: str, table: EventTable) -> Array:
    """Evaluate an expression over columns, without Python's ``eval``.

    Columns (in backquotes where the name has other characters, ```Muon_pt[0]```), numbers,
    ``+ - * / % **``, comparisons, ``and or not & | ~``, and the functions abs, sqrt, exp, log,
    sin, cos, tan, sinh, cosh, arcsinh, hypot, min, max, isfinite.

    Args:
        expression: Such as ``l1_pt > 25 and abs(l1_eta) < 2.5``.
        table: The events.

    Returns:
        One value per event, shape (n,).

    Raises:
        InputError: Anything else, or an unknown column.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> evaluate("sqrt(pt**2) + 1", make_events({"pt": [3.0, 4.0]})).tolist()
        [4.0, 5.0]
    """
    quoted: dict[str, str] = {}

    def unquote(text: str) -> str:
        parts = text.split("`")
        for index in range(1, len(parts), 2):
            name = f"_quoted{index}"
            quoted[name], parts[index] = parts[index], name
        return "".join(parts)

    try:
        if len(expression) > LONGEST:
            raise InputError(f"expression of {len(expression)} characters, expected <= {LONGEST}")
        tree = ast.parse(unquote(expression.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"expression '{expression}': cannot be parsed") from None

    def visit(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return table[quoted.get(name, name)]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return BINARY[type(op)](visit(left), visit(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -visit(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return visit(operand)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return np.logical_not(visit(operand))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                out = visit(values[0])
                for term in values[1:]:
                    out = join(out, visit(term))
                return out
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(op) in COMPARE for op in ops
            ):
                terms = [visit(left), *map(visit, others)]
                out = np.bool_(True)
                for sign, low, high in zip(ops, terms[:-1], terms[1:], strict=True):
                    out = np.logical_and(out, COMPARE[type(sign)](low, high))
                return out
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                return FUNCTIONS[name](*map(visit, arguments))
        raise InputError(
            f"expression '{expression}': '{ast.unparse(node)}' is not allowed; use columns, "
            f"numbers, comparisons, and, or, not, and {', '.join(sorted(FUNCTIONS))}"
        )

    try:
        with np.errstate(all="ignore"):  # events where a quantity is undefined fail comparisons
            return np.broadcast_to(np.asarray(visit(tree.body)), (table.n_events,))
    except (TypeError, ValueError) as error:
        raise InputError(f"expression '{expression}': {error}") from None


def evaluate_mask(expression: str, table: EventTable) -> Mask:
    """Evaluate a selection: true or false per event.

    Raises:
        InputError: The expression gives numbers.
    """
    values = evaluate(expression, table)
    if values.dtype != np.bool_:
        raise InputError(
            f"expression '{expression}': gives numbers, expected true or false; compare them"
        )
    return np.asarray(values)


@dataclass(frozen=True)
class Split:
    """Which events belong to which sample, shapes (n,)."""

    tested: Mask
    partner: Mask


def split_events(
    table: EventTable,
    tested: str,
    partner: str,
    *,
    identifier: Sequence[str] = (),
) -> Split:
    """Split a table into two samples: every event in exactly one of them.

    Args:
        table: The events, after the selection that both samples share.
        tested: Expression that is true for the tested sample.
        partner: The same for its partner; written out, so that it can be checked.
        identifier: Columns that number events, such as run and event: the samples must not share
            one, as they would where one collision is listed twice with different leptons.

    Raises:
        InputError: Events in both samples, or in none.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> split = split_events(make_events({"id": [11, 13]}), "id == 13", "id == 11")
        >>> split.tested.tolist()
        [False, True]
    """
    where = table.source or "events"
    first, second = evaluate_mask(tested, table), evaluate_mask(partner, table)
    both, none = np.flatnonzero(first & second), np.flatnonzero(~first & ~second)
    if both.size:
        raise InputError(
            f"{where}: {both.size} of {table.n_events} events are in both samples (first: row "
            f"{both[0]}), but shared events are not independent; make '{tested}' and '{partner}' "
            "exclude each other"
        )
    if none.size:
        raise InputError(
            f"{where}: {none.size} of {table.n_events} events are in neither sample (first: row "
            f"{none[0]}); complete '{tested}' and '{partner}', or drop those events alike from "
            "both with 'events.select'"
        )
    if identifier:
        keys = np.stack([table[name] for name in identifier], axis=1)
        _, labels = np.unique(keys, axis=0, return_inverse=True)
        shared = np.intersect1d(labels[first], labels[second])
        if shared.size:
            row = int(np.flatnonzero(labels == shared[0])[0])
            raise InputError(
                f"{where}: {shared.size} events ({', '.join(identifier)}) are in both samples "
                f"(first: row {row}); keep one pair of leptons per event"
            )
    return Split(first, second)
