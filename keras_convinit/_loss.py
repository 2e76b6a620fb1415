"""The loss of a model as a function of the values of its variables."""

import inspect
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import _data
from keras_convinit._masks import get_mask
from keras_convinit._types import KerasModel, LossLike, Nest, Tensor, Variable

# What `resolve_loss` returns: a callable of labels and outputs, or None for that of the
# model.
Loss = Callable[[Nest, Nest], Tensor] | None


def resolve_loss(model: KerasModel, loss: LossLike) -> Loss:
    """Resolves a loss to a callable, or to None for that of the model.

    Args:
        model: The model.
        loss: None, a name, a `keras.losses.Loss`, or a callable of labels and outputs.

    Returns:
        The callable, or None.

    Raises:
        ValueError: `loss` is neither a loss, a name of one nor None, or is None while
            `model` is not compiled with a loss.
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


def compute_loss_of_outputs(
    model: KerasModel,
    loss: Loss,
    x: Nest,
    y: Nest,
    outputs: Nest,
    weights: Nest = None,
    training: bool = False,
) -> Tensor:
    """Computes the loss as a scalar; the model's own has all that `fit` minimizes.

    To be called in the scope without state in which the outputs were computed, and
    which collects losses: what layers add there counts, and metrics are not updated.

    Args:
        model: The model.
        loss: As `resolve_loss` returns it.
        x: Inputs, as tensors.
        y: Labels, as tensors.
        outputs: Outputs of the model.
        weights: Sample weights; None for none.
        training: Whether the loss is told that it is one of training.

    Returns:
        A scalar in Keras' precision.

    Raises:
        ValueError: There are sample weights, and `loss` does not return a number for
            each sample.
    """
    if loss is None:
        parameters = inspect.signature(model.compute_loss).parameters.values()
        keywords: dict[str, Any] = {}
        # Keras has had it for a while only, and calls what is without.
        if any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters):
            keywords["training"] = training
        value = model.compute_loss(
            x=x, y=y, y_pred=outputs, sample_weight=weights, **keywords
        )
    elif isinstance(loss, keras.Loss):
        value = ops.mean(ops.convert_to_tensor(loss(y, outputs, sample_weight=weights)))
    else:
        values = ops.convert_to_tensor(loss(y, outputs))
        if weights is not None and (
            keras.tree.is_nested(weights) or not len(values.shape)
        ):
            raise ValueError(
                "`loss` must give a number for each sample, as there are sample "
                f"weights. Received: loss with values of shape {tuple(values.shape)}"
            )
        value = _Mean(values)(outputs, outputs, sample_weight=weights)
    return ops.cast(value, keras.config.floatx())


class _Mean(keras.Loss):
    """Mean of values that are known, with weights and masks as in `fit`.

    Args:
        values: The values.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self._values = values

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the values."""
        return self._values


class LossScope(keras.StatelessScope):
    """Scope without state that collects all that layers add to the loss in it.

    In a scope of Keras a layer that is called by itself, as those of a program are,
    takes back what it has added in an earlier call: of one that is called in several
    places, or in every block of a stack, the last call alone would count.

    Args:
        values: Pairs of variables and values.
    """

    def __init__(self, values: Iterable[tuple[Variable, Tensor]]) -> None:
        # In a trace nothing may be made for later, such as the metrics of a loss.
        super().__init__(list(values), collect_losses=True, initialize_variables=False)
        self.added: list[Tensor] = []

    def add_loss(self, loss: Tensor) -> None:
        """Collects a loss."""
        self.added.append(loss)
        super().add_loss(loss)


def attach_added_losses(model: KerasModel, scope: LossScope) -> None:
    """Adds what layers have added to the loss in a scope to the model's, as one sum.

    Keras tells whose an added loss is by its id, which may be one that a loss of
    another layer had in an earlier run: then it would be counted twice. And it knows
    nothing of layers in the branch of a stack.

    Args:
        model: The model.
        scope: The scope, which must be entered.
    """
    if not scope.added:
        return
    terms = [ops.sum(ops.cast(term, keras.config.floatx())) for term in scope.added]
    sums = [sum(terms[1:], terms[0])]
    owner: Any = model
    while isinstance(owner, keras.Model) and owner.layers:
        # A functional model cannot add a loss, layers in it can.
        owner = owner.layers[0]
    while len(sums) == 1 or sum(term is sums[-1] for term in model.losses) != 1:
        # All are held, so that each has an id of its own.
        sums.append(sums[-1] + 0.0)
        scope.losses.clear()
        owner.add_loss(sums[-1])


def check_regularizers(model: KerasModel) -> None:
    """Checks that no model has an activity regularizer, as none is called as such.

    Args:
        model: A model that is run layer by layer.

    Raises:
        ValueError: `model` or a model inside it has an activity regularizer.
    """
    if model.activity_regularizer is not None:
        raise ValueError(
            "`activity_regularizer` must be that of a layer where a model is run layer "
            "by layer. Give it to the last layer of the model. "
            f"Received: activity_regularizer={model.activity_regularizer!r} of the "
            f"model {model.name!r}"
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            check_regularizers(layer)


def list_variables(model: KerasModel) -> list[Variable]:
    """Lists the variables of a model, the trainable ones first."""
    return [*model.trainable_variables, *model.non_trainable_variables]


def sums_over_samples(model: KerasModel, loss: Loss) -> bool:
    """Returns True if all parts of the loss reduce by sum."""
    return _list_reductions(model, loss) == {"sum"}


def check_reduction(model: KerasModel, loss: Loss, outputs: Nest) -> None:
    """Checks that a loss is the mean or the sum of those of several batches.

    Args:
        model: The model.
        loss: As `resolve_loss` returns it.
        outputs: Outputs of the model for a few samples.

    Raises:
        ValueError: The loss has another reduction, such as by the sum of weights, or
            outputs are masked.
    """
    reductions = _list_reductions(model, loss)
    if not (reductions <= {"mean"} or reductions == {"sum"}):
        raise ValueError(
            "`loss` must be a mean over samples, or a sum in all its parts, where "
            "there is more than one batch. "
            f"Received: a loss with the reductions {sorted(reductions)}"
        )
    flat = keras.tree.flatten(outputs)
    if reductions == {"mean"} and any(get_mask(x) is not None for x in flat):
        raise ValueError(
            "`batch_size` must be that of all samples for a model with masked outputs, "
            "since the loss is the mean over what is not masked in a batch. "
            "Received: more than one batch"
        )


def _list_reductions(model: KerasModel, loss: Loss) -> set[str]:
    """Lists the reductions of the parts of a loss."""
    if loss is None:
        if type(model).compute_loss is not keras.Model.compute_loss:
            return {"mean"}
        loss = model.loss
    parts = [part for part in keras.tree.flatten(loss) if part is not None]
    names = {str(getattr(part, "reduction", "mean")).lower() for part in parts}
    return {"mean" if name == "sum_over_batch_size" else name for name in names}


def make_stateless_loss(
    model: KerasModel, loss: Loss, forward: Callable[[Nest], Nest] | None = None
) -> Callable[..., Any]:
    """Makes the loss a function of the values of the model's variables.

    It holds the model weakly, so that it can be kept as long as the model lives.

    Args:
        model: A built model.
        loss: As `resolve_loss` returns it.
        forward: Function from inputs to outputs; None for the model in inference mode.

    Returns:
        `function(trainable, other, x, y, weights=None, fraction=None)` to a scalar,
        where the first two are values of the model's trainable and other variables.
        The fraction of all samples that are in the batch, None for 1, is a factor on
        what a sum over samples has once, such as regularizers.
    """
    reference = weakref.ref(model)

    def function(
        trainable: list[Tensor],
        other: list[Tensor],
        x: Nest,
        y: Nest,
        weights: Nest = None,
        fraction: Tensor | None = None,
    ) -> Tensor:
        model = reference()
        assert model is not None
        values = zip(list_variables(model), [*trainable, *other], strict=True)
        scope = LossScope(values)
        with scope:
            outputs = model(x, training=False) if forward is None else forward(x)
            attach_added_losses(model, scope)
            value = compute_loss_of_outputs(model, loss, x, y, outputs, weights)
            if fraction is not None and loss is None:
                for term in model.losses:
                    once = ops.cast(ops.sum(term), value.dtype)
                    value = value + (fraction - 1) * once
            return value

    return function


def check_loss_on_few(
    model: KerasModel,
    loss: Loss,
    x: Nest,
    y: Nest,
    weights: Nest = None,
    several: bool = False,
) -> None:
    """Computes the loss of a few samples, for errors that name the arguments.

    Args:
        model: A built model.
        loss: As `resolve_loss` returns it.
        x: Inputs, as arrays.
        y: Labels, as arrays.
        weights: Sample weights; None for none.
        several: Whether the losses of batches are to be averaged or summed.

    Raises:
        ValueError: The loss is not defined for the labels and outputs, or `several` is
            True and it is neither a mean nor a sum over samples.
    """
    few = _data.to_tensors(_data.take(x, _data.get_batch_size(model) or 2))
    # Regularizers read variables in the scope only if it has values for them.
    values = [(variable, variable.value) for variable in model.variables]
    with keras.StatelessScope(values, collect_losses=True):
        outputs = model(few, training=False)
        if several:
            check_reduction(model, loss, outputs)
        check_labels(model, loss, few, y, outputs, weights)


def check_labels(
    model: KerasModel, loss: Loss, x: Nest, y: Nest, outputs: Nest, weights: Nest = None
) -> None:
    """Computes the loss of a few samples, in a scope that has all variables.

    Args:
        model: A built model.
        loss: As `resolve_loss` returns it.
        x: Inputs of the few samples, as tensors.
        y: Labels of at least these samples, as arrays.
        outputs: Outputs for the few samples; their values do not matter.
        weights: Sample weights, like the labels; None for none.

    Raises:
        ValueError: The loss is not defined for the labels and outputs.
    """
    _check_classes(model.loss if loss is None else loss, y, outputs)
    count = len(keras.tree.flatten(outputs)[0])
    labels, weights = (
        _data.to_tensors(_data.take(nest, count)) for nest in (y, weights)
    )
    try:
        value = compute_loss_of_outputs(model, loss, x, labels, outputs, weights)
        if len(value.shape):
            raise ValueError(f"the loss has the shape {tuple(value.shape)}")
    # Every framework has errors of its own for what does not fit.
    except Exception as error:
        raise ValueError(
            "`y` must be labels for which the loss is defined, with the outputs "
            f"of the model. Received: y of shape {_data.show_shapes(y)}, outputs of "
            f"shape {_data.show_shapes(outputs)} for {count} samples: {error}"
        ) from error


def _check_classes(loss: Loss, y: Nest, outputs: Nest) -> None:
    """Raises for labels outside the classes; on JAX they would count as no class."""
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


def identify_loss(model: KerasModel, loss: Loss) -> tuple[Hashable, ...]:
    """Returns a cache key for programs that compute a loss."""
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    if type(loss).__module__.startswith("keras.") and isinstance(loss, keras.Loss):
        # Made anew for every report, it is the same nevertheless.
        return trainable, repr(type(loss)), repr(loss.get_config())
    if loss is not None:
        return trainable, _Identity(loss)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = repr(model.get_compile_config()["loss_weights"])
    # A model need not be serializable; then nothing is taken for the same.
    except Exception:
        return trainable, _Identity(object())
    return trainable, _Identity(model.loss), weights


class _Identity:
    """Cache key that equals only that of the same object, which it holds."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value
