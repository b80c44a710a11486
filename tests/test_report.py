"""The HTML report: complete, self-contained, escaped, and hard to break."""

import base64
import copy
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from conftest import full_pair, invoke, plain_workspace
from hypothesis import strategies as st

from ddphf.figures.limit import draw_limit
from ddphf.figures.parameters import draw_ranking
from ddphf.figures.scan import draw_scan
from ddphf.figures.spectra import draw_spectra
from ddphf.inference.toys.store import ToySample, load_toys, save_toys
from ddphf.report.document import Materials, build_report
from ddphf.results.scan import ScanAxis, ScanResult
from ddphf.results.yields import (
    ChannelYields,
    PredictionResult,
    YieldResult,
    YieldsResult,
)
from ddphf.workspace.build import build_workspace

SHIPPED = Path(__file__).parents[1] / "docs" / "report.html"
VOID = {"meta", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Tags, texts and attributes; a tag that is not closed in order is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def check_page(source: str) -> Page:
    """What holds for every report."""
    assert source.startswith("<!DOCTYPE html>\n<html lang=")
    page = Page(source)
    assert not page.all("script")
    assert not page.all("link")
    assert len(page.all("h1")) == 1
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for anchor in page.all("a"):
        assert anchor["href"].startswith("#")
        assert anchor["href"][1:] in ids
    for image in page.all("img"):
        assert len(image["alt"]) > 10
        start, data = image["src"].split(",", 1)
        assert start == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        # Nothing is loaded from elsewhere: references stay inside the figure.
        assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', svg))
        assert "<script" not in svg
    for name, attrs in page.tags:
        for key in ("src", "href", "action", "data"):
            assert attrs.get(key, "#").startswith(("#", "data:")), (name, attrs)
    assert "url(" not in source
    assert page.text.index("Warnings") < page.text.index("Where the numbers come from")
    return page


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A pair with its fit, and the records of other commands as their documentation says."""
    folder = tmp_path_factory.mktemp("report")
    built = build_workspace(full_pair(), signal_scale=1.0)
    (folder / "pair.json").write_text(json.dumps(built.workspace))
    (folder / "pair.metadata.json").write_text(json.dumps(built.metadata))
    assert invoke("fit", folder / "pair.json", "-o", folder / "fit.json").code == 0
    fit = json.loads((folder / "fit.json").read_text())
    common = {
        "measurement": "discovery", "provenance": fit["provenance"], "warnings": [], "poi": "mu",
    }  # fmt: skip
    fit["goodness_of_fit"].update(
        asymptotic=False,
        toys={
            "n": 500, "n_failed": 0, "n_ge": 80, "p_value": 0.16, "p_interval": [0.13, 0.2],
            "seed": 1,
        },
    )  # fmt: skip
    (folder / "fit.json").write_text(json.dumps(fit))
    impact = {
        "pull": 0.3, "constraint": 0.9, "prefit_up": 0.2, "prefit_down": -0.21,
        "postfit_up": 0.19, "postfit_down": None,
    }  # fmt: skip
    records = {
        "rank": {
            **common, "poi": {"name": "mu", "value": 1.0, "error": 0.5, "at_bound": False},
            "parameters": [{"name": "theory", **impact}, {"name": "jes", "pull": None}],
            "n_ranked": 2,
            "groups": [{"name": "all", "parameters": 2, "frozen_error": 0.4, "impact": 0.3,
                        "auxiliary": 0.2}],
            "frozen": {"total": 0.5, "statistical": 0.4, "systematic": 0.3},
            "auxiliary": {"total": 0.5, "statistical": 0.41, "systematic": 0.29},
            "failures": [{"parameter": "jes", "shift": "prefit_up", "reason": "EDM 1 is above"}],
        },
        "scan": {
            **common, "twice_nll": 7.0,
            "parameters": [{"name": "mu", "best": 1.0, "error": 0.5, "values": [0.0, 1.0, 2.0]}],
            "delta_twice_nll": [4.0, 0.0, None],
            "failures": [{"values": [2.0], "reason": "EDM 1 is above"}],
            "intervals": [{"level": 0.6827, "rise": 1.0, "low": 0.5, "high": None}],
        },
        "discover": {
            **common, "statements": [{
                "measurement": "discovery",
                "observed": {key: fit["discovery"][key]
                             for key in ("mu_hat", "mu_error", "q0", "z0", "p0")},
                "null": {
                    "asymptotic": {"p0": 0.1, "z0": 1.28},
                    "toys": {"n": 100, "n_failed": 1, "n_ge": 0, "p0": None,
                             "p0_interval": [0.0, 0.018], "z0": None, "seed": 1},
                    "importance": {"p0": 1e-5, "p0_error": 1e-6, "z0": 4.26},
                    "comparison": {"n": 100, "ks": {"distance": 0.05, "p_value": 0.9},
                                   "histogram": {"edges": [-2, 0, 2], "counts": [49, 50]},
                                   "quantiles": {"probability": [0.25, 0.75],
                                                 "asymptotic": [-0.67, 0.67],
                                                 "toys": [-0.6, 0.7]}},
                },
                "expected": {"mu": 1.0, "asimov": {"z0": 1.9},
                             "asymptotic": {"z0": [-0.1, 0.9, 1.9, 2.9, 3.9]}},
            }],
        },
        "limit": {
            **common, "level": 0.95,
            "asymptotic": {"observed": 2.5, "expected": [0.5, 0.7, 1.0, 1.4, 1.9],
                           "scan": {"mu": [0.0, 3.0], "observed": [1.0, 0.02],
                                    "expected": [[1.0, 0.01 * x] for x in range(1, 6)]}},
            "toys": {"observed": 2.6, "observed_error": 0.11, "expected": [None] * 5,
                     "scan": {"mu": [1.0, 3.0], "observed": [0.6, 0.0],
                              "observed_error": [0.1, 0.0]}},
            "intervals": [{"level": 0.6827, "method": "asymptotic", "lower": 0.4, "upper": 1.6}],
        },
    }  # fmt: skip
    for kind, record in records.items():
        record["schema"] = f"ddphf/{kind}/1"
        (folder / f"{kind}.json").write_text(json.dumps(record))
    q0 = np.random.default_rng(1).normal(size=50)
    whole = np.arange(50)
    status = np.where(whole == 7, 2, 0)
    digest = fit["provenance"]["workspace_digest"]
    toys = ToySample(whole * 0, whole, q0 * np.abs(q0), q0, status, whole < 0, 0.0, "", digest)
    save_toys(toys, folder / "toys.npz")
    return folder


ALL = ("pair.json", "fit.json", "rank.json", "scan.json", "discover.json", "limit.json", "toys.npz")


def test_everything_is_said(material):
    outcome = invoke("report", *(material / name for name in ALL), "-o", material / "all.html")
    assert outcome.code == 0
    page = check_page((material / "all.html").read_text())
    fit = json.loads((material / "fit.json").read_text())
    text = page.text
    d = fit["discovery"]
    for needle in (
        f"mu = {d['mu_hat']:.4g} ± {d['mu_error']:.3g}", f"{abs(d['z0']):.2f} standard deviations",
        "SR_mue was compared with CR_emu", "discovery (L2) 100 toys, 1 failed < 0.018",
        "importance sampling 4.26 1e-05 ± 1e-06", "50 toys at mu = 0, 1 failed",
        "known background (L1)", "CLs upper limit on mu at 95 %", "asymptotic 2.5 0.5 0.7",
        "toys 2.60 ± 0.11", "p-value, 500 toys 0.16", "Counts are low: the toys decide.",
        "Failed refit: jes: EDM 1 is above", "all 0.3 0.4 0.2", "68.3 %: 0.5 to bound",
        fit["provenance"]["workspace_digest"], "pyhf 0.7.6",
        "pyhf fit workspace.json --value --measurement discovery_null",
    ):  # fmt: skip
        assert needle in text, needle
    titles = [a["alt"].split(" ")[0] for a in page.all("img")]
    assert len(titles) == 9  # null, limit, scan, pre- and post-fit, asymmetry, ranking, pulls, rho
    again = invoke("report", *(material / name for name in reversed(ALL)))
    files = (set(re.findall(r"sha256 \w{64}", s)) for s in (again.out, page.text))
    assert len(set(map(frozenset, files))) == 1


def test_the_order_of_the_inputs_changes_only_their_list(material):
    pages = []
    for names in (ALL, ALL[::-1]):
        source = invoke("report", *(material / name for name in names)).out
        pages.append(re.sub(r"<caption>files</caption>.*?</table>", "", source, flags=re.DOTALL))
    assert pages[0] == pages[1]


@pytest.mark.parametrize("name", [*ALL, "pair.metadata.json"])
def test_any_input_alone(material, name):
    outcome = invoke("report", material / name)
    assert outcome.code == 0, outcome.err
    check_page(outcome.out)


def test_yields_are_taken_as_given(material):
    made = material / "yields.json"
    invoke("yields", material / "pair.json", "--fit", material / "fit.json", "-o", made)
    given = invoke("report", material / "fit.json", made)
    assert given.code == 0, given.err
    computed = check_page(invoke("report", material / "fit.json", material / "pair.json").out)
    figures = {a["alt"]: a["src"] for a in check_page(given.out).all("img")}
    assert figures == {a["alt"]: a["src"] for a in computed.all("img")}


def test_names_are_text_and_never_markup(material, folder):
    evil = '<script>alert("x")</script>&amp;$\\frac{1}{2}$'
    spec = json.loads((material / "pair.json").read_text())
    raw = json.dumps(spec).replace("theory", json.dumps(evil)[1:-1])
    (folder / "workspace.json").write_text(raw)
    assert invoke("fit", "workspace.json", "-o", "fit.json").code == 0
    digest = json.loads(Path("fit.json").read_text())["provenance"]["workspace_digest"]
    evil += "\x07\ud800"  # a control character and half of one: pyhf's files may not hold these
    limit = {"schema": "ddphf/limit/1", "level": 0.9, "measurement": evil, "poi": evil,
             "warnings": [evil], "provenance": {"workspace_digest": digest},
             "asymptotic": {"observed": 1.0}}  # fmt: skip
    Path("limit.json").write_text(json.dumps(limit))
    outcome = invoke("report", "workspace.json", "fit.json", "limit.json", "-o", "r.html")
    assert outcome.code == 0, outcome.err
    source = Path("r.html").read_text()
    assert "<script" not in source
    assert html.escape('<script>alert("x")</script>&amp;$') in source
    assert "\ufffd" in check_page(source).text


def test_warnings_come_first_and_are_all_there(material, folder):
    fit = json.loads((material / "fit.json").read_text())
    fit["warnings"] = ["first <warning>"]
    fit["goodness_of_fit"]["toys"]["p_value"] = 1e-4
    Path("fit.json").write_text(json.dumps(fit))
    limit = json.loads((material / "limit.json").read_text())
    limit.update(measurement="other", warnings=["first <warning>", "second"])
    Path("limit.json").write_text(json.dumps(limit))
    outcome = invoke("report", "fit.json", "limit.json")
    lines = re.findall("<li>(.*?)</li>", outcome.out.split("<nav")[0])
    assert [html.unescape(line) for line in lines] == [
        "the limit is of measurement 'other', the fit of 'discovery'",
        "first <warning>",
        "second",
        "goodness of fit: p = 0.0001; the model does not describe the data",
    ]
    assert "ddphf: warning: first <warning>" in outcome.err


def test_toys_say_to_which_workspace_they_belong(material, folder):
    workspace = material / "pair.json"
    assert invoke("toys", workspace, "--toys", "8", "-o", "toys.npz").code == 0
    digest = json.loads((material / "fit.json").read_text())["provenance"]["workspace_digest"]
    assert load_toys(Path("toys.npz")).workspace_digest == digest
    assert "toys" not in invoke("report", "toys.npz", material / "fit.json").err
    whole = np.arange(3)
    old = ToySample(whole * 0, whole, whole * 0.1, whole * 0.1, whole * 0, whole < 0, 0.0, "")
    save_toys(old, Path("old.npz"))
    assert "does not say to which workspace" in invoke("report", "old.npz").err
    other = ToySample(whole, whole, whole * 0.1, whole * 0.1, whole * 0, whole < 0, 0.0, "", "x")
    save_toys(other, Path("other.npz"))
    assert invoke("report", "other.npz", material / "fit.json").code == 3


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("discover", "statements.0.null.comparison.quantiles.toys", [0.0],
         "quantiles of different numbers"),
        ("discover", "statements.0.null.comparison.quantiles.probability", [0.0, 0.5],
         "0.0 is less than or equal to the minimum of 0"),
        ("discover", "statements.0.null.comparison.quantiles.toys", None,
         "None is not of type 'array'"),
        ("limit", "toys.scan.observed_error", [0.1], "as many entries as mu has"),
        ("limit", "toys.scan.observed_error", "x", "'x' is not of type 'array'"),
    ],
)  # fmt: skip
def test_what_a_figure_reads_is_checked(material, folder, kind, path, value, message):
    record = json.loads((material / f"{kind}.json").read_text())
    *parents, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    node = record
    for key in parents:
        node = node[key]
    node[last] = value
    Path("damaged.json").write_text(json.dumps(record))
    outcome = invoke("report", "damaged.json")
    assert outcome.code == 3
    assert message in outcome.message


VALUES = st.sampled_from(
    [None, True, -1, 0, 1e308, 10**400, "", "x" * 300, "NaN", [], [[]], {}, [1, 2, 3], {"a": 1}]
)


@hypothesis.settings(max_examples=120)
@hypothesis.given(data=st.data())
def test_damaged_records_are_refused_and_never_a_traceback(material, data):
    """One value somewhere is replaced; the outcome is a page or one line with exit code 3."""
    kind = data.draw(st.sampled_from(["fit", "rank", "scan", "discover", "limit", "yields"]))
    source = material / f"{kind}.json"
    if kind == "yields" and not source.is_file():
        invoke("yields", material / "pair.json", "--fit", material / "fit.json", "-o", source)
    record = json.loads(source.read_text())
    node = record

    def draw_key():
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        return data.draw(st.sampled_from(keys))

    for _ in range(data.draw(st.integers(0, 6))):
        key = draw_key()
        if not isinstance(node[key], (dict, list)) or not node[key]:
            break
        node = node[key]
    key = draw_key()
    if data.draw(st.booleans()) and isinstance(node, dict):
        del node[key]
    else:
        node[key] = copy.deepcopy(data.draw(VALUES))
    damaged = material / "damaged.json"
    damaged.write_text(json.dumps(record))
    outcome = invoke("report", damaged)
    assert outcome.code in (0, 3), outcome.err
    if outcome.code == 0:
        check_page(outcome.out)
    else:
        assert outcome.out == ""


def test_figures_have_axes_with_names():
    axes = ScanAxis("mu", 0.5, 0.2, (0.0, 1.0)), ScanAxis("jes", 0.0, 0.5, (-1.0, 0.0, 1.0))
    path = {"x": [0.2, 0.8, 0.2], "y": [0.0, 0.1, 0.2]}
    scan = ScanResult(
        "m", 7.0, axes, ((9.0, 4.0, None), (1.0, 0.0, 3.0)),
        contours=({"level": 0.6827, "rise": 2.2958, "paths": [path]},),
    )  # fmt: skip
    plane = draw_scan(scan).axes[0]
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("mu", "jes")
    # The record's own lines, which are finer than the grid.
    assert plane.lines[0].get_xydata().tolist() == np.column_stack([*path.values()]).tolist()
    curves = {"mu": [0.0, 1.0, 2.0], "observed": [1.0, None, 0.1]}
    record = {"measurement": "m", "level": 0.95, "toys": {"observed": None, "scan": curves}}
    limit = draw_limit(record).axes[0]
    assert (limit.get_xlabel(), limit.get_ylabel()) == ("signal strength mu", "CLs")
    entries = [{"name": f"p{i}", "pull": 0.1, "constraint": 1.0} for i in range(40)]
    ranking = draw_ranking({"poi": {"name": "mu"}, "parameters": entries})
    assert ranking.axes[1].get_xlabel() == "shift of mu"
    assert "largest 25 of 40" in ranking.get_suptitle()


def test_a_legend_lies_above_flat_data_and_wide_errors():
    """Three equal bins under a legend: nothing that is drawn reaches its upper quarter."""
    model = YieldResult((9.0, 9.0, 9.0), (6.0, 6.0, 6.0), 27.0, 18.0)
    channel = ChannelYields("SR", (9.0, 8.0, 9.0), {"prefit": PredictionResult({}, model)})
    panel = draw_spectra(YieldsResult("m", (channel,)), "prefit").axes[0]
    assert panel.get_ylim()[1] >= 15.0 / 0.75


def test_a_signal_at_its_bound_has_no_error_in_the_headline(folder):
    workspace = plain_workspace()
    config = workspace["measurements"][0]["config"]["parameters"]
    config[:] = [{"name": "mu", "inits": [0.0], "bounds": [[0.0, 10.0]]}]
    workspace["observations"][1]["data"] = [1.0] * 3
    (folder / "bound.json").write_text(json.dumps(workspace))
    assert invoke("fit", "bound.json", "-o", "bound.fit.json").code == 0
    outcome = invoke("report", "bound.fit.json")
    assert "mu = 0 (no error): no excess, p0 = 0.5" in outcome.out


def test_an_empty_report_says_so():
    page = check_page(build_report(Materials()))
    assert "No file with provenance was given." in page.text
    assert "Warnings None." in page.text


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the report is not shipped here")
def test_the_shipped_report_is_of_the_shipped_fit():
    source = SHIPPED.read_text()
    assert len(source) < 1_500_000
    page = check_page(source)
    folder = SHIPPED.parents[1] / "workspaces/higgs_lfv_asymmetric"
    fit = json.loads((folder / "fit.json").read_text())
    assert f"{fit['discovery']['z0']:.2f} standard deviations" in page.text
    assert fit["provenance"]["workspace_digest"] in page.text
    assert "Lepton identification" in page.text
