"""What is not compiled is fitted with pyhf's own likelihood, certified, and said."""

import numpy as np
import pyhf
import pytest
from pyhf.modifiers import histfactory_set
from pyhf.modifiers.normfactor import normfactor_builder, normfactor_combined

from ddphf.exceptions import ModelError
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.certificate import EDM_TOLERANCE
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend


class Squared(normfactor_combined):
    """A custom modifier: the yield goes with the square of its parameter."""

    name = "squared"

    def apply(self, pars):
        return super().apply(pars) ** 2


def make_reference():
    """Rates mu + norm^2 20, 2 mu + norm^2 10, pyhf's model with a modifier type of our own."""
    spec = {
        "channels": [
            {
                "name": "c",
                "samples": [
                    {
                        "name": "z_background",
                        "data": [20.0, 10.0],
                        "modifiers": [{"name": "norm", "type": "normfactor", "data": None}],
                    },
                    {
                        "name": "signal",
                        "data": [1.0, 2.0],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                ],
            }
        ],
        "observations": [{"name": "c", "data": [47.0, 29.0]}],
        "version": "1.0.0",
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    reference = ReferenceModel(spec)
    custom = {
        "channels": [{"name": "c", "samples": [dict(s) for s in spec["channels"][0]["samples"]]}]
    }
    custom["channels"][0]["samples"][0]["modifiers"] = [
        {"name": "norm", "type": "squared", "data": None}
    ]
    modifiers = {**histfactory_set, "squared": (normfactor_builder, Squared)}
    with pyhf_backend("numpy"):
        reference.model = pyhf.Model(custom, modifier_set=modifiers, validate=False, poi_name="mu")
    assert tuple(reference.model.config.par_names) == reference.parameters.names
    return reference


def test_a_custom_modifier_is_fitted_by_pyhfs_likelihood():
    fitter = Fitter(make_reference())
    assert fitter.warnings == (
        "not compiled (modifier type not compiled: squared): fitted with pyhf's own likelihood",
    )
    fits = fitter.fit_both(lambda line: None)
    free, null = fits.free, fits.null
    # Both bins are met exactly: mu + 20 K = 47, 2 mu + 10 K = 29, K = norm^2.
    names = fitter.reference.parameters.names
    values = dict(zip(names, free.parameters, strict=True))
    background = (2 * 47 - 29) / 30
    assert values["mu"] == pytest.approx(47 - 20 * background, abs=1e-6)
    assert values["norm"] == pytest.approx(np.sqrt(background), abs=1e-7)
    for fit in (free, null):
        assert fit.converged
        assert fit.edm < EDM_TOLERANCE
    null_k = dict(zip(names, null.parameters, strict=True))["norm"]
    assert null_k == pytest.approx(np.sqrt(76 / 30), abs=1e-7)
    with pytest.raises(
        ModelError, match=r"toys and Asimov data need the compiled likelihood.*squared"
    ):
        fitter.require_compiled()
