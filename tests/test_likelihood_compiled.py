import json

import jax
import numpy as np
import pytest
from engine_models import eigen_variations, make_pair
from model_zoo import random_point, size_of_terms
from others_data import others

from ddphf.likelihood.compiled import CannotCompileError, CompiledModel
from ddphf.likelihood.expansion import expand_model
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend

WORKSPACES = [
    "atlas_sbottom_regionC_600_280_150/bottom-squarks.json",
    "cabinetry_tutorial/built_example_workspace.json",
    "pyhf_validation_micro/coupledshapefactor.workspace.json",
    "pyhf_validation_micro/q0.workspace.json",
]


def assert_equal_logpdf(reference, rng, points):
    """Equal to pyhf's numpy backend, relative to the sum of absolute values of the terms."""
    compiled = CompiledModel.from_reference(reference)
    for _ in range(points):
        x = random_point(reference.parameters, rng)
        data = reference.data + rng.uniform(0, 2, len(reference.data))
        with pyhf_backend("numpy"):
            rates = np.asarray(reference.model.expected_actualdata(x.tolist()))
        if np.any(rates <= 0):
            continue
        mine = compiled.twice_nll(x, data=data)
        law = reference.twice_nll(x, data=data, backend="numpy")
        assert abs(mine - law) <= 1e-10 * 2 * size_of_terms(rates, data)
        np.testing.assert_allclose(compiled.rates(x), rates, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", WORKSPACES)
def test_published_logpdf_is_pyhfs(name):
    workspace = json.loads(others(name).read_text())
    assert_equal_logpdf(ReferenceModel(workspace), np.random.default_rng(1), points=20)


@pytest.mark.parametrize("codes", [("code1", "code0"), ("code4", "code4p"), ("code1", "code4p")])
def test_interpolation_codes(codes):
    import pyhf

    from ddphf.likelihood.general.layout import build_arrays
    from ddphf.likelihood.general.likelihood import rates

    spec = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "s",
                        "data": [10.0, 20.0],
                        "modifiers": [
                            {"name": "mu", "type": "normfactor", "data": None},
                            {"name": "n", "type": "normsys", "data": {"hi": 1.3, "lo": 0.8}},
                            {
                                "name": "h",
                                "type": "histosys",
                                "data": {"hi_data": [12.0, 25.0], "lo_data": [9.5, 13.0]},
                            },
                        ],
                    }
                ],
            }
        ]
    }
    with pyhf_backend("numpy"):
        model = pyhf.Model(
            spec,
            poi_name="mu",
            modifier_settings={
                "normsys": {"interpcode": codes[0]},
                "histosys": {"interpcode": codes[1]},
            },
        )
        arrays, static = build_arrays(expand_model(model))
        for alpha in (-3.0, -1.0, -0.4, 0.0, 0.7, 1.0, 2.5):
            x = np.array([1.2] * model.config.npars)
            x[model.config.par_slice("n")] = alpha
            x[model.config.par_slice("h")] = -alpha
            np.testing.assert_allclose(
                np.asarray(rates(static, arrays, x)), model.expected_actualdata(x), rtol=1e-13
            )


@pytest.mark.parametrize("broken", ["code2", "clip", "batch"])
def test_what_cannot_be_compiled_says_why(broken):
    import pyhf

    spec = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "s",
                        "data": [10.0],
                        "modifiers": [
                            {"name": "mu", "type": "normfactor", "data": None},
                            {
                                "name": "h",
                                "type": "histosys",
                                "data": {"hi_data": [12.0], "lo_data": [9.5]},
                            },
                        ],
                    }
                ],
            }
        ]
    }
    options = {
        "code2": {
            "modifier_settings": {
                "normsys": {"interpcode": "code4"},
                "histosys": {"interpcode": "code2"},
            }
        },
        "clip": {"clip_bin_data": 0.0},
        "batch": {"batch_size": 2},
    }[broken]
    with pyhf_backend("numpy"):
        model = pyhf.Model(spec, poi_name="mu", **options)
    words = {"code2": "code2", "clip": "clip", "batch": "batch size"}[broken]
    with pytest.raises(CannotCompileError, match=words):
        expand_model(model)


