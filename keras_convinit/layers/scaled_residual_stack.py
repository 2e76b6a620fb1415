"""A stage of residual blocks, computed in one loop."""

import dataclasses
import functools
import inspect
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_convinit import backend
from keras_convinit._checks import check_positive_int
from keras_convinit._copies import (
    SEED_LIMIT,
    build_layer,
    copy_layer,
    draw_initial_values,
    draw_seeds,
    list_seeds,
)
from keras_convinit._registry import register
from keras_convinit._types import (
    Config,
    KerasLayer,
    Shape,
    Tensor,
    TensorFunction,
    Variable,
)
from keras_convinit.kernels import Kernel, kernels_of, prefix_names
from keras_convinit.layers.scaled_residual import (
    LayerLike,
    ScaledResidual,
    as_layer,
    check_same_shape,
)


@dataclasses.dataclass(frozen=True)
class StackedVariable:
    """A variable of a stack, which has a row for each block.

    Args:
        variable: The variable of the stack, of shape `(num_blocks, *shape)`.
        template: The variable of the stack's `branch`, of shape `shape`, whose value in
            a block is a row of `variable`.

    Example:
        >>> from keras_convinit.layers import ScaledResidualStack
        >>> stack = ScaledResidualStack(keras.layers.Dense(4, use_bias=False), 3)
        >>> stack.build((None, 4))
        >>> (kernel,) = stack.stacked_variables
        >>> tuple(kernel.variable.shape), tuple(kernel.template.shape)
        ((3, 4, 4), (4, 4))
    """

    variable: Variable
    template: Variable


