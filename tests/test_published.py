"""Published workspaces: no stock optimizer finds a lower minimum, and the null fit works."""

import json

import numpy as np
import pyhf
import pytest
from others_data import others
from threadpoolctl import threadpool_limits

from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend

PUBLISHED = (
    "pyhf_validation_micro/coupledshapefactor.workspace.json",
    "pyhf_validation_micro/q0.workspace.json",
    "cabinetry_tutorial/built_example_workspace.json",
    "atlas_sbottom_regionC_600_280_150/bottom-squarks.json",
)


def stock_minimum(reference, backend, optimizer, poi_value):
    """Return pyhf's minimum of 2NLL; None where it fails or stops where a rate is negative."""
    # SLSQP is many times slower with more than one BLAS thread.
    with pyhf_backend(backend, optimizer), threadpool_limits(1):
        arguments = [reference.data.tolist(), reference.model]
        try:
            if poi_value is None:
                point, _ = pyhf.infer.mle.fit(*arguments, return_fitted_val=True)
            else:
                point, _ = pyhf.infer.mle.fixed_poi_fit(
                    poi_value, *arguments, return_fitted_val=True
                )
        except pyhf.exceptions.FailedMinimization:
            return None
    point = np.asarray(point, dtype=float)
    if np.any(reference.rates(point) < 0):
        return None  # UNPHYSICAL: pyhf rewards negative rates of empty bins
    return reference.twice_nll(point, backend="numpy")


@pytest.mark.parametrize("path", PUBLISHED)
def test_no_stock_optimizer_is_lower(path):
    spec = json.loads(others(path).read_text())
    result = fit_workspace(spec)
    assert result.null is not None
    reference = ReferenceModel(spec)
    for minimum, poi_value in ((result.fit, None), (result.null, 0.0)):
        stock = {
            (backend, optimizer): stock_minimum(reference, backend, optimizer, poi_value)
            for backend, optimizer in (("numpy", "scipy"), ("numpy", "minuit"), ("jax", "scipy"))
        }
        values = [value for value in stock.values() if value is not None]
        assert values, stock
        assert minimum.twice_nll <= min(values) + 1e-3, stock
        assert minimum.certificate.edm < 1e-8
