"""The events of a published record: packed beside it, read with care, told about again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.array_guards import check_arrays
from ddphf.arrays import AnyArray, Spec
from ddphf.compute.blas import one_blas_thread
from ddphf.compute.work import Work
from ddphf.config.analysis import read_analysis
from ddphf.config.learn import MAX_VARIABLES, LearnConfig, VariableConfig
from ddphf.exceptions import InputError
from ddphf.guards import MOST_TOYS, MOST_VALUES, within
from ddphf.learning.curve import curve_of_events
from ddphf.learning.labels import Labels
from ddphf.learning.power import Injected, Signal, check_injected, limit_of, power_of_events
from ddphf.learning.read_labels import LabelledEvents, digest_events, read_labelled_events
from ddphf.learning.run_test import judge_events
from ddphf.learning.trained import TRAINED, TrainedStatistics
from ddphf.learning.variables import transform_values
from ddphf.progress import Count
from ddphf.results.provenance import data_digest

__all__ = ["Difference", "again", "compare", "pack_events", "quick_again", "unpack_events"]

COLUMNS = {"raw": 2, "share": 1, "slope": 1, "changes": 2, "tested": 1, "bins": 1}
"""Arrays of the events and their dimensions; beside them ``edges_0`` and so on."""

TRANSFORMS = (None, "log", "rank")

NEAR = 1e-6
"""Relative: numbers that one and the same program gives in one and the same environment."""

NEAR_ELSEWHERE = 1e-4
"""Relative: sums in single precision on other processors."""

NEAR_TRAINED = 2e-2
"""Relative: the end of a training of many thousand steps in single precision elsewhere."""

FEW = 2
"""Redraws by which a p-value may differ elsewhere: those whose t is that of the data within
rounding."""

MOST_NUISANCES = 2_000
"""Of events that anybody may have packed: they are profiled by a matrix of that many rows."""

MOST_LABELS = 1e11
"""Redrawn labels of a record that level 5 finds again: half an hour; level 6 takes ten times."""

MOST_TRAININGS = 100_000
"""Of a record with one for every redraw: half a day of the slowest ones."""

MOST_STRENGTHS = 1_000

WHO = "a record of 'ddphf learn'"

TOLD = {
    "test": ("t", "p", "p_interval", "z", "p_law", "significance", "effective_dof", "law",
             "chi2_12", "members", "treatment", "null", "network"),
    "curve": ("t", "p", "p_interval", "z", "curve"),
    "power": ("power",),
}  # fmt: skip
"""What a record tells of its events."""

Difference = tuple[str, float | None, float | None]
"""Where a record differs from what is found again, and both numbers."""


def pack_events(record: Mapping[str, Any], path: str) -> bytes:
    """Return the events of a record, read again from its analysis file.

    Args:
        record: Of ``ddphf learn``.
        path: Of its file, to which the address of the analysis file is relative.

    Raises:
        InputError: The analysis file is not there any more, or its events are others.
    """
    stated = (record.get("analysis") or {}).get("file")
    file = None if stated is None else Path(path).parent / stated
    if file is None or not file.is_file():
        raise InputError(
            f"{path}: its events are published with it, so that readers can redo it, and the "
            f"analysis file that names them ({stated or 'standard input'}) is not there; put it "
            "there, or test again and keep both"
        )
    analysis = read_analysis(str(file), needs_signal=False)
    events = read_labelled_events(analysis, nuisances=bool(record.get("nuisances")))
    if events.digest != record["provenance"].get("events_digest"):
        raise InputError(
            f"{path}: the events of {file} are not those that it is about (their digest differs); "
            "test them again"
        )
    labels = events.labels
    arrays: dict[str, Any] = {
        "raw": events.raw, "share": labels.share, "slope": labels.slope,
        "changes": labels.changes, "tested": labels.tested,
        "bins": events.bins.astype(np.int32),
        **{f"edges_{i}": np.array(edges) for i, edges in enumerate(events.edges)},
    }  # fmt: skip
    out = BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def unpack_events(content: bytes, record: Mapping[str, Any], name: str) -> LabelledEvents:
    """Read events that anybody may have packed, and see that they are those of the record.

    Args:
        content: Of :func:`pack_events`.
        record: That they belong to.
        name: Of their file, for messages.

    Raises:
        InputError: No such file, or other events.
    """
    try:
        check_arrays(BytesIO(content), name)
        with np.load(BytesIO(content), allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in file.files}
    except (ValueError, OSError, MemoryError, KeyError) as error:
        raise InputError(f"{name}: no events of a record ({error})") from None
    _check_columns(arrays, record, name)
    config = LearnConfig(
        tuple(
            VariableConfig(
                str(v["column"]), v.get("transform"), v.get("resolution"), v.get("label") or "",
                v.get("unit") or "",
            )
            for v in record["variables"]
        )
    )  # fmt: skip
    stated, raw = record["labels"], arrays["raw"].astype(float)
    tested = arrays["tested"].astype(bool)
    labels = Labels(
        arrays["share"].astype(float), tested, arrays["slope"].astype(float), arrays["changes"],
        float(stated["rho"]), tuple(str(n["name"]) for n in record.get("nuisances") or ()),
    )  # fmt: skip
    with np.errstate(all="ignore"):
        points = np.stack(
            [
                transform_values(x, v.transform)
                for x, v in zip(raw.T, config.variables, strict=True)
            ],
            axis=1,
        )
    edges = tuple(tuple(arrays[f"edges_{i}"].tolist()) for i in range(_axes(arrays)))
    bins = arrays["bins"].astype(np.int64)
    size = math.prod(len(e) - 1 for e in edges)
    within(name, "bins", size, MOST_VALUES)
    inside = bins >= 0
    if np.any(bins >= size):
        raise InputError(f"{name}: an event lies in no bin of its axes")
    counts = [
        np.bincount(bins[inside & some], minlength=size).astype(float) for some in (tested, ~tested)
    ]
    fakes = stated.get("fakes") or {}
    found = LabelledEvents(
        labels, points, raw, bins, config, tuple(record.get("nuisances") or ()),
        (float(fakes.get("tested", 0.0)), float(fakes.get("partner", 0.0))),
        dict(record.get("pairing") or {}), edges, digest_events(points, labels),
        data_digest(counts[0], counts[1], edges),
    )  # fmt: skip
    if found.digest != record["provenance"].get("events_digest"):
        raise InputError(f"{name}: holds other events than those that the record is about")
    if found.histograms_digest != record.get("data_digest"):
        raise InputError(f"{name}: its events fill other histograms than those of the record")
    return found


def _axes(arrays: Mapping[str, AnyArray]) -> int:
    return sum(key.startswith("edges_") for key in arrays)


def _check_columns(arrays: Mapping[str, AnyArray], record: Mapping[str, Any], name: str) -> None:
    """Refuse arrays that are no events with labels."""
    wanted = {*COLUMNS, *(f"edges_{i}" for i in range(_axes(arrays)))}
    if set(arrays) != wanted or "edges_0" not in wanted:
        raise InputError(f"{name}: has the arrays {', '.join(sorted(arrays))[:200]}; no events")
    labels = record["labels"]
    n = int(labels["n_tested"]) + int(labels["n_partner"])
    for key, dimensions in COLUMNS.items():
        values = arrays[key]
        if values.ndim != dimensions or len(values) != n or values.dtype.kind not in "fiub":
            raise InputError(f"{name}: '{key}' is no column of {n} events")
        if not np.all(np.isfinite(values)):
            raise InputError(f"{name}: '{key}' is no number for some event")
    within(name, "variables", len(record["variables"]), MAX_VARIABLES)
    within(name, "nuisances", len(record.get("nuisances") or ()), MOST_NUISANCES)
    for variable in record["variables"]:
        if variable.get("transform") not in TRANSFORMS:
            raise InputError(f"{name}: '{variable['transform'][:40]}' is no transform")
    share = arrays["share"]
    wide = (arrays["raw"].shape[1], arrays["changes"].shape[1])
    if wide != (len(record["variables"]), len(record.get("nuisances") or ())):
        raise InputError(f"{name}: {wide[0]} variables and {wide[1]} nuisances, not the record's")
    if not (
        np.all((share > 0) & (share < 1)) and int(arrays["tested"].sum()) == labels["n_tested"]
    ):
        raise InputError(f"{name}: probabilities or labels that are none")


def quick_again(record: Mapping[str, Any], events: LabelledEvents) -> Spec:
    """Return what a record tells, found again, without a training for every redraw or toy.

    Where it takes them, that is t of the data's training, and the limits beside a power.
    """
    if record["kind"] == "power":
        asked = _injected(record, events)
        limits = [limit_of(events, asked.signal, s) if s > 0 else 0.0 for s in asked.strengths]
        return {"power": {"points": [{"q0_l1": {"q0": q0}} for q0 in limits]}}
    if record["statistic"] in TRAINED:
        seed = int(record["seed"])
        with one_blas_thread():
            settings = TrainedStatistics(
                events.points, events.labels, record["statistic"], seed, {}
            )
            values, _ = settings.evaluate(events.labels.tested[:, None])
        members = zip(settings.names, values[:, 0], strict=True)
        return {"members": [{"statistic": name, "t": float(t)} for name, t in members]}
    _check_asked(record, events.labels.n, MOST_LABELS)
    return again(record, events)


def again(record: Mapping[str, Any], events: LabelledEvents, progress: Count | None = None) -> Spec:
    """Return all that a record tells of its events, found again from its seed.

    Args:
        record: Of ``ddphf learn``.
        events: Of it.
        progress: Called with (done, total).

    Raises:
        InputError: It asks for more than anybody draws again.
    """
    kind, seed, redraws = record["kind"], int(record["seed"]), int(record["redraws"])
    work = Work(count=progress)
    _check_asked(record, events.labels.n, 10 * MOST_LABELS)
    if kind == "test":
        found = judge_events(events, redraws, seed, work, statistic=record["statistic"])
    elif kind == "curve":
        found = curve_of_events(events, redraws, seed, work)
    else:
        found = power_of_events(events, redraws, seed, work, _injected(record, events))
    told = found.to_dict()
    return {key: told[key] for key in TOLD[kind]}


def _check_asked(record: Mapping[str, Any], n: int, most_labels: float) -> None:
    """Refuse a record that asks for more redraws of n labels than anybody draws again."""
    redraws = int(record["redraws"])
    if record["kind"] == "power":
        redraws *= int(record["power"]["toys"]) * len(record["power"]["points"])
    elif record["statistic"] in TRAINED:
        within(WHO, "trainings", redraws, MOST_TRAININGS)
    within(WHO, "redraws", redraws, MOST_TOYS)
    within(WHO, "redrawn labels", redraws * n, most_labels)


def _injected(record: Mapping[str, Any], events: LabelledEvents) -> Injected:
    """Return the signal of a record, its strengths and the toys of each.

    Raises:
        InputError: They are none.
    """
    power, stated = record["power"], record["power"]["signal"]
    signal = Signal(
        tuple(map(float, stated["means"])), tuple(map(float, stated["widths"])),
        bool(stated["tested"]),
    )  # fmt: skip
    strengths = [float(p["strength"]) for p in power["points"]]
    within(WHO, "strengths", len(strengths), MOST_STRENGTHS)
    injected = Injected(signal, strengths, record["statistic"], int(power["toys"]))
    check_injected(events, injected)
    return injected


def compare(
    record: Mapping[str, Any], found: Mapping[str, Any], *, here: bool
) -> Iterator[Difference]:
    """Yield where a record differs from what was found again.

    Elsewhere, where the last digits of a sum may be others, t and p-values are compared alone.

    Args:
        record: Of ``ddphf learn``.
        found: Of :func:`again` or :func:`quick_again`.
        here: Whether it was made in this environment.
    """
    if here:
        yield from _differences(record, found, "", _close)
        return
    trained = record["statistic"] in TRAINED
    near = NEAR_TRAINED if trained else NEAR_ELSEWHERE
    n = int(record["redraws"])

    def similar(key: str, stated: float, new: float) -> bool:
        if key == "p":
            spread = 4 * math.sqrt(max(stated * (1 - stated), 0.0) / (n + 1)) if trained else 0.0
            return abs(stated - new) <= FEW / (n + 1) + spread
        if key == "t" and record["statistic"] == "default":
            return True  # it is that of the smallest p, which its members tell
        if key in ("t", "q0", "pull"):
            return abs(stated - new) <= near * max(abs(stated), abs(new), 1e-3)
        return True

    yield from _differences(record, found, "", similar)


def _close(key: str, stated: float, new: float) -> bool:
    del key
    return abs(stated - new) <= NEAR * max(abs(stated), abs(new)) + 1e-12


def _differences(
    stated: Any, found: Any, where: str, same: Callable[[str, float, float], bool]
) -> Iterator[Difference]:
    """Walk along what was found; the record may say more."""
    if isinstance(found, Mapping) and isinstance(stated, Mapping):
        for key, value in found.items():
            yield from _differences(stated.get(key), value, f"{where}.{key}".lstrip("."), same)
    elif _listed(found) and _listed(stated):
        if len(found) != len(stated):
            yield where, None, None
            return
        for number, (one, two) in enumerate(zip(stated, found, strict=True)):
            yield from _differences(one, two, f"{where}.{number}", same)
    elif _number(found) and _number(stated):
        if not same(where.rpartition(".")[2], float(stated), float(found)):
            yield where, float(stated), float(found)
    elif stated != found:
        yield where, None, None


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
