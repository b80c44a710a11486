"""Blocks of work on threads, processes and Dask workers: the same bits whatever happens."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke, plain_workspace
from engine_models import make_pair
from flip_samples import draw_events, prepare
from hypothesis import given
from hypothesis import strategies as st
from test_first_hour import commands
from test_lepton_id_build import write_event_analysis
from threadpoolctl import threadpool_limits

import ddphf
from ddphf.compute.blocks import run_blocks
from ddphf.compute.runners import open_runner
from ddphf.compute.tasks import Task, do_blocks
from ddphf.compute.threads import Threads
from ddphf.compute.work import Work
from ddphf.exceptions import FitError, ModelError, UsageError
from ddphf.inference.limits.coverage import coverage_asymptotic, coverage_calibrated
from ddphf.inference.toys.ensembles import Ensemble, toy_ensemble
from ddphf.inference.toys.source import ToySource
from ddphf.inference.toys.store import load_toys
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel
from ddphf.search.aimed_flips import aim_flips
from ddphf.search.binomial import BinomialNull
from ddphf.search.boxes import make_boxes
from ddphf.search.field import make_field
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.flips import Observable
from ddphf.search.global_p import draw_maxima, estimate_global_p
from ddphf.search.kernels import Scanner
from ddphf.search.many import ManyHistograms
from ddphf.search.nuisances import Nuisances
from ddphf.search.nulls import GaussianNull
from ddphf.search.rows import LabelRows, find_cells
from ddphf.search.table import make_table
from ddphf.search.whole_statistics import whole_flips
from ddphf.studies.birman import run_study
from ddphf.studies.birman_setups import flat_setups
from ddphf.studies.correlations import toy_widths

COLUMNS = ("seed", "index", "q0", "mu_hat", "status", "at_zero")
SIZE, N = 64, 64 * 14


@pytest.fixture(scope="module")
def source():
    """Toys with a nuisance parameter: their last digits depend on what they are fitted beside."""
    flat = np.full(6, 400.0)
    signal = np.array([1.0, 10.0, 30.0, 10.0, 2.0, 0.0])
    variations = [0.05 * np.linspace(-1, 1, 6), 0.03 * np.cos(np.arange(6.0))]
    workspace = make_pair(flat, flat, flat, signal, variations=variations)
    return ToySource.conditional(CompiledModel.from_reference(ReferenceModel(workspace)))


@pytest.fixture(scope="module")
def serial(source):
    return toy_ensemble(source, N, seed=3, fit_block_size=SIZE)


@pytest.fixture(scope="module")
def processes():
    with open_runner("processes:2") as runner:
        yield runner


def assert_bits(one, other):
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def children(process_id=None):
    """Return the process ids of the worker processes of a process, this one by default."""
    found = []
    for task in Path(f"/proc/{process_id or os.getpid()}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return [child for child in found if b"ddphf.compute.worker" in command_of(child)]


def command_of(process_id):
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")


class Shuffled:
    """A runner whose blocks are done in any order, some of them late."""

    def __init__(self, width, seed, bundles=None):
        self.width, self.order, self.bundles = width, random.Random(seed), bundles
        self.asked = []

    def prepare(self, task):
        work = task.make()

        def submit(bundle):
            future = Future()
            self.asked.append((future, work, bundle))
            if len(self.asked) >= self.width:
                self.order.shuffle(self.asked)
                self.do(self.asked.pop())
            return future

        return submit

    def do(self, asked):
        future, work, bundle = asked
        if future.set_running_or_notify_cancel():
            future.set_result([work(block) for block in bundle])


class Doubling:
    def make(self):
        return lambda block: 2 * block


class Late(Shuffled):
    """Does what is left as soon as somebody waits: from a thread."""

    def prepare(self, task):
        submit = super().prepare(task)

        def submit_and_finish(bundle):
            future = submit(bundle)
            threading.Thread(target=self.finish).start()
            return future

        return submit_and_finish

    def finish(self):
        with contextlib.suppress(IndexError):
            while True:
                self.do(self.asked.pop(0))


@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 99), st.sampled_from([None, 1, 3]))
def test_pieces_come_in_the_order_of_blocks_whatever_order_they_are_done_in(
    n, width, seed, bundles
):
    said = []
    runner = Late(width, seed, bundles)
    blocks = [np.arange(k + 1) for k in range(n)]
    found = run_blocks(
        Doubling(), blocks, runner=runner, progress=lambda *counts: said.append(counts)
    )
    assert [piece.tolist() for piece in found] == [(2 * block).tolist() for block in blocks]
    total = sum(map(len, blocks))
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert len(said) == n if bundles is None else len(said) <= n
    assert {of for _, of in said} <= {total}
    assert not said or said[-1] == (total, total)


def test_a_toy_has_the_same_bits_in_any_ensemble(source, serial):
    """Other numbers of toys, parts that begin and end inside a block, blocks in another order."""
    for first, n in ((0, 40), (0, 300), (100, 333), (63, 2)):
        part = toy_ensemble(source, n, seed=3, first=first, fit_block_size=SIZE)
        for name in COLUMNS:
            whole = getattr(serial, name)[first : first + n]
            np.testing.assert_array_equal(getattr(part, name), whole)
    work = Ensemble(source, 3, SIZE)
    for block in reversed(np.split(np.arange(N), N // SIZE)):
        np.testing.assert_array_equal(work(block).q0, serial.q0[block])


def test_two_processes_one_of_which_is_killed(source, serial, processes):
    said, killed = [], []

    def progress(done, total):
        said.append((done, total))
        if len(said) == 3:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    found = toy_ensemble(
        source, N, seed=3, fit_block_size=SIZE, work=Work(count=progress, runner=processes)
    )
    assert_bits(found, serial)
    assert said == [(SIZE * (i + 1), N) for i in range(N // SIZE)]
    assert len(children()) == 2
    assert killed[0] not in children()


def test_a_block_that_is_always_lost_ends_the_work(source):
    stop = threading.Event()

    def hunt():
        while not stop.wait(0.05):
            for child in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    with open_runner("processes:1") as runner:
        hunter = threading.Thread(target=hunt)
        hunter.start()
        try:
            with pytest.raises(FitError, match=r"items 0 to 63: 4 times the worker that did them"):
                toy_ensemble(source, 100, seed=3, fit_block_size=SIZE, work=Work(runner=runner))
        finally:
            stop.set()
            hunter.join()
    assert FitError.exit_code == 4
    assert children() == []


def test_an_error_in_a_worker_is_the_error(source, processes):
    table = source.model.parameters
    fixed = table.fixed.copy()
    fixed[table.poi] = True
    held = replace(source.model, parameters=replace(table, fixed=fixed))
    with pytest.raises(ModelError, match="the POI is fixed in this measurement") as caught:
        toy_ensemble(replace(source, model=held), 10, seed=1, work=Work(runner=processes))
    assert "In a worker process" in caught.value.__notes__[0]


def test_every_statement_is_the_same_by_processes(processes):
    """Toys of the null and the expectation, importance, limits, intervals, goodness, strengths."""
    spec = plain_workspace()

    def statements(runner):
        yield ddphf.discover_workspace(
            spec, nulls=("toys", "importance"), toys=520, seed=2, runner=runner
        )
        yield ddphf.limit_workspace(
            spec, methods=("toys",), toys=100, interval=True, seed=2, runner=runner
        )
        yield ddphf.fit_workspace(spec, toys=100, goodness_toys=300, seed=2, runner=runner)
        yield ddphf.inject_signal(spec, z=2.0, toys=100, seed=2, runner=runner)[1]
        yield ddphf.scan_parameters(spec, ["mu", "symmetric_shape[0]"], points=9, runner=runner)
        ranked = ddphf.rank_parameters(spec, parameters=["symmetric_shape*"], runner=runner)
        yield replace(ranked, provenance={})
        study = run_study(toys=40, seed=1, setups=flat_setups()[:1], work=Work(runner=runner))
        yield replace(study, provenance={})

    for own, other in zip(statements(None), statements(processes), strict=True):
        assert json.dumps(own.to_dict()) == json.dumps(other.to_dict())


def test_coverage_and_correlation_studies_are_the_same_by_processes(source, processes):
    def work(runner=None):
        plain = coverage_asymptotic(source, 300, seed=1, work=Work(runner=runner))
        by_toys = coverage_calibrated(source, 6, seed=1, work=Work(runner=runner))
        models = [source.model, replace(source.model)]
        return plain, by_toys, toy_widths(models, n_toys=70, seed=1, work=Work(runner=runner))

    for one, other in zip(work(), work(processes), strict=True):
        np.testing.assert_equal(one, other)


def test_the_null_of_a_search_is_the_same_by_processes(processes):
    field = make_field(np.full((6, 6), 4), np.full((6, 6), 7), ratio=0.5)
    table = make_table(make_boxes((6, 6)), field)
    for null in (GaussianNull(table), BinomialNull(field, table)):
        scanner = Scanner(table, "both")
        one, two = (
            (
                draw_maxima(null, scanner, 1500, seed=1, work=Work(runner=runner)),
                estimate_global_p(null, scanner, 4.0, seed=1, target=0.1, work=Work(runner=runner)),
            )
            for runner in (None, processes)
        )
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1] == two[1]


def test_flips_of_a_search_are_the_same_by_processes_and_in_any_order(processes, monkeypatch):
    monkeypatch.setattr("ddphf.search.many.FIELDS", 1)  # one histogram is a batch
    columns, ratio = draw_events(400, 21)
    many = ManyHistograms(*prepare(columns, ratio, slopes=np.full((400, 1), 0.05)))
    one, *others = (
        (
            flip_maxima(many, 300, seed=1, work=Work(runner=runner)),
            whole_flips(many, "g", 300, seed=1, work=Work(runner=runner))[1],
            aim_flips(many, 4.0, 2048, seed=1, work=Work(runner=runner)),
        )
        for runner in (None, processes, Threads(2), Late(3, 1))
    )
    assert one[2].flips < 2048  # the error was small enough before
    for other in others:
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == other[2]


def test_the_null_of_a_search_does_not_depend_on_the_threads_of_blas():
    # Sums over 784 bins for each of 37 nuisances are where BLAS shares work out among threads.
    rng = np.random.default_rng(1)
    boxes = make_boxes((28, 28), "28x28,14x14")
    ratio, bins = rng.uniform(0.6, 1.2, 20_000), rng.integers(0, 784, 20_000)
    rows = LabelRows.make(
        ratio, rng.random(20_000) < 0.5, slopes=0.05 * rng.standard_normal((20_000, 37))
    )
    cells = find_cells([np.ones(20_000, dtype=bool)], 20_000)
    edges = (tuple(range(29)),) * 2
    many = ManyHistograms(rows, cells, [Observable("x, y", edges, bins, boxes)])
    nuisances = Nuisances.make((28, 28), ratio=0.05 * rng.standard_normal((37, 28, 28)))
    field = make_field(*rng.poisson(25, (2, 28, 28)), nuisances=nuisances)
    table = make_table(boxes, field)
    found = []
    for n in (1, 2):
        with threadpool_limits(limits=n, user_api="blas"):
            found.append(
                [
                    flip_maxima(many, 256, seed=1),
                    draw_maxima(BinomialNull(field, table), Scanner(table), 512, seed=1),
                    draw_maxima(GaussianNull(table), Scanner(table), 512, seed=1),
                ]
            )
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_search_of_events_by_processes_writes_the_same_file(folder):
    write_event_analysis(folder, lambda analysis: analysis.update(search={"grid": {"pt1": [20]}}))
    for name, options in (("one", []), ("two", ["--scheduler", "processes:2"])):
        line = ["search", "events", "analysis.yml", "--flips", "300", "--seed", "1", *options]
        outcome = invoke(*line, "-o", f"{name}.json")
        assert outcome.code == 0, outcome.err
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


@pytest.mark.parametrize("where", ["threads:1", "processes:2"])
def test_a_stopped_search_of_events_leaves_nothing(folder, where):
    write_event_analysis(folder, lambda analysis: analysis.update(search={"grid": {"pt1": [20]}}))
    before = {path.name for path in folder.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-c", START, "search", "events", "analysis.yml", "-v", "--flips",
         "4000000", "--scheduler", where, "-o", "s.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if "label flips" in line:
            break
    if where == "processes:2":
        wait_until(lambda: len(children(process.pid)) == 2)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    wait_until(lambda: not any(map(command_of, workers)))
    assert {path.name for path in folder.iterdir()} == before


def test_a_dask_cluster_one_of_whose_workers_is_killed(source, serial):
    said, killed = [], []
    with open_runner("local:2") as runner:
        assert runner.width == 2
        workers = runner._client.run(os.getpid)

        def progress(done, total):
            said.append((done, total))
            if len(said) == 3:
                killed.append(next(iter(workers.values())))
                os.kill(killed[0], signal.SIGKILL)

        found = toy_ensemble(
            source, N, seed=3, fit_block_size=SIZE, work=Work(count=progress, runner=runner)
        )
        assert said == [(SIZE * (i + 1), N) for i in range(N // SIZE)]
        assert killed[0] not in runner._client.run(os.getpid).values()
        assert_bits(found, serial)
        # Nobody else on this machine gets in: the certificates are the cluster's alone.
        address = runner._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        with pytest.raises(UsageError, match="needs the certificates of that cluster"):
            open_runner(address)


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr("ddphf.compute.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(UsageError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler"):
        open_runner("tcp://127.0.0.1:9")


def test_workers_do_what_this_package_defines_in_its_own_versions():
    with pytest.raises(UsageError, match="'os:system': workers do what this package defines"):
        Task("os:system", {"command": "true"}).make()
    packed = Task("ddphf.compute.streams:seed_of_part", {}).pack()
    other = replace(packed, digest="other", versions={**packed.versions, "numpy": "1.0"})
    with pytest.raises(UsageError, match=r"other versions than this process \(numpy .* for 1.0\)"):
        do_blocks(other, [0])


START = (
    "import signal\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever started the tests\n"
    "from ddphf.cli.signals import run\n"
    "run()\n"
)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_stop_ends_all_workers_and_leaves_no_half_file(folder, number, code):
    Path("w.json").write_text(json.dumps(plain_workspace()))
    process = subprocess.Popen(
        [sys.executable, "-c", START, "toys", "w.json", "--toys", "20000000", "--scheduler",
         "processes:2", "-o", "t.npz"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: len(children(process.pid)) == 2 or process.poll() is not None)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    wait_until(lambda: not any(map(command_of, workers)))
    left = {path.name for path in folder.iterdir()} - {"w.json", "t.npz"}
    assert left == set()
    if Path("t.npz").exists():
        assert len(load_toys(Path("t.npz"))) > 0


@pytest.fixture
def toys(folder):
    Path("w.json").write_text(json.dumps(plain_workspace()))

    def run(output, *options):
        outcome = invoke("toys", "w.json", "-o", output, *options)
        assert outcome.code == 0, outcome.err
        return outcome

    return run


def test_shards_in_any_order_are_the_whole(toys):
    total = ("--toys", "1200", "--seed", "5")
    toys("whole.npz", *total)
    for number in (2, 3, 1):
        said = toys(f"{number}.npz", *total, "--shard", f"{number}/3").err
        assert f"shard {number}/3 of 1200 toys" in said
    assert [len(load_toys(Path(f"{i}.npz"))) for i in (1, 2, 3)] == [256, 512, 432]
    merges = [("--merge", f"{i}.npz") for i in (3, 1, 2, 2)]
    toys("merged.npz", "--toys", "0", *sum(merges, ()))
    assert Path("merged.npz").read_bytes() == Path("whole.npz").read_bytes()
    toys("filled.npz", *total, *sum(merges[:2], ()))  # what is missing is drawn
    assert Path("filled.npz").read_bytes() == Path("whole.npz").read_bytes()


REFUSED = {
    "missing": (
        ("a1", "a3"),
        "shard 2/3 is missing; draw it with --toys 800 --seed 5 --shard 2/3, and merge it too",
    ),
    "another seed": (
        ("a1", "seed", "a3"),
        "seed.npz: shard 2/3 of 800 toys of seed 6, and a1.npz is of seed 5; draw it again with "
        "--seed 5 --shard 2/3",
    ),
    "another number": (
        ("a1", "four"),
        "four.npz: is shard 2/4 of 800 toys, and a1.npz is shard 1/3 of 800 toys; merge shards of "
        "one run alone",
    ),
    "no shard": (
        ("a1", "plain"),
        "plain.npz: is no shard, and a1.npz is shard 1/3 of 800 toys; merge the shards among "
        "themselves, and other toys with the file that comes of it",
    ),
    "another workspace": (
        ("a1", "other"),
        "other.npz: holds toys of another model, data set or --mu; draw them again from this "
        "workspace",
    ),
    "interrupted": (
        ("a1", "short", "a3"),
        "short.npz: 56 of the 256 toys of shard 2/3 of 800 toys are missing, it was interrupted; "
        "give --resume to the command that writes it",
    ),
}


def test_shards_that_do_not_belong_together_are_refused(toys):
    from ddphf.inference.toys.store import save_toys

    for number in (1, 2, 3):
        toys(f"a{number}.npz", "--toys", "800", "--seed", "5", "--shard", f"{number}/3")
    toys("seed.npz", "--toys", "800", "--seed", "6", "--shard", "2/3")
    toys("four.npz", "--toys", "800", "--seed", "5", "--shard", "2/4")
    toys("plain.npz", "--toys", "10", "--seed", "5")
    second = load_toys(Path("a2.npz"))
    short = replace(second, **{name: getattr(second, name)[:200] for name in COLUMNS})
    save_toys(short, Path("short.npz"))
    save_toys(replace(second, fingerprint="other"), Path("other.npz"))
    for names, message in REFUSED.values():
        merges = [("--merge", f"{name}.npz") for name in names]
        outcome = invoke("toys", "w.json", "--toys", "0", *sum(merges, ()), "-o", "m.npz")
        assert (outcome.code, outcome.message) == (3, message)
        assert not Path("m.npz").exists()
    # Resumed, the short one is whole again; under another number of toys it is another shard.
    toys("short.npz", "--toys", "800", "--seed", "5", "--shard", "2/3", "--resume")
    assert_bits(load_toys(Path("short.npz")), second)
    outcome = invoke(
        "toys", "w.json", "--toys", "900", "--shard", "2/3", "--resume", "-o", "a2.npz"
    )
    assert outcome.code == 3
    assert "a2.npz: holds shard 2/3 of 800 toys; give the same --shard" in outcome.message
    outcome = invoke("toys", "w.json", "--toys", "50", "--merge", "a1.npz", "-o", "m.npz")
    assert outcome.code == 2
    assert "a1.npz is shard 1/3 of 800 toys of seed 5; give --toys 0 to merge" in outcome.message
    for command in (
        ("discover", "w.json", "--null", "toys", "--toys-file", "a1.npz"),
        ("report", "w.json", "a1.npz", "-o", "r.html"),
    ):
        outcome = invoke(*command)
        assert outcome.code == 3
        assert "a1.npz: is shard 1/3 of 800 toys; merge all 3 first" in outcome.message


def test_the_page_as_written(folder):
    """docs/distributed.md, on a workspace of three bins."""
    Path("workspace.json").write_text(json.dumps(plain_workspace()))
    lines = commands((Path(__file__).parents[1] / "docs" / "distributed.md").read_text())
    assert len(lines) == 6
    for line in lines:
        outcome = invoke(*line.split()[1:])
        assert outcome.code == 0, outcome.err
    assert Path("all.npz").read_bytes() == Path("toys.npz").read_bytes()


def test_a_command_by_processes_writes_the_same_file(toys):
    toys("one.npz", "--toys", "600", "--seed", "5")
    toys("two.npz", "--toys", "600", "--seed", "5", "--scheduler", "processes:2")
    assert Path("one.npz").read_bytes() == Path("two.npz").read_bytes()
