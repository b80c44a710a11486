"""The general Newton: bounds, errors and covariance, steps, and the cache of compiled programs."""

import json
import os
import subprocess
import sys

import numpy as np
from engine_models import eigen_variations, make_pair
from others_data import others
from scipy import optimize

from ddphf.inference.toys.ensembles import toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.cache import enable_compilation_cache
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct import newton
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel
from ddphf.statistics.tails import FAILED

SBOTTOM = "atlas_sbottom_regionC_600_280_150/bottom-squarks.json"


def general_workspace(**changes):
    """A pair with a second factor on the shared background: no pair any more."""
    template, rng = np.array([50.0, 40.0, 30.0, 25.0]), np.random.default_rng(4)
    workspace = make_pair(
        template, [47, 45, 27, 30], [55, 38, 41, 20], np.full(4, 3.0),
        fakes=(template * 0.3, template * 0.1), errors=(template * 0.1, template * 0.05),
        kind="staterror", variations=eigen_variations(2, 4, rng, 0.1), **changes,
    )  # fmt: skip
    workspace["channels"][0]["samples"][0]["modifiers"].append(
        {"name": "mc_size", "type": "staterror", "data": [2.0] * 4}
    )
    return workspace


def dense_inverse(reference, minimum, held):
    """The inverse of pyhf's Hessian of -ln L over what is neither held nor at a bound."""
    free = np.flatnonzero(~held & ~minimum.at_bound)
    out = np.zeros((len(held), len(held)))
    block = reference.hessian(minimum.parameters)[np.ix_(free, free)] / 2
    out[np.ix_(free, free)] = np.linalg.inv(block)
    return out


def test_errors_and_covariance_are_the_inverse_of_pyhfs_hessian():
    workspace = general_workspace()
    parameters = workspace["measurements"][0]["config"]["parameters"]
    parameters[0]["bounds"] = [[-1e5, -4.0]]  # the best mu is above: held at the bound
    parameters[0]["inits"] = [-5.0]
    reference = ReferenceModel(workspace)
    model = CompiledModel.from_reference(reference)
    assert model.pair is None
    names = list(model.parameters.names)
    held = model.parameters.fixed.copy()
    held[names.index("lepid_main_eig01")] = True
    minimum = minimize(model, fixed=held)
    assert minimum.converged
    poi = model.parameters.poi
    assert minimum.parameters[poi] == -4.0
    assert minimum.at_bound[poi]
    gradient = reference.value_and_gradient(minimum.parameters)[1]
    assert gradient[poi] < -1e-3  # it would go on
    assert np.max(np.abs(gradient[~held & ~minimum.at_bound])) < 1e-5
    expected = dense_inverse(reference, minimum, held)
    np.testing.assert_allclose(minimum.errors, np.sqrt(np.diag(expected)), rtol=1e-9)
    where = [names.index(name) for name in model.global_names()]
    np.testing.assert_allclose(
        model.covariance(minimum.parameters, fixed=held),
        expected[np.ix_(where, where)],
        rtol=1e-9,
        atol=1e-12 * expected.max(),
    )


def test_a_held_parameter_is_no_direction():
    model = CompiledModel.from_reference(ReferenceModel(general_workspace()))
    everything = np.ones(len(model.parameters.names), bool)
    minimum = minimize(model, fixed=everything)
    assert minimum.converged
    assert minimum.edm == 0.0
    np.testing.assert_array_equal(minimum.parameters, model.parameters.init)
    np.testing.assert_array_equal(minimum.errors, 0.0)


def test_steps_on_a_published_workspace():
    spec = json.loads(others(SBOTTOM).read_text())
    model = CompiledModel.from_reference(ReferenceModel(spec))
    fit = newton.minimize(model.problem(), model.parameters.init)
    # 8 when this was written, 17 before: its Hessian is indefinite at the start.
    assert fit.steps <= 10
    assert fit.edm < 1e-12


