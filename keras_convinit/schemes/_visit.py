"""A layer at work, whose kernels are about to be set."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from keras import ops

from keras_convinit._masks import keep_mask
from keras_convinit._precision import at_least_float32
from keras_convinit.graph import Site
from keras_convinit.kernels import Kernel, effective_kernel, output_norms
from keras_convinit.schemes._kernel_values import kernel_values
from keras_convinit.schemes._linear_layer import (
    bias_of,
    broadcast,
    is_linear,
    without_activation,
)
from keras_convinit.schemes._pending import Pending
from keras_convinit.schemes._scheme import Seeds
from keras_convinit.schemes.report import Row


@dataclasses.dataclass
class Visit:
    """The first call of a layer, with the signal that really comes in.

    Args:
        path: The path of the call.
        layer: The layer; in a stack, one of its template.
        run: Calls it, on what comes in.
        sites: Its kernels, and where they stand.
        pending: The values of all variables.
        seeds: For what is drawn.
        owner: Gives the model's variable for one of a template.
        suffix: Of the paths of its variables: the number of the block of a stack.
        rows: What was set.
        troubles: What could not be done, by path.
    """

    path: str
    layer: Any
    run: Callable[[], Any]
    sites: list[tuple[Kernel, Site]]
    pending: Pending
    seeds: Seeds
    owner: Callable[[Any], Any]
    suffix: str
    rows: list[Row]
    troubles: list[tuple[str, str]]

    @property
    def linear(self) -> bool:
        """Whether the outputs are linear in the kernels, up to bias and activation."""
        return is_linear(self.layer)

    @property
    def bias(self) -> Any:
        """The variable of the bias, None for none."""
        return bias_of(self.layer)

    @contextlib.contextmanager
    def bare(self) -> Iterator[Any]:
        """The layer without its activation, which is given."""
        with without_activation(self.layer) as activation:
            yield activation

    def start(self, kernel: Kernel, initializer: Any) -> None:
        """Draws a kernel; a weight-normalised one has the gains that leave it so."""
        (drawn,) = kernel_values(initializer, kernel, [self.seeds.next()])
        if kernel.gain is not None:
            axes = kernel.geometry.output_axes
            self.pending.put(kernel.gain, output_norms(drawn, axes, drawn.dtype))
        self.pending.put(kernel.variable, drawn)

    def scale(self, kernel: Kernel, factor: float) -> None:
        """Multiplies the effective kernel."""
        variable = kernel.variable if kernel.gain is None else kernel.gain
        self.pending.put(variable, self.pending.get(variable) * factor)

    def scaled(self, outputs: Any, factor: float) -> Any:
        """What a linear layer would give if its kernel had been scaled."""
        if self.bias is None:
            return times(outputs, factor)
        bias = broadcast(self.pending.get(self.bias), self.layer)
        return ops.cast((wide(outputs) - bias) * factor + bias, outputs.dtype)

    def hand_on(self, outputs: Any, function: Callable[[Any], Any]) -> Any:
        """Applies a function to the outputs, with the mask that they have."""
        return keep_mask(outputs, function)

    def report(self, kernel: Kernel, site: Site, rule: str, **numbers: Any) -> None:
        """Notes a kernel, and its gain where it has one."""
        value = self.pending.get(kernel.variable)
        if kernel.gain is None:
            self.note(kernel, kernel.variable, rule, value, **numbers)
            return
        self.note(kernel, kernel.variable, "direction", value)
        gain = self.pending.get(kernel.gain)
        value = effective_kernel(value, gain, kernel.geometry.output_axes)
        self.note(kernel, kernel.gain, rule, value, **numbers)

    def note(
        self, kernel: Kernel, variable: Any, rule: str, value: Any, **numbers: Any
    ) -> None:
        """Notes that a variable of a kernel was set."""
        path = self.owner(variable).path + self.suffix
        layer, fans = type(self.layer).__name__, kernel.geometry.fans()
        self.rows.append(Row(path, layer, *fans, rule, None, std_of(value), **numbers))


def wide(x: Any) -> Any:
    """The tensor, in float32 or its own wider dtype."""
    return ops.cast(x, at_least_float32(x.dtype))


def times(outputs: Any, factor: float) -> Any:
    """The product, rounded once."""
    return ops.cast(wide(outputs) * factor, outputs.dtype)


def std_of(x: Any) -> float:
    """The standard deviation of all values together, in float32."""
    return float(ops.convert_to_numpy(ops.std(ops.cast(x, "float32"))))
