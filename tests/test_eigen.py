"""Covariances and their eigen-variations: worked numbers, closed forms, C = G G^T, memory."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyhf
import pytest

from ddphf.exceptions import InputError, ModelError
from ddphf.inputs.covariance import (
    axis_correlation,
    combine_covariances,
    make_covariance,
    read_matrix,
    rho_covariance,
    source_covariance,
)
from ddphf.workspace.eigen import decompose, psd_factor, round_columns

U = np.array([0.010, 0.008, 0.006, 0.005, 0.004, 0.004, 0.006])


def along_axis(sigma, rho):
    return make_covariance(rho_covariance(sigma, [axis_correlation(np.arange(len(sigma)), rho)]))


def random_problem(seed=0, rows=300, bins=20):
    rng = np.random.default_rng(seed)
    root = 0.01 * rng.standard_normal((bins, bins))
    return make_covariance(root @ root.T), rng.dirichlet(np.ones(bins), size=rows)


def test_eigenvalues_of_seven_momentum_bins():
    values = decompose(along_axis(U, 0.5), np.eye(7)).eigenvalues
    printed = [1.786413e-4, 4.053665e-5, 2.469751e-5, 1.8e-5, 1.376706e-5, 9.357469e-6, 8e-6]
    assert values == pytest.approx(printed, rel=5e-7)
    assert decompose(along_axis(U, 1.0), np.eye(7)).eigenvalues == pytest.approx(
        [2.93e-4], rel=1e-12
    )


@pytest.mark.parametrize("rho", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_equal_errors_have_a_closed_form(rho):
    sigma = 0.01
    values = decompose(along_axis(np.full(7, sigma), rho), np.eye(7)).eigenvalues
    expected = [sigma**2 * (1 + 6 * rho)] + ([sigma**2 * (1 - rho)] * 6 if rho < 1 else [])
    assert values == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_columns_give_the_covariance_and_are_orthogonal(seed):
    covariance, w = random_problem(seed)
    eigen = decompose(covariance, w)
    full = w @ covariance.matrix @ w.T
    back = eigen.columns @ eigen.columns.T
    assert np.linalg.norm(back - full) / np.linalg.norm(full) < 1e-12
    gram = eigen.columns.T @ eigen.columns
    assert np.abs(gram - np.diag(eigen.eigenvalues)).max() < 1e-14 * eigen.eigenvalues[0]
    exact = np.linalg.eigvalsh(full)[::-1][: len(eigen.eigenvalues)]
    assert eigen.eigenvalues == pytest.approx(exact, abs=1e-13 * exact[0])
    assert np.all(np.diff(eigen.eigenvalues) <= 0)
    largest = np.argmax(np.abs(eigen.columns), axis=0)
    assert np.all(eigen.columns[largest, np.arange(eigen.n_kept)] > 0)
    assert np.allclose(w @ eigen.directions, eigen.columns, rtol=0, atol=1e-15)


def test_the_calibration_eigenvectors_alone_would_not_do():
    """W V sqrt(U) of C_calib gives C too, but not its eigen-variations."""
    covariance, w = random_problem()
    values, vectors = np.linalg.eigh(covariance.matrix)
    naive = w @ (vectors * np.sqrt(values))
    gram = naive.T @ naive
    assert np.abs(gram - np.diag(np.diag(gram))).max() > 1e-3 * gram.max()


def test_degenerate_basis_does_not_depend_on_the_linear_algebra():
    """C that is made another way, equal up to rounding, has the same columns."""
    covariance = along_axis(np.full(7, 0.01), 0.25)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((7, 7)))
    turned = make_covariance(turn.T @ covariance.matrix @ turn)
    one = decompose(covariance, np.eye(7)).columns
    factor, _ = psd_factor(turned)
    other = decompose(make_covariance(turn @ factor @ factor.T @ turn.T), np.eye(7)).columns
    assert one == pytest.approx(other, abs=1e-12)


KERNELS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_eigen import decompose, random_problem
np.save(sys.argv[2], decompose(*random_problem()).columns)
"""


def test_the_covariance_does_not_depend_on_the_linear_algebra_kernels(tmp_path):
    """C is promised everywhere, the last digits of G only where the same library runs."""
    found = []
    for kernel in ("Prescott", "Haswell"):  # OpenBLAS alone reads it; others run twice alike
        path = tmp_path / f"{kernel}.npy"
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
        command = [sys.executable, "-c", KERNELS, str(Path(__file__).parent), str(path)]
        subprocess.run(command, env=environment, check=True, cwd=tmp_path, capture_output=True)
        found.append(np.load(path))
    one, two = (g @ g.T for g in found)
    assert np.linalg.norm(one - two) < 1e-13 * np.linalg.norm(one)
    assert found[0] == pytest.approx(found[1], abs=1e-9 * np.abs(found[0]).max())


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_rounding_changes_the_covariance_by_no_more_than_stated(tolerance):
    columns = decompose(*random_problem()).columns
    rounded, bound = round_columns(columns, tolerance)
    before, after = columns @ columns.T, rounded @ rounded.T
    change = np.abs(before - after).max()
    assert 0 < change <= bound <= tolerance * np.diag(before).max()


def test_nothing_of_the_size_of_the_covariance_is_formed():
    rows, bins = 2 * 784, 108
    covariance, w = random_problem(rows=rows, bins=bins)
    tracemalloc.start()
    decompose(covariance, w)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * 8 * rows**2


