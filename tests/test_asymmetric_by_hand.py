"""The shipped asymmetric workspace from its events, in plain numpy, without anything of ddphf."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

FOLDER = Path(__file__).parents[1] / "workspaces/higgs_lfv_asymmetric"
BINS = 28
M = BINS * BINS
COLUMNS = ("value", "statistical", "background_model", "tag_choice")
FAKE_WEIGHT, SIGNAL_WEIGHT = 0.1, 0.034188626


def electron_map():
    """One row per bin: pT from, to, |eta| from, to, and COLUMNS."""
    with (FOLDER / "electron_id.csv").open() as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    names = ("pt_low", "pt_high", "abseta_low", "abseta_high", *COLUMNS)
    return np.array([[float(row[name]) for name in names] for row in rows])


def muon_map():
    data = json.loads((FOLDER / "muon_id.json").read_text())["corrections"][0]["data"]
    pt, eta = data["edges"]
    cells = [(i, j) for i in range(len(pt) - 1) for j in range(len(eta) - 1)]
    rows = []
    for (i, j), content in zip(cells, data["content"], strict=True):
        value = {item["key"]: item["value"] for item in content["content"]}
        rows.append([pt[i], pt[i + 1], eta[j], eta[j + 1], *(value[name] for name in COLUMNS)])
    return np.array(rows)


ELECTRON, MUON = electron_map(), muon_map()
K = len(ELECTRON) + len(MUON)


def find(calibration, pt, abseta):
    out = np.full(len(pt), -1)
    for index, (low, high, near, far) in enumerate(calibration[:, :4]):
        out[(pt >= low) & (pt < high) & (abseta >= near) & (abseta < far)] = index
    assert np.all(out >= 0)
    return out


class Events:
    """Events of one table: sample, template bin, efficiencies and calibration bins."""

    def __init__(self, name):
        table = pyarrow.parquet.read_table(FOLDER / name)
        column = {n: table.column(n).to_numpy().astype(float) for n in table.column_names}
        self.mue = (column["l1_flavour"] == 13) & (column["l2_flavour"] == 11)
        x, y = (np.floor((column[c] - low) / 5) for c, low in (("mass", 30), ("l1_pt", 10)))
        inside = (x >= 0) & (x < BINS) & (y >= 0) & (y < BINS)
        self.bin = np.where(inside, x * BINS + y, -1).astype(int)
        self.efficiency, self.cells = {"mue": 1.0, "emu": 1.0}, {"mue": [], "emu": []}
        for lepton, flavour in (("l1", {"mue": 13, "emu": 11}), ("l2", {"mue": 11, "emu": 13})):
            pt, abseta = column[f"{lepton}_pt"], np.abs(column[f"{lepton}_eta"])
            e, mu = find(ELECTRON, pt, abseta), find(MUON, pt, abseta)
            for order, code in flavour.items():
                self.efficiency[order] *= ELECTRON[e, 4] if code == 11 else MUON[mu, 4]
                self.cells[order].append(e if code == 11 else len(ELECTRON) + mu)

    def fill(self, mask, weights=1.0):
        used = mask & (self.bin >= 0)
        return np.bincount(self.bin[used], np.broadcast_to(weights, used.shape)[used], M)

    def leptons(self, order, mask, weights):
        """Weighted number of leptons per template and calibration bin, shape (M, K)."""
        used = mask & (self.bin >= 0)
        out = np.zeros((M, K))
        for cells in self.cells[order]:
            np.add.at(out, (self.bin[used], cells[used]), weights[used])
        return out


@pytest.fixture(scope="module")
def data():
    return {name: Events(f"{name}.parquet") for name in ("events", "fakes", "signal")}


@pytest.fixture(scope="module")
def workspace():
    spec = json.loads((FOLDER / "workspace.json").read_text())
    samples = {(c["name"], s["name"]): s for c in spec["channels"] for s in c["samples"]}
    return {o["name"]: np.array(o["data"]) for o in spec["observations"]}, samples


@pytest.fixture(scope="module")
def averages(data):
    """r and W of both channels, from events minus fakes of both samples."""
    sums = {"mue": np.zeros(M), "emu": np.zeros(M)}
    counts = {"mue": np.zeros((M, K)), "emu": np.zeros((M, K))}
    for events, weight in ((data["events"], 1.0), (data["fakes"], -FAKE_WEIGHT)):
        share = events.efficiency["mue"] / (events.efficiency["mue"] + events.efficiency["emu"])
        everyone = np.ones(len(share), dtype=bool)
        for order, part in (("mue", share), ("emu", 1 - share)):
            sums[order] += events.fill(everyone, weight * part)
            counts[order] += events.leptons(order, everyone, weight * part)
    w = {}
    for order, table in counts.items():
        positive = np.maximum(table, 0.0)  # fakes subtracted from a few events may leave less
        positive *= table.sum(axis=1, keepdims=True) / positive.sum(axis=1, keepdims=True)
        w[order] = positive / sums[order][:, None]
    return sums["mue"] / sums["emu"], np.vstack([w["mue"], w["emu"]])


@pytest.fixture(scope="module")
def covariance():
    """C_calib: rho = .5 along pT for electrons, named sources for muons."""
    out = np.zeros((K, K))
    e, mu = (m[:, 5:] / m[:, 4:5] for m in (ELECTRON, MUON))
    sigma = np.hypot(e[:, 1], e[:, 2])
    same_pt = ELECTRON[:, 0][:, None] == ELECTRON[:, 0][None]
    out[: len(e), : len(e)] = np.outer(sigma, sigma) * np.where(same_pt, 1.0, 0.5)
    out[len(e) :, len(e) :] = np.outer(mu[:, 1], mu[:, 1]) + np.outer(mu[:, 2], mu[:, 2])
    return out + np.diag(np.concatenate([e[:, 0], mu[:, 0]]) ** 2)


def shifts(sample, names):
    """Return the relative change per sigma of a sample, shape (M, n)."""
    nominal = np.array(sample["data"])
    by_name = {m["name"]: m["data"] for m in sample["modifiers"] if m["type"] == "histosys"}
    up, down = (np.array([by_name[n][side] for n in names]).T for side in ("hi_data", "lo_data"))
    assert np.allclose(up + down, 2 * nominal[:, None], rtol=1e-13)
    return (up - down) / 2 / np.where(nominal > 0, nominal, 1.0)[:, None]


def test_counts_fakes_and_signal(data, workspace):
    counts, samples = workspace
    for channel, mue in (("SR_mue", True), ("CR_emu", False)):
        events, fakes = data["events"], data["fakes"]
        assert np.array_equal(counts[channel], events.fill(events.mue == mue))
        number = fakes.fill(fakes.mue == mue)
        sample = samples[channel, "fakes"]
        assert sample["data"] == pytest.approx(FAKE_WEIGHT * number, rel=1e-10)
        error = next(m["data"] for m in sample["modifiers"] if m["type"] == "shapesys")
        assert error == pytest.approx(FAKE_WEIGHT * np.sqrt(number), rel=1e-10)
    signal = SIGNAL_WEIGHT * data["signal"].fill(data["signal"].mue)
    assert samples["SR_mue", "signal"]["data"] == pytest.approx(signal, rel=1e-10)


def test_ratio_and_template(workspace, averages):
    counts, samples = workspace
    ratio, _ = averages
    tested, partner = (np.array(samples[c, "symmetric"]["data"]) for c in ("SR_mue", "CR_emu"))
    assert tested / partner == pytest.approx(ratio, rel=1e-10)
    left = sum(counts[c] - np.array(samples[c, "fakes"]["data"]) for c in counts)
    assert partner == pytest.approx(np.maximum(left / (1 + ratio), 0.5), rel=1e-10)


def test_eigen_variations(data, workspace, averages, covariance):
    """By dense matrices of the 1568 bins, which the builder never forms."""
    _, samples = workspace
    entry = json.loads((FOLDER / "workspace.metadata.json").read_text())["lepton_id"]
    names = entry["kept"]
    r, w = averages
    whole = w @ covariance @ w.T
    values, vectors = np.linalg.eigh(whole)
    assert entry["eigenvalues"] == pytest.approx(values[::-1][:K], rel=1e-8)
    vectors, values = vectors[:, -K:], values[-K:]
    found = np.vstack([shifts(samples[c, "symmetric"], names) for c in ("SR_mue", "CR_emu")])
    # Each is one standard deviation along its own direction: G^T C^+ G = 1.
    units = (vectors / np.sqrt(values)).T @ found
    assert units.T @ units == pytest.approx(np.eye(len(names)), abs=1e-8)
    rest = whole - found @ found.T
    assert np.abs(rest).max() == pytest.approx(entry["largest_loss"], rel=1e-6)
    # y = B - r A and what moves it.
    b = np.array(samples["CR_emu", "symmetric"]["data"])
    contrast = np.hstack([np.diag(r * b), -np.diag(r * b)])
    variance, norm = r * b + r**2 * b, np.zeros(M)
    for channel, sign in (("SR_mue", np.ones(M)), ("CR_emu", -r)):
        fakes = np.array(samples[channel, "fakes"]["data"])
        variance = variance + sign**2 * (fakes + FAKE_WEIGHT * fakes)
        norm += sign * fakes * (1.1 - 1 / 1.1) / 2
    d = np.array(samples["SR_mue", "signal"]["data"])
    plain = np.diag(variance) + np.outer(norm, norm)
    sigma = {}
    for key, part in (("all", whole), ("kept", found @ found.T)):
        weights = np.linalg.solve(plain + contrast @ part @ contrast.T, d)
        sigma[key] = (d @ weights) ** -0.5
    assert sigma["kept"] / sigma["all"] == pytest.approx(1, abs=1e-9)
    # The first is what mu feels; without the others the ratio changes by nothing that matters.
    weights = np.linalg.solve(plain + contrast @ whole @ contrast.T, d)
    first = whole @ contrast.T @ weights
    first /= np.linalg.norm((vectors / np.sqrt(values)).T @ first)
    first *= np.sign(first[np.abs(first).argmax()])
    scale = np.abs(found).max()
    assert np.abs(found[:, 0] - first).max() < 1e-8 * scale
    root = np.sqrt(variance)
    of_ratio = contrast @ rest @ contrast.T / np.outer(root, root)
    largest = np.linalg.eigvalsh(of_ratio)[-1]
    assert largest < 0.02
    assert largest < entry["ratio_variances"][len(names)] < 2 * largest  # the signal added
    # Of the signal: cov(signal, background) = W_signal C_calib W^T = H G^T over all directions.
    signal = data["signal"]
    counts = signal.leptons("mue", signal.mue, np.ones(len(signal.mue)))
    number = signal.fill(signal.mue)
    of_signal = counts / np.where(number > 0, number, 1.0)[:, None]
    expected = of_signal @ covariance @ w.T @ (vectors / values) @ (vectors.T @ found)
    found = shifts(samples["SR_mue", "signal"], names)
    filled = number > 0
    assert np.abs(found[filled] - expected[filled]).max() < 1e-7 * scale
