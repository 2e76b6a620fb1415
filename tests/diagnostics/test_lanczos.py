"""Eigenvalues from products, against numpy's own."""

import numpy as np
import pytest

from keras_convinit.diagnostics.hessian_norm import (
    find_by_lanczos,
    find_by_largest_entry,
)

pytestmark = pytest.mark.once


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues and random eigenvectors."""
    size = len(eigenvalues)
    random = np.random.default_rng(seed).standard_normal((size, size))
    vectors, _ = np.linalg.qr(random)
    return vectors @ np.diag(eigenvalues) @ vectors.T


def start(size, seed=1):
    return np.random.default_rng(seed).standard_normal(size)


PAIRS = [(10.0, -9.7), (-10.0, 9.7), (9.7, -10.0), (10.0, 9.99)]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("seed", range(5))
def test_opposite_signs_of_nearly_equal_size(pair, seed):
    rest = np.random.default_rng(seed).uniform(-9, 9, 150)
    matrix = symmetric([*pair, *rest], seed)
    found = find_by_lanczos(lambda v: matrix @ v, start(152, seed), 100, 1e-4)
    assert found.converged
    # The error of a Rayleigh quotient is the square of the residual over the gap.
    assert found.value == pytest.approx(max(pair, key=abs), abs=1e-4)


def test_the_residual_is_that_of_the_vector_found():
    matrix = symmetric(np.linspace(-3, 7, 60))
    for steps in (2, 5, 10):
        found = find_by_lanczos(lambda v: matrix @ v, start(60), steps, 1e-9)
        assert found.iterations == steps
        assert not found.converged
        nearest = np.abs(np.linalg.eigvalsh(matrix) - found.value).min()
        assert nearest <= found.residual <= 10


def test_a_search_that_is_cut_short_says_so():
    matrix = symmetric(np.linspace(1, 2, 80))
    short = find_by_lanczos(lambda v: matrix @ v, start(80), 3, 1e-6)
    whole = find_by_lanczos(lambda v: matrix @ v, start(80), 80, 1e-6)
    assert (short.converged, whole.converged) == (False, True)
    assert abs(short.value - 2) > 1e-3
    assert whole.value == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize("eigenvalues", [[5.0], [2.0, 2.0, 2.0], [0.0, 0.0, -4.0]])
def test_few_different_eigenvalues_end_the_search_early(eigenvalues):
    matrix = symmetric(eigenvalues)
    found = find_by_lanczos(lambda v: matrix @ v, start(len(eigenvalues)), 50, 1e-6)
    assert found.converged
    assert found.iterations <= 2
    assert found.value == pytest.approx(max(eigenvalues, key=abs))


@pytest.mark.parametrize("find", [find_by_lanczos, find_by_largest_entry])
def test_a_matrix_of_zeros(find):
    found = find(np.zeros_like, start(10), 20, 1e-3)
    assert (found.value, found.residual, found.converged) == (0, 0, True)


def test_in_single_precision_no_eigenvalue_is_found_twice():
    matrix = symmetric([100.0, *np.linspace(-1, 1, 199)]).astype("float32")
    found = find_by_lanczos(
        lambda v: matrix @ v, start(200).astype("float32"), 100, 1e-6
    )
    assert found.value == pytest.approx(100, rel=1e-6)


def test_division_by_the_largest_entry_finds_an_eigenvalue_that_stands_out():
    matrix = symmetric([-8.0, *np.linspace(-2, 2, 30)])
    found = find_by_largest_entry(lambda v: matrix @ v, start(31), 40, 1e-3)
    assert found.iterations == 40
    assert found.converged
    assert found.value == pytest.approx(-8, rel=1e-6)


def test_division_by_the_largest_entry_errs_where_signs_are_opposite():
    errors = []
    for seed in range(10):
        matrix = symmetric([10.0, -9.7, *np.linspace(-5, 5, 30)], seed)
        found = find_by_largest_entry(lambda v, m=matrix: m @ v, start(32), 40, 1e-3)
        assert not found.converged
        errors.append(abs(abs(found.value) - 10))
    assert max(errors) > 0.5


def test_division_by_the_largest_entry_step_by_step():
    matrix = symmetric([3.0, -2.0, 1.0])
    vector = start(3)
    for _ in range(4):
        image = matrix @ vector
        largest = max(image, key=abs)
        vector = image / largest
    found = find_by_largest_entry(lambda v: matrix @ v, start(3), 4, 1e-3)
    assert found.value == pytest.approx(largest)
