"""A pyhf model and measurement, compiled: the likelihood that the rest of ddphf fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import jax
import numpy as np

from ddphf.arrays import Array, Mask
from ddphf.exceptions import ModelError
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.model import DirectModel
from ddphf.likelihood.expansion import CannotCompileError, Expansion, expand_model
from ddphf.likelihood.general.arrays import Codes, ModelArrays, build_arrays
from ddphf.likelihood.general.arrowhead import Cells, find_cells
from ddphf.likelihood.general.derivatives import Model
from ddphf.likelihood.paired.likelihood import PairLikelihood, find_pair
from ddphf.likelihood.reference import ParameterTable, ReferenceModel

__all__ = ["CannotCompileError", "CompiledModel"]


@dataclass(frozen=True)
class CompiledModel:
    """One measurement of a workspace as arrays: it evaluates, and :mod:`.fits` fits it.

    Attributes:
        parameters: Names, starting values, bounds and fixed flags, in pyhf's order.
        data: Main and auxiliary data in pyhf's order.
        n_main: Number of bins.
        expansion: The model taken apart.
        codes: Static codes.
        arrays: The general arrays.
        cells: Global and local parameters.
        pair: The pair, or None.
        not_a_pair: Why it is not a pair; empty if it is one.

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
    pair: PairLikelihood | None = field(repr=False)
    not_a_pair: str = ""

    @classmethod
    def from_reference(cls, reference: ReferenceModel) -> CompiledModel:
        """Compile.

        Raises:
            CannotCompileError: Says what is not compiled; fit with pyhf's own likelihood instead.
        """
        return cls._build(
            expand_model(reference.model), reference.parameters, reference.data, reference.n_main
        )

    @classmethod
    def _build(
        cls, expansion: Expansion, table: ParameterTable, data: Array, n_main: int
    ) -> CompiledModel:
        arrays, codes = build_arrays(expansion)
        pair, reason = None, ""
        try:
            pair = find_pair(expansion, table)
        except CannotCompileError as error:
            reason = str(error)
        return cls(
            parameters=table,
            data=np.asarray(data, dtype=float),
            n_main=n_main,
            expansion=expansion,
            codes=codes,
            arrays=arrays,
            cells=find_cells(expansion, arrays),
            pair=pair,
            not_a_pair=reason,
        )

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
            replace(self.expansion, nominal=changed), self.parameters, self.data, self.n_main
        )

    @cached_property
    def direct(self) -> DirectModel:
        """The model in numpy, for single fits."""
        return DirectModel(len(self.parameters.names), self.codes, self.arrays, self.cells)

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
