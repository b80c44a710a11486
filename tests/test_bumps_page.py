"""The ranking as a page, the chapter of the report, and the figure: from records by anybody."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from bump_data import drawn, smooth, with_bump, write_spectrum
from conftest import invoke

from ddphf.figures.bumps import draw_bump, draw_bumps
from ddphf.report.bumps_chapter import bumps_parts
from ddphf.report.bumps_page import bumps_page, thumbnail

RECORD = json.loads((Path(__file__).parent / "records/1.0.0/bumps.json").read_text())
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=y>\x1b[31m\u202e'


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "onerror", "onclick")]


def parse(page):
    tags = Tags()
    tags.feed(page)
    return tags


def test_the_page_loads_nothing_and_has_one_script():
    tags = parse(bumps_page(RECORD))
    assert tags.links == []
    assert tags.found.count("script") == 1
    assert tags.found.count("svg") == 1
    assert "innerHTML" not in bumps_page(RECORD)


def test_foreign_strings_are_text():
    record = copy.deepcopy(RECORD)
    spectrum = record["spectra"][0]
    for key in ("name", "status", "why", "unit"):
        spectrum[key] = HOSTILE
    spectrum["warnings"] = record["left_out"] = record["warnings"] = [HOSTILE]
    page = bumps_page(record)
    tags = parse(page)
    assert tags.found.count("script") == 1
    assert "img" not in tags.found
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<script>alert" not in "".join(bumps_parts(record))


def test_every_attribute_is_the_name_and_opens_no_other():
    """A name that ends its attribute, in double quotes, single ones and none."""
    names = [
        'a" onmouseover="x',
        "a' onmouseover='x",
        "a onmouseover=x",
        "a`b",
        "&quot; on=x",
        "</td>",
    ]
    record = copy.deepcopy(RECORD)
    first = record["spectra"][0]
    record["spectra"] = [{**first, "name": name, "status": name} for name in names]
    seen = []

    class Attributes(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "td" and ("class", "name") in attributes:
                seen.append(dict(attributes))

    Attributes().feed(bumps_page(record))
    assert [sorted(one) for one in seen] == [["class", "data-key", "title"]] * 2 * len(names)
    assert [one["data-key"] for one in seen[::2]] == names
    assert [one["title"] for one in seen[1::2]] == names


def test_the_page_has_the_warnings_of_the_scan():
    """Backgrounds that could not be chosen, fits that have no certificate, a larger z at an end."""
    record = copy.deepcopy(RECORD)
    record["warnings"] = ["s: 3 of 25 backgrounds have no certified fit and could not be chosen"]
    record["spectra"][0]["warnings"] = ["z = 4.20 at 103 is larger than that of the best bump"]
    page, report = bumps_page(record), "".join(bumps_parts(record))
    assert "Warning: s: 3 of 25 backgrounds have no certified fit" in page
    for shown in (page, report):
        assert "z = 4.20 at 103 is larger than that of the best bump" in shown
    record["warnings"] = [f"w{i}" for i in range(1000)]
    page = bumps_page(record)
    assert page.count("Warning: ") == 51
    assert "Warning: 950 more are in the record." in page


def test_thumbnails_tell_what_is_stated():
    spectrum = copy.deepcopy(RECORD["spectra"][0])
    whole, stated = re.findall(r'stroke="#(?:999|D55E00)" points="([^"]*)"', thumbnail(spectrum))
    assert len(whole.split()) == sum(z is not None for z in spectrum["z_profiled"])
    assert len(stated.split()) == spectrum["excluded"].count(None)
    assert set(stated.split()) < set(whole.split())


def test_long_names_are_cut_where_they_are_shown():
    record = copy.deepcopy(RECORD)
    record["spectra"][0]["name"] = name = "head" + "x" * 3000 + "tail"
    page = bumps_page(record)
    assert f'title="{name}"' in page
    shown = re.findall(r">(head[^<]*tail)<", page)
    assert [len(text) for text in shown] == [119]


def test_every_row_has_its_keys():
    record = copy.deepcopy(RECORD)
    other = {**record["spectra"][0], "name": "excluded", "status": "excluded", "best": None,
             "background": None, "why": "5 bins"}  # fmt: skip
    record["spectra"].append(other)
    page = bumps_page(record)
    rows = re.findall(r"<tr><td.*?</tr>", page)
    assert len(rows) == 2
    assert all(row.count("data-key=") == 10 for row in rows)
    assert thumbnail(other) == ""
    best = record["spectra"][0]["best"]
    assert f'data-key="{best["z"]:.9g}"' in rows[0]


def test_the_figure_shows_the_record():
    figure = draw_bumps(RECORD)["bump"]
    counts, z = figure.axes
    assert "global p" in counts.get_title(loc="left")
    shown = counts.containers[0].lines[0].get_ydata()
    assert np.allclose(shown, RECORD["spectra"][0]["observed"])
    assert z.get_ylabel() == "local Z"
    assert [text.get_text() for text in z.get_legend().get_texts()][-1] == "not stated"
    few = copy.deepcopy(RECORD["spectra"][0])
    for least, bottom in ((0, 0.5), (9, 0.5), (23, 5.0)):  # half of the last decade with counts
        few["observed"] = [1000.0 + least] * (len(shown) - 1) + [float(least)]
        assert draw_bump(few).axes[0].get_ylim()[0] == bottom
    assert draw_bumps({**RECORD, "spectra": []})["bump"] is None


def test_scan_writes_page_and_report(folder):
    columns = {f"s{i}": drawn(with_bump(smooth(), 25, 60.0 * i), i) for i in range(4)}
    write_spectrum("many.csv", columns)
    line = "bumps scan many.csv --width-bins 1.5 --toys 20 --page r.html -o b.json --seed 2"
    done = invoke(*line.split())
    assert done.code == 0, done.err
    tags = parse(Path("r.html").read_text())
    assert tags.found.count("tr") == 5
    done = invoke("report", "b.json", "-o", "report.html")
    assert done.code == 0, done.err
    assert "Bumps in 4 mass spectra" in Path("report.html").read_text()
    done = invoke(*line.replace("r.html", "-").split(), "--force")
    assert (done.code, "--page -: standard output" in done.err) == (2, True)
