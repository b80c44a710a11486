"""What must hold for any input: symmetries of the statistic, round trips, no traceback."""

import copy
import json
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import yaml
from conftest import ANALYSIS, C, invoke, plain_workspace, write_analysis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddphf.files import to_json
from ddphf.inference.fit import fit_workspace
from ddphf.likelihood.paired.closed_form import PlainPair
from ddphf.results.fit import (
    CertificateResult,
    DiscoveryResult,
    FitResult,
    MinimumResult,
    ParameterResult,
)
from ddphf.results.goodness import ChannelPulls, GoodnessResult
from ddphf.symmetry.pair import Channel, Pair, Systematic, Template
from ddphf.workspace.build import build_workspace

LABELS = {True: ("mue", "emu"), False: ("emu", "mue")}


@st.composite
def plain_pairs(draw):
    """Pairs away from empty bins: there mu_hat may sit on a kink that the swap moves."""
    n = draw(st.integers(2, 6))

    def column(low, high):
        return np.array(draw(st.lists(st.floats(low, high), min_size=n, max_size=n)))

    return PlainPair.of(
        np.floor(column(30, 500)), np.floor(column(30, 500)), column(0.5, 20),
        ratio=column(0.5, 2), fakes_tested=column(0, 5), fakes_partner=column(0, 5),
    )  # fmt: skip


@settings(max_examples=100)
@given(plain_pairs())
def test_swapping_the_labels_flips_z(pair):
    """With b' = r b + mu s as the free background, s moves along as s / r and mu turns to -mu."""
    swapped = PlainPair.of(
        pair.partner, pair.tested, pair.signal_tested / pair.ratio, ratio=1 / pair.ratio,
        fakes_tested=pair.fakes_partner, fakes_partner=pair.fakes_tested,
    )  # fmt: skip
    one, other = pair.fit(), swapped.fit()
    assert other.z0 == pytest.approx(-one.z0, abs=1e-5)
    assert other.mu == pytest.approx(-one.mu, abs=1e-6 * one.error)
    assert other.error == pytest.approx(one.error, rel=1e-6)


@settings(max_examples=100)
@given(plain_pairs(), st.randoms(use_true_random=False))
def test_permuting_bins_changes_nothing(pair, random):
    order = list(range(len(pair.tested)))
    random.shuffle(order)
    permuted = PlainPair.of(
        pair.tested[order], pair.partner[order], pair.signal_tested[order],
        ratio=pair.ratio[order], fakes_tested=pair.fakes_tested[order],
        fakes_partner=pair.fakes_partner[order],
    )  # fmt: skip
    one, other = pair.fit(), permuted.fit()
    assert other.z0 == pytest.approx(one.z0, abs=1e-5)
    assert other.mu == pytest.approx(one.mu, abs=1e-6 * one.error)
    np.testing.assert_allclose(other.background, one.background[order], rtol=1e-6)


@settings(max_examples=100)
@given(plain_pairs(), st.floats(1e-3, 1e3))
def test_scaling_the_signal_rescales_mu_and_not_z(pair, factor):
    scaled = PlainPair.of(
        pair.tested, pair.partner, factor * pair.signal_tested, ratio=pair.ratio,
        fakes_tested=pair.fakes_tested, fakes_partner=pair.fakes_partner,
    )  # fmt: skip
    one, other = pair.fit(), scaled.fit()
    assert other.z0 == pytest.approx(one.z0, abs=1e-5)
    assert other.mu * factor == pytest.approx(one.mu, abs=1e-6 * one.error)
    assert other.error * factor == pytest.approx(one.error, rel=1e-6)


def fit_pair(*, order=(0, 1, 2, 3), swap=False, scale=1.0, names=("mue", "emu")):
    """Fit a pair with fakes, whose errors and norm are nuisances, after a change of its writing."""
    o = list(order)
    norm = [Systematic("fake_norm", "normsys", 1.2, 0.85)]
    fakes = {
        "mue": Template(C["fakes"][o], error=C["fakes_error"][o], systematics=norm),
        "emu": Template(C["fakes_partner"][o], error=C["fakes_error"][o], systematics=norm),
    }
    observed = {"mue": C["tested"][o], "emu": C["partner"][o]}
    ratio, signal = C["ratio"][o], scale * C["signal"][o]
    if swap:
        names, ratio, signal = names[::-1], 1 / ratio, signal / ratio
    tested, partner = names
    pair = Pair(
        Channel(tested, observed[tested], Template(signal), fakes[tested]),
        Channel(partner, observed[partner], None, fakes[partner]),
        efficiency_ratio=ratio,
    )
    return fit_workspace(build_workspace(pair, signal_scale=1.0).workspace)


