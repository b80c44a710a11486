"""Rows of labels from events, fakes and efficiencies.

With fakes an event of a bin with n events, of which f_B and f_A are expected to be fakes, has

    q_i = P r_i / (1 + r_i) + f_B / n,   P = 1 - (f_A + f_B) / n

(P / (1 + r) is b / n of the null given n). The template is subtracted from the data. Three kinds of
coins make the fluctuation complete: the labels given n; what n itself does to the subtraction,
e_i = (1 + r_i) q_i - r_i per event, 0 without fakes; and the events of the control region.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from ddphf.arrays import Array, IntArray, Mask
from ddphf.config.analysis import Analysis
from ddphf.exceptions import InputError
from ddphf.inputs.alignment import align
from ddphf.inputs.readers import read_histogram
from ddphf.search.event_nuisances import Base, Direction
from ddphf.search.rows import LabelRows
from ddphf.symmetry.load_events import EventSamples

__all__ = ["make_base", "make_rows"]

SMALL = 1e-12
"""Of an event: without fakes e_i is rounding."""


def make_base(analysis: Analysis, samples: EventSamples) -> Base:
    """Return events of both samples and of the control regions, one after the other.

    Raises:
        InputError: An efficiency ratio that is not positive.
    """
    parts = [(key, samples.events[key]) for key in Base.keys(samples)]
    bins = np.concatenate([part.bins for _, part in parts])
    ratio = np.concatenate(
        [
            np.ones(len(part.bins)) if part.efficiencies is None else part.efficiencies.ratio
            for _, part in parts
        ]
    )
    stated, known = analysis.efficiency_ratio, np.ones(len(bins), dtype=bool)
    if isinstance(stated, str):
        found = align(read_histogram(stated, folder=analysis.folder), samples.axes)[0]
        values = np.append(found.values.ravel(), 1.0)  # -1, outside, is the last
        _refuse_ratio(values, stated)
        ratio, known = ratio * values[bins], bins >= 0
    else:
        _refuse_ratio(np.array([stated]), "number")
        ratio = ratio * stated
    n_events = len(parts[0][1].bins)
    event = np.arange(len(bins)) < n_events
    tested = np.concatenate([part.tested for _, part in parts])
    weights = np.concatenate([part.weights for _, part in parts])
    size = int(np.prod([axis.n_bins for axis in samples.axes])) + 1  # the last is outside
    share, prompt = _shares(bins, event & known, tested, weights, ratio, size)
    return Base(
        keys_=tuple(key for key, _ in parts),
        starts=np.cumsum([0, *(len(part.bins) for _, part in parts)]),
        bins=bins, ratio=ratio, event=event, tested=tested, weights=weights,
        known=known, share=share, prompt=prompt,
        counted=np.concatenate([_counted(analysis, key, len(p.bins)) for key, p in parts]),
    )  # fmt: skip


def _refuse_ratio(values: Array, source: str) -> None:
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise InputError(
            f"efficiency ratio ({source}), bin {bad[0]}: got {values[bad[0]]:g}, expected a "
            "number > 0"
        )


def _counted(analysis: Analysis, key: tuple[str, str], n: int) -> Mask:
    """Return which rows have a counting error: fakes, unless theirs is left out."""
    channel = analysis.tested if key[0] == "tested" else analysis.partner
    fakes = channel.fakes if key[1] == "fakes" else None
    return np.full(n, fakes is not None and fakes.error != "none")


def _shares(
    bins: IntArray, event: Mask, tested: Mask, weights: Array, ratio: Array, size: int
) -> tuple[Array, Array]:
    """Return q of every row (1/2 of those that are no events), and the prompt part P."""
    place = bins % size  # -1 is the last
    n = np.bincount(place[event], minlength=size).astype(float)
    fakes = []
    rest = ~event & (weights != 0)
    if not rest.any():
        return np.where(event, ratio / (1 + ratio), 0.5), np.ones(len(bins))
    for mine in (tested, ~tested):
        some = rest & mine
        sums = np.maximum(np.bincount(place[some], weights[some], size), 0.0)
        fakes.append(np.divide(sums, n, out=np.zeros(size), where=n > 0))
    total = np.maximum(fakes[0] + fakes[1], 1.0)  # no more fakes than events
    in_tested, in_partner = fakes[0] / total, fakes[1] / total
    prompt = (1 - in_tested - in_partner)[place]
    share = prompt * ratio / (1 + ratio) + in_tested[place]
    edge = 1e-6
    return np.where(event, np.clip(share, edge, 1 - edge), 0.5), prompt


def make_rows(
    base: Base, labels: Sequence[Direction], others: Sequence[Direction]
) -> tuple[LabelRows, IntArray]:
    """Return the rows, and the event of the base that each belongs to.

    Args:
        base: The events.
        labels: Nuisances of the labels' odds, ``values`` of shape (n of the base,).
        others: Nuisances of the fakes: change of a row's part of the difference.
    """
    r, event, q = base.ratio, base.event, base.share
    part = base.parts
    observed = np.where(event, np.where(base.tested, 1.0, -r), part)
    steps = np.where(event, 1 + r, np.where(base.counted, 2 * part, 0.0))
    extra = np.where(event, (1 + r) * q - r, 0.0)
    again = np.flatnonzero(np.abs(extra) > SMALL)
    source = np.concatenate([np.arange(len(r)), again])
    none = np.zeros(len(again))
    slopes = np.zeros((len(source), len(labels)), dtype=np.float32)
    for k, direction in enumerate(labels):
        slopes[: len(r), k] = direction.values
    columns = [sparse.csr_matrix(d.values[:, None]) for d in others]
    shifts = sparse.hstack(columns, format="csr") if columns else sparse.csr_matrix((len(r), 0))
    shifts = sparse.vstack([shifts, sparse.csr_matrix((len(again), len(others)))], format="csr")
    expected = np.where(event, 0.0, base.weights * np.where(base.tested, 1.0, r**2))
    rows = LabelRows(
        steps=np.concatenate([steps, 2 * extra[again]]),
        share=np.concatenate([q, none + 0.5]),
        observed=np.concatenate([observed, none]),
        slopes=slopes,
        shifts=shifts,
        tested=np.concatenate([base.tested & event, none > 0]),
        event=np.concatenate([event, none > 0]),
        expected=np.concatenate([expected, none]),
        names=tuple(d.name for d in (*labels, *others)),
    )
    return rows, source
