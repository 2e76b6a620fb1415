"""The loss of a model as a function of the values of its variables."""

import warnings
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data


def check_loss(model: keras.Model, loss: Any) -> Any:
    """The loss to use: a loss as Keras has them, or None for that of the model.

    Args:
        model: The model.
        loss: None, a name, a `keras.losses.Loss`, or a callable of labels and outputs.

    Returns:
        The callable, or None.

    Raises:
        ValueError: It is nothing of the kind, or None and the model is not compiled
            with a loss.
    """
    if loss is None:
        own = type(model).compute_loss is not keras.Model.compute_loss
        if model.compiled and (own or model.loss is not None):
            return None
        raise ValueError(
            "`loss` must be given for a model that is not compiled with one. "
            f"Received: loss=None, for the model {model.name!r}"
        )
    try:
        resolved = keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        resolved = None
    if not callable(resolved):
        raise ValueError(
            "`loss` must be None, the name of a Keras loss, a `keras.losses.Loss`, or "
            f"a callable of labels and outputs. Received: loss={loss!r}"
        )
    return resolved


def loss_of_outputs(
    model: keras.Model, loss: Any, x: Any, y: Any, outputs: Any, weights: Any = None
) -> Any:
    """The loss as a scalar; the model's own has all that `fit` minimises.

    Called in a scope without state, so that what the model counts meanwhile is lost.
    """
    if loss is None:
        value = model.compute_loss(
            x=x, y=y, y_pred=outputs, sample_weight=weights, training=False
        )
    elif weights is None:
        value = ops.mean(ops.convert_to_tensor(loss(y, outputs)))
    elif isinstance(loss, keras.Loss):
        losses = loss(y, outputs, sample_weight=weights)
        value = ops.mean(ops.convert_to_tensor(losses))
    else:
        value = ops.mean(_weighted(ops.convert_to_tensor(loss(y, outputs)), weights))
    return ops.cast(value, keras.config.floatx())


def _weighted(losses: Any, weights: Any) -> Any:
    """Losses of samples, or of their positions, times the weights of the samples."""
    if keras.tree.is_nested(weights) or len(losses.shape) == 0:
        raise ValueError(
            "`loss` must give a number for each sample, as there are sample weights. "
            f"Received: loss with values of shape {tuple(losses.shape)}"
        )
    if len(weights.shape) > len(losses.shape) and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, -1)
    missing = len(losses.shape) - len(weights.shape)
    weights = ops.reshape(weights, (*weights.shape, *[1] * missing))
    return losses * ops.cast(weights, losses.dtype)


def all_variables(model: Any) -> list[Any]:
    """The variables of a model, those first that are trained."""
    return [*model.trainable_variables, *model.non_trainable_variables]


def is_sum(loss: Any) -> bool:
    """Whether a loss adds up over the samples, instead of taking their mean."""
    return getattr(loss, "reduction", None) == "sum"


def stateless_loss(
    model: keras.Model, loss: Any, forward: Callable[[Any], Any] | None = None
) -> Callable[..., Any]:
    """The loss without side effects.

    It holds the model weakly, so that it can be kept as long as the model lives.

    Args:
        model: A built model.
        loss: What `check_loss` gives.
        forward: From inputs to outputs; None for the model in inference mode.

    Returns:
        `function(trainable, other, x, y, weights)` to a scalar, where the first two
        are values of the model's trainable and other variables, and the last, sample
        weights, may be missing.
    """
    reference = weakref.ref(model)

    def function(
        trainable: list[Any], other: list[Any], x: Any, y: Any, weights: Any = None
    ) -> Any:
        model = reference()
        assert model is not None
        values = zip(all_variables(model), [*trainable, *other], strict=True)
        # In a trace nothing may be made for later, such as the metrics of a loss.
        with keras.StatelessScope(
            list(values), collect_losses=True, initialize_variables=False
        ):
            outputs = model(x, training=False) if forward is None else forward(x)
            return loss_of_outputs(model, loss, x, y, outputs, weights)

    return function


def check_on_few(
    model: keras.Model, loss: Any, x: Any, y: Any, weights: Any = None
) -> None:
    """Computes the loss of a few samples, for errors that can be understood.

    Args:
        model: A built model.
        loss: What `check_loss` gives.
        x: A nest of arrays.
        y: A nest of arrays.
        weights: Sample weights; None for none.

    Raises:
        ValueError: The loss cannot be computed.
    """
    few = _data.tensors(_data.first(x, _data.batch_size_of(model) or 2))
    # Regularizers read variables in the scope only if it has values for them.
    values = [(variable, variable.value) for variable in model.variables]
    with keras.StatelessScope(values, collect_losses=True):
        outputs = model(few, training=False)
        check_labels(model, loss, few, y, outputs, weights)


def check_labels(
    model: keras.Model, loss: Any, x: Any, y: Any, outputs: Any, weights: Any = None
) -> None:
    """Computes the loss of a few samples, in a scope that has all variables.

    Args:
        model: A built model.
        loss: What `check_loss` gives.
        x: The samples.
        y: Labels, a nest of arrays, for them and maybe others behind them.
        outputs: Outputs for the samples; their values do not matter.
        weights: Sample weights, likewise; None for none.

    Raises:
        ValueError: There is no loss for such labels and outputs.
    """
    _check_classes(model.loss if loss is None else loss, y, outputs)
    count = len(keras.tree.flatten(outputs)[0])
    labels, weights = (_data.tensors(_data.first(nest, count)) for nest in (y, weights))
    try:
        loss_of_outputs(model, loss, x, labels, outputs, weights)
    # Every framework has errors of its own for what does not fit.
    except Exception as error:
        raise ValueError(
            "`y` must be labels for which the loss is defined, with the outputs "
            f"of the model. Received: y of shape {_data.shapes(y)}, outputs of "
            f"shape {_data.shapes(outputs)} for {count} samples: {error}"
        ) from error


def _check_classes(loss: Any, y: Any, outputs: Any) -> None:
    """Refuses classes that there are not; JAX would count them as no class."""
    sparse = keras.losses.SparseCategoricalCrossentropy
    names = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
    if not (
        isinstance(loss, sparse)
        or loss is keras.losses.sparse_categorical_crossentropy
        or (isinstance(loss, str) and loss in names)
    ):
        return
    if not isinstance(y, np.ndarray) or getattr(loss, "ignore_class", None) is not None:
        return
    classes = outputs.shape[-1]
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"`y` must be classes from 0 to {classes - 1}, as the model has outputs. "
            f"Received: y from {y.min()} to {y.max()}"
        )


def identity_of(model: keras.Model, loss: Any) -> tuple[Hashable, ...]:
    """What a program that computes this loss depends on."""
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    if type(loss).__module__.startswith("keras.") and isinstance(loss, keras.Loss):
        # Made anew for every report, it is the same nevertheless.
        return trainable, repr(type(loss)), repr(loss.get_config())
    if loss is not None:
        return trainable, _Object(loss)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = repr(model.get_compile_config()["loss_weights"])
    # A model need not be serialisable; then nothing is taken for the same.
    except Exception:
        return trainable, _Object(object())
    return trainable, _Object(model.loss), weights


class _Object:
    """An object that equals only itself, and stays where it is."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and self.value is other.value