@pytest.fixture(scope="module")
def result():
    return fit_pair()


def test_swapping_the_labels_flips_z_in_a_real_fit(result):
    """The roles SR and CR are exchanged; the nuisances stay with their sample."""
    swapped = fit_pair(swap=True)
    assert swapped.discovery.z0 == pytest.approx(-result.discovery.z0, abs=1e-6)
    assert swapped.mu_hat.value == pytest.approx(-result.mu_hat.value, abs=1e-5)
    assert swapped.mu_hat.error == pytest.approx(result.mu_hat.error, rel=1e-5)


def test_permuting_bins_and_scaling_in_a_real_fit(result):
    other = fit_pair(order=(2, 0, 3, 1), scale=0.5)
    assert other.discovery.z0 == pytest.approx(result.discovery.z0, abs=1e-6)
    assert other.mu_hat.value * 0.5 == pytest.approx(result.mu_hat.value, abs=1e-5)
    assert other.fit.twice_nll == pytest.approx(result.fit.twice_nll, abs=1e-6)


def test_fit_result_survives_json(result):
    text = to_json(result.to_dict())
    assert FitResult.from_dict(json.loads(text)) == result
    assert to_json(FitResult.from_dict(json.loads(text)).to_dict()) == text


FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | FINITE
NUMBERS = st.lists(FINITE, max_size=3).map(tuple)


def toy_records(p, further):
    """Part of a record about toys; ``p`` is what its tail probability is called."""
    keys = {
        f"{p}_interval": st.lists(FINITE, min_size=2, max_size=2),
        f"{p}_interval_level": FINITE,
    }
    counts = dict.fromkeys(("n", "n_failed", "n_ge"), st.integers(0))
    seed = st.none() | st.integers(0)
    main = {p if p == "p0" else f"{p}_value": MAYBE}
    return st.none() | st.fixed_dictionaries({**counts, **keys, **main, **further, "seed": seed})


TOYS = toy_records("p0", {"z0": MAYBE, "at_zero": FINITE})
GOODNESS_TOYS = toy_records("p", {"mean": FINITE})
PARAMETERS = st.builds(ParameterResult, st.text(), FINITE, FINITE, st.booleans()) | st.builds(
    ParameterResult, st.text(), FINITE, st.none(), st.booleans(), MAYBE, MAYBE
)
MINIMA = st.builds(
    MinimumResult,
    twice_nll=FINITE,
    parameters=st.lists(PARAMETERS, max_size=3).map(
        lambda items: (ParameterResult("mu", 0.5, 0.1), *items)
    ),
    certificate=st.builds(CertificateResult, FINITE, FINITE, FINITE),
)
STATEMENTS = st.none() | st.builds(DiscoveryResult, FINITE, MAYBE, *[FINITE] * 4, TOYS)
GOODNESS = st.none() | st.builds(
    GoodnessResult, FINITE, st.integers(), MAYBE, FINITE, st.booleans(), FINITE,
    st.lists(st.builds(ChannelPulls, st.text(), *[NUMBERS] * 3), max_size=2).map(tuple),
    GOODNESS_TOYS,
)  # fmt: skip
RESULTS = st.builds(
    FitResult, st.text(), st.sampled_from(["ddphf", "pyhf"]), st.none() | st.just("mu"), MINIMA,
    st.none() | MINIMA, STATEMENTS, STATEMENTS, st.lists(st.text()).map(tuple),
    st.dictionaries(st.text(), st.text()), GOODNESS,
)  # fmt: skip
NO_NULL = RESULTS.map(lambda r: replace(r, null=None, discovery=None, states_no_null=True))


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(RESULTS | NO_NULL)
def test_any_fit_result_survives_json(record):
    assert FitResult.from_dict(json.loads(to_json(record.to_dict()))) == record


