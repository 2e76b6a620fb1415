"""A whole stage of residual blocks, as one loop."""

import dataclasses
import functools
import math
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit._checks import positive_integer
from keras_convinit._registry import register
from keras_convinit.kernels import Kernel, kernels_of, prefixed
from keras_convinit.layers import _parts
from keras_convinit.layers._copies import LIMIT, copy_layer, seeds_of
from keras_convinit.layers._initial_values import initial_values
from keras_convinit.layers._per_block import constraint_per_block, regularizer_per_block
from keras_convinit.layers._pure_branch import PureBranch
from keras_convinit.layers._written_out import written_out
from keras_convinit.layers.scaled_residual import ScaledResidual


@register()
class ScaledResidualStack(keras.layers.Layer):
    """`num_blocks` blocks x + branch(x) / sqrt(stage_blocks), one after the other.

    It computes what as many `ScaledResidual` layers do, in a loop that is compiled
    once, so that the time to build and compile a model does not grow with its depth.
    A variable of the branch is here one variable with a leading axis of `num_blocks`.

    Each block starts from its own draw of the branch's initializers. Where a seed is
    given, be it a number, an initializer object with one or a `SeedGenerator`, each
    block has a seed of its own that follows from it: blocks that are equal would stay
    so. Random layers such as dropout draw anew for every block at every step.
    Regularizers and activity losses are summed over the blocks; constraints hold for
    each.

    On a CPU, XLA computes the gradient of a convolution in a loop ten times more slowly
    than outside, or worse. With JAX, which always uses it, a stack of up to 200 blocks
    is no loop there: it is compiled block by block, for some tenths of a second each.
    With TensorFlow Keras does not use XLA on a CPU unless `jit_compile=True` says so.

    Args:
        branch: A layer, a list of layers, or a model, from one tensor to another of
            the same shape. The stack makes copies of it and leaves it alone. It must
            not change variables when it is called, as batch normalisation does.
        num_blocks: The number of blocks.
        stage_blocks: B, the number of residual blocks in the stage, of which the stack
            may be a part: the first block of a stage often has a projection, and so
            stands before it. None for `num_blocks`, 1 for branches that are not scaled.
        remat: Whether to compute activations again on the way back instead of keeping
            them. Of B blocks about 2 sqrt(B) are then in memory at a time, for one
            forward pass more. The means are `tf.recompute_grad`, `jax.checkpoint` and
            `torch.utils.checkpoint`.
        **kwargs: `name`, `dtype` and `trainable`, as of any layer.

    Raises:
        ValueError: An argument is not what is said here; when built: the branch
            changes the shape of its inputs, or variables.

    Example:
        >>> from keras_convinit.layers import ScaledResidualStack
        >>> stage = ScaledResidualStack(
        ...     [
        ...         keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        ...         keras.layers.Conv2D(16, 3, padding="same"),
        ...     ],
        ...     num_blocks=166,
        ... )
        >>> tuple(stage(np.ones((2, 8, 8, 16))).shape)
        (2, 8, 8, 16)

    Reference:
        Arpit, Campos, Bengio 2019, *How to Initialize your Network? Robust
        Initialization for WeightNorm & ResNets*, theorem 7.
    """

    def __init__(
        self,
        branch: Any,
        num_blocks: int,
        remat: bool = False,
        stage_blocks: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_blocks = positive_integer("num_blocks", num_blocks)
        if stage_blocks is None:
            stage_blocks = self.num_blocks
        self.stage_blocks = positive_integer("stage_blocks", stage_blocks)
        self.remat = bool(remat)
        self.supports_masking = True
        branch = _parts.as_layer("branch", branch)
        # A layer that is computed again on the way back would find other values in its
        # variables then. The stack as a whole may be.
        with keras.RematScope(mode=None):
            self._branch = PureBranch(copy_layer(branch))
        self._stacked: list[Any] = []
        self._input_shape: Any = None

    @property
    def branch(self) -> Any:
        """What each block has, as a layer whose variables nothing is computed from."""
        return self._branch.layer

    @property
    def branch_factor(self) -> float:
        """What the outputs of each branch are multiplied by: 1 / sqrt(stage_blocks)."""
        return 1 / math.sqrt(self.stage_blocks)

    def build(self, input_shape: Any) -> None:
        """Creates the variables, of which each block has its own draw."""
        self._branch.build(input_shape, self.compute_dtype)
        self._input_shape = tuple(input_shape)
        layer = self._branch.layer
        values = initial_values(layer, input_shape, self.num_blocks)
        self._stacked = [
            self.add_weight(
                name=name,
                shape=(self.num_blocks, *variable.shape),
                initializer=_constant(value),
                dtype=variable.dtype,
                trainable=variable.trainable,
                # A block takes its slice in the precision that it asks for.
                autocast=False,
                regularizer=regularizer_per_block(variable.regularizer),
                constraint=constraint_per_block(variable.constraint),
            )
            for name, variable, value in zip(
                self._branch.names(), self._branch.weights, values, strict=True
            )
        ]
        if self._branch.seed_states:
            self.seed_generator = keras.random.SeedGenerator(_seed(layer))

    def rematerialized_call(
        self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Where a `keras.RematScope` is about this layer, it is made with `remat`."""
        if super().rematerialized_call(layer_call, *args, **kwargs) == layer_call:
            return layer_call
        # Keras would also draw random numbers again, and get others.
        return functools.partial(self._run, remat=True)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs the blocks one after the other."""
        return self._run(inputs, training, mask, remat=self.remat)

    def _run(
        self,
        inputs: Any,
        training: bool | None = None,
        mask: Any = None,
        remat: bool = False,
    ) -> Any:
        factor = self.branch_factor
        weights = [ops.convert_to_tensor(variable) for variable in self._stacked]
        seeds, next_state = self._draw_seeds()
        drew, lost = False, False

        def block(carry: tuple[Any, ...], row: list[Any]) -> tuple[Any, ...]:
            nonlocal drew, lost
            x, loss = carry
            outcome = self._branch(
                x, row[: len(weights)], row[len(weights) :], training, mask
            )
            self._branch.check_unchanged(outcome.changed)
            drew, lost = drew or outcome.drew, lost or bool(outcome.losses)
            for term in outcome.losses:
                loss = loss + ops.cast(term, loss.dtype)
            return x + ops.cast(outcome.outputs, x.dtype) * factor, loss

        inputs = ops.cast(inputs, self.compute_dtype)
        outputs, loss = backend.scan(
            block,
            (inputs, ops.zeros((), "float32")),
            [*weights, *seeds],
            self.num_blocks,
            remat,
        )
        if drew:
            self.seed_generator.state.assign(next_state)
        if lost:
            self.add_loss(loss)
        return outputs

    def _draw_seeds(self) -> tuple[list[Any], Any]:
        """States for the generators of all blocks, and the next one for our own."""
        states = self._branch.seed_states
        if not states:
            return [], None
        own = self.seed_generator.state
        # Whether the blocks draw at all is known only when they have run.
        scope = keras.StatelessScope(initialize_variables=False)
        scope.add_update((own, own.value))
        with scope:
            numbers = keras.random.randint(
                (len(states), self.num_blocks, 1),
                0,
                LIMIT,
                dtype="int32",
                seed=self.seed_generator,
            )
        both = ops.concatenate([numbers, ops.zeros_like(numbers)], axis=-1)
        seeds = [ops.cast(both[i], state.dtype) for i, state in enumerate(states)]
        return seeds, scope.get_current_value(own)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return tuple(input_shape)

    def block(self, index: int) -> ScaledResidual:
        """One of the blocks, as a layer of its own.

        Args:
            index: Which one, from 0 to `num_blocks - 1`.

        Returns:
            A built `ScaledResidual` with a copy of the block's weights. Its `branch`
            is a copy of this layer's, with the seeds of the block where any are given.

        Raises:
            ValueError: The stack has not been built, or has no such block.
        """
        if not self.built or index not in range(self.num_blocks):
            raise ValueError(
                "`index` must be that of a block of a built stack. "
                f"Received: index={index!r} of {self!r} with "
                f"num_blocks={self.num_blocks}, built={self.built}"
            )
        values = [ops.convert_to_numpy(variable[index]) for variable in self._stacked]
        (block,) = self._blocks([value[np.newaxis] for value in values], [index])
        return block

    def unrolled(self) -> list[ScaledResidual]:
        """All the blocks, as layers which in a row compute what this layer does.

        Returns:
            `num_blocks` built layers, each with a copy of its weights.

        Raises:
            ValueError: The stack has not been built.
        """
        if not self.built:
            raise ValueError(f"The stack must be built. Received: stack={self!r}")
        values = [ops.convert_to_numpy(variable) for variable in self._stacked]
        return self._blocks(values, range(self.num_blocks))

    def _blocks(self, values: list[np.ndarray], indices: Any) -> list[ScaledResidual]:
        return written_out(
            self._branch.layer,
            self._input_shape,
            self.num_blocks,
            self.stage_blocks,
            {index: [each[i] for each in values] for i, index in enumerate(indices)},
            name=self.name,
            dtype=self.dtype_policy,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this layer again."""
        return {
            **super().get_config(),
            "branch": keras.saving.serialize_keras_object(self._branch.layer),
            "num_blocks": self.num_blocks,
            "remat": self.remat,
            "stage_blocks": self.stage_blocks,
        }


def _constant(values: np.ndarray) -> Callable[..., Any]:
    return lambda shape, dtype=None: ops.convert_to_tensor(values, dtype=dtype)


def _seed(layer: Any) -> int | None:
    """A seed for the random layers of all blocks, if they have some of their own."""
    given = [seed for seed, of_initializer in seeds_of(layer) if not of_initializer]
    if not given or None in given:
        return None
    return random.Random(str(given)).randrange(LIMIT)


@kernels_of.register
def _(layer: ScaledResidualStack) -> tuple[Kernel, ...]:
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")
    branch = layer._branch
    stacked = {id(v): s for v, s in zip(branch.weights, layer._stacked, strict=True)}
    return prefixed(
        "branch",
        (
            dataclasses.replace(
                kernel,
                variable=stacked[id(kernel.variable)],
                gain=stacked.get(id(kernel.gain)),
                copies=layer.num_blocks * kernel.copies,
                stacked=True,
            )
            for kernel in kernels_of(branch.layer)
        ),
    )
