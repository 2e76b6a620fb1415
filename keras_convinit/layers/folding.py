"""A trained model written out in plain Keras, for processes that do not know us."""

import keras

from keras_convinit.layers._folded_model import folded_model
from keras_convinit.layers._plain_twin import plain_twin


def fold(model: keras.Model, verbose: bool = True) -> keras.Model:
    """Writes a model out in plain Keras layers that compute the same function.

    Weight-normalised layers become the ordinary ones, with the effective kernel.
    Scaled residuals and stacks become models of plain layers. Initializers of ours,
    which have done their work, become built-in ones of the same law; a
    delta-orthogonal one, which Keras does not have, becomes an orthogonal one. Layers
    keep their names. The result saves, loads, exports and converts where
    keras_convinit is not installed, and is as fast as if it had been written so.

    Fold for inference: the directions and gains are gone, and so is the state of the
    optimizer. The given model is left as it is.

    Args:
        model: A built Functional or Sequential model. Models inside it are folded too.
        verbose: Whether to print what was folded, a line a layer.

    Returns:
        A new model. Compile it before you evaluate or train it.

    Raises:
        ValueError: `model` is not a built Functional or Sequential model; there is
            nothing to fold; or something to fold is inside a layer of somebody else's,
            out of reach.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras_convinit.layers.WeightNormConv2D(4, 3)]
        ... )
        >>> plain = keras_convinit.fold(model)
        weight_norm_conv2d: WeightNormConv2D -> Conv2D
    """
    changes: list[str] = []
    folded, transfer = folded_model(model, lambda layer: plain_twin(layer, changes))
    transfer()
    if not changes:
        raise ValueError(
            "`model` must hold a layer or an initializer of keras_convinit. "
            f"Received: model={model!r}, with nothing to fold"
        )
    if verbose:
        print("\n".join(changes))
    return folded
