"""A trained model written out in plain Keras, for processes that do not know us."""

import keras

from keras_convinit.layers._folded_model import folded_model
from keras_convinit.layers._plain_twin import Folding, plain_twin


def fold(model: keras.Model, verbose: bool = True) -> keras.Model:
    """Writes a model out in plain Keras layers that compute the same function.

    Weight-normalised layers become the ordinary ones, with the effective kernel.
    Scaled residuals and stacks become models of plain layers. Initializers of ours,
    which have done their work, become built-in ones of the same law; a
    delta-orthogonal one, which Keras does not have, becomes an orthogonal one. Layers
    keep their names, and those in a block have that of the block in front of it, so
    that no two are the same. The result saves, loads, exports and converts where
    keras_convinit is not installed, and is as fast as if it had been written so.

    Fold for inference: the directions and gains are gone, and so is the state of the
    optimizer. The given model is left as it is. A layer that has nothing to fold and
    cannot be made again from its configuration is part of both models; a line says so.

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
    folding = Folding()
    folded, transfer = folded_model(model, lambda layer: plain_twin(layer, folding))
    transfer()
    if not folding.changes:
        raise ValueError(
            "`model` must hold a layer or an initializer of keras_convinit. "
            f"Received: model={model!r}, with nothing to fold"
        )
    if verbose:
        print("\n".join(folding.changes))
        for layer in folding.shared:
            print(f"{layer.name}: cannot be made again, and is shared by both models")
    return folded
