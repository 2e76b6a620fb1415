"""Second moments of activations and their derivatives, for Gaussian pre-activations.

The rules of both papers need one number for each activation: the factor on the variance
of the weights that compensates the activation.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from keras_convinit._checks import check_positive
from keras_convinit._closed_forms import Function
from keras_convinit._types import ActivationLike
from keras_convinit.activations import resolve_activation

# Where the activations of Keras have kinks, as pre-activations.
KINKS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0)

# Gauss-Legendre. Even, so that no node is the midpoint of a panel, where a kink may be.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)

# The density is below 1e-195 outside, so only a function that grows faster than a
# Gaussian decays has weight there.
LIMIT = 30.0

# 2^-50 of a panel is below the resolution of float64 for panels of width 1.
BISECTIONS = 50


def forward_scale(activation: ActivationLike, variance: float = 1.0) -> float:
    """Computes the numerator of Var(w) that preserves the forward second moment.

    With pre-activations x ~ N(0, v), a layer of `fan_in` inputs phi(x) and weights of
    variance `forward_scale / fan_in` has outputs of variance v again:

        forward_scale = v / E[phi(sqrt(v) z)^2],  z ~ N(0, 1).

    *Scale* is Keras' word for the numerator of a variance: `VarianceScaling(scale=2)`
    is He's rule. For an activation that is not homogeneous, such as tanh, the value
    holds at the assumed variance only.

    Args:
        activation: The activation that precedes the layer: None, the name of a Keras
            activation, an activation layer such as `LeakyReLU(0.25)`, or any
            elementwise function.
        variance: v, the variance of the pre-activations, a positive number.

    Returns:
        The scale, accurate to 1e-10, or to 1e-6 where the function computes in
        float32.

    Raises:
        ValueError: `activation` is unknown or not elementwise, or its second moment is
            zero or infinite; `variance` is not a finite positive number.

    Example:
        >>> from keras_convinit import forward_scale
        >>> round(forward_scale("relu"), 6)
        2.0
        >>> round(forward_scale("tanh"), 4)
        2.5362

    Reference:
        Zhang et al. 2022, *Necessary conditions for convergence of CNNs and
        initialization of convolution kernels*, eq. 22, with lambda read as
        E[phi(x)^2] / Var(x): the text below that equation defines its reciprocal.
    """
    return _compute_scale(_compute_forward, activation, variance)


def backward_scale(activation: ActivationLike, variance: float = 1.0) -> float:
    """Computes the numerator of Var(w) that preserves the second moment of errors.

    With pre-activations x ~ N(0, v), a backpropagated error that passes weights of
    variance `backward_scale / fan_out` and the derivative phi'(x) keeps its variance:

        backward_scale = 1 / E[phi'(sqrt(v) z)^2],  z ~ N(0, 1).

    Args:
        activation: The activation that follows the layer: None, the name of a Keras
            activation, an activation layer, or any elementwise function that the
            backend can differentiate.
        variance: v, the variance of the pre-activations, a positive number.

    Returns:
        The scale, accurate to 1e-10, or to 1e-6 where the function computes in
        float32.

    Raises:
        ValueError: `activation` is unknown, not elementwise or not differentiable, or
            the second moment of its derivative is zero or infinite; `variance` is not
            a finite positive number.

    Example:
        >>> from keras_convinit import backward_scale
        >>> round(backward_scale("relu"), 6)
        2.0
        >>> round(backward_scale("tanh"), 4)
        2.1533

    Reference:
        Zhang et al. 2022, eq. 34, with the derivative taken at the pre-activation:
        eq. 26 to 37 apply it to the error signal itself.
    """
    return _compute_scale(_compute_backward, activation, variance)


def _compute_forward(activation: ActivationLike, variance: float) -> float:
    phi = resolve_activation(activation)
    return variance / _compute_second_moment(phi.value, variance, phi.precision)


def _compute_backward(activation: ActivationLike, variance: float) -> float:
    phi = resolve_activation(activation)
    return 1 / _compute_second_moment(phi.derivative, variance, phi.precision)


def _compute_second_moment(
    function: Function, variance: float, precision: type
) -> float:
    std = math.sqrt(variance)
    return gaussian_expectation(
        lambda z: np.square(function(std * z)),
        breakpoints=[kink / std for kink in KINKS],
        tolerance=1e-14 if precision == np.float64 else 1e-8,
    )


def _compute_scale(
    rule: Callable[[ActivationLike, float], float],
    activation: ActivationLike,
    variance: float,
) -> float:
    variance = check_positive("variance", variance)
    named = activation is None or isinstance(activation, str)
    try:
        # A name always means the same function; an object may change.
        scale = (_apply_cached if named else _apply)(rule, activation, variance)
    except ZeroDivisionError:
        scale = math.inf
    if not 0 < scale < math.inf:
        raise ValueError(
            "`activation` must have a finite second moment that is not zero, and so "
            "must its derivative where an error signal passes it. "
            f"Received: activation={activation!r}, variance={variance}"
        )
    return scale


def _apply(
    rule: Callable[[ActivationLike, float], float],
    activation: ActivationLike,
    variance: float,
) -> float:
    return rule(activation, variance)


_apply_cached = functools.lru_cache(maxsize=256)(_apply)


def gaussian_expectation(
    function: Function,
    breakpoints: Sequence[float] = (),
    tolerance: float = 1e-14,
) -> float:
    """Computes E[function(z)], z ~ N(0, 1), by adaptive composite Gauss-Legendre.

    Gauss-Hermite, the usual choice, errs in the first or second digit where the
    function jumps, as the derivative of ReLU does. Here each panel is halved until two
    levels agree, which resolves kinks and jumps anywhere.

    Args:
        function: Maps an array of shape `(n,)` to one of the same shape.
        breakpoints: Points where the function may have kinks; a panel ends at each,
            which saves bisections.
        tolerance: Error allowed in a panel, relative to the whole.

    Returns:
        The expectation; inf or nan where the integral does not converge.
    """
    regular = np.arange(-LIMIT, LIMIT + 1)
    inner = [point for point in breakpoints if -LIMIT < point < LIMIT]
    edges = np.union1d(regular, inner)
    left, right = edges[:-1], edges[1:]

    coarse = _integrate_panels(function, left, right)
    whole = np.abs(coarse).sum()
    if not np.isfinite(whole) or np.abs(coarse[[0, -1]]).sum() > tolerance * whole:
        return float("nan" if np.isnan(whole) else "inf")

    total = 0.0
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        halves = _integrate_panels(function, np.r_[left, middle], np.r_[middle, right])
        lower, upper = np.split(halves, 2)
        fine = lower + upper
        open_ = np.abs(fine - coarse) > tolerance * whole
        total += float(fine[~open_].sum())
        left, right = (
            np.r_[left[open_], middle[open_]],
            np.r_[middle[open_], right[open_]],
        )
        coarse = np.r_[lower[open_], upper[open_]]
        if not left.size:
            break
        # A function that is rough everywhere (one computed in lower precision than
        # its tolerance says) is not worth more: its noise averages out.
        if left.size > 4096:
            break
    return total + float(coarse.sum())


def _integrate_panels(
    function: Function, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Integrates over each panel, density included."""
    half = (right - left) / 2
    z = (left + half)[:, None] + half[:, None] * NODES
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    with np.errstate(all="ignore"):
        values = function(z.ravel()).reshape(z.shape)
        return half * ((values * density) @ WEIGHTS)
