"""pyhf itself as the reference: one context manager around its global state, one model wrapper.

Nothing else in ddphf touches pyhf's backend. Every published number is evaluated here once more.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pyhf

from ddphf.arrays import Array
from ddphf.exceptions import ModelError
from ddphf.likelihood.checks import (
    Content,
    check_measurement,
    check_workspace,
    find_one_sided,
    select_measurement,
)
from ddphf.likelihood.expansion import Constraints, read_constraints, warn_of_auxiliary_data
from ddphf.likelihood.schemas import check_schema
from ddphf.workspace_json import MeasurementDocument, Workspace

# pyhf's jax backend sets this too, but only when it is first used: arrays made before would be
# single precision.
jax.config.update("jax_enable_x64", True)

__all__ = ["ParameterTable", "ReferenceModel", "pyhf_backend"]

# pyhf's exceptions have no common root.
PYHF_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(pyhf.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)

BackendName = Literal["jax", "numpy"]


@contextlib.contextmanager
def pyhf_backend(name: BackendName = "jax", optimizer: Any = "scipy") -> Iterator[None]:
    """Run a block under a pyhf backend and optimizer, and restore both afterwards.

    ``pyhf.set_backend("jax")`` alone would reset the optimizer to scipy, so both are passed.

    Args:
        name: pyhf tensor backend.
        optimizer: ``"scipy"``, ``"minuit"`` or an optimizer instance.

    Yields:
        Nothing.

    Example:
        >>> with pyhf_backend("numpy", "minuit"):
        ...     pyhf.get_backend()[0].name
        'numpy'
    """
    before = pyhf.get_backend()
    # pyhf.get_backend() creates the backend of the first call; restoring the same objects is cheap.
    pyhf.set_backend(name, optimizer, precision="64b")
    try:
        yield
    finally:
        pyhf.set_backend(*before)


@dataclass(frozen=True)
class ParameterTable:
    """The parameters of one model in pyhf's order, expanded to scalars.

    Attributes:
        names: Such as ``mu`` or ``symmetric_shape[317]``.
        init: Starting values.
        lower: Lower bounds.
        upper: Upper bounds.
        fixed: True where the measurement holds the parameter at its initial value.
        poi: Index of the parameter of interest, or None.
    """

    names: tuple[str, ...]
    init: Array
    lower: Array
    upper: Array
    fixed: np.ndarray[Any, np.dtype[np.bool_]]
    poi: int | None


@dataclass
class ReferenceModel:
    """One measurement of a pyhf workspace, evaluated by pyhf.

    Args:
        workspace: The pyhf JSON workspace as a dictionary.
        measurement: Name of the measurement; the first one by default.
        poi_bounds: Bounds of the POI instead of the measurement's.
        content: Of the workspace, where it was checked before (:meth:`sibling`).

    Raises:
        ModelError: The workspace is refused (see :mod:`ddphf.likelihood.checks`), or ``poi_bounds``
            are no bounds of a free POI.

    Attributes:
        model: ``pyhf.Model``.
        data: Main and auxiliary data in pyhf's order, shape (n_main + n_aux,).
        n_main: Number of bins over all channels.
        channel_slices: Where each channel lies in the main data.
        parameters: Names, starting values, bounds and fixed flags.
        constraints: Its constraint terms.
        warnings: What is unusual but not wrong, as sentences.
        missing_poi: Name of a POI that is in no sample (a background-only workspace), or None.
        states_poi_bounds: Whether the POI's bounds are the measurement's or ``poi_bounds``, not
            pyhf's default.

    Example:
        >>> spec = {"channels": [{"name": "c", "samples": [
        ...     {"name": "s", "data": [5.0], "modifiers": [
        ...         {"name": "mu", "type": "normfactor", "data": None}]},
        ...     {"name": "b", "data": [50.0], "modifiers": []}]}],
        ...     "observations": [{"name": "c", "data": [60.0]}], "version": "1.0.0",
        ...     "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}]}
        >>> reference = ReferenceModel(spec)
        >>> round(reference.twice_nll(np.array([2.0])), 6)
        5.934999
    """

    workspace: Workspace
    measurement: str | None = None
    poi_bounds: tuple[float, float] | None = None
    content: Content | None = field(default=None, repr=False)
    model: Any = field(init=False, repr=False)
    data: Array = field(init=False, repr=False)
    n_main: int = field(init=False)
    channel_slices: dict[str, slice] = field(init=False, repr=False)
    parameters: ParameterTable = field(init=False, repr=False)
    constraints: Constraints = field(init=False, repr=False)
    warnings: list[str] = field(init=False, repr=False)
    missing_poi: str | None = field(init=False, repr=False, default=None)
    states_poi_bounds: bool = field(init=False, repr=False, default=True)

    if TYPE_CHECKING:  # whatever a file holds goes in; checked, it has the type of a workspace

        def __init__(
            self,
            workspace: Mapping[str, object],
            measurement: str | None = None,
            poi_bounds: tuple[float, float] | None = None,
            content: Content | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.content is None:
            check_schema(self.workspace)
        measurement = select_measurement(self.workspace, self.measurement)
        self.measurement = measurement["name"]
        self.content = self.content or check_workspace(self.workspace)
        self.warnings = check_measurement(self.workspace, measurement, self.content)
        poi = measurement["config"]["poi"]
        if poi and not any(
            modifier["name"] == poi
            for channel in self.workspace["channels"]
            for sample in channel["samples"]
            for modifier in sample["modifiers"]
        ):
            self.missing_poi = poi
        try:
            rates = self._build(measurement)
        except PYHF_ERRORS as error:
            raise ModelError(
                f"measurement '{self.measurement}': pyhf refuses it: {error}"
            ) from None
        except Exception as error:  # legal JSON that pyhf's own code does not expect
            raise ModelError(
                f"measurement '{self.measurement}': pyhf cannot make a model of it "
                f"({type(error).__name__}: {error}); look for names or types that are unusual"
            ) from error
        config = self.model.config
        self._refuse_equal_names(config.par_names)
        self.n_main = int(config.nmaindata)
        self.channel_slices = dict(config.channel_slices)
        bounds = np.array(config.suggested_bounds(), dtype=float).reshape(-1, 2)
        self.parameters = ParameterTable(
            names=tuple(config.par_names),
            init=np.array(config.suggested_init(), dtype=float),
            lower=bounds[:, 0],
            upper=bounds[:, 1],
            fixed=np.array(config.suggested_fixed(), dtype=bool),
            poi=config.poi_index,
        )
        if config.poi_index is not None:
            self._set_poi_bounds(measurement)
        elif self.poi_bounds is not None:
            raise ModelError(f"measurement '{self.measurement}' has no POI that could have bounds")
        self._require_expectation(rates)
        self.constraints = read_constraints(self.model.constraint_model)
        self.warnings += warn_of_auxiliary_data(
            self.model, self.constraints, self.data[self.n_main :], self.parameters
        )
        self._functions: dict[str, Callable[..., Any]] = {}

    @cached_property
    def one_sided(self) -> tuple[int, ...]:
        """Free parameters on either side of which there may be a minimum, by index."""
        found, table = find_one_sided(self.workspace), self.parameters
        return tuple(i for i, n in enumerate(table.names) if n in found and not table.fixed[i])

    def sibling(
        self, measurement: str, poi_bounds: tuple[float, float] | None = None
    ) -> ReferenceModel:
        """Return another measurement of the workspace, or other bounds: it is not checked again.

        Raises:
            ModelError: The measurement or its bounds are refused.
        """
        return ReferenceModel(self.workspace, measurement, poi_bounds, self.content)

    def _set_poi_bounds(self, measurement: MeasurementDocument) -> None:
        """Take the bounds of the POI that were asked for, and say whose they are."""
        table = self.parameters
        assert table.poi is not None
        name = table.names[table.poi]
        if self.poi_bounds is None:
            self.states_poi_bounds = any(
                p["name"] == name and "bounds" in p for p in measurement["config"]["parameters"]
            )
            return
        low, high = map(float, self.poi_bounds)
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ModelError(
                f"bounds {low:g}, {high:g} of the POI '{name}': expected two finite numbers, the "
                "lower first"
            )
        if table.fixed[table.poi]:
            raise ModelError(
                f"measurement '{self.measurement}' holds its POI '{name}' fixed: it needs no bounds"
            )
        init, lower, upper = (x.copy() for x in (table.init, table.lower, table.upper))
        lower[table.poi], upper[table.poi] = low, high
        init[table.poi] = min(max(init[table.poi], low), high)
        self.parameters = replace(table, init=init, lower=lower, upper=upper)

    def _build(self, measurement: MeasurementDocument) -> Array:
        """Make pyhf's model and data; return the expected main data at the starting values."""
        with pyhf_backend("numpy"):  # eager jax would compile every small operation
            # The schema was checked before, faster. histosys code4p and normsys code4 are what
            # `pyhf fit` and cabinetry use; both keys are given because a partial dictionary would
            # move the other one to its old default.
            workspace = pyhf.Workspace(self.workspace, validate=False)
            config = measurement["config"]
            self.model = pyhf.Model(
                {"channels": workspace["channels"], "parameters": config["parameters"]},
                poi_name=None if self.missing_poi else config["poi"],
                validate=False,
                modifier_settings={
                    "normsys": {"interpcode": "code4"},
                    "histosys": {"interpcode": "code4p"},
                },
            )
            self.data = np.asarray(workspace.data(self.model), dtype=float)
            start = self.model.config.suggested_init()
            return np.asarray(self.model.expected_data(start, include_auxdata=False))

    def _refuse_equal_names(self, names: list[str]) -> None:
        """A normfactor 'a[0]' beside a shapesys 'a' would be two parameters of one name."""
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ModelError(
                f"two parameters are called '{twice[0]}': a modifier has the name that a component "
                "of another one gets; rename one of them"
            )

    def _require_expectation(self, rates: Array) -> None:
        """Start where something is expected in every bin with events, or refuse.

        A factor that starts at 0, as a signal strength does, is started elsewhere where nothing
        else is expected.
        """
        config, table = self.model.config, self.parameters
        observed = self.data[: self.n_main]
        if not np.any((rates <= 0) & (observed != 0)):
            return
        factors = np.zeros(len(table.names), dtype=bool)
        for name in config.par_order:
            factors[config.par_slice(name)] = not config.param_set(name).constrained
        moved = factors & ~table.fixed & (table.init == 0)
        inside = np.where((table.lower < 1) & (table.upper > 1), 1.0, 0.5 * table.upper)
        start = np.where(moved, inside, table.init)
        with pyhf_backend("numpy"):
            rates_there = np.asarray(
                self.model.expected_data(start.tolist(), include_auxdata=False)
            )
        if np.any((rates_there <= 0) & (observed != 0)):
            self._refuse_no_expectation(rates)
        self.parameters = replace(table, init=start)
        names = [table.names[i] for i in np.flatnonzero(moved)]
        self.warnings.append(
            f"started away from 0, where a bin with events expects nothing: {', '.join(names[:5])}"
        )

    def _refuse_no_expectation(self, rates: Array) -> None:
        for channel, where in self.channel_slices.items():
            observed = self.data[where]
            for index in np.flatnonzero((rates[where] <= 0) & (observed != 0)):
                raise ModelError(
                    f"channel '{channel}', bin {index}: the total expectation at the starting "
                    f"values is {rates[where][index]:g}, but {observed[index]:g} events were "
                    "observed; no fit can start there, so add a background or remove the bin"
                )

    def _call(self, name: str, *args: Any) -> Any:
        arrays = [jnp.asarray(arg) for arg in args]
        if name in self._functions:  # traced: pyhf's global state is no longer read
            return self._functions[name](*arrays)

        def twice_nll(pars: Any, data: Any) -> Any:
            return -2.0 * self.model.logpdf(pars, data)[0]

        def rates(pars: Any) -> Any:
            return self.model.expected_data(pars, include_auxdata=False)

        functions: dict[str, Callable[..., Any]] = {
            "twice_nll": twice_nll,
            "value_and_gradient": jax.value_and_grad(twice_nll),
            "hessian": jax.hessian(twice_nll),
            "rates": rates,
        }
        with pyhf_backend("jax"):
            function = jax.jit(functions[name])
            value = function(*arrays)
        self._functions[name] = function
        return value

    def twice_nll(
        self, pars: Array, *, data: Array | None = None, backend: BackendName = "jax"
    ) -> float:
        """Return -2 ln L by pyhf, constants and constraint terms included.

        Args:
            pars: Parameter values in the order of ``parameters.names``.
            data: Main and auxiliary data, the observed ones by default.
            backend: pyhf backend to use.
        """
        values = self.data if data is None else data
        if backend == "jax":
            return float(self._call("twice_nll", pars, values))
        with pyhf_backend(backend):
            return -2.0 * float(self.model.logpdf(list(map(float, pars)), list(values))[0])

    def value_and_gradient(self, pars: Array, data: Array | None = None) -> tuple[float, Array]:
        """Return -2 ln L and its gradient, shape (n_parameters,)."""
        value, gradient = self._call(
            "value_and_gradient", pars, self.data if data is None else data
        )
        return float(value), np.array(gradient)

    def hessian(self, pars: Array, data: Array | None = None) -> Array:
        """Return the second derivatives of -2 ln L, shape (n_parameters, n_parameters)."""
        return np.array(self._call("hessian", pars, self.data if data is None else data))

    def rates(self, pars: Array) -> Array:
        """Return the expected main data, shape (n_main,), channels in alphabetical order."""
        return np.array(self._call("rates", pars))
