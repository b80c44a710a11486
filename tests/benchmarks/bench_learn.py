"""Learning: redraws, networks, and the published training, in processor seconds.

python tests/benchmarks/bench_learn.py [--large]
"""

import resource
import sys
import time

import numpy as np

from ddphf.compute.blas import one_blas_thread
from ddphf.learning.groups import group_events
from ddphf.learning.labels import make_labels
from ddphf.learning.network import NetworkTest
from ddphf.learning.nplm import AdamTest
from ddphf.learning.pool import make_pool
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.run_test import DEFAULT, judge_pool


def toy(size=2000, seed=1):
    rng = np.random.default_rng(seed)
    return rng.exponential(1 / 8, (2 * size, 1)), rng.random(2 * size) < 0.5


def cpu(work):
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def main():
    x, y = toy()
    labels = make_labels(y)
    print(f"{'what':58s}  processor s")
    pool = make_pool(x, labels, ("kernel",), widths=(0.1, 0.5))
    redraw_pool(pool, 128, seed=1)
    spent, _ = cpu(lambda: redraw_pool(pool, 20_000, seed=1))
    print(f"redraws per s and core, 4000 events x {pool.wide} features  {20_000 / spent:10.0f}")

    def default():
        made = make_pool(x, labels, DEFAULT)
        return judge_pool(made, "default", redraw_pool(made, 1000, seed=1))

    default()
    print(f"{'default, 1000 redraws, 4000 events':58s} {cpu(default)[0]:10.2f}")
    events = group_events(x, labels)
    counts = events.sums((np.random.default_rng(1).random((4000, 32)) < 0.5).astype(float))
    with one_blas_thread():
        network = cpu(lambda: NetworkTest(events).fit(counts))[0] / 32
    print(f"{'network, a t of 4 starts':58s} {network:10.4f}")
    for name, groups in (("Adam, 50 000 epochs, events in 400 groups", 400),
                         ("Adam, 50 000 epochs, every event for itself", 10**9)):  # fmt: skip
        made = group_events(8 * x, labels, groups)
        one = made.sums(y.astype(float)[:, None])
        AdamTest(made, epochs=10).fit(one)
        adam = cpu(lambda made=made, one=one: AdamTest(made).fit(one))[0]
        print(f"{name:58s} {adam:10.2f}  {adam / network:6.0f} networks, "
              f"{adam / 1e5 * 1e6:.0f} us an epoch of one fit")  # fmt: skip
    made = group_events(8 * x, labels)
    many = made.sums((np.random.default_rng(2).random((4000, 16)) < 0.5).astype(float))
    AdamTest(made, epochs=10).fit(many)
    adam = cpu(lambda: AdamTest(made).fit(many))[0] / 16
    print(f"{'the same of 16 labellings at once, each, 400 groups':58s} {adam:10.2f}  "
          f"{adam / network:6.0f} networks")  # fmt: skip
    if "--large" in sys.argv:
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(800_000, 3)), rng.random(800_000) < 0.5

        def large():
            made = make_pool(x, make_labels(y), ("kernel",))
            return made.wide, redraw_pool(made, 999, seed=1).shape

        start = time.perf_counter()
        spent, (wide, _) = cpu(large)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"800 000 events x {wide} features x 999 redraws: {spent:.0f} s of processor, "
              f"{time.perf_counter() - start:.0f} s by the clock, {memory:.1f} GB")  # fmt: skip


if __name__ == "__main__":
    main()
