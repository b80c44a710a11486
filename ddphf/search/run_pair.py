"""The search of one pair: every window, its local p, and what looking everywhere costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.stats import norm

from ddphf.arrays import AnyArray, Array, Spec
from ddphf.compute.blocks import Runner
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis
from ddphf.progress import Count, Stage, silent
from ddphf.results.provenance import make_provenance
from ddphf.results.search import SearchResult
from ddphf.search.boxes import MAX_WINDOWS, make_boxes
from ddphf.search.field import Field
from ddphf.search.global_p import GlobalP, draw_maxima, estimate_global_p
from ddphf.search.kernels import Scanner
from ddphf.search.local_p import window_p
from ddphf.search.nulls import Targets
from ddphf.search.pair import SearchPair
from ddphf.search.pair_statistic import compare_pair
from ddphf.search.pair_table import make_pair_table
from ddphf.search.scan import Direction, Found, Scan, check_direction, scan_field
from ddphf.search.trials import ChosenNull, NullChoice, choose_null

__all__ = ["NULLS", "Trials", "describe_axes", "describe_window", "search_pair"]

NullOption = Literal["auto", "gaussian", "binomial", "counting"]

NULLS: tuple[NullOption, ...] = ("auto", "gaussian", "binomial", "counting")
"""``counting`` draws plain fields of the law that ``auto`` chooses, and counts."""

MAXIMA = 10_240
"""Fields whose largest window makes the quantiles and the figure of the null."""

ENOUGH = 400
"""So many of these maxima beyond a threshold give its p-value to 5 %."""

OTHERS = 0.05
"""Relative error of the global p-values of windows behind the best."""

BINS = 60
"""Of the histogram of the maximum."""

QUANTILES = (0.5, 0.95, 0.99)

MOST_AXES = 2
"""Histograms of more have no map of their bins: nothing draws one."""


@dataclass(frozen=True)
class Trials:
    """The largest window without a signal: its law, drawn once, and the p-values that it gives.

    Attributes:
        chosen: The law of the fields.
        scanner: Of the same windows.
        seed: Of the draws.
        counting: Count plain fields, whatever p is.
        runner: Where fields are drawn and scanned; on threads by default.
        progress: Called with (done, total) fields.
    """

    chosen: ChosenNull
    scanner: Scanner
    seed: int
    counting: bool = False
    runner: Runner | None = None
    progress: Count | None = None

    @cached_property
    def maxima(self) -> AnyArray:
        """Statistic of the largest window of plain fields, shape (MAXIMA,)."""
        return draw_maxima(
            self.chosen.null,
            self.scanner,
            MAXIMA,
            seed=self.seed,
            runner=self.runner,
            progress=self.progress,
        )

    def find(self, threshold: float, target: float) -> Spec:
        """Return the global p-value of a threshold, for the record.

        Args:
            threshold: Of the statistic.
            target: Relative error at which drawing ends.
        """
        found = estimate_global_p(
            self.chosen.null,
            self.scanner,
            threshold,
            seed=self.seed,
            target=target,
            method="counted" if self.counting else "auto",
            targets=Targets(self.chosen.null.table, threshold, self.chosen.reachable),
            runner=self.runner,
            progress=self.progress,
        )
        return _describe_global(found)

    def find_behind(self, threshold: float) -> Spec:
        """Return the same for a window behind the best, from the maxima where these tell it."""
        above = int(np.count_nonzero(self.maxima >= threshold))
        if above < ENOUGH:
            return self.find(threshold, OTHERS)
        p = above / MAXIMA
        error = math.sqrt(p * (1 - p) / MAXIMA)
        null, windows = self.chosen.null, self.chosen.null.table.n_windows
        return _describe_global(
            GlobalP(
                p=p,
                error=error,
                z=_z_of(p),
                threshold=threshold,
                n_windows=windows,
                n_samples=MAXIMA,
                null=null.name,
                method="counted",
                kernel=self.scanner.kernel,
            )
        )

    def describe(self) -> Spec:
        """Return quantiles and histogram of the maximum, for the record."""
        low, high = float(self.maxima.min()), float(self.maxima.max())
        counts, edges = np.histogram(self.maxima, bins=BINS, range=(low, high + 1e-6))
        return {
            "method": self.chosen.name,
            "why": self._why(),
            "samples": MAXIMA,
            "quantiles": {
                f"{q:g}": float(v)
                for q, v in zip(QUANTILES, np.quantile(self.maxima, QUANTILES), strict=True)
            },
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        }

    def _why(self) -> str:
        found = self.chosen.distortion
        if found is None:
            return "many events in every bin are assumed"
        if self.chosen.few:
            return "few events: their exact law"
        size = f"skewness {found.skewness:.2g} and kurtosis {found.kurtosis:.2g}"
        where = f"of p at z = {found.z:.3g}, largest of all windows"
        return f"relative error of a Gaussian field by {size} ({where})"


def _z_of(p: float) -> float | None:
    return float(norm.isf(p)) if 0 < p < 1 else None


def _describe_global(found: GlobalP) -> Spec:
    z = found.z if found.z is None or math.isfinite(found.z) else None
    out: Spec = {
        "p": found.p,
        "error": found.error,
        "z": z,
        "method": f"{found.null}, {found.method}",
        "samples": found.n_samples,
    }
    if found.p is None and found.method == "counted":
        out["p_interval"] = [0.0, 3 / found.n_samples]
    return out


def search_pair(
    pair: SearchPair,
    *,
    windows: str = "all",
    direction: str = "excess",
    statistic: str = "n_sigma",
    null: str = "auto",
    precision: float = 0.01,
    top: int = 10,
    max_windows: int = MAX_WINDOWS,
    kernel: str = "auto",
    seed: int = 0,
    stage: Stage = silent,
    runner: Runner | None = None,
    progress: Count | None = None,
) -> SearchResult:
    """Search a pair for windows where the two samples differ.

    Args:
        pair: From :func:`~ddphf.search.pair.prepare_pair`.
        windows: See :func:`~ddphf.search.boxes.make_boxes`.
        direction: ``excess`` of the tested sample, ``deficit`` or ``both``.
        statistic: ``t``, ``ks``, ``chi2`` or ``g`` of the whole histogram is compared beside the
            windows; ``n_sigma`` is the windows alone.
        null: Law of fields without a signal: ``auto``, ``gaussian``, ``binomial`` or ``counting``.
        precision: Relative error of the global p-value of the best window.
        top: Windows of the list, none of which shares a bin with another.
        max_windows: More are refused.
        kernel: ``auto``, ``numba`` or ``numpy``.
        seed: Of everything drawn.
        stage: Called with a line at each stage.
        runner: Where fields are drawn and scanned; on threads by default.
        progress: Called with (done, total) fields drawn.

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
    wanted = check_direction(direction)
    if null not in NULLS:
        raise InputError(f"null '{null}' is unknown; expected {', '.join(NULLS)}")
    if top < 1:
        raise InputError(f"best windows: {top} wanted, expected one or more")
    field = pair.field()
    comparison = compare_pair(pair, field, statistic, direction=wanted, seed=seed, stage=stage)
    stage("windows")
    table = make_pair_table(
        make_boxes(pair.shape, windows, max_windows=max_windows), field, pair.n_correlated
    )
    scan = scan_field(field, table, direction=wanted, most=top)
    chosen = _choose(pair, field, scan, null)
    scanner = Scanner(table, wanted, kernel)
    trials = Trials(
        chosen, scanner, seed, counting=null == "counting", runner=runner, progress=progress
    )
    stage("null of the maximum")
    law = trials.describe()
    best = []
    for rank, found in enumerate(scan.best, start=1):
        stage(f"global p of window {rank}")
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
            "rule": windows,
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
        maps=_maps(field) if len(pair.shape) <= MOST_AXES else None,
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


