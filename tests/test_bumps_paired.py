"""Bumps over the partner sample of a symmetry: closed forms, other minimizers, the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bump_data import EDGES, drawn, smooth, with_bump, write_spectrum
from conftest import invoke
from scipy.optimize import minimize
from scipy.stats import kstest

from ddphf.bumps.binning import Binning
from ddphf.bumps.global_p import pair_maxima
from ddphf.bumps.neighbours import add_neighbours
from ddphf.bumps.paired import fit_pairs, hunt_pair, largest_z
from ddphf.bumps.prepare import Width
from ddphf.bumps.run_scan import scan_spectra
from ddphf.bumps.spectra import Spectrum, read_spectra
from ddphf.bumps.to_workspace import bump_workspace
from ddphf.compute.processes import Processes
from ddphf.compute.work import Work
from ddphf.exceptions import InputError
from ddphf.inference.fit import fit_workspace
from ddphf.results.registry import check_record

RATIO = 0.9


def pair(events=200.0, seed=3, scale=1.0):
    rng, b = np.random.default_rng(seed), scale * smooth()
    counts = rng.poisson(with_bump(RATIO * b, 25, events)).astype(float)
    return counts, rng.poisson(b).astype(float)


def spectrum(events=200.0, seed=3, **more):
    counts, partner = pair(events, seed)
    ratio = np.full(50, RATIO)
    return Spectrum("s", EDGES, counts, **{"partner": partner, "ratio": ratio, **more})


def joint_nll(x, n, a, r, t):
    """Both samples in plain numpy: logarithms of the background, and mu."""
    b = np.exp(x[1:])
    m = r * b + x[0] * t
    if np.any(m <= 0):
        return 1e10
    return float(np.sum(m - n * np.log(m)) + np.sum(b - a * np.log(b)))


def test_numbers_of_the_paired_model():
    a, n = np.array([12.0, 30, 7, 0, 55]), np.array([18.0, 33, 0, 4, 80])
    found = fit_pairs(n, a, np.ones(5), np.array([0.1, 0.2, 0.1, 0.2, 0.4]))
    assert float(found.mu) == pytest.approx(17.175037, abs=1e-6)
    assert float(found.z) == pytest.approx(2.226236, abs=1e-6)
    assert float(1 / np.sqrt(found.information)) == pytest.approx(7.979290, abs=1e-6)
    assert float(found.edm) < 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_a_profile_is_what_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    b, r = rng.uniform(20, 200, 8), rng.uniform(0.5, 2, 8)
    t = np.exp(-0.5 * ((np.arange(8) - 4) / 1.3) ** 2)
    t /= t.sum()
    n = rng.poisson(r * b + 40 * t).astype(float)
    a = rng.poisson(b).astype(float)
    found = fit_pairs(n, a, r, t)
    start = np.append(0.0, np.log(a + 1))
    options = {"gtol": 1e-7, "maxiter": 5000}
    free = minimize(joint_nll, start, (n, a, r, t), method="BFGS", options=options)
    null = minimize(lambda x: joint_nll(np.append(0.0, x), n, a, r, t), start[1:], method="BFGS",
                    options=options)  # fmt: skip
    assert float(found.mu) == pytest.approx(free.x[0], abs=0.05)  # BFGS ends early
    z = np.sign(free.x[0]) * np.sqrt(max(2 * (null.fun - free.fun), 0.0))
    assert float(found.z) == pytest.approx(z, abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01, 0.001])
def test_every_place_of_few_and_of_many_counts_has_a_certificate(scale):
    """Empty bins of one sample and of both, deficits and excesses."""
    rng, b = np.random.default_rng(1), scale * smooth()
    n, a = (rng.poisson(b, size=(100, 50)).astype(float) for _ in range(2))
    places = Binning(EDGES, np.full(50, 3.0))
    fits = fit_pairs(n[:, None], a[:, None], np.ones(50), places.templates)
    assert np.all(fits.edm < 1e-8)
    assert np.all(np.isfinite(fits.z))


def test_a_bin_that_is_empty_in_both_holds_mu_at_nothing():
    t = np.array([0.2, 0.6, 0.2])
    found = fit_pairs(np.array([1.0, 0, 1]), np.array([1.0, 0, 1]), np.ones(3), t)
    assert (float(found.mu), float(found.z), float(found.edm)) == (0.0, 0.0, 0.0)


def test_rho_is_what_the_statistics_of_the_partner_leave():
    counts, partner = pair()
    found = hunt_pair(Binning(EDGES, np.full(50, 3.0)), counts, partner, np.full(50, RATIO))
    assert found.rho == pytest.approx(np.full(50, 1 / np.sqrt(1 + RATIO)))
    assert abs(found.best - 25) <= 1
    assert found.z_known[found.best] > found.z


def test_p_of_one_place_is_uniform_where_there_is_no_bump():
    places = Binning(EDGES, np.full(50, 3.0))
    maxima = pair_maxima([places], [RATIO * smooth()], [np.full(50, RATIO)], 800, seed=1)[0]
    rng, b = np.random.default_rng(5), smooth()
    n = rng.poisson(RATIO * b, size=(300, 50)).astype(float)
    a = rng.poisson(b, size=(300, 50)).astype(float)
    z = largest_z(places, n, a, np.full(50, RATIO))
    p = (np.sum(maxima[None] >= z[:, None], axis=1) + 0.5) / 801
    assert kstest(p, "uniform").pvalue > 1e-3


def test_toys_do_not_depend_on_where_they_are_drawn():
    places = Binning(EDGES, np.full(50, 3.0))
    settings = ([places], [smooth()], [np.ones(50)], 40)
    here = pair_maxima(*settings, seed=3)
    with Processes(2) as runner:
        assert np.array_equal(here, pair_maxima(*settings, seed=3, work=Work(runner=runner)))


def test_the_workspace_is_the_paired_model():
    result = scan_spectra([spectrum()], Width(bins=1.5), toys=40, seed=2)
    row = json.loads(json.dumps(result.spectra[0]))
    workspace, about = bump_workspace(row)
    assert [c["name"] for c in workspace["channels"]] == ["CR_partner", "SR_bump"]
    fitted = fit_workspace(workspace)
    assert fitted.discovery.z0 == pytest.approx(row["best"]["z"], abs=1e-6)
    assert fitted.discovery.z0 == pytest.approx(about["z"]["direct"], abs=1e-6)
    assert fitted.data_directed is not None
    with pytest.raises(InputError, match="was scanned over its partner sample"):
        bump_workspace(row, "bernstein-4")


def test_a_rise_is_no_obstacle_with_a_partner():
    """Nothing has to be smooth: a turn-on and a kink are in both samples."""
    i, rng = np.arange(50), np.random.default_rng(4)
    b = smooth() / (1 + np.exp(-(i - 12) / 1.5)) * np.where(i < 30, 1.0, 0.5) + 5
    n, a = rng.poisson(with_bump(b, 5, 60.0)).astype(float), rng.poisson(b).astype(float)
    result = scan_spectra([Spectrum("t", EDGES, n, partner=a)], Width(bins=1.5))
    (row,) = result.spectra
    assert (row["status"], row["start"]) == ("scanned", 0)
    assert row["excluded"] == [None] * 50
    assert row["background"]["method"] == "partner sample, free in every bin"
    assert "families" not in row


def test_a_symmetry_that_does_not_hold_is_refused():
    with pytest.raises(InputError, match="its partner sample does not describe it"):
        scan_spectra([spectrum(ratio=np.linspace(0.7, 1.3, 50))], Width(bins=1.5))


def test_the_command_with_partners_in_the_file_and_beside_it(folder):
    counts, partner = pair()
    columns = {"partner": partner, "ratio": np.full(50, RATIO)}
    write_spectrum("both.csv", {"observed": counts, **columns})
    write_spectrum("one.csv", {"observed": counts})
    write_spectrum("other.csv", columns)
    records = []
    for arguments in (["both.csv"], ["one.csv", "--partner", "other.csv"]):
        done = invoke(
            "bumps", "scan", *arguments, "--width-bins", "1.5", "--toys", "30", "--seed", "1",
            "-o", "b.json", "--force", "--page", "p.html", "--plots", "f",
        )  # fmt: skip
        assert done.code == 0, done.err
        records.append(json.loads(Path("b.json").read_text()))
        assert check_record(records[-1]) is None
    first, second = (record["spectra"][0] for record in records)
    assert first["best"] == second["best"]
    assert first["partner"] == partner.tolist()
    assert "partner" not in [s["name"].split(":")[-1] for s in records[0]["spectra"]]
    done = invoke("bumps", "workspace", "b.json", "-o", "w.json")
    assert done.code == 0, done.err


def test_partners_that_do_not_fit_are_refused(folder):
    counts, partner = pair()
    write_spectrum("one.csv", {"observed": counts})
    write_spectrum("short.csv", {"partner": partner[:40]}, EDGES[:41])
    write_spectrum("two.csv", {"x": partner, "y": counts})
    write_spectrum("both.csv", {"observed": counts, "partner": partner})
    write_spectrum("ratio.csv", {"observed": counts, "ratio": np.ones(50)})
    write_spectrum("zero.csv", {"observed": counts, "partner": partner, "ratio": np.zeros(50)})
    for name, other, message in (
        ("one.csv", "short.csv", "its bins are not those of 'partner'"),
        ("one.csv", "two.csv", "holds x, y; name one, as in two.csv:x"),
        ("both.csv", "two.csv:x", "holds a 'partner' of its own; leave --partner out"),
        ("ratio.csv", None, "holds a 'ratio' of efficiencies and no 'partner'"),
        ("zero.csv", None, "'ratio' must be above 0 in every bin"),
    ):
        with pytest.raises(InputError, match=message):
            read_spectra([name], other)
    fractions = spectrum(partner=partner + 0.5)
    with pytest.raises(InputError, match=r"partner: bin 0 holds .*; expected whole numbers"):
        scan_spectra([fractions], Width(bins=1.5))


def test_sums_of_neighbours_keep_their_partners(folder):
    two, three = (drawn(smooth(), seed) for seed in (1, 2))
    partners = [drawn(smooth(), seed) for seed in (3, 4)]
    for name, n, a in zip(("j_2jets", "j_3jets"), (two, three), partners, strict=True):
        write_spectrum(f"{name}.csv", {"observed": n, "partner": a})
    done = invoke("bumps", "scan", "j_2jets.csv", "j_3jets.csv", "--width-bins", "1.5",
                  "--combine", "jets", "-o", "b.json")  # fmt: skip
    assert done.code == 0, done.err
    rows = {s["name"]: s for s in json.loads(Path("b.json").read_text())["spectra"]}
    both = rows["j_2+3jets.csv:observed"]
    assert both["partner"] == (partners[0] + partners[1]).tolist()


def test_a_sum_of_neighbours_has_a_partner_that_both_share_once():
    """Twice the same counts are no Poisson counts: the sum's ratio is that of both."""
    (two, a), (three, _) = pair(0.0, 1), pair(0.0, 2)
    spectra = [
        Spectrum("ee_2jets", EDGES, two, partner=a, ratio=np.full(50, RATIO)),
        Spectrum("ee_3jets", EDGES, three, partner=a, ratio=np.full(50, 0.4)),
    ]
    (*_, both), said = add_neighbours(spectra, "jets")
    assert said == []
    assert both.counts.tolist() == (two + three).tolist()
    assert both.partner.tolist() == a.tolist()
    assert both.ratios == pytest.approx(np.full(50, RATIO + 0.4))
    other = replace(spectra[1], partner=a + 1)  # another sample, of another ratio
    assert (
        "have no partner samples with one ratio"
        in add_neighbours([spectra[0], other], "jets")[1][0]
    )