@register()
class ScaledResidualStack(keras.layers.Layer):
    """A stage of residual blocks x + branch(x) / sqrt(stage_blocks), in one loop.

    Equivalent to `num_blocks` layers `ScaledResidual` in a row, in a loop that is
    compiled once, so that the time to build and compile a model does not grow with its
    depth. Each variable of the branch is one variable here, with a leading axis of
    `num_blocks`.

    Each block has its own draw of the branch's initializers. Where a seed is given, be
    it a number, an initializer object with one or a `SeedGenerator`, each block has a
    seed of its own that follows from it: equal blocks would stay equal. Random layers
    such as dropout draw anew for each block at each step. Regularizers and activity
    losses are summed over the blocks; constraints apply to each block.

    On a CPU, XLA computes the gradient of a convolution in a loop at least ten times
    more slowly than outside. On JAX, which always uses XLA, a stack of up to 200 blocks
    is unrolled there, which takes some tenths of a second per block to compile. On
    TensorFlow, Keras uses XLA on a CPU only with `jit_compile=True`.

    Args:
        branch: A layer, a list of layers, or a model, from one tensor to another of
            the same shape. It is copied, and stays as it is. It must not assign
            variables when it is called, as batch normalization does.
        num_blocks: The number of blocks.
        remat: Whether to recompute activations in the backward pass instead of keeping
            them. Of B blocks about 2 sqrt(B) are then in memory at a time, for the
            cost of one more forward pass. Uses `tf.recompute_grad`, `jax.checkpoint`
            or `torch.utils.checkpoint`.
        stage_blocks: B, the number of residual blocks in the stage, of which the stack
            may be a part: the first block of a stage often has a projection, and so
            stands before it. None for `num_blocks`, 1 for branches that are not scaled.
        **kwargs: `name`, `dtype` and `trainable`, as for any layer.

    Raises:
        ValueError: `branch` is neither a layer nor a list of layers nor a model, or
            cannot be copied; or `num_blocks` or `stage_blocks` is not a positive
            integer. When built: the branch changes the shape of its inputs, or assigns
            variables.

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
        branch: LayerLike,
        num_blocks: int,
        remat: bool = False,
        stage_blocks: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_blocks = check_positive_int("num_blocks", num_blocks)
        if stage_blocks is None:
            stage_blocks = self.num_blocks
        self.stage_blocks = check_positive_int("stage_blocks", stage_blocks)
        self.remat = bool(remat)
        self.supports_masking = True
        branch = as_layer("branch", branch)
        # A layer that is recomputed in the backward pass would find other values in its
        # variables then. The stack as a whole may be recomputed.
        with keras.RematScope(mode=None):
            self._branch = FunctionalBranch(copy_layer(branch))
        self._stacked: list[Variable] = []
        self._input_shape: Shape = ()

    @property
    def branch(self) -> KerasLayer:
        """The template that runs as the branch of each block, a layer.

        The values of its own variables are not used: a block has rows of
        `stacked_variables` in their place.
        """
        return self._branch.layer

    @property
    def branch_factor(self) -> float:
        """The factor on the outputs of each branch, 1 / sqrt(stage_blocks)."""
        return 1 / math.sqrt(self.stage_blocks)

    @property
    def stacked_variables(self) -> tuple[StackedVariable, ...]:
        """The variables, each with that of `branch` whose values it holds.

        They are in the order of `branch.weights`; none before the stack is built.
        """
        if not self.built:
            return ()
        pairs = zip(self._stacked, self._branch.weights, strict=True)
        return tuple(StackedVariable(*pair) for pair in pairs)

    def block_path(self, index: int, inner: str = "") -> str:
        """Returns the path of a block, or of a part of it, from the stack.

        All reports take it from here.

        Args:
            index: The number of the block, from 0 to `num_blocks - 1`.
            inner: The path of a part of the block; empty for the block itself.

        Returns:
            Names, joined by "/".

        Example:
            >>> from keras_convinit.layers import ScaledResidualStack
            >>> stack = ScaledResidualStack(keras.layers.Dense(4), num_blocks=3)
            >>> stack.block_path(2, "dense")
            'block_2/dense'
        """
        return f"block_{index}/{inner}" if inner else f"block_{index}"

    def draw_initial_values(self) -> list[np.ndarray]:
        """Draws new initial values for all blocks, as `build` does.

        Returns:
            An array for each of `stacked_variables`, of the shape of its `variable`.

        Raises:
            ValueError: The stack has not been built.

        Example:
            >>> from keras_convinit.layers import ScaledResidualStack
            >>> stack = ScaledResidualStack(keras.layers.Dense(4), num_blocks=3)
            >>> stack.build((None, 4))
            >>> [values.shape for values in stack.draw_initial_values()]
            [(3, 4, 4), (3, 4)]
        """
        self._check_built()
        return draw_initial_values(self.branch, self._input_shape, self.num_blocks)

    def build(self, input_shape: Shape) -> None:
        """Creates the variables, with an own draw for each block.

        Args:
            input_shape: Shape of the inputs, any that the branch takes.

        Raises:
            ValueError: The branch changes the shape of its inputs, or assigns
                variables.
        """
        self._branch.build(input_shape, self.compute_dtype)
        self._input_shape = tuple(input_shape)
        values = draw_initial_values(self.branch, input_shape, self.num_blocks)
        self._stacked = [
            self.add_weight(
                name=name,
                shape=(self.num_blocks, *variable.shape),
                initializer=_return_constant(value),
                dtype=variable.dtype,
                trainable=variable.trainable,
                # A block takes its slice in the precision that it asks for.
                autocast=False,
                regularizer=_regularize_each_block(variable.regularizer),
                constraint=_constrain_each_block(variable.constraint),
            )
            for name, variable, value in zip(
                self._branch.name_weights(), self._branch.weights, values, strict=True
            )
        ]
        if self._branch.seed_states:
            self.seed_generator = keras.random.SeedGenerator(_derive_seed(self.branch))

    def rematerialized_call(
        self, layer_call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Recomputes activations where a `keras.RematScope` asks for it."""
        if super().rematerialized_call(layer_call, *args, **kwargs) == layer_call:
            return layer_call
        # Keras would also draw random numbers again, and get others.
        return functools.partial(self._run, remat=True)

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor = None
    ) -> Tensor:
        """Runs the blocks one after the other.

        Args:
            inputs: A tensor of the shape that the stack was built for.
            training: Passed to the branch.
            mask: Passed to the branch.

        Returns:
            A tensor of the shape of the inputs, in the dtype of this layer.
        """
        return self._run(inputs, training, mask, remat=self.remat)

    def _run(
        self,
        inputs: Tensor,
        training: bool | None = None,
        mask: Tensor = None,
        remat: bool = False,
    ) -> Tensor:
        factor = self.branch_factor
        weights = [ops.convert_to_tensor(variable) for variable in self._stacked]
        seeds, next_state = self._draw_seeds()
        drew, lost = False, False

        def run_block(
            carry: tuple[Tensor, ...], row: list[Tensor]
        ) -> tuple[Tensor, ...]:
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
            run_block,
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

    def _draw_seeds(self) -> tuple[list[Tensor], Tensor]:
        """Draws states for the generators of all blocks, and our own next state."""
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
                SEED_LIMIT,
                dtype="int32",
                seed=self.seed_generator,
            )
        both = ops.concatenate([numbers, ops.zeros_like(numbers)], axis=-1)
        seeds = [ops.cast(both[i], state.dtype) for i, state in enumerate(states)]
        return seeds, scope.get_current_value(own)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs."""
        return tuple(input_shape)

    def block(self, index: int) -> ScaledResidual:
        """Copies one of the blocks into a layer of its own.

        Args:
            index: The number of the block, from 0 to `num_blocks - 1`.

        Returns:
            A built `ScaledResidual` with a copy of the block's weights, frozen where
            they are. Its `branch` is a copy of this layer's, with the seeds of the
            block where any are given.

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
        (block,) = self._copy_blocks([value[np.newaxis] for value in values], [index])
        return block

    def unrolled(self) -> list[ScaledResidual]:
        """Copies all blocks into layers, which in a row compute the same function.

        Returns:
            `num_blocks` built layers, each with a copy of its weights.

        Raises:
            ValueError: The stack has not been built.
        """
        self._check_built()
        values = [ops.convert_to_numpy(variable) for variable in self._stacked]
        return self._copy_blocks(values, range(self.num_blocks))

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(f"The stack must be built. Received: stack={self!r}")

    def _copy_blocks(
        self, values: list[np.ndarray], indices: Iterable[int]
    ) -> list[ScaledResidual]:
        """Copies some blocks.

        Args:
            values: For each weight the values of these blocks, on the leading axis.
            indices: The numbers of the blocks.
        """
        seeds = draw_seeds(self.branch, self.num_blocks)
        blocks = []
        for place, index in enumerate(indices):
            numbers = iter(seeds[index].tolist())

            def reseed(seed: Any, _: bool, numbers: Iterator[int] = numbers) -> Any:
                number = next(numbers)
                return seed if seed is None else number

            name = f"{self.name}_{self.block_path(index)}"
            # Parts that are built as they are copied have the block in their paths.
            with keras.name_scope(name):
                copy = copy_layer(self.branch, reseed)
            block = ScaledResidual(
                copy, self.stage_blocks, name=name, dtype=self.dtype_policy
            )
            block.build(self._input_shape)
            if not self.trainable:
                block.trainable = False
            for variable, stacked, each in zip(
                block.branch.weights, self._stacked, values, strict=True
            ):
                variable.assign(each[place])
                variable.trainable = stacked.trainable
            blocks.append(block)
        return blocks

    def get_config(self) -> Config:
        """Returns the constructor arguments as a serializable dict."""
        return {
            **super().get_config(),
            "branch": keras.saving.serialize_keras_object(self.branch),
            "num_blocks": self.num_blocks,
            "remat": self.remat,
            "stage_blocks": self.stage_blocks,
        }


