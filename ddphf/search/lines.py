"""The loops of the compiled kernel, in the part of Python that numba compiles."""

from __future__ import annotations

import numpy as np

from ddphf.arrays import AnyArray

__all__ = ["LANES", "scan_lines"]

LANES = 128
"""Fields side by side: a line of 29 of them and its sums stay in the first cache."""


def scan_lines(
    prefix: AnyArray,
    corners: AnyArray,
    signs: AnyArray,
    group: AnyArray,
    first: AnyArray,
    widths: AnyArray,
    scales: AnyArray,
    table: AnyArray,
    offsets: AnyArray,
    threshold: float,
    weights: AnyArray,
    best: AnyArray,
    above: AnyArray,
) -> None:
    """Find the largest window of fields, and the weight of the windows above a threshold.

    A line is the sum over one box of all axes but the last; windows of it are ranges of bins.

    Args:
        prefix: Sums from the lower edges along all axes but the last, flat: (points, bins of the
            last axis, LANES).
        corners: Points whose sum with ``signs`` is a line, shape (lines, 2^(axes - 1)).
        signs: Shape (2^(axes - 1),).
        group: Outer size of each line, (lines,).
        first: First width of each outer size in ``widths``, and the end; (outer sizes + 1,).
        widths: Bins of the windows along the last axis, (sizes,).
        scales: 1 / sqrt(area) of each size.
        table: Scale of each window, line by line and width by width, NaN of those left out; empty
            where ``scales`` hold.
        offsets: First window of each line in ``table``.
        threshold: Of Z; infinite where only the largest is wanted.
        weights: Of a window of each size.
        best: Largest Z so far, (LANES,); changed.
        above: Sum of weights of the windows at or above ``threshold``, (LANES,); changed.
    """
    n, lanes = prefix.shape[1], LANES
    line = np.empty((n + 1, lanes), dtype=np.float32)
    high = np.empty(lanes, dtype=np.float32)
    own = table.shape[0] > 0
    counting = threshold < 1e30
    for k in range(corners.shape[0]):
        for t in range(lanes):
            line[0, t] = 0.0
        for j in range(n):
            point = corners[k, 0]  # the upper one: its sign is +
            for t in range(lanes):
                line[j + 1, t] = line[j, t] + prefix[point, j, t]
            for c in range(1, corners.shape[1]):
                sign, point = signs[c], corners[k, c]
                for t in range(lanes):
                    line[j + 1, t] += sign * prefix[point, j, t]
        place = offsets[k]
        for i in range(first[group[k]], first[group[k] + 1]):
            w = widths[i]
            m = n + 1 - w
            scale = scales[i]
            if own:
                for t in range(lanes):
                    high[t] = -1e30
                for j in range(m):
                    s = table[place + j]
                    if s > 0:  # not NaN
                        for t in range(lanes):
                            a = (line[j + w, t] - line[j, t]) * s
                            high[t] = a if a > high[t] else high[t]
            else:
                for t in range(lanes):
                    high[t] = line[w, t] - line[0, t]
                j = 1
                while j + 4 <= m:  # four at once: the maximum is read and written once
                    for t in range(lanes):
                        a = line[j + w, t] - line[j, t]
                        b = line[j + w + 1, t] - line[j + 1, t]
                        c4 = line[j + w + 2, t] - line[j + 2, t]
                        d = line[j + w + 3, t] - line[j + 3, t]
                        a = a if a > b else b
                        c4 = c4 if c4 > d else d
                        a = a if a > c4 else c4
                        high[t] = a if a > high[t] else high[t]
                    j += 4
                while j < m:
                    for t in range(lanes):
                        a = line[j + w, t] - line[j, t]
                        high[t] = a if a > high[t] else high[t]
                    j += 1
                for t in range(lanes):
                    high[t] *= scale
            for t in range(lanes):
                best[t] = high[t] if high[t] > best[t] else best[t]
            hits = 0
            if counting:  # whole numbers: a maximum over the lanes is not done side by side
                for t in range(lanes):
                    hits += high[t] >= threshold
            if hits:
                for t in range(lanes):
                    if high[t] >= threshold:
                        for j in range(m):
                            s = table[place + j] if own else scale
                            if (line[j + w, t] - line[j, t]) * s >= threshold:
                                above[t] += weights[i]
            place += m
