"""From events and maps to the workspace: ratio, composition and variations by hand."""

import copy
import json
import re
import time
import tracemalloc
from pathlib import Path

import awkward as ak
import numpy as np
import pyhf
import pytest
import uproot
import yaml
from conftest import ANALYSIS, invoke, write_analysis

from ddphf.config.analysis import parse_analysis, read_analysis
from ddphf.exceptions import ConfigError, InputError, ModelError
from ddphf.inference.fit import fit_workspace
from ddphf.inputs.covariance import make_covariance
from ddphf.studies.closure import restore_workspace, summarize_closure
from ddphf.symmetry.closure import close_pair
from ddphf.symmetry.efficiency import LeptonId
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace

MASS = [30.0, 40.0, 50.0, 60.0, 70.0]
PT = [10.0, 20.0, 30.0, 60.0]
ELECTRON = {
    "value": [0.6, 0.7, 0.8],
    "statistical": [0.006, 0.005, 0.004],
    "tag": [0.012, 0.007, 0.004],
}
MUON = {
    "value": [0.9, 0.92, 0.95],
    "statistical": [0.004, 0.003, 0.003],
    "tag": [0.005, 0.004, 0.004],
}

EVENT_ANALYSIS = {
    "schema": "ddphf/analysis/1",
    "name": "from_events",
    "events": {
        "file": "events.npz",
        "axes": [{"column": "mass", "unit": "GeV", "edges": {"bins": 4, "low": 30, "high": 70}}],
        "leptons": [{"flavour": "f1", "pt": "pt1"}, {"flavour": "f2", "pt": "pt2"}],
    },
    "tested": {
        "label": "mue",
        "select": "f1 == 13",
        "signal": {"events": "signal.npz", "weight": "0.25"},
        "fakes": {
            "events": "fakes.npz",
            "weight": "w",
            "systematics": [{"name": "fakes_norm", "type": "normsys", "up": 1.2, "down": 0.8}],
        },
    },
    "partner": {"label": "emu", "select": "f1 == 11"},
    "lepton_id": {
        "maps": {
            "electron": {
                "file": "electron.csv",
                "kind": "efficiency",
                "columns": {"sources": ["tag"]},
                "correlation": {"pt": 0.5},
            },
            "muon": {
                "file": "muon.csv",
                "kind": "efficiency",
                "columns": {"sources": ["tag"]},
            },
        },
        "retained": 1.0,
    },
}


def write_map(path, columns):
    lines = [",".join(["pt_low", "pt_high", *columns])]
    for i in range(3):
        lines.append(",".join(map(str, [PT[i], PT[i + 1], *(c[i] for c in columns.values())])))
    path.write_text("\n".join(lines) + "\n")


def draw(rng, n):
    pt1 = rng.uniform(20, 60, n)
    return {
        "mass": rng.uniform(25, 75, n), "pt1": pt1, "pt2": 10 + (pt1 - 10) * rng.random(n),
    }  # fmt: skip


def make_tables():
    rng = np.random.default_rng(17)
    tables = {"events": draw(rng, 4000), "signal": draw(rng, 300), "fakes": draw(rng, 500)}
    tables["events"]["f1"] = rng.choice([11, 13], 4000)
    tables["signal"]["f1"] = np.full(300, 13)
    tables["fakes"]["f1"] = np.full(500, 13)
    tables["fakes"]["w"] = rng.uniform(0.1, 0.5, 500)
    for columns in tables.values():
        columns["f2"] = 24 - columns["f1"]
    return tables


def write_event_analysis(folder, change=None, tables=None):
    for name, columns in (make_tables() if tables is None else tables).items():
        np.savez(folder / f"{name}.npz", **columns)
    write_map(folder / "electron.csv", ELECTRON)
    write_map(folder / "muon.csv", MUON)
    analysis = copy.deepcopy(EVENT_ANALYSIS)
    if change is not None:
        change(analysis)
    path = folder / "analysis.yml"
    path.write_text(yaml.safe_dump(analysis, sort_keys=False))
    return path


