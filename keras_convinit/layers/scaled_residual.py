"""A residual block whose branch is scaled by the number of blocks in its stage."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit._checks import check_positive_int
from keras_convinit._copies import build_layer, strip_build_configs
from keras_convinit._kinds import HOMOGENEOUS_LAYERS
from keras_convinit._registry import register
from keras_convinit._types import ActivationLike, Config, KerasLayer, Shape, Tensor
from keras_convinit.activations import resolve_activation
from keras_convinit.kernels import Kernel, kernels_of, prefix_names

# What a user may give for a branch or a shortcut.
LayerLike = KerasLayer | list[KerasLayer] | tuple[KerasLayer, ...] | Config


@register()
class ScaledResidual(keras.layers.Layer):
    """A residual block: shortcut(x) + branch(x) / sqrt(num_blocks).

    A stage of B such blocks, with branches that keep the norm, multiplies the norm of
    its input by at most sqrt(e): (1 + 1/B)^(B/2) to be exact, which is 1.41 for one
    block and 1.65 for a thousand. Without the factor it would be 2^(B/2).

    The sum is computed in the dtype of this layer, whatever that of its parts.

    Args:
        branch: A layer, a list of layers, or a model, from one tensor to one tensor.
        num_blocks: B, the number of residual blocks in the stage, this one included.
        shortcut: None for the identity, or a layer, a list of layers or a model, such
            as a projection. It is not scaled.
        absorb: Whether to multiply the gain of the branch's last weight-normalized
            layer by the factor, once, instead of the output at every call. Both give
            the same function at the start; the absorbed factor is trained.
        **kwargs: `name`, `dtype` and `trainable`, as for any layer.

    Raises:
        ValueError: `branch` or `shortcut` is neither a layer nor a list of layers nor
            a model; `num_blocks` is not a positive integer; or `absorb` is True and
            the branch has no weight-normalized layer, or a layer behind it that is
            not positively homogeneous, such as tanh. When built or called: the outputs
            of the branch and the shortcut differ in shape.

    Example:
        >>> from keras_convinit.layers import ScaledResidual
        >>> block = ScaledResidual(
        ...     [
        ...         keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
        ...         keras.layers.Conv2D(64, 3, padding="same"),
        ...     ],
        ...     num_blocks=9,
        ... )
        >>> tuple(block(np.ones((8, 32, 32, 64))).shape)
        (8, 32, 32, 64)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, theorem 7, where the range must be
        that of the norm, not of its square; footnote 5 for `absorb`.
    """

    def __init__(
        self,
        branch: LayerLike,
        num_blocks: int,
        shortcut: LayerLike | None = None,
        absorb: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_blocks = check_positive_int("num_blocks", num_blocks)
        with keras.name_scope(self.name):
            self.branch = as_layer("branch", branch)
            self.shortcut = None if shortcut is None else as_layer("shortcut", shortcut)
        self.absorb = bool(absorb)
        self.supports_masking = True
        self._factor = 1 / math.sqrt(self.num_blocks)
        if self.absorb:
            # Here and not in `build`, which may be traced, and may find the branch
            # built. A layer that is loaded or cloned comes here with a new branch.
            find_absorbing_layer(self.branch).scale_gain(self._factor)
            self._factor = 1.0

    def build(self, input_shape: Shape) -> None:
        """Builds the branch and the shortcut.

        Args:
            input_shape: Shape of the inputs, any that both parts take.

        Raises:
            ValueError: Their outputs differ in shape.
        """
        build_layer(self.branch, input_shape)
        if self.shortcut is not None:
            same_name = self.shortcut.name == self.branch.name
            with keras.name_scope("shortcut") if same_name else nullcontext():
                build_layer(self.shortcut, input_shape)
        self.compute_output_shape(input_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Adds the scaled branch to the shortcut.

        Args:
            inputs: A tensor, of any shape that both parts take.
            training: Passed to both parts.

        Returns:
            A tensor of the shape of both parts' outputs, in the dtype of this layer.

        Raises:
            ValueError: The outputs of the parts differ in shape.
        """
        branch = self.branch(inputs, training=training)
        through = inputs
        if self.shortcut is not None:
            through = self.shortcut(inputs, training=training)
        # A dimension that was not known when the layer was built may be known now.
        check_same_shape(branch.shape, through.shape)
        branch = ops.cast(branch, self.compute_dtype)
        if self._factor != 1:
            branch = branch * self._factor
        return ops.cast(through, self.compute_dtype) + branch

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor = None) -> Tensor:
        """Returns the mask of the shortcut."""
        if self.shortcut is None:
            return previous_mask
        return self.shortcut.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of both parts' outputs."""
        through = input_shape
        if self.shortcut is not None:
            through = find_output_shape(self.shortcut, input_shape)
        check_same_shape(find_output_shape(self.branch, input_shape), through)
        return tuple(through)

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "branch": serialize(self.branch),
            "num_blocks": self.num_blocks,
            "shortcut": None if self.shortcut is None else serialize(self.shortcut),
            "absorb": self.absorb,
        }