def test_z_of_sums_with_a_shared_partner_is_that_of_counts():
    """One place of sums without a bump: a standard normal, 1.22 as wide with the partner twice."""
    rng, b = np.random.default_rng(8), smooth()
    template = Binning(EDGES, np.full(50, 3.0)).templates[25]
    z = []
    for _ in range(600):
        two, three, a = (rng.poisson(b).astype(float) for _ in range(3))
        named = zip(("2jets", "3jets"), (two, three), strict=True)
        spectra = [Spectrum(name, EDGES, n, partner=a) for name, n in named]
        both = add_neighbours(spectra, "jets")[0][2]
        z.append(float(fit_pairs(both.counts, both.partner, both.ratios, template).z))
    assert kstest(z, "norm").pvalue > 1e-3
    assert np.std(z) == pytest.approx(1.0, abs=0.1)


def test_errors_of_a_ratio_and_of_a_background_are_said_to_be_unused(folder):
    counts, partner = pair()
    arrays = {"observed": counts, "partner": partner, "edges_0": EDGES, "ratio": np.full(50, RATIO)}
    for name, more, said in (
        ("exact.npz", {}, []),
        ("ratio.npz", {"ratio_variances": np.full(50, 1e-4)}, ["the errors of its ratio are not"]),
        ("known.npz", {"background": smooth(), "background_variances": smooth() / 10},
         ["the errors of its background are not used: z_known takes it as exact"]),
    ):  # fmt: skip
        np.savez(name, **arrays, **more)
        done = invoke("bumps", "scan", name, "--width-bins", "1.5", "-o", "b.json", "--force")
        assert done.code == 0, done.err
        found = [w for w in json.loads(Path("b.json").read_text())["warnings"] if "errors" in w]
        assert len(found) == len(said)
        assert all(part in line for part, line in zip(said, found, strict=True))
        assert all(part in done.err.replace("\n", " ") for part in said)
    lines = ["mass_low,mass_high,partner,ratio,ratio stat +,ratio stat -"]
    lines += [f"{a},{b},{n},.9,.01,-.01"
              for a, b, n in zip(EDGES[:-1], EDGES[1:], partner, strict=True)]  # fmt: skip
    Path("partner.csv").write_text("\n".join(lines))
    write_spectrum("s.csv", {"observed": counts})
    (found,), _ = read_spectra(["s.csv"], "partner.csv")
    assert found.held == ("ratio",)


