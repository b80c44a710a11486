"""Tables of maps: what their columns mean, and what is refused by name."""

import numpy as np
import pytest

from ddphf.exceptions import InputError
from ddphf.inputs.map_files import read_map


def read(folder, text, file="map.csv", **options):
    (folder / file).write_text(text)
    return read_map(file, name="m", kind="scale_factor", folder=folder, **options)


@pytest.mark.parametrize(
    "name",
    [
        "error", "err", "trigger", "n", "total", "tag_up", "sys_uncorr", "stat_corr", "stat_syst",
        "uncorrelated_syst", "sys_up_err", "stat_err_from_2photon",
    ],
)  # fmt: skip
def test_a_column_of_unknown_meaning_is_refused_with_its_remedy(tmp_path, name):
    text = f"pt_low,pt_high,value,{name}\n10,20,.9,.01\n20,50,.8,.02\n"
    with pytest.raises(
        InputError,
        match=rf"map.csv: column '{name}' is neither declared nor known by name; .* what it is: "
        rf"{{statistical: {name}}} \(independent in each bin\), {{sources: \[{name}\]}} \(fully "
        rf"correlated between the bins\) or {{ignore: \[{name}\]}}",
    ):
        read(tmp_path, text)
    as_statistical = read(tmp_path, text, columns={"statistical": name})
    assert (as_statistical.statistical.tolist(), as_statistical.sources) == ([0.01, 0.02], {})
    as_source = read(tmp_path, text, columns={"sources": [name]})
    assert as_source.statistical.tolist() == [0, 0]
    assert as_source.sources[name].tolist() == [0.01, 0.02]
    ignored = read(tmp_path, text, columns={"ignore": [name]})
    assert (ignored.statistical.tolist(), ignored.sources) == ([0, 0], {})
    named = read(tmp_path, text, named=[name])  # as by 'shared' or 'exclude'
    assert list(named.sources) == [name]


@pytest.mark.parametrize(
    ("header", "row", "statistical", "sources"),
    [
        ("value,stat", ".9,.01", 0.01, {}),
        ("value,Stat,sys", ".9,.01,.02", 0.01, {"sys": 0.02}),
        ("value,statistical,tag_syst", ".9,.01,-.02", 0.01, {"tag_syst": -0.02}),
        ("value,stat_unc,sys_unc", ".9,.01,.02", 0.01, {"sys_unc": 0.02}),
        ("value,ratio_stat_err,ratio_syst_err", ".9,.01,.02", 0.01, {"ratio_syst_err": 0.02}),
        ("value,stat_up,stat_dn", ".9,.01,.02", 0.015, {}),
        ("value,stat_up,stat_down", ".9,.01,-.03", 0.02, {}),
        ("value,tag_up,tag_down", ".9,.01,.03", 0.0, {"tag": 0.02}),
        ("value,tag_up,tag_down", ".9,-.01,.03", 0.0, {"tag": -0.02}),
        ("value,a_up,a_down,b_up,b_down", ".9,.1,.1,.2,.2", 0.0, {"a": 0.1, "b": 0.2}),
    ],
)
def test_columns_known_by_name(tmp_path, header, row, statistical, sources):
    m = read(tmp_path, f"pt_low,pt_high,{header}\n10,20,{row}\n")
    assert m.statistical[0] == pytest.approx(statistical, abs=1e-15)
    assert {key: shift[0] for key, shift in m.sources.items()} == pytest.approx(sources)
    assert m.warnings == ()


def test_errors_whose_correlation_a_name_does_not_say_are_said(tmp_path):
    m = read(tmp_path, "pt_low,pt_high,value,unc,n_pass,n_total\n10,20,.9,.01,90,100\n")
    assert m.sources["unc"].tolist() == [0.01]
    assert [w[:60] for w in m.warnings] == [
        "map.csv: column 'unc' is taken as fully correlated between t",
        "map.csv: columns 'n_pass', 'n_total' are taken for counts an",
    ]
    declared = {"sources": ["unc"], "ignore": ["n_pass", "n_total"]}
    assert read(tmp_path, (tmp_path / "map.csv").read_text(), columns=declared).warnings == ()


def test_a_pair_whose_name_says_independent_is_no_source(tmp_path):
    text = "pt_low,pt_high,value,sys_uncorr_up,sys_uncorr_down\n10,20,.9,.01,.01\n"
    with pytest.raises(InputError, match="'sys_uncorr_up', 'sys_uncorr_down' are neither"):
        read(tmp_path, text)
    pair = ["sys_uncorr_up", "sys_uncorr_down"]
    assert read(tmp_path, text, columns={"statistical": pair}).statistical.tolist() == [0.01]


