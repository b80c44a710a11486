"""The search of one pair: every window, its local p, and what looking everywhere costs."""

from __future__ import annotations

import math
from typing import Literal, Unpack

from ddphf.exceptions import InputError
from ddphf.results.provenance import make_provenance
from ddphf.results.search import SearchResult
from ddphf.search.boxes import make_boxes
from ddphf.search.field import Field
from ddphf.search.kernels import Scanner
from ddphf.search.looking import Look, Looking
from ddphf.search.pair import SearchPair
from ddphf.search.pair_statistic import compare_pair
from ddphf.search.pair_table import make_pair_table
from ddphf.search.pair_trials import Trials
from ddphf.search.pair_windows import describe_axes, describe_maps, describe_window
from ddphf.search.scan import Direction, Scan, scan_terms
from ddphf.search.trials import ChosenNull, NullChoice, choose_null

__all__ = ["NULLS", "search_pair"]

NullOption = Literal["auto", "gaussian", "binomial", "counting"]

NULLS: tuple[NullOption, ...] = ("auto", "gaussian", "binomial", "counting")
"""``counting`` draws plain fields of the law that ``auto`` chooses, and counts."""


def search_pair(
    pair: SearchPair,
    *,
    statistic: str = "n_sigma",
    null: str = "auto",
    precision: float = 0.01,
    top: int = 10,
    **looking: Unpack[Looking],
) -> SearchResult:
    """Search a pair for windows where the two samples differ.

    Args:
        pair: From :func:`~ddphf.search.pair.prepare_pair`.
        statistic: ``t``, ``ks``, ``chi2`` or ``g`` of the whole histogram is compared beside the
            windows; ``n_sigma`` is the windows alone.
        null: Law of fields without a signal: ``auto``, ``gaussian``, ``binomial`` or ``counting``.
        precision: Relative error of the global p-value of the best window.
        top: Windows of the list, none of which shares a bin with another.
        looking: See :class:`~ddphf.search.looking.Look`. Counts fields.

    Raises:
        InputError: No window can be searched, or the null or the statistic asked for cannot be
            drawn.

    Example:
        >>> from ddphf.search.pair import prepare_pair
        >>> from ddphf.symmetry.pair import Channel, Pair
        >>> pair = Pair(Channel("mue", [100, 160, 150, 104]), Channel("emu", [100] * 4))
        >>> found = search_pair(prepare_pair(pair), precision=0.1)
        >>> found.best[0]["start"], found.best[0]["size"], found.windows["n"]
        ([1], [2], 10)
    """
    look = Look(**looking)
    wanted, seed, work = look.wanted, look.seed, look.work
    if null not in NULLS:
        raise InputError(f"null '{null}' is unknown; expected {', '.join(NULLS)}")
    if top < 1:
        raise InputError(f"best windows: {top} wanted, expected one or more")
    field = pair.field()
    comparison = compare_pair(pair, field, statistic, direction=wanted, seed=seed, stage=work.say)
    work.say("windows")
    table = make_pair_table(
        make_boxes(pair.shape, look.windows, max_windows=look.max_windows), field, pair.n_correlated
    )
    scan = scan_terms(field.profiled, table, direction=wanted, most=top)
    chosen = _choose(pair, field, scan, null)
    scanner = Scanner(table, wanted, look.kernel)
    trials = Trials(chosen, scanner, seed, counting=null == "counting", work=work)
    work.say("null of the maximum")
    law = trials.describe()
    best = []
    for rank, found in enumerate(scan.best, start=1):
        work.say(f"global p of window {rank}")
        threshold = _threshold(found.z, wanted)
        overall = trials.find(threshold, precision) if rank == 1 else trials.find_behind(threshold)
        best.append({"rank": rank, **describe_window(pair, field, found), "global": overall})
    left_out = list(pair.left_out)
    if table.n_empty:
        left_out.append(f"{table.n_empty} windows without an event were not searched")
    if table.n_degenerate:
        left_out.append(
            f"{table.n_degenerate} windows were not searched: the nuisances explain any difference"
        )
    sizes = zip(table.boxes.sizes, scan.size_best.tolist(), strict=True)
    return SearchResult(
        kind="pair",
        windows={
            "rule": look.windows,
            "n": table.n_windows,
            "all": table.boxes.count,
            "sizes": len(table.boxes.sizes),
            "shape": list(pair.shape),
            "left_out": {"empty": table.n_empty, "degenerate": table.n_degenerate},
        },
        direction=wanted,
        best=tuple(best),
        overall=best[0]["global"],
        null=law,
        nuisances=pair.described,
        left_out=tuple(left_out),
        axes=describe_axes(pair.axes),
        pairing={"tested": pair.labels[0], "partner": pair.labels[1]},
        maps=describe_maps(field),
        size_curve=tuple(
            {"size": list(size), "z": None if math.isnan(z) else z} for size, z in sizes
        ),
        comparison=comparison,
        kernel=scanner.kernel,
        seed=seed,
        data_digest=pair.digest,
        warnings=pair.warnings,
        provenance={**make_provenance(), "data_digest": pair.digest},
    )


def _choose(pair: SearchPair, field: Field, scan: Scan, null: str) -> ChosenNull:
    """Return the law of fields without a signal.

    Raises:
        InputError: The exact one is asked for, and the contents are sums of weights.
    """
    choice: NullChoice = "auto" if null == "counting" else null  # type: ignore[assignment]
    if pair.weighted and choice == "binomial":
        raise InputError(
            "null 'binomial': the analysis says 'integer_data: false' or gives its events weights,"
            " and the exact null is for counts; give counts, or take --null gaussian"
        )
    law = "gaussian" if pair.weighted else choice
    chosen = choose_null(field, scan.table, scan.statistic, direction=scan.direction, null=law)
    far = chosen.distortion is not None and not chosen.distortion.is_small
    if pair.weighted and choice == "auto" and far:
        raise InputError(
            "null of the maximum: a Gaussian field is wrong in the tail for so few events, and the "
            "contents are sums of weights, which the exact null is not for; take coarser bins or "
            "larger windows, or --null gaussian all the same"
        )
    return chosen


def _threshold(z: float, direction: Direction) -> float:
    return {"excess": z, "deficit": -z, "both": abs(z)}[direction]