PAIRS = {
    "variations": {"variations": True, "ratio": 0.9},
    "shapesys": {"fakes": True, "errors": True, "variations": True},
    "staterror": {
        "fakes": True,
        "errors": True,
        "kind": "staterror",
        "fakes_norm": True,
        "variations": True,
        "signal_a": np.full(6, 0.3),
        "ratio": 1.2,
    },
}


def pair_workspace(name, rng):
    template = np.array([50, 40, 30, 25, 20, 10.0])
    options = dict(PAIRS[name])
    if options.get("variations"):
        options["variations"] = eigen_variations(3, 6, rng, 0.1)
        options["signal_variations"] = options["variations"][0]
    if options.get("fakes"):
        options["fakes"] = template * 0.3, template * 0.1
    if options.get("errors"):
        options["errors"] = template * 0.1, template * 0.05
    return make_pair(
        template,
        rng.poisson(template * 1.1),
        rng.poisson(template * 1.2),
        np.full(6, 3.0),
        **options,
    )


@pytest.mark.parametrize("name", PAIRS)
def test_profile_derivatives_are_the_schur_complement_of_pyhfs(name):
    from ddphf.likelihood.paired.profile import profile

    rng = np.random.default_rng(4)
    reference = ReferenceModel(pair_workspace(name, rng))
    pair = CompiledModel.from_reference(reference).pair
    assert pair is not None
    where = pair.places.global_
    theta = reference.parameters.init[where] + 0.3 * rng.normal(size=len(where))
    compiled = jax.jit(profile, static_argnums=0)
    point = compiled(pair.structure, pair.arrays, theta, pair.split(reference.data))
    point = jax.tree.map(np.asarray, point)
    x = reference.parameters.init.copy()
    x[where], x[pair.places.b] = theta, point.cell.b
    for side, index in zip(point.cell.sides, pair.places.gamma, strict=True):
        if side.gamma is not None:
            x[index] = side.gamma
    gradient = reference.value_and_gradient(x)[1] / 2
    hessian = reference.hessian(x) / 2
    local = np.setdiff1d(np.arange(len(x)), where)
    # Tolerances: rounding of sums of order 1e2.
    np.testing.assert_allclose(gradient[local], 0, atol=1e-11)
    np.testing.assert_allclose(point.gradient, gradient[where], atol=1e-11)
    cross = hessian[np.ix_(where, local)]
    schur = hessian[np.ix_(where, where)] - cross @ np.linalg.solve(
        hessian[np.ix_(local, local)], cross.T
    )
    np.testing.assert_allclose(point.hessian, schur, rtol=0, atol=1e-11 * np.abs(schur).max())


@pytest.mark.parametrize("name", ["staterror", "general"])
def test_arrowhead_is_the_dense_hessian(name):
    from ddphf.likelihood.general.derivatives import Model, evaluate

    rng = np.random.default_rng(5)
    workspace = pair_workspace("staterror", rng)
    if name == "general":  # no pair any more, and a cell of four locals
        workspace["channels"][0]["samples"][0]["modifiers"].append(
            {"name": "mc_size", "type": "staterror", "data": [2.0] * 6}
        )
    reference = ReferenceModel(workspace)
    compiled = CompiledModel.from_reference(reference)
    assert (compiled.pair is None) == (name == "general")
    table = reference.parameters
    x = np.clip(table.init + 0.1 * rng.normal(size=len(table.init)), table.lower, table.upper)
    point = jax.jit(evaluate, static_argnums=0)(
        compiled.codes, Model(compiled.arrays, compiled.cells), x, reference.data
    )
    gradient, matrix = point.gradient, point.hessian
    dense, n = reference.hessian(x) / 2, len(x)
    whole = np.zeros((n + 1, n + 1))
    k = np.asarray(compiled.cells.global_)
    whole[np.ix_(k, k)] = matrix.corner
    for row, edge, block in zip(
        np.asarray(compiled.cells.local), matrix.edges, matrix.blocks, strict=True
    ):
        for i, p in enumerate(row):
            whole[p, k] = whole[k, p] = edge[i]
            whole[p, row] = block[i]
    scale = np.abs(dense).max()
    np.testing.assert_allclose(whole[:n, :n], dense, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(
        gradient, reference.value_and_gradient(x)[1] / 2, rtol=0, atol=1e-10 * scale
    )