def describe_window(
    pair: SearchPair, field: Field, found: Found, *, deficit: bool | None = None
) -> Spec:
    """Return a window for the record, without its global p-value.

    Args:
        pair: The data.
        field: Of them.
        found: The window.
        deficit: Whether its local p-value is that of a deficit; by default as its sign says.
    """
    low = found.z < 0 if deficit is None else deficit
    window = found.window
    box = window.slices
    inside = np.zeros(pair.shape, dtype=bool)
    inside[box] = True
    count = max(int(np.count_nonzero(field.filled[box])), 1)
    bare = float(field.terms[box].sum()) / math.sqrt(count)
    expected = pair.fakes_tested + pair.ratio * (pair.partner - pair.fakes_partner)
    return {
        "start": list(window.start),
        "size": list(window.size),
        "edges": [
            [float(axis.edges[a]), float(axis.edges[a + k])]
            for axis, a, k in zip(pair.axes, window.start, window.size, strict=True)
        ],
        "tested": float(pair.tested[box].sum()),
        "partner": float(pair.partner[box].sum()),
        "expected": float(expected[box].sum()),
        "n_bins": found.n_bins,
        "variance": found.variance,
        "merged": found.merged,
        "local": {"n_sigma": bare, "z": found.z, **_local_p(pair, field, found, low)},
    }


def _local_p(pair: SearchPair, field: Field, found: Found, deficit: bool) -> Spec:
    """Return the local p-value of a window on one side: by the law of counts where they are."""
    sign = -1.0 if deficit else 1.0
    if pair.weighted or field.first_fraction() is not None:
        p = float(norm.sf(sign * found.z)) or None
        return {"p": p, "z_exact": None, "method": "gaussian"}
    exact = window_p(field, found.window, deficit=deficit)
    z = None if exact.z is None else sign * exact.z
    return {"p": exact.p, "z_exact": z, "method": exact.method}


def _maps(field: Field) -> Spec:
    """Return Z of each bin, as it is and with the nuisances profiled; None where empty."""
    lost = np.einsum("ij,jk,ik->i", field.profile.pulls, field.profile.inverse, field.profile.pulls)
    left = 1 - lost.reshape(field.shape)
    good = field.filled & (left > 1e-6)
    profiled = np.where(good, field.profiled / np.sqrt(np.where(good, left, 1.0)), np.nan)
    return {
        "z": _holes(np.where(field.filled, field.terms, np.nan)),
        "profiled": _holes(profiled),
    }


def _holes(values: Array) -> list[float | None]:
    return [None if math.isnan(x) else float(x) for x in values.ravel()]


def describe_axes(axes: Sequence[Axis]) -> tuple[Spec, ...]:
    """Return axes as records have them."""
    return tuple(
        {
            "name": axis.name,
            "label": axis.label or axis.name,
            "unit": axis.unit,
            "edges": [float(x) for x in axis.edges],
        }
        for axis in axes
    )