def stacked_variables_of(layer: Any) -> tuple[StackedVariable, ...]:
    """Returns the variables of a stack with the variables of its template.

    Args:
        layer: A layer of any class.

    Returns:
        The `stacked_variables` of a built stack; empty for any other layer.

    Example:
        >>> from keras_convinit.layers import ScaledResidualStack, stacked_variables_of
        >>> stack = ScaledResidualStack(keras.layers.Dense(4), num_blocks=3)
        >>> stack.build((None, 4))
        >>> len(stacked_variables_of(stack))
        2
        >>> stacked_variables_of(keras.layers.Dense(4))
        ()
    """
    is_stack = isinstance(layer, ScaledResidualStack)
    return layer.stacked_variables if is_stack else ()


@kernels_of.register
def _(layer: ScaledResidualStack) -> tuple[Kernel, ...]:
    if not layer.built:
        raise ValueError(f"`layer` must be built. Received: layer={layer!r}")
    stacked = {id(each.template): each.variable for each in layer.stacked_variables}
    return prefix_names(
        "branch",
        (
            dataclasses.replace(
                kernel,
                variable=stacked[id(kernel.variable)],
                gain=stacked.get(id(kernel.gain)),
                copies=layer.num_blocks * kernel.copies,
                stacked=True,
            )
            for kernel in kernels_of(layer.branch)
        ),
    )


