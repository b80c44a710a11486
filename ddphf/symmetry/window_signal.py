"""A box of bins as the signal: flat, as the root of the events, or a bell of the box's size."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ddphf.arrays import Array
from ddphf.config.window import WindowConfig
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import Axis, Histogram
from ddphf.statistics.windows import Window

__all__ = ["SIGMAS", "find_window", "make_window_signal", "window_weights"]

SIGMAS = 2.8
"""Width of a box in standard deviations of the bell that it sees best over a flat background:
a = 1.40 is the maximum of erf(a / sqrt(2)) / sqrt(2 a), along each axis for itself."""


def find_window(config: WindowConfig, axes: tuple[Axis, ...]) -> Window:
    """Return the bins of a box.

    Raises:
        InputError: It lies outside the axes, or has edges that are none of theirs.

    Example:
        >>> axes = (Axis("mass", (30.0, 40.0, 50.0, 60.0), "mass", "GeV"),)
        >>> find_window(WindowConfig(None, None, ((40.0, 60.0),), "flat", 1.0), axes).slices
        (slice(1, 3, None),)
    """
    shape = tuple(axis.n_bins for axis in axes)
    if config.edges is None:
        assert config.start is not None
        assert config.size is not None
        window = Window(config.start, config.size)
    elif len(config.edges) != len(axes):
        raise InputError(
            f"window: edges along {len(config.edges)} axes, the histogram has {len(axes)}"
        )
    else:
        ends = [
            [_find_edge(value, axis) for value in pair]
            for pair, axis in zip(config.edges, axes, strict=True)
        ]
        window = Window(tuple(low for low, _ in ends), tuple(high - low for low, high in ends))
    window.check(shape)
    return window


def _find_edge(value: float, axis: Axis) -> int:
    edges = np.asarray(axis.edges)
    nearest = int(np.argmin(np.abs(edges - value)))
    if abs(edges[nearest] - value) > 1e-6 * float(np.diff(edges).min()):
        raise InputError(
            f"window: {value:g} is no edge of a bin along '{axis.name}'; the nearest is "
            f"{edges[nearest]:g}"
        )
    return nearest


def window_weights(window: Window, template: str, axes: tuple[Axis, ...], total: Array) -> Array:
    """Return the part of the signal in each bin, which add up to 1; of the histogram's shape.

    Args:
        window: The box.
        template: ``flat``: the same in each bin of the box. ``sqrt``: as the root of the events of
            both samples, which N_sigma sees best. ``gaussian``: a bell around the middle of the
            box whose standard deviation is its width / 2.8 along each axis; it reaches beyond it.
        axes: Of the histogram.
        total: Events of both samples in each bin.

    Raises:
        InputError: The root of the events of a box without any.

    Example:
        >>> axes = (Axis("mass", (0.0, 1.0, 2.0, 3.0)),)
        >>> box = Window((0,), (2,))
        >>> window_weights(box, "flat", axes, np.array([9.0, 4.0, 4.0])).tolist()
        [0.5, 0.5, 0.0]
        >>> window_weights(box, "sqrt", axes, np.array([9.0, 4.0, 4.0])).tolist()
        [0.6, 0.4, 0.0]
    """
    weights = np.zeros(total.shape)
    if template == "gaussian":
        weights = np.ones(())
        for axis, start, size in zip(axes, window.start, window.size, strict=True):
            edges = np.asarray(axis.edges)
            low, high = edges[start], edges[start + size]
            scaled = (edges - (low + high) / 2) / ((high - low) / SIGMAS)
            weights = np.multiply.outer(weights, np.diff(norm.cdf(scaled)))
    elif template == "sqrt":
        weights[window.slices] = np.sqrt(total[window.slices])
    else:
        weights[window.slices] = 1.0
    size_of_all = float(weights.sum())
    if not size_of_all > 0:
        raise InputError(
            "window: holds no event, so that the root of its events is no template; take 'template:"
            " flat', or another window"
        )
    return np.asarray(weights / size_of_all)


def make_window_signal(config: WindowConfig, tested: Histogram, partner: Histogram) -> Histogram:
    """Return a box as the histogram of a signal.

    Args:
        config: As written.
        tested: Counts, on the axes of the analysis.
        partner: The same of the partner, on the same axes.

    Raises:
        InputError: A box outside the axes, or one without events where they tell its shape.
    """
    window = find_window(config, tested.axes)
    total = np.maximum(tested.values + partner.values, 0.0)
    weights = window_weights(window, config.template, tested.axes, total)
    return Histogram(config.events * weights, tested.axes, source=f"window, {config.template}")
