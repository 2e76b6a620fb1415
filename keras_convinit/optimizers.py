"""Weight decay as the papers have it, which is not how Keras has it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_convinit._checks import check_positive
from keras_convinit._registry import register

__all__ = ["CoupledSGD"]


@register()
class CoupledSGD(keras.optimizers.SGD):
    """Stochastic gradient descent with weight decay in the gradient, as in PyTorch.

    The gradient of every weight w becomes gradient + weight_decay * w before the
    momentum sees it: L2 regularization with weight_decay / 2 * ||w||^2, without a term
    in the loss. Keras' own `SGD(weight_decay=...)` is decoupled: it takes
    learning_rate * weight_decay * w off a weight, past the momentum. The same number
    then decays 1 / (1 - momentum) times less, a tenth at the usual 0.9.

    With a constant learning rate the weights are those of PyTorch step for step. When
    the rate drops, Keras' momentum still holds steps of the old size, for a few steps.

    The decay joins a gradient after it has been clipped, averaged over accumulated
    steps and over replicas, and rid of a loss scale.

    Args:
        learning_rate: A number, or a schedule of Keras.
        momentum: Between 0 and 1.
        nesterov: Whether to look ahead.
        weight_decay: The coefficient, a positive number, or None. The attribute of that
            name is Keras' own and stays None; this one is `coupled_weight_decay`.
        undecayed: Names of variables that do not decay, such as `"bias"`, `"beta"`,
            `"gamma"`, or `"weight_norm_gain"`. The whole name has to agree. None, as in
            the papers' code, decays everything.
        **kwargs: Those of `keras.optimizers.SGD`.

    Raises:
        ValueError: `weight_decay` is not finite and positive; `undecayed` is not a
            collection of names.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> optimizer = keras_convinit.optimizers.CoupledSGD(
        ...     0.1, momentum=0.9, weight_decay=5e-4, undecayed=["bias"]
        ... )
        >>> model.compile(optimizer, "mse")
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        undecayed: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, **kwargs)
        if isinstance(undecayed, str) or not all(
            isinstance(name, str) for name in undecayed
        ):
            raise ValueError(
                "`undecayed` must be a collection of names of variables. "
                f"Received: undecayed={undecayed!r}"
            )
        if weight_decay is not None:
            weight_decay = check_positive("weight_decay", weight_decay)
        self.coupled_weight_decay = weight_decay
        self.undecayed = sorted(undecayed)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable by its gradient and its decay."""
        if (
            self.coupled_weight_decay is not None
            and _name(variable) not in self.undecayed
        ):
            rate = ops.cast(self.coupled_weight_decay, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype) + rate * variable
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments with which to make this object again."""
        return {
            **super().get_config(),
            "weight_decay": self.coupled_weight_decay,
            "undecayed": list(self.undecayed),
        }


def _name(variable: Any) -> str:
    # On TensorFlow it is the backend's variable that comes: `layer/bias:0`, or
    # `layer/bias/replica_1:0`.
    name = variable.name.split(":")[0].split("/replica_")[0]
    return name.split("/")[-1]
