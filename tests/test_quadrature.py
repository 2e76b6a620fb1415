import math

import numpy as np
import pytest
from scipy import integrate, stats

from keras_convinit.scales import gaussian_expectation

pytestmark = pytest.mark.once


@pytest.mark.parametrize("power", [0, 1, 2, 4, 8])
def test_moments_are_those_of_the_normal_distribution(power):
    expected = stats.norm.moment(power)
    assert gaussian_expectation(lambda z: z**power) == pytest.approx(
        expected, rel=1e-13, abs=1e-13
    )


@pytest.mark.parametrize("jump", [-2.3456, 0.0, 0.1, 1 / 3, 2.0])
def test_jumps_are_found_where_nobody_announced_them(jump):
    value = gaussian_expectation(lambda z: np.where(z > jump, 1.0, 0.0))
    assert value == pytest.approx(math.erfc(jump / math.sqrt(2)) / 2, abs=1e-11)


def test_gauss_hermite_would_not_do():
    # The reason for a quadrature of our own: the derivative of ReLU.
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    hermite = (weights * (nodes > 0)).sum() / math.sqrt(2 * math.pi)
    assert abs(hermite - 0.5) > 1e-2
    assert gaussian_expectation(lambda z: 1.0 * (z > 0)) == pytest.approx(0.5, 1e-14)


def test_against_another_quadrature():
    def function(z):
        return np.exp(-np.abs(z - 0.7)) * np.cos(5 * z)

    expected, _ = integrate.quad(
        lambda z: function(z) * stats.norm.pdf(z),
        -12,
        12,
        points=[0.7],
        epsabs=1e-13,
        limit=500,
    )
    assert gaussian_expectation(function) == pytest.approx(expected, abs=1e-12)


def test_growth_in_the_tail_is_followed():
    assert gaussian_expectation(lambda z: np.exp(6 * z)) == pytest.approx(
        math.exp(18), rel=1e-12
    )


def test_what_does_not_converge_is_not_finite():
    assert not math.isfinite(gaussian_expectation(lambda z: np.exp(z**2)))
    assert not math.isfinite(gaussian_expectation(np.log))


def test_a_function_rough_everywhere_ends():
    value = gaussian_expectation(
        lambda z: np.square(z).astype(np.float32).astype(np.float64)
    )
    assert value == pytest.approx(1, abs=1e-6)
