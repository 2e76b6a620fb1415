"""A residual block whose branch is scaled by the number of blocks in its stage."""

import math
from contextlib import nullcontext
from typing import Any

import keras
from keras import ops

from keras_convinit._checks import positive_integer
from keras_convinit._registry import register
from keras_convinit.kernels import Kernel, kernels_of, prefixed
from keras_convinit.layers import _parts
from keras_convinit.layers._absorb import last_weight_normalized


@register()
class ScaledResidual(keras.layers.Layer):
    """shortcut(x) + branch(x) / sqrt(num_blocks).

    A stage of B such blocks, with branches that keep the norm, multiplies the norm of
    its input by no more than sqrt(e): (1 + 1/B)^(B/2) to be exact, which is 1.41 for
    one block and 1.65 for a thousand. Without the factor it would be 2^(B/2).

    The sum is computed in the dtype of this layer, whatever that of its parts.

    Args:
        branch: A layer, a list of layers, or a model, from one tensor to one tensor.
        num_blocks: B, the number of residual blocks in the stage, this one included.
        shortcut: None for the identity, or a layer, a list of layers or a model, such
            as a projection. It is not scaled.
        absorb: Whether to multiply the gain of the branch's last weight-normalised
            layer by the factor, once, instead of the output at every call. Both give
            the same function at the beginning; the absorbed factor is trained.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.

    Raises:
        ValueError: An argument is not what is said here; with `absorb`, the branch has
            no weight-normalised layer, or something behind it that no factor passes,
            such as tanh; when built or called: the outputs of the branch and the
            shortcut differ in shape.

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
        branch: Any,
        num_blocks: int,
        shortcut: Any = None,
        absorb: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_blocks = positive_integer("num_blocks", num_blocks)
        with keras.name_scope(self.name):
            self.branch = _parts.as_layer("branch", branch)
            self.shortcut = (
                None if shortcut is None else _parts.as_layer("shortcut", shortcut)
            )
        self.absorb = bool(absorb)
        self.supports_masking = True
        self._factor = 1 / math.sqrt(self.num_blocks)
        if self.absorb:
            # Here and not in `build`, which may be traced, and may find the branch
            # built. A layer that is loaded or cloned comes here with a new branch.
            last_weight_normalized(self.branch).scale_gain(self._factor)
            self._factor = 1.0

    def build(self, input_shape: Any) -> None:
        """Builds the parts, and compares the shapes of what they give."""
        _parts.build(self.branch, input_shape)
        if self.shortcut is not None:
            same_name = self.shortcut.name == self.branch.name
            with keras.name_scope("shortcut") if same_name else nullcontext():
                _parts.build(self.shortcut, input_shape)
        self.compute_output_shape(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Adds up the shortcut and the scaled branch."""
        branch = self.branch(inputs, training=training)
        through = inputs
        if self.shortcut is not None:
            through = self.shortcut(inputs, training=training)
        # A dimension that was not known when the layer was built may be known now.
        _parts.check_same_shape(branch.shape, through.shape)
        branch = ops.cast(branch, self.compute_dtype)
        if self._factor != 1:
            branch = branch * self._factor
        return ops.cast(through, self.compute_dtype) + branch

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the shortcut."""
        if self.shortcut is None:
            return previous_mask
        return self.shortcut.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of both parts' outputs."""
        through = input_shape
        if self.shortcut is not None:
            through = _parts.output_shape(self.shortcut, input_shape)
        _parts.check_same_shape(_parts.output_shape(self.branch, input_shape), through)
        return tuple(through)

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this layer again."""
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
        for kernel in prefixed(name, kernels_of(part))
    )
