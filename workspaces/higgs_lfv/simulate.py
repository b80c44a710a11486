"""Make the histograms of the e-mu demonstration sample from the truth events of ``generate.py``.

Step two of two: decays the taus, applies the parametrised detector (``detector.py``), fills the
template, scales the signal to the injected significance, draws the two samples, and writes
``histograms.root`` here and, cut from it, in ``../higgs_lfv_window``. Prints what the README
quotes. Needs ``numpy``, ``hist`` and ``uproot``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import hist
import numpy as np
import uproot
from detector import MET_RESOLUTION, Array, Pairs, pair_efficiencies, reconstruct
from numpy.typing import NDArray
from report import FLAT_PER_BIN, injected_strength, report

SEED = 20261121
LUMINOSITY_IFB = 40.0
Z_INJECTED = 5.0
MASS_EDGES_GEV = np.arange(30.0, 170.1, 5.0)
PT_EDGES_GEV = np.arange(10.0, 150.1, 5.0)
SHAPE = (len(MASS_EDGES_GEV) - 1, len(PT_EDGES_GEV) - 1)
#: Window: collinear mass 105-145 GeV and leading pT 40-80 GeV.
WINDOW = (slice(15, 23), slice(6, 14))
#: Per process: role, scalar parent, new tau decays and smearings per truth event.
ROLES: dict[str, tuple[str, bool, int]] = {
    "dy": ("pair", False, 4),
    "ttbar": ("pair", False, 2),
    "ww": ("pair", False, 2),
    "wz": ("free", False, 2),
    "zz": ("free", False, 4),
    "h_ggf": ("pair", True, 2),
    "h_vbf": ("pair", True, 2),
    "signal_ggf": ("signal", False, 8),
    "signal_vbf": ("signal", False, 8),
}
CHUNK = 100_000
#: Signal bins below this part of the total, or with a relative error above one half, are set to 0.
MIN_SIGNAL_PART = 1e-5
#: Non-prompt leptons as a part of the background of one sample. Jets fake electrons more often
#: than muons, and softly, so most of them are the subleading electrons of sample B.
FAKE_FRACTION_A, FAKE_FRACTION_B = 0.02, 0.09
#: Below this many expected non-prompt events a bin has none.
MIN_FAKES = 0.1


def fake_weights(pairs: Pairs) -> Array:
    """Weights that turn WW pairs into the shape of W + jets with a soft false second lepton."""
    lead = np.maximum(pairs.lead_pt - 40, 0)
    return np.asarray(np.exp(-(pairs.sub_pt - 10) / 15 - lead / 60))


def flat_bins(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Flattened bin (collinear mass first, pT second) of every pair, and which are in range."""
    ix = np.floor((pairs.collinear_mass - MASS_EDGES_GEV[0]) / 5).astype(np.int64)
    iy = np.floor((pairs.lead_pt - PT_EDGES_GEV[0]) / 5).astype(np.int64)
    inside = (ix >= 0) & (ix < SHAPE[0]) & (iy >= 0) & (iy < SHAPE[1])
    return ix * SHAPE[1] + iy, inside


def fill_process(name: str, cache: Path, met_resolution: float) -> dict[str, Array]:
    """Fill one process, at ``LUMINOSITY_IFB``.

    Every pair is used with both assignments of e and mu to the leading and subleading lepton,
    except in the signal, whose leading lepton has a flavour.

    Args:
        name: Key of ``ROLES``.
        cache: Directory of the truth events.
        met_resolution: Coefficient of the missing-momentum resolution.

    Returns:
        ``a``, ``b``: expected events with e leading and with mu leading; ``b_variance``: Monte
        Carlo variance of their mean (of ``b`` for the signal), truth events taken as the
        independent unit; ``fakes``: the pairs with ``fake_weights``; ``entries``: filled pairs. All
        of shape ``SHAPE``.
    """
    role, scalar, replicas = ROLES[name]
    with np.load(cache / f"{name}.npz") as archive:
        truth = {key: archive[key] for key in archive.files if archive[key].ndim > 0}
    process_number = list(ROLES).index(name)
    n_bins = SHAPE[0] * SHAPE[1]
    total = {key: np.zeros(n_bins) for key in ("a", "b", "b_variance", "fakes", "entries")}
    for chunk_number, start in enumerate(range(0, len(truth["ht"]), CHUNK)):
        rows = {key: value[start : start + CHUNK] for key, value in truth.items()}
        rng = np.random.default_rng([SEED, process_number, chunk_number])
        keys, weights = [], []
        for swap in (False,) if role == "signal" else (False, True):
            for _ in range(replicas):
                pairs = reconstruct(
                    rows,
                    role=role,
                    swap=swap,
                    scalar=scalar,
                    rng=rng,
                    met_resolution=met_resolution,
                )
                bins, inside = flat_bins(pairs)
                eps_a, eps_b = pair_efficiencies(pairs)
                if role == "signal":
                    share_a, share_b = 1.0 * ~pairs.lead_is_muon, 1.0 * pairs.lead_is_muon
                else:
                    # Each of the two mirror pairs stands for both: half the weight.
                    share_a = share_b = np.full(len(bins), 0.5)
                scale = LUMINOSITY_IFB * pairs.weight_fb / replicas
                in_a, in_b = scale * share_a * eps_a, scale * share_b * eps_b
                fills = {
                    "a": in_a,
                    "b": in_b,
                    "fakes": scale * fake_weights(pairs),
                    "entries": np.ones(len(bins)),
                }
                for key, value in fills.items():
                    total[key] += np.bincount(bins[inside], value[inside], n_bins)
                keys.append((pairs.event * n_bins + bins)[inside])
                weights.append((in_b if role == "signal" else (in_a + in_b) / 2)[inside])
        unique, inverse = np.unique(np.concatenate(keys), return_inverse=True)
        per_event = np.bincount(inverse, np.concatenate(weights), len(unique))
        total["b_variance"] += np.bincount(unique % n_bins, per_event**2, n_bins)
    return {key: value.reshape(SHAPE) for key, value in total.items()}


