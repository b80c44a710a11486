"""What every minimiser of ddphf returns: the point, and the certificate that it is a minimum."""

from __future__ import annotations

from dataclasses import dataclass

from ddphf.arrays import Array, Mask

__all__ = ["CONVERGED", "EDM_TOLERANCE", "EDM_TOLERANCE_PYHF", "Minimum"]


CONVERGED = "converged"

EDM_TOLERANCE = 1e-8
"""Largest accepted estimated distance to the minimum, in units of -2 ln L."""

EDM_TOLERANCE_PYHF = 1e-6
"""The same for fits by pyhf's own optimizers."""


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

    @property
    def converged(self) -> bool:
        """Whether the certificate holds."""
        return self.status == CONVERGED

    def error(self, index: int) -> float | None:
        """Return the error of a parameter, None where an edge leaves none."""
        return None if self.at_edge[index] else float(self.errors[index])
