"""Histosys, luminosity and free factors in rows: pyhf's values, single workspaces' minima."""

import copy
import json
from dataclasses import replace

import numpy as np
import pyhf
import pytest
from conftest import invoke
from test_masses_patchset import check, of, two_channels

from ddphf import fit_workspace, limit_workspace
from ddphf.likelihood.reference import ReferenceModel
from ddphf.likelihood.rows.fits import fit_rows
from ddphf.likelihood.rows.kernel import definite, derivatives, evaluate
from ddphf.masses.check import point_of
from ddphf.masses.config import read_scan
from ddphf.masses.empty_bins import POLICIES, treat_empty_bins
from ddphf.masses.engine import ScanEngine
from ddphf.masses.examples import small_scan
from ddphf.masses.patched_rows import make_rows
from ddphf.masses.portable import array_files, read_array_files
from ddphf.masses.run import fit_scan, run_scan
from ddphf.masses.run_patchset import run_patchset
from ddphf.masses.scan import Norm, Sample, Scale, Shift
from ddphf.workspace_json import lumi_parameter


def shifted_scan():
    """Asymmetric histosys of signal and background, one shared; lumi, and a free, fixed factor."""
    scan = small_scan(n=3)
    rng = np.random.default_rng(5)
    (background,) = scan.backgrounds
    ones = np.ones(len(scan))

    def shift(name, sample, size):
        up, down = rng.uniform(0.5, 1.5, (2, *sample.yields.shape))
        return Shift(name, sample.yields * (1 + size * up), sample.yields * (1 - size * down))

    one = replace(
        background,
        shifts=(shift("tilt", background, 0.1), shift("scale", background, -0.05)),
        scales=(Scale("lumi", "lumi"),),
    )
    other = Sample(
        "other", 0.6 + 0.0 * background.yields, norms=(Norm("tilt", 1.2 * ones, 0.9 * ones),),
        scales=(Scale("free", "normfactor"), Scale("lumi", "lumi")),
    )  # fmt: skip
    signal = replace(
        scan.signal, shifts=(shift("scale", scan.signal, 0.2),), scales=(Scale("lumi", "lumi"),)
    )
    stated = (
        lumi_parameter("lumi", 0.03),
        {"name": "free", "inits": [1.3], "bounds": [[0.0, 5.0]], "fixed": True},
        {"name": "scale", "bounds": [[-1.5, 1.5]], "auxdata": [0.2], "inits": [0.1]},
    )
    return replace(
        treat_empty_bins(replace(scan, backgrounds=(one, other), signal=signal), "keep"),
        stated=stated,
    )


def free_factor():
    """A free factor of one of two backgrounds whose shapes differ."""
    scan = shifted_scan()
    first, other = scan.backgrounds
    yields = other.yields * np.linspace(0.2, 6.0, other.yields.shape[1])
    stated = tuple({k: v for k, v in entry.items() if k != "fixed"} for entry in scan.stated)
    return replace(scan, backgrounds=(first, replace(other, yields=yields)), stated=stated)


def test_values_are_those_of_pyhf():
    """2NLL at random points, bins' own parameters at their best, less that at another."""
    engine = ScanEngine(shifted_scan())
    model = engine.model
    rng = np.random.default_rng(2)
    data = model.observed
    for index in range(len(model)):
        reference = ReferenceModel(engine.scan.workspace(index))
        values = []
        for _ in range(6):
            theta = np.tile(model.start, (len(model), 1))
            free = ~model.held
            theta[:, free] += rng.normal(0.0, 0.7, free.sum()) * np.where(
                model.width[free] > 0, model.width[free], 1.0
            )
            theta[:, 0] = abs(theta[0, 0])
            own = evaluate(model, data, theta).value[index]
            fits = replace(fit_scan(engine.scan).free, theta=theta)
            place = point_of(engine, reference, fits, index, dark=False)
            values.append((2 * own, reference.twice_nll(place, backend="numpy")))
        rows, by_pyhf = np.array(values).T
        assert rows - rows[0] == pytest.approx(by_pyhf - by_pyhf[0], abs=1e-9)


