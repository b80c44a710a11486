"""`ddphf search`: commands as a user runs them, from a search to a test on new data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import invoke
from scipy.stats import chi2
from writing_commands import make_inputs

from ddphf.config.analysis import parse_analysis, read_analysis
from ddphf.exceptions import ConfigError, InputError
from ddphf.files import read_json
from ddphf.inputs.histogram import Axis
from ddphf.report.search_chapter import search_parts
from ddphf.results.provenance import Mark, digest_of_built, read_mark
from ddphf.results.search import SearchResult, misfits
from ddphf.search.field import make_field
from ddphf.search.freeze import estimate_events
from ddphf.search.pair import prepare_pair
from ddphf.statistics.windows import Window
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.window_signal import window_weights
from ddphf.workspace.build import build_workspace

MINE = {
    "schema": "ddphf/analysis/1",
    "name": "mine",
    "tested": {"label": "mue", "observed": "t.csv:b"},
    "partner": {"label": "emu", "observed": "t.csv:a"},
}


def write_counts(path, seed, excess=45.0, deficit=False):
    """Two axes, a box of excess."""
    rng = np.random.default_rng(seed)
    lines = ["mass [GeV]_low,mass [GeV]_high,pt [GeV]_low,pt [GeV]_high,b,a"]
    for i in range(6):
        for j in range(5):
            more = excess if i in (2, 3) and j in (1, 2) else 0.0
            pair = rng.poisson([60.0 + more, 60.0])
            b, a = pair[::-1] if deficit else pair
            lines.append(f"{30 + 10 * i},{40 + 10 * i},{10 + 5 * j},{15 + 5 * j},{b},{a}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def searched(folder):
    """A folder `data` with an analysis without a signal and a record beside it."""
    Path("data").mkdir()
    write_counts(Path("data/t.csv"), 1)
    Path("data/a.yml").write_text(yaml.safe_dump(MINE))
    done = invoke("search", "pair", "data/a.yml", "--windows", "all", "--seed", "1", "-o", "s.json")
    assert done.code == 0, done.err
    return folder


def freeze(*options, output="h/hypothesis.yml"):
    Path(output).parent.mkdir(exist_ok=True)
    done = invoke("search", "freeze", "s.json", "-o", output, *options)
    assert done.code == 0, done.err
    return yaml.safe_load(Path(output).read_text())


def test_a_pair_without_a_signal(searched):
    record = read_json("s.json")
    assert record["best"][0]["start"] == [2, 1]
    assert record["best"][0]["edges"] == [[50.0, 70.0], [15.0, 25.0]]
    assert record["analysis"]["file"] == "data/a.yml"
    assert record["nuisances"] == []
    done = invoke("search", "pair", "data/a.yml", "--seed", "1")
    assert json.loads(done.out)["best"] == record["best"]
    line = next(x for x in done.err.splitlines() if x.startswith("best window"))
    assert "local Z = " in line
    assert "global p = " in line


def test_a_statistic_of_the_whole_histogram_stands_beside_the_windows(searched):
    line = ["search", "pair", "data/a.yml", "--seed", "1"]
    done = invoke(*line, "--statistic", "chi2", "-o", "c.json")
    assert done.code == 0, done.err
    record, (found,) = read_json("c.json"), read_json("c.json")["comparison"]
    assert {**record, "comparison": []} == read_json("s.json")  # the windows are the same
    pair = prepare_pair(load_pair(read_analysis("data/a.yml", needs_signal=False)))
    value = np.sum((pair.tested - pair.partner) ** 2 / (pair.tested + pair.partner))
    assert found["value"] == pytest.approx(value, rel=1e-9)
    want = chi2.sf(value, 30)
    assert found["p"] == pytest.approx(want, abs=4 * np.sqrt(want / found["samples"]) + 1e-4)
    assert found["error"] > 0
    assert (found["method"], found["samples"]) == ("label flips", 10_000)
    said = next(x for x in done.err.splitlines() if x.startswith("chi2 of the whole histogram: "))
    assert said.endswith("from 10000 label flips")
    assert f"p = {found['p']:.4g} +- {found['error']:.2g}" in said
    built = invoke("search", "freeze", "c.json", "-o", "h.yml")
    assert built.code == 0, built.err
    assert said.replace("+-", "&plusmn;") in "".join(search_parts([record]))


def test_the_direction_of_a_search_is_that_of_its_t(searched):
    found = {}
    for direction in ("excess", "deficit", "both"):
        line = ["search", "pair", "data/a.yml", "--direction", direction, "--statistic", "t"]
        found[direction] = json.loads(invoke(*line, "--precision", ".5").out)["comparison"][0]
    assert found["deficit"]["value"] == -found["excess"]["value"] < 0
    assert found["both"]["value"] == found["excess"]["value"]
    assert found["deficit"]["p"] == pytest.approx(1 - found["excess"]["p"], abs=2e-4)
    assert found["both"]["p"] > found["excess"]["p"]


def test_a_signal_is_not_looked_at(folder):
    make_inputs(folder)
    text = yaml.safe_load(Path("analysis.yml").read_text())
    text["tested"]["signal"] = {"yields": "table.csv:nothing"}
    Path("other.yml").write_text(yaml.safe_dump(text))
    one = invoke("search", "pair", "analysis.yml", "--precision", ".2", "-q")
    other = invoke("search", "pair", "other.yml", "--precision", ".2", "-q")
    assert one.code == other.code == 0, other.err
    one, other = json.loads(one.out), json.loads(other.out)
    assert one["best"] == other["best"]
    assert [n["name"] for n in one["nuisances"]] == ["electron_id", "fakes_stat_SR_mue"]


def test_nuisances_none_has_to_be_written(folder):
    make_inputs(folder)
    done = invoke("search", "pair", "analysis.yml", "--nuisances", "none", "--precision", ".2")
    assert done.code == 0
    assert "nuisances: none; efficiency ratio and fakes are taken as known exactly" in done.err
    data = json.loads(done.out)
    assert data["nuisances"] == []
    default = json.loads(invoke("search", "pair", "analysis.yml", "--precision", ".2").out)
    assert abs(default["best"][0]["local"]["z"]) < abs(data["best"][0]["local"]["z"])


def test_null_prints_a_row_for_each_z(folder):
    line = "search null --shape 8,8 --windows 2x2 --z 3 --z 4 --seed 1 -o n.json --plots f"
    done = invoke(*line.split())
    assert done.code == 0, done.err
    data = read_json("n.json")
    assert [row["local"]["z"] for row in data["table"]] == [3.0, 4.0]
    assert data["global"] == data["table"][0]["global"]
    assert abs(data["global"]["p"] - 0.0575) < 4 * data["global"]["error"]
    assert Path("f/search_null.png").read_bytes().startswith(b"\x89PNG")
    assert "49 windows" in done.err


def test_figures_and_what_they_state(searched):
    done = invoke("search", "pair", "data/a.yml", "--plots", "f", "--format", "svg", "-o", "x.json")
    assert done.code == 0, done.err
    names = {path.stem for path in Path("f").iterdir()}
    assert names == {
        "search_z_map", "search_profiled_map", "search_sizes", "search_maximum",
    }  # fmt: skip


def test_a_figure_without_anything_to_draw_is_said(folder):
    """Of three axes there is no map of bins."""
    head = [f"{axis}_{end}" for axis in ("mass", "pt", "eta") for end in ("low", "high")]
    rows = [[i, i + 1, j, j + 1, k, k + 1, 40 + i, 41 + j]
            for i in range(3) for j in range(2) for k in range(2)]  # fmt: skip
    lines = [",".join([*head, "b", "a"]), *(",".join(map(str, row)) for row in rows)]
    Path("t.csv").write_text("\n".join(lines) + "\n")
    Path("a.yml").write_text(yaml.safe_dump(MINE))
    done = invoke("search", "pair", "a.yml", "--seed", "1", "-o", "s.json", "--plots", "f")
    assert done.code == 0, done.err
    drawn = {path.name for path in Path("f").iterdir()}
    for name in ("search_z_map.png", "search_profiled_map.png"):
        assert f"warning: {name}: nothing to draw" in done.err
        assert name not in drawn
    assert "search_maximum.png" in drawn


def test_a_frozen_window_is_built_and_its_fit_says_that_it_is_local(searched):
    frozen = freeze()
    assert frozen["tested"]["observed"] == "../data/t.csv:b"
    record = read_json("s.json")
    done = invoke("build", "h/hypothesis.yml", "-o", "h/w.json")
    assert done.code == 0, done.err
    assert "every Z and p here is local" in done.err
    Path("h/w.metadata.json").unlink()  # the mark is in the workspace
    done = invoke("fit", "h/w.json", "-o", "h/fit.json")
    assert done.code == 0, done.err
    assert "Z local" in done.err
    assert f"global, of {record['windows']['n']} windows" in done.err
    fit = read_json("h/fit.json")
    mark = fit["data_directed"]
    assert mark["global"]["p"] == pytest.approx(record["global"]["p"], rel=1e-5)
    assert mark["windows"] == record["windows"]["n"]
    assert any("every Z and p here is local" in line for line in fit["warnings"])
    assert fit["discovery"]["z0"] == pytest.approx(record["best"][0]["local"]["z"], abs=0.1)
    assert fit["fit"]["poi"]["value"] == pytest.approx(1.0, abs=0.1)  # the events that were found
    for command in ("discover", "limit"):
        done = invoke(command, "h/w.json", "-o", f"h/{command}.json")
        assert done.code == 0, done.err
        assert "every Z and p here is local; global p = " in done.err
    assert read_json("h/discover.json")["data_directed"] == mark


def test_bundle_and_report_of_a_frozen_window(searched):
    freeze()
    assert invoke("build", "h/hypothesis.yml", "-o", "h/w.json").code == 0
    assert invoke("fit", "h/w.json", "-o", "h/fit.json").code == 0
    done = invoke("publish", "h/hypothesis.yml", "h/fit.json", "s.json", "-o", "h/b.tar.gz")
    assert done.code == 0, done.err
    shutil.unpack_archive("h/b.tar.gz", "h/b")
    readme = Path("h/b/README.md").read_text()
    lines = [line for line in readme.splitlines() if "Z" in line and "sgn" in line]
    assert lines
    assert all("global p = " in line for line in lines)
    assert "`search.json`: excess searched in " in readme
    done = invoke("report", "h/w.json", "h/fit.json", "s.json", "-o", "h/report.html")
    assert done.code == 0, done.err
    page = Path("h/report.html").read_text()
    assert "Search everywhere" in page
    assert "the signal was chosen on these data, out of" in page


def test_a_search_of_other_data_is_in_no_bundle_or_report(searched):
    freeze()
    assert invoke("build", "h/hypothesis.yml", "-o", "h/w.json").code == 0
    write_counts(Path("data/t.csv"), 2)
    assert invoke("search", "pair", "data/a.yml", "-o", "s2.json").code == 0
    done = invoke("publish", "h/w.json", "s2.json", "-o", "b.tar.gz")
    assert (done.code, "is about other data" in done.message) == (3, True)
    done = invoke("report", "h/w.json", "s2.json", "-o", "r.html")
    assert (done.code, "is about the data" in done.message) == (3, True)


def test_a_frozen_window_is_sealed(searched):
    """What chose it cannot be changed by hand; how large a signal is, and of what shape, can."""
    freeze()
    text = yaml.safe_load(Path("h/hypothesis.yml").read_text())
    build = ("build", "h/hypothesis.yml", "-o", "w.json", "--force")
    window, chosen = text["tested"]["signal"]["window"], text["data_directed"]
    changes = [(chosen, "data_digest", "sha256:" + "0" * 64), (chosen["global"], "p", 0.5),
               (window, "edges", [[30, 40], [10, 15]]), (chosen["windows"], "n", 1)]  # fmt: skip
    for node, key, value in changes:
        before, node[key] = node[key], value
        Path("h/hypothesis.yml").write_text(yaml.safe_dump(text))
        done = invoke(*build)
        assert done.code == 3
        assert "was changed since 'ddphf search freeze' wrote it" in done.err
        node[key] = before
    window |= {"events": 2 * window["events"], "template": "gaussian"}
    Path("h/hypothesis.yml").write_text(yaml.safe_dump(text))
    assert invoke(*build).code == 0


def test_a_record_that_contradicts_itself_is_no_record(searched):
    record = read_json("s.json")
    assert not list(misfits(record))
    best = record["best"][0]
    best["edges"][0][0] += 10.0
    best["global"]["p"] = best["global"]["p"] / 2
    found = list(misfits(record))
    assert any("best.0.edges: not those of its bins along" in line for line in found)
    assert any("at best.0.global: p = " in line for line in found)


def test_new_data_are_tested_without_a_trial_factor(searched):
    freeze()
    write_counts(Path("data/new.csv"), 2)
    Path("data/new.yml").write_text(Path("data/a.yml").read_text().replace("t.csv", "new.csv"))
    done = invoke("search", "test", "h/hypothesis.yml", "data/new.yml", "-o", "t.json")
    assert done.code == 0, done.err
    record = read_json("t.json")
    (best,) = record["best"]
    assert best["global"]["p"] == best["local"]["p"]
    assert best["global"]["method"] == "one window, chosen on other data"
    assert record["windows"]["n"] == 1
    # The workspace of the hypothesis on new data has no mark: one window, one test.
    hypothesis = Path("h/hypothesis.yml")
    hypothesis.write_text(hypothesis.read_text().replace("/t.csv", "/new.csv"))
    built = build_workspace(load_pair(read_analysis(hypothesis)))
    assert read_mark(built.workspace) is None
    assert built.metadata["data_directed"]["on_the_choosing_data"] is False
    assert not any("local" in line for line in built.warnings)


def test_the_choosing_data_are_refused_whole_or_in_part(searched):
    freeze()
    done = invoke("search", "test", "h/hypothesis.yml", "data/a.yml")
    assert (done.code, "these are the data on which" in done.message) == (3, True)
    # One of the two samples again, also with the labels exchanged.
    write_counts(Path("data/new.csv"), 2)
    swapped = json.loads(json.dumps(MINE))
    swapped["tested"]["observed"], swapped["partner"]["observed"] = "new.csv:b", "t.csv:b"
    Path("data/new.yml").write_text(yaml.safe_dump(swapped))
    done = invoke("search", "test", "h/hypothesis.yml", "data/new.yml")
    assert done.code == 3
    assert "the partner sample is the tested sample of the data" in done.message


def test_other_bins_are_refused(searched):
    freeze()
    lines = ["mass [GeV]_low,mass [GeV]_high,pt [GeV]_low,pt [GeV]_high,b,a"]
    lines += [
        f"{30 + 5 * i},{35 + 5 * i},{10 + 5 * j},{15 + 5 * j},30,30"
        for i in range(12)
        for j in range(5)
    ]
    Path("data/new.csv").write_text("\n".join(lines) + "\n")
    Path("data/new.yml").write_text(Path("data/a.yml").read_text().replace("t.csv", "new.csv"))
    done = invoke("search", "test", "h/hypothesis.yml", "data/new.yml")
    assert (done.code, "bin the new data on the same axes" in done.message) == (3, True)


def test_a_changed_analysis_or_other_data_are_not_frozen(searched):
    Path("data/a.yml").write_text(Path("data/a.yml").read_text() + "\n")
    done = invoke("search", "freeze", "s.json", "-o", "h.yml")
    assert (done.code, "was changed since s.json was written" in done.message) == (3, True)
    Path("data/a.yml").write_text(yaml.safe_dump(MINE))
    write_counts(Path("data/t.csv"), 2)
    done = invoke("search", "freeze", "s.json", "-o", "h.yml")
    assert (done.code, "the data are not those that were searched" in done.message) == (3, True)
    Path("data/a.yml").rename("moved.yml")
    done = invoke("search", "freeze", "s.json", "-o", "h.yml")
    assert (done.code, "give --analysis FILE" in done.message) == (3, True)


def test_a_deficit_is_frozen_as_an_excess_of_the_partner(folder):
    Path("data").mkdir()
    write_counts(Path("data/t.csv"), 1, deficit=True)
    Path("data/a.yml").write_text(yaml.safe_dump(MINE))
    done = invoke("search", "pair", "data/a.yml", "--direction", "both", "-o", "s.json")
    assert done.code == 0, done.err
    z = read_json("s.json")["best"][0]["local"]["z"]
    assert z < 0
    frozen = freeze()
    assert "signal" not in frozen["tested"]
    assert frozen["data_directed"]["direction"] == "deficit"
    assert invoke("build", "h/hypothesis.yml", "-o", "w.json").code == 0
    assert invoke("fit", "w.json", "-o", "fit.json").code == 0
    assert read_json("fit.json")["discovery"]["z0"] == pytest.approx(-z, abs=0.1)
    write_counts(Path("data/new.csv"), 2, deficit=True)
    Path("data/new.yml").write_text(Path("data/a.yml").read_text().replace("t.csv", "new.csv"))
    assert invoke("search", "test", "h/hypothesis.yml", "data/new.yml", "-o", "t.json").code == 0
    record = read_json("t.json")
    assert record["direction"] == "deficit"
    assert record["global"]["p"] < 1e-3
    assert record["best"][0]["local"]["z"] < -3


@pytest.mark.parametrize("template", ["flat", "sqrt", "gaussian"])
def test_templates(searched, template):
    freeze("--template", template)
    pair = load_pair(read_analysis("h/hypothesis.yml"))
    assert pair.tested.signal is not None
    yields = pair.tested.signal.yields.values
    events = yaml.safe_load(Path("h/hypothesis.yml").read_text())["tested"]["signal"]["window"]
    assert yields.sum() == pytest.approx(events["events"])
    inside = np.zeros((6, 5), dtype=bool)
    inside[2:4, 1:3] = True
    if template == "gaussian":
        assert 0.6 < yields[inside].sum() / yields.sum() < 0.8  # erf(1.4 / sqrt 2)^2 = .70
    else:
        assert np.all((yields > 0) == inside)
    done = invoke("build", "h/hypothesis.yml", "-o", "w.json")
    assert done.code == 0, done.err


def test_the_bell_has_the_width_that_the_box_sees_best():
    """N_sigma of a box of width w over a flat background, for a bell of w / 2.8."""
    axes = (Axis("x", tuple(np.linspace(0.0, 10.0, 2001).tolist())),)
    bell = window_weights(Window((900,), (200,)), "gaussian", axes, np.ones(2000))
    widths = np.arange(100, 320, 20)
    seen = [bell[1000 - w // 2 : 1000 + w // 2].sum() / np.sqrt(w) for w in widths]
    assert widths[int(np.argmax(seen))] == 200


def test_events_at_mu_1_are_those_found_within_ten_errors():
    flat = np.full((1, 2), 0.5)
    found = make_field([[10400.0, 10400.0]], [[10000.0, 10000.0]])
    assert estimate_events(found, flat) == 800.0
    nothing = make_field([[100.0, 100.0]], [[100.0, 100.0]])
    assert estimate_events(nothing, flat) == 20.0  # one error
    huge = make_field([[10000.0, 0.0]], [[0.0, 0.0]])
    assert estimate_events(huge, np.array([[1.0, 0.0]])) == 1000.0  # ten of 100


def test_a_mark_that_is_none_is_not_read():
    for name in ("data_directed", "data_directed:global_p=e:error=1:local_z=1:windows=1:data=0"):
        spec = {"measurements": [{"config": {"parameters": [{"name": name}]}}]}
        assert read_mark(spec) is None
    mark = Mark(None, None, None, 3, "f" * 16)
    spec = {"measurements": [{"config": {"parameters": [{"name": mark.name}]}}]}
    assert read_mark(spec) == mark


def test_the_data_of_a_workspace_are_known_again(searched):
    freeze()
    built = build_workspace(load_pair(read_analysis("h/hypothesis.yml")))
    assert digest_of_built(built.workspace, built.metadata) == read_json("s.json")["data_digest"]
    assert digest_of_built(built.workspace, None) is None


HEAD = "schema: ddphf/analysis/1\nname: x\npartner: {label: emu, observed: 't.csv:a'}\n"


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{events: 3}", "'edges', or 'start' and 'size', expected one of the two"),
        ("{start: [1], events: 3}", "'size' is missing"),
        ("{start: [1], size: [1], edges: [[1, 2]], events: 3}", "expected one of the two"),
        ("{start: [1], size: [1]}", "'events' is missing"),
    ],
)
def test_windows_that_the_analysis_file_may_not_state(window, message):
    text = f"{HEAD}tested: {{label: mue, observed: 't.csv:b', signal: {{window: {window}}}}}\n"
    with pytest.raises(ConfigError, match=message):
        parse_analysis(text)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"edges": [[52, 70], [15, 25]]}, "52 is no edge of a bin along 'mass'; the nearest is 50"),
        ({"edges": [[50, 70]]}, "edges along 1 axes, the histogram has 2"),
        ({"start": [5, 0], "size": [2, 1]}, "outside the histogram"),
    ],
)
def test_windows_that_are_none_of_the_histogram(searched, window, message):
    text = {**MINE, "tested": {**MINE["tested"], "signal": {"window": {**window, "events": 3}}}}
    Path("data/b.yml").write_text(yaml.safe_dump(text))
    with pytest.raises(InputError, match=message):
        load_pair(read_analysis("data/b.yml"))


def test_the_record_is_read_back(searched):
    data = read_json("s.json")
    assert SearchResult.from_dict(data).to_dict() == data


def test_where_the_work_is_done_changes_nothing(searched):
    line = "search pair data/a.yml --seed 1 --precision .3 -q"
    records = [invoke(*line.split(), *more) for more in ((), ("--scheduler", "processes:2"))]
    assert [done.code for done in records] == [0, 0], records[1].err
    assert records[0].out == records[1].out
