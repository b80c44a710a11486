"""Cases of tests/test_refusals.py for ``ddphf bumps``."""

import json

import numpy as np
from bump_data import EDGES, drawn, smooth, with_bump, write_spectrum
from conftest import invoke

from ddphf.bumps.network import Network, shipped_network

__all__ = ["BUMPS"]


def scan(counts, *options, edges=EDGES, more=None, width=("--width-bins", "1.5")):
    def prepare(folder):
        write_spectrum(folder / "spectrum.csv", {"observed": counts, **(more or {})}, edges)

    return {
        "arguments": ["bumps", "scan", "spectrum.csv", *width, "-o", "b.json", *options],
        "prepare": prepare,
    }


FALLING = drawn(smooth())


def changed(place, value):
    counts = FALLING.copy()
    counts[place] = value
    return counts


def run(line):
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err


def scanned(folder):
    write_spectrum(folder / "s.csv", {"observed": drawn(with_bump(smooth(), 25, 200.0))})
    run("bumps scan s.csv --width-bins 1.5 -o b.json")


def scanned_few(folder):
    write_spectrum(folder / "s.csv", {"observed": drawn(smooth(40, 15.0, 8.0, 0.05), 2)},
                   np.arange(41.0))  # fmt: skip
    run("bumps scan s.csv --width-bins 1 -o b.json")


def broken(folder):
    scanned(folder)
    record = json.loads((folder / "b.json").read_text())
    record["spectra"][0]["best"]["p_local"] = 0.0
    (folder / "b.json").write_text(json.dumps(record))


def no_record(folder):
    (folder / "s.json").write_text("{}")


def workspace(record, *options, prepare):
    return {
        "arguments": ["bumps", "workspace", record, "-o", "w.json", *options],
        "prepare": prepare,
    }


KINK = np.where(np.arange(50) < 25, 20000.0, 4000.0) * np.exp(-np.arange(50) / 40)


def copied(folder):
    for name in ("one.csv", "other.csv"):
        write_spectrum(folder / name, {"observed": FALLING})


def in_mev(folder):
    file = write_spectrum(folder / "s.csv", {"observed": FALLING}, 1000 * EDGES)
    text = file.read_text()
    file.write_text(text.replace("mass_low,mass_high", "mass [MeV]_low,mass [MeV]_high"))


def paired(folder):
    write_spectrum(folder / "s.csv", {"observed": FALLING})
    write_spectrum(folder / "partner.csv", {"x": FALLING, "y": FALLING})


def huge(folder):
    paired(folder)
    network = shipped_network()
    weights = {name: values * np.float32(1e36) for name, values in network.weights.items()}
    (folder / "huge.npz").write_bytes(Network(weights, network.about).to_bytes())


def scanned_pair(folder):
    write_spectrum(folder / "s.csv", {"observed": FALLING, "partner": drawn(smooth(), 2)})
    run("bumps scan s.csv --width-bins 1.5 -o b.json")


def line(text, prepare=lambda folder: None):
    return {"arguments": text.split(), "prepare": prepare}


