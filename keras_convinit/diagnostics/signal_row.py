"""What a signal report says of one layer."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class SignalRow:
    """A layer at work, forward and back.

    A number is None where there is no such thing, or the theory does not know it.

    Args:
        path: The name of the layer, with those of the models around it.
        type: The name of its class.
        inputs: Where its inputs come from: numbers of earlier rows, and -1, -2 and so
            on for the inputs of the model.
        channels: The channels of its output.
        forward_norm: The norm of its output at a position: the root of the mean, over
            batch and positions, of the sum of squares over channels.
        alpha: Its ratio to that of the input; to the root of the sum of squares where
            there are several.
        predicted_alpha: What the theory says of that, for this input and these weights.
        factors: Where it adds up several inputs: what each is multiplied by.
        error_norm: The norm of the error signal at its output: of the derivative of a
            sample's loss, over all positions and channels, as root mean square over
            samples. Strides and pooling spread or gather it, and leave the norm.
        beta: Its ratio to that of the next layer; to the root of the sum of squares
            where the output goes to several.
        predicted_beta: What the theory says of that.
        weight_norm: The norm of its kernels, for a weight-normalised layer of the
            effective one; of all its trainable variables where it has no kernel.
        gradient_norm: The norm of the gradient of the loss, without regularizers, by
            its trainable variables.
        dead_share: The share of channels that are zero all over the batch, of a layer
            that is or has an activation.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> report = keras_convinit.signal_report(model, np.ones((2, 8)))
        >>> [row.path for row in report.rows if row.dead_share == 1]
        []
    """

    path: str
    type: str
    inputs: tuple[int, ...]
    channels: int
    forward_norm: float
    alpha: float | None
    predicted_alpha: float | None
    factors: tuple[float, ...] | None
    error_norm: float
    beta: float | None
    predicted_beta: float | None
    weight_norm: float | None
    gradient_norm: float | None
    dead_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """The row as a dictionary."""
        return dataclasses.asdict(self)