def by_hand():
    """Ratio and composition, event by event."""
    tables = make_tables()

    def pt_bin(pt):
        return int(np.searchsorted(PT, pt, side="right") - 1)

    num, den = np.zeros(4), np.zeros(4)
    w_b, w_a = np.zeros((4, 6)), np.zeros((4, 6))
    for name, sign in (("events", 1.0), ("fakes", -1.0)):
        columns = tables[name]
        for row in range(len(columns["mass"])):
            i = int((columns["mass"][row] - 30) // 10)
            if not 0 <= i < 4:
                continue
            weight = sign * (columns["w"][row] if name == "fakes" else 1.0)
            one, two = pt_bin(columns["pt1"][row]), pt_bin(columns["pt2"][row])
            eff_b = MUON["value"][one] * ELECTRON["value"][two]
            eff_a = ELECTRON["value"][one] * MUON["value"][two]
            p = eff_b / (eff_a + eff_b)
            num[i] += weight * p
            den[i] += weight * (1 - p)
            w_b[i, 3 + one] += weight * p
            w_b[i, two] += weight * p
            w_a[i, one] += weight * (1 - p)
            w_a[i, 3 + two] += weight * (1 - p)
    signal = tables["signal"]
    w_s, total = np.zeros((4, 6)), np.zeros(4)
    for row in range(300):
        i = int((signal["mass"][row] - 30) // 10)
        if 0 <= i < 4:
            total[i] += 1
            w_s[i, 3 + pt_bin(signal["pt1"][row])] += 1
            w_s[i, pt_bin(signal["pt2"][row])] += 1
    return num / den, w_b / num[:, None], w_a / den[:, None], w_s / total[:, None]


def covariance_by_hand():
    e, mu = ({k: np.array(v) for k, v in c.items()} for c in (ELECTRON, MUON))
    out = np.zeros((6, 6))
    u = e["tag"] / e["value"]
    out[:3, :3] = np.outer(u, u) * (0.5 + 0.5 * np.eye(3)) + np.diag(
        (e["statistical"] / e["value"]) ** 2
    )
    u = mu["tag"] / mu["value"]
    out[3:, 3:] = np.outer(u, u) + np.diag((mu["statistical"] / mu["value"]) ** 2)
    return out


@pytest.fixture
def built(folder):
    path = write_event_analysis(folder)
    return build_workspace(load_pair(read_analysis(path)), signal_scale=1.0)


def test_ratio_and_composition_by_hand(folder):
    pair = load_pair(read_analysis(write_event_analysis(folder)))
    ratio, w_b, w_a, w_s = by_hand()
    assert pair.efficiency_ratio.flat == pytest.approx(ratio, rel=1e-12)
    assert pair.lepton_id.tested == pytest.approx(w_b, abs=1e-12)
    assert pair.lepton_id.partner == pytest.approx(w_a, abs=1e-12)
    assert pair.lepton_id.signal_tested == pytest.approx(w_s, abs=1e-12)
    assert pair.lepton_id.covariance.matrix == pytest.approx(
        covariance_by_hand(), rel=1e-12, abs=1e-18
    )
    fakes = make_tables()["fakes"]
    filled = np.histogram(fakes["mass"], MASS, weights=fakes["w"])[0]
    squares = np.histogram(fakes["mass"], MASS, weights=fakes["w"] ** 2)[0]
    assert pair.tested.fakes.yields.flat == pytest.approx(filled, rel=1e-12)
    assert pair.tested.fakes.error.flat == pytest.approx(np.sqrt(squares), rel=1e-12)


def relative_slopes(spec, channel, sample, names):
    """Relative change per sigma of a sample, shape (M, n)."""
    found = next(c for c in spec["channels"] if c["name"] == channel)
    found = next(s for s in found["samples"] if s["name"] == sample)
    data = {m["name"]: m["data"] for m in found["modifiers"] if m["type"] == "histosys"}
    return np.stack([np.array(data[n]["hi_data"]) / found["data"] - 1 for n in names], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_expectation_at_random_nuisances_by_hand(built, seed):
    ratio, w_b, w_a, w_s = by_hand()
    count = len(built.metadata["lepton_id"]["kept"])
    assert count == 5  # six calibration bins, but one electron and one muon per event
    kept = [f"lepid_id_eig{i:02d}" for i in range(count)]
    g_b, g_a, h = (
        relative_slopes(built.workspace, channel, sample, kept)
        for channel, sample in (
            ("SR_mue", "symmetric"),
            ("CR_emu", "symmetric"),
            ("SR_mue", "signal"),
        )
    )
    stacked = np.concatenate([w_b, w_a, w_s])
    full = stacked @ covariance_by_hand() @ stacked.T
    back = np.concatenate([g_b, g_a, h])
    assert np.linalg.norm(back @ back.T - full) < 1e-12 * np.linalg.norm(full)

    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    model = pyhf.Workspace(built.workspace).model(modifier_settings=settings)
    rng = np.random.default_rng(seed)
    point = {name: np.atleast_1d(rng.uniform(0.5, 1.5, model.config.param_set(name).n_parameters))
             for name in model.config.par_order}  # fmt: skip
    names = sorted(n for n in point if n.startswith("lepid_"))
    assert names == kept
    alpha = rng.normal(size=count)
    for name, value in zip(names, alpha, strict=True):
        point[name] = np.array([value])
    point["fakes_norm"] = np.array([1.5])
    pars = np.concatenate([point[name] for name in model.config.par_order])
    expected = model.expected_actualdata(pars)

    samples = {
        (c["name"], s["name"]): np.array(s["data"])
        for c in built.workspace["channels"] for s in c["samples"]
    }  # fmt: skip
    b = samples["CR_emu", "symmetric"] * point["symmetric_shape"]
    fakes = samples["SR_mue", "fakes"] * 1.2**1.5 * point["fakes_stat_SR_mue"]
    signal = samples["SR_mue", "signal"] * point["signal_stat_SR_mue"] * point["mu"]
    rate_b = b * ratio * (1 + g_b @ alpha) + fakes + signal * (1 + h @ alpha)
    rate_a = b * (1 + g_a @ alpha)
    rates = {"CR_emu": rate_a, "SR_mue": rate_b}
    by_channel = np.concatenate([rates[name] for name in model.config.channels])
    assert expected == pytest.approx(by_channel, rel=1e-10)


def test_the_sidecar_says_what_was_kept_and_dropped(folder):
    def change(analysis):
        analysis["lepton_id"].update(retained=0.9, source="ele_mu")

    write_event_analysis(folder, change)
    outcome = invoke("build", "analysis.yml", "-o", "pair.json")
    assert outcome.code == 0
    entry = json.loads((folder / "pair.metadata.json").read_text())["lepton_id"]
    assert entry["kept"][0] == "lepid_ele_mu_eig00"
    # Six calibration bins, but one electron and one muon per event: one direction is not seen.
    assert len(entry["eigenvalues"]) == 5 == len(entry["kept"]) + entry["dropped"]
    variances = np.array(entry["ratio_variances"])
    part = variances[: len(entry["kept"])].sum() / variances.sum()
    assert entry["ratio_retained"] == pytest.approx(part, rel=1e-12)
    assert part >= 0.9
    assert entry["sigma_mu_kept"] > 0.999
    _, w_b, w_a, _ = by_hand()
    stacked = np.concatenate([w_b, w_a])
    full = stacked @ covariance_by_hand() @ stacked.T
    positive = np.linalg.eigvalsh(full)[::-1][:5]
    assert entry["eigenvalues"] == pytest.approx(positive, rel=1e-7)
    spec = json.loads((folder / "pair.json").read_text())
    kept = np.concatenate(
        [relative_slopes(spec, c, "symmetric", entry["kept"]) for c in ("SR_mue", "CR_emu")]
    )
    rest = full - kept @ kept.T
    assert entry["largest_loss"] == pytest.approx(np.abs(rest).max(), rel=1e-9)
    assert entry["squared_lengths"] == pytest.approx(np.sum(kept**2, axis=0), rel=1e-9)
    assert entry["retained"] == pytest.approx(np.trace(kept @ kept.T) / np.trace(full), rel=1e-9)
    difference = np.hstack([np.eye(4), -np.eye(4)])
    lost = np.diag(difference @ rest @ difference.T).max()
    assert entry["largest_loss_of_ratio"] == pytest.approx(lost, rel=1e-6)
    assert [m["name"] for m in entry["maps"]] == ["electron", "muon"]
    assert entry["covariance"]["digest"].startswith("sha256:")
    assert "of the trace" in outcome.err
    shown = invoke("inspect", "pair.json", "--plots", "figures")
    assert shown.code == 0
    assert "lepid_ele_mu_eig00" in shown.out
    assert "eigen-variations" in shown.out
    assert "N_sigma" in shown.out
    pair = load_pair(read_analysis(folder / "analysis.yml"))
    by_maps = close_pair(
        pair.tested.observed.flat, pair.partner.observed.flat, pair.efficiency_ratio.flat,
        pair.tested.fakes.yields.flat,
    )  # fmt: skip
    data = json.loads(invoke("inspect", "pair.json", "-o", "-").out)["closure"]
    assert data["n_sigma"]["raw_counts"] == pytest.approx(by_maps.before, rel=1e-12)
    assert data["n_sigma"]["restored"] == pytest.approx(by_maps.after, rel=1e-9)
    assert data["chi2"] == pytest.approx(by_maps.chi2, rel=1e-9)
    assert data["bins"] == 4
    assert len(list((folder / "figures").glob("lepton_id_*.png"))) == 3
    assert (folder / "figures/closure.png").read_bytes().startswith(b"\x89PNG")
    again = invoke("build", "analysis.yml", "-o", "again.json")
    assert again.code == 0
    assert (folder / "again.json").read_bytes() == (folder / "pair.json").read_bytes()


def test_the_restored_expectation_of_a_workspace_by_hand(built):
    """N_B = (N_A - f_A) r + f_B, its covariance with every error that the workspace states."""
    pairing = {"tested": "SR_mue", "partner": "CR_emu"}
    restored = restore_workspace(built.workspace, pairing)
    ratio, w_b, w_a, _ = by_hand()
    tables = make_tables()
    events, fakes = tables["events"], tables["fakes"]
    partner = np.histogram(events["mass"][events["f1"] == 11], MASS)[0]
    f_b = np.histogram(fakes["mass"], MASS, weights=fakes["w"])[0]
    squares = np.histogram(fakes["mass"], MASS, weights=fakes["w"] ** 2)[0]
    difference = w_b - w_a
    of_ratio = difference @ covariance_by_hand() @ difference.T
    shift = partner * ratio
    expected = np.diag(ratio**2 * partner + squares) + np.outer(shift, shift) * of_ratio
    expected = expected + 0.2**2 * np.outer(f_b, f_b)  # normsys 1.2 and .8
    assert restored.expected == pytest.approx(partner * ratio + f_b, rel=1e-12)
    assert restored.covariance() == pytest.approx(expected, rel=1e-9)
    summary = summarize_closure(built.workspace, pairing)["restored"]
    assert summary["error"] == pytest.approx(np.sqrt(expected.sum()), rel=1e-9)
    # What pruning dropped, kept as shapesys: alike in both channels, so twice.
    kept = copy.deepcopy(built.workspace)
    for channel in kept["channels"]:
        sample = next(s for s in channel["samples"] if s["name"] == "symmetric")
        data = [0.01 * x for x in sample["data"]]
        sample["modifiers"].append({"name": channel["name"], "type": "shapesys", "data": data})
    more = restore_workspace(kept, pairing).variance - restored.variance
    assert more == pytest.approx(2 * (0.01 * partner * ratio) ** 2, rel=1e-9)


def test_what_is_dropped_can_stay_as_one_shapesys_per_channel(folder):
    """Its variance of the ratio, all of it and no more: what is common is no error of the ratio."""

    def change(analysis):
        analysis["lepton_id"].update(at_most=1, residual="shapesys")
        for item in analysis["lepton_id"]["maps"].values():
            item.pop("correlation", None)
        write_map(folder / "electron.csv", {**ELECTRON, "statistical": [0.03, 0.02, 0.02]})
        write_map(folder / "muon.csv", {**MUON, "statistical": [0.02, 0.04, 0.03]})

    path = write_event_analysis(folder)
    analysis = yaml.safe_load(path.read_text())
    change(analysis)
    path.write_text(yaml.safe_dump(analysis))
    pair = load_pair(read_analysis(path))
    built = build_workspace(pair, signal_scale=1.0)
    assert built.metadata["lepton_id"]["kept"] == ["lepid_id_eig00"]
    _, w_b, w_a, _ = by_hand()
    matrix = pair.lepton_id.covariance.matrix
    kept = [
        relative_slopes(built.workspace, c, "symmetric", ["lepid_id_eig00"])[:, 0]
        for c in ("SR_mue", "CR_emu")
    ]
    lost = np.diag((w_b - w_a) @ matrix @ (w_b - w_a).T) - (kept[0] - kept[1]) ** 2
    errors = []
    for channel in ("SR_mue", "CR_emu"):
        spec = next(c for c in built.workspace["channels"] if c["name"] == channel)
        sample = next(s for s in spec["samples"] if s["name"] == "symmetric")
        modifier = next(m for m in sample["modifiers"] if m["type"] == "shapesys")
        assert modifier["name"] == f"lepid_id_residual_{channel}"
        errors.append(np.array(modifier["data"]) / sample["data"])
    assert np.sum(np.square(errors), axis=0) == pytest.approx(
        lost, rel=1e-9, abs=2 * 3e-4**2
    )  # smaller ones have none
    assert any("without their correlations" in line for line in built.warnings)
    result = fit_workspace(built.workspace)
    # A certified fit with a shapesys beside the shapefactor of the same sample.
    gammas = [p for p in result.fit.parameters if "residual" in p.name]
    assert len(gammas) == 8
    free = [gamma for gamma in gammas if gamma.error > 0]  # pyhf holds those of bins without one
    assert len(free) == sum(np.count_nonzero(part) for part in errors)
    for gamma in free:
        assert gamma.value == pytest.approx(1.0, abs=0.06)
        assert gamma.error < 0.05


@pytest.mark.parametrize("tolerance", [1e-3, 1e-7])
def test_rounding_in_the_workspace_stays_within_what_is_stated(folder, tolerance):
    """Background and signal of the emitted workspace: C of all of them, against C without it."""

    def relative(spec):
        rows = []
        for name, sample in (
            ("SR_mue", "symmetric"),
            ("CR_emu", "symmetric"),
            ("SR_mue", "signal"),
        ):
            channel = next(c for c in spec["channels"] if c["name"] == name)
            found = next(s for s in channel["samples"] if s["name"] == sample)
            data = {m["name"]: m["data"] for m in found["modifiers"] if m["type"] == "histosys"}
            columns = [np.array(data[n]["hi_data"]) / found["data"] - 1 for n in sorted(data)]
            rows.append(np.stack(columns, axis=1))
        return np.concatenate(rows)

    def build(rounding):
        def change(analysis):
            if rounding is not None:
                analysis["lepton_id"]["rounding"] = rounding

        pair = load_pair(read_analysis(write_event_analysis(folder, change)))
        return build_workspace(pair, signal_scale=1.0)

    exact, rounded = build(None), build(tolerance)
    g, h = relative(exact.workspace), relative(rounded.workspace)
    change = np.abs(g @ g.T - h @ h.T).max()
    bound = rounded.metadata["lepton_id"]["largest_rounding"]
    assert 0 < change <= bound <= tolerance * np.max(np.sum(g**2, axis=1)) * (1 + 1e-9)
    assert exact.metadata["lepton_id"]["largest_rounding"] == 0


def with_matrix(c_calib, w_b, w_a, **options):
    counts = {"b": [110, 85, 62, 41], "a": [120, 84, 55, 43]}
    return Pair(
        Channel("mue", counts["b"], signal=Template([2.0, 6, 5, 1])),
        Channel("emu", counts["a"]),
        lepton_id=LeptonId(make_covariance(c_calib), w_b, w_a, **options),
    )


def test_a_variation_alike_in_both_channels_is_left_out_and_said():
    w = np.array([[1.0, 0], [0.5, 0.5], [0, 1], [0.2, 0.8]])
    pair = with_matrix(1e-4 * np.eye(2), w, w, on_signal=False)
    built = build_workspace(pair, signal_scale=10.0)
    assert built.metadata["absorbed"] == ["lepid_id_eig00", "lepid_id_eig01"]
    assert sum("absorbs it" in line for line in built.warnings) == 2
    assert "histosys" not in json.dumps(built.workspace)
    # It carries the signal too: then it moves mu, and stays.
    kept = build_workspace(with_matrix(1e-4 * np.eye(2), w, w), signal_scale=10.0)
    assert kept.metadata["absorbed"] == []


def test_a_common_relative_factor_changes_no_q0():
    w_b, w_a = np.eye(4)[:, :3] + 0.1, np.eye(4)[:, 1:] + 0.2
    plain = build_workspace(with_matrix(1e-4 * np.eye(3), w_b, w_a), signal_scale=10.0).workspace
    common = copy.deepcopy(plain)
    for channel in common["channels"]:
        for sample in channel["samples"]:
            if sample["name"] == "symmetric":
                up = [1.03 * x for x in sample["data"]]
                down = [0.97 * x for x in sample["data"]]
                data = {"hi_data": up, "lo_data": down}
                sample["modifiers"].append({"name": "common", "type": "histosys", "data": data})
    one, two = (fit_workspace(spec) for spec in (plain, common))
    # Four fits, each certified to 1e-8 in 2NLL.
    assert two.discovery.q0 == pytest.approx(one.discovery.q0, abs=4e-8)
    assert two.mu_hat.value == pytest.approx(one.mu_hat.value, abs=1e-6)


def full_size(rows=784, bins=54):
    rng = np.random.default_rng(1)
    signal = np.zeros(rows)
    signal[300:336] = 30.0
    root = 0.003 * rng.standard_normal((2 * bins, 2 * bins))
    parts = rng.dirichlet(np.ones(bins), size=(4, rows))
    return Pair(
        Channel("mue", rng.poisson(np.full(rows, 400.0)), signal=Template(signal)),
        Channel("emu", rng.poisson(np.full(rows, 400.0))),
        efficiency_ratio=0.9,
        lepton_id=LeptonId(
            make_covariance(root @ root.T),
            np.hstack([parts[0], parts[1]]),
            np.hstack([parts[2], parts[3]]),
            at_most=20,
        ),
    )


def test_the_full_size_builds_in_two_processor_seconds_without_a_large_matrix():
    pair = full_size()
    times = []
    for _ in range(2):
        start = time.process_time()
        built = build_workspace(pair)
        times.append(time.process_time() - start)
    assert min(times) < 2.0
    assert len(built.metadata["lepton_id"]["kept"]) == 20
    tracemalloc.start()
    load = full_size()
    tracemalloc.reset_peak()
    build_workspace(load)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The workspace itself is 20 x 2 x 2 x 784 Python floats; 1568 x 1568 numbers alone are 20 MB.
    assert peak < 20e6


def test_large_errors_are_refused():
    w = np.eye(4)
    with pytest.raises(
        ModelError, match=r"channel 'SR_mue', sample 'symmetric', bin 2 .*error 0\.21"
    ):
        build_workspace(with_matrix(np.diag([1e-4, 1e-4, 0.0441, 1e-4]), w, w))
    with pytest.raises(
        ModelError, match=r"composition 'partner': shape \(4, 3\), expected \(4, 4\)"
    ):
        build_workspace(with_matrix(np.eye(4) * 1e-4, w, w[:, :3]))
    with pytest.raises(ModelError, match=r"source 'a-b', expected letters"):
        build_workspace(with_matrix(np.eye(4) * 1e-4, w, w, source="a-b"))


def test_histograms_with_a_composition_file(folder):
    """Without events: W in a file, and a user's systematic of another name beside it."""
    rng = np.random.default_rng(3)
    w = {key: rng.dirichlet(np.ones(3), size=(4, 2)).reshape(4, 6) for key in ("tested", "partner")}
    np.savez(folder / "w.npz", **w)
    write_map(folder / "electron.csv", ELECTRON)
    write_map(folder / "muon.csv", MUON)
    analysis = copy.deepcopy(ANALYSIS)
    section = {**EVENT_ANALYSIS["lepton_id"], "composition": "w.npz", "shared": []}
    analysis["lepton_id"] = section
    write_analysis(folder, analysis)
    pair = load_pair(read_analysis(folder / "analysis.yml"))
    assert np.array_equal(pair.lepton_id.tested, w["tested"])
    names = json.dumps(build_workspace(pair).workspace)
    assert "lepid_id_eig00" in names
    assert "electron_id" in names


def test_scale_factors_correct_a_stated_ratio(folder):
    def change(analysis):
        for item in analysis["lepton_id"]["maps"].values():
            item["kind"] = "scale_factor"
        analysis["efficiency_ratio"] = 0.5

    pair = load_pair(read_analysis(write_event_analysis(folder, change)))
    assert pair.efficiency_ratio.flat == pytest.approx(0.5 * by_hand()[0], rel=1e-12)


def test_scale_factors_need_the_simulated_ratio(folder):
    """Without it R would be the ratio of scale factors alone, as if the efficiencies were equal."""

    def change(analysis):
        for item in analysis["lepton_id"]["maps"].values():
            item["kind"] = "scale_factor"

    with pytest.raises(ConfigError, match="at efficiency_ratio: is missing; scale factors only"):
        read_analysis(write_event_analysis(folder, change))


def test_leptons_moved_into_the_outermost_bin_are_counted(folder):
    tables = make_tables()
    far = np.arange(4000) < 70
    tables["events"]["pt1"][far] += 1000.0
    path = write_event_analysis(folder, lambda a: a["lepton_id"].update(outside="nearest"), tables)
    lepton_id = load_pair(read_analysis(path)).lepton_id
    assert lepton_id.description["outside"] == {
        "rule": "nearest", "events_moved": {"both/observed": 70},
    }  # fmt: skip
    assert any("70 of 4000 events" in w and "outermost bin" in w for w in lepton_id.warnings)


def test_a_lepton_of_no_flavour_does_not_count_as_unmapped(folder):
    tables = make_tables()
    tables["events"]["f2"] = np.where(np.arange(4000) < 3, np.nan, tables["events"]["f2"])
    path = write_event_analysis(folder, tables=tables)
    with pytest.raises(InputError, match=r"flavour 'f2' is nan for 3 of 4000 events \(first: row"):
        load_pair(read_analysis(path))


def test_leptons_of_other_flavours_than_the_maps_are_refused(folder):
    def change(analysis):
        analysis["events"]["leptons"] = [{"flavour": 1, "pt": "pt1"}, {"flavour": 2, "pt": "pt2"}]

    with pytest.raises(InputError, match="no lepton has the flavour of a map, 11 or 13"):
        load_pair(read_analysis(write_event_analysis(folder, change)))


def test_an_analysis_reads_elements_of_jagged_branches(folder):
    """Only what an expression names is read, and a flat table beside it need not have the rest."""
    tables = make_tables()
    plain = load_pair(read_analysis(write_event_analysis(folder, tables=tables)))
    for name in ("events", "signal", "fakes"):
        with uproot.recreate(folder / f"{name}.root") as file:
            columns = dict(tables[name])
            pt1 = ak.Array(columns.pop("pt1"))
            file["t"] = {**columns, "pts": ak.concatenate([pt1[:, None], 0 * pt1[:, None]], axis=1)}

    def change(analysis):
        analysis["events"].update(file="events.root:t", select="`len(pts)` == 2")
        analysis["events"]["leptons"][0]["pt"] = "pts[0]"
        for sample in ("signal", "fakes"):
            analysis["tested"][sample]["events"] = f"{sample}.root:t"

    jagged = load_pair(read_analysis(write_event_analysis(folder, change, tables)))
    assert np.array_equal(jagged.tested.observed.values, plain.tested.observed.values)
    assert np.array_equal(jagged.efficiency_ratio.values, plain.efficiency_ratio.values)


def test_one_column_is_one_axis(folder):
    def change(analysis):
        analysis["events"]["axes"] *= 2

    with pytest.raises(ConfigError, match=r"at events.axes.1: 'mass' is an axis already"):
        read_analysis(write_event_analysis(folder, change))


def test_shared_sources_correlate_the_maps(folder):
    def change(analysis):
        del analysis["lepton_id"]["maps"]["electron"]["correlation"]
        analysis["lepton_id"]["shared"] = ["tag"]

    matrix = load_pair(
        read_analysis(write_event_analysis(folder, change))
    ).lepton_id.covariance.matrix
    u = np.array(ELECTRON["tag"]) / ELECTRON["value"]
    v = np.array(MUON["tag"]) / MUON["value"]
    assert matrix[:3, 3:] == pytest.approx(np.outer(u, v), rel=1e-12)

    def wrong(analysis):
        analysis["lepton_id"]["shared"] = ["tag"]

    with pytest.raises(InputError, match=r"'tag' has rho 0\.5 along pt in one map and 1 in map"):
        load_pair(read_analysis(write_event_analysis(folder, wrong)))

    def absent(analysis):
        analysis["lepton_id"]["shared"] = ["trigger"]

    with pytest.raises(InputError, match="'trigger' is no source of map 'electron'; it has: tag"):
        load_pair(read_analysis(write_event_analysis(folder, absent)))


def test_an_absolute_matrix_is_made_relative(folder):
    absolute = np.diag([1e-4, 2e-4, 3e-4])

    def change(analysis):
        item = analysis["lepton_id"]["maps"]["electron"]
        del item["correlation"]
        item["covariance"] = "c.npy"

    path = write_event_analysis(folder, change)
    np.save(folder / "c.npy", absolute)
    matrix = load_pair(read_analysis(path)).lepton_id.covariance.matrix
    assert np.diag(matrix)[:3] == pytest.approx(np.diag(absolute) / np.square(ELECTRON["value"]))


def test_events_outside_the_maps_are_counted_and_handled_as_asked(folder):
    tables = make_tables()
    tables["events"]["pt1"][:7] = 80.0
    tables["events"]["mass"][:7] = 45.0

    def rule(name):
        return lambda analysis: analysis["lepton_id"].update(outside=name)

    with pytest.raises(
        InputError, match=r"events\.npz: 7 of 4000 events have a lepton outside a map"
    ):
        load_pair(read_analysis(write_event_analysis(folder, None, tables)))
    excluded = load_pair(read_analysis(write_event_analysis(folder, rule("exclude"), tables)))
    nearest = load_pair(read_analysis(write_event_analysis(folder, rule("nearest"), tables)))
    counted = [
        p.tested.observed.flat.sum() + p.partner.observed.flat.sum() for p in (excluded, nearest)
    ]
    assert counted[1] - counted[0] == 7
    built = build_workspace(excluded, signal_scale=1.0)
    outside = built.metadata["lepton_id"]["outside"]
    assert outside == {"rule": "exclude", "events_excluded": {"both/observed": 7}}
    assert any("excluded, alike from both samples" in line for line in built.warnings)


def test_overlapping_samples_are_refused(folder):
    def change(analysis):
        analysis["partner"]["select"] = "f1 > 10"

    with pytest.raises(InputError, match="events are in both samples"):
        load_pair(read_analysis(write_event_analysis(folder, change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("events"), "at tested.select: there is no section 'events'"),
        (lambda a: a["tested"].update(observed="t.csv:x"), "'observed' and 'select', expected one"),
        (lambda a: a.update(efficiency_ratio=0.9), "the efficiency maps of 'lepton_id' tell it"),
        (lambda a: a["lepton_id"].update(composition="w.npz"), "the events tell it already"),
        (lambda a: a["lepton_id"]["maps"]["muon"].update(flavour=11), "both of flavour 11"),
        (lambda a: a["lepton_id"]["maps"]["muon"].update(kind="scale_factor"), "one kind"),
        (
            lambda a: a["lepton_id"]["maps"].update(lepton=a["lepton_id"]["maps"].pop("muon")),
            "at lepton_id.maps.lepton: 'flavour' is missing",
        ),
        (
            lambda a: a["lepton_id"]["maps"]["electron"].update(covariance="c.npy"),
            "a covariance matrix and a correlation model",
        ),
        (lambda a: a["lepton_id"].update(retained=1.5), "at lepton_id.retained: got 1.5"),
        (
            lambda a: a["events"]["axes"][0].update(edges=[3, 2, 1]),
            "at events.axes.0.edges: the edges do not increase",
        ),
    ],
)
def test_sections_that_contradict_themselves_are_refused(folder, change, message):
    with pytest.raises(ConfigError, match=message):
        read_analysis(write_event_analysis(folder, change))


def test_a_systematic_may_not_take_a_name_of_an_eigen_variation():
    w = np.eye(4)
    pair = with_matrix(1e-4 * np.eye(4), w, w)
    taken = Systematic("lepid_id_eig00", "histosys", np.ones(4), np.ones(4), relative=True)
    from dataclasses import replace

    clash = replace(pair, tested=replace(pair.tested, systematics=[taken]))
    with pytest.raises(ModelError, match=r"'lepid_id_eig00' \(histosys\) appears 2 times"):
        build_workspace(clash)


def test_the_documented_sections_are_valid():
    text = (Path(__file__).parents[1] / "docs/analysis_file.md").read_text()
    every = text.split("## Every key")[1]
    block = re.findall(r"```yaml\n(.*?)```", every, re.DOTALL)[1]
    analysis = parse_analysis("schema: ddphf/analysis/1\nname: x\n" + block)
    assert [item.name for item in analysis.partner.fakes.maps] == ["electron", "muon"]
    assert [item.name for item in analysis.lepton_id.maps] == ["electron", "muon"]
    assert analysis.events.axes[0].edges[:2] == (30.0, 35.0)


def test_a_stated_ratio_of_other_bins_is_refused(folder):
    def change(analysis):
        for item in analysis["lepton_id"]["maps"].values():
            item["kind"] = "scale_factor"
        analysis["efficiency_ratio"] = "ratio.csv:r"

    path = write_event_analysis(folder, change)
    (folder / "ratio.csv").write_text("mass_low,mass_high,r\n30,50,0.9\n50,70,0.8\n")
    with pytest.raises(InputError, match=r"\(ratio.csv:r\): binning \(mass 2 bins"):
        load_pair(read_analysis(path))


def test_maps_without_errors_make_no_nuisance():
    pair = with_matrix(np.zeros((4, 4)), np.eye(4), np.eye(4))
    built = build_workspace(pair, signal_scale=10.0)
    assert built.metadata["lepton_id"]["kept"] == []
    assert "lepid" not in json.dumps(built.workspace)
    assert any("state no error" in warning for warning in built.warnings)
