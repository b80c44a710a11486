"""New benchmark results against the recorded ones: python compare.py RECORDED NEW... [--record].

Prints the ratio new / recorded of every time of ours (rates turned over: above 1 is slower), and
exits with 1 where one is above `SLOWER`. Of several files with one number the best counts. Wall
times are compared only where both machines were idle; processor times always. --record makes the
new results the recorded ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

SLOWER = 1.5
"""The same code on a busy machine took up to 1.5 times its processor time (docs/performance.md)."""

IDLE = 0.75
"""Load per core at the start of a run whose wall times mean something."""

SHORT_S = 0.1
"""A single run shorter than this says nothing: compiled programs may come from a cache."""

PEERS = ("pyhf", "iminuit", "evermore", "cabinetry", "imports", "roofline")
PARTS = {
    "shipped_28x28": "rank",
    "without_cache": "cold",
    "rectangles": "search",
    "of_a_block_of_128": "flips",
    "ensembles": None,
}
"""A key that tells whose results a file holds, and where they stand in the record."""


def place(results):
    """Return results as they stand in the record."""
    for key, part in PARTS.items():
        if key in results:
            return results if part is None else {part: results}
    raise SystemExit(f"no known benchmark among: {', '.join(results)}")


def idle(results):
    """Return whether the machine was idle when the run began, for each part."""
    cores = results.get("machine", {}).get("cores", 2)
    parts = [part for part in ("rank", "cold", "search", "flips", "machine") if part in results]
    loads = {part: results[part].get("load_at_start") for part in parts}
    return {part: load is not None and load <= IDLE * cores for part, load in loads.items()}


def times(node, path=()):
    """Yield (path, time, whether of the processor) of every time of ours, in its own unit."""
    if isinstance(node, list):
        node = {row["name"]: row for row in node}
    for key, value in node.items():
        if key.startswith(PEERS):
            continue
        if isinstance(value, dict | list) and key not in ("status", "versions", "devices"):
            yield from times(value, (*path, key))
        elif key.endswith("_s") and isinstance(value, float) and value > 0:
            rate = "_per_" in key
            if rate or value >= SHORT_S or key in ("one_fit_s", "free_and_null_s"):
                yield (*path, key), 1 / value if rate else value, "cpu_s" in key


def best_times(files):
    """Return {path: (time, whether of the processor, whether idle)}: the best of each number."""
    found = {}
    for results in files:
        quiet = idle(results)
        for path, seconds, processor in times(results):
            row = (seconds, processor, quiet.get(path[0], quiet.get("machine", False)))
            found[path] = min(found.get(path, row), row)
    return found


def compare(recorded, new):
    """Return rows (name, ratio, verdict), slowest first."""
    old, now, rows = best_times([recorded]), best_times(new), []
    for path, (seconds, processor, quiet) in now.items():
        name = " / ".join(path)
        if path not in old:
            rows.append((name, None, "new"))
            continue
        ratio = seconds / old[path][0]
        if processor or (quiet and old[path][2]):
            rows.append((name, ratio, "SLOWER" if ratio > SLOWER else ""))
        else:
            rows.append((name, ratio, "wall time on a busy machine: not judged"))
    return sorted(rows, key=lambda row: -(row[1] or 0.0))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recorded", type=Path)
    parser.add_argument("new", type=Path, nargs="+")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    recorded = json.loads(options.recorded.read_text())
    new = [place(json.loads(path.read_text())) for path in options.new]
    rows = compare(recorded, new)
    for name, ratio, verdict in rows:
        print(f"{'  new' if ratio is None else format(ratio, '5.2f')}  {name}  {verdict}".rstrip())
    slower = sum(verdict == "SLOWER" for _, _, verdict in rows)
    print(f"{len(rows)} times, {slower} above {SLOWER:g} x the recorded ones")
    if options.record:
        for results in new:
            recorded.update(results)
        options.recorded.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    sys.exit(1 if slower else 0)


if __name__ == "__main__":
    main()
