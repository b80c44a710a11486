"""`ddphf bumps scan`: files to a record, global p-values, and what is left out."""

import json
from dataclasses import replace
from pathlib import Path

import hist
import numpy as np
import pytest
import uproot
from bump_data import EDGES, drawn, smooth, with_bump, write_spectrum
from conftest import invoke
from others_data import needs, others
from scipy.stats import norm

from ddphf.bumps.binning import Binning
from ddphf.bumps.global_p import combine_all, toy_maxima, toy_p
from ddphf.bumps.hunt import hunt
from ddphf.bumps.known import fit_signal
from ddphf.bumps.neighbours import add_neighbours
from ddphf.bumps.prepare import Width, prepare
from ddphf.bumps.resolution import mass_resolution, resolution_edges
from ddphf.bumps.run_scan import scan_spectra
from ddphf.bumps.spectra import Spectrum, read_spectra
from ddphf.bumps.templates import density_templates
from ddphf.compute.processes import Processes
from ddphf.compute.work import Work
from ddphf.exceptions import FitError, InputError
from ddphf.results.bumps import BumpsResult, describe_p
from ddphf.results.registry import check_record


def scan(*arguments, out="b.json"):
    done = invoke("bumps", "scan", *arguments, "-o", out, "--force")
    assert done.code == 0, done.err
    record = json.loads(Path(out).read_text())
    assert check_record(record) is None
    return record, done


BUMP = drawn(with_bump(smooth(), 25, 300.0))


def test_the_command_as_it_is_written(folder):
    write_spectrum("spectrum.csv", {"observed": BUMP})
    record, done = scan(
        "spectrum.csv", "--width-bins", "1.5", "--toys", "60", "--seed", "1", "--plots", "p"
    )
    (spectrum,) = record["spectra"]
    best = spectrum["best"]
    assert spectrum["status"] == "scanned"
    assert abs(best["mass"] - 151.0) <= 2.0
    assert best["width"] == pytest.approx(3.0)
    assert best["z"] > 4
    assert best["p_local"] == pytest.approx(norm.sf(best["z"]))
    assert best["p_global"] is None
    assert best["p_global_interval"][0] == 0.0
    assert 0 < best["p_global_interval"][1] < 0.05
    assert len(spectrum["z_known"]) == len(spectrum["z_profiled"]) == len(spectrum["rho"]) == 50
    assert spectrum["background"]["p"] > 0.001
    assert spectrum["excluded"][:6] == ["next to an end"] * 6
    assert spectrum["z_profiled"][best["bin"]] == pytest.approx(best["z"], abs=1e-6)
    assert record["provenance"]["versions"]["ddphf"]
    assert Path("p/bump.png").read_bytes().startswith(b"\x89PNG")
    assert "p < 0.0" in done.err
    again, _ = scan(
        "spectrum.csv", "--width-bins", "1.5", "--toys", "60", "--seed", "1", out="c.json"
    )
    assert again == record
    assert BumpsResult.from_dict(record).to_dict() == record


def test_every_kind_of_file_gives_the_same(folder):
    write_spectrum("a.csv", {"observed": BUMP})
    np.savez("b.npz", observed=BUMP, edges_0=EDGES)
    h = hist.Hist(hist.axis.Variable(EDGES, name="mass"), storage=hist.storage.Double())
    h.view()[:] = BUMP
    with uproot.recreate("c.root") as file:
        file["dir/observed"] = h
        file["other"] = (drawn(smooth(), 4), EDGES)
    edges = {"edges": EDGES.tolist(), "type": "variable", "underflow": False, "overflow": False,
             "circular": False, "metadata": {}}  # fmt: skip
    storage = {"type": "double", "values": BUMP.tolist()}
    Path("d.json").write_text(
        json.dumps({"uhi_schema": 1, "axes": [edges], "storage": storage, "metadata": {}})
    )
    spectra, files = read_spectra(["[c].*"])
    assert [s.name for s in spectra] == ["c.root:dir/observed", "c.root:other"]
    assert files == ["c.root"]
    names = ["a.csv:observed", "b.npz:observed", "d.json", "c.root:dir/observed"]
    found = []
    for address in ("a.csv", "b.npz", "[d].json", "c.root:dir/observed"):
        (spectrum,), _ = read_spectra([address])
        found.append(spectrum)
    assert [s.name for s in found] == names
    assert len({s.digest for s in found}) == 1
    record, _ = scan("d.json", "--width", "3")
    again, _ = scan("c.root:dir/observed", "--width", "3")
    assert record["spectra"][0]["best"] == again["spectra"][0]["best"]


