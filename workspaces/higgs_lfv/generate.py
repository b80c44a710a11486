"""Generate the truth events of the e-mu demonstration sample with Pythia 8.

Step one of two (``simulate.py`` is the second): hard process and initial-state radiation at
13 TeV, written as one compressed ``.npz`` per process. Taus are left undecayed, because Pythia's
tau decays would dominate the running time; ``simulate.py`` decays them in numpy.

Each file holds, per kept event, up to four charged leptons ordered by falling pT:

- ``leg_id`` (N, 4): PDG codes (0 = no lepton); ``leg_p4`` (N, 4, 4): px, py, pz, E in GeV;
- ``parent_p4`` (N, 4, 4): four-momentum of the boson that made a tau (0 = unpolarised tau);
- ``parent_kind`` (N, 4): 0 unpolarised, 1 W, 2 a pair of taus from one neutral boson;
- ``neutrino_p`` (N, 2): px, py of all prompt neutrinos; ``ht`` (N,): scalar sum of parton pT;
- ``weight_fb`` (N,): cross-section that the event stands for, in fb, without tau branching ratios;

and the scalars ``n_generated``, ``sigma_gen_mb`` and ``seed``. Needs ``pythia8mc==8.317.2``,
``awkward`` and ``numpy``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEPTON_SLOTS = 4
BATCH = 20_000
BASE_SEED = 20261121
#: Pythia's branching ratio of W -> l nu for one flavour.
W_TO_LEPTON = 0.108
#: Branching ratios of a 125 GeV Higgs boson [LHC Higgs cross-section working group].
H_TO_TAUTAU, H_TO_WW = 0.0627, 0.214

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000",
    "PartonLevel:MPI = off",
    "PartonLevel:FSR = off",
    "HadronLevel:all = off",
    "15:mayDecay = off",
    "TimeShower:QEDshowerByL = off",
    "25:m0 = 125",
    "Random:setSeed = on",
)
# Every event has (e+ or tau+) and (mu- or tau-). `24:onPosIfAny = 11 15` instead of these four
# lines would lose W -> tau: the per-charge commands must follow the common one.
FORCED_W = ("24:onMode = off", "24:onIfAny = 15", "24:onPosIfAny = 11", "24:onNegIfAny = 13")
FORCED_WW_FRACTION = (2 * W_TO_LEPTON) ** 2
# `25:oneChannel` fails at initialisation, so the flavour-violating channels are added to the
# Standard Model table, which is then switched off.
SIGNAL = (
    "25:addChannel = 1 0.01 101 13 -15",
    "25:addChannel = 1 0.01 101 -13 15",
    "25:onMode = off",
    "25:onIfMatch = 13 -15",
)
H_BACKGROUND = ("25:onMode = off", "25:onIfMatch = 15 -15", "25:onIfMatch = 24 -24", *FORCED_W)
GLUON_FUSION = ("HiggsSM:gg2H = on",)
VECTOR_BOSON_FUSION = ("HiggsSM:ff2Hff(t:WW) = on", "HiggsSM:ff2Hff(t:ZZ) = on")


@dataclass(frozen=True)
class Process:
    """One generated process.

    Attributes:
        settings: Pythia settings beside ``COMMON``.
        n_events: Events to generate.
        sigma_pb: Reference cross-section in pb to which the process is scaled.
        fraction: Part of ``sigma_pb`` that the forced decays leave.
        norm: ``all``: ``sigma_pb * fraction`` is shared by all events; ``mass60``: by the events
            with a tau-pair mass above 60 GeV, and the others get the same weight each;
            ``higgs``: tau pairs and W pairs are scaled to their own branching ratio.
    """

    settings: tuple[str, ...]
    n_events: int
    sigma_pb: float
    fraction: float = 1.0
    norm: str = "all"


PROCESSES: dict[str, Process] = {
    "dy": Process(
        (
            "WeakSingleBoson:ffbar2gmZ = on",
            "PhaseSpace:mHatMin = 40",
            "23:onMode = off",
            "23:onIfAny = 15",
        ),
        2_400_000,
        1950.0,
        norm="mass60",
    ),
    "ttbar": Process(
        ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *FORCED_W),
        1_000_000,
        831.8,
        FORCED_WW_FRACTION,
    ),
    "ww": Process(("WeakDoubleBoson:ffbar2WW = on", *FORCED_W), 120_000, 118.7, FORCED_WW_FRACTION),
    # One boson of WZ decays freely, both of ZZ: Z -> tau tau beside a hadronic boson counts too.
    "wz": Process(
        ("WeakDoubleBoson:ffbar2ZW = on", "23:onMode = off", "23:onIfAny = 11 13 15"),
        120_000,
        51.1,
        3 * 0.0337,
    ),
    "zz": Process(
        ("WeakDoubleBoson:ffbar2gmZgmZ = on", "23:mMin = 60", "23:mMax = 120"), 150_000, 16.9
    ),
    "h_ggf": Process((*GLUON_FUSION, *H_BACKGROUND), 80_000, 48.58, norm="higgs"),
    "h_vbf": Process((*VECTOR_BOSON_FUSION, *H_BACKGROUND), 30_000, 3.782, norm="higgs"),
    # Signal cross-section times a branching ratio of one: simulate.py scales it.
    "signal_ggf": Process((*GLUON_FUSION, *SIGNAL), 200_000, 48.58),
    "signal_vbf": Process((*VECTOR_BOSON_FUSION, *SIGNAL), 40_000, 3.782),
}


def reduce_batch(events: Any) -> dict[str, NDArray[Any]]:
    """Turn a Pythia batch into the arrays listed in the module docstring (without weights).

    Args:
        events: Awkward array of ``Pythia.nextBatch``.

    Returns:
        Arrays of one row per event, and ``is_tau_pair``, ``pair_mass`` for the normalisation.
    """
    import awkward as ak

    particles = events.prt[events.prt.status > 0]
    pid, mom = particles.id, particles.p
    pt = np.hypot(mom.px, mom.py)
    kind = abs(pid)
    charged = (kind == 11) | (kind == 13) | (kind == 15)
    neutral = (kind == 12) | (kind == 14) | (kind == 16)

    # Visible rest: partons and photons of the calorimeter's range, not the beam remnants.
    eta = np.arcsinh(mom.pz / np.maximum(pt, 1e-9))
    jets = ~charged & ~neutral & (abs(eta) < 5)
    neutrino_p = np.stack(
        [ak.to_numpy(ak.sum(component[neutral], axis=1)) for component in (mom.px, mom.py)], axis=1
    )

    order = ak.argsort(pt[charged], axis=1, ascending=False)

    def slots(values: Any, which: Any, sort: Any = None) -> NDArray[Any]:
        chosen = values[which] if sort is None else values[which][sort]
        padded = ak.fill_none(ak.pad_none(chosen, LEPTON_SLOTS, axis=1, clip=True), 0)
        return np.asarray(ak.to_numpy(padded))

    components = (mom.px, mom.py, mom.pz, mom.e)
    leg_id = slots(pid, charged, order)
    leg_p4 = np.stack([slots(c, charged, order) for c in components], axis=2)
    nu_id = slots(pid, neutral)
    nu_p4 = np.stack([slots(c, neutral) for c in components], axis=2)

    is_tau = abs(leg_id) == 15
    parent_p4 = np.zeros_like(leg_p4)
    parent_kind = np.zeros(leg_id.shape, np.int8)
    n_taus = is_tau.sum(axis=1)
    pair_p4 = (leg_p4 * is_tau[:, :, None]).sum(axis=1)
    for k in range(LEPTON_SLOTS):
        # A tau with its own (anti)neutrino comes from a W, one of two without from Z or H.
        wanted = -np.sign(leg_id[:, k]) * 16
        match = is_tau[:, k, None] & (nu_id == wanted[:, None])
        has_nu = match.any(axis=1)
        nu = nu_p4[np.arange(len(match)), match.argmax(axis=1)]
        from_pair = is_tau[:, k] & ~has_nu & (n_taus == 2)
        parent_p4[has_nu, k] = (leg_p4[:, k] + nu)[has_nu]
        parent_p4[from_pair, k] = pair_p4[from_pair]
        parent_kind[has_nu, k] = 1
        parent_kind[from_pair, k] = 2
    mass2 = pair_p4[:, 3] ** 2 - (pair_p4[:, :3] ** 2).sum(axis=1)
    return {
        "leg_id": leg_id.astype(np.int8),
        "leg_p4": leg_p4.astype(np.float32),
        "parent_p4": parent_p4.astype(np.float32),
        "parent_kind": parent_kind,
        "neutrino_p": neutrino_p.astype(np.float32),
        "ht": ak.to_numpy(ak.sum(pt[jets], axis=1)).astype(np.float32),
        "is_tau_pair": (parent_kind == 2).any(axis=1),
        "pair_mass": np.sqrt(np.maximum(mass2, 0)),
    }


def keep_visible(events: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Select events with two leptons that can pass the selection after smearing and tau decay.

    A lepton from a tau keeps its direction within a few degrees and takes a part of its
    momentum, so the bounds (pT > 7 GeV, |eta| < 2.8) are loose.
    """
    p4 = events["leg_p4"]
    pt = np.hypot(p4[:, :, 0], p4[:, :, 1])
    eta = np.arcsinh(p4[:, :, 2] / np.maximum(pt, 1e-6))
    return np.asarray(((pt > 7) & (np.abs(eta) < 2.8)).sum(axis=1) >= 2)


