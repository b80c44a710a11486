import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddphf
from ddphf.likelihood.factorization import SMALL, cho_solve, cholesky, solve_lower
from ddphf.likelihood.general.layout import MAX_LOCALS

ROOT = Path(ddphf.__file__).parent


def positive(rng, n, *lead):
    x = rng.normal(size=(*lead, n, n))
    return x @ x.swapaxes(-1, -2) + n * np.eye(n)


@pytest.mark.parametrize("n", [1, 2, 5, SMALL, SMALL + 1, 30])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_factors_and_solutions_are_those_of_numpy(n, lead):
    rng = np.random.default_rng(n)
    matrix, right = positive(rng, n, *lead), rng.normal(size=(*lead, n, 4))
    chol = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(cholesky(jnp.asarray(matrix)), chol, atol=1e-12)
    half = np.linalg.solve(chol, right)
    np.testing.assert_allclose(solve_lower(jnp.asarray(chol), right), half, atol=1e-12)
    whole = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(cho_solve(jnp.asarray(chol), right), whole, atol=1e-12)
    if lead:
        mapped = jax.jit(jax.vmap(lambda a, b: cho_solve(cholesky(a), b)))(matrix, right)
        np.testing.assert_allclose(mapped, whole, atol=1e-12)


@pytest.mark.parametrize("n", [1, 3, SMALL, SMALL + 4])
def test_what_is_not_positive_definite_gives_nan(n):
    matrix = np.eye(n)
    matrix[-1, -1] = -1.0
    both = jnp.stack([jnp.asarray(matrix), jnp.eye(n)])
    solved = jax.vmap(lambda a: cho_solve(cholesky(a), jnp.ones((n, 1))))(both)
    assert np.all(np.isnan(solved[0]))
    np.testing.assert_allclose(solved[1], 1.0)
    singular = cho_solve(cholesky(jnp.zeros((n, n))), jnp.ones((n, 1)))
    assert not np.any(np.isfinite(singular))


@pytest.mark.parametrize("n", [SMALL, SMALL + 4])
def test_no_kernel_gets_a_batch(n):
    """A batch is split among the threads of XLA's pool, on one of which the kernel waits."""
    rng = np.random.default_rng(0)

    def work(a, b):
        chol = cholesky(a)
        return cho_solve(chol, b), jax.lax.map(lambda c: solve_lower(chol, c[:, None]), b.T)

    matrix, right = positive(rng, n, 5, 4), rng.normal(size=(5, 4, n, 2))
    program = jax.jit(jax.vmap(jax.vmap(work))).lower(matrix, right).compile().as_text()
    calls = [line for line in program.splitlines() if "custom-call" in line and "lapack" in line]
    assert bool(calls) == (n > SMALL)
    for call in calls:
        assert max(shape.count(",") for shape in re.findall(r"f64\[([\d,]*)\]", call)) == 1, call


def test_every_factorization_of_the_engine_is_one_of_these():
    """``jnp.linalg`` and ``jnp.fft`` block on threads of XLA's pool, Python callbacks as well."""
    assert MAX_LOCALS <= SMALL
    forbidden = re.compile(
        r"(jnp|jax\.numpy|jax\.lax|jax\.scipy|jsp)\.(linalg|fft)\b|jax\.\w*callback|jax\.pure_call"
    )
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "factorization.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and forbidden.search(ast.unparse(node)):
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if re.match(r"jax.*(linalg|fft)", module):
                found.append(f"{path.name}:{node.lineno}: from {module}")
    assert not found