# Random damage ----------------------------------------------------------------------------------

DELETE, DUPLICATE = "<delete>", "<duplicate>"
VALUES = [
    None, True, "", "text", "mu", [], {}, [[]], 0, 0.0, -1.0, 1e-300, 1e9, 1e99, 1e308, -1e12,
    float("nan"), float("inf"), 10**400, "table.csv:fakes", "table.csv:absent", "histosys", [1.0],
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 10**4), st.sampled_from([DELETE, DUPLICATE, *VALUES])),
    min_size=1,
    max_size=3,
)


def paths(node, path=()):
    items = node.items() if isinstance(node, dict) else ()
    for key, value in enumerate(node) if isinstance(node, list) else items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def damage(tree, edits):
    """Return a copy with values deleted, doubled or replaced at places picked by number."""
    tree = copy.deepcopy(tree)
    for number, value in edits:
        places = list(paths(tree))
        if not places:
            return tree
        *parents, last = places[number % len(places)]
        node = tree
        for key in parents:
            node = node[key]
        if isinstance(value, str) and value == DELETE:
            del node[last]
        elif isinstance(value, str) and value == DUPLICATE:
            if isinstance(node, list):
                node.append(copy.deepcopy(node[last]))
        else:
            node[last] = copy.deepcopy(value)
    return tree


def expect_no_traceback(*arguments, stdin=""):
    # Absurd numbers may overflow in numpy before the certificate fails: that is a RuntimeWarning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        outcome = invoke(*arguments, stdin=stdin)
    assert outcome.code in (0, 2, 3, 4)
    assert "Traceback" not in outcome.err
    if outcome.code == 0:
        json.loads(outcome.out)
    else:
        assert outcome.out == ""
        assert outcome.message
    return outcome.code


@cache
def rich_workspace():
    """Every kind of modifier that a pair has."""
    jes = Systematic("jes", "histosys", [1.02] * 4, [0.98] * 4, relative=True)
    fakes = Template(C["fakes"], error=C["fakes_error"], systematics=[jes])
    signal = Template(C["signal"], error=C["signal_error"], error_kind="staterror",
                      systematics=[Systematic("theory", "normsys", 1.1, 0.9)])  # fmt: skip
    pair = Pair(
        Channel("mue", C["tested"], signal, fakes),
        Channel("emu", C["partner"]),
        luminosity_error=0.02,
    )
    return to_json(build_workspace(pair).workspace)


@settings(max_examples=150)
@given(EDITS)
def test_a_damaged_workspace_is_refused_or_summarised(edits):
    text = json.dumps(damage(json.loads(rich_workspace()), edits))
    expect_no_traceback("inspect", "-", "-o", "-", stdin=text)


@settings(max_examples=40)
@given(EDITS)
def test_a_damaged_workspace_is_refused_or_fitted(edits):
    expect_no_traceback("fit", "-", stdin=json.dumps(damage(plain_workspace(), edits)))


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_a_truncated_workspace_is_refused(cut):
    text = json.dumps(plain_workspace())
    assert expect_no_traceback("fit", "-", stdin=text[: cut % len(text)]) == 3


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS)
def test_a_damaged_analysis_is_refused_or_built(folder, edits):
    path = write_analysis(folder, damage(ANALYSIS, edits))
    expect_no_traceback("build", path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_a_truncated_analysis_is_refused_or_built(folder, cut):
    path = write_analysis(folder)
    text = yaml.safe_dump(ANALYSIS)
    path.write_text(text[: cut % len(text)])
    expect_no_traceback("build", path)


CELLS = st.lists(
    st.tuples(
        st.integers(0, 10**4),
        st.sampled_from(["nan", "inf", "", "-1", "0", "1e-300", "1e308", "x", '"', ",", "1e15"]),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CELLS)
def test_a_damaged_table_is_refused_or_built(folder, cells):
    path = write_analysis(folder)
    table = folder / "table.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()]
    for number, value in cells:
        row = rows[number % len(rows)]
        row[(number // len(rows)) % len(row)] = value
    table.write_text("\n".join(map(",".join, rows)) + "\n")
    expect_no_traceback("build", path)
