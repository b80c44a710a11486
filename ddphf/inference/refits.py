"""Many refits of one model in batches, each certified; those that fail are data."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddphf.arrays import AnyArray, Array, Mask
from ddphf.compute.blocks import run_blocks
from ddphf.compute.chunks import chunks_of
from ddphf.compute.tasks import Task
from ddphf.compute.work import HERE, Work
from ddphf.likelihood.batch import minimize_batch
from ddphf.likelihood.cache import CACHE
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import has_corners, minimize_starts

__all__ = ["Refits", "compiled_meanwhile", "refit_all"]


BLOCK = 32
"""Refits per compiled call: a ranking has tens, and the last call is padded to as many."""

FEW, FEW_OF_A_PAIR = 4000, 600
"""So many refits take numpy less time than the compilation of a batch."""


@dataclass(frozen=True)
class Refits:
    """Refits in the order of the input.

    Attributes:
        points: Shape (n, parameters); NaN where failed.
        twice_nll: Shape (n,); NaN where failed.
        reasons: Per failed item, why, as a sentence.
    """

    points: Array
    twice_nll: Array
    reasons: dict[int, str]


def refit_all(
    model: CompiledModel,
    *,
    start: Array,
    fixed: Mask,
    data: Array | None = None,
    near: Array | None = None,
    many: bool = False,
    work: Work = HERE,
) -> Refits:
    """Fit many data sets, starting points and sets of held parameters.

    Args:
        model: The model.
        start: Shape (n, parameters): starting points, with the values of held parameters.
        fixed: Held parameters, shape (n, parameters) or (parameters,).
        data: Shape (n, n_main + n_aux) or (n_main + n_aux,); the observed by default.
        near: A minimum near which the refits may end, shape (parameters,).
        many: Whether these are a part of many, for which a pair is compiled.
        work: Where, one after the other in this process by default; and who hears (done, n).

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> model = CompiledModel.from_reference(one_bin())
        >>> start = np.array([[2.0, 0.9], [2.0, 1.1]])
        >>> found = refit_all(model, start=start, fixed=np.array([False, True]))
        >>> [round(float(x), 6) for x in found.points[:, 0]]
        [3.0, 1.0]
    """
    n = len(start)
    settings: dict[str, Any] = {
        "model": model, "start": start, "fixed": fixed, "near": near,
        "data": model.data if data is None else data, "many": many,
    }  # fmt: skip
    out = Refits(np.full(start.shape, np.nan), np.full(n, np.nan), {})
    blocks = list(chunks_of(n, BLOCK))
    if work.runner is None:
        pieces: Iterator[Refits] = map(Refitting(**settings), blocks)
    else:
        task = Task("ddphf.inference.refits:Refitting", settings, begin=CACHE)
        pieces = run_blocks(task, blocks, runner=work.runner, progress=work.count)
    for some, found in zip(blocks, pieces, strict=True):
        out.points[some], out.twice_nll[some] = found.points, found.twice_nll
        out.reasons.update({int(some[j]): reason for j, reason in found.reasons.items()})
        if work.count is not None and work.runner is None:
            work.count(int(some[-1]) + 1, n)
    return out


class Refitting:
    """The work of :func:`refit_all`, whose arguments it takes."""

    def __init__(
        self, model: CompiledModel, start: Array, fixed: Mask, data: Array, near: Array | None,
        many: bool,
    ) -> None:  # fmt: skip
        self.model, self.start, self.fixed = model, start, fixed
        self.data, self.near = data, near
        few = FEW if model.pair is None else 0 if many else FEW_OF_A_PAIR
        self.compiled = len(start) > few or has_corners(model, data)

    def __call__(self, some: AnyArray) -> Refits:
        """Refit some rows, BLOCK at most."""
        start = self.start[some]
        fixed = self.fixed[some] if self.fixed.ndim == 2 else self.fixed
        data = self.data[some] if self.data.ndim == 2 else self.data
        if self.compiled:
            found = minimize_batch(self.model, data, start=start, fixed=fixed, block=BLOCK)
            return Refits(found.points, found.twice_nll, found.reasons)
        out = Refits(np.full(start.shape, np.nan), np.full(len(some), np.nan), {})
        minima = minimize_starts(self.model, start, fixed=fixed, data=data, near=self.near)
        for j, minimum in enumerate(minima):
            if minimum.converged:
                out.points[j], out.twice_nll[j] = minimum.parameters, minimum.twice_nll
            else:
                out.reasons[j] = minimum.status
        return out


@contextlib.contextmanager
def compiled_meanwhile(model: CompiledModel) -> Iterator[None]:
    """Compile the batch of refits while the body, a single fit, compiles its own programs.

    A refit with everything held stops where it starts, so that this costs next to nothing where
    all is compiled already. Without corners a ranking's refits need no compilation.

    Args:
        model: The model.
    """
    if not has_corners(model, model.data):
        yield
        return
    start = model.parameters.init[None]
    options = {"start": start, "fixed": np.ones(start.shape, dtype=bool)}
    thread = threading.Thread(target=refit_all, args=(model,), kwargs=options)
    thread.start()
    try:
        yield
    finally:
        thread.join()
