"""The largest eigenvalue of a symmetric matrix that is known by its products."""

import dataclasses
from collections.abc import Callable

import numpy as np

Product = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue, and how well it is known.

    Args:
        value: The eigenvalue, with its sign.
        residual: ||H v - value v|| for a vector v of length 1. Some eigenvalue of H is
            at most so far away.
        iterations: How many products the search took.
        converged: Whether the residual is within the tolerance.
    """

    value: float
    residual: float
    iterations: int
    converged: bool


def lanczos(
    product: Product, start: np.ndarray, max_iterations: int, tolerance: float
) -> Eigenvalue:
    """The eigenvalue of largest magnitude, by the method of Lanczos.

    Both ends of the spectrum are followed at once, so that a pair of opposite signs
    and nearly equal size does no harm; power iteration would mix the two.

    Args:
        product: H times a vector.
        start: A vector that is not orthogonal to what is looked for.
        max_iterations: Products at most, and vectors of that size kept at most; one
            more product measures the residual.
        tolerance: Of the residual, relative to the eigenvalue.

    Returns:
        The eigenvalue.
    """
    basis = [start / np.linalg.norm(start)]
    buffer = np.empty_like(start)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        vector = product(basis[-1])
        diagonal.append(float(basis[-1] @ vector))
        vector -= diagonal[-1] * basis[-1]
        _remove(vector, basis, buffer)
        rest = float(np.linalg.norm(vector))
        values, vectors = np.linalg.eigh(
            np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        )
        best = int(np.argmax(np.abs(values)))
        size = abs(values[best])
        residuals = rest * np.abs(vectors[-1])
        # The other end of the spectrum may still grow beyond this one.
        other = 0 if best else -1
        settled = residuals[best] <= tolerance * size and (
            abs(values[other]) + residuals[other] <= (1 + tolerance) * size
        )
        exhausted = rest <= 10 * np.finfo(vector.dtype).eps * size
        if settled or exhausted or len(diagonal) == max_iterations:
            break
        beside.append(rest)
        basis.append(vector / rest)
    pairs = zip(vectors[:, best], basis, strict=True)
    ritz = sum(part * earlier for part, earlier in pairs)
    ritz = ritz / np.linalg.norm(ritz)
    image = product(ritz)
    value = float(ritz @ image)
    residual = float(np.linalg.norm(image - value * ritz))
    converged = bool(settled or exhausted) and residual <= tolerance * abs(value)
    return Eigenvalue(value, residual, len(diagonal), converged)


def _remove(vector: np.ndarray, basis: list[np.ndarray], buffer: np.ndarray) -> None:
    """Makes a vector orthogonal to those before it.

    What rounding leaves of them would come back as copies of eigenvalues that have been
    found. Where little is left of the vector it is done again; twice is enough.
    """
    for _ in range(2):
        before = np.linalg.norm(vector)
        for earlier in basis:
            np.multiply(earlier, earlier @ vector, out=buffer)
            vector -= buffer
        if np.linalg.norm(vector) > 0.7 * before:
            return


def largest_entry_iteration(
    product: Product, start: np.ndarray, iterations: int, tolerance: float
) -> Eigenvalue:
    """Power iteration that divides by the entry of largest magnitude, sign included.

    What it gives is that entry of the last product. Where two eigenvalues of opposite
    sign are nearly equal in size it goes up and down between too much and too little.

    Args:
        product: H times a vector.
        start: The first vector, taken as it is.
        iterations: How many products.
        tolerance: Of the residual, relative to the eigenvalue; nothing stops there.

    Returns:
        The eigenvalue.
    """
    vector = start
    for _ in range(iterations):
        image = product(vector)
        value = float(image[np.argmax(np.abs(image))])
        if value == 0:
            break
        residual = float(np.linalg.norm(image - value * vector))
        residual /= float(np.linalg.norm(vector))
        vector = image / value
    if value == 0:
        return Eigenvalue(0.0, 0.0, iterations, True)
    return Eigenvalue(value, residual, iterations, residual <= tolerance * abs(value))