def test_derivatives_are_those_of_differences():
    model = free_factor().rows()
    rng = np.random.default_rng(1)
    data, step = model.observed, 1e-5
    for _ in range(4):
        theta = np.tile(model.start, (len(model), 1))
        theta += rng.normal(0.0, 0.5, theta.shape) * np.where(model.width > 0, model.width, 0.3)
        theta[:, 0] = np.abs(theta[:, 0]) + 0.2
        gradient, hessian = derivatives(model, data, theta, evaluate(model, data, theta))
        for k in range(theta.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = theta.copy()
                moved[:, k] += sign * step
                sums = evaluate(model, data, moved)
                ends.append((sums.value, derivatives(model, data, moved, sums)[0]))
            slope, bend = ((a - b) / (2 * step) for a, b in zip(*ends, strict=True))
            assert gradient[:, k] == pytest.approx(slope, rel=1e-5, abs=1e-5)
            assert hessian[:, k] == pytest.approx(bend, rel=1e-5, abs=1e-4)
        assert np.all(np.linalg.eigvalsh(definite(model, data, theta)) > -1e-9)


@pytest.mark.parametrize("make", [shifted_scan, free_factor])
def test_rows_are_what_single_workspaces_say(make):
    scan = make()
    result = run_scan(scan, levels=(0.9,))
    assert [found["status"] for found in result.hypotheses] == ["converged"] * len(scan)
    for index, found in enumerate(result.hypotheses):
        fit = fit_workspace(scan.workspace(index))
        assert found["mu_hat"] == pytest.approx(fit.mu_hat.value, abs=2e-6)
        assert found["mu_error"] == pytest.approx(fit.mu_hat.error, rel=1e-5)
        if fit.discovery is not None:
            assert found["q0"] == pytest.approx(fit.discovery.q0, abs=1e-7)
        limit = limit_workspace(scan.workspace(index), level=0.9).asymptotic
        stated = found["limit"]["asymptotic"]
        assert stated["observed"] == pytest.approx(limit.observed, rel=1e-6)
        assert stated["expected"] == pytest.approx(limit.expected, rel=1e-6)


@pytest.mark.slow
def test_toys_of_shifted_templates_agree_with_single_workspaces():
    scan = shifted_scan().take(np.array([0]))
    rows = run_scan(scan, levels=(0.9,), methods=("toys",), toys=400, seed=1)
    one = rows.hypotheses[0]["limit"]["toys"]
    two = limit_workspace(scan.workspace(0), level=0.9, toys=400, methods=("toys",), seed=5).toys
    error = np.hypot(one["expected_error"][2], two.expected_error[2])
    assert abs(one["expected"][2] - two.expected[2]) < 4 * error


# Patchsets.


def published():
    """As experiments publish them: tilt and luminosity in both channels, a signal in both."""
    background, patchset = two_channels()
    lumi = {"name": "lumi", "type": "lumi", "data": None}
    tilt = {"name": "tilt", "type": "histosys",
            "data": {"hi_data": [5.5, 6.0, 6.5], "lo_data": [4.5, 6.1, 7.7]}}  # fmt: skip
    free = {"name": "k_bkg", "type": "normfactor", "data": None}
    one, two = (channel["samples"][0] for channel in background["channels"])
    one["modifiers"] += [tilt, lumi, free]
    two["modifiers"] += [
        {**tilt, "data": {"hi_data": [52.0], "lo_data": [47.0]}}, lumi, free,
    ]  # fmt: skip
    background["measurements"][0]["config"]["parameters"] += [
        {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.9, 1.1]],
         "inits": [1.0]},
        {"name": "tilt", "bounds": [[-3.0, 3.0]], "inits": [0.0]},
        {"name": "k_bkg", "bounds": [[0.2, 3.0]], "inits": [1.0]},
    ]  # fmt: skip
    for number, entry in enumerate(patchset["patches"]):
        for step, share in zip(entry["patch"], (1.1, 1.3), strict=True):
            value = step["value"]
            data = {"hi_data": [share * x for x in value["data"]],
                    "lo_data": [x / share for x in value["data"]]}  # fmt: skip
            value["modifiers"] += [{"name": "tilt", "type": "histosys", "data": data}, lumi]
        norm = {"name": "only_here", "type": "normsys", "data": {"hi": 1.2, "lo": 0.9}}
        entry["patch"][number]["value"]["modifiers"].append(norm)
    return background, patchset