def test_varied_values_are_no_errors(tmp_path):
    text = "pt_low,pt_high,value,sf_up,sf_down\n10,20,.9,.95,.87\n20,50,.8,.79,.82\n"
    with pytest.raises(InputError, match=r"'sf_up' and 'sf_down' lie around the value .0\.95 and"):
        read(tmp_path, text)
    m = read(tmp_path, text, varied=True)
    assert m.sources["sf"] == pytest.approx([0.04, -0.015])
    one = read(tmp_path, text, varied=True, columns={"sources": ["sf_up"], "ignore": ["sf_down"]})
    assert one.sources["sf_up"] == pytest.approx([0.05, -0.01])


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (
            "eff",
            {},
            r"no column 'value'; it has: eff; name it in the map's 'columns': {value: eff}",
        ),
        ("value,stat,statistical", {}, "'stat' and 'statistical' are both statistical errors"),
        ("value,a", {"sources": ["b"]}, "no column 'b'; it has: value, a"),
        ("value,a", {"sources": ["a"], "ignore": ["a"]}, "column 'a' is declared twice"),
        ("value,a_up,a_down", {"sources": {"a": "a_up"}}, "column 'a_down' is neither declared"),
        ("value,tag,tag_up,tag_down", {"sources": ["tag"]}, "source 'tag' is there twice"),
        ("value,", {}, "column 4 has no name in the header"),
    ],
)
def test_declarations_that_do_not_fit_are_refused(tmp_path, header, columns, message):
    row = ",".join([".9", ".01", ".01", ".01"][: header.count(",") + 1])
    with pytest.raises(InputError, match=message):
        read(tmp_path, f"pt_low,pt_high,{header}\n10,20,{row}\n", columns=columns)


def test_tables_of_belle_ii(tmp_path):
    """p and theta with _min and _max, a column of charges, errors up and down."""
    text = (
        "p_min,p_max,theta_min,theta_max,charge,data_MC_ratio,data_MC_uncertainty_stat_up,"
        "data_MC_uncertainty_stat_dn,data_MC_uncertainty_sys_up,data_MC_uncertainty_sys_dn,cut\n"
        "0.5,1.5,0.3,1.2,+,0.97,0.01,0.014,0.006,0.004,0.9\n"
        "0.5,1.5,1.2,2.6,+,0.96,0.01,0.010,0.006,0.004,0.9\n"
        "0.5,1.5,0.3,2.6,-,0.95,0.02,0.020,0.003,0.003,0.9\n"
    )
    with pytest.raises(InputError, match=r"no column 'value'.*{value: data_MC_ratio}"):
        read(tmp_path, text)
    m = read(tmp_path, text, columns={"value": "data_MC_ratio", "ignore": ["cut"]})
    assert m.axes == ("p", "theta", "charge")
    assert m.statistical == pytest.approx([0.012, 0.01, 0.02])
    assert m.sources["data_MC_uncertainty_sys"] == pytest.approx([0.005, 0.005, 0.003])
    p, theta = np.array([1.0, 1.0, 1.0, 2.0]), np.array([0.5, 2.0, 2.0, 2.0])
    pt, eta = p * np.sin(theta), -np.log(np.tan(theta / 2))
    found = m.locate(pt=pt, eta=eta, charge=np.array([1.0, 1, -1, 1]))
    assert found.tolist() == [0, 1, 2, -1]


def test_the_numbers_of_rows_are_no_column(tmp_path):
    text = ",pt_low,pt_high,value\n0,10,20,.9\n1,20,50,.8\n"
    assert read(tmp_path, text).values.tolist() == [0.9, 0.8]
    with pytest.raises(InputError, match="column 1 has no name in the header"):
        read(tmp_path, text.replace("1,20", "7,20"))


@pytest.mark.parametrize(("file", "separator"), [("a.txt", " "), ("a.dat", "\t"), ("a.csv", ";")])
def test_any_separator(tmp_path, file, separator):
    text = "pt_low,pt_high,value\n10,20,.9\n20,50,.8\n".replace(",", separator)
    assert read(tmp_path, text, file).locate(pt=np.array([20.0])).tolist() == [1]


def test_edges_that_differ_by_rounding_are_one(tmp_path):
    """As numpy.arange writes them: neighbours overlap by one last digit, or leave a gap."""
    low = np.arange(-2.4, 2.4, 0.3)
    high = low + 0.3
    assert np.any(high[:-1] != low[1:])
    rows = [f"{a!r},{b!r},.9" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    m = read(tmp_path, "\n".join(["eta_low,eta_high,value", *rows]) + "\n")
    assert m.locate(eta=(low + high) / 2).tolist() == list(range(16))
    assert np.all(m.locate(eta=np.concatenate([low, high[:-1]])) >= 0)
    with pytest.raises(InputError, match="overlap"):  # a real one
        read(tmp_path, "pt_low,pt_high,value\n10,20.01,.9\n20,30,.8\n")
    gap = read(tmp_path, "pt_low,pt_high,value\n10,20,.9\n20.01,30,.8\n")
    assert gap.locate(pt=np.array([20.005])).tolist() == [-1]
