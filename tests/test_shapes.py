"""The engine's signatures say its shapes, and they are true; nothing is promoted in silence."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
import shapes

import ddphf.arrays

TRACE = Path(__file__).parent / "tools" / "trace_engine.py"


def test_every_program_is_traced_with_shapes_checked_and_strict_promotion():
    run = subprocess.run(
        [sys.executable, str(TRACE)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.splitlines() == [
        "refused: not square",
        "refused: another length",
        "refused: numbers for a mask",
        "refused: what is returned",
        "refused: a rank promoted",
        "traced",
    ]


def test_users_need_no_jaxtyping():
    assert ddphf.arrays.Float[np.ndarray, "n"].__metadata__ == ("n",)
    code = "import sys, ddphf.likelihood.batch; sys.exit('jaxtyping' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def pair(
    x: jaxtyping.Float[np.ndarray, "n"], y: jaxtyping.Float[np.ndarray, "n"] | None = None
) -> jaxtyping.Float[np.ndarray, "n"]:
    return x if y is None else y


def test_the_checker_binds_axes_within_one_call():
    function = jaxtyping.jaxtyped(typechecker=shapes.checked)(pair)
    two, three = np.zeros(2), np.zeros(3)
    assert function(two) is two
    assert function(three, three) is three
    for wrong in ((two, three), (jax.numpy.zeros(2),), (np.zeros((2, 2)),), (np.zeros(2, int),)):
        with pytest.raises(jaxtyping.TypeCheckError, match="pair"):
            function(*wrong)
