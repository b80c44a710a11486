"""The layers of the tests keep to their word, and what is skipped is said."""

import re
import subprocess
import sys
from pathlib import Path

import layers
import pytest
from others_data import WANTING
from watchdogs import run_watched

ROOT = Path(__file__).parents[1]


def report(name, seconds=0.1, *, marker="fast", reason=None):
    """A test that has ended, as pytest tells of it."""
    skipped = ("file.py", 1, f"Skipped: {reason}") if reason else None
    return pytest.TestReport(
        name, ("file.py", 1, name), {marker: 1}, "skipped" if reason else "passed", skipped,
        "call" if reason else "teardown", user_properties=[("cpu_s", seconds)],
    )  # fmt: skip


def test_fast_files_exist():
    assert [name for name in layers.FAST if not (ROOT / name).is_file()] == []


def test_a_fast_test_that_is_not_is_named():
    stats = {"passed": [report("a", 0.9 * layers.MOST_S), report("b", 1.1 * layers.MOST_S)]}
    (line,) = layers.complaints(stats)
    assert line.startswith("ERROR: b: 11.0 processor seconds")
    long = {"passed": [report("b", 1.1 * layers.MOST_SLOW_S, marker="slow")]}
    (line,) = layers.complaints(long)
    assert line == "ERROR: b: 1980 processor seconds, a slow test has 1800"
    others = {"passed": [report("b", 1e3, marker="slow")]}
    assert list(layers.complaints(others)) == []


def test_all_fast_tests_together_are_fast():
    one = 0.5 * layers.MOST_S
    few, many = ([report(f"t{i}", one) for i in range(n)] for n in (25, 35))
    assert list(layers.complaints({"passed": few})) == []
    assert list(layers.complaints({"passed": many})) == [
        "ERROR: 175 processor seconds, fast is 160"
    ]


def test_missing_inputs_are_counted_by_name():
    stats = {"skipped": [report(n, reason=f"{WANTING}maps") for n in "ab"]}
    stats["skipped"] += [report("c", reason=f"{WANTING}other"), report("d", reason="no ROOT")]
    assert layers.wanting(stats) == {"maps": 2, "other": 1}


def test_inputs_of_others_are_read_in_one_place():
    """So that each skip for want of them is counted."""
    found = {
        path.name
        for path in (ROOT / "tests").glob("*.py")
        if re.search(r"/ *[\"']shared\b|[\"']shared[\"'] */", path.read_text())
    }
    assert found == {"others_data.py"}


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--any-speed",), 0)])
def test_slow_fast_tests_fail_the_run_but_where_any_speed_will_do(options, code):
    program = f"""
import sys
sys.path.insert(0, "tests")
import layers, pytest
layers.MOST_ALL_S = -1.0
one = "tests/test_layers.py::test_fast_files_exist"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-n", "0", one, *{options}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout
    assert ("processor seconds, fast is -1" in done.stdout) == bool(code)


CLOCKS = re.compile(r"\b(perf_counter|monotonic|time\.time)\(")
WATCHDOG_S = 600


def test_no_test_measures_wall_time():
    """A busy machine stretches it: processor time is measured, watchdogs are generous."""
    for path in sorted((ROOT / "tests").glob("*.py")):
        text = path.read_text()
        assert path.name == "test_layers.py" or not CLOCKS.search(text), path.name
        seconds = [float(s) for s in re.findall(r"\btimeout=(\d+)", text)]
        assert min(seconds, default=WATCHDOG_S) >= WATCHDOG_S, path.name


def watched(program, **options):
    return run_watched([sys.executable, "-c", program], poll_s=0.1, **options)


def test_watchdogs_hand_on_what_a_program_said():
    done = watched("import sys; print('out'); sys.exit('err')", cpu_s=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")
    waits = "import time; time.sleep(1.0)"
    assert watched(waits, cpu_s=60, idle_polls=600).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("program", "options", "why"),
    [
        ("while True: pass", {"cpu_s": 0.3}, "not done in 0.3 processor seconds"),
        (
            "import threading; threading.Event().wait()",
            {"cpu_s": 60, "idle_polls": 20},
            "idle after",
        ),
    ],
)
def test_watchdogs_end_what_does_not_end(program, options, why):
    with pytest.raises(pytest.fail.Exception, match=why):
        watched(program, **options)
