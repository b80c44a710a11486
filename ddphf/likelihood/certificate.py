"""What every minimiser of ddphf returns: the point, and the certificate that it is a minimum.

The sizes by which the engine tells a minimum from its neighbourhood stand here, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.special import xlogy

from ddphf.arrays import AnyArray, Array, JaxArray, Mask
from ddphf.exceptions import FitError
from ddphf.likelihood.reference import ReferenceModel

__all__ = [
    "CONVERGED",
    "EDM_ROUNDING",
    "EDM_TOLERANCE",
    "EDM_TOLERANCE_PYHF",
    "EPSILON",
    "Minimum",
    "compare_values",
    "free_directions",
    "measure_rounding",
]


Either = TypeVar("Either", JaxArray, AnyArray)
"""Of compiled programs, or numpy's."""

CONVERGED = "converged"


@dataclass(frozen=True)
class Minimum:
    """A point of a likelihood, with what certifies it as a minimum.

    Attributes:
        parameters: Shape (n,), in the order of the model's parameter table; fixed ones included.
        twice_nll: -2 ln L at the point, constants and constraint terms included.
        errors: Shape (n,): square root of the diagonal of the inverse Hessian of -ln L over the
            free directions; 0 for fixed parameters, for those at a bound and those ``at_edge``.
        at_bound: Shape (n,): True where a free parameter sits on one of its bounds.
        at_edge: Shape (n,): True where a free parameter has no symmetric error although it sits on
            no bound: a rate of 0 stops it, the likelihood has a corner there, or it has no
            curvature. :mod:`ddphf.likelihood.errors.profile` finds the errors of either side.
        stiffness: Shape (n,): diagonal of the Hessian of -ln L: 1 / error^2 with all other
            parameters held.
        projected_gradient: Largest absolute derivative of -2 ln L along a free direction.
        edm: Estimated distance to the minimum, g^T H^-1 g / 2 in units of -2 ln L, over the free
            directions (at a kink: 0 when 0 lies in the subdifferential).
        status: ``"converged"``, or a sentence that says why not.
    """

    parameters: Array
    twice_nll: float
    errors: Array
    at_bound: Mask
    at_edge: Mask
    stiffness: Array
    projected_gradient: float
    edm: float
    status: str

    @cached_property
    def converged(self) -> bool:
        """Whether the certificate holds."""
        return self.status == CONVERGED

    def error(self, index: int) -> float | None:
        """Return the error of a parameter, None where an edge leaves none."""
        return None if self.at_edge[index] else float(self.errors[index])

    def stated_errors(self) -> list[float | None]:
        """Return the errors of all parameters, None where an edge leaves none."""
        pairs = zip(self.errors.tolist(), self.at_edge, strict=True)
        return [None if stopped else error for error, stopped in pairs]


EDM_TOLERANCE = 1e-8
"""Largest accepted estimated distance to the minimum, in units of -2 ln L."""

EDM_TOLERANCE_PYHF = 1e-6
"""The same for fits by pyhf's own optimizers."""

EDM_ROUNDING = 1e-10
"""EDM below which a step that does not quarter it shows rounding: Newton would square it."""

EPSILON = 2.3e-16
"""Of a number in double precision."""

ROUNDING_OF_Q0 = 2e-16
"""Of q0, a difference of two sums, in units of the absolute values of their terms."""

ROUNDING_OF_VALUES = 1e-13
"""By which two programs that add the same terms may differ, in units of their absolute values."""


def free_directions(
    x: Either, gradient: Either, fixed: Either, lower: Either, upper: Either
) -> Either:
    """Return True where a parameter may move: not held, and not pushed against a bound.

    Args:
        x: Parameters, shape (..., n); numpy's or of a compiled program.
        gradient: Of -ln L there, any scale.
        fixed: Held parameters.
        lower: Lower bounds.
        upper: Upper bounds.

    Example:
        >>> import numpy as np
        >>> x, slope, none = np.zeros(3), np.array([1.0, -1.0, 0.0]), np.zeros(3, dtype=bool)
        >>> free_directions(x, slope, none, lower=x, upper=x + 1)
        array([False,  True,  True])
    """
    pushed = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
    return ~fixed & ~pushed


def measure_rounding(reference: ReferenceModel) -> float:
    """Return about what rounding alone moves q0 by."""
    return ROUNDING_OF_Q0 * (_size_of_terms(reference) + _size_of_auxiliary_terms(reference))


def _size_of_terms(reference: ReferenceModel) -> float:
    """Return about the sum of the absolute values of the terms of -2 ln L."""
    return _size_of_poisson(reference.data[: reference.n_main])


def _size_of_auxiliary_terms(reference: ReferenceModel) -> float:
    """Return the same of the auxiliary Poisson terms: (yield / error)^2 events per bin."""
    places = reference.constraints.poisson_data
    return _size_of_poisson(reference.data[reference.n_main :][places])


def _size_of_poisson(counts: Array) -> float:
    return 2 * float(np.sum(counts + np.abs(xlogy(counts, counts))))


def compare_values(
    reference: ReferenceModel, ours: float, other: float, name: str, tolerance: float
) -> None:
    """Refuse two values of -2 ln L that differ by more than rounding.

    Args:
        reference: The model; its data set the size of the terms and so of the rounding.
        ours: By the fit.
        other: By another calculation.
        name: Of that calculation.
        tolerance: Absolute.

    Raises:
        FitError: They differ.
    """
    rounding = ROUNDING_OF_VALUES * _size_of_terms(reference)
    # Exact events, yields over errors squared, may be many more than those that were counted.
    rounding += EPSILON * _size_of_auxiliary_terms(reference)
    if not abs(ours - other) <= tolerance + rounding + 1e-12 * abs(ours):
        raise FitError(
            f"-2 ln L is {ours:.12g} by the fit and {other:.12g} by {name}; one of them is wrong, "
            "so there is no result"
        )
