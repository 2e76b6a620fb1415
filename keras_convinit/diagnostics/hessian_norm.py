"""The spectral norm of the Hessian of a model's loss."""

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_convinit import _data, backend
from keras_convinit._checks import check_positive, check_positive_int
from keras_convinit._loss import (
    Loss,
    check_loss_on_few,
    identify_loss,
    list_variables,
    make_stateless_loss,
    resolve_loss,
    sums_over_samples,
)
from keras_convinit._types import DataLike, KerasModel, LossLike, Nest, Tensor


@dataclasses.dataclass(frozen=True)
class HessianNorm:
    """Spectral norm of the Hessian of a loss.

    Args:
        value: Largest magnitude of an eigenvalue.
        residual: ||H v - eigenvalue v|| for the vector v of length 1 that was found.
            The eigenvalue is at most so far from one of H.
        iterations: Number of Hessian-vector products that the search took.
        converged: Whether the residual is within the tolerance.
        eigenvalue: The eigenvalue with its sign.

    Example:
        >>> from keras_convinit import HessianNorm
        >>> norm = HessianNorm(100.0, 0.05, 12, True, eigenvalue=-100.0)
        >>> norm.log10
        2.0
    """

    value: float
    residual: float
    iterations: int
    converged: bool
    eigenvalue: float

    @property
    def log10(self) -> float:
        """Decimal logarithm of the value, in which the paper reports it."""
        return math.log10(self.value) if self.value > 0 else -math.inf


def hessian_norm(
    model: KerasModel,
    x: DataLike,
    y: DataLike = None,
    loss: LossLike = None,
    *,
    method: str = "lanczos",
    batch_size: int = 256,
    max_iterations: int | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> HessianNorm:
    """Computes the largest |eigenvalue| of the Hessian of a loss.

    The Hessian is that with respect to all trainable variables, at the model's weights,
    of the loss on just these samples, with the model in inference mode: no dropout, and
    batch normalization by its moving averages. It is known by its products with
    vectors, each of which costs about two training steps; they are compiled once for a
    model. Every iteration keeps a vector of the size of all weights. The model is left
    as it is. Where a function of the model has a gradient of its own, that must have a
    derivative as well.

    `method="paper"` computes as the code of the paper did, for comparing with its Table
    2: 40 products from a normal vector, each divided by its entry of largest
    magnitude, the last of which is the result. Unlike the paper, it uses the same
    samples in every iteration, the model in inference mode, and a true mean over
    batches; the original drew other, augmented samples each time, normalized by their
    own statistics, and came out 2.8 % low.

    Args:
        model: A built model.
        x: Inputs: an array, a tensor, a table, or a list or dict of them; or a data
            set, of which the first batch is taken, as of `signal_report`.
        y: Labels, likewise; None for those of the data set `x`.
        loss: None for that with which the model is compiled, regularizers included;
            otherwise the name of a Keras loss, a `keras.losses.Loss`, or a callable
            of labels and outputs, whose mean is taken and to which nothing is added.
        method: `"lanczos"` or `"paper"`.
        batch_size: Samples at a time, unless the model has a batch size. The loss must
            be a mean over samples, or a `keras.losses.Loss` with the reduction `"sum"`.
        max_iterations: Largest number of iterations; None for 100, or for 40 with the
            paper's method, which does all of them.
        tolerance: Largest residual, relative to the eigenvalue.
        seed: Seed of the vector to start from, and of what the model itself draws.

    Returns:
        The norm, how well it is known, and whether that is within the tolerance.

    Raises:
        ValueError: `model` is not a built Keras model, or has no trainable variables;
            `method` is not one of these; `max_iterations` or `batch_size` is not a
            positive integer, or `tolerance` not a positive number; `x` has no samples,
            or not the shapes that the model takes; there are no labels; `loss` is not a
            loss, or None and the model is not compiled with one, or not defined for the
            labels, or cannot be taken in several batches; the loss or its second
            derivative is not finite; or the framework has no second derivative of an
            operation of the model.

    Example:
        >>> from keras_convinit import hessian_norm
        >>> x = np.array([[1.0, 2.0], [3.0, -1.0]])
        >>> model = keras.Sequential(
        ...     [keras.Input((2,)), keras.layers.Dense(1, use_bias=False)]
        ... )
        >>> norm = hessian_norm(model, x, np.zeros((2, 1)), "mean_squared_error")
        >>> round(norm.value, 3), round(float(np.linalg.norm(x.T @ x, 2)), 3)
        (10.193, 10.193)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, Table 2.
    """
    if not (isinstance(model, keras.Model) and model.built):
        raise ValueError(
            f"`model` must be a built Keras model. Received: model={model!r}"
        )
    if not model.trainable_variables:
        raise ValueError(
            "`model` must have trainable variables. "
            f"Received: the model {model.name!r}, which has none"
        )
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(METHODS)}. Received: method={method!r}"
        )
    find, iterations = METHODS[method]
    if max_iterations is not None:
        iterations = check_positive_int("max_iterations", max_iterations)
    tolerance = check_positive("tolerance", tolerance)
    batch_size = check_positive_int("batch_size", batch_size)
    batch = _data.take_first_batch(model, x, y, at_once=False)
    if batch.y is None:
        raise ValueError(
            "`y` must be labels, or come with a data set in `x`. Received: y=None"
        )
    size = _data.get_batch_size(model)
    if size is not None and batch.size % size:
        raise ValueError(
            f"`x` must have a multiple of {size} samples, the batch size of the model. "
            f"Received: x of shape {_data.show_shapes(batch.x)}"
        )
    loss = resolve_loss(model, loss)
    with backend.preserve_state(model):
        size = size or batch_size
        several = batch.size > size
        check_loss_on_few(model, loss, batch.x, batch.y, batch.weights, several)
        hessian = _Hessian(model, loss, batch, size, seed)
        start = np.random.default_rng(seed).standard_normal(hessian.size)
        # 25 million weights times 100 vectors: no more digits than the weights have.
        eigenvalue = find(hessian, start.astype(hessian.dtype), iterations, tolerance)
    return HessianNorm(
        abs(eigenvalue.value),
        eigenvalue.residual,
        eigenvalue.iterations,
        eigenvalue.converged,
        eigenvalue.value,
    )


