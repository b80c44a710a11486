"""Trace every program of the engine with shapes checked and nothing promoted; fit in numpy too.

Shapes, types and promotion are decided while a program is traced, so nothing is compiled. For a
process of its own, which `tests/test_shapes.py` starts: `python tests/tools/trace_engine.py`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shapes

shapes.check()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pyhf  # noqa: E402
from empty_models import make_empty  # noqa: E402
from engine_models import eigen_variations, make_pair  # noqa: E402

from ddphf.likelihood.compiled import CompiledModel  # noqa: E402
from ddphf.likelihood.descent import Problem  # noqa: E402
from ddphf.likelihood.ensembles.shared import fit_block, share_inputs  # noqa: E402
from ddphf.likelihood.fits import minimize, minimize_starts  # noqa: E402
from ddphf.likelihood.general.newton import is_physical, minimize_general_batch  # noqa: E402
from ddphf.likelihood.general.zero_rates import minimize_at_zero  # noqa: E402
from ddphf.likelihood.paired.kinks import one_sided_scores  # noqa: E402
from ddphf.likelihood.paired.newton import (  # noqa: E402
    CELL_BOUNDS,
    minimize_one,
    minimize_profiles,
    solve_masked,
)
from ddphf.likelihood.reference import ReferenceModel  # noqa: E402

M, FITS = 5, 3
"""Bins, and data sets of a batch: unlike all other lengths, so that no two axes fit by chance."""


def pairs():
    """Return workspaces with every role: signal in both, fakes of either constraint, nuisances."""
    rng = np.random.default_rng(3)
    t, s = rng.uniform(5.0, 40.0, M), rng.uniform(0.0, 3.0, M)
    counts = rng.poisson(t), rng.poisson(t)
    some = {"variations": eigen_variations(2, M, rng, 0.1), "ratio": 0.8}
    fakes = {"fakes": (0.3 * t, 0.2 * t), "errors": (0.1 * t, 0.05 * t), "fakes_norm": True}
    yield make_pair(t, *counts, s)
    yield make_pair(t, *counts, s, signal_a=0.3 * s, **some)
    yield make_pair(t, *counts, s, **some, **fakes)
    yield make_pair(t, *counts, s, kind="staterror", **some, **fakes)


def rows(tree):
    """Return a tree of arrays with an axis of data sets in front."""
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (FITS, *np.shape(leaf))), tree)


def trace_pair(model):
    """Trace what fits a pair: one data set, a batch, a block of toys, the slopes at a corner."""
    pair, table = model.pair, model.parameters
    structure, arrays, where = pair.structure, pair.arrays, pair.places.global_
    data, start = pair.split(model.data), table.init[where]
    problem = Problem(arrays, data, table.fixed[where], arrays.lower, arrays.upper)
    fit = minimize_one.trace(structure, problem, start).out_info
    each = Problem(arrays, *rows(tuple(problem)[1:]))
    cells = rows(tuple(getattr(arrays, name) for name in CELL_BOUNDS))
    minimize_profiles.trace(structure, each, rows(start), cells)
    scores = jax.jit(one_sided_scores, static_argnums=(0, 2))
    dark = np.zeros(M, dtype=bool)
    scores.trace(structure, arrays, pair.poi, fit.theta, fit.gradient, dark, fit.weights)
    rates = model.rates(table.init)
    shared = share_inputs(pair, table.init, rates, model.data[model.n_main :], table.fixed)
    fit_block.trace(structure, pair.poi, arrays, shared, rows(data))


def trace_general(model):
    """Trace the fits of any model, and fit in numpy."""
    table = model.parameters
    problem = Problem(model.on_device, model.data, table.fixed, table.lower, table.upper)
    minimize_at_zero.trace(model.codes, problem, table.init)
    each = Problem(model.on_device, *rows(tuple(problem)[1:]))
    minimize_general_batch.trace(model.codes, each, rows(table.init))
    data = model.data.copy()
    data[: model.n_main] += 1.0  # no rate at 0: nothing is compiled
    assert minimize(model, data=data).converged
    list(minimize_starts(model, np.stack([table.init, table.init * 1.01]), data=data))


def wrong_calls():
    """Yield calls that a signature forbids, by name; the last promotes a rank."""
    three, none = np.zeros(3), np.zeros(3, dtype=bool)
    square = np.eye(3)
    yield "not square", lambda: solve_masked(square[:2], three, ~none, np.zeros(()))
    yield "another length", lambda: solve_masked(square, three[:2], ~none, np.zeros(()))
    yield "numbers for a mask", lambda: solve_masked(square, three, three, np.zeros(()))
    yield "what is returned", lambda: is_physical(np.ones((2, 3)), three)
    yield "a rank promoted", lambda: jax.eval_shape(lambda a, b: a + b, square, three)


def main():
    """Trace all; a wrong shape or a promotion raises."""
    with jax.numpy_rank_promotion("raise"):
        for name, call in wrong_calls():
            try:
                call()
            except (TypeError, ValueError):
                print(f"refused: {name}")
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for workspace in pairs():
            trace_pair(CompiledModel.from_reference(ReferenceModel(workspace)))
        spec = pyhf.simplemodels.correlated_background(
            [5.0, 9.0], [50.0, 60.0], [55.0, 62.0], [46.0, 57.0]
        )
        shifted = dict(pyhf.Workspace.build(spec, [52.0, 71.0, *spec.config.auxdata]))
        for workspace in (shifted, *(make_empty(kind, 1) for kind in ("normfactor", "staterror"))):
            trace_general(CompiledModel.from_reference(ReferenceModel(workspace)))
    print("traced")


if __name__ == "__main__":
    main()
