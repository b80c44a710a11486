"""`ddphf search events` from files: what is read, refused, written, and what it must equal."""

import json

import jsonschema
import numpy as np
import pytest
from conftest import invoke
from flip_samples import draw_events, prepare
from test_lepton_id_build import make_tables, write_event_analysis

from ddphf.config.analysis import read_analysis
from ddphf.config.sections import EventsConfig, LeptonConfig
from ddphf.exceptions import InputError
from ddphf.inputs.events import make_events
from ddphf.results.search import SHAPE, SearchResult, misfits
from ddphf.search.aimed_flips import aim_flips
from ddphf.search.exchange import check_exchange, exchange_events
from ddphf.search.flip_blocks import flip_maxima
from ddphf.search.many import ManyHistograms
from ddphf.search.read_events import read_search_events
from ddphf.search.repeated import check_repeated
from ddphf.search.run_events import search_events
from ddphf.search.whole_statistics import rank_values, whole_flips
from ddphf.search.window_law import window_law
from ddphf.statistics.n_sigma import exact_p_value
from ddphf.symmetry.load import load_pair

MASS = {"column": "mass", "unit": "GeV", "edges": {"bins": 4, "low": 30, "high": 70}}
SEARCH = {
    "observables": [[MASS, {"column": "pt1", "edges": [20, 30, 40, 60]}], MASS],
    "selections": [{"name": "all"}, {"name": "central", "select": "mass > 40 and mass < 60"}],
    "grid": {"pt1": [20, 35]},
}


def write(folder, *changes, tables=None):
    def change(analysis):
        analysis["search"] = SEARCH
        for one in changes:
            one(analysis)

    return write_event_analysis(folder, change, tables)


def no_fakes(analysis):
    analysis["tested"].pop("fakes")


def histogram(found, observable, selection):
    many = ManyHistograms(found.rows, found.cells, found.observables)
    return many.flipped(observable).histograms[selection]


