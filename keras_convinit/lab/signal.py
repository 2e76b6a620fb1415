"""How large the signal is on its way through a network."""

import math

import keras
import numpy as np


def relative_signal(
    model: keras.Model, images: np.ndarray, watched: str
) -> tuple[float | None, ...]:
    """Root mean square of the outputs of layers, as a multiple of that of the images.

    The mean runs over images, positions and channels. It is what a variance rule for
    weights promises to preserve, while the norm of a position grows with the number
    of channels too.

    Args:
        model: A functional model of one input.
        images: A batch for it.
        watched: Prefix of the names of the layers.

    Returns:
        One ratio for each watched layer, in the order of the model; None where it is
        not finite.

    Raises:
        ValueError: No layer has a name of that kind.
    """
    outputs = [layer.output for layer in model.layers if layer.name.startswith(watched)]
    if not outputs:
        raise ValueError(
            "`watched` must be a prefix of the names of some layers. "
            f"Received: watched={watched!r}, for the model {model.name}"
        )
    probe = keras.Model(model.inputs[0], outputs)
    signals = keras.tree.flatten(probe(images, training=False))
    size = _root_mean_square(images)
    ratios = [_root_mean_square(signal) / size for signal in signals]
    # Six digits: they go into a file for people, too.
    return tuple(float(f"{r:.6g}") if math.isfinite(r) else None for r in ratios)


def _root_mean_square(values: object) -> float:
    array = keras.ops.convert_to_numpy(values).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(array))))