class _Hessian:
    """Hessian of a loss on a fixed sample, as a function of a vector."""

    def __init__(
        self,
        model: KerasModel,
        loss: Loss,
        batch: _data.Batch,
        batch_size: int,
        seed: int,
    ) -> None:
        self._seed = seed
        self._product = backend.cached_by_model(
            model,
            "Hessian-vector product",
            identify_loss(model, loss),
            lambda: _compile_product(model, loss),
        )
        self._batches: list[tuple[tuple[Nest, ...], float]] = []
        for part in batch.split(batch_size):
            fraction = part.size / batch.size
            if sums_over_samples(model, loss):
                once = keras.ops.convert_to_tensor(fraction, dtype="float32")
                self._batches.append(((*part.to_tensors(), once), 1.0))
            else:
                self._batches.append((part.to_tensors(), fraction))
        self._variables = model.trainable_variables
        self._shapes = [tuple(variable.shape) for variable in self._variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size = sum(self._sizes)
        kinds = {variable.dtype for variable in model.trainable_variables}
        self.dtype = np.float64 if "float64" in kinds else np.float32

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Multiplies a vector by the Hessian.

        Raises:
            ValueError: The loss or the product is not finite, or the framework has no
                second derivative of an operation.
        """
        parts = np.split(vector, np.cumsum(self._sizes)[:-1])
        directions = [
            keras.ops.convert_to_tensor(part.reshape(shape), dtype=variable.dtype)
            for part, shape, variable in zip(
                parts, self._shapes, self._variables, strict=True
            )
        ]
        # Where the model draws at random, all products are of one Hessian.
        backend.seed_generators(self._seed)
        total, product = 0.0, np.zeros_like(vector)
        for tensors, weight in self._batches:
            loss, parts = self._multiply(directions, *tensors)
            total += weight * float(keras.ops.convert_to_numpy(loss))
            ends = np.cumsum(self._sizes)
            for part, size, end in zip(parts, self._sizes, ends, strict=True):
                array = np.ravel(keras.ops.convert_to_numpy(part))
                product[end - size : end] += array if weight == 1 else weight * array
        if not math.isfinite(total):
            raise ValueError(
                "The loss must be finite on the samples. "
                f"Received: x and y with a loss of {total}"
            )
        if not np.all(np.isfinite(product)):
            raise ValueError(
                "The second derivative of the loss must be finite on the samples. "
                "Received: x and y where it is not"
            )
        return product

    def _multiply(self, directions: list[Tensor], *tensors: Nest) -> Any:
        try:
            return self._product(directions, *tensors)
        except (LookupError, NotImplementedError) as error:
            raise ValueError(
                "The framework must have a second derivative of every operation of "
                f"the model. Received: one without, on {keras.backend.backend()}: "
                f"{error}"
            ) from error


def _compile_product(model: KerasModel, loss: Loss) -> Callable[..., Any]:
    """Compiles the Hessian-vector product, which holds the model weakly."""
    value = make_stateless_loss(model, loss)
    reference = weakref.ref(model)
    count = len(model.trainable_variables)

    def product(values: list[Tensor], directions: list[Tensor], *tensors: Nest) -> Any:
        compute = backend.hessian_vector_product(value)
        return compute(values[:count], directions, values[count:], *tensors)

    return backend.compile_function(product, lambda: list_variables(reference()))


Product = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue of a symmetric matrix H, and how well it is known.

    Args:
        value: The eigenvalue, with its sign.
        residual: ||H v - value v|| for a vector v of length 1. Some eigenvalue of H is
            at most so far away.
        iterations: Number of products that the search took.
        converged: Whether the residual is within the tolerance.
    """

    value: float
    residual: float
    iterations: int
    converged: bool


def find_by_lanczos(
    product: Product, start: np.ndarray, max_iterations: int, tolerance: float
) -> Eigenvalue:
    """Finds the eigenvalue of largest magnitude by the method of Lanczos.

    Both ends of the spectrum are followed at once, so that a pair of opposite signs
    and nearly equal size does no harm; power iteration would mix the two.

    Args:
        product: Function that multiplies a vector by H.
        start: Vector to start from, not orthogonal to the eigenvector.
        max_iterations: Largest number of products, and of vectors that are kept; one
            more product measures the residual.
        tolerance: Largest residual, relative to the eigenvalue.

    Returns:
        The eigenvalue.
    """
    basis = [start / np.linalg.norm(start)]
    buffer = np.empty_like(start)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        vector = product(basis[-1])
        diagonal.append(float(basis[-1] @ vector))
        vector -= diagonal[-1] * basis[-1]
        _orthogonalize(vector, basis, buffer)
        rest = float(np.linalg.norm(vector))
        values, vectors = np.linalg.eigh(
            np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
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
        off_diagonal.append(rest)
        basis.append(vector / rest)
    pairs = zip(vectors[:, best], basis, strict=True)
    ritz = sum(part * earlier for part, earlier in pairs)
    ritz = ritz / np.linalg.norm(ritz)
    image = product(ritz)
    value = float(ritz @ image)
    residual = float(np.linalg.norm(image - value * ritz))
    converged = bool(settled or exhausted) and residual <= tolerance * abs(value)
    return Eigenvalue(value, residual, len(diagonal), converged)


def _orthogonalize(
    vector: np.ndarray, basis: list[np.ndarray], buffer: np.ndarray
) -> None:
    """Makes a vector orthogonal to those before it, in place.

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


def find_by_largest_entry(
    product: Product, start: np.ndarray, iterations: int, tolerance: float
) -> Eigenvalue:
    """Finds an eigenvalue by power iteration, dividing by the largest entry.

    The eigenvalue is the entry of largest magnitude of the last product, with its sign.
    Where two eigenvalues of opposite sign are nearly equal in size it alternates
    between too large and too small.

    Args:
        product: Function that multiplies a vector by H.
        start: The first vector, taken as it is.
        iterations: Number of products.
        tolerance: Largest residual, relative to the eigenvalue, that counts as
            converged; the iteration does not stop there.

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


METHODS = {"lanczos": (find_by_lanczos, 100), "paper": (find_by_largest_entry, 40)}