BUMPS = {
    "too few bins for a bump": scan(FALLING[:10], edges=EDGES[:11]),
    "a spectrum of fractions": scan(changed(7, 511.5)),
    "a spectrum with a negative count": scan(changed(7, -3.0)),
    "a spectrum with a hole": scan(changed(7, np.nan)),
    "a spectrum of few events": scan(np.where(np.arange(50) < 9, 1.0, 0.0)),
    "a spectrum that rises": scan(FALLING[::-1]),
    "a spectrum that rises again": scan(np.round(1000 - 900 * np.sin(np.linspace(0, np.pi, 50)))),
    "a spectrum too narrow for the resolution": scan(
        FALLING[:20], edges=EDGES[:21], width=("--width-bins", "3")
    ),
    "a bump wider than a spectrum takes": scan(FALLING, width=("--width-bins", "20")),
    "a bump narrower than a bin": scan(FALLING, width=("--width", "0.5")),
    "a width twice": scan(FALLING, "--width", "3"),
    "no width of a bump": scan(FALLING, width=()),
    "a resolution of nothing": scan(FALLING, width=("--resolution", "muon+pion")),
    "a resolution of masses that are not in GeV": line(
        "bumps scan s.csv --resolution muon+muon -o b.json", in_mev
    ),
    "a spectrum that no smooth background describes": scan(np.round(KINK)),
    "a spectrum of one peak alone": scan(np.where(np.arange(50) == 20, 500.0, 0.0)),
    "a known background of nothing": scan(FALLING, more={"background": np.zeros(50)}),
    "a spectrum twice": {
        **scan(FALLING), "arguments": ["bumps", "scan", "spectrum.csv", "spectrum.csv",
                                       "--width-bins", "1.5", "-o", "b.json"],
    },
    "one spectrum by two names": line(
        "bumps scan one.csv other.csv --width-bins 1.5 -o b.json", copied
    ),
    "a partner of several": line(
        "bumps scan s.csv --partner partner.csv --width-bins 1.5 -o b.json", paired
    ),
    "a partner twice": scan(
        FALLING, "--partner", "spectrum.csv:partner", more={"partner": drawn(smooth(), 2)}
    ),
    "a sample that is its own partner": scan(FALLING, more={"partner": FALLING}),
    "a ratio without a partner": scan(FALLING, more={"ratio": np.ones(50)}),
    "partner and spectrum of other bins": line(
        "bumps scan s.csv --partner short.csv --width-bins 1.5 -o b.json",
        lambda folder: (
            paired(folder), write_spectrum(folder / "short.csv", {"n": FALLING[:40]}, EDGES[:41])
        ),
    ),
    "a partner of another shape": scan(FALLING, more={"partner": FALLING[::-1]}),
    "a function over a partner sample": workspace(
        "b.json", "--background", "bernstein-4", prepare=scanned_pair
    ),
    "weights that are none": line(
        "bumps scan s.csv --width-bins 1.5 --method network --weights s.csv -o b.json", paired
    ),
    "weights that give no number": line(
        "bumps scan s.csv --width-bins 1.5 --method network --weights huge.npz -o b.json", huge
    ),
    "weights for splines": scan(FALLING, "--weights", "network.npz"),
    "weights that are not there": scan(
        FALLING, "--method", "network", "--weights", "absent.npz"
    ),
    "weights on standard output": line("bumps train -o -"),
    "training without its extra": {
        **line("bumps train --steps 1 -o network.npz"), "absent": ["equinox"]
    },
    "bumps that no drawn spectrum has room for": line(
        "bumps evaluate --width-bins 1:9 -o e.json"
    ),
    "bumps that the network has never seen": line(
        "bumps evaluate --method network --width-bins .5 -o e.json"
    ),
    "no spectrum of a pattern": {
        "arguments": ["bumps", "scan", "no*.csv", "--width-bins", "1.5", "-o", "b.json"],
    },
    "a spectrum of two axes": {
        "arguments": ["bumps", "scan", "two.npz:h", "--width-bins", "1.5", "-o", "b.json"],
        "prepare": lambda folder: np.savez(
            folder / "two.npz", h=np.ones((3, 3)), edges_0=np.arange(4.0), edges_1=np.arange(4.0)
        ),
    },
    "a bump of no scan": workspace("s.json", prepare=no_record),
    "a rank that no spectrum has": workspace("b.json", "--rank", "3", prepare=scanned),
    "a background of no known name": workspace(
        "b.json", "--background", "bernstien-4", prepare=scanned
    ),
    "a damaged record of bumps": workspace("b.json", prepare=broken),
    "a workspace of a bump to a pipe": {
        **workspace("b.json", prepare=scanned),
        "arguments": ["bumps", "workspace", "b.json", "-o", "-"],
    },
    "neighbours of no number": scan(FALLING, "--combine", "jets"),
    "a page on standard output": scan(FALLING, "--page", "-"),
    "a bump outside the spectrum": scan(FALLING, "--mass", "3000"),
    "a linear background of empty bins": workspace(
        "b.json", "--background", "bernstein-4", prepare=scanned_few
    ),
    "a function of few events": workspace(
        "b.json", "--background", "exp(quadratic)", prepare=scanned_few
    ),
    "a spectrum that is not there": {
        "arguments": ["bumps", "scan", "absent.csv", "--width-bins", "1.5", "-o", "b.json"],
    },
}  # fmt: skip