def test_errors_of_counts_are_said_to_be_unused(folder):
    counts, _ = pair()
    lines = ["mass_low,mass_high,observed,observed stat +,observed stat -"]
    lines += [f"{a},{b},{n},7,-7" for a, b, n in zip(EDGES[:-1], EDGES[1:], counts, strict=True)]
    Path("s.csv").write_text("\n".join(lines))
    done = invoke("bumps", "scan", "s.csv", "--width-bins", "1.5", "-o", "b.json")
    assert done.code == 0, done.err
    said = "the errors of its counts are not used: those of whole counts are Poisson's"
    assert said in json.loads(Path("b.json").read_text())["warnings"][0]


def test_one_spectrum_with_and_without_partner_is_refused(folder):
    """The same counts, by two names, count once whatever stands beside them."""
    counts, partner = pair()
    counts[-1] = 0
    write_spectrum("one.csv", {"observed": counts, "partner": partner})
    write_spectrum("other.csv", {"observed": np.where(counts == 0, -0.0, counts)})
    with pytest.raises(InputError, match=r"other\.csv:observed: has the bins and counts of one"):
        read_spectra(["one.csv", "other.csv"])


def test_a_sample_is_no_partner_of_itself_and_weights_are_none(folder):
    counts, partner = pair()
    write_spectrum("s.csv", {"observed": counts})
    (found,), _ = read_spectra(["s.csv"], "s.csv:observed")
    with pytest.raises(InputError, match="its partner sample holds its own counts"):
        scan_spectra([found], Width(bins=1.5))
    np.savez("w.npz", partner=partner, partner_variances=2 * partner, edges_0=EDGES)
    (found,), _ = read_spectra(["s.csv"], "w.npz")
    with pytest.raises(InputError, match="its errors or its partner's are not those of counts"):
        scan_spectra([found], Width(bins=1.5))


def test_a_partner_without_an_event_is_refused():
    """Counts that nothing predicts are described by no ratio."""
    counts = pair()[0]
    with pytest.raises(InputError, match="its partner sample does not describe it"):
        scan_spectra([spectrum(partner=np.zeros(50))], Width(bins=1.5))
    holes = spectrum().partner.copy()
    holes[30:33] = 0
    assert counts[30:33].min() > 50
    with pytest.raises(InputError, match="its partner sample does not describe it"):
        scan_spectra([spectrum(partner=holes)], Width(bins=1.5))