def test_one_spectrum_by_two_paths_is_refused(folder):
    """It would count twice in the global p of all."""
    write_spectrum("a.csv", {"observed": BUMP})
    (folder / "sub").mkdir()
    write_spectrum("sub/b.csv", {"counts": BUMP})
    done = invoke("bumps", "scan", "a.csv", "sub/b.csv", "--width", "3", "-o", "b.json")
    assert done.code == 3
    assert "sub/b.csv:counts: has the bins and counts of a.csv:observed" in done.err
    done = invoke("bumps", "scan", "a.csv", "./a.csv", "--width", "3", "-o", "b.json")
    assert done.code == 3


def test_a_known_background_gives_the_known_significance(folder):
    b = smooth()
    write_spectrum("k.csv", {"observed": BUMP, "background": b})
    record, _ = scan("k.csv", "--width-bins", "1.5")
    (spectrum,) = record["spectra"]  # the column of the background is no spectrum
    i = np.arange(50)
    for at in (20, 25, 31):
        t = np.exp(-0.5 * ((i - at) / 1.5) ** 2) / (1.5 * np.sqrt(2 * np.pi))
        z = float(fit_signal(BUMP, b, t).z)
        assert spectrum["z_known"][at] == pytest.approx(z, abs=1e-6)


def test_one_bad_spectrum_among_many_is_stated(folder):
    bad = BUMP.copy()
    bad[3] = 0.5
    kink = np.round(np.where(np.arange(50) < 25, 20000.0, 4000.0) * np.exp(-np.arange(50) / 40))
    columns = {"good": BUMP, "bad": bad, "kink": kink, "empty": drawn(smooth(), 3)}
    write_spectrum("m.csv", columns)
    record, done = scan("m.csv", "--width-bins", "1.5", "--toys", "20", "--first", "1")
    status = {s["name"]: (s["status"], s.get("rank")) for s in record["spectra"]}
    assert status == {
        "m.csv:good": ("scanned", 1), "m.csv:empty": ("scanned", 2),
        "m.csv:kink": ("background does not describe", None), "m.csv:bad": ("excluded", None),
    }  # fmt: skip
    assert record["global"]["spectra"] == 2
    assert "excluded: 1 of 4 spectra, not ranked" in record["left_out"]
    assert "no toys of 1 spectra after the first 1" in record["left_out"]
    assert "bin 3 holds 0.5" in done.err


def test_neighbouring_multiplicities_are_combined(folder):
    columns = {f"ee_{n}jets": drawn(smooth(), n) for n in (2, 3, 5)}
    write_spectrum("j.csv", columns)
    record, _ = scan("j.csv", "--width-bins", "1.5", "--combine", "jets")
    by_name = {s["name"]: s for s in record["spectra"]}
    assert len(by_name) == 4
    both = by_name["j.csv:ee_2+3jets"]
    assert both["sources"] == ["j.csv:ee_2jets", "j.csv:ee_3jets"]
    assert both["observed"] == (columns["ee_2jets"] + columns["ee_3jets"]).tolist()
    write_spectrum("k.csv", {"ee_3jets": drawn(smooth(40), 1)}, EDGES[:41])
    (two, *_), _ = read_spectra(["j.csv:ee_2jets"])
    (three, *_), _ = read_spectra(["k.csv"])
    three = replace(three, name="j.csv:ee_3jets")
    assert "have different bins" in add_neighbours([two, three], "jets")[1][0]


def test_neighbours_without_a_sum_are_in_the_record(folder):
    write_spectrum("ee_2jets.csv", {"observed": drawn(smooth(), 2)})
    write_spectrum("ee_3jets.csv", {"observed": drawn(smooth(40), 1)}, EDGES[:41])
    record, done = scan("ee_2jets.csv", "ee_3jets.csv", "--width-bins", "1.5", "--combine", "jets",
                        "--page", "p.html")  # fmt: skip
    assert "have different bins, so no sum is scanned" in record["warnings"][0]
    assert "have different bins, so no sum is scanned" in done.err.replace("\n", " ")
    assert "have different bins, so no sum is scanned" in Path("p.html").read_text()