@kernels_of.register
def _(layer: ScaledResidual) -> tuple[Kernel, ...]:
    parts = {"branch": layer.branch, "shortcut": layer.shortcut}
    return tuple(
        kernel
        for name, part in parts.items()
        if part is not None
        for kernel in prefix_names(name, kernels_of(part))
    )


# The parts of a residual layer.


def as_layer(name: str, value: LayerLike) -> KerasLayer:
    """Converts an argument to one layer; a list becomes a `Sequential`.

    Args:
        name: What the argument is called; the name of the `Sequential`.
        value: A layer, a list of layers, or the configuration of a layer.

    Returns:
        The layer.

    Raises:
        ValueError: `value` is none of these.
    """
    if isinstance(value, dict):
        with keras.name_scope(name):
            value = keras.saving.deserialize_keras_object(strip_build_configs(value))
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or not all(isinstance(part, keras.layers.Layer) for part in parts):
        raise ValueError(
            f"`{name}` must be a Keras layer, a list of layers, or a model. "
            f"Received: {name}={value!r}"
        )
    return value if parts[0] is value else keras.Sequential(list(parts), name=name)


def find_output_shape(layer: KerasLayer, input_shape: Shape) -> Any:
    """Returns the shape of a layer's outputs, by a call on symbols if need be."""
    if type(layer) is keras.Sequential:
        # By itself it takes no other shape than that which it was built for.
        for part in layer.layers:
            input_shape = find_output_shape(part, input_shape)
        return input_shape
    try:
        return layer.compute_output_shape(input_shape)
    except NotImplementedError:
        inputs = keras.KerasTensor(input_shape, dtype=layer.compute_dtype)
        outputs = layer.compute_output_spec(inputs)
        return keras.tree.map_structure(lambda output: output.shape, outputs)


def check_same_shape(branch: Any, shortcut: Any) -> None:
    """Raises a `ValueError` for shapes that could be added only by broadcasting."""
    if tuple(branch) != tuple(shortcut):
        raise ValueError(
            "The branch and the shortcut of a residual block must have outputs of the "
            f"same shape. Received: a branch with outputs of shape {tuple(branch)} and "
            f"a shortcut with outputs of shape {tuple(shortcut)}"
        )


# The gain that absorbs the factor of a branch.

_ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)


def find_absorbing_layer(branch: KerasLayer) -> Any:
    """Finds the layer of a branch whose gain can be scaled in place of the output.

    A weight-normalized layer is one that has a method `scale_gain(factor)`. All layers
    behind it must be positively homogeneous, and its bias must start at zero; otherwise
    the function would change.

    Args:
        branch: The layer or model whose output is to be scaled.

    Returns:
        The layer.

    Raises:
        ValueError: There is no such layer, its activation or bias does not let a factor
            pass, or a layer behind it does not.
    """
    for part in reversed(list(_iterate_in_order(branch))):
        if callable(getattr(part, "scale_gain", None)):
            if _is_homogeneous(part):
                return part
            raise _absorb_error(
                branch, part, "whose activation or bias stands in the way"
            )
        if not _passes_factors(part):
            raise _absorb_error(branch, part, "which stands in the way")
    raise _absorb_error(branch, branch, "which has no weight-normalized layer")


def _iterate_in_order(part: Any) -> Iterator[Any]:
    inner = getattr(part, "operations", None)  # Of a functional model, in graph order.
    if isinstance(part, keras.Sequential):
        inner = part.layers
    if inner is None:
        yield part
    else:
        for operation in inner:
            yield from _iterate_in_order(operation)


def _passes_factors(part: Any) -> bool:
    if isinstance(part, _ACTIVATION_LAYERS):
        return _is_homogeneous_function(part)
    return isinstance(part, HOMOGENEOUS_LAYERS)


def _is_homogeneous(layer: Any) -> bool:
    layer = getattr(layer, "layer", layer)
    activation = getattr(layer, "activation", None)
    return _has_zero_bias(layer) and _is_homogeneous_function(activation)


def _has_zero_bias(layer: KerasLayer) -> bool:
    if not getattr(layer, "use_bias", False):
        return True
    if layer.built:
        return not backend.to_numpy(layer.bias).any()
    initializer = getattr(layer, "bias_initializer", None)
    return initializer is None or isinstance(initializer, keras.initializers.Zeros)


def _is_homogeneous_function(activation: ActivationLike) -> bool:
    try:
        phi = resolve_activation(activation)
    except ValueError:
        return False
    points = np.linspace(-4.0, 4.0, 41)
    return np.allclose(phi.value(2 * points), 2 * phi.value(points), rtol=1e-5)


def _absorb_error(branch: KerasLayer, part: Any, complaint: str) -> ValueError:
    return ValueError(
        "`absorb=True` needs a weight-normalized layer in `branch`, with a bias of "
        "zero at most, and behind it nothing but ReLU, dropout, pooling and other "
        "layers that let a factor pass. "
        f"Received: branch={branch!r} with {part!r}, {complaint}"
    )