def event_weights(process: Process, events: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Cross-section in fb that each generated event stands for (all events, before any filter)."""
    n = len(events["ht"])
    sigma_fb = 1000 * process.sigma_pb * process.fraction
    if process.norm == "mass60":
        return np.full(n, sigma_fb / np.count_nonzero(events["pair_mass"] > 60))
    if process.norm == "higgs":
        pair = events["is_tau_pair"]
        n_pairs = int(np.count_nonzero(pair))
        return np.where(
            pair,
            sigma_fb * H_TO_TAUTAU / max(n_pairs, 1),
            sigma_fb * H_TO_WW * FORCED_WW_FRACTION / max(n - n_pairs, 1),
        )
    return np.full(n, sigma_fb / n)


def generate(name: str, seed: int, n_events: int) -> dict[str, NDArray[Any]]:
    """Generate one process.

    Args:
        name: Key of ``PROCESSES``.
        seed: Pythia's seed.
        n_events: Events to generate.

    Returns:
        The arrays of the cache file.

    Raises:
        RuntimeError: If Pythia refuses a setting or does not initialise.
    """
    import awkward as ak
    import pythia8mc  # type: ignore[import-not-found, unused-ignore]

    process = PROCESSES[name]
    pythia = pythia8mc.Pythia("", False)
    for line in (*COMMON, f"Random:seed = {seed}", *process.settings):
        if not pythia.readString(line):
            raise RuntimeError(f"process {name}: Pythia refused the setting '{line}'")
    if not pythia.init():
        raise RuntimeError(f"process {name}: Pythia did not initialise")
    parts, bookkeeping, n_generated = [], [], 0
    while n_generated < n_events:
        batch = ak.drop_none(pythia.nextBatch(min(BATCH, n_events - n_generated)))
        if len(batch) == 0:
            raise RuntimeError(f"process {name}: Pythia made no event of a whole batch")
        n_generated += len(batch)
        events = reduce_batch(batch)
        keep = keep_visible(events)
        bookkeeping.append({key: events[key] for key in ("ht", "is_tau_pair", "pair_mass")})
        parts.append({key: value[keep] for key, value in events.items()} | {"keep": keep})
    merged = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    everything = {key: np.concatenate([b[key] for b in bookkeeping]) for key in bookkeeping[0]}
    merged["weight_fb"] = event_weights(process, everything)[merged.pop("keep")]
    del merged["is_tau_pair"], merged["pair_mass"]
    merged["n_generated"] = np.array(n_generated)
    merged["sigma_gen_mb"] = np.array(pythia.infoPython().sigmaGen())
    merged["seed"] = np.array(seed)
    return merged


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("build/simulation"),
        help="directory of the truth events (default: %(default)s)",
    )
    parser.add_argument(
        "--process", nargs="+", choices=list(PROCESSES), default=list(PROCESSES), metavar="NAME"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the event numbers (default: 1)"
    )
    parser.add_argument(
        "--seed", type=int, default=BASE_SEED, help="seed; process number k uses seed + k"
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(PROCESSES):
        if name not in args.process:
            continue
        start = time.monotonic()
        events: dict[str, Any] = generate(
            name, args.seed + number, int(args.scale * PROCESSES[name].n_events)
        )
        np.savez_compressed(args.output / f"{name}.npz", **events)
        print(
            f"{name}: {events['n_generated']} generated, {len(events['ht'])} kept, "
            f"sigma {1e9 * float(events['sigma_gen_mb']):.4g} pb, "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