def _return_constant(values: np.ndarray) -> Callable[..., Tensor]:
    return lambda shape, dtype=None: ops.convert_to_tensor(values, dtype=dtype)


def _derive_seed(layer: KerasLayer) -> int | None:
    """Returns a seed for the random layers of all blocks, if each has a seed."""
    given = [seed for seed, of_initializer in list_seeds(layer) if not of_initializer]
    if not given or None in given:
        return None
    return random.Random(str(given)).randrange(SEED_LIMIT)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of a call of a branch.

    Args:
        outputs: A tensor.
        losses: Losses added by `add_loss`, such as activity losses.
        drew: Whether random numbers have been drawn.
        changed: Paths of variables that the branch tried to assign.
    """

    outputs: Tensor
    losses: list[Tensor]
    drew: bool
    changed: list[str]


class FunctionalBranch:
    """A branch as a function of its inputs and the values of its variables.

    Not a layer itself, so that its holder neither counts the variables of the layer
    among its own nor saves them.

    Args:
        layer: A layer or model, from one tensor to another of the same shape.
    """

    def __init__(self, layer: KerasLayer) -> None:
        self.layer = layer

    def build(self, input_shape: Shape, dtype: str) -> None:
        """Builds the layer, and checks by a call on symbols that a stack can hold it.

        Args:
            input_shape: The shape of its inputs.
            dtype: The dtype of its inputs.

        Raises:
            ValueError: It changes the shape of its inputs, or assigns a variable.
        """
        build_layer(self.layer, input_shape)
        changed: set[str] = set()

        def call(inputs: Tensor) -> Tensor:
            outcome = self(
                inputs,
                [variable.value for variable in self.weights],
                [variable.value for variable in self.seed_states],
                training=True,
            )
            changed.update(outcome.changed)
            return outcome.outputs

        outputs = _SymbolicCall(call)(keras.KerasTensor(input_shape, dtype=dtype))
        self.check_unchanged(sorted(changed))
        shape = keras.tree.map_structure(lambda output: output.shape, outputs)
        check_same_shape(shape, input_shape)
        # A layer without `build` has been built by the call.
        self.layer.built = True

    @property
    def weights(self) -> list[Variable]:
        """The variables of the layer but the states of its generators."""
        return self.layer.weights

    @property
    def seed_states(self) -> list[Variable]:
        """The states of the layer's random number generators."""
        weights = {id(variable) for variable in self.weights}
        return [v for v in self.layer.variables if id(v) not in weights]

    def __call__(
        self,
        inputs: Tensor,
        weights: Sequence[Tensor],
        seeds: Sequence[Tensor],
        training: bool | None = None,
        mask: Tensor = None,
    ) -> Outcome:
        """Calls the layer.

        Args:
            inputs: A tensor.
            weights: A value for each of `weights`.
            seeds: A value for each of `seed_states`.
            training: Passed to the layer.
            mask: Passed to the layer, if it takes one.

        Returns:
            The outcome. No variable is assigned.
        """
        arguments: dict[str, Any] = {} if training is None else {"training": training}
        if mask is not None and "mask" in inspect.signature(self.layer.call).parameters:
            arguments["mask"] = mask
        # The scope would convert what it is given at once, to the precision in which
        # the layer around this one computes.
        scope = keras.StatelessScope(collect_losses=True, initialize_variables=False)
        given = [
            *zip(self.weights, weights, strict=True),
            *zip(self.seed_states, seeds, strict=True),
        ]
        for variable, value in given:
            scope.add_update((variable, value))
        with scope:
            outputs = self.layer(inputs, **arguments)
        changed = [v for v, value in given if scope.get_current_value(v) is not value]
        states = {id(state) for state in self.seed_states}
        paths = [variable.path for variable in changed if id(variable) not in states]
        if set(scope.state_mapping) - {id(variable) for variable, _ in given}:
            paths.append("a variable that is not its own")
        drew = any(id(variable) in states for variable in changed)
        return Outcome(outputs, scope.losses, drew, paths)

    def check_unchanged(self, paths: list[str]) -> None:
        """Raises a `ValueError` if there are paths of variables that were assigned."""
        if paths:
            raise ValueError(
                "The branch of a stack must not change variables when it is called, as "
                "batch normalization does, and must take its random numbers from a "
                "`keras.random.SeedGenerator` of its own. "
                f"Received: branch={self.layer!r}, which changes {', '.join(paths)}"
            )

    def name_weights(self) -> list[str]:
        """Returns a name for each of the weights, the same in every session.

        Keras numbers the default names of layers over a session. Here they are
        numbered over the branch.
        """
        automatic = {
            _to_snake_case(type(part).__name__) for part in _iterate_parts(self.layer)
        }
        number: dict[str, dict[str, int]] = {}
        names: list[str] = []
        for variable in self.weights:
            *layers, name = variable.path.removeprefix(f"{self.layer.path}/").split("/")
            parts: list[str] = []
            for layer in layers:
                base = re.sub(r"_\d+$", "", layer)
                if base in automatic:
                    same = number.setdefault("/".join([*parts, base]), {})
                    count = same.setdefault(layer, len(same))
                    layer = f"{base}_{count}" if count else base
                parts.append(layer)
            name = "_".join([*parts, name])
            names.append(f"{name}_{len(names)}" if name in names else name)
        return names