def test_symmetric_histosys_is_linear_in_pyhf():
    """code4p with lo = 2 nominal - hi is a straight line: a relative variation stays one."""
    nominal, g = np.array([100.0, 50.0]), np.array([0.02, -0.03])
    data = {"hi_data": list(nominal * (1 + g)), "lo_data": list(nominal * (1 - g))}
    sample = {"name": "s", "data": list(nominal), "modifiers": []}
    sample["modifiers"] = [
        {"name": "a", "type": "histosys", "data": data},
        {"name": "mu", "type": "normfactor", "data": None},
    ]
    spec = {"channels": [{"name": "c", "samples": [sample]}]}
    settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    model = pyhf.Model(spec, poi_name="mu", modifier_settings=settings)
    for alpha in np.linspace(-4, 4, 33):
        point = [alpha if name == "a" else 1.0 for name in model.config.par_names]
        expected = nominal * (1 + g * alpha)
        assert model.expected_actualdata(point) == pytest.approx(expected, rel=1e-12)


def test_sources_and_axes_make_the_matrix():
    stat, shift = np.array([0.01, 0.02]), np.array([0.003, -0.004])
    matrix = source_covariance(stat, {"one": shift})
    assert matrix == pytest.approx(np.diag(stat**2) + np.outer(shift, shift), abs=1e-18)
    # Four bins of a 2 x 2 map: rho along the first axis, full along the second.
    momentum, angle = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    sigma = np.array([1.0, 2.0, 3.0, 4.0])
    factors = [axis_correlation(momentum, 0.25), axis_correlation(angle, 1.0)]
    expected = np.outer(sigma, sigma) * np.where(momentum[:, None] == momentum[None], 1, 0.25)
    assert rho_covariance(sigma, factors) == pytest.approx(expected, abs=1e-15)


def test_maps_are_stacked_and_a_shared_source_correlates_them():
    a, b = np.array([0.01, 0.02]), np.array([0.03])
    blocks = [make_covariance(np.outer(a, a)), make_covariance(np.outer(b, b))]
    assert combine_covariances(blocks).matrix[0, 2] == 0
    joint = combine_covariances(blocks, [[a, b]])
    both = np.concatenate([a, b])
    assert joint.matrix == pytest.approx(np.outer(both, both), abs=1e-18)
    assert decompose(joint, np.eye(3)).n_kept == 1


def test_a_negative_eigenvalue_is_refused_or_clipped_and_said():
    matrix = [[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]]
    covariance = make_covariance(matrix, labels=["first", "second", "third"])
    message = (
        r"eigenvalue -0\.272792 is negative, -0\.12 of the largest \(2\.27279\), mostly second"
    )
    with pytest.raises(ModelError, match=message):
        decompose(covariance, np.eye(3))
    eigen = decompose(covariance, np.eye(3), psd_tolerance=0.13)
    assert eigen.clipped == pytest.approx((1 - 0.9 * np.sqrt(2),), rel=1e-12)
    # Rounding below zero is no error and not worth a word.
    assert decompose(make_covariance(np.ones((3, 3))), np.eye(3)).clipped == ()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0]], r"shape \(1, 2\), expected a square matrix"),
        ([[1.0, 0.5], [0.4, 1.0]], r"not symmetric, element \(0, 1\) is 0\.5 but \(1, 0\) is 0\.4"),
        ([[1.0, np.nan], [np.nan, 1.0]], r"element \(0, 1\) is nan, expected a finite number"),
        ([["a", "b"], ["c", "d"]], "holds something that is no number"),
    ],
)
def test_what_is_no_covariance_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        make_covariance(matrix)


def test_wrong_sizes_are_refused():
    with pytest.raises(InputError, match=r"2 x 2 matrix for 3 calibration bins"):
        make_covariance(np.eye(2), labels=["a", "b", "c"])
    with pytest.raises(ModelError, match=r"shape \(5, 3\), expected one column for each of the 2"):
        decompose(make_covariance(np.eye(2)), np.ones((5, 3)))
    with pytest.raises(ModelError, match=r"element \(0, 1\) is -1"):
        decompose(make_covariance(np.eye(2)), np.array([[1.0, -1.0]]))
    with pytest.raises(InputError, match=r"rho is 1\.5, expected a number from 0 to 1"):
        axis_correlation(np.arange(3), 1.5)


def test_matrices_are_read_from_every_format(tmp_path):
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    np.savez(tmp_path / "c.npz", cov=matrix, other=np.eye(3))
    np.save(tmp_path / "c.npy", matrix)
    (tmp_path / "c.csv").write_text("# relative\n2,1\n1,2\n")
    for address in ("c.npz:cov", "c.npy", "c.csv"):
        assert np.array_equal(read_matrix(address, folder=tmp_path), matrix)
    (tmp_path / "ragged.csv").write_text("2,1\n1\n")
    (tmp_path / "bad.npz").write_text("PK")
    (tmp_path / "c.csv").write_text("\ufeff2,1\n1,2\n", encoding="utf-8")  # as spreadsheets write
    assert np.array_equal(read_matrix("c.csv", folder=tmp_path), matrix)
    np.savez(tmp_path / "odd.npz", complex=matrix + 1j, text=matrix.astype(str))
    for address, message in (
        ("odd.npz:complex", "holds complex128, expected real numbers"),
        ("odd.npz:text", "holds <U32, expected real numbers"),
        ("x" * 300 + ".csv", "no file"),
        ("c.npz:missing", "no array 'missing'; the file has: cov, other"),
        ("ragged.csv", "rows of unequal length"),
        ("bad.npz", "no zip archive"),
        ("absent.npy", "no file"),
        ("c.txt", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            read_matrix(address, folder=tmp_path)
