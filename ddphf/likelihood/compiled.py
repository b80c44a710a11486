"""A pyhf model and measurement, compiled: the likelihood that the rest of ddphf fits.

:class:`CompiledModel` chooses the way: a pair (docs/workspace.md) has its cells eliminated in
closed form, any other model goes to the arrowhead Newton. Both end in the same certificate, taken
from the exact joint gradient and Hessian.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ddphf.arrays import Array, Mask, for_programs
from ddphf.exceptions import ModelError
from ddphf.likelihood.descent import Problem
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.approach import approach
from ddphf.likelihood.direct.model import DirectModel
from ddphf.likelihood.errors.edges import edge_errors, edge_terms
from ddphf.likelihood.expansion import CannotCompileError, Expansion, expand_model
from ddphf.likelihood.general.arrays import Codes, ModelArrays, build_arrays
from ddphf.likelihood.general.arrowhead import Cells, find_cells
from ddphf.likelihood.general.derivatives import Model
from ddphf.likelihood.general.newton import GeneralResult
from ddphf.likelihood.general.zero_rates import minimize_at_zero
from ddphf.likelihood.minimum import CONVERGED, EDM_TOLERANCE, Minimum
from ddphf.likelihood.paired.careful import PairFit
from ddphf.likelihood.paired.likelihood import PairLikelihood, find_pair
from ddphf.likelihood.reference import ParameterTable, ReferenceModel

if TYPE_CHECKING:
    from ddphf.likelihood.batch import BatchResult

__all__ = ["CannotCompileError", "CompiledModel"]


@dataclass(frozen=True)
class CompiledModel:
    """One measurement of a workspace as arrays, with its fits.

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
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = pyhf.Workspace.build(model, [60.0] + model.config.auxdata)
        >>> compiled = CompiledModel.from_reference(ReferenceModel(dict(workspace)))
        >>> fit = compiled.minimize()
        >>> fit.converged, round(float(fit.parameters[0]), 6)
        (True, 2.0)
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

    def minimize(
        self,
        *,
        data: Array | None = None,
        start: Array | None = None,
        fixed: Mask | None = None,
        values: Array | None = None,
    ) -> Minimum:
        """Fit one data set.

        Args:
            data: Main and auxiliary data, shape (n_main + n_aux,); the observed by default.
            start: Starting point, shape (n,); the measurement's by default.
            fixed: True for parameters to hold, shape (n,); the measurement's by default.
            values: Values of the held parameters, shape (n,) (others ignored); ``start`` by
                default.

        Returns:
            The point with its certificate; ``status`` says what is wrong where it does not hold.
        """
        table = self.parameters
        data = self.data if data is None else np.asarray(data, dtype=float)
        held = table.fixed if fixed is None else np.asarray(fixed, dtype=bool)
        x = np.array(table.init if start is None else start, dtype=float)
        if values is not None:
            x = np.where(held, values, x)
        self._check_shapes(data, x, held)
        if self.pair is not None:
            fit = self.pair.fit(data, x, held)
            minimum = self._pair_minimum(fit, data, x, held)
            if minimum.converged:
                return minimum
            x = minimum.parameters if np.all(np.isfinite(minimum.parameters)) else x
        minimum = self._newton(x, data, held)
        if minimum.converged:
            return minimum
        # An empty bin's rate may be best at 0, where no bound of a parameter stops the fit; and
        # the shorter steps of that method follow narrow, curved valleys.
        problem = Problem.of(self.on_device, for_programs(data), held, table.lower, table.upper)
        result = minimize_at_zero(self.codes, problem, x)
        other = self._keep_to_edge(self._minimum(result, data, held), data, held)
        if not np.any(data[: self.n_main] <= 0) and np.all(np.isfinite(other.parameters)):
            other = self._newton(other.parameters, data, held)
        if other.converged:
            return other
        status = f"{minimum.status}; with rates and bounds kept at a distance: {other.status}"
        return replace(minimum, status=status)

    def minimize_starts(
        self,
        starts: Array,
        *,
        fixed: Mask | None = None,
        data: Array | None = None,
        near: Array | None = None,
    ) -> Iterator[Minimum]:
        """Fit from many starts, also with other data or held parameters, without errors.

        Args:
            starts: Shape (m, n), with the values of held parameters.
            fixed: Held parameters, shape (n,) or (m, n); the measurement's by default.
            data: Shape (n_main + n_aux,) or (m, n_main + n_aux); the observed by default.
            near: A minimum for the observed data near which many of these may be, shape (n,): they
                cost less then.

        Yields:
            Where each start leads, in their order. Only :meth:`minimize` from there gives errors.
        """
        held = np.broadcast_to(self.parameters.fixed if fixed is None else fixed, starts.shape)
        sets = np.broadcast_to(self.data if data is None else data, (len(starts), len(self.data)))
        for first in range(0, len(starts), newton.TOGETHER):
            some = slice(first, first + newton.TOGETHER)
            yield from self._minimize_some(starts[some], held[some], sets[some], near)

    def _minimize_some(
        self, starts: Array, held: Mask, data: Array, near: Array | None
    ) -> Iterator[Minimum]:
        items = list(zip(starts, held, data, strict=True))
        if self.pair is not None:
            yield from (self.minimize(start=x, fixed=h, data=d) for x, h, d in items)
            return
        problems = [self.problem(d, h) for _, h, d in items]
        better = starts if near is None else approach(problems, starts, near, self.data)
        found = newton.minimize_many(problems, better, errors=False)
        for (x, h, d), result in zip(items, found, strict=True):
            minimum = self._minimum(result, d, h)
            yield minimum if minimum.converged else self.minimize(start=x, fixed=h, data=d)

    def _newton(self, x: Array, data: Array, held: Mask) -> Minimum:
        return self._minimum(newton.minimize(self.problem(data, held), x), data, held)

    def _check_shapes(self, data: Array, x: Array, held: Mask) -> None:
        n = len(self.parameters.names)
        for name, value, expected in (
            ("data", data, self.data.shape),
            ("start", x, (n,)),
            ("fixed", held, (n,)),
        ):
            if value.shape != expected:
                raise ModelError(f"{name}: shape {value.shape}, expected {expected}")

    def _certify(self, x: Array, held: Mask, data: Array) -> newton.DirectResult:
        return newton.certify(self.problem(data, held), x)

    def _minimum(
        self,
        result: newton.DirectResult | GeneralResult,
        data: Array,
        held: Mask,
        *,
        edm: float | None = None,
        projected: float | None = None,
    ) -> Minimum:
        table, x = self.parameters, np.array(result.parameters)
        edm = float(result.edm) if edm is None else edm
        status = CONVERGED
        if not bool(result.physical):
            status = (
                f"the expected rate of main bin {int(np.argmin(result.rates))} is not positive "
                "at the solution"
            )
        elif not edm < EDM_TOLERANCE:
            status = f"EDM {edm:.1e} is above {EDM_TOLERANCE:.0e}"
        errors = np.array(result.errors)
        defined = np.isfinite(errors)
        return Minimum(
            parameters=x,
            twice_nll=self.twice_nll(x, data=data),
            errors=np.where(defined, errors, 0.0),
            at_bound=((x <= table.lower) | (x >= table.upper) | ~np.asarray(result.free)) & ~held,
            at_edge=~defined & ~held,
            stiffness=np.array(result.stiffness),
            projected_gradient=float(result.projected) if projected is None else projected,
            edm=edm,
            status=status,
        )

    def _keep_to_edge(self, minimum: Minimum, data: Array, held: Mask) -> Minimum:
        """Replace errors that are those of the interior point method's barrier."""
        free = ~held & ~minimum.at_bound
        if not minimum.converged:
            return minimum
        place = (self.direct, minimum.parameters, free)
        terms = edge_terms(*place, data)
        if not terms.found:
            return minimum
        errors, stopped = edge_errors(*place, terms)
        return replace(minimum, errors=errors, at_edge=stopped)

    def _pair_minimum(self, fit: PairFit, data: Array, x: Array, held: Mask) -> Minimum:
        """Turn a pair's fit into a minimum of the joint likelihood."""
        assert self.pair is not None
        x, dark = self.pair.parameters(fit.result, x, held)
        if not (dark.any() or fit.at_kink):
            return self._minimum(self._certify(x, held, data), data, held)
        # A rate held at 0 is a bound that no box describes: the profile's certificate, which has
        # its multiplier, counts; the joint Hessian still gives the errors of the free cells.
        table = self.parameters
        stopped = np.zeros(len(held), dtype=bool)
        if fit.at_kink and table.poi is not None and not held[table.poi]:
            # On a corner the Hessian is that of one side: the POI has no error from it, and the
            # others have those with the POI held.
            stopped[table.poi] = True
        kink = stopped & (table.lower < x) & (x < table.upper)
        frozen = held | stopped
        frozen[self.pair.places.b[dark]] = True
        result = self._certify(x, frozen, data)
        errors = np.array(result.errors)
        places = self.pair.places.global_
        errors[places] = self.pair.errors(fit.result, held | stopped)
        minimum = self._minimum(
            result._replace(errors=errors),
            data,
            held,
            edm=float(fit.result.edm),
            projected=0.0 if fit.at_kink and fit.careful else float(fit.result.projected),
        )
        return replace(minimum, at_bound=minimum.at_bound & ~kink, at_edge=minimum.at_edge | kink)

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

    def minimize_batch(self, data: Array | None = None, **options: Any) -> BatchResult:
        """Fit many data sets: see :func:`ddphf.likelihood.batch.minimize_batch`."""
        from ddphf.likelihood.batch import minimize_batch  # it is built on this class

        return minimize_batch(self, data, **options)

    def global_names(self) -> Sequence[str]:
        """Return the names of the global parameters, in the order of :meth:`covariance`."""
        return [self.parameters.names[i] for i in np.asarray(self.cells.global_)]