def make_fakes(shape: Array, total: float) -> tuple[Array, Array]:
    """Non-prompt events per bin, of a given total and shape.

    Args:
        shape: Relative number of non-prompt events per bin.
        total: Expected non-prompt events over all bins.

    Returns:
        Expected non-prompt events, and their uncertainty: 10 % from the extrapolation, and the
        counting error of a control region of 25 times as many events.
    """
    fakes = total * shape / shape.sum()
    fakes = np.where(fakes > MIN_FAKES, fakes, 0)
    return fakes, np.sqrt((0.1 * fakes) ** 2 + fakes / 25)


def write_histograms(
    path: Path, arrays: dict[str, Array], variances: dict[str, Array], window: tuple[slice, slice]
) -> None:
    """Write the bins of ``window`` of arrays (collinear mass, pT) as 2-D ROOT histograms.

    Args:
        path: File to write.
        arrays: Bin contents by histogram name, of shape ``SHAPE``.
        variances: Variances of the Monte Carlo templates; the other histograms are unweighted.
        window: Bins to keep per axis.
    """
    mass_edges, pt_edges = (
        np.append(edges[:-1][kept], edges[1:][kept][-1]).tolist()
        for edges, kept in zip((MASS_EDGES_GEV, PT_EDGES_GEV), window, strict=True)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path, compression=uproot.ZLIB(9)) as file:
        for name, values in arrays.items():
            weighted = name in variances
            histogram: Any = hist.Hist(
                hist.axis.Variable(mass_edges, name="mass", label="collinear mass [GeV]"),
                hist.axis.Variable(pt_edges, name="pt", label="leading lepton pT [GeV]"),
                storage=hist.storage.Weight() if weighted else hist.storage.Double(),
                name=name,
            )
            if weighted:
                contents = np.stack([values[window], variances[name][window]], axis=-1)
            else:
                contents = values[window]
            histogram[...] = contents
            file[name] = histogram


def main() -> None:
    """Run the command line."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("build/simulation"), metavar="DIR")
    parser.add_argument("-o", "--output", type=Path, default=here / "histograms.root")
    parser.add_argument(
        "--window-output", type=Path, default=here.parent / "higgs_lfv_window/histograms.root"
    )
    parser.add_argument("--met-resolution", type=float, default=MET_RESOLUTION, metavar="A")
    args = parser.parse_args()

    filled = {name: fill_process(name, args.cache, args.met_resolution) for name in ROLES}
    processes = [name for name in ROLES if not name.startswith("signal")]
    in_a = np.sum([filled[n]["a"] for n in processes], axis=0)
    in_b = np.sum([filled[n]["b"] for n in processes], axis=0)
    simulated = (in_a + in_b) / 2
    background = simulated + FLAT_PER_BIN
    ratio = np.divide(in_b, in_a, out=np.full(SHAPE, in_b.sum() / in_a.sum()), where=in_a > 0)
    background_variance = np.sum([filled[n]["b_variance"] for n in processes], axis=0)

    raw = filled["signal_ggf"]["b"] + filled["signal_vbf"]["b"]
    raw_variance = filled["signal_ggf"]["b_variance"] + filled["signal_vbf"]["b_variance"]
    keep = (raw > MIN_SIGNAL_PART * raw.sum()) & (np.sqrt(raw_variance) < 0.5 * raw)
    raw, raw_variance = np.where(keep, raw, 0), np.where(keep, raw_variance, 0)
    mu = injected_strength(background, raw, Z_INJECTED)
    signal, signal_stat = mu * raw, mu * np.sqrt(raw_variance)

    rng = np.random.default_rng(SEED)
    total, shape = background.sum(), filled["ww"]["fakes"]
    fakes_a, fakes_a_error = make_fakes(shape, FAKE_FRACTION_A * total)
    fakes_b, fakes_b_error = make_fakes(shape, FAKE_FRACTION_B * total)
    arrays = {
        "background": background,
        "signal": signal,
        "signal_stat": signal_stat,
        "A_observed": rng.poisson(background).astype(float),
        "B_observed": rng.poisson(background + signal).astype(float),
        "fakes_A": fakes_a,
        "fakes_B": fakes_b,
        "fakes_A_error": fakes_a_error,
        "fakes_B_error": fakes_b_error,
        "efficiency_ratio": ratio,
    }
    variances = {"background": background_variance, "signal": signal_stat**2}
    write_histograms(args.output, arrays, variances, (slice(None), slice(None)))
    write_histograms(args.window_output, arrays, variances, WINDOW)
    report(filled, arrays, in_a=in_a, in_b=in_b, strength=mu, variance=background_variance)


if __name__ == "__main__":
    main()
