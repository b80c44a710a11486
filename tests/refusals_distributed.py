"""Cases of tests/test_refusals.py for ``--scheduler`` and ``--shard``."""

import json

import numpy as np

from ddphf.inference.fitter import Fitter
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import Shard, ToySample, save_toys
from ddphf.likelihood.reference import ReferenceModel

TOYS_NPZ = ["toys", "workspace.json", "-o", "toys.npz"]


def toys(*options):
    return {"arguments": [*TOYS_NPZ, *options]}


DISTRIBUTED = {
    "a scheduler that is none": toys("--scheduler", "cluster"),
    "no workers": toys("--scheduler", "processes:0"),
    "an address without a port": toys("--scheduler", "tcp://host"),
    "a scheduler that does not answer": toys("--scheduler", "tcp://127.0.0.1:9"),
    "a cluster without Dask": {**toys("--scheduler", "local:2"), "absent": ["distributed"]},
    "a scheduler for a fit without toys": {
        "arguments": ["fit", "workspace.json", "--scheduler", "threads"]
    },
    "a scheduler for an asymptotic discovery": {
        "arguments": ["discover", "workspace.json", "--scheduler", "threads"]
    },
    "a scheduler for an asymptotic limit": {
        "arguments": ["limit", "workspace.json", "--scheduler", "threads"]
    },
    "a scheduler for an injection without toys": {
        "arguments": ["inject", "workspace.json", "--z", "2", "--scheduler", "threads"]
    },
    "a scheduler for the closed form": {
        "arguments": ["correlations", "analysis.yml", "--toys", "0", "--scheduler", "threads"]
    },
    "a scheduler for a merge": toys("--toys", "0", "--merge", "a.npz", "--scheduler", "threads"),
    "a shard that is none": toys("--shard", "2"),
    "a shard beyond the last": toys("--shard", "5/4"),
    "more shards than blocks": toys("--toys", "2000", "--shard", "1/9"),
    "a shard and a merge": toys("--shard", "1/2", "--merge", "a.npz"),
}


def shard(number, of=3, *, seed=1, n=256, first=256, fingerprint=None):
    """Return toys as `ddphf toys --toys 800` would keep them, but for q0, which is 0."""

    def save(folder, name):
        spec = json.loads((folder / "workspace.json").read_text())
        source = ToySource.conditional(Fitter(ReferenceModel(spec)).require_compiled())
        zero = np.zeros(n)
        sample = ToySample(
            np.full(n, seed), np.arange(first, first + n), zero, zero, zero.astype(np.int8),
            zero.astype(bool), 0.0, fingerprint or source.fingerprint,
            shard=None if number is None else Shard(number, of, 800),
        )  # fmt: skip
        save_toys(sample, folder / name)

    return save


def merged(a, b=None, *options):
    files = {"a.npz": a, **({} if b is None else {"b.npz": b})}

    def prepare(folder):
        for name, save in files.items():
            save(folder, name)

    merges = [word for name in files for word in ("--merge", name)]
    return {"prepare": prepare, **toys(*(options or ("--toys", "0")), *merges)}


def resumed(a):
    return {
        "prepare": lambda folder: a(folder, "toys.npz"),
        **toys("--toys", "800", "--shard", "1/3", "--resume"),
    }


SHARDS = {
    "a shard that is missing": merged(shard(2)),
    "a shard of another seed": merged(shard(2), shard(2, seed=2)),
    "a shard of another run": merged(shard(2), shard(2, of=4)),
    "a shard among other toys": merged(shard(2), shard(None)),
    "a shard that was interrupted": merged(shard(2, n=100)),
    "a shard with toys of another": merged(shard(1)),
    "a merge that draws other toys": merged(shard(2), None, "--toys", "10"),
    "another shard in the output": resumed(shard(2)),
    "a discovery by one shard": {
        "prepare": lambda folder: shard(2)(folder, "a.npz"),
        "arguments": ["discover", "workspace.json", "--null", "toys", "--toys-file", "a.npz"],
    },
    "shards of another workspace": merged(shard(2), shard(1, fingerprint="other")),
}
