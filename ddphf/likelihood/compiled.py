"""A pyhf model and measurement, compiled: the likelihood that the rest of ddphf fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import ModelError
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.model import DirectModel
from ddphf.likelihood.expansion import CannotCompileError, Expansion, expand_model
from ddphf.likelihood.general.derivatives import Model
from ddphf.likelihood.general.layout import Cells, Codes, ModelArrays, build_arrays, find_cells
from ddphf.likelihood.paired.likelihood import PairLikelihood
from ddphf.likelihood.paired.model import build_pair
from ddphf.likelihood.reference import ParameterTable, ReferenceModel

__all__ = ["CannotCompileError", "CompiledModel"]

GENERIC = 0.618
"""Where between its bounds a factor that starts at 0 is, to see what it multiplies."""

BRIGHT = 1e100
"""Of shared factors: beside it nothing counts in a rate but the background that is shared."""

NO_EFFECT = 1e-90
"""Of an expected count by its parameter: no yield is as small, and what is multiplied by 0 has the
derivative of a product with 1e-100 for it."""


@dataclass(frozen=True)
class CompiledModel:
    """One measurement of a workspace as arrays: it evaluates, and :mod:`.fits` fits it.

    Attributes:
        parameters: Names, starting values, bounds and fixed flags, in pyhf's order; parameters
            without any effect are held.
        data: Main and auxiliary data in pyhf's order.
        n_main: Number of bins.
        expansion: The model taken apart.
        codes: Static codes.
        arrays: The general arrays.
        cells: Global and local parameters.
        direct: The model in numpy, for single fits.
        pair: The pair, or None.
        not_a_pair: Why it is not a pair; empty if it is one.
        stated: The parameters as the measurement states them, nothing else held.
        one_sided: Parameters on either side of which there may be a minimum.

    Example:
        >>> from ddphf.likelihood.examples import one_bin
        >>> compiled = CompiledModel.from_reference(one_bin())
        >>> compiled.rates(np.array([2.0, 1.0]))
        array([60.])
    """

    parameters: ParameterTable
    data: Array = field(repr=False)
    n_main: int
    expansion: Expansion = field(repr=False)
    codes: Codes
    arrays: ModelArrays = field(repr=False)
    cells: Cells = field(repr=False)
    direct: DirectModel = field(repr=False)
    pair: PairLikelihood | None = field(repr=False)
    not_a_pair: str
    stated: ParameterTable = field(repr=False)
    one_sided: tuple[int, ...]

    @classmethod
    def from_reference(cls, reference: ReferenceModel) -> CompiledModel:
        """Compile.

        Raises:
            CannotCompileError: Says what is not compiled; fit with pyhf's own likelihood instead.
        """
        return cls._build(
            expand_model(reference.model), reference.parameters, reference.data, reference.n_main,
            reference.one_sided,
        )  # fmt: skip

    @classmethod
    def _build(
        cls, expansion: Expansion, table: ParameterTable, data: Array, n_main: int,
        one_sided: tuple[int, ...],
    ) -> CompiledModel:  # fmt: skip
        arrays, codes = build_arrays(expansion)
        cells = find_cells(expansion, arrays)
        direct = DirectModel(len(table.names), codes, arrays, cells)
        idle = _without_effect(direct, expansion, table, data, table.init, table.fixed)
        stated, table = table, replace(table, fixed=table.fixed | idle)
        pair, reason = None, ""
        try:
            pair = _find_pair(expansion, table, direct)
        except CannotCompileError as error:
            reason = str(error)
        values = np.asarray(data, dtype=float)
        return cls(
            table, values, n_main, expansion, codes, arrays, cells, direct, pair, reason, stated,
            one_sided,
        )  # fmt: skip

    @cached_property
    def signal_only(self) -> Mask:
        """Main bins where nothing is expected once the POI is 0, shape (n_main,)."""
        poi = self.parameters.poi
        if poi is None:
            return np.zeros(self.n_main, dtype=bool)
        return self.expansion.nothing_without(poi)

    def data_without_signal(self, data: Array) -> Array:
        """Return data, shape (..., n_main + n_aux), with no events where only a signal has any.

        At POI = 0 such a bin's term is 0 without events, and the likelihood is 0 with some: a fit
        that is held there leaves the bin out, and whoever asks for its 2NLL says that it is inf.
        """
        if not self.signal_only.any():
            return data
        out = np.array(data, dtype=float)
        out[..., : self.n_main][..., self.signal_only] = 0.0
        return out

    def is_without_null(self, data: Array) -> Mask:
        """Return whether data, shape (..., n_main + n_aux), are impossible at POI = 0."""
        return np.asarray(np.any((data[..., : self.n_main] > 0) & self.signal_only, axis=-1))

    def replace_sample(self, sample: int, nominal: Array) -> CompiledModel:
        """Return the model with other yields of one sample, without recompilation.

        Args:
            sample: Index of the sample, in alphabetical order.
            nominal: Shape (n_main,): its yields; 0 where the sample was absent.

        Raises:
            ModelError: The sample has histosys variations, or would appear in other bins: those
                change with the template, so build a workspace.
        """
        nominal = np.asarray(nominal, dtype=float)
        if self.expansion.histosys[sample]:
            raise ModelError(
                f"sample {sample} has histosys variations, which belong to its old yields; "
                "build a workspace for each template"
            )
        if nominal.shape != (self.n_main,) or np.any(
            (nominal != 0) & ~self.expansion.present[sample]
        ):
            raise ModelError(
                f"expected {self.n_main} yields, 0 where the sample was absent; "
                "build a workspace for such a template"
            )
        changed = self.expansion.nominal.copy()
        changed[sample] = nominal
        return self._build(
            replace(self.expansion, nominal=changed), self.stated, self.data, self.n_main,
            self.one_sided,
        )  # fmt: skip

    def without_effect(self, start: Array, fixed: Mask) -> Mask:
        """Return True for free unconstrained parameters that change no expected count, shape (n,).

        Args:
            start: Values of the held parameters, shape (n,): at mu = 0 what scales the signal alone
                has no effect.
            fixed: Held parameters, shape (n,).

        Example:
            >>> import pyhf
            >>> model = pyhf.simplemodels.uncorrelated_background([0.0], [50.0], [7.0])
            >>> workspace = pyhf.Workspace.build(model, [60.0] + model.config.auxdata)
            >>> compiled = CompiledModel.from_reference(ReferenceModel(dict(workspace)))
            >>> compiled.without_effect(compiled.stated.init, compiled.stated.fixed)
            array([ True, False])
        """
        known = self.stated
        if np.array_equal(fixed, known.fixed) and np.array_equal(start[fixed], known.init[fixed]):
            return self.parameters.fixed & ~known.fixed  # nothing else held: as at compilation
        return _without_effect(self.direct, self.expansion, known, self.data, start, fixed)

    def held_at(self, mu: float) -> Mask:
        """Return what a fit with the POI at ``mu`` holds, shape (n,).

        The POI, what the measurement holds, and what has no effect there. The model has a POI.
        """
        return self._held_at_zero.copy() if mu == 0 else self._held_with_poi.copy()

    @cached_property
    def _held_with_poi(self) -> Mask:
        held = self.parameters.fixed.copy()
        held[self.parameters.poi] = True
        return held

    @cached_property
    def _held_at_zero(self) -> Mask:
        held, start = self._held_with_poi, self.parameters.init.copy()
        start[self.parameters.poi] = 0.0
        return held | self.without_effect(start, held)

    @cached_property
    def on_device(self) -> Model:
        """Arrays and cells as JAX has them, for batches."""
        # asarray would compile a copy of each shape
        return Model(jax.device_put(self.arrays), jax.device_put(self.cells))

    def problem(self, data: Array | None = None, fixed: Mask | None = None) -> newton.Problem:
        """Return one fit of the model, for :mod:`ddphf.likelihood.direct`.

        Args:
            data: Main and auxiliary data; the observed by default.
            fixed: Held parameters; the measurement's by default.
        """
        table = self.parameters
        return newton.Problem(
            self.direct,
            self.data if data is None else np.asarray(data, dtype=float),
            table.fixed if fixed is None else np.asarray(fixed, dtype=bool),
            table.lower,
            table.upper,
        )

    def twice_nll(self, parameters: Array, *, data: Array | None = None) -> float:
        """Return -2 ln L, constants and constraint terms included, as pyhf does."""
        data = self.data if data is None else data
        return float(self.direct.twice_nll(np.asarray(parameters, dtype=float)[None], data)[0])

    def rates(self, parameters: Array) -> Array:
        """Return the expected main data, shape (..., n_main), at points of shape (..., n)."""
        points = np.asarray(parameters, dtype=float)
        rates = self.direct.rates(points.reshape(-1, points.shape[-1]))
        return rates.reshape(*points.shape[:-1], self.n_main)

    def covariance(
        self, parameters: Array, *, data: Array | None = None, fixed: Mask | None = None
    ) -> Array:
        """Return the covariance of the global parameters from the exact Hessian, shape (k, k).

        The cells' parameters are eliminated, not held. Rows of held parameters and of those at a
        bound are 0.

        Args:
            parameters: Where, shape (n,): a minimum.
            data: Main and auxiliary data; the observed by default.
            fixed: Held parameters; the measurement's by default.
        """
        x = np.asarray(parameters, dtype=float)
        local = newton.look(self.problem(data, fixed), x)
        if local.factored is None:
            return np.full(local.curvature.hessian.corner.shape, np.nan)
        return local.factored.block

    def global_names(self) -> Sequence[str]:
        """Return the names of the global parameters, in the order of :meth:`covariance`."""
        return [self.parameters.names[i] for i in np.asarray(self.cells.global_)]


def _without_effect(
    direct: DirectModel,
    expansion: Expansion,
    table: ParameterTable,
    data: Array,
    start: Array,
    fixed: Mask,
) -> Mask:
    constrained = np.zeros(len(fixed), dtype=bool)
    constrained[expansion.constraints.normal_parameter] = True
    constrained[expansion.constraints.poisson_parameter] = True
    # A free factor that starts at 0 hides what it multiplies.
    inside = table.lower + GENERIC * (table.upper - table.lower)
    around = np.where((table.init == 0) & ~constrained, inside, table.init)
    slopes = direct.largest_slopes(np.where(fixed, start, around), data)
    return np.asarray(~fixed & ~constrained & (slopes < NO_EFFECT))


def _find_pair(expansion: Expansion, table: ParameterTable, direct: DirectModel) -> PairLikelihood:
    """Recognise a pair.

    Raises:
        CannotCompileError: Says why the model is not one.
    """
    structure, arrays, places = build_pair(expansion, table.lower, table.upper)
    bright = table.init.copy()
    bright[places.b] = BRIGHT
    if not np.all(direct.rates(bright[None])[0, np.concatenate(places.bins)] > BRIGHT**0.5):
        raise CannotCompileError("an expectation of the shared background is not positive")
    where: Any = np.flatnonzero(places.global_ == table.poi) if table.poi is not None else []
    return PairLikelihood(
        structure=structure,
        arrays=arrays,
        places=places,
        poi=int(where[0]) if len(where) else None,
        n_main=len(expansion.channel),
        init=table.init,
    )
