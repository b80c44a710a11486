"""Matrices as text, however a program writes them."""

import io

import numpy as np
import pytest

from ddphf.exceptions import InputError
from ddphf.inputs.covariance import read_matrix

MATRIX = np.array([[4e-4, 1e-4, -2e-5], [1e-4, 9e-4, 3e-5], [-2e-5, 3e-5, 1e-3]])


def saved(delimiter, header=""):
    stream = io.StringIO()
    np.savetxt(stream, MATRIX, delimiter=delimiter, header=header)
    return stream.getvalue()


def named(separator, columns, rows=None):
    lines = [separator.join(columns)]
    for index, row in enumerate(MATRIX):
        lines.append(separator.join([*([] if rows is None else [rows[index]]), *map(str, row)]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("c.csv", saved(",")),
        ("c.csv", saved(" ")),
        ("c.txt", saved(" ")),
        ("c.txt", saved("   ", "three bins")),
        ("c.dat", saved("\t")),
        ("c.tsv", saved("\t")),
        ("c.csv", saved(";")),
        ("c.csv", saved(",").replace("\n", ",\n")),
        ("c.csv", named(",", ["b0", "b1", "b2"])),
        ("c.csv", named(",", ["", "b0", "b1", "b2"], ["b0", "b1", "b2"])),
        ("c.csv", named(",", ["", "0", "1", "2"], ["0", "1", "2"])),  # DataFrame.to_csv
        ("c.csv", named(",", ["0", "1", "2"])),
        ("c.csv", named(",", ["bin", "0", "1", "2"], ["0", "1", "2"])),
        ("c.txt", named(" ", ["b0", "b1", "b2"], ["b0", "b1", "b2"])),  # write.table of R
        ("c.csv", "4e-4,,\n1e-4,9e-4,\n-2e-5,3e-5,1e-3\n"),
        ("c.csv", "4e-4,1e-4,-2e-5\n,9e-4,3e-5\n,,1e-3\n"),
    ],
)
def test_every_layout_is_the_same_matrix(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert np.array_equal(read_matrix(file, folder=tmp_path), MATRIX)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1;0,5\n0,5;1\n", r"row 1, column 2: got '0,5', expected a number with a decimal point"),
        ("1,2\n3\n", "rows of unequal length"),
        ("1,,\n,1,\n,,1\n", r"not a table of numbers \(row 1, column 2: got ''"),
        (
            named(",", ["", "b0", "b1", "b2"], ["b0", "b2", "b1"]),
            "rows are named b0, b2, b1, columns b0, b1, b2; give both in the order of the map",
        ),
        ("# only words\n", "not a table of numbers .empty."),
        ("1,x\nx,1\n", "column 2: got 'x'|column 1: got 'x'"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_matrix("c.csv", folder=tmp_path)


def test_a_name_in_a_text_file_is_refused(tmp_path):
    (tmp_path / "c.csv").write_text("1,0\n0,1\n")
    with pytest.raises(InputError, match="a text file holds one matrix; leave ':tested' out"):
        read_matrix("c.csv:tested", folder=tmp_path)
