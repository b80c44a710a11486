"""Types of arrays and documents that more than one file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np

__all__ = [
    "AnyArray",
    "Array",
    "Bool",
    "Float",
    "Hole",
    "Int",
    "IntArray",
    "JaxArray",
    "Mask",
    "Numbers",
    "Part",
    "Places",
    "Rows",
    "Spec",
    "for_programs",
    "on_host",
]

Array = np.ndarray[Any, np.dtype[np.float64]]
"""Numbers in double precision."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]

IntArray = np.ndarray[Any, np.dtype[np.int64]]

AnyArray = np.ndarray[Any, np.dtype[Any]]
"""Of a type that its user knows: toy numbers, statuses, columns of tables."""

Numbers = tuple[float, ...]
"""In records and settings, which hold no arrays."""

Rows = tuple[Numbers, ...]
"""A table there."""

Places = tuple[int, ...]
"""Counts and bins there."""

Spec = dict[str, Any]
"""A JSON object: a workspace, or a part of one."""

Hole = float | None
"""A number that may not exist: null in JSON."""

Part = Spec | None
"""A part of a record that may be absent."""

# Shapes in signatures: Float[Array, "fits n"]. Type checkers see the array alone, and so does who
# runs the program; only the tests put jaxtyping in their place, which has shapes checked.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

    import jax

    JaxArray = jax.Array
    """What compiled programs take and return."""
else:
    Bool = Float = Int = Annotated
    JaxArray = Any  # jax is not loaded for a name


for_programs = cast("Callable[[AnyArray], JaxArray]", np.asarray)
"""Return numpy's array, typed as what a compiled program sees of it; nothing is copied."""

on_host = cast("Callable[[JaxArray], AnyArray]", np.asarray)
"""Return an array of a model, typed as numpy's, which it is until a program has it."""