def test_published_patchsets_are_rows():
    found = of(*published())
    scan = make_rows(found)
    assert [sample.name for sample in scan.signals] == ["SR.signal", "CR.signal"]
    result = run_patchset(found, levels=(0.9,))
    assert not any("one by one" in line for line in result.warnings)
    check(found, result)
    for index in range(len(found)):  # the points in pyhf's order, channels apart
        reference = ReferenceModel(dict(found.workspace(index)))
        assert {"lumi", "tilt", "k_bkg"} <= set(reference.parameters.names)


def test_a_signal_in_some_hypotheses_of_a_channel():
    background, patchset = published()
    patchset["patches"][0]["patch"] = patchset["patches"][0]["patch"][:1]
    found = of(background, patchset)
    result = run_patchset(found, levels=(0.9,))
    assert not any("one by one" in line for line in result.warnings)
    check(found, result)


# Scan files.


def write(folder, **changes):
    document = {
        "schema": "ddphf/masses/1",
        "name": "shifted",
        "parameter": {"name": "m", "values": [1.0, 2.0]},
        "observed": [[6, 8, 7], [5, 6, 9]],
        "luminosity": {"relative_error": 0.02},
        "background": {
            "yields": [[5.0, 6.0, 7.0], [6.0, 6.0, 6.5]],
            "error": [[0.5, 0.5, 0.6], [0.6, 0.5, 0.6]],
            "systematics": [
                {"name": "norm", "type": "normsys", "up": 1.1, "down": 0.9},
                {"name": "tilt", "type": "histosys", "relative": True,
                 "up": [[1.1, 1.0, 0.9], [1.2, 1.0, 0.8]],
                 "down": [[0.95, 1.0, 1.1], [0.85, 1.0, 1.15]]},
                {"type": "lumi"},
            ],
        },
        "signal": {
            "yields": [[1.0, 2.0, 0.5], [0.5, 2.0, 1.5]],
            "systematics": [
                {"name": "tilt", "type": "histosys",
                 "up": [[1.1, 2.0, 0.6], [0.6, 2.0, 1.7]],
                 "down": [[0.9, 2.0, 0.4], [0.4, 2.0, 1.2]]},
                {"type": "lumi"},
            ],
        },
        "poi": {"name": "mu", "bounds": [0, 40]},
    }  # fmt: skip
    document |= changes
    (folder / "scan.yml").write_text(json.dumps(document))
    return folder / "scan.yml"


def test_a_scan_file_with_them(tmp_path):
    """By the command, and pyhf's own fit of the workspace that is written."""
    path = write(tmp_path)
    line = ["masses", str(path), "-o", str(tmp_path / "m.json"), "--workspaces", str(tmp_path)]
    outcome = invoke(*line)
    assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "m.json").read_text())
    scan, _ = read_scan(str(path))
    for index, found in enumerate(record["hypotheses"]):
        spec = scan.workspace(index)
        kinds = {m["type"] for s in spec["channels"][0]["samples"] for m in s["modifiers"]}
        assert kinds == {"normsys", "histosys", "lumi", "staterror", "normfactor"}
        workspace = pyhf.Workspace(spec)
        model = workspace.model()
        best, value = pyhf.infer.mle.fit(workspace.data(model), model, return_fitted_val=True)
        _, null = pyhf.infer.mle.fixed_poi_fit(
            0.0, workspace.data(model), model, return_fitted_val=True
        )
        assert found["mu_hat"] == pytest.approx(best[model.config.poi_index], abs=2e-3)
        assert abs(found["q0"]) == pytest.approx(null - value, abs=1e-4)


def test_arrays_give_back_all_of_it():
    scan = free_factor()
    again = read_array_files(array_files(scan))
    for index in range(len(scan)):
        assert again.workspace(index) == scan.workspace(index)


