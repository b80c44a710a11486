"""A factor without any effect changes no statement: the same workspace without it says the same."""

import numpy as np
import pytest
from conftest import invoke
from odd_models import STRENGTH, normfactor, normsys, workspace

from ddphf.exceptions import ModelError
from ddphf.files import to_json
from ddphf.inference.discovery import discover_workspace
from ddphf.inference.fit import fit_workspace
from ddphf.inference.fitter import Fitter
from ddphf.inference.injection.record import inject_signal
from ddphf.inference.limits.limits import limit_workspace
from ddphf.inference.ranking.impacts import rank_parameters
from ddphf.inference.scan import scan_parameters
from ddphf.inference.toys.kept import toys_workspace
from ddphf.inference.toys.source import ToySource
from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.reference import ReferenceModel

HELD = "free fit: parameters without any effect are held: "


def with_samples(*more, inits=1.0):
    """A counting experiment of two bins, and more samples."""
    return workspace(
        [
            ("signal", [5, 9], [STRENGTH]),
            *more,
            ("background", [50, 40], [normsys("norm", 0.1)]),
        ],
        [60, 55],
        [{"name": "mu", "bounds": [[-10, 10]], "inits": [inits]}],
    )


SHAPE = {"name": "sf", "type": "shapefactor", "data": None}
IDLE = {
    "k": ("none", [0, 0], [normfactor("k")]),
    "k, l": ("none", [0, 0], [normfactor("k"), normfactor("l")]),
    "sf[0], sf[1]": ("none", [0, 0], [SHAPE]),
}


@pytest.fixture(params=IDLE)
def idle(request):
    return request.param, with_samples(IDLE[request.param])


def same(one, other):
    assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


def test_limits_and_intervals(idle):
    names, spec = idle
    found, plain = (limit_workspace(s, interval=True) for s in (spec, with_samples()))
    assert HELD + names in found.warnings
    same(found.asymptotic.observed, plain.asymptotic.observed)
    same(found.asymptotic.expected, plain.asymptotic.expected)
    for one, other in zip(found.intervals, plain.intervals, strict=True):
        same((one.lower, one.upper), (other.lower, other.upper))


def test_discoveries_expected_and_by_toys(idle):
    names, spec = idle
    asked = {"nulls": ("asymptotic", "toys"), "toys": 64, "seed": 5}
    found, plain = (discover_workspace(s, **asked) for s in (spec, with_samples()))
    assert HELD + names in found.warnings
    one, other = found.statements[0], plain.statements[0]
    same(one.expected.z0, other.expected.z0)
    same((one.toys["n_failed"], one.toys["n_ge"]), (0, other.toys["n_ge"]))


def test_goodness_by_toys(idle):
    _, spec = idle
    found, plain = (fit_workspace(s, goodness_toys=64, seed=5) for s in (spec, with_samples()))
    one, other = (r.goodness_of_fit.toys for r in (found, plain))
    assert (one["n_failed"], one["n_ge"]) == (0, other["n_ge"])


def test_kept_toys(idle, tmp_path):
    names, spec = idle
    found, said = toys_workspace(spec, tmp_path / "one.npz", toys=64, seed=5)
    plain, _ = toys_workspace(with_samples(), tmp_path / "two.npz", toys=64, seed=5)
    assert HELD + names in said
    assert np.allclose(found.q0, plain.q0, rtol=0, atol=1e-7)


def test_scans_rankings_and_injections(idle):
    names, spec = idle
    found, plain = (scan_parameters(s, ["mu"], points=3) for s in (spec, with_samples()))
    assert HELD + names in found.warnings
    same(found.delta_twice_nll, plain.delta_twice_nll)
    assert len(found.intervals) == len(plain.intervals) == 2
    found, plain = (rank_parameters(s) for s in (spec, with_samples()))
    assert HELD + names in found.warnings
    (_, found), (_, plain) = (inject_signal(s, z=2.0) for s in (spec, with_samples()))
    assert HELD + names in found.warnings
    same(found.found.z0, plain.found.z0)


