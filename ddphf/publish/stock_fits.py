"""pyhf's own optimizers on a published point: where they start, how long, where they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyhf
from scipy.optimize import OptimizeResult
from threadpoolctl import threadpool_limits

from ddphf.arrays import Array, Mask
from ddphf.likelihood.reference import BackendName, ReferenceModel, pyhf_backend
from ddphf.results.verified import FAIL, LIMITED, PASS, UNPHYSICAL

__all__ = ["STOCK", "Optimizer", "StockFit", "fit_stock", "judge_stock"]

LOWER = 1e-3
"""A stock optimizer further below than this has found a better point."""

HIGHER = 1e-2
"""A stock optimizer further above than this has stopped early."""

Optimizer = Literal["scipy", "minuit"]

STOCK: tuple[tuple[BackendName, Optimizer], ...] = (
    ("numpy", "scipy"),
    ("numpy", "minuit"),
    ("jax", "scipy"),
)
"""The combinations that a reader may have: one backend with gradients, one without."""


class _OutOfTimeError(Exception):
    """The clock has run out."""


class _Clock:
    """Wraps an objective: remembers the lowest allowed point, and stops it after its time.

    SLSQP holds parameters by a constraint and moves them off for its finite differences: such
    points may be lower and are none.
    """

    def __init__(self, seconds: float, allowed: Callable[[Array], bool]) -> None:
        self.end, self.allowed = time.monotonic() + seconds, allowed
        self.lowest, self.where = np.inf, np.array([])

    def watch(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def watched(parameters: Any) -> Any:
            out = function(parameters)
            value = float(np.ravel(np.asarray(out[0] if isinstance(out, tuple) else out))[0])
            where = np.array(parameters, dtype=float)
            if value < self.lowest and self.allowed(where):
                self.lowest, self.where = value, where
            if time.monotonic() > self.end:
                raise _OutOfTimeError
            return out

        return watched


class _Scipy(pyhf.optimize.scipy_optimizer):  # type: ignore[misc]
    """pyhf's scipy optimizer under a clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self.clock = clock

    def _minimize(self, minimizer: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._minimize(minimizer, self.clock.watch(func), *args, **kwargs)


class _Minuit(pyhf.optimize.minuit_optimizer):  # type: ignore[misc]
    """pyhf's minuit optimizer under a clock, without HESSE: no errors are asked for."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self.clock = clock

    def _get_minimizer(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._get_minimizer(self.clock.watch(function), *args, **kwargs)

    def _minimize(self, minimizer: Any, *args: Any, **kwargs: Any) -> Any:
        del args
        minimizer.strategy = 0 if kwargs.get("do_grad") else 1
        minimizer.tol = self.tolerance
        minimizer.migrad(ncall=self.maxiter)
        return OptimizeResult(x=minimizer.values, success=minimizer.valid, fun=minimizer.fval)


@dataclass(frozen=True)
class StockFit:
    """Where one of pyhf's optimizers stopped.

    Attributes:
        twice_nll: -2 ln L there by pyhf's numpy backend; None where it went nowhere.
        physical: Whether every expected rate is >= 0 there.
        note: Empty, or why it stopped: out of time, or what it said.
    """

    twice_nll: float | None
    physical: bool
    note: str = ""


def fit_stock(
    reference: ReferenceModel,
    backend: BackendName,
    optimizer: Optimizer,
    *,
    start: Array,
    fixed: Mask,
    seconds: float,
) -> StockFit:
    """Run pyhf's maximum-likelihood fit with one backend and optimizer.

    Args:
        reference: The measurement.
        backend: pyhf backend.
        optimizer: pyhf optimizer.
        start: Shape (n,): where it starts; the value of held parameters.
        fixed: Shape (n,): held parameters.
        seconds: After which it is stopped, and the lowest point that it visited is taken.

    Example:
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> workspace = pyhf.Workspace.build(model, [60.0] + model.config.auxdata)
        >>> reference = ReferenceModel(dict(workspace))
        >>> table = reference.parameters
        >>> fit = fit_stock(reference, "numpy", "scipy", start=table.init, fixed=table.fixed,
        ...                 seconds=30.0)
        >>> round(fit.twice_nll, 4), fit.physical, fit.note
        (11.7084, True, '')
    """
    table = reference.parameters

    def allowed(where: Array) -> bool:
        inside = bool(np.all((where >= table.lower) & (where <= table.upper) | fixed))
        return inside and np.array_equal(where[fixed], start[fixed])

    clock, note = _Clock(seconds, allowed), ""
    optimizers = {"scipy": _Scipy, "minuit": _Minuit}
    # SLSQP is many times slower with more than one BLAS thread.
    with (
        pyhf_backend(backend, optimizers[optimizer](clock)),
        threadpool_limits(1),
        np.errstate(all="ignore"),
    ):
        try:
            point = pyhf.infer.mle.fit(
                reference.data.tolist(),
                reference.model,
                init_pars=start.tolist(),
                par_bounds=list(zip(table.lower.tolist(), table.upper.tolist(), strict=True)),
                fixed_params=fixed.tolist(),
            )
            where = np.asarray(point, dtype=float)
        except _OutOfTimeError:
            note, where = f"stopped after {seconds:g} s", clock.where
        except pyhf.exceptions.FailedMinimization:
            note, where = "says that it failed", clock.where
        except (ValueError, RuntimeError, FloatingPointError, TypeError) as error:
            note, where = f"{type(error).__name__}: {error}", clock.where
    if where.shape != start.shape or not np.all(np.isfinite(where)):
        return StockFit(None, True, note or "went nowhere")
    with np.errstate(all="ignore"), pyhf_backend("numpy"):
        value = reference.twice_nll(where, backend="numpy")
        rates = reference.model.expected_data(where.tolist(), include_auxdata=False)
    if not np.isfinite(value):
        return StockFit(None, True, note or "ended where 2NLL is no number")
    return StockFit(value, bool(np.all(np.asarray(rates) >= 0)), note)


def judge_stock(fit: StockFit, recorded: float) -> tuple[str, str]:
    """Return status and detail of where a stock optimizer ended.

    Args:
        fit: Where it did.
        recorded: 2NLL of the recorded minimum.
    """
    if fit.twice_nll is None:
        return LIMITED, fit.note
    above = fit.twice_nll - recorded
    if above < -LOWER:
        if fit.physical:
            return FAIL, f"lower by {-above:.3g}: the recorded point is no minimum"
        return UNPHYSICAL, f"lower by {-above:.3g} where an expected rate is negative"
    if above > HIGHER:
        note = f"; {fit.note}" if fit.note else ""
        return LIMITED, f"stops {above:.3g} above{note}"
    return PASS, fit.note