def _iterate_parts(layer: KerasLayer) -> Iterator[KerasLayer]:
    yield layer
    for part in layer.layers if isinstance(layer, keras.Model) else ():
        yield from _iterate_parts(part)


def _to_snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class _SymbolicCall(keras.Operation):
    """Calls a function on symbols."""

    def __init__(self, function: TensorFunction) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


# Sums over all weights, for which another axis makes no difference.
_SUMS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


class _SummedOverBlocks(keras.regularizers.Regularizer):
    """Sums a regularizer over the blocks."""

    def __init__(self, regularizer: TensorFunction) -> None:
        self.regularizer = regularizer

    def __call__(self, x: Tensor) -> Tensor:
        return ops.sum(_map_blocks(self.regularizer, x))


class _EachBlock(keras.constraints.Constraint):
    """Applies a constraint to each block."""

    def __init__(self, constraint: TensorFunction) -> None:
        self.constraint = constraint

    def __call__(self, w: Tensor) -> Tensor:
        return _map_blocks(self.constraint, w)


def _regularize_each_block(regularizer: Any) -> Any:
    """Returns the regularizer of a stacked variable, from that of a block."""
    if regularizer is None or type(regularizer) in _SUMS:
        return regularizer
    return _SummedOverBlocks(regularizer)


def _constrain_each_block(constraint: Any) -> Any:
    """Returns the constraint of a stacked variable, from that of a block."""
    return None if constraint is None else _EachBlock(constraint)


def _map_blocks(function: TensorFunction, stack: Tensor) -> Tensor:
    return ops.vectorized_map(function, ops.convert_to_tensor(stack))
