"""A found window as a hypothesis: an analysis file with the window as its signal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ddphf.arrays import Array, Spec
from ddphf.exceptions import InputError
from ddphf.results.provenance import data_digest, seal_of
from ddphf.results.search import SearchResult
from ddphf.search.field import Field
from ddphf.search.pair import SearchPair
from ddphf.statistics.windows import Window
from ddphf.symmetry.window_signal import window_weights

__all__ = ["TEMPLATES", "estimate_events", "freeze_window", "ranked_window", "sample_digests"]

TEMPLATES = ("flat", "sqrt", "gaussian")

LARGEST = 10.0
"""mu = 1 is at most so many of its errors: optimizers like errors of about one."""

FLOOR = 0.5
"""Events assumed in bins of the template that have none."""


def freeze_window(
    record: SearchResult,
    pair: SearchPair,
    document: Mapping[str, Any],
    *,
    rank: int = 1,
    template: str = "flat",
    files: list[str] | None = None,
    select: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the analysis file of a found window, and sentences about what was changed.

    Args:
        record: Of ``ddphf search pair``.
        pair: Its data, read again.
        document: The analysis file that was searched, its addresses as they are to stand.
        rank: Of the window in the list of the best.
        template: ``flat``, ``sqrt`` or ``gaussian``.
        files: Digests of the tables of events, where there are some.
        select: Their selection.

    Raises:
        InputError: No such window, or other data than those that were searched.
    """
    found = ranked_window(record, rank)
    if pair.digest != record.data_digest:
        raise InputError(
            "the data are not those that were searched (their digest differs); search them again"
        )
    window = Window(tuple(found["start"]), tuple(found["size"]))
    field = pair.field()
    deficit = found["local"]["z"] < 0
    weights = window_weights(window, template, pair.axes, field.total)
    out = dict(document)
    said = []
    side = "partner" if deficit else "tested"
    for role in ("tested", "partner"):
        out[role] = {key: value for key, value in document[role].items() if key != "signal"}
    out[side]["signal"] = {
        "window": {
            "edges": [[float(a), float(b)] for a, b in found["edges"]],
            "template": template,
            "events": estimate_events(field, weights, deficit=deficit),
        }
    }
    if deficit:
        said.append(
            "a deficit of the tested sample is an excess of its partner: the signal is there"
        )
    empty = (weights > 0) & ((1 + field.ratio) * _background(pair) <= 0)
    if np.any(empty) and "floor" not in document.get("background", {}):
        out["background"] = {**document.get("background", {}), "floor": FLOOR}
        said.append(
            f"{np.count_nonzero(empty)} bin(s) of the template hold no background: 'background: "
            f"floor: {FLOOR}' is set, so that they can carry a signal"
        )
    out["name"] = f"{document['name']}_window"
    out["signal_scale"] = 1.0
    out["data_directed"] = {
        "data_digest": pair.digest,
        **sample_digests(pair),
        **({} if files is None else {"files": files, "select": select or ""}),
        "direction": "deficit" if deficit else "excess",
        "rank": rank,
        "seed": record.seed,
        "windows": {
            "rule": record.windows["rule"],
            "n": record.windows["n"],
            "start": list(window.start),
            "size": list(window.size),
        },
        "local": {key: found["local"][key] for key in ("z", "n_sigma", "p")},
        "global": {key: found["global"][key] for key in ("p", "error", "z", "method")},
    }
    out["data_directed"]["seal"] = seal_of(out)
    return out, said


def ranked_window(record: SearchResult, rank: int) -> Spec:
    """Return a window of the list of the best.

    Raises:
        InputError: There is none of this rank, or the record is not of one histogram.
    """
    if record.kind != "pair" or not record.best:
        raise InputError(
            f"a record of 'ddphf search {record.kind}' has no window of one histogram to freeze; "
            "give one of 'ddphf search pair'"
        )
    if not 1 <= rank <= len(record.best):
        raise InputError(
            f"--rank {rank}: the record lists {len(record.best)} window(s), from 1; search again "
            "with a larger --top"
        )
    return record.best[rank - 1]


def sample_digests(pair: SearchPair) -> Spec:
    """Return the digests of each sample alone: data that share one of them share events."""
    edges = [axis.edges for axis in pair.axes]
    return {
        f"{role}_digest": data_digest(counts.ravel(), [], edges)
        for role, counts in (("tested", pair.tested), ("partner", pair.partner))
    }


def _background(pair: SearchPair) -> Array:
    """Return b under the null without nuisances, (B - f_B + A - f_A) / (1 + r)."""
    clean = pair.tested + pair.partner - pair.fakes_tested - pair.fakes_partner
    return np.asarray(clean / (1 + pair.ratio))


def estimate_events(field: Field, weights: Array, *, deficit: bool = False) -> float:
    """Return the events of a template at mu = 1: what is found, within 1 and 10 of its errors.

    With t the terms, P what profiling leaves of them and s the template in units of sqrt(v), the
    estimate is s' P t / s' P s with the error (s' P s)^-1/2.

    Args:
        field: The data.
        weights: Part of the signal in each bin.
        deficit: Whether the signal is in the partner: it then takes r times itself from the
            difference.

    Example:
        >>> from ddphf.search.field import make_field
        >>> field = make_field([[140.0, 100.0]], [[100.0, 100.0]])
        >>> estimate_events(field, np.array([[1.0, 0.0]]))
        40.0
    """
    scale = -field.ratio if deficit else np.ones_like(field.ratio)
    root = np.sqrt(np.where(field.filled, field.variance, 1.0))
    shape = (np.where(field.filled, weights, 0.0) * scale / root).ravel()
    seen = field.profile.project(shape)
    information = float(seen @ shape)
    if not information > 0:
        raise InputError("window: holds no event, so that nothing tells how large a signal may be")
    estimate = float(seen @ field.terms.ravel()) / information
    error = 1 / math.sqrt(information)
    events = min(max(estimate, error), LARGEST * error)
    return float(f"{events:.4g}")
