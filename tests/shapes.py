"""Shapes of the engine's arrays, checked where they are passed: jaxtyping in the place of names.

``check()`` comes before the first import of the engine. From then on every function there compares
the shapes and types of its arrays with its signature. What else it takes is mypy's: records that
are named tuples with parameters are beyond the usual checkers at run time.
"""

import contextlib
import functools
import inspect
import sys
from typing import Union, get_args

MODULES = (
    "descent", "deviance", "factorization", "interpolation",
    "general", "paired", "direct", "ensembles",
)  # fmt: skip


def parts_of(hint):
    """Return what a union is of, or the hint alone."""
    return get_args(hint) or (hint,)


def is_shape(hint):
    """Return whether a hint is of an array with a shape, or of None beside it."""
    return any("jaxtyping" in type(part).__module__ for part in parts_of(hint))


def shapes_of(function):
    """Return the hints with shapes: by name, and what is returned as "return"."""
    names = inspect.unwrap(function).__globals__
    hints = {}
    for name, hint in inspect.unwrap(function).__annotations__.items():
        if isinstance(hint, str):
            with contextlib.suppress(NameError):  # of what only type checkers import
                hint = eval(hint, dict(names))
        if not isinstance(hint, str) and is_shape(hint):
            hints[name] = hint
    return hints


def checked(function):
    """Check the arrays of a call; for the import hook, which says what the names of axes are."""
    hints, signature = shapes_of(function), inspect.signature(function)
    if not hints:
        return function

    def compare(name, value):
        # One by one: of a union isinstance asks the type alone.
        if name in hints and not any(isinstance(value, part) for part in parts_of(hints[name])):
            shape = getattr(value, "shape", None), getattr(value, "dtype", type(value))
            raise TypeError(f"{function.__qualname__}: {name} is {shape}, not {hints[name]}")

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            compare(name, value)
        value = function(*args, **kwargs)
        compare("return", value)
        return value

    return wrapper


def check():
    """Have shapes checked; raises ImportError where jaxtyping is not installed."""
    import jax
    import jaxtyping
    import numpy as np

    import ddphf.arrays

    loaded = [name for name in sys.modules if name.startswith("ddphf.likelihood.")]
    assert not loaded, f"too late: {loaded[0]} has been imported"
    for name in ("Bool", "Float", "Int"):
        setattr(ddphf.arrays, name, getattr(jaxtyping, name))
    # Arrays of a model are numpy's until a program has them.
    ddphf.arrays.JaxArray = Union[jax.Array, np.ndarray]  # noqa: UP007
    ddphf.arrays.Array = ddphf.arrays.Mask = ddphf.arrays.IntArray = np.ndarray
    jaxtyping.install_import_hook([f"ddphf.likelihood.{m}" for m in MODULES], "shapes.checked")
