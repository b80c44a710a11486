"""From an analysis file to labels: efficiencies of its maps, fakes of its control regions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from ddphf.arrays import AnyArray, Array, IntArray
from ddphf.compute.work import HERE, Work
from ddphf.config.analysis import Analysis
from ddphf.config.learn import LearnConfig
from ddphf.exceptions import InputError
from ddphf.learning.labels import Labels, make_labels
from ddphf.learning.variables import far_events, make_points
from ddphf.results.provenance import data_digest
from ddphf.search.event_nuisances import Base, Direction, label_directions, other_directions
from ddphf.search.read_events import BaseEvents, read_base_events

__all__ = ["LabelledEvents", "Redrawing", "begin", "digest_events", "read_labelled_events"]

NAMES = {
    "both/observed": "both samples", "tested/fakes": "the tested sample's control region",
    "partner/fakes": "the partner's control region",
}  # fmt: skip
"""Of the tables of events."""

KEPT = 0.01
"""Of a direction of nuisances: the largest part of the variance of any sum that it may add and
still be left out; as in the search."""

MOST_FAKES = 40
"""Directions of the fakes, the largest first: each is a column of all events."""


@dataclass(frozen=True)
class LabelledEvents:
    """The events of an analysis, labelled.

    Attributes:
        labels: Of the events.
        points: Transformed variables, (n, d).
        raw: Variables as they are, (n, d).
        bins: In the axes of the analysis, flat, -1 outside, (n,).
        config: The section ``learn``.
        nuisances: ``name`` and ``source`` of each that is in the labels.
        fakes: Expected fakes of the tested sample and of its partner, among the events.
        pairing: Labels of the ``tested`` sample and of its ``partner``.
        edges: Of each axis of the analysis.
        digest: Of variables, probabilities and labels.
        histograms_digest: Of the histograms of both samples, in the axes of the analysis.
        warnings: Sentences for the user.
        left_out: Sentences about events that are not used.
    """

    labels: Labels
    points: Array
    raw: Array
    bins: IntArray
    config: LearnConfig
    nuisances: tuple[dict[str, str], ...]
    fakes: tuple[float, float]
    pairing: dict[str, str]
    edges: tuple[tuple[float, ...], ...]
    digest: str
    histograms_digest: str
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def read_labelled_events(analysis: Analysis, *, nuisances: bool = True) -> LabelledEvents:
    """Read the events of an analysis and find the probability of each label.

    Args:
        analysis: With the sections ``events`` and ``learn``; it needs no signal.
        nuisances: Whether errors of efficiencies and fakes are taken into account.

    Raises:
        InputError: There is no section ``learn``, or the events cannot be used.
    """
    config = analysis.learn
    if config is None:
        raise InputError(
            "learn: there is no section 'learn'; name the variables in which a difference is "
            "looked for: learn: {variables: [{column: mass}]}"
        )
    quantities = [("learn.variables", v.column) for v in config.variables]
    read = read_base_events(analysis, quantities, "learn")
    base, used = read.base, np.flatnonzero(read.base.event & read.base.known)
    points = make_points(read.table, config.variables, used)
    plain = tuple(replace(v, transform=None) for v in config.variables)
    raw = make_points(read.table, plain, used)
    counts = _count(base)
    k_tested, k_partner, fakes = _fakes_of(base, counts)
    said: list[dict[str, str]] = []
    changes: AnyArray = np.zeros((len(used), 0))
    left_out: list[str] = []
    if nuisances:
        labels = label_directions(analysis, read.samples, base)
        others = other_directions(analysis, read.samples, base)
        changes, said, left_out = _changes(base, counts, labels, others, used)
    warnings = [*read.warnings, *left_out]
    if analysis.lepton_id is None and not analysis.ratio_stated:
        warnings.append(
            "no efficiency ratio is stated and no maps are given: both samples are taken to be "
            "selected with equal efficiency; a ratio that is 1 % off is found as a signal"
        )
    warnings += far_events(config, points)
    warnings += _unused_fakes(base, counts)
    made = make_labels(
        base.tested[used], base.ratio[used], fakes_tested=k_tested[used],
        fakes_partner=k_partner[used], changes=changes, names=[n["name"] for n in said],
    )  # fmt: skip
    tested, partner = (read.samples.histograms[k, "observed"] for k in ("tested", "partner"))
    edges = tuple(axis.edges for axis in tested.axes)
    return LabelledEvents(
        made, points, raw, base.bins[used], config, tuple(said), fakes,
        {"tested": analysis.tested.label, "partner": analysis.partner.label}, edges,
        digest_events(points, made),
        data_digest(tested.values.ravel(), partner.values.ravel(), edges),
        tuple(dict.fromkeys(warnings)), tuple(_left_out(analysis, read)),
    )  # fmt: skip


def _left_out(analysis: Analysis, read: BaseEvents) -> Iterator[str]:
    """Yield what is said of events that are not used."""
    config = analysis.lepton_id
    if config is not None and config.outside == "exclude":
        for key, n in read.samples.notes.items():
            yield f"{n} events of {NAMES[key]} have a lepton outside the maps: left out"
    if read.base.outside:
        yield f"{read.base.outside} events outside the axes have no efficiency ratio: left out"


class Redrawing(TypedDict, total=False):
    """How the labels of an analysis are redrawn, whatever is learned of them.

    Attributes:
        redraws: How often; as the analysis says by default.
        nuisances: Whether errors of efficiencies and fakes are taken into account; they are.
        seed: Of everything drawn; 0.
        work: Where it is done, on threads by default, and who hears of it.
    """

    redraws: int | None
    nuisances: bool
    seed: int
    work: Work


def begin(
    analysis: Analysis, *, redraws: int | None = None, nuisances: bool = True, seed: int = 0,
    work: Work = HERE,
) -> tuple[LabelledEvents, int, int, Work]:  # fmt: skip
    """Return labelled events, how many redraws there are, their seed, and the work."""
    work.say("events")
    events = read_labelled_events(analysis, nuisances=nuisances)
    return events, events.config.redraws if redraws is None else redraws, seed, work


def _unused_fakes(base: Base, counts: tuple[AnyArray, Array]) -> list[str]:
    """Return what is said of expected fakes that no event takes, and of bins below 0."""
    place, n = counts
    out = []
    for role, mine in (("tested sample", base.tested), ("partner", ~base.tested)):
        some = ~base.event & mine
        expected = np.bincount(place[some], base.weights[some], len(n))
        alone, below = float(expected[(n == 0) & (expected > 0)].sum()), expected < 0
        if alone > 0:
            out.append(
                f"{alone:.3g} of {float(expected.sum()):.4g} fakes of the {role} are expected in "
                "bins of 'events.axes' without events: they are left out; take coarser axes"
            )
        if np.any(below):
            out.append(
                f"{-float(expected[below].sum()):.3g} fakes below 0 are expected of the {role}, in "
                f"{int(below.sum())} bins of 'events.axes': none are taken there; take coarser axes"
            )
    return out


def _count(base: Base) -> tuple[AnyArray, Array]:
    """Return the bin of every row of the base, the last for outside, and its number of events."""
    size = int(base.bins.max(initial=0)) + 2
    place = base.bins % size
    used = base.event & base.known
    return place, np.bincount(place[used], minlength=size).astype(float)


def _fakes_of(
    base: Base, counts: tuple[AnyArray, Array]
) -> tuple[Array, Array, tuple[float, float]]:
    """Return k_B and k_A at every row: expected fakes of its bin over its events."""
    place, n = counts
    out, sums = [], []
    for mine in (base.tested, ~base.tested):
        some = ~base.event & mine
        expected = np.maximum(np.bincount(place[some], base.weights[some], len(n)), 0.0)
        expected = np.where(n > 0, expected, 0.0)
        sums.append(float(expected.sum()))
        out.append(np.divide(expected, n, out=np.zeros(len(n)), where=n > 0)[place])
    return out[0], out[1], (sums[0], sums[1])


def _changes(
    base: Base,
    counts: tuple[AnyArray, Array],
    labels: list[Direction],
    others: list[Direction],
    used: AnyArray,
) -> tuple[AnyArray, list[dict[str, str]], list[str]]:
    """Return the change of pi per sigma of each nuisance at rho = 1, (n, k), and what they are.

    Returns:
        The changes, float32; ``name`` and ``source`` of each; and sentences about what is left out.
    """
    q = base.share[used]
    spread = q * (1 - q)
    columns = [np.asarray(d.values[used] * spread, dtype=np.float32) for d in labels]
    said = [{"name": d.name, "source": d.source} for d in labels]
    fakes, left_out = _fake_columns(base, counts, _fake_changes(base, counts, others), used)
    source = f"fakes: {', '.join(d.name for d in others) or 'none'}; counts of control regions"
    said += [{"name": f"fakes_{i:02d}", "source": source} for i in range(fakes.shape[1])]
    tables = [np.stack(columns, axis=1)] if columns else []
    return np.concatenate([*tables, fakes], axis=1), said, left_out


def _fake_columns(
    base: Base, counts: tuple[AnyArray, Array], changes: list[tuple[Array, Array]], used: AnyArray
) -> tuple[AnyArray, list[str]]:
    """Return the change of pi by the few directions of the fakes that move any sum.

    A change of the fakes is one number per bin and sample, u and v; that of pi at an event of the
    bin is u (1 - s) - v s. So the directions are turned in sums over the bins, and no table of all
    of them and all events is made: there is one for the counting error of every bin.

    Returns:
        (n, k), float32, and sentences about what is left out.
    """
    place, n = counts
    if not changes:
        return np.zeros((len(used), 0), dtype=np.float32), []
    q, r, at = base.share[used], base.ratio[used], place[used]
    over = np.divide(1.0, n, out=np.zeros(len(n)), where=n > 0)
    u, v = (np.array([pair[i] for pair in changes]) * over for i in (0, 1))
    s = r / (1 + r)
    factors = (1 - s, -s)
    gram = np.zeros((len(changes),) * 2)
    for one, left in zip(factors, (u, v), strict=True):
        for two, right in zip(factors, (u, v), strict=True):
            weight = np.bincount(at, one * two / (q * (1 - q)), len(n))
            gram += (left * weight) @ right.T
    sizes, turns = np.linalg.eigh(gram)
    moving = np.flatnonzero(sizes > KEPT)[::-1]
    kept, left_out = moving[:MOST_FAKES], []
    if len(moving) > MOST_FAKES:
        left_out = [
            f"of {len(changes)} directions of the fakes, mostly counting errors of one bin each, "
            f"{MOST_FAKES} are taken; the others add at most {sizes[moving[MOST_FAKES]]:.2%} to "
            "the variance of any sum; coarser axes have fewer"
        ]
    out = np.empty((len(used), len(kept)), dtype=np.float32)
    for column, turn in enumerate(turns[:, kept].T):
        out[:, column] = factors[0] * (turn @ u)[at] + factors[1] * (turn @ v)[at]
    return out, left_out


def _fake_changes(
    base: Base, counts: tuple[AnyArray, Array], others: list[Direction]
) -> list[tuple[Array, Array]]:
    """Return the change of expected fakes of each bin, of the tested sample and of its partner."""
    place, n = counts
    size, rows = len(n), ~base.event
    roles = [rows & base.tested, rows & ~base.tested]
    out = []
    for (
        direction
    ) in others:  # in units of the difference: -f of the tested sample, r f of the other
        change = np.where(base.tested, -direction.values, direction.values / base.ratio)
        b, a = (np.bincount(place[mine], change[mine], size).astype(float) for mine in roles)
        out.append((b, a))
    nothing = np.zeros(size)
    for number, mine in enumerate(roles):
        some = mine & base.counted
        error = np.sqrt(np.bincount(place[some], base.weights[some] ** 2, size))
        for k in np.flatnonzero(error):
            one = np.zeros(size)
            one[k] = error[k]
            out.append((one, nothing) if number == 0 else (nothing, one))
    return out


def digest_events(points: Array, labels: Labels) -> str:
    """Return the digest of what is tested."""
    found = hashlib.sha256()
    for values in (points, labels.share, labels.tested.astype(float)):
        found.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return f"sha256:{found.hexdigest()}"
