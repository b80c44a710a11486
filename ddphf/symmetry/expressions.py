"""Expressions over the columns of an event table, evaluated without Python's ``eval``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ddphf.exceptions import InputError
from ddphf.inputs.events import EventTable
from ddphf.inputs.histogram import Array

__all__ = ["Mask", "column_names", "evaluate", "evaluate_mask"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos,
    "sinh": np.sinh, "cosh": np.cosh, "tan": np.tan, "arcsinh": np.arcsinh,
    "isfinite": np.isfinite,
}  # fmt: skip
"""Of one argument: numpy would take a second one as the place to write to."""

FOLDS: dict[str, Callable[[Any, Any], Any]] = {
    "hypot": np.hypot, "min": np.minimum, "max": np.maximum,
}  # fmt: skip
"""Of two arguments or more."""

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.divide,
    ast.Mod: np.mod, ast.Pow: np.power,
}  # fmt: skip

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip

LONGEST = 2000
"""Characters of an expression: more is no selection, and nests too deeply to parse."""


def _parse(expression: str) -> tuple[ast.expr, dict[str, str]]:
    """Return the syntax tree, and the columns that stand in it under names of our own."""
    quoted: dict[str, str] = {}
    parts = expression.strip().split("`")
    for index in range(1, len(parts), 2):
        name = f"_quoted{index}"
        quoted[name], parts[index] = parts[index], name
    try:
        if len(expression) > LONGEST:
            raise InputError(f"expression of {len(expression)} characters, expected <= {LONGEST}")
        if len(parts) % 2 == 0:
            raise SyntaxError("a backquote without its partner")
        return ast.parse("".join(parts), mode="eval").body, quoted
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"expression '{expression}': cannot be parsed") from None


def column_names(expression: str) -> list[str]:
    """Return the columns that an expression needs, in order of their names.

    Raises:
        InputError: It cannot be parsed.

    Example:
        >>> column_names("sqrt(px**2 + py**2) > 3 * `Muon_pt[0]`")
        ['Muon_pt[0]', 'px', 'py']
    """
    tree, quoted = _parse(expression)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}
    return sorted(quoted.get(name, name) for name in names)


def evaluate(expression: str, table: EventTable) -> Array:
    """Evaluate an expression over columns.

    Columns (in backquotes where the name has other characters, ```Muon_pt[0]```), numbers,
    ``+ - * / % **``, comparisons, ``and or not & | ~`` between comparisons, and the functions abs,
    sqrt, exp, log, sin, cos, tan, sinh, cosh, arcsinh, isfinite, and of two arguments or more
    hypot, min, max.

    Args:
        expression: Such as ``l1_pt > 25 and abs(l1_eta) < 2.5``.
        table: The events.

    Returns:
        One value per event, shape (n,).

    Raises:
        InputError: Anything else, an unknown column, or a number where a condition is needed.

    Example:
        >>> from ddphf.inputs.events import make_events
        >>> evaluate("sqrt(pt**2) + 1", make_events({"pt": [3.0, 4.0]})).tolist()
        [4.0, 5.0]
    """
    tree, quoted = _parse(expression)
    where = f"expression '{expression}'"

    def shown(node: ast.expr) -> str:
        text = ast.unparse(node)
        for name, column in quoted.items():
            text = text.replace(name, f"`{column}`")
        return text

    def number(node: ast.expr) -> Any:
        """Evaluate a term of arithmetic; numpy would add conditions as 'or'."""
        value = visit(node)
        return np.asarray(value, dtype=float) if np.asarray(value).dtype == np.bool_ else value

    def condition(node: ast.expr) -> Any:
        value = visit(node)
        if np.asarray(value).dtype != np.bool_:
            raise InputError(
                f"{where}: '{shown(node)}' is a number where a condition is expected; compare it, "
                "with parentheses around each comparison where & or its like joins them"
            )
        return value

    def visit(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return table[quoted.get(name, name)]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return ARITHMETIC[type(op)](number(left), number(right))
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return np.logical_and(condition(left), condition(right))
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return np.logical_or(condition(left), condition(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -number(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return number(operand)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return np.logical_not(condition(operand))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return reduce(join, map(condition, values))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(op) in COMPARE for op in ops
            ):
                terms = [number(left), *map(number, others)]
                pairs = zip(ops, terms[:-1], terms[1:], strict=True)
                return reduce(np.logical_and, [COMPARE[type(op)](a, b) for op, a, b in pairs])
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
                name in FUNCTIONS
            ):
                return FUNCTIONS[name](number(argument))
            case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as arguments, keywords=[]) if (
                name in FOLDS
            ):
                return reduce(FOLDS[name], map(number, arguments))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if (
                name in FUNCTIONS or name in FOLDS
            ):
                takes = "one argument" if name in FUNCTIONS else "two arguments or more"
                raise InputError(
                    f"{where}: '{shown(node)}' has {len(arguments)} arguments, but {name} takes "
                    f"{takes}"
                )
        raise InputError(
            f"{where}: '{shown(node)}' is not allowed; use columns, numbers, comparisons, and, or, "
            f"not, and {', '.join(sorted({*FUNCTIONS, *FOLDS}))}"
        )

    try:
        with np.errstate(all="ignore"):  # events where a quantity is undefined fail comparisons
            return np.broadcast_to(np.asarray(visit(tree)), (table.n_events,))
    except RecursionError:
        raise InputError(f"{where}: nests too deeply") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from None


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
