"""Dense damped Newton on pyhf's own likelihood: the careful path for models nobody compiled.

Slow (one dense Hessian of every parameter per step) and exact: the derivatives are automatic ones
of pyhf's jax logpdf, so what it certifies is pyhf's likelihood itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyhf
from scipy import linalg

from ddphf.arrays import Array, Mask
from ddphf.likelihood.certificate import CONVERGED, EDM_TOLERANCE, Minimum, free_directions
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.progress import Stage

__all__ = ["certify", "minimize_dense", "minimize_minuit"]

MAX_STEPS = 200


def certify(
    reference: ReferenceModel, parameters: Array, fixed: Mask, *, tolerance: float = EDM_TOLERANCE
) -> Minimum:
    """Certify a point as a minimum by pyhf's own gradient and Hessian.

    Args:
        reference: The model.
        parameters: Shape (n,), inside the bounds.
        fixed: Shape (n,): True for parameters held.
        tolerance: Largest accepted EDM, in units of -2 ln L.

    Returns:
        The point with its certificate; ``status`` says what is wrong where it does not hold.
    """
    table = reference.parameters
    value, gradient = reference.value_and_gradient(parameters)
    hessian = reference.hessian(parameters)
    at_bound = (parameters <= table.lower) | (parameters >= table.upper)
    free = free_directions(parameters, gradient, fixed, table.lower, table.upper)
    errors = np.zeros(len(parameters))
    status = CONVERGED
    edm = 0.0
    rates = reference.rates(parameters)
    counts = reference.data[: reference.n_main]
    if free.any():
        block = hessian[np.ix_(free, free)]
        try:
            factor = linalg.cho_factor(block)
            edm = float(gradient[free] @ linalg.cho_solve(factor, gradient[free]) / 2)
            inverse = np.diag(linalg.cho_solve(factor, np.eye(block.shape[0])))
            errors[free] = np.sqrt(2 * inverse)
        except (linalg.LinAlgError, ValueError):  # ValueError: NaN in the Hessian
            edm = float("inf")
            status = "the Hessian is not positive definite over the free parameters"
    if not np.isfinite(value):
        status = "the likelihood is not finite at the solution"
    elif np.any(rates < 0) or np.any((rates == 0) & (counts > 0)):
        status = f"the expected rate of main bin {int(np.argmin(rates))} is not positive"
    elif status == CONVERGED and not edm < tolerance:
        status = f"EDM {edm:.1e} is above {tolerance:.0e}"
    return Minimum(
        parameters=parameters,
        twice_nll=value,
        errors=errors,
        at_bound=at_bound & ~fixed,
        at_edge=np.zeros(len(parameters), dtype=bool),
        stiffness=0.5 * np.diag(hessian),
        projected_gradient=float(np.max(np.abs(gradient[free]), initial=0.0)),
        edm=edm,
        status=status,
    )


def minimize_dense(
    reference: ReferenceModel,
    *,
    start: Array,
    fixed: Mask,
    tolerance: float = EDM_TOLERANCE,
    progress: Stage | None = None,
) -> Minimum:
    """Minimise -2 ln L by projected Newton steps with Levenberg damping.

    Args:
        reference: The model.
        start: Shape (n,); held parameters keep these values.
        fixed: Shape (n,): True for parameters to hold.
        tolerance: Largest accepted EDM.
        progress: Called with a line per step.

    Returns:
        The last point with its certificate, which may say that it failed.
    """
    table = reference.parameters
    counts = reference.data[: reference.n_main]
    x = np.where(fixed, start, np.clip(start, table.lower, table.upper))
    value, gradient = reference.value_and_gradient(x)
    damping = 0.0
    polished = False
    for step in range(MAX_STEPS):
        free = np.flatnonzero(free_directions(x, gradient, fixed, table.lower, table.upper))
        if free.size == 0 or not np.isfinite(value):
            break
        block = reference.hessian(x)[np.ix_(free, free)]
        scale = np.maximum(np.abs(np.diag(block)), 1e-12)
        accepted = False
        for _ in range(60):
            move = _solve(block + np.diag(damping * scale), -gradient[free])
            if move is not None:
                trial = x.copy()
                trial[free] = np.clip(x[free] + move, table.lower[free], table.upper[free])
                rates = reference.rates(trial)
                if np.all((rates > 0) | ((counts == 0) & (rates >= 0))):
                    trial_value, trial_gradient = reference.value_and_gradient(trial)
                    slack = 1e-13 * max(1.0, abs(value))
                    if np.isfinite(trial_value) and trial_value <= value + slack:
                        accepted = True
                        break
            damping = max(10 * damping, 1e-6)
        if not accepted:
            break
        if progress is not None:
            progress(f"Newton step {step + 1}: 2NLL {trial_value:.9g}")
        gain = -float(gradient[free] @ (trial - x)[free])
        x, value, gradient = trial, trial_value, trial_gradient
        damping = 0.0 if damping < 1e-5 else damping / 30
        if abs(gain) < 1e-3 * tolerance:
            if polished:  # one more full step costs little and lands at rounding level
                break
            polished = True
    return certify(reference, x, fixed, tolerance=tolerance)


def _solve(matrix: Array, right: Array) -> Array | None:
    try:
        solution = linalg.cho_solve(linalg.cho_factor(matrix), right)
    except (linalg.LinAlgError, ValueError):  # ValueError: NaN
        return None
    return np.asarray(solution) if np.all(np.isfinite(solution)) else None


def minimize_minuit(reference: ReferenceModel, *, start: Array, fixed: Mask) -> Array:
    """Run pyhf's own fit: jax backend, iminuit, gradients.

    Args:
        reference: The model.
        start: Shape (n,).
        fixed: Shape (n,).

    Returns:
        Where it stopped, shape (n,), to be polished and certified: iminuit reports success some
        way above the minimum. The start, where it raised.
    """
    table = reference.parameters
    if fixed.all():  # pyhf with minuit crashes when nothing floats
        return start
    any_optimizer: Any = pyhf.optimize.minuit_optimizer(tolerance=1e-4)
    with pyhf_backend("jax", any_optimizer):
        try:
            result = pyhf.infer.mle.fit(
                list(reference.data),
                reference.model,
                init_pars=list(start),
                par_bounds=list(zip(table.lower.tolist(), table.upper.tolist(), strict=True)),
                fixed_params=[bool(f) for f in fixed],
            )
        except pyhf.exceptions.FailedMinimization:
            return start
        except AttributeError:
            # pyhf 0.7.6 asks for the correlations of a covariance that iminuit did not find.
            return start
    point = np.clip(np.array(result, dtype=float), table.lower, table.upper)
    return np.where(fixed, start, point)
