"""Fits are returned with what is to be said of them; a fitter stays as it was made."""

import numpy as np
import pytest
from odd_models import STRENGTH, bounded, normfactor, normsys, workspace

from ddphf.exceptions import FitError
from ddphf.inference.attempts import Fit
from ddphf.inference.fit import fit_workspace
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.certificate import free_directions
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.fits import minimize
from ddphf.likelihood.reference import ReferenceModel


def quiet(line):
    """Say nothing."""


def flat_without_signal(scale=1.0):
    """At mu = 0 nothing tells k from j, and q does nothing; the signal tells all three."""
    yields = [6e4, 1e4, 9e3, 3e3], [9e3, 7e4, 1e4, 6e3], [3e3, 9e3, 1e4, 6e4], [9e4, 6e4, 1e5, 1e5]
    first, second, third, background = scale * np.array(yields)
    counts = np.round(first + second + third + 1.05 * background)
    return workspace(
        [
            ("first", first, [STRENGTH]),
            ("second", second, [STRENGTH, normfactor("k")]),
            ("third", third, [STRENGTH, normfactor("q")]),
            ("background", background, [normfactor("k"), normfactor("j")]),
        ],
        counts,
    )


def at_the_lower_bound():
    return workspace(
        [("signal", [5, 9], [STRENGTH]), ("background", [50, 40], [normsys("norm", 0.1)])],
        [30, 20],
    )


def test_a_fitter_says_the_same_twice_and_keeps_nothing():
    fitter = Fitter(ReferenceModel(at_the_lower_bound()))
    first = fitter.fit_both(quiet)
    assert first.warnings == ("free fit: 1 parameter at a bound of the measurement: mu",)
    assert fitter.warnings == ()
    assert fitter.fit_free(quiet).warnings == fitter.fit_both(quiet).warnings == first.warnings


def test_what_a_failed_null_said_stands_before_its_failure():
    fitter = Fitter(ReferenceModel(flat_without_signal()))
    held, in_steps, missing = fitter.fit_free(quiet).warnings
    assert held == "null fit: parameters without any effect are held: q"
    assert in_steps == "null fit in steps, mu = 0: parameters without any effect are held: q"
    assert missing.startswith("no null fit, which might have found a lower minimum: m, null fit")
    assert "the data do not determine j, k" in missing
    with pytest.raises(FitError, match=r"null fit in steps, mu = 0: the data do not determine j"):
        fitter.fit_both(quiet)


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 1e-2, 0.1, 1.0, 1e2, 1e4])
def test_a_flat_null_is_refused_whatever_the_counts(scale):
    """Errors of 1527 and 38261 within bounds of 10 passed without a word."""
    fitter = Fitter(ReferenceModel(flat_without_signal(scale)))
    with pytest.raises(FitError, match=r"the data do not determine j, k"):
        fitter.fit_both(quiet)


FLAT, SIGNAL = np.array([50.0, 40.0, 30.0]), np.array([1.0, 4.0, 1.0])


def product(scale, tilt=0.0):
    """f g times one template and g times another, which differ by a tilt; f = g = mu = 1."""
    tilted = np.array([10.0 + tilt, 8.0, 6.0 - tilt])
    return workspace(
        [
            ("signal", scale * SIGNAL, [STRENGTH]),
            ("b", scale * FLAT, [normfactor("f"), normfactor("g")]),
            ("c", scale * tilted, [normfactor("g")]),
        ],
        scale * (SIGNAL + FLAT + tilted),
        [bounded("mu", -10, 10)],
    )


@pytest.mark.parametrize("scale", [1e-1, 1.0, 1e2, 1e4])
def test_a_product_that_only_its_parts_could_tell_is_refused(scale):
    """f g + g / 5 is all that is known."""
    fitter = Fitter(ReferenceModel(product(scale)))
    with pytest.raises(FitError, match=r"the data do not determine f, g"):
        fitter.fit_both(quiet)


@pytest.mark.parametrize(
    ("scale", "tilt"), [(1.0, 1e-1), (1.0, 1e-2), (1.0, 1e-3), (1e4, 1e-3), (1e10, 1e-4)]
)
def test_what_the_data_determine_weakly_is_fitted(scale, tilt):
    """Errors wider than the bounds are no flat direction, nor are narrow valleys."""
    reference = ReferenceModel(product(scale, tilt))
    table = reference.parameters
    minimum = Fitter(reference).minimize(table.init, table.fixed, "free fit").minimum
    tilted = np.array([10.0 + tilt, 8.0, 6.0 - tilt])
    slopes = {"f": FLAT, "g": FLAT + tilted, "mu": SIGNAL}
    rooted = np.column_stack([slopes[n] for n in table.names]).T * np.sqrt(
        scale / (SIGNAL + FLAT + tilted)
    )
    # Three bins, three parameters: the inverse of the matrix itself, not of its square.
    want = np.sqrt(np.sum(np.linalg.inv(rooted.T) ** 2, axis=1))
    assert minimum.errors == pytest.approx(want, rel=1e-2)


def test_the_free_fit_is_done_once_where_the_null_fails():
    said = []
    Fitter(ReferenceModel(flat_without_signal())).fit_free(said.append)
    assert said == ["m: free fit", "m: null fit"]


def test_a_failure_is_data_until_it_is_required():
    minimum = minimize(CompiledModel.from_reference(ReferenceModel(at_the_lower_bound())))
    good = Fit(minimum).warned("one").warned("two")
    assert good.warnings == ("one", "two")
    assert good.require() is good
    with pytest.raises(FitError, match=r"^no certificate$"):
        Fit(minimum, failure="no certificate").require()


def test_minuit_without_a_covariance_is_no_crash():
    """pyhf asks for the correlations of what iminuit did not find; k changes nothing."""
    spec = workspace(
        [
            ("signal", [5, 9], [STRENGTH]),
            ("none", [0, 0], [normfactor("k")]),
            ("background", [50, 40], [normsys("norm", 0.1)]),
        ],
        [60, 55],
        [bounded("mu", -10, 10)],
    )
    by_pyhf, by_ddphf = fit_workspace(spec, engine="pyhf"), fit_workspace(spec)
    assert "free fit: parameters without any effect are held: k" in by_pyhf.warnings
    assert by_pyhf.discovery.z0 == pytest.approx(by_ddphf.discovery.z0, abs=1e-6)


def test_free_directions_are_those_of_numpy_and_of_programs():
    """One parameter for each case: inside, held, at either bound, pushed in or out."""
    x = np.array([0.5, 0.5, 0.0, 0.0, 1.0, 1.0])
    slope = np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
    fixed = np.array([False, True, False, False, False, False])
    lower, upper = np.zeros(6), np.ones(6)
    want = [True, False, False, True, True, False]
    assert free_directions(x, slope, fixed, lower, upper).tolist() == want
    by_hand = [
        not held and not (p <= lo and g > 0) and not (p >= hi and g < 0)
        for p, g, held, lo, hi in zip(x, slope, fixed, lower, upper, strict=True)
    ]
    assert by_hand == want


def test_errors_are_stated_one_by_one_as_all_together():
    model = CompiledModel.from_reference(ReferenceModel(at_the_lower_bound()))
    minimum = minimize(model)
    one_by_one = [minimum.error(i) for i in range(len(model.parameters.names))]
    assert minimum.stated_errors() == one_by_one