def test_the_command_that_failed(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(to_json(with_samples(IDLE["k"])))
    result = invoke("limit", str(path), "-o", str(tmp_path / "r.json"))
    assert result.code == 0, result.err
    assert "without any effect are held: k" in result.err


def test_without_signal_what_scales_the_signal_stays_where_it_starts():
    """It went to a bound that only rounding led it to, and the fit said so."""
    spec = with_samples(("third", [2, 1], [STRENGTH, normfactor("q")]))
    fits = Fitter(ReferenceModel(spec)).fit_both(lambda line: None)
    assert fits.warnings == ("null fit: parameters without any effect are held: q",)
    place = CompiledModel.from_reference(ReferenceModel(spec)).parameters.names.index("q")
    assert fits.null.parameters[place] == pytest.approx(fits.free.parameters[place])
    source = ToySource.conditional(CompiledModel.from_reference(ReferenceModel(spec)))
    assert source.parameters[place] == 1.0


def test_a_start_at_zero_hides_no_effect():
    """Where mu starts at 0 it is free all the same, and what multiplies it is."""
    third = ("third", [2, 40], [STRENGTH, normfactor("q")])
    spec = with_samples(third, inits=0.0)
    model = CompiledModel.from_reference(ReferenceModel(spec))
    assert not model.parameters.fixed.any()
    start = model.stated.init
    held = np.array([name == "mu" for name in model.stated.names])
    idle = model.without_effect(start, held)
    assert [n for n, i in zip(model.stated.names, idle, strict=True) if i] == ["q"]


@pytest.mark.parametrize("engine", ["ddphf", "pyhf"])
def test_a_start_at_zero_hides_none_from_either_engine(engine):
    """Beside a factor without any, which makes the engine of pyhf look for such."""
    third = ("third", [2, 40], [STRENGTH, normfactor("q")])
    spec = with_samples(third, IDLE["k"], inits=0.0)
    result = fit_workspace(spec, engine=engine)
    assert HELD + "k" in result.warnings
    named = {p.name: p for p in result.fit.parameters}
    assert named["q"].value != 1.0


def test_other_yields_take_an_effect_and_give_it_back():
    some = ("none", [3, 0], [normfactor("k")])
    model = CompiledModel.from_reference(ReferenceModel(with_samples(some)))
    place = model.parameters.names.index("k")
    # Samples are in alphabetical order: background, none, signal.
    without = model.replace_sample(1, np.zeros(2))
    again = without.replace_sample(1, np.array([2.0, 0.0]))
    assert [m.parameters.fixed[place] for m in (model, without, again)] == [False, True, False]
    assert not without.stated.fixed.any()


def test_other_starts_are_tried_beside_a_factor_without_effect():
    """Each of them failed there, and the higher one of two minima was reported."""

    def spec(*more):
        first = [
            ("a", [19, 14], [SHAPE]), ("b", [11, 5], []), ("s", [15, 3], [STRENGTH]),
        ]  # fmt: skip
        second = [("a", [2, 15], [SHAPE, normfactor("k")]), ("b", [5, 13], []), *more]
        both = workspace(first, [22, 17]), workspace(second, [18, 5])
        for part, name in zip(both, "cd", strict=True):
            part["channels"][0]["name"] = part["observations"][0]["name"] = name
        joined = {key: both[0][key] + both[1][key] for key in ("channels", "observations")}
        return {**both[0], **joined}

    found, plain = fit_workspace(spec(("none", [0, 0], [normfactor("l")]))), fit_workspace(spec())
    assert any("several minima (mu, k)" in line for line in plain.warnings)
    assert found.fit.twice_nll == pytest.approx(plain.fit.twice_nll, abs=1e-8)


@pytest.mark.parametrize("use", [limit_workspace, ToySource.conditional])
def test_a_poi_without_effect_is_refused_by_name(use):
    spec = workspace(
        [("signal", [0, 0], [STRENGTH]), ("b", [50, 40], [normsys("norm", 0.1)])], [60, 55]
    )
    given = spec if use is limit_workspace else CompiledModel.from_reference(ReferenceModel(spec))
    with pytest.raises(ModelError, match=r"POI 'mu' changes no expected count.*check its samples"):
        use(given)