def test_differences_are_the_restored_ones_of_the_pair(folder):
    # By the maps' ratio of each event: N_B - f_B - sum over A of r; fakes are in B alone.
    analysis = read_analysis(write(folder))
    found = histogram(read_search_events(analysis, max_windows=1000), 1, 0)
    tables = make_tables()
    pair = load_pair(analysis)
    observed, fakes = pair.tested.observed.values, pair.tested.fakes.yields.values
    one = tables["events"]["f1"] == 11
    bins = ((tables["events"]["mass"] - 30) // 10).astype(int)
    inside = one & (bins >= 0) & (bins < 4)
    mean = np.bincount(bins[inside], minlength=4)
    # The sum of r over the partner's events is the mean ratio up to its fluctuation.
    want = observed - fakes - pair.efficiency_ratio.values * mean
    np.testing.assert_allclose(found.difference, want, atol=0.02 * mean.max())
    np.testing.assert_array_equal(found.tested, observed)


def test_variance_with_fakes_is_that_of_counts_and_the_control_region(folder):
    analysis = read_analysis(write(folder))
    found = histogram(read_search_events(analysis, max_windows=1000), 1, 0)
    pair = load_pair(analysis)
    n, r = found.tested + found.partner, pair.efficiency_ratio.values
    f, error = pair.tested.fakes.yields.values, pair.tested.fakes.error.values
    b = (n - f) / (1 + r)
    # (r b + f_B) + r^2 b, and the counting error of the fakes.
    want = r * b + f + r**2 * b + error**2
    np.testing.assert_allclose(found.variance, want, rtol=0.01)


def test_nuisances_are_those_of_the_lepton_identification(folder):
    # The covariance of the ratio's bins, from the compositions that `ddphf build` uses.
    analysis = read_analysis(write(folder, no_fakes))
    found = histogram(read_search_events(analysis, max_windows=1000), 1, 0)
    pair = load_pair(analysis)
    moved = pair.lepton_id.tested - pair.lepton_id.partner
    want = moved @ pair.lepton_id.covariance.matrix @ moved.T
    r = pair.efficiency_ratio.values
    scale = r * (found.tested + found.partner) / (1 + r)
    change = found.changes / scale[:, None]
    np.testing.assert_allclose(change @ change.T, want, rtol=0.03, atol=1e-6)


def test_the_normalisation_of_the_fakes_moves_their_template(folder):
    analysis = read_analysis(write(folder))
    events = read_search_events(analysis, max_windows=1000)
    found = histogram(events, 1, 0)
    fakes = load_pair(analysis).tested.fakes.yields.values
    assert events.directions[-1].name == "fakes_norm"
    np.testing.assert_allclose(found.changes[:, -1], -0.2 * fakes, rtol=1e-9)


def test_the_record_is_complete_and_local_never_stands_alone(folder):
    write(folder)
    line = "search events analysis.yml --flips 100 --seed 3 -o s.json --plots figures"
    outcome = invoke(*line.split())
    assert outcome.code == 0, outcome.err
    record = json.loads((folder / "s.json").read_text())
    jsonschema.validate(record, SHAPE)
    assert list(misfits(record)) == []
    assert SearchResult.from_dict(record).to_dict() == record
    assert len(record["selections"]) == 8
    for entry in record["selections"]:
        assert entry["local"]["p"] > 0
        assert 0 < entry["p_adjusted"] <= 1
    adjusted = [entry["p_adjusted"] for entry in record["selections"]]
    assert adjusted == sorted(adjusted)
    assert adjusted[0] == record["global"]["p"]
    assert all(window["global"]["p"] > 0 for window in record["best"])
    assert record["null"]["quantiles"]["0.5"] < record["null"]["quantiles"]["0.95"]
    assert {n["acts_on"] for n in record["nuisances"]} == {"efficiency ratio", "fakes"}
    assert "global p =" in outcome.err
    assert "p adjusted" in outcome.err
    assert {p.name for p in (folder / "figures").iterdir()} == {
        "search_selections.png", "search_maximum.png",
    }  # fmt: skip


def test_rows_of_the_files_in_another_order_give_the_same_record(folder):
    found = []
    for seed in (None, 1):
        tables = make_tables()
        for table in tables.values() if seed is not None else ():
            order = np.random.default_rng(seed).permutation(len(table["mass"]))
            table.update({name: values[order] for name, values in table.items()})
        analysis = read_analysis(write(folder, tables=tables))
        found.append(search_events(analysis, flips=100, seed=5))
    assert found[0].data_digest == found[1].data_digest
    assert found[0].null == found[1].null
    assert found[0].overall == found[1].overall
    first, second = (
        [(s["name"], s["start"], s["size"], s["p_adjusted"]) for s in f.selections] for f in found
    )
    assert first == second


@pytest.mark.parametrize("statistic", ["t", "ks", "chi2", "g"])
def test_other_statistics_stand_on_the_same_flips(folder, statistic):
    one = {**SEARCH, "observables": [MASS]} if statistic == "ks" else SEARCH
    path = write(folder, lambda a: a.update(search=one))
    result = search_events(read_analysis(path), statistic=statistic, flips=200, seed=1)
    record = result.to_dict()
    jsonschema.validate(record, SHAPE)
    assert record["best"] == []
    assert all(entry["local"]["statistic"] == statistic for entry in record["selections"])
    assert record["global"]["p"] == record["selections"][0]["p_adjusted"]


def test_whole_statistics_have_uniform_p_values_and_their_own_null():
    rng = np.random.default_rng(1)
    ps = []
    for seed in range(60):
        columns, ratio = draw_events(300, 900 + seed)
        many = ManyHistograms(*prepare(columns, ratio))
        which = ("t", "chi2", "g")[int(rng.integers(3))]
        ps += rank_values(*whole_flips(many, which, 128, seed=seed))[2][:1].tolist()
    assert 0.35 < np.mean(ps) < 0.65
    assert min(ps) < 0.2


def test_p_values_of_flips_do_not_depend_on_the_size_of_the_statistic():
    rng = np.random.default_rng(3)
    observed, flips = rng.random(3), rng.random((3, 5000)).astype(np.float32)
    want = rank_values(observed, flips)
    for size in (1e-4, 1e4):
        for one, two in zip(rank_values(size * observed, size * flips), want, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-12)


def test_aimed_flips_agree_with_counting():
    columns, ratio = draw_events(1000, 21)
    for slopes in ({}, {"slopes": np.full((1000, 1), 0.05)}):
        for direction in ("excess", "both"):
            many = ManyHistograms(*prepare(columns, ratio, **slopes), direction=direction)
            highest = flip_maxima(many, 10_000, seed=2).max(axis=0)
            p = np.mean(highest >= 3.0)
            aimed = aim_flips(many, 3.0, 2000, seed=5)
            error = np.hypot(aimed.error, np.sqrt(p * (1 - p) / 10_000))
            assert abs(aimed.p - p) < 4 * error
    rare = aim_flips(many, 6.0, 1000, seed=5)
    assert 0 < rare.p < 1e-5


def test_aimed_flips_agree_with_counting_where_there_are_fakes(folder):
    events = read_search_events(read_analysis(write(folder)), max_windows=1000)
    many = ManyHistograms(events.rows, events.cells, events.observables)
    assert many.rows.shifts.shape[1] == 1
    p = np.mean(flip_maxima(many, 8000, seed=2).max(axis=0) >= 2.8)
    aimed = aim_flips(many, 2.8, 1500, seed=5)
    assert abs(aimed.p - p) < 4 * np.hypot(aimed.error, np.sqrt(p * (1 - p) / 8000))


def with_signal(n):
    tables = make_tables()
    rng = np.random.default_rng(2)
    more = {name: values[:n].copy() for name, values in tables["events"].items()}
    more |= {"mass": rng.uniform(40, 50, n), "f1": np.full(n, 13), "f2": np.full(n, 11)}
    tables["events"] = {
        name: np.concatenate([values, more[name]]) for name, values in tables["events"].items()
    }
    return tables


def test_many_flips_tell_small_p_values_of_whole_histograms_apart(folder):
    # Beyond every flip of its own: as small as 20 000 flips can tell, not "equal" to the next.
    analysis = read_analysis(write(folder, tables=with_signal(400)))
    record = search_events(analysis, statistic="chi2", flips=20_000, seed=1).to_dict()
    best = record["selections"][0]
    assert best["local"]["p"] == best["p_alone"] == pytest.approx(1 / 20_001, rel=1e-12)
    assert record["global"]["p"] == pytest.approx(1 / 20_001, rel=1e-12)


def test_a_signal_is_found_and_its_p_is_below_what_counting_can_tell(folder):
    tables = with_signal(150)
    # The copied momenta are those of other events; their masses tell them apart.
    result = search_events(read_analysis(write(folder, tables=tables)), flips=600, seed=1)
    assert result.overall["method"] == "label flips, aimed at windows"
    assert 0 < result.overall["p"] < 1e-3
    assert result.selections[0]["p_adjusted"] == result.overall["p"]
    low, high = result.selections[0]["edges"][0]
    assert low <= 40
    assert high >= 50


def test_local_p_of_one_ratio_is_binomial():
    columns, _ = draw_events(500, 4, low=0.8, high=0.8)
    many = ManyHistograms(*prepare(columns, np.full(500, 0.8)))
    member = many.members[many.best]
    found = window_law(many, member, deficit=False)
    window = many.observables[member.observable].boxes.window(member.window)
    histogram = many.flipped(member.observable).histograms[member.selection]
    shape = many.observables[member.observable].boxes.shape
    b, a = (x.reshape(shape)[window.slices].sum() for x in (histogram.tested, histogram.partner))
    assert found["method"] == "binomial"
    assert found["p"] == pytest.approx(exact_p_value(b, a, ratio=0.8)[0], rel=1e-9)


def test_local_p_of_many_ratios_agrees_with_drawn_labels():
    columns, ratio = draw_events(400, 4)
    many = ManyHistograms(*prepare(columns, ratio))
    member = many.members[many.best]
    found = window_law(many, member, deficit=False)
    inside = np.zeros(many.observables[member.observable].boxes.shape, dtype=bool)
    inside[many.observables[member.observable].boxes.window(member.window).slices] = True
    rows = np.append(inside.ravel(), False)[many.observables[member.observable].bins]
    rows &= many.cells.inside(member.selection)
    share, count = many.rows.share[rows], many.rows.tested[rows].sum()
    drawn = (np.random.default_rng(1).random((40_000, rows.sum())) < share).sum(axis=1)
    p = np.mean(drawn >= count)
    assert found["method"] == "saddlepoint"
    assert found["p"] == pytest.approx(p, abs=4 * np.sqrt(p / 40_000))


PAIR = EventsConfig(
    file="x", axes=(), leptons=(LeptonConfig(11, "el_pt"), LeptonConfig(13, "mu_pt"))
)
LEADING = EventsConfig(
    file="x", axes=(), leptons=(LeptonConfig("l1_flavour", "l1_pt"), LeptonConfig("f2", "l2_pt"))
)


def exchanged(columns, config):
    return exchange_events(make_events(columns, source="a.csv"), config)


def test_flavours_change_and_momenta_stay_where_leptons_are_ordered():
    found = exchanged(
        {"l1_flavour": [11, -13], "f2": [-13, 11], "l1_pt": [50.0, 40.0], "n_11": [1, 2],
         "n_13": [3, 4]},
        LEADING,
    )  # fmt: skip
    assert found["l1_flavour"].tolist() == [13, -11]
    assert found["f2"].tolist() == [-11, 13]
    assert found["l1_pt"].tolist() == [50.0, 40.0]
    assert found["n_11"].tolist() == [3, 4]


def test_columns_of_one_flavour_change_places():
    found = exchanged({"el_pt": [1.0], "mu_pt": [2.0], "Electron_iso": [3.0], "Muon_iso": [4.0]},
                      PAIR)  # fmt: skip
    assert [found[c][0] for c in ("el_pt", "mu_pt", "Electron_iso", "Muon_iso")] == [2, 1, 4, 3]


def test_taus_are_exchanged_where_they_are_the_other_flavour():
    found = exchanged({"l1_flavour": [13, 15], "f2": [15, 13], "l1_pt": [1.0, 2.0]}, LEADING)
    assert found["l1_flavour"].tolist() == [15, 13]


@pytest.mark.parametrize("kind", ["charge", "eta"])
def test_signs_change_where_the_symmetry_is_of_charge_or_direction(kind):
    config = EventsConfig(
        file="x", axes=(), leptons=(LeptonConfig(13, "pt", "eta", "charge"),), exchange=kind
    )
    found = exchanged({"pt": [3.0], "eta": [0.5], "charge": [1.0]}, config)
    assert found[kind][0] == -{"charge": 1.0, "eta": 0.5}[kind]
    assert found["pt"][0] == 3.0


def test_symmetric_quantities_of_both_flavours_pass_and_others_do_not():
    table = make_events({"el_pt": [30.0, 20.0], "mu_pt": [25.0, 40.0]}, source="a.csv")
    other = exchange_events(table, PAIR)
    good = [("selection 'x'", "min(el_pt, mu_pt) > 22"), ("observable", "hypot(el_pt, mu_pt)")]
    check_exchange(table, other, good)
    with pytest.raises(InputError, match=r"selection 'y' \(el_pt > 22\) knows the label: row 1"):
        check_exchange(table, other, [*good, ("selection 'y'", "el_pt > 22")])


def test_a_column_that_tells_the_samples_is_refused_where_leptons_do_not():
    table = make_events({"sample": [0, 1], "el_pt": [1.0, 2.0], "mu_pt": [3.0, 4.0]})
    other = exchange_events(table, PAIR)
    with pytest.raises(InputError, match="uses 'sample', which tells the samples apart"):
        check_exchange(
            table, other, [("selection 'x'", "sample == 1")], ("sample == 1", "sample == 0")
        )


def test_an_event_in_both_samples_is_found_without_numbers():
    columns = {"l1_flavour": [11, 13, 11], "f2": [13, 11, 13], "l1_pt": [50.25, 31.5, 50.25],
               "mass": [80.1, 91.2, 80.1]}  # fmt: skip
    table = make_events({**columns, "l1_flavour": [11, 13, 13], "f2": [13, 11, 11]})
    with pytest.raises(InputError, match=r"rows 0 and 2.*'l1_pt' tells all other events apart"):
        check_repeated(table, exchange_events(table, LEADING))


def test_rounded_values_that_agree_are_a_warning():
    rng = np.random.default_rng(1)
    columns = {"l1_flavour": rng.choice([11, 13], 500), "l1_pt": rng.integers(20, 30, 500),
               "f2": np.full(500, 15), "mass": rng.integers(30, 60, 500)}  # fmt: skip
    table = make_events(columns)
    (warning,) = check_repeated(table, exchange_events(table, LEADING))
    assert "may be chance: give 'events.identifier'" in warning


@pytest.mark.parametrize(("copies", "exchanged"), [(0, False), (2000, False), (2000, True)])
def test_copies_are_known_by_their_labels_where_no_column_tells_rows_apart(copies, exchanged):
    rng, n = np.random.default_rng(2), 5000
    columns = {"l1_flavour": rng.choice([11, 13], n, p=[0.4, 0.6]), "f2": np.full(n, 15)}
    columns |= {"l1_pt": rng.integers(20, 99, n) / 2, "mass": rng.integers(30, 90, n) / 5}
    more = {name: v[:copies] for name, v in columns.items()}
    if exchanged:
        more["l1_flavour"] = 24 - more["l1_flavour"]
    table = make_events({name: np.append(v, more[name]) for name, v in columns.items()})
    other = exchange_events(table, LEADING)
    if copies:
        with pytest.raises(InputError, match="such pairs have the same label, where labels of"):
            check_repeated(table, other)
    else:  # thousands of equal rows by chance, with labels of their own
        (warning,) = check_repeated(table, other)
        assert "may be chance" in warning


@pytest.mark.parametrize("statistic", ["n_sigma", "chi2"])
def test_one_flip_is_a_null_too(folder, statistic):
    analysis = read_analysis(write(folder))
    found = search_events(analysis, flips=1, seed=1, statistic=statistic)
    assert found.overall["p"] in (0.5, 1.0)
    assert sum(found.null["histogram"]["counts"]) == found.null["samples"] == 1


def test_equal_efficiencies_that_nobody_stated_are_a_warning(folder):
    path = write(folder, no_fakes, lambda a: a.pop("lepton_id"))
    result = search_events(read_analysis(path), flips=50)
    assert any("taken to be selected with equal efficiency" in w for w in result.warnings)
    path = write(folder, no_fakes, lambda a: a.pop("lepton_id"),
                 lambda a: a.update(efficiency_ratio=1.0))  # fmt: skip
    assert not any("equal efficiency" in w
                   for w in search_events(read_analysis(path), flips=50).warnings)  # fmt: skip


def test_without_a_section_the_axes_of_the_events_are_searched(folder):
    path = write(folder, lambda a: a.pop("search"))
    result = search_events(read_analysis(path), flips=50)
    assert [(s["name"], s["observable"]) for s in result.selections] == [("all events", "mass")]
