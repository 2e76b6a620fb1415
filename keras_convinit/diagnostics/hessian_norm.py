"""How sharply the loss of a model curves."""

import dataclasses
import math
import weakref
from typing import Any

import keras
import numpy as np

from keras_convinit import _data, backend
from keras_convinit._checks import positive, positive_integer
from keras_convinit._loss import (
    check_loss_on_few,
    identify_loss,
    list_variables,
    make_stateless_loss,
    resolve_loss,
    sums_over_samples,
)
from keras_convinit.diagnostics._lanczos import lanczos, largest_entry_iteration
from keras_convinit.diagnostics._remembered import remembered

METHODS = {"lanczos": (lanczos, 100), "paper": (largest_entry_iteration, 40)}


@dataclasses.dataclass(frozen=True)
class HessianNorm:
    """The spectral norm of the Hessian of a loss.

    Args:
        value: The largest magnitude of an eigenvalue.
        residual: ||H v - eigenvalue v|| for the vector v of length 1 that was found.
            The eigenvalue is at most so far from one of H.
        iterations: Hessian-vector products that the search took.
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
        """The decimal logarithm of the value, in which the paper reports it."""
        return math.log10(self.value) if self.value > 0 else -math.inf


def hessian_norm(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Any = None,
    *,
    method: str = "lanczos",
    batch_size: int = 256,
    max_iterations: int | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> HessianNorm:
    """The largest |eigenvalue| of the Hessian of a loss, at the model's weights.

    The Hessian is that with respect to all trainable variables, of the loss on just
    these samples, with the model in inference mode: no dropout, and batch
    normalisation by its moving averages. It is known by its products with vectors,
    each of which costs about two training steps; they are compiled once for a model.
    Every iteration keeps a vector of the size of all weights. The model is left as it
    is. Where a function of the model has a gradient of its own, that must have a
    derivative as well.

    `method="paper"` counts as the code of the paper did, for comparing with its Table
    2: 40 products from a normal vector, each divided by its entry of largest
    magnitude, the last of which is the result. Other than there, the samples are the
    same in every iteration, the model is in inference mode, and the mean over batches
    is a mean; the original drew other, augmented samples each time, normalised by
    their own statistics, and came out 2.8 % low.

    Args:
        model: A built model.
        x: Inputs: an array, a tensor, a table, or a list or dict of them; or a data
            set, of which the first batch is taken, as of `signal_report`.
        y: Labels, likewise; None where `x` has them.
        loss: None for that with which the model is compiled, regularizers included;
            otherwise the name of a Keras loss, a `keras.losses.Loss`, or a callable
            of labels and outputs, whose mean is taken and to which nothing is added.
        method: `"lanczos"` or `"paper"`.
        batch_size: Samples at a time, unless the model has a batch size. The loss must
            be a mean over samples, or a `keras.losses.Loss` with the reduction `"sum"`.
        max_iterations: Iterations at most: 100 if None, or 40, which are then all
            done, with the paper's method.
        tolerance: Of the residual, relative to the eigenvalue.
        seed: Of the vector to start from, and of what the model itself draws.

    Returns:
        The norm, how well it is known, and whether that is within the tolerance.

    Raises:
        ValueError: An argument is not what is said here, the loss or its second
            derivative is not finite, or the framework has no second derivative of an
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
        iterations = positive_integer("max_iterations", max_iterations)
    tolerance = positive("tolerance", tolerance)
    batch_size = positive_integer("batch_size", batch_size)
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
        found = find(hessian, start.astype(hessian.dtype), iterations, tolerance)
    return HessianNorm(
        abs(found.value),
        found.residual,
        found.iterations,
        found.converged,
        found.value,
    )


class _Hessian:
    """The Hessian of a loss on a fixed sample, as a function of a vector."""

    def __init__(
        self,
        model: keras.Model,
        loss: Any,
        batch: _data.Batch,
        batch_size: int,
        seed: int,
    ) -> None:
        self._seed = seed
        self._product = remembered(
            model,
            "Hessian-vector product",
            identify_loss(model, loss),
            lambda: _product(model, loss),
        )
        self._batches: list[tuple[Any, float]] = []
        for part in batch.split(batch_size):
            share = part.size / batch.size
            if sums_over_samples(model, loss):
                once = keras.ops.convert_to_tensor(share, dtype="float32")
                self._batches.append(((*part.to_tensors(), once), 1.0))
            else:
                self._batches.append((part.to_tensors(), share))
        self._variables = model.trainable_variables
        self._shapes = [tuple(variable.shape) for variable in self._variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size = sum(self._sizes)
        kinds = {variable.dtype for variable in model.trainable_variables}
        self.dtype = np.float64 if "float64" in kinds else np.float32

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """The Hessian times a vector."""
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
        for tensors, share in self._batches:
            loss, parts = self._once(directions, *tensors)
            total += share * float(keras.ops.convert_to_numpy(loss))
            ends = np.cumsum(self._sizes)
            for part, size, end in zip(parts, self._sizes, ends, strict=True):
                array = np.ravel(keras.ops.convert_to_numpy(part))
                product[end - size : end] += array if share == 1 else share * array
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

    def _once(self, directions: list[Any], *tensors: Any) -> Any:
        try:
            return self._product(directions, *tensors)
        except (LookupError, NotImplementedError) as error:
            raise ValueError(
                "The framework must have a second derivative of every operation of "
                f"the model. Received: one without, on {keras.backend.backend()}: "
                f"{error}"
            ) from error


def _product(model: keras.Model, loss: Any) -> Any:
    """The compiled Hessian-vector product, which holds the model weakly."""
    value = make_stateless_loss(model, loss)
    reference = weakref.ref(model)
    count = len(model.trainable_variables)

    def product(values: list[Any], directions: list[Any], *tensors: Any) -> Any:
        compute = backend.hessian_vector_product(value)
        return compute(values[:count], directions, values[count:], *tensors)

    return backend.compile_function(product, lambda: list_variables(reference()))
