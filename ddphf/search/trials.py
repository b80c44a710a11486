"""The global p-value of a search: the null is chosen by what the counts allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Unpack

from ddphf.arrays import Mask
from ddphf.exceptions import InputError
from ddphf.search import binomial
from ddphf.search.boxes import make_boxes
from ddphf.search.field import Field
from ddphf.search.global_p import Drawing, GlobalP, estimate_global_p
from ddphf.search.kernels import Scanner
from ddphf.search.nulls import GaussianNull, Null, NullChoice, NullName, Targets
from ddphf.search.scan import Direction
from ddphf.search.table import WindowTable, make_table

__all__ = ["ChosenNull", "NullChoice", "choose_null", "find_global_p", "global_p_value"]

FEW = 10_000
"""Events up to which the exact law is taken whatever the leading orders are: its draws cost little,
and where there are few windows the steps of a single count move p by z / sqrt(events of it)."""

MAX_Z = 37.0
"""Its p-value is still a number in double precision."""


@dataclass(frozen=True)
class ChosenNull:
    """The law of fields without a signal, and why it was chosen.

    Attributes:
        null: The law.
        distortion: How far windows are from Gaussian, None without a field.
        reachable: Windows that can reach the threshold under this law, by number; None for all.
        few: Whether there are so few events that nothing is approximated.
    """

    null: Null
    distortion: binomial.Distortion | None
    reachable: Mask | None
    few: bool = False

    @property
    def name(self) -> NullName:
        """``gaussian`` or ``binomial``."""
        return self.null.name


def choose_null(
    field: Field | None,
    table: WindowTable,
    threshold: float,
    *,
    direction: Direction = "excess",
    null: NullChoice = "auto",
) -> ChosenNull:
    """Return the Gaussian null where it is good to 5 % in its leading orders, else the exact one.

    Up to 10 000 events in all it is the exact one.

    A local p-value of a window is off by the factors exp(gamma z^3 / 6) and exp(kappa z^4 / 24),
    with gamma the skewness and kappa the excess kurtosis of its Z: the largest of all windows that
    can reach z decides.

    Args:
        field: The data; None for windows of a histogram with many events everywhere.
        table: The windows.
        threshold: z.
        direction: What reaches it.
        null: ``auto``, ``gaussian`` or ``binomial``.

    Raises:
        InputError: The exact null is wanted or needed, and contents are sums of weights.

    Example:
        >>> from ddphf.search.field import make_field
        >>> field = make_field([[2] * 8] * 8, [[1] * 8] * 8)
        >>> choose_null(field, make_table(make_boxes((8, 8)), field), 4.0).name
        'binomial'
    """
    if null not in ("auto", "gaussian", "binomial"):
        raise InputError(f"null '{null}' is unknown; expected auto, gaussian or binomial")
    if field is None:
        if null == "binomial":
            raise InputError("null 'binomial': needs the counts of a pair; without them: gaussian")
        return ChosenNull(GaussianNull(table), None, None)
    distortion = binomial.find_distortion(field, table, threshold, direction)
    fraction = field.first_fraction()
    few = null == "auto" and fraction is None and float(field.total.sum()) <= FEW
    if null == "gaussian" or (null == "auto" and distortion.is_small and not few):
        return ChosenNull(GaussianNull(table), distortion, None)
    if null == "auto" and fraction is not None:
        raise InputError(
            "null of the maximum: a Gaussian field is wrong by more than "
            f"{binomial.GAUSSIAN_BELOW:.0%} at z = {threshold:g} (skewness "
            f"{distortion.skewness:.2g}, kurtosis {distortion.kurtosis:.2g}), and the exact null "
            f"is for counts: bin {fraction[0]} holds {fraction[1]:g}; give counts, or larger "
            "windows or bins, or ask for the Gaussian null"
        )
    can = binomial.reachable(field, table, threshold, direction)
    return ChosenNull(binomial.BinomialNull(field, table), distortion, can, few)


def find_global_p(
    chosen: ChosenNull, scanner: Scanner, threshold: float, **drawing: Unpack[Drawing]
) -> GlobalP:
    """Return how often some window reaches a threshold under a chosen null.

    Args:
        chosen: From :func:`choose_null` for this threshold and direction.
        scanner: Of the same windows.
        threshold: The statistic of the best window of the data.
        drawing: See :class:`~ddphf.search.global_p.Drawing`.

    Example:
        >>> table = make_table(make_boxes((12, 12)))
        >>> found = find_global_p(choose_null(None, table, 4.0), Scanner(table), 4.0, seed=1)
        >>> found.null, found.method, found.relative_error < 0.011
        ('gaussian', 'aimed', True)
    """
    targets = Targets(chosen.null.table, threshold, chosen.reachable)
    return estimate_global_p(chosen.null, scanner, threshold, targets=targets, **drawing)


def global_p_value(
    z_local: float,
    shape: Sequence[int],
    sizes: Iterable[Sequence[int]],
    *,
    n_samples: int = 20_000,
    seed: int = 0,
) -> GlobalP:
    """Return the probability that some window of a signal-free histogram reaches ``z_local``.

    Bins are independent with variance 1 under the null; they are taken as Gaussian. That holds for
    6 x 6 windows at 25 events and ratio 1. With ratio .5 at 25 events p is too small, and an error
    of the ratio of 1 % makes it meaningless (docs/windows.md): a search knows both. Fields are
    drawn with one window conditioned to be above z, or counted where p is large.

    Args:
        z_local: The largest N_sigma, at most 37: beyond, double precision holds no p-value.
        shape: Bins of the histogram.
        sizes: Window sizes that were scanned, at all positions; one given twice counts once.
        n_samples: Fields to draw, at most; fewer where the relative error is below .1 % before.
        seed: Of the generator.

    Raises:
        InputError: No sample, no window, one larger than the histogram, or another ``z_local``.

    Example:
        >>> found = global_p_value(3.0, (8, 8), [(2, 2)], n_samples=2000)
        >>> found.n_windows, abs(found.p - 0.0575) < 4 * found.error
        (49, True)
    """
    boxes = [tuple(size) for size in sizes]
    if n_samples < 1 or not boxes:
        raise InputError(
            f"global p-value: {n_samples} samples of {len(boxes)} window sizes, expected one or "
            "more of each"
        )
    if not -math.inf < z_local <= MAX_Z:
        raise InputError(
            f"global p-value: local Z = {z_local:g}, expected a number of at most {MAX_Z:g}"
        )
    table = make_table(make_boxes(shape, boxes))
    scanner = Scanner(table)
    return estimate_global_p(
        GaussianNull(table), scanner, z_local, seed=seed, target=1e-3, max_samples=n_samples
    )