def test_a_turn_on_is_left_out_and_said(folder):
    i = np.arange(80)
    counts = drawn(smooth(80, falls=25) / (1 + np.exp(-(i - 15) / 2.5)))
    write_spectrum("t.csv", {"observed": counts}, np.linspace(0, 400, 81))
    record, done = scan("t.csv", "--width-bins", "1.5")
    (spectrum,) = record["spectra"]
    assert spectrum["start"] >= 14
    assert spectrum["excluded"][: spectrum["start"]] == ["before the maximum"] * spectrum["start"]
    assert spectrum["z_profiled"][0] is None
    assert f"rises over its first {spectrum['start']} bins" in done.err


def test_a_bump_next_to_an_end_is_shown_and_not_stated(folder):
    near = drawn(with_bump(smooth(60, 3000.0, 20.0), 5, 900.0))
    write_spectrum("e.csv", {"observed": near, "other": drawn(smooth(60, 3000.0, 20.0), 2)},
                   np.linspace(0, 60, 61))  # fmt: skip
    record, done = scan("e.csv", "--width-bins", "1.5")
    spectrum = next(s for s in record["spectra"] if s["name"] == "e.csv:observed")
    assert spectrum["excluded"][5] == "next to an end"
    assert spectrum["best"]["bin"] > 5
    assert spectrum["z_profiled"][5] > spectrum["best"]["z"]
    (warning,) = spectrum["warnings"]
    assert "next to an end of the spectrum" in warning
    assert f"e.csv:observed: {warning}" in done.err.replace("\n", " ")


def test_spectra_without_an_excess_have_no_larger_one_next_to_an_end(folder):
    write_spectrum("f.csv", {"flat": np.full(50, 1000.0)})
    record, _ = scan("f.csv", "--width-bins", "1.5")
    (spectrum,) = record["spectra"]
    assert spectrum["best"]["z"] == pytest.approx(0.0, abs=1e-6)
    assert spectrum["warnings"] == []


def test_no_significance_where_rho_is_small(folder):
    write_spectrum("n.csv", {"observed": drawn(smooth(20, 300.0, 8.0))}, np.linspace(0, 20, 21))
    record, _ = scan("n.csv", "--width-bins", "1.8")
    (spectrum,) = record["spectra"]
    assert spectrum["status"] == "no significance"
    assert spectrum["best"] is None
    assert all(z is None for z in spectrum["z_profiled"])
    assert record["global"] is None


def test_toys_are_the_same_wherever_they_are_drawn():
    places, b = Binning(EDGES, np.full(50, 3.0)), smooth()
    here = toy_maxima([places, places], [b, b / 2], 40, seed=3)
    with Processes(2) as runner:
        there = toy_maxima([places, places], [b, b / 2], 40, seed=3, work=Work(runner=runner))
    assert np.array_equal(here, there)
    assert np.array_equal(here[:, :33], toy_maxima([places, places], [b, b / 2], 33, seed=3))
    assert not np.array_equal(here[0], here[1])
    spectra = [Spectrum(f"s{i}", EDGES, drawn(b, i)) for i in range(3)]
    with Processes(2) as runner:
        far = scan_spectra(spectra, Width(bins=1.5), toys=5, work=Work(runner=runner))
    assert far.to_dict() == scan_spectra(spectra, Width(bins=1.5), toys=5).to_dict()


def test_global_p_of_nulls_is_uniform_in_a_small_sample():
    """Ranks of 24 null spectra among their own toys; the slow test has 500."""
    places, b = Binning(np.arange(36.0), np.full(35, 1.0)), smooth(35, 400.0, 12.0)
    ranks = []
    for seed in range(24):
        (found,) = hunt(places, drawn(b, 100 + seed)[None])
        maxima = toy_maxima([places], [found.null], 32, seed=seed)[0]
        ranks.append(np.mean(maxima >= found.z))
    assert 0.3 < np.mean(ranks) < 0.7
    assert np.mean(np.array(ranks) < 0.1) < 0.35


