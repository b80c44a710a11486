"""What looking everywhere costs, without data: the table of trial factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from scipy.stats import norm

from ddphf.exceptions import InputError
from ddphf.results.provenance import make_provenance
from ddphf.results.search import SearchResult
from ddphf.search.boxes import make_boxes
from ddphf.search.kernels import Scanner
from ddphf.search.looking import Look, Looking
from ddphf.search.pair_trials import Trials
from ddphf.search.table import make_table
from ddphf.search.trials import MAX_Z, choose_null

__all__ = ["search_null"]


def search_null(
    shape: Sequence[int],
    thresholds: Sequence[float],
    *,
    precision: float = 0.01,
    **looking: Unpack[Looking],
) -> SearchResult:
    """Return how often the best of all windows is as good without a signal, by a Gaussian field.

    Args:
        shape: Bins of the histogram along each axis.
        thresholds: Local significances, at most 37.
        precision: Relative error of each p-value.
        looking: See :class:`~ddphf.search.looking.Look`. Counts fields.

    Raises:
        InputError: No threshold, one that no p-value belongs to, or no window.

    Example:
        >>> found = search_null((8, 8), [3.0], windows="2x2", precision=0.05)
        >>> abs(found.overall["p"] - 0.0575) < 4 * found.overall["error"], found.windows["n"]
        (True, 49)
    """
    if not thresholds:
        raise InputError("local Z: none given; name at least one, such as --z 5")
    for z in thresholds:
        if not -MAX_Z <= z <= MAX_Z:
            raise InputError(f"local Z = {z:g}: expected a number from -{MAX_Z:g} to {MAX_Z:g}")
    look = Look(**looking)
    wanted, work = look.wanted, look.work
    work.say("windows")
    table = make_table(make_boxes(shape, look.windows, max_windows=look.max_windows))
    scanner = Scanner(table, wanted, look.kernel)
    chosen = choose_null(None, table, max(thresholds), direction=wanted)
    trials = Trials(chosen, scanner, look.seed, work=work)
    work.say("null of the maximum")
    law = trials.describe()
    rows = []
    for z in thresholds:
        work.say(f"global p at z = {z:g}")
        sides = 2 if wanted == "both" else 1
        local = {"z": float(z), "p": min(sides * float(norm.sf(z)), 1.0)}
        rows.append({"local": local, "global": trials.find(z, precision)})
    return SearchResult(
        kind="null",
        windows={
            "rule": look.windows,
            "n": table.n_windows,
            "sizes": len(table.boxes.sizes),
            "shape": [int(n) for n in shape],
        },
        direction=wanted,
        overall=rows[0]["global"],
        table=tuple(rows),
        null=law,
        kernel=scanner.kernel,
        seed=look.seed,
        provenance=make_provenance(),
    )
