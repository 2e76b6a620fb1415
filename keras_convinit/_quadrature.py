"""Expectations over a standard normal variable, to about machine precision."""

from collections.abc import Callable, Sequence

import numpy as np

# Even, so that no node is the midpoint of a panel, where a kink may sit.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)

# The density is below 1e-195 outside, so only a function that grows faster than a
# Gaussian decays has weight there.
LIMIT = 30.0

# 2^-50 of a panel is below the resolution of float64 for panels of width 1.
BISECTIONS = 50


def gaussian_expectation(
    function: Callable[[np.ndarray], np.ndarray],
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
    function: Callable[[np.ndarray], np.ndarray], left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Integrates over each panel, density included."""
    half = (right - left) / 2
    z = (left + half)[:, None] + half[:, None] * NODES
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    with np.errstate(all="ignore"):
        values = function(z.ravel()).reshape(z.shape)
        return half * ((values * density) @ WEIGHTS)