def test_p_of_toys_and_of_all():
    found = toy_p(3.0, np.full(100, 1.0))
    assert found.p is None
    assert found.interval[0] == 0.0
    with pytest.raises(FitError, match="2 of 100 toys have no certificate"):
        toy_p(3.0, np.append(np.full(98, 1.0), [np.nan, np.nan]))
    assert combine_all(1.0, 5) == 1.0
    assert combine_all(1e-12, 10) == pytest.approx(1e-11)
    assert describe_p({"p_global": None, "p_global_interval": [0.0, 0.02]}) == "p < 0.02"


def test_resolutions_of_objects():
    m = np.array([100.0, 1000.0])
    r = np.sqrt(0.01**2 + (1e-4 * m / 2) ** 2)
    assert mass_resolution("muon+muon")(m) == pytest.approx(m * r / np.sqrt(2))
    jet = np.sqrt((5 / (m / 2)) ** 2 + 0.64 / (m / 2) + 0.05**2)
    electron = np.sqrt(0.05**2 + (1.7e-3 * m / 2) ** 2)
    mixed = mass_resolution("electron:1.5+jet:5,.8,.05")(m)
    assert mixed == pytest.approx(m * np.hypot(jet, electron) / 2)
    third = np.sqrt((5 / (m / 6)) ** 2 + 0.64 / (m / 6) + 0.05**2)  # of each of three jets
    top = mass_resolution("electron:1.5+top:5,.8,.05")(m)
    assert top == pytest.approx(m * np.hypot(third / np.sqrt(3), electron) / 2)
    two = np.sqrt((5 / (m / 4)) ** 2 + 0.64 / (m / 4) + 0.05**2)
    w = mass_resolution("w:5,.8,.05+electron:1.5")(m)
    assert w == pytest.approx(m * np.hypot(two / np.sqrt(2), electron) / 2)
    edges = resolution_edges(100.0, 300.0, "muon+muon", 2.0)
    sigma = mass_resolution("muon+muon")(edges[:-1])
    assert sigma / np.diff(edges) == pytest.approx(np.full(len(edges) - 1, 2.0))


@pytest.mark.parametrize("unit", ["GeV", "GEV", "GeV/c^2", ""])
def test_resolutions_are_of_masses_in_gev(unit):
    width, spectrum = Width(objects="electron+electron"), Spectrum("s", EDGES, BUMP)
    assert prepare(replace(spectrum, unit=unit), width).why == ""
    other = replace(spectrum, edges=EDGES * 1000, unit="MeV")
    why = "masses in MeV, and a resolution of objects is one in GeV: give --width in MeV"
    assert prepare(other, width).why == why
    assert prepare(other, Width(mass=3000.0)).why == ""


def test_weights_of_a_histogram_are_told_by_its_errors():
    h = hist.Hist(hist.axis.Variable(EDGES, name="mass"), storage=hist.storage.Weight())
    h.view().value, h.view().variance = BUMP, 2 * BUMP
    with uproot.recreate("w.root") as file:
        file["h"] = h
    (spectrum,), _ = read_spectra(["w.root:h"])
    with pytest.raises(InputError, match="weighted events have no Poisson law"):
        scan_spectra([spectrum], Width(bins=1.5))
    Path("w.root").unlink()


def test_templates_of_one_width_are_one_shape():
    t = density_templates(np.arange(9.0), np.array([4.5]), np.array([0.7]))[0]
    assert t == pytest.approx(norm.pdf(np.arange(8) + 0.5, 4.5, 0.7))


SPECTRA = "mass_spectra"


@needs(SPECTRA)
def test_published_spectra():
    place = others(SPECTRA)
    (atlas,), _ = read_spectra([str(place / "atlas_diphoton_2012.csv")])
    found = scan_spectra([atlas], Width(mass=1.656), toys=200, seed=1).spectra[0]
    assert 126 <= found["best"]["mass"] <= 127
    assert found["best"]["z"] == pytest.approx(3.349, abs=0.001)
    assert found["background"]["p"] > 0.05
    for name, width in (("cms_diphoton", Width(bins=1.5)), ("cms_dimuon", Width(bins=1.0))):
        (cms,), _ = read_spectra([str(place / f"{name}.csv")])
        assert prepare(cms, width).why == ""
        found = scan_spectra([cms], width, toys=40, seed=1).spectra[0]
        assert found["best"]["p_global"] > 0.01
