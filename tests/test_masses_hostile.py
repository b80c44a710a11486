"""Mass scans of inputs at their edges: bounds, empty bins, tables, kept pieces."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pyhf
import pytest
from conftest import invoke

from ddphf import fit_workspace, limit_workspace
from ddphf.compute.work import HERE
from ddphf.exceptions import ConfigError, InputError
from ddphf.figures.masses import draw_masses
from ddphf.masses.config import read_arrays, read_scan
from ddphf.masses.empty_bins import treat_empty_bins
from ddphf.masses.engine import ScanEngine
from ddphf.masses.examples import small_patchset, small_scan
from ddphf.masses.global_p import global_p
from ddphf.masses.patched_rows import NoRows, make_rows
from ddphf.masses.patchset import read_hypotheses
from ddphf.masses.portable import array_files, read_array_files
from ddphf.masses.run import fit_scan, run_scan
from ddphf.masses.scan import Norm
from ddphf.masses.schema import check_scan_file


def faint(stated):
    """Return a scan whose limits are some 100 in units of its POI."""
    scan = treat_empty_bins(small_scan(), "drop")
    signal = replace(scan.signal, yields=0.02 * scan.signal.yields)
    return replace(scan, signal=signal, poi=replace(scan.poi, upper=10.0, stated=stated))


def test_bounds_that_nobody_stated_are_widened_as_by_limit():
    result = run_scan(faint(stated=False), levels=(0.9,))
    assert result.poi["bounds"][1] > 10
    assert "widened from 10 to " in result.warnings[0]
    for index, row in enumerate(result.hypotheses):
        workspace = faint(stated=False).workspace(index)
        workspace["measurements"][0]["config"]["parameters"] = []
        limit = limit_workspace(workspace, level=0.9).asymptotic
        stated = row["limit"]["asymptotic"]
        assert stated["observed"] == pytest.approx(limit.observed, rel=1e-6)
        assert stated["expected"] == pytest.approx(limit.expected, rel=1e-6)


def test_stated_bounds_stay():
    result = run_scan(faint(stated=True))
    assert result.poi["bounds"] == [0.0, 10.0]
    assert any("widen poi.bounds" in line for line in result.warnings)


def test_a_best_fit_at_the_upper_bound_is_said():
    scan = treat_empty_bins(small_scan(), "drop")
    loud = replace(scan, counts=np.where(scan.live, scan.counts + 30, 0.0))
    result = run_scan(replace(loud, poi=replace(loud.poi, upper=5.0)))
    assert all(row["mu_hat"] == 5.0 for row in result.hypotheses)
    assert any("understate" in line and "m = 1, 2, 3, 4" in line for line in result.warnings)
    quiet = run_scan(scan)
    assert not any("understate" in line for line in quiet.warnings)


class Astray(ScanEngine):
    """Free fits of which two have ended far above the null."""

    def free(self, data, row, start=None, *, at_null=None):
        fits, some = super().free(data, row, start, at_null=at_null), np.array([0, 2])
        null = self.held(data, np.zeros(len(data)), row)
        fits.theta[some, 0], fits.edm[some] = 40.0, 9.0
        fits.value[some] = null.value[some] + 1.0
        return fits


def test_a_free_fit_above_the_null_begins_again_there():
    scan, row = treat_empty_bins(small_scan(), "drop"), np.arange(4)
    _, right = ScanEngine(scan).both(scan.rows().observed, row)
    _, found = Astray(scan).both(scan.rows().observed, row)
    for own, other in zip(found.columns(), right.columns(), strict=True):
        assert own == pytest.approx(other, abs=1e-4)
    assert found.ok.all()


def test_drop_refuses_to_leave_no_signal():
    scan = small_scan()
    yields = scan.signal.yields.copy()
    yields[-1] = [0, 0, 0, 0, 0, 2.0]
    scan = replace(scan, signal=replace(scan.signal, yields=yields))
    with pytest.raises(InputError, match="leaves no signal at m = 4"):
        treat_empty_bins(scan, "drop")
    assert treat_empty_bins(scan, "keep").live.all()
    nothing = replace(scan.backgrounds[0], yields=scan.background * [[1], [1], [1], [0]])
    with pytest.raises(InputError, match="leaves no signal at m = 4"):
        treat_empty_bins(replace(small_scan(), backgrounds=(nothing,)), "drop")


def write_csv(folder, first):
    (folder / "data.csv").write_bytes(first + b"3,5\n4,6\n")
    document = {
        "schema": "ddphf/masses/1", "name": "scan",
        "parameter": {"name": "m", "values": [1.0, 2.0]}, "observed": "data.csv",
        "background": {"yields": [[3.0, 4.0], [4.0, 5.0]]},
        "signal": {"yields": [[1.0, 2.0], [2.0, 1.0]]}, "poi": {"name": "mu"},
    }  # fmt: skip
    (folder / "scan.yml").write_text(json.dumps(document))
    return str(folder / "scan.yml")


@pytest.mark.parametrize("first", [b"", b"\xef\xbb\xbf", b"low,high\n", b"\xef\xbb\xbflow,high\n"])
def test_a_mark_of_the_encoding_costs_no_line(tmp_path, first):
    scan, _ = read_scan(write_csv(tmp_path, first))
    assert scan.counts.tolist() == [[3, 5], [4, 6]]


def test_a_first_line_with_a_slip_is_no_heading(tmp_path):
    with pytest.raises(InputError, match="line 1 is no row of numbers"):
        read_scan(write_csv(tmp_path, b"7,8x\n"))


def write_npz(folder, **more):
    table = np.array([[3.0, 4.0], [4.0, 5.0]])
    np.savez(folder / "scan.npz", m=[1.0, 2.0], data=table, background=table, signal=table, **more)
    return str(folder / "scan.npz")


def test_arrays_that_are_not_read_are_said(tmp_path):
    scan, _ = read_arrays(write_npz(tmp_path))
    assert scan.warnings == ()
    scan, _ = read_arrays(write_npz(tmp_path, signal_error=np.ones((2, 2))))
    assert "not read: signal_error" in scan.warnings[0]


def test_workspaces_have_the_widened_bounds(tmp_path):
    weak = np.array([[0.03, 0.01], [0.02, 0.02]])
    np.savez(
        tmp_path / "scan.npz", m=[1.0, 2.0], data=[[3, 4], [4, 5]], background=[[3, 4], [4, 5]],
        signal=weak,
    )  # fmt: skip
    outcome = invoke(
        "masses", str(tmp_path / "scan.npz"), "-o", str(tmp_path / "masses.json"),
        "--workspaces", str(tmp_path / "out"),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    record = json.loads((tmp_path / "masses.json").read_text())
    written = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert written["poi"]["bounds"] == [record["poi"]["bounds"]]
    assert record["poi"]["bounds"][1] > 10


def windows(scale):
    scan = treat_empty_bins(small_scan(), "drop")
    return replace(scan, edges=scale * np.arange(4.0)[:, None] + np.arange(7.0))


def test_kept_toys_are_those_of_the_same_windows_and_number(tmp_path):
    def found(scan, n, folder):
        return global_p(scan, fit_scan(scan).q0, n, seed=1, folder=folder, work=HERE)

    first = found(windows(1.0), 21, tmp_path)
    assert found(windows(1.0), 21, tmp_path) == first
    for scan, n in ((windows(1.0), 24), (windows(9.0), 24)):
        assert found(scan, n, tmp_path) == found(scan, n, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [([10**400], "expected a number"), ([float("nan")], "expected a number"),
     ([True], "expected a number"), ([7.0, 8.0], "2 values for the labels m")],
)  # fmt: skip
def test_values_of_a_patch_that_are_none(values, said):
    background, patchset = small_patchset()
    patchset["patches"][0]["metadata"]["values"] = values
    with pytest.raises(InputError, match=f"patch 'm_3': .*{said}"):
        read_hypotheses(background, patchset)


def test_a_factor_that_is_one_sided_is_said():
    scan = treat_empty_bins(small_scan(), "drop")
    (background,) = scan.backgrounds
    up = np.array([1.1, 1.1, 1.1, 1.1])
    norm = Norm("background_norm", up, np.array([0.9, 1.1, 1.0, 1.05]))
    result = run_scan(replace(scan, backgrounds=(replace(background, norms=(norm,)),)))
    (line,) = [w for w in result.warnings if "the same way" in w]
    assert "'background_norm' of 'background'" in line
    assert "at m = 2, 4;" in line


def test_a_nuisance_at_its_bound_is_said_as_by_fit():
    scan = treat_empty_bins(small_scan(), "drop")
    loud = replace(scan, counts=np.where(scan.live, 8 * scan.counts, 0.0))
    result = run_scan(loud)
    line = "fit without a signal: 'background_norm' is at its bound at m = 1, 2, 3, 4"
    assert line in result.warnings
    fit = fit_workspace(loud.workspace(0))
    for ours, theirs in (("free fit: ", "free fit: "), ("fit without a signal: ", "null fit: ")):
        for name in ("background_norm", "signal_eff"):
            told = re.compile(f"{ours}'{name}' is at its bound at m = 1(,|$)")
            said = [told.search(w) for w in result.warnings]
            stated = [w.startswith(theirs) and name in w for w in fit.warnings]
            assert any(said) == any(stated)
    assert not any("its bound" in w for w in run_scan(scan).warnings)
    assert result.hypotheses[0]["q0"] == pytest.approx(fit.discovery.q0, rel=1e-8)


def record_of(n, **columns):
    """Return what figures read of a record; columns are of each hypothesis."""
    rows = [{"limit": {}, **{key: column[i] for key, column in columns.items()}} for i in range(n)]
    return {
        "name": "scan", "parameter": {"name": "m", "unit": ""}, "poi": {"name": "mu", "unit": ""},
        "levels": [0.95], "values": list(range(n)), "hypotheses": rows,
    }  # fmt: skip


def heights(panel):
    """Return lowest and highest value of every filled strip that is drawn."""
    paths = [path for strip in panel.collections for path in strip.get_paths()]
    return [(path.vertices[:, 1].min(), path.vertices[:, 1].max()) for path in paths]


def test_the_band_of_toys_is_drawn_as_far_as_it_is_resolved():
    toys = {"observed": 2.0, "expected": [None, 1.0, 1.5, 2.5, 4.0], "error": 0.1,
            "expected_error": [None, 0.1, 0.1, 0.1, 0.2]}  # fmt: skip
    asymptotic = {"observed": 1.8, "expected": [0.5, 1.0, 1.2, 2.0, 3.0]}
    figures = draw_masses(record_of(3, limit=[{"toys": toys, "asymptotic": asymptotic}] * 3))
    (panel,) = figures["masses_limits"].axes
    assert heights(panel) == [(1.0, 1.5), (1.5, 2.5), (2.5, 4.0)]
    labels = panel.get_legend_handles_labels()[1]
    assert "expected, toys; bands incomplete at 3 of 3" in labels
    # The errors of toys are those of the ratio: 1.8 / 2 * .1 / 2, and 1.2 / 1.5 * .1 / 1.5.
    (panel,) = figures["masses_toys"].axes
    bars = [container.lines[2][0].get_segments()[0][:, 1] for container in panel.containers]
    assert np.concatenate(bars) == pytest.approx([0.855, 0.945, 0.8 * 14 / 15, 0.8 * 16 / 15])


def test_a_fit_at_its_bound_is_drawn_without_an_error():
    record = record_of(4, mu_hat=[1.0, 1.0, 0.0, None], mu_error=[0.5, 0.5, 0.0, None])
    (panel,) = draw_masses(record)["masses_mu"].axes
    assert heights(panel)[0] == (0.5, 1.5)
    (points,) = [line for line in panel.lines if line.get_label() == "at a bound, without an error"]
    assert points.get_xdata().tolist() == [2]


def test_a_unit_is_one_line():
    for unit in ("G\neV", "fb\x07", "a" * 61):
        document = {"schema": "ddphf/masses/1", "name": "s", "observed": [[1]],
                    "parameter": {"name": "m", "values": [1.0], "unit": unit},
                    "background": {"yields": [[1.0]]}, "signal": {"yields": [[1.0]]},
                    "poi": {"name": "mu"}}  # fmt: skip
        with pytest.raises(ConfigError, match=r"at parameter.unit: .*up to 60 characters in one"):
            check_scan_file(document)
    document["parameter"]["unit"] = "GeV$^2$ / c²"
    check_scan_file(document)


def test_one_table_named_many_times_is_counted_each_time(tmp_path):
    np.savez(tmp_path / "t.npz", n=np.ones((500, 500)), m=np.arange(500.0))
    sample = "  - {name: b%d, yields: 't.npz:n'}\n"
    (tmp_path / "scan.yml").write_text(
        "schema: ddphf/masses/1\nname: s\nparameter: {name: m, values: 't.npz:m'}\n"
        "observed: 't.npz:n'\nsignal: {yields: 't.npz:n'}\npoi: {name: mu}\nbackground:\n"
        + "".join(sample % i for i in range(400))
    )
    with pytest.raises(InputError, match=r"numbers of all tables, more than the 100,000,000 that"):
        read_scan(str(tmp_path / "scan.yml"))


@pytest.mark.parametrize(("key", "times"), [("shifts", 60), ("norms", 60_000)])
def test_one_array_of_a_bundle_named_many_times_is_counted_each_time(key, times):
    files = array_files(small_scan())
    form = json.loads(files["scan.json"])
    table, stream = np.ones((1000, 1000)), io.BytesIO()
    np.savez_compressed(stream, values=np.arange(1000.0), counts=table, live=table, all=table)
    form["samples"][0][key] = [{"name": "s", "up": "all", "down": "all"}] * times
    with pytest.raises(InputError, match=r"scan.json: \d+,.* numbers of all tables, more than"):
        read_array_files({**files, "scan.npz": stream.getvalue()}, form)


def test_a_patchset_of_many_short_channels_makes_no_rows():
    background, patchset = small_patchset(2)
    control, seen = background["channels"][1], background["observations"][1]
    background["channels"][1:] = [{**control, "name": f"CR{i}"} for i in range(200)]
    background["observations"][1:] = [{**seen, "name": f"CR{i}"} for i in range(200)]
    patchset["metadata"]["digests"] = {"sha256": pyhf.utils.digest(background)}
    few = read_hypotheses(background, patchset)
    assert len(make_rows(few).backgrounds) == 201
    many = replace(few, patches=few.patches * 2000, names=few.names * 2000, values=np.arange(4e3))
    with pytest.raises(NoRows, match="numbers, more than the 100,000,000 that are read"):
        make_rows(many)