def test_compiled_programs_are_kept(tmp_path, monkeypatch):
    import jax

    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        )
    }
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert enable_compilation_cache() == tmp_path / "cache" / "ddphf" / "jax"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert enable_compilation_cache() == tmp_path / ".cache" / "ddphf" / "jax"
        (tmp_path / "file").write_text("")
        assert enable_compilation_cache(tmp_path / "file") is None
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_the_second_process_compiles_nothing(tmp_path):
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(make_pair([20.0] * 3, [0, 22, 25], [0, 21, 19], [1.0] * 3)))
    command = [sys.executable, "-m", "ddphf", "fit", str(path), "-o", str(tmp_path / "fit.json")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    kept = []
    for _ in range(2):
        subprocess.run([*command, "--force"], check=True, capture_output=True, env=environment)
        kept.append(sorted(p.name for p in (tmp_path / "ddphf" / "jax").glob("*-cache")))
    assert any("minimize_one" in name for name in kept[0])
    # A small program may cross the cache's time limit in a later process; none is compiled again.
    again = {name.rsplit("-", 2)[0] for name in set(kept[1]) - set(kept[0])}
    assert not again & {name.rsplit("-", 2)[0] for name in kept[0]}


VALLEY = {
    "version": "1.0.0",
    "channels": [
        {
            "name": "control",
            "samples": [
                {"name": "background", "data": [950.0, 730.0, 935.0, 1190.0],
                 "modifiers": [{"name": "lumi", "type": "lumi", "data": None}]},
                {"name": "signal", "data": [1.9, 1.8, 0.0, 1.5],
                 "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            ],
        },
        {
            "name": "search",
            "samples": [
                {"name": "background", "data": [3.3, 1.0, 2.0],
                 "modifiers": [{"name": "lumi", "type": "lumi", "data": None},
                               {"name": "shape", "type": "shapefactor", "data": None}]},
                {"name": "signal", "data": [7.7, 7.6, 7.2],
                 "modifiers": [{"name": "lumi", "type": "lumi", "data": None},
                               {"name": "mu", "type": "normfactor", "data": None}]},
            ],
        },
    ],
    "observations": [
        {"name": "control", "data": [899.0, 741.0, 927.0, 1230.0]},
        {"name": "search", "data": [12.0, 12.0, 9.0]},
    ],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
        {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]],
         "inits": [1.0]}]}}],
}  # fmt: skip
"""Signal and background of the search are alike; what tells them apart are bounds."""


def test_a_flat_valley_that_ends_at_bounds():
    reference = ReferenceModel(VALLEY)
    model = CompiledModel.from_reference(reference)
    assert model.pair is None
    source = ToySource.conditional(model)
    toys = toy_ensemble(source, 256, seed=3)
    assert not np.any(toys.status == FAILED)
    table, rng = model.parameters, np.random.default_rng(1)
    for toy in np.flatnonzero(toys.q0 > 1e-3)[:4]:
        data = source.draw(3, int(toy))
        found = minimize(model, data=data, start=source.parameters)
        assert found.converged
        starts = [table.init, *rng.uniform(table.lower, np.minimum(table.upper, 10.0), (4, 5))]
        best = min(
            optimize.minimize(
                lambda x, data=data: min(reference.twice_nll(x, data=data), 1e9),
                start,
                bounds=np.transpose([table.lower, table.upper]),
                method="L-BFGS-B",
                options={"ftol": 1e-14},
            ).fun
            for start in starts
        )  # fmt: skip
        assert found.twice_nll < best + 1e-6


def test_factors_of_bins_without_yield_do_not_collide():
    """A shapesys and a staterror on a yield of 0: idle in every cell, so no model is refused."""

    def factors(name):
        return [
            {"name": f"sys_{name}", "type": "shapesys", "data": [0.0, 2.0, 1.0]},
            {"name": f"stat_{name}", "type": "staterror", "data": [0.0, 1.0, 1.0]},
        ]

    mu = {"name": "mu", "type": "normfactor", "data": None}
    channels = [
        {
            "name": name,
            "samples": [
                {"name": "a", "data": [9.0, 20.0, 30.0], "modifiers": [mu]},
                {"name": "b", "data": [0.0, 12.0, 9.0], "modifiers": factors(name)},
            ],
        }
        for name in ("c", "d")
    ]
    workspace = {
        "channels": channels,
        "observations": [{"name": n, "data": [8.0, 35.0, 41.0]} for n in ("c", "d")],
        "version": "1.0.0",
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    reference = ReferenceModel(workspace)
    model = CompiledModel.from_reference(reference)
    minimum = minimize(model)
    assert minimum.converged
    gradient = reference.value_and_gradient(minimum.parameters)[1]
    assert np.max(np.abs(gradient[~reference.parameters.fixed])) < 1e-6