@pytest.mark.parametrize("policy", POLICIES)
def test_shifts_go_with_their_bins(policy):
    """What is done to bins is done to templates and their shifts alike."""
    scan = small_scan()
    (background,) = scan.backgrounds
    shift = Shift("tilt", 1.2 * background.yields, 0.9 * background.yields)
    scan = treat_empty_bins(
        replace(scan, backgrounds=(replace(background, shifts=(shift,)),)), policy
    )
    (changed,) = scan.backgrounds
    told = scan.empty & (policy == "floor")
    moved = changed.shifts[0].up - changed.yields
    assert moved == pytest.approx(np.where(told, 0.0, 0.2 * changed.yields))


def test_a_background_that_a_shift_makes_is_no_signal_alone():
    scan = small_scan()
    (background,) = scan.backgrounds
    up = background.yields + np.where(background.yields == 0, 0.3, 0.0)
    shift = Shift("more", up, background.yields)
    counts = scan.counts.copy()
    counts[-1, -1] = 1.0
    scan = replace(scan, counts=counts, backgrounds=(replace(background, shifts=(shift,)),))
    scan = treat_empty_bins(scan, "keep")
    result = run_scan(scan)
    assert result.hypotheses[-1]["q0"] is not None
    assert result.hypotheses[-1]["empty_bins"]["with_events"] == 0


def test_deep_copies_do_not_matter():
    """A patchset that is read twice makes the same rows."""
    base, patchset = published()
    one = make_rows(of(copy.deepcopy(base), copy.deepcopy(patchset)))
    two = make_rows(of(base, patchset))
    assert one.workspace(0) == two.workspace(0)


# Several minima.


def one_sided_scan(n=100, bins=7):
    """Up and down of all correlated errors are drawn apart, so that many move bins the same way."""
    rng = np.random.default_rng(3)
    background, signal = rng.uniform(0.3, 12.0, (n, bins)), rng.uniform(0.0, 3.0, (n, bins))

    def shift(name, y):
        up, down = np.maximum(y * (1 + 0.3 * rng.normal(size=(2, *y.shape))), 0.0)
        return Shift(name, up, down)

    one = Sample(
        "background", background, 0.2 * background,
        norms=(Norm("norm", *np.exp(0.2 * rng.normal(size=(2, n)))),),
        shifts=(shift("tilt", background), shift("scale", background)),
    )  # fmt: skip
    scan = small_scan(n=n, bins=bins)
    counts = rng.poisson(background + signal * rng.choice([0.0, 1.0, 3.0], (n, 1))).astype(float)
    return replace(
        scan, backgrounds=(one,), counts=counts,
        signal=Sample("signal", signal, shifts=(shift("scale", signal),)),
    )  # fmt: skip


def test_the_lowest_of_several_minima_is_found():
    """No start of thirty leads lower; single workspaces, which look around too, say the same."""
    scan = one_sided_scan()
    fitted = fit_scan(scan)
    engine, rng = fitted.engine, np.random.default_rng(1)
    model, n = engine.model, len(scan)
    assert set(engine.sides) == {"norm", "tilt", "scale"}
    lowest = fitted.free.value.copy()
    missed = np.zeros(n, dtype=bool)
    for _ in range(30):
        start = np.tile(model.start, (n, 1)) + 1.5 * rng.normal(size=(n, len(model.names)))
        start[:, 0] = rng.choice([0.0, 0.3, 1.0, 3.0], n)
        found = fit_rows(model, model.observed, start, model.held)
        lowest = np.where(found.ok, np.minimum(lowest, found.value), lowest)
        missed |= found.ok & (found.value > fitted.free.value + 0.01)
    assert fitted.free.ok.all()
    assert 2 * (fitted.free.value - lowest) == pytest.approx(0.0, abs=1e-6)
    assert missed.sum() > 10  # one start is not enough here
    for index in np.flatnonzero(missed)[:2].tolist():
        fit = fit_workspace(scan.workspace(index))
        assert fitted.free.theta[index, 0] == pytest.approx(fit.mu_hat.value, abs=1e-5)
        assert fitted.q0[index] == pytest.approx(fit.discovery.q0, abs=1e-6)


def test_several_minima_are_said():
    result = run_scan(one_sided_scan(n=20), levels=(0.9,))
    said = {line.split(":")[0] for line in result.warnings if "several minima" in line}
    assert said == {f"systematic {x}" for x in ("'norm' of 'background'", "'tilt'", "'scale'")}
