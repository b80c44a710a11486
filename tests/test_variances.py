"""Squared weights that a histogram stores become the template's error, in every format."""

import json

import hist
import numpy as np
import pytest
import uhi.io.json
import uproot
import yaml
from conftest import invoke

from ddphf.config.analysis import parse_analysis
from ddphf.exceptions import InputError
from ddphf.inputs.histogram import make_histogram
from ddphf.inputs.readers import read_histogram
from ddphf.symmetry.load import load_pair
from ddphf.symmetry.pair import Channel, Pair, Template
from ddphf.workspace.build import build_workspace
from ddphf.workspace.yields import resolve_pair

AXIS = hist.axis.Regular(3, 30, 60, name="mass", label="mass [GeV]")
SIGNAL, VARIANCES = np.array([2.0, 12.0, 6.0]), np.array([4.0, 24.0, 9.0])
COUNTS = np.array([110.0, 120.0, 100.0])
DATA = hist.Hist(AXIS, data=COUNTS)


def weighted(values=SIGNAL, variances=VARIANCES):
    h = hist.Hist(AXIS, storage=hist.storage.Weight())
    h.values()[...], h.variances()[...] = values, variances
    return h


def write(folder, kind):
    h, counts = weighted(), hist.Hist(AXIS, data=COUNTS)
    if kind == "root":
        with uproot.recreate(folder / "h.root") as file:
            file["s"], file["b"] = h, counts
    elif kind == "json":
        both = {"s": h, "b": counts}
        data = {k: json.loads(json.dumps(v, default=uhi.io.json.default)) for k, v in both.items()}
        (folder / "h.json").write_text(json.dumps(data))
    else:
        np.savez(
            folder / "h.npz", s=SIGNAL, s_variances=VARIANCES, b=COUNTS, edges_0=AXIS.edges,
            axis_names=np.array(["mass"]),
        )  # fmt: skip
    return f"h.{kind}"


def analysis(file, **signal):
    return {
        "schema": "ddphf/analysis/1", "name": "x", "signal_scale": "auto",
        "tested": {
            "label": "b", "observed": f"{file}:b", "signal": {"yields": f"{file}:s", **signal}
        },
        "partner": {"label": "a", "observed": f"{file}:b"},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["root", "json", "npz"])
@pytest.mark.parametrize("error", [None, "none"])
def test_variances_are_used_unless_none_is_said(tmp_path, kind, error):
    extra = {} if error is None else {"error": error}
    config = parse_analysis(yaml.safe_dump(analysis(write(tmp_path, kind), **extra)),
                            folder=tmp_path)  # fmt: skip
    built = build_workspace(load_pair(config), signal_scale=1.0)
    modifiers = built.workspace["channels"][1]["samples"][0]["modifiers"]
    errors = [m["data"] for m in modifiers if m["type"] == "shapesys"]
    assert errors == ([np.sqrt(VARIANCES).tolist()] if error is None else [])
    sources = built.metadata["modifier_sources"]
    assert list(sources.values()) == ([f"h.{kind}:s, sumw2"] if error is None else [])


def test_the_python_api_uses_them_too():
    def errors(error):
        pair = Pair(
            Channel("b", DATA, signal=Template(weighted(), error=error)), Channel("a", COUNTS)
        )
        found = resolve_pair(pair).tested.signal.error
        return None if found is None else found.tolist()

    assert errors(None) == np.sqrt(VARIANCES).tolist()
    assert errors("none") is None
    assert errors([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    with pytest.raises(InputError, match="sample 'signal', error: got 'no', expected 'none'"):
        errors("no")


def test_contents_are_not_taken_for_variances(tmp_path):
    """A TH1 without Sumw2 and a Double storage answer with their contents."""
    plain = hist.Hist(AXIS, data=SIGNAL)
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = plain
    assert plain.variances().tolist() == SIGNAL.tolist()
    assert make_histogram(plain).variances is None
    assert read_histogram("h.root:h", folder=tmp_path).variances is None
    with uproot.open(tmp_path / "h.root") as file:
        assert make_histogram(file["h"]).variances is None
    counted = weighted(COUNTS, COUNTS)  # filled with weights of 1: these are known
    assert make_histogram(counted).variances.tolist() == COUNTS.tolist()


def test_a_root_object_is_read_as_its_file_is(tmp_path):
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = weighted()
    with uproot.open(tmp_path / "h.root") as file:
        found = make_histogram(file["h"])
    assert found.variances.tolist() == VARIANCES.tolist()
    assert found.axes[0].unit == "GeV"


def test_negative_variances_are_refused():
    pair = Pair(
        Channel("b", DATA, signal=Template(weighted(SIGNAL, -VARIANCES))), Channel("a", COUNTS)
    )
    with pytest.raises(
        InputError, match=r"sample 'signal', error: .*sumw2, bin 0 .*got -4, expected >= 0: a sum"
    ):
        resolve_pair(pair)


def test_errors_of_zero_make_no_modifier():
    pair = Pair(
        Channel("b", DATA, signal=Template(weighted(SIGNAL, 0 * VARIANCES))), Channel("a", COUNTS)
    )
    assert resolve_pair(pair).tested.signal.error is None


def test_weighted_data_are_refused_or_declared():
    """Whole numbers may be sums of weights: their variances tell."""
    for channel in ("tested", "partner"):
        data = [hist.Hist(AXIS, data=COUNTS), weighted(COUNTS, 2 * COUNTS)]
        b, a = data[::-1] if channel == "tested" else data
        parts = (Channel("b", b, signal=Template(SIGNAL)), Channel("a", a))
        with pytest.raises(InputError, match="110 events with a variance of 220: weighted data ar"):
            resolve_pair(Pair(*parts))
        warnings = resolve_pair(Pair(*parts, integer_data=False)).warnings
        assert [w for w in warnings if "taken as pseudo-data" in w]
    counted = Pair(Channel("b", weighted(COUNTS, COUNTS), signal=Template(SIGNAL)),
                   Channel("a", COUNTS))  # fmt: skip
    assert resolve_pair(counted).warnings == ()


def test_weights_without_their_squares_are_said():
    """A Double storage filled with weights, as hist makes by default, has no statistical error."""
    filled = hist.Hist(AXIS)
    filled.fill(np.repeat([35.0, 45.0, 55.0], [50, 60, 40]), weight=2.0)
    assert filled.variances() is None

    def warnings(data, signal, **options):
        channels = (Channel("b", data, signal=Template(signal, **options)), Channel("a", COUNTS))
        return resolve_pair(Pair(*channels)).warnings

    assert warnings(DATA, hist.Hist(AXIS, data=SIGNAL)) == ()
    (line,) = warnings(DATA, filled)
    assert line.startswith("channel 'SR_b', sample 'signal': filled with weights into a storage")
    assert warnings(DATA, filled, error="none") == ()
    assert warnings(DATA, filled, error=np.ones(3)) == ()
    (line,) = warnings(filled, SIGNAL)
    assert "other weights than 1 would make these no counts" in line


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)])
def test_variances_of_several_axes_lie_where_the_contents_do(tmp_path, shape):
    """Contents of a TH2 and TH3 lie the other way round in a file; so do their squares."""
    axes = [
        hist.axis.Variable(np.arange(n + 1.0), name=name)
        for n, name in zip(shape, "xyz", strict=False)
    ]
    h = hist.Hist(*axes, storage=hist.storage.Weight())
    h.values()[...] = np.arange(float(np.prod(shape))).reshape(shape)
    h.variances()[...] = 0.5 + 10 * h.values()
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = h
    (tmp_path / "h.json").write_text(json.dumps(h, default=uhi.io.json.default))
    for address in ("h.root:h", "h.json"):
        found = read_histogram(f"{tmp_path}/{address}")
        assert np.array_equal(found.values, h.values())
        assert np.array_equal(found.variances, h.variances())


