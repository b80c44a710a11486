"""Label flips of many selections: python bench_flips.py -o X [--flips N] [--selections NAME].

200 selections x 3 histograms x all rectangles of 28x28 bins on the prompt events of the shipped
asymmetric sample: processor seconds of reading, of the data, and of all flips; what drawing,
filling and scanning take of a block; and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_engine import machine

from ddphf.compute.streams import SEARCH, block_generator
from ddphf.config.analysis import parse_analysis
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.flips import FLIPS, draw_labels, draw_pulls
from ddphf.search.many import ManyHistograms, MemberScans, count_p
from ddphf.search.read_events import read_search_events

SAMPLE = Path(__file__).resolve().parents[2] / "workspaces" / "higgs_lfv_asymmetric"


def random_cuts():
    """Return 200 of 400 sets of cuts on four quantities, chosen at random."""
    levels = ((10, 20, 30, 40, 50), (10, 15, 20, 25, 30), (0.5, 1, 1.5, 2.5), (0.5, 1, 1.5, 2.5))
    every = list(itertools.product(*levels))
    chosen = sorted(np.random.default_rng(1).choice(len(every), 200, replace=False))
    texts = (
        f"l1_pt > {a} and l2_pt > {b} and abs(l1_eta) < {c} and abs(l2_eta) < {d}"
        for a, b, c, d in (every[i] for i in chosen)
    )
    return {"selections": [{"name": f"cuts {i}", "select": t} for i, t in enumerate(texts)]}


SELECTIONS = {
    "grid": lambda: {
        "grid": {
            "l1_pt": [10, 15, 20, 25, 30, 35, 40, 45, 50, 60],
            "l2_pt": [10, 12, 14, 16, 18, 20, 22, 25, 28, 32],
            "abs(l1_eta - l2_eta)": [0, 1],
        }
    },
    "momenta": lambda: {
        "grid": {"l1_pt": list(range(10, 50, 2)), "l2_pt": [10, 12, 14, 16, 18, 20, 22, 25, 28, 30]}
    },
    "central": lambda: {
        "grid": {
            "l1_pt": [10, 20, 30, 40, 50],
            "l2_pt": [10, 15, 20, 25, 30],
            "2.5 - abs(l1_eta)": [0, 1],
            "2.5 - abs(l2_eta)": [0, 0.5, 1, 1.5],
        }
    },
    "random": random_cuts,
}
"""Four sets of 200 selections: which one is searched, decides what its best window means."""


def prompt_analysis(selections="grid"):
    """Return the shipped analysis, of prompt events alone, with 200 selections."""
    data = yaml.safe_load((SAMPLE / "analysis.yml").read_text())
    data["events"]["select"] = "truth == 0"
    for role in ("tested", "partner"):
        data[role].pop("fakes")
    mass = {"column": "mass", "edges": {"bins": 28, "low": 30, "high": 170}}
    first = {"column": "l1_pt", "edges": {"bins": 28, "low": 10, "high": 150}}
    second = {"column": "l2_pt", "edges": {"bins": 28, "low": 10, "high": 94}}
    observables = [[mass, first], [mass, second], [first, second]]
    data["search"] = {"observables": observables, **SELECTIONS[selections]()}
    return parse_analysis(yaml.safe_dump(data), folder=SAMPLE)


def seconds_of(work):
    """Return processor seconds of a call, and what it returned."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def parts_of_a_block(many):
    """Return processor seconds of drawing, filling and scanning one block of all observables."""
    drawing = filling = scanning = 0.0
    rows = many.rows
    for observable in range(len(many.observables)):
        events = many.flipped(observable)
        scans = MemberScans(many, observable)
        for chosen in many.batches():
            if many.members[chosen[0]].observable != observable:
                continue
            for member in chosen:
                scans.scales(member)  # scales are made once for all blocks
            selections = [many.members[m].selection for m in chosen]
            rng = block_generator(1, SEARCH.start(FLIPS, 1))
            pulls = draw_pulls(rng, rows)

            def draw(rng=rng, pulls=pulls):
                for _ in draw_labels(rows, rng, pulls[: rows.slopes.shape[1]]):
                    pass

            drawn, _ = seconds_of(draw)
            both, (differences, pulls) = seconds_of(
                lambda events=events, selections=selections: events.flip(1, 0, selections)
            )
            drawing, filling = drawing + drawn, filling + max(both - drawn, 0.0)

            def scan(
                events=events, selections=selections, differences=differences, pulls=pulls,
                chosen=chosen, scans=scans,
            ):  # fmt: skip
                for row, member in enumerate(chosen):
                    scans.largest(member, events.terms(selections[row], differences[row], pulls))

            scanned, _ = seconds_of(scan)
            scanning += scanned
    return {"drawing_cpu_s": drawing, "filling_cpu_s": filling, "scanning_cpu_s": scanning}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--nuisances", action="store_true", help="of the maps, profiled and drawn")
    parser.add_argument("--selections", choices=SELECTIONS, default="grid")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    analysis = prompt_analysis(given.selections)
    reading, events = seconds_of(
        lambda: read_search_events(analysis, nuisances=given.nuisances, max_windows=10**6)
    )
    parts = [events.rows, events.cells, events.observables]
    del events
    data, many = seconds_of(lambda: ManyHistograms(*parts))
    parts.clear()
    flips, maxima = seconds_of(lambda: flip_maxima(many, given.flips, seed=1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    highest = maxima.max(axis=0)
    p, error, _ = count_p(float(many.statistics.max()), highest)
    result = {
        "machine": machine(),
        "load_at_start": load,
        "kernel": many.kernel,
        "selections": given.selections,
        "events": int(many.rows.event.sum()),
        "histograms": len(many.members),
        "windows": sum(m.n_windows for m in many.members),
        "nuisances": len(many.rows.names),
        "flips": given.flips,
        "reading_cpu_s": reading,
        "data_cpu_s": data,
        "flips_cpu_s": flips,
        "of_a_block_of_128": parts_of_a_block(many),
        "peak_memory_bytes": peak,
        "null_quantiles": {q: float(np.quantile(highest, float(q))) for q in ("0.5", "0.95")},
        "best": float(many.statistics.max()),
        "p": p,
        "p_error": error,
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=1))


if __name__ == "__main__":
    main()
