"""The layers of the tests by marker, and the processor seconds that each test took.

``fast`` is put on every test of `FAST` that is neither ``slow`` nor ``compiles``; a fast test that
takes longer than `MOST_S` ends the run with an error, so that the list stays true, and so does a
slow one that takes longer than `MOST_SLOW_S`. Processor seconds, because a busy machine stretches
all others.
"""

import resource
from collections import Counter

import pytest
from others_data import WANTING

FAST_NAMES = {
    "alignment", "architecture", "archive", "asymmetric_by_hand", "builder", "closed_form",
    "closure", "closure_variables", "config", "correction_maps", "direct", "docs", "eigen",
    "events", "factorization", "fake_templates", "fakes", "files", "init", "inputs",
    "inspect_pairs", "layers", "learn_labels", "lepton_id_build", "likelihood_compiled",
    "map_checks", "map_columns", "map_correlations", "map_practice", "maps", "matrix_text",
    "n_sigma", "nanoaod", "outputs", "pages_of_the_house", "pruning", "refusals", "roc",
    "schema", "search_boxes", "search_events_shared", "search_fields", "search_local",
    "shared_points", "shipped", "shown", "suspicious", "symmetry", "tables", "tools",
    "variances", "windows",
}  # fmt: skip
"""Of the files whose tests compile nothing, or little."""

FAST = {f"tests/test_{name}.py" for name in FAST_NAMES}

MOST_S = 10.0
"""Processor seconds of one fast test; the first of a process pays its imports too."""

MOST_ALL_S = 160.0
"""Of all fast tests together: less than 90 s on two idle cores."""


MOST_SLOW_S = 1800.0
"""Of one slow test, with what it shares with others; what takes longer is split, or never run."""


def processor_seconds():
    """Return what this process and its ended children have used."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def mark(items):
    """Put the layer's marker on each collected test."""
    for item in items:
        apart = item.get_closest_marker("slow") or item.get_closest_marker("compiles")
        if item.nodeid.split("::")[0] in FAST and not apart:
            item.add_marker(pytest.mark.fast)


def seconds_of(layer, stats):
    """Return the processor seconds of each test of a layer that has ended, by its name."""
    ended = [report for reports in stats.values() for report in reports]
    return {
        report.nodeid: dict(report.user_properties)["cpu_s"]
        for report in ended
        if layer in getattr(report, "keywords", {}) and "cpu_s" in dict(report.user_properties)
    }


def complaints(stats):
    """Say which fast tests are not fast, and which slow ones nobody waits for."""
    seconds = seconds_of("fast", stats)
    for name, spent in seconds.items():
        if spent > MOST_S:
            yield f"ERROR: {name}: {spent:.1f} processor seconds, a fast test has {MOST_S:g}"
    if sum(seconds.values()) > MOST_ALL_S:
        yield f"ERROR: {sum(seconds.values()):.0f} processor seconds, fast is {MOST_ALL_S:g}"
    for name, spent in seconds_of("slow", stats).items():
        if spent > MOST_SLOW_S:
            yield f"ERROR: {name}: {spent:.0f} processor seconds, a slow test has {MOST_SLOW_S:g}"


def wanting(stats):
    """Count the skipped tests of each input that is not here."""
    reasons = [str(report.longrepr[2]) for report in stats.get("skipped", [])]
    return Counter(reason.split(WANTING)[1] for reason in reasons if WANTING in reason)


def write_summary(terminal, judged=True):
    """Print processor seconds of the layers, and how many tests wanted what of others."""
    missing = wanting(terminal.stats)
    if missing:
        terminal.section(f"{missing.total()} tests skipped for want of ../shared/data")
        for path, n in sorted(missing.items()):
            terminal.line(f"{n:4d}  {path}")
    for layer in ("fast", "slow"):
        seconds = seconds_of(layer, terminal.stats)
        if layer == "slow":
            for name, spent in sorted(seconds.items(), key=lambda row: -row[1]):
                terminal.line(f"{spent:7.0f} s  {name}")
        if seconds:
            total = sum(seconds.values())
            terminal.line(f"{len(seconds)} {layer} tests: {total:.0f} processor seconds")
    if judged:
        for line in complaints(terminal.stats):
            terminal.line(line)
