"""Make the event tables and efficiency maps of the asymmetric e-mu sample.

From the truth events of ``../higgs_lfv/generate.py``: unweighted events are drawn once, and each
gets its label with probability eps_B / (eps_A + eps_B), so that A and B differ by efficiencies,
fakes and the signal alone. (Two samples filled from different smearings of the same truth events
would differ by Monte Carlo noise: pulls of 1.15 per bin.) Writes ``events.parquet``,
``fakes.parquet``, ``signal.parquet``, ``electron_id.csv`` and ``muon_id.json`` here. Needs what
``../higgs_lfv/simulate.py`` needs, and pyarrow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from correctionlib import schemav2
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "higgs_lfv"))

from detector import (  # noqa: E402
    MET_RESOLUTION,
    Pairs,
    electron_efficiency,
    muon_efficiency,
    pair_efficiencies,
    reconstruct,
)
from report import FLAT_PER_BIN, injected_strength  # noqa: E402
from simulate import (  # noqa: E402
    CHUNK,
    FAKE_FRACTION_A,
    FAKE_FRACTION_B,
    LUMINOSITY_IFB,
    MASS_EDGES_GEV,
    PT_EDGES_GEV,
    ROLES,
    SHAPE,
    Z_INJECTED,
    fake_weights,
    flat_bins,
)

Array = NDArray[np.float64]

SEED = 20261122
#: Control region: this many times as many events as expected fakes.
CONTROL_REGION = 10
SIGNAL_ROWS = 30_000
#: Maps: 9 bins in pT (GeV), 6 in |eta|.
MAP_PT = (10.0, 13.0, 16.0, 20.0, 25.0, 32.0, 40.0, 55.0, 80.0, 150.0)
MAP_ETA = (0.0, 0.2, 0.5, 1.0, 1.52, 2.0, 2.5)
#: Probes per bin of the efficiency measurement, at the lowest pT.
PROBES = 400_000
FIELDS = ("lead_pt", "lead_eta", "sub_pt", "sub_eta", "collinear_mass")


def draw_process(
    name: str, cache: Path, rng: np.random.Generator, sums: Array
) -> tuple[list[Array], list[Array], list[Array], list[Array]]:
    """Draw one background process with Poisson weights, and collect what fakes and maps need.

    Args:
        name: Key of ``ROLES``.
        cache: Directory of the truth events.
        rng: Source of randomness.
        sums: Sum of weights, and of weights times efficiency, per flavour and map bin; added to.

    Returns:
        Rows (columns FIELDS) of the drawn events; of WW the rows and weights of fake-like pairs.
    """
    role, scalar, replicas = ROLES[name]
    with np.load(cache / f"{name}.npz") as archive:
        truth = {key: archive[key] for key in archive.files if archive[key].ndim > 0}
    drawn, shape_rows, shape_weights, rest = [], [], [], []
    for start in range(0, len(truth["ht"]), CHUNK):
        rows = {key: value[start : start + CHUNK] for key, value in truth.items()}
        for swap in (False,) if role == "signal" else (False, True):
            for _ in range(replicas):
                pairs = reconstruct(
                    rows, role=role, swap=swap, scalar=scalar, rng=rng,
                    met_resolution=MET_RESOLUTION,
                )  # fmt: skip
                _, inside = flat_bins(pairs)
                table = np.stack([getattr(pairs, field) for field in FIELDS], axis=1)
                scale = LUMINOSITY_IFB * pairs.weight_fb / replicas
                eps_a, eps_b = pair_efficiencies(pairs)
                if role == "signal":
                    keep = inside & pairs.lead_is_muon
                    drawn.append(table[keep])
                    rest.append((scale * eps_b)[keep])
                    continue
                count = rng.poisson(np.where(inside, 0.5 * scale * (eps_a + eps_b), 0.0))
                drawn.append(np.repeat(table, count, axis=0))
                fill_map(pairs, 0.5 * scale * inside, sums)
                if name == "ww":
                    shape_rows.append(table[inside])
                    shape_weights.append((scale * fake_weights(pairs))[inside])
    return drawn, shape_rows, shape_weights, rest


def fill_map(pairs: Pairs, weight: Array, sums: Array) -> None:
    """Add the leptons of pairs to the mean efficiency of every map bin."""
    size = sums.shape[-1]
    for pt, eta in ((pairs.lead_pt, pairs.lead_eta), (pairs.sub_pt, pairs.sub_eta)):
        used = weight > 0
        i = np.clip(np.searchsorted(MAP_PT, pt[used], "right") - 1, 0, len(MAP_PT) - 2)
        j = np.clip(np.searchsorted(MAP_ETA, np.abs(eta[used]), "right") - 1, 0, len(MAP_ETA) - 2)
        place = i * (len(MAP_ETA) - 1) + j
        for flavour, efficiency in enumerate((electron_efficiency, muon_efficiency)):
            sums[flavour, 0] += np.bincount(place, weight[used], size)
            sums[flavour, 1] += np.bincount(
                place, weight[used] * efficiency(pt[used], eta[used]), size
            )


def flat_events(rows: Array, rng: np.random.Generator) -> Array:
    """Draw the flat entries: uniform in each bin, the other columns of a drawn event beside it."""
    pt_bin = np.floor((rows[:, 0] - PT_EDGES_GEV[0]) / 5).astype(int)
    order = np.argsort(pt_bin, kind="stable")
    starts = np.searchsorted(pt_bin[order], np.arange(SHAPE[1] + 1))
    out = []
    for j in range(SHAPE[1]):
        for i in range(SHAPE[0]):
            n = rng.poisson(2 * FLAT_PER_BIN)
            new = rows[order[rng.integers(starts[j], starts[j + 1], n)]].copy()
            pt = PT_EDGES_GEV[j] + 5 * rng.random(n)
            new[:, 2] = np.maximum(new[:, 2] * np.minimum(pt / new[:, 0], 1.0), 10.0)
            new[:, 2] = np.minimum(new[:, 2], pt)
            new[:, 0] = pt
            new[:, 4] = MASS_EDGES_GEV[i] + 5 * rng.random(n)
            out.append(new)
    return np.concatenate(out)


def efficiencies(rows: Array) -> tuple[Array, Array]:
    """True efficiency of each row with an electron leading (A) and with a muon leading (B)."""
    lead, sub = (rows[:, 0], rows[:, 1]), (rows[:, 2], rows[:, 3])
    return (
        electron_efficiency(*lead) * muon_efficiency(*sub),
        muon_efficiency(*lead) * electron_efficiency(*sub),
    )


def write_table(path: Path, rows: Array, lead_is_muon: NDArray[np.bool_], **extra: Array) -> None:
    """Write rows, rounded towards the lower edge of their bin so that none changes its bin."""
    lead = np.where(lead_is_muon, 13, 11).astype(np.int8)
    columns = {
        "l1_flavour": lead,
        "l2_flavour": (24 - lead).astype(np.int8),
        "l1_pt": (np.floor(rows[:, 0] * 10) / 10).astype(np.float32),
        "l1_eta": (np.sign(rows[:, 1]) * np.floor(np.abs(rows[:, 1]) * 50) / 50).astype(np.float32),
        "l2_pt": (np.floor(rows[:, 2] * 10) / 10).astype(np.float32),
        "l2_eta": (np.sign(rows[:, 3]) * np.floor(np.abs(rows[:, 3]) * 50) / 50).astype(np.float32),
        "mass": (np.floor(rows[:, 4] * 5) / 5).astype(np.float32),
        **extra,
    }
    # Sorted by bin: the columns then compress; the order of events means nothing.
    order = np.lexsort((columns["l2_pt"], columns["l1_pt"], columns["mass"]))
    table = pa.table({name: pa.array(values[order]) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=True)


def write_maps(sums: Array, rng: np.random.Generator) -> None:
    """Write measured efficiencies: k of n probes, and two systematic sources per flavour."""
    shape = (len(MAP_PT) - 1, len(MAP_ETA) - 1)
    pt, eta = np.meshgrid(MAP_PT[:-1], MAP_ETA[:-1], indexing="ij")
    measured = []
    for flavour in (0, 1):
        true = (sums[flavour, 1] / sums[flavour, 0]).reshape(shape)
        probes = np.round(PROBES * (10.0 / pt) ** 0.5).astype(int)
        value = rng.binomial(probes, true) / probes
        size = (0.006, 0.003)[flavour]
        measured.append(
            {
                "value": value,
                "statistical": np.sqrt(value * (1 - value) / probes),
                # Subtraction of false probes: large at low pT. Choice of the tag: towards the ends.
                "background_model": value * size * np.exp(-(pt - 10) / 15),
                "tag_choice": value * size * (0.2 + 0.4 * (eta / 2.5) ** 2),
            }
        )
    lines = ["# Electron identification: tag-and-probe on simulated Z -> ee, statistical and"]
    lines += ["# two systematic sources, absolute", "pt_low,pt_high,abseta_low,abseta_high,"
              + ",".join(measured[0])]  # fmt: skip
    for i in range(shape[0]):
        for j in range(shape[1]):
            numbers = [f"{measured[0][key][i, j]:.8f}" for key in measured[0]]
            ends = [MAP_PT[i], MAP_PT[i + 1], MAP_ETA[j], MAP_ETA[j + 1]]
            lines.append(",".join([*(f"{x:g}" for x in ends), *numbers]))
    (HERE / "electron_id.csv").write_text("\n".join(lines) + "\n")
    cells = [
        schemav2.Category(
            nodetype="category", input="kind", default=None,
            content=[
                schemav2.CategoryItem(key=key, value=round(float(values[i, j]), 8))
                for key, values in measured[1].items()
            ],
        )
        for i in range(shape[0]) for j in range(shape[1])
    ]  # fmt: skip
    correction = schemav2.Correction(
        name="muon_id",
        version=1,
        description="Muon identification: tag-and-probe on simulated Z -> mumu",
        inputs=[
            schemav2.Variable(name="pt", type="real", description="GeV"),
            schemav2.Variable(name="abseta", type="real"),
            schemav2.Variable(name="kind", type="string", description=", ".join(measured[1])),
        ],
        output=schemav2.Variable(name="efficiency", type="real"),
        data=schemav2.MultiBinning(
            nodetype="multibinning", inputs=["pt", "abseta"],
            edges=[list(MAP_PT), list(MAP_ETA)], content=cells, flow="error",
        ),
    )  # fmt: skip
    text = schemav2.CorrectionSet(schema_version=2, corrections=[correction]).model_dump_json(
        exclude_unset=True
    )
    (HERE / "muon_id.json").write_text(text + "\n")


def histogram(rows: Array, weights: Array | None = None) -> Array:
    """Fill the 28 x 28 bins."""
    edges = (MASS_EDGES_GEV, PT_EDGES_GEV)
    return np.histogram2d(rows[:, 4], rows[:, 0], bins=edges, weights=weights)[0]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("build/simulation"), metavar="DIR")
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    sums = np.zeros((2, 2, (len(MAP_PT) - 1) * (len(MAP_ETA) - 1)))
    drawn, signal_rows, signal_weights = [], [], []
    fake_rows, fake_part = [], []
    for name in ROLES:
        rows, shape_rows, shape_weights, rest = draw_process(name, args.cache, rng, sums)
        if name.startswith("signal"):
            signal_rows += rows
            signal_weights += rest
        else:
            drawn += rows
            fake_rows += shape_rows
            fake_part += shape_weights
        print(f"{name}: {sum(map(len, rows))} rows", flush=True)
    prompt = np.concatenate(drawn)
    prompt = np.concatenate([prompt, flat_events(prompt, rng)])
    eps_a, eps_b = efficiencies(prompt)
    is_b = rng.random(len(prompt)) < eps_b / (eps_a + eps_b)

    pool, part = np.concatenate(fake_rows), np.concatenate(fake_part)
    part = part / part.sum()
    total = len(prompt) / 2
    fakes = {True: FAKE_FRACTION_B * total, False: FAKE_FRACTION_A * total}  # by "muon leads"

    def draw_fakes(factor: float) -> tuple[Array, NDArray[np.bool_]]:
        counts = {muon: rng.poisson(factor * mean) for muon, mean in fakes.items()}
        rows = pool[rng.choice(len(pool), sum(counts.values()), p=part)]
        return rows, np.repeat(list(counts), list(counts.values()))

    seen, seen_muon = draw_fakes(1.0)
    control, control_muon = draw_fakes(CONTROL_REGION)

    raw_rows, raw = np.concatenate(signal_rows), np.concatenate(signal_weights)
    background_b = histogram(prompt, eps_b / (eps_a + eps_b)) + histogram(pool, fakes[True] * part)
    strength = injected_strength(background_b, histogram(raw_rows, raw), Z_INJECTED)
    expected = strength * raw.sum()
    chosen = raw_rows[rng.choice(len(raw), SIGNAL_ROWS, p=raw / raw.sum())]
    injected = raw_rows[rng.choice(len(raw), rng.poisson(expected), p=raw / raw.sum())]

    write_maps(sums, rng)
    muon_leads = np.concatenate([is_b, seen_muon, np.ones(len(injected), dtype=bool)])
    truth = np.repeat([0, 1, 2], [len(prompt), len(seen), len(injected)]).astype(np.int8)
    write_table(
        HERE / "events.parquet", np.concatenate([prompt, seen, injected]), muon_leads, truth=truth
    )
    write_table(HERE / "fakes.parquet", control, control_muon)
    write_table(HERE / "signal.parquet", chosen, np.ones(len(chosen), dtype=bool))
    print(f"prompt events: A {np.count_nonzero(~is_b)}, B {np.count_nonzero(is_b)}")
    print(f"expected fakes: A {fakes[False]:.0f}, B {fakes[True]:.0f}")
    print(f"signal: {expected:.2f} expected (weight {expected / SIGNAL_ROWS:.9f}), "
          f"{len(injected)} injected, BR {100 * strength:.3f} %")  # fmt: skip


if __name__ == "__main__":
    main()
