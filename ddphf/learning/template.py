"""A signal template learned on one half of the events, for a test on the other half."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.compute.streams import generator
from ddphf.config.analysis import Analysis, TemplateConfig
from ddphf.config.learned import seal_learned
from ddphf.config.sections import EventsConfig
from ddphf.exceptions import InputError, UsageError
from ddphf.inputs.events import EventTable
from ddphf.inputs.histogram import Axis
from ddphf.learning.curve import LearnedRatio, learn_ratio
from ddphf.learning.labels import Labels
from ddphf.learning.profile import LabelProfile
from ddphf.learning.read_labels import LabelledEvents, read_labelled_events
from ddphf.learning.variables import resolutions
from ddphf.search.read_events import check_flippable
from ddphf.symmetry.event_tables import PLAIN, read_table
from ddphf.symmetry.learned import COLUMN, digest_numbers, event_numbers, note_of
from ddphf.symmetry.load_events import make_axes

__all__ = ["Fold", "held_out_z", "learn_templates", "split_halves"]


@dataclass(frozen=True)
class Fold:
    """One analysis file: learned on one half, to be tested on the other.

    Attributes:
        document: The analysis file.
        held_out: Events of the other half, as npz.
        training: Numbers of the events that it was learned from, as npz.
        template: Histograms of the signal, as CSV.
        learned_from: Events of the training half.
        tested_on: Events of the other one.
        events: Of the template, by channel.
        warnings: Sentences for the user.
    """

    document: dict[str, Any]
    held_out: bytes
    training: bytes
    template: str
    learned_from: int
    tested_on: int
    events: Mapping[str, float]
    warnings: tuple[str, ...]


FLOOR = 0.5
"""Background assumed in bins of the template in which the held-out half has no events."""

SPLIT = 1
"""Part of the seed that splits the events."""


def split_halves(n: int, seed: int) -> Mask:
    """Return which of n events are in the first half; the same for the same seed.

    Example:
        >>> int(split_halves(11, 1).sum())
        5
    """
    return np.asarray(generator(seed, SPLIT).permutation(n) < n // 2)


def held_out_z(ratio: LearnedRatio, points: Array, labels: Labels) -> float:
    """Return the score of a learned ratio on other events, over its standard deviation.

    Under the null it is N(0, 1): nothing of these events had a part in the learning.

    Args:
        ratio: Learned on other events.
        points: Transformed variables, (n, d).
        labels: Of these events; their nuisances are profiled.
    """
    f = ratio(points)[:, None]
    profile = LabelProfile.make(labels, nuisances=labels.changes.shape[1] > 0)
    moved = f.T @ profile.moves
    score = profile.sums(f.T @ labels.residual[:, None], moved, profile.pulls.T @
                         labels.residual[:, None])  # fmt: skip
    variance = profile.variance(f.T @ (labels.spread[:, None] * f), moved)
    return float(score[0, 0] / np.sqrt(variance[0, 0]))


def learn_templates(
    analysis: Analysis, document: Mapping[str, Any], names: list[str], *, seed: int = 0
) -> list[Fold]:
    """Learn a template on each half, for the other one.

    Args:
        analysis: With sections ``events`` and ``learn``.
        document: The same as YAML gives it, its addresses as they are to stand.
        names: Stem of the files of each fold, one or two.
        seed: Of the split.

    Raises:
        InputError: The events cannot be used, or a half has too few.
    """
    events = check_flippable(analysis, "learn")
    if analysis.learned is not None:
        raise InputError(
            "learn template: the analysis file has a section 'learned' already: its template was "
            "learned from other events; take the analysis file that it was learned with"
        )
    table = _read_all(analysis, events)
    whole = read_labelled_events(analysis, nuisances=False).histograms_digest
    first = split_halves(table.n_events, seed)
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            learning = first if number == 0 else ~first
            part = float(learning.mean())
            learned = _learn(analysis, events, table.select(learning), Path(folder), part)
            out.append(
                _fold(analysis, document, table, learning, learned, name, number + 1, seed, whole)
            )
    return out


def _read_all(analysis: Analysis, events: EventsConfig) -> EventTable:
    """Return every column that the analysis needs of the events of both samples."""
    assert analysis.learn is not None
    texts = [
        analysis.tested.select or "", analysis.partner.select or "",
        *(v.column for v in analysis.closure), *(v.column for v in analysis.learn.variables),
    ]  # fmt: skip
    if analysis.search is not None:
        texts += [axis.column for axes in analysis.search.observables for axis in axes]
        texts += [s.select for s in analysis.search.selections if s.select is not None]
    return read_table(
        analysis, events, events.file, select=events.select, leptons=events.leptons,
        expressions=texts, columns=events.identifier,
    )  # fmt: skip


def _bare(analysis: Analysis, events: EventsConfig, file: Path, part: float) -> Analysis:
    """Return the analysis of a part of the events: its fakes are that part of all."""

    def scaled(fakes: TemplateConfig | None) -> TemplateConfig | None:
        if fakes is None:
            return None
        prompt = fakes.prompt
        if prompt is not None:
            prompt = replace(prompt, weight=_scaled(prompt.weight, part))
        return replace(fakes, weight=_scaled(fakes.weight, part), prompt=prompt)

    return replace(
        analysis,
        events=replace(events, file=str(file), collections={}),
        tested=replace(analysis.tested, fakes=scaled(analysis.tested.fakes)),
        partner=replace(analysis.partner, fakes=scaled(analysis.partner.fakes)),
    )


def _scaled(weight: str | None, part: float) -> str:
    return f"{part!r}" if weight is None else f"({weight}) * {part!r}"


def _learn(
    analysis: Analysis, events: EventsConfig, half: EventTable, folder: Path, part: float
) -> tuple[LearnedRatio, LabelledEvents]:
    file = folder.resolve() / "half.npz"
    try:
        file.write_bytes(_npz(_plain(half)))
    except OSError as error:
        raise UsageError(f"a temporary file: cannot be written ({error.strerror})") from None
    read = read_labelled_events(_bare(analysis, events, file, part))
    ratio = learn_ratio(read.points, read.labels, resolutions(read.config.variables))
    return ratio, read


def _plain(table: EventTable) -> dict[str, AnyArray]:
    """Return the columns that a file can have; quantities that are expressions come of them."""
    return {name: values for name, values in table.columns.items() if PLAIN.fullmatch(name)}


def _npz(columns: Mapping[str, AnyArray]) -> bytes:
    out = io.BytesIO()
    arrays: dict[str, Any] = dict(columns)
    np.savez(out, **arrays)
    return out.getvalue()


def _fold(
    analysis: Analysis,
    document: Mapping[str, Any],
    table: EventTable,
    learning: Mask,
    learned: tuple[LearnedRatio, LabelledEvents],
    name: str,
    number: int,
    seed: int,
    whole: str,
) -> Fold:
    ratio, read = learned
    events = analysis.events
    assert events is not None
    axes = make_axes(events)
    half, other = table.select(learning), table.select(~learning)
    histograms = _histograms(ratio, read, axes)
    columns = tuple(events.identifier) or tuple(sorted(_plain(table)))
    numbers = event_numbers(half, columns)
    own = event_numbers(other, columns)
    part = float((~learning).mean())
    out = {key: value for key, value in document.items() if key != "learn"}
    for role in ("tested", "partner"):
        channel = {k: v for k, v in document[role].items() if k != "signal"}
        if histograms[role].sum() > 0:
            channel["signal"] = {"yields": f"{name}_template.csv:{role}"}
        if "fakes" in channel:
            fakes = dict(channel["fakes"])
            fakes["weight"] = _scaled(_text(fakes.get("weight")), part)
            if "prompt" in fakes:
                weight = _scaled(_text(fakes["prompt"].get("weight")), part)
                fakes["prompt"] = {**fakes["prompt"], "weight": weight}
            channel["fakes"] = fakes
        out[role] = channel
    if not any("signal" in out[role] for role in ("tested", "partner")):
        raise InputError("learn template: f is 0 everywhere; there is nothing to hand over")
    out["name"] = f"{document['name']}_learned_{number}"
    out["signal_scale"] = "auto"
    out["background"] = {"floor": FLOOR, **document.get("background", {})}
    out["events"] = {
        k: v for k, v in document["events"].items() if k not in ("file", "collections", "select")
    }
    out["events"] = {"file": f"{name}_held_out.npz", **out["events"]}
    out["learn"] = document["learn"]
    out["learned"] = {
        "training": f"{name}_training.npz",
        "columns": list(columns),
        "coincidences": int(np.isin(own, numbers).sum()),
        "training_digest": digest_numbers(numbers),
        "held_out_digest": digest_numbers(own),
        "data_digest": read.digest,
        "sample_digest": whole,
        "learned_from": half.n_events,
        "tested_on": other.n_events,
        "fold": number,
        "seed": seed,
    }
    out["learned"]["seal"] = seal_learned(out["learned"])
    return Fold(
        document=out, held_out=_npz(_plain(other)), training=_npz({COLUMN: numbers}),
        template=f"# {note_of(out['learned']['seal'])}\n{_csv(histograms, axes)}",
        learned_from=half.n_events, tested_on=other.n_events,
        events={role: float(values.sum()) for role, values in histograms.items()},
        warnings=read.warnings,
    )  # fmt: skip


def _text(weight: Any) -> str | None:
    return None if weight is None else str(weight)


def _histograms(
    ratio: LearnedRatio, read: LabelledEvents, axes: tuple[Axis, ...]
) -> dict[str, Array]:
    """Return the signal that f stands for in each channel.

    It is pi (e^f - 1) of B where f > 0, and (1 - pi) (e^-f - 1) of A where f < 0, summed over the
    training half, whatever the labels.
    """
    f, pi = ratio(read.points), read.labels.share
    shape = tuple(axis.n_bins for axis in axes)
    used = read.bins >= 0
    out: dict[str, Array] = {}
    for role, share, sign in (("tested", pi, 1.0), ("partner", 1 - pi, -1.0)):
        gain = share * np.expm1(np.maximum(sign * f, 0.0))
        filled = np.bincount(read.bins[used], gain[used], int(np.prod(shape)))
        out[role] = np.asarray(filled.reshape(shape), dtype=float)
    return out


def _csv(histograms: Mapping[str, Array], axes: tuple[Axis, ...]) -> str:
    """Return histograms as a table of bins, the first axis the slowest."""
    called = [f"{axis.name} [{axis.unit}]" if axis.unit else axis.name for axis in axes]
    names = [f"{name}{end}" for name in called for end in ("_low", "_high")]
    lines = [",".join([*names, *histograms])]
    bins = [list(itertools.pairwise(axis.edges)) for axis in axes]
    for place in itertools.product(*(range(len(b)) for b in bins)):
        ends = [x for axis, i in zip(bins, place, strict=True) for x in axis[i]]
        row = (*ends, *(h[place] for h in histograms.values()))
        lines.append(",".join(repr(float(x)) for x in row))
    return "\n".join(lines) + "\n"