def test_variances_of_the_ratio_are_not_dropped_in_silence():
    ratio = weighted(np.full(3, 0.9), np.full(3, 0.01))
    pair = Pair(Channel("b", DATA, signal=Template(SIGNAL)), Channel("a", COUNTS), ratio)
    assert any("variances of the histogram are not used" in w for w in resolve_pair(pair).warnings)


def test_profiles_are_no_histograms_of_events():
    h = hist.Hist(AXIS, storage=hist.storage.Mean())
    with pytest.raises(InputError, match="is a profile"):
        make_histogram(h)
    several = hist.storage.MultiCell(2) if hasattr(hist.storage, "MultiCell") else None
    if several is not None:
        with pytest.raises(InputError, match="contents have shape"):
            make_histogram(hist.Hist(AXIS, storage=several))


def test_patch_takes_them_too(folder):
    """Without --error the new signal has the errors that its histogram has."""
    write(folder, "root")
    (folder / "a.yml").write_text(yaml.safe_dump(analysis("h.root")))
    assert invoke("build", "a.yml", "-o", "w.json").code == 0

    def errors(*options):
        signal = ("--signal", "SR_b=h.root:s", *options)
        outcome = invoke("patch", "w.json", *signal, "-o", "p.json", "--force")
        assert outcome.code == 0, outcome.err
        added = [op for op in json.loads((folder / "p.json").read_text()) if op["op"] == "add"]
        modifiers = added[-1]["value"]["modifiers"]
        return [m["data"] for m in modifiers if m["type"] == "shapesys"]

    assert errors() == [np.sqrt(VARIANCES).tolist()]
    assert errors("--error", "SR_b=none") == []


def test_patch_matches_axes_by_name(folder):
    """A signal stored with its axes in the other order is transposed, as `build` does it."""
    mass, pt = (hist.axis.Variable([0, 1, 2], name=name) for name in ("mass", "pt"))
    b, s = np.array([[110.0, 85.0], [62.0, 41.0]]), np.array([[1.0, 20.0], [2.0, 3.0]])
    other = hist.axis.Variable([0, 1, 3], name="pt")
    for name, h in (
        ("b", hist.Hist(mass, pt, data=b)), ("s", hist.Hist(mass, pt, data=s)),
        ("swapped", hist.Hist(pt, mass, data=s.T)), ("other", hist.Hist(mass, other, data=s)),
    ):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(h, default=uhi.io.json.default))
    text = {
        **analysis("x"), "partner": {"label": "a", "observed": "b.json"},
        "tested": {"label": "b", "observed": "b.json", "signal": {"yields": "s.json"}},
    }  # fmt: skip
    (folder / "a.yml").write_text(yaml.safe_dump(text))
    assert invoke("build", "a.yml", "-o", "w.json").code == 0

    def patch(name):
        signal = ("--signal", f"SR_b={name}.json")
        return invoke("patch", "w.json", *signal, "-o", f"{name}.patch", "--force")

    assert patch("s").code == 0
    assert patch("swapped").code == 0
    assert (folder / "s.patch").read_text() == (folder / "swapped.patch").read_text()
    refused = patch("other")
    assert (refused.code, "binning (mass 2 bins 0..2, pt 2 bins 0..3)" in refused.message) == (
        3, True,
    )  # fmt: skip
