"""One Keras initializer for all kernels, with their true geometry and seeds."""

from typing import Any

import keras

from keras_convinit.graph import Graph, Site
from keras_convinit.schemes._rules import AbstractRules, Rule


class KerasInitializer(AbstractRules):
    """Draws every kernel by one initializer.

    The fans of `VarianceScaling` and its relatives are the true ones, and orthogonal
    kernels are so between the inputs and outputs that the layer really has.

    Args:
        initializer: As Keras takes it: a name, a dictionary or an object.
        stride_aware: Whether fans count only what a strided window visits.

    Raises:
        ValueError: `initializer` is not what is said here.

    Example:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]
        >>> model = keras.Sequential(layers)
        >>> scheme = keras_convinit.schemes.KerasInitializer("he_normal")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)
    """

    def __init__(self, initializer: Any, stride_aware: bool = False) -> None:
        self.initializer = keras.initializers.get(initializer)
        if not isinstance(self.initializer, keras.initializers.Initializer):
            raise ValueError(
                "`initializer` must be a Keras initializer or the name of one. "
                f"Received: initializer={initializer!r}"
            )
        self.stride_aware = stride_aware

    def name(self) -> str:
        """The name of the initializer."""
        return type(self.initializer).__name__

    def rule(self, site: Site, graph: Graph) -> Rule:
        """The initializer."""
        del site, graph
        return Rule(self.name(), self.initializer)
