"""Expressions over the columns of an event table, evaluated without Python's ``eval``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import InputError
from ddphf.inputs.events import EXACT, EventTable

__all__ = ["column_names", "evaluate", "evaluate_mask"]


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "log10": np.log10,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan,
    "arcsinh": np.arcsinh, "floor": np.floor, "isfinite": np.isfinite,
}  # fmt: skip
"""Of one argument: numpy would take a second one as the place to write to."""

PAIRS: dict[str, Callable[[Any, Any], Any]] = {"arctan2": np.arctan2, "pow": np.power}
"""Of two arguments."""

FOLDS: dict[str, Callable[[Any, Any], Any]] = {
    "hypot": np.hypot, "min": np.minimum, "max": np.maximum,
}  # fmt: skip
"""Of two arguments or more."""

ROOT_NAMES = {
    "fabs": "abs", "power": "pow", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "atan2": "arctan2", "asinh": "arcsinh", "fmin": "min", "fmax": "max",
}  # fmt: skip
"""What C++ and TMath call them, in small letters."""

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.divide,
    ast.Pow: np.power,
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
        parts[0::2] = map(_translate, parts[0::2])
        return ast.parse("".join(parts).strip(), mode="eval").body, quoted
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(
            f"expression '{expression}': cannot be parsed; write conditions with and, or, not, "
            "powers as x**2, and names of other characters in backquotes"
        ) from None


def _translate(text: str) -> str:
    """Write in Python what is written as for TTree::Draw: && || ! TMath::Abs fabs.

    ``!`` becomes ``~``, which binds as tightly.
    """
    text = text.replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"!(?!=)", "~", text)
    text = re.sub(r"\bTMath::Pi\(\s*\)", repr(np.pi), text)
    return re.sub(
        r"\b(?P<space>TMath::|std::)?(?P<name>[A-Za-z]\w*)(?=\s*\()",
        lambda m: _python_name(m["name"]) if m["space"] else ROOT_NAMES.get(m["name"], m["name"]),
        text,
    )


def _python_name(name: str) -> str:
    return ROOT_NAMES.get(name.lower(), name.lower())


def column_names(expression: str) -> list[str]:
    """Return the columns that an expression needs, in order of their names.

    Raises:
        InputError: It cannot be parsed, or has a column that needs backquotes.

    Example:
        >>> column_names("sqrt(px**2 + py**2) > 3 * `Muon_pt[0]`")
        ['Muon_pt[0]', 'px', 'py']
    """
    tree, quoted = _parse(expression)
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute):
            raise _not_allowed(f"expression '{expression}'", ast.unparse(node), quote=True)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}
    return sorted(quoted.get(name, name) for name in names)


def evaluate(expression: str, table: EventTable) -> Array:
    """Evaluate an expression over columns.

    Columns (in backquotes where the name has other characters, ```Muon_pt[0]```), numbers,
    ``+ - * / % **``, comparisons, ``and or not & | ~`` between comparisons (also ``&& || !``),
    and the functions abs, sqrt, exp, log, log10, sin, cos, tan, sinh, cosh, tanh, arcsin, arccos,
    arctan, arcsinh, floor, isfinite, of two arguments arctan2 and pow, and of two or more hypot,
    min, max; also as C++ and TMath call them. Integers beyond 2^53 are compared, and taken modulo
    whole numbers, exactly.

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

    def exact(node: ast.expr) -> Any:
        """Evaluate a term of a comparison: integers too large for a float stay integers."""
        value = visit(node)
        return np.asarray(value, dtype=float) if np.asarray(value).dtype == np.bool_ else value

    def number(node: ast.expr) -> Any:
        """Evaluate a term of arithmetic; numpy would add conditions as 'or', and wrap integers."""
        value = visit(node)
        return value if isinstance(value, float) else np.asarray(value, dtype=float)

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
            case ast.Constant(value=bool() | float() as value):
                return float(value)
            case ast.Constant(value=int() as value):
                return np.uint64(value) if EXACT < value < 2**64 else float(value)
            case ast.Name(id=name):
                return table[quoted.get(name, name)]
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                return _remainder(exact(left), exact(right))
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
                terms = [exact(left), *map(exact, others)]
                _check_chain(node, shown, where)
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
            case ast.Call(func=ast.Name(id=name), args=[first, second], keywords=[]) if (
                name in PAIRS
            ):
                return PAIRS[name](number(first), number(second))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if (
                name in FUNCTIONS or name in FOLDS or name in PAIRS
            ):
                takes = "one argument" if name in FUNCTIONS else "two arguments"
                takes += " or more" if name in FOLDS else ""
                raise InputError(
                    f"{where}: '{shown(node)}' has {len(arguments)} arguments, but {name} takes "
                    f"{takes}"
                )
        quote = isinstance(node, ast.Subscript | ast.Attribute)
        raise _not_allowed(where, shown(node), quote=quote)

    try:
        with np.errstate(all="ignore"):  # events where a quantity is undefined fail comparisons
            return np.broadcast_to(np.asarray(visit(tree)), (table.n_events,))
    except RecursionError:
        raise InputError(f"{where}: nests too deeply") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from None


def _not_allowed(where: str, shown: str, *, quote: bool) -> InputError:
    hint = " (this one in backquotes, if it is one)" if quote else ""
    return InputError(
        f"{where}: '{shown}' is not allowed; use columns{hint}, numbers, comparisons, and, or, "
        f"not, and {', '.join(sorted({*FUNCTIONS, *FOLDS, *PAIRS}))}"
    )


def _remainder(left: Any, right: Any) -> Any:
    """Return left % right, exact for integers, such as event numbers, that no float can hold."""
    whole = np.asarray(right)
    if np.asarray(left).dtype.kind in "iu" and np.all((whole == np.round(whole)) & (whole > 0)):
        return np.asarray(np.mod(left, whole.astype(np.asarray(left).dtype)), dtype=float)
    return np.mod(np.asarray(left, dtype=float), np.asarray(right, dtype=float))


def _check_chain(node: ast.Compare, shown: Callable[[ast.expr], str], where: str) -> None:
    """Refuse chains that are not one range, as 10 > x < 90 and x > 10 < 90 where < 90 is void."""
    kinds = {type(op) for op in node.ops}
    ranges: tuple[set[type[ast.cmpop]], ...] = (
        {ast.Lt, ast.LtE}, {ast.Gt, ast.GtE}, {ast.Eq},
    )  # fmt: skip
    if len(node.ops) > 1 and not any(kinds <= allowed for allowed in ranges):
        raise InputError(
            f"{where}: '{shown(node)}' is no range; join comparisons by 'and', or write one as in "
            "10 < x < 90"
        )


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
