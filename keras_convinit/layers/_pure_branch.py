"""A branch as a function of the values of its variables."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_convinit.layers import _parts


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a call of a branch comes to.

    Args:
        outputs: A tensor.
        losses: What the layers have added by `add_loss`, such as activity losses.
        drew: Whether random numbers have been drawn.
        changed: Paths of variables that would have been changed.
    """

    outputs: Any
    losses: list[Any]
    drew: bool
    changed: list[str]


class PureBranch:
    """A layer that is called with values in place of its variables.

    Not a layer itself, so that whoever holds it neither counts the variables of the
    layer among its own nor saves them.

    Args:
        layer: A layer or model, from one tensor to another of the same shape.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def build(self, input_shape: Any, dtype: str) -> None:
        """Builds the layer, and tries whether it can be a branch of a stack.

        Args:
            input_shape: The shape of its inputs.
            dtype: The dtype of its inputs.

        Raises:
            ValueError: It changes the shape of its inputs, or a variable.
        """
        _parts.build(self.layer, input_shape)
        changed: set[str] = set()

        def trial(inputs: Any) -> Any:
            outcome = self(
                inputs,
                [variable.value for variable in self.weights],
                [variable.value for variable in self.seed_states],
                training=True,
            )
            changed.update(outcome.changed)
            return outcome.outputs

        outputs = _Trial(trial)(keras.KerasTensor(input_shape, dtype=dtype))
        self.check_unchanged(sorted(changed))
        shape = keras.tree.map_structure(lambda output: output.shape, outputs)
        _parts.check_same_shape(shape, input_shape)
        # A layer without `build` has been built by the trial.
        self.layer.built = True

    @property
    def weights(self) -> list[Any]:
        """The variables that make the layer what it is."""
        return self.layer.weights

    @property
    def seed_states(self) -> list[Any]:
        """The states of the layer's random number generators."""
        weights = {id(variable) for variable in self.weights}
        return [v for v in self.layer.variables if id(v) not in weights]

    def __call__(
        self,
        inputs: Any,
        weights: Sequence[Any],
        seeds: Sequence[Any],
        training: bool | None = None,
        mask: Any = None,
    ) -> Outcome:
        """Calls the layer.

        Args:
            inputs: A tensor.
            weights: A value for each of `weights`.
            seeds: A value for each of `seed_states`.
            training: As in any call of a layer.
            mask: A mask of the inputs, for a layer that takes one.

        Returns:
            The outcome; the variables themselves are what they were.
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
        """Refuses a layer that changes its variables: their blocks are not kept."""
        if paths:
            raise ValueError(
                "The branch of a stack must not change variables when it is called, as "
                "batch normalisation does, and must take its random numbers from a "
                "`keras.random.SeedGenerator` of its own. "
                f"Received: branch={self.layer!r}, which changes {', '.join(paths)}"
            )

    def names(self) -> list[str]:
        """A name for each of the weights, the same in every session.

        Where a layer has the name that Keras gives to those of its class, the number
        in it, which counts the layers of a session, becomes one that counts those of
        the branch.
        """
        automatic = {
            _snake_case(type(part).__name__) for part in _all_parts(self.layer)
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


def _all_parts(layer: Any) -> Iterator[Any]:
    yield layer
    for part in layer.layers if isinstance(layer, keras.Model) else ():
        yield from _all_parts(part)


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class _Trial(keras.Operation):
    """Runs a function on symbols."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)
