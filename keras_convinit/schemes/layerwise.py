"""Schemes that set each kernel by the signal that reaches it, in one pass."""

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit import _data
from keras_convinit._kinds import calls_as
from keras_convinit._masks import keep_mask, make_repeatable
from keras_convinit._precision import promote_to_float32
from keras_convinit._types import Initializer, KerasLayer, Nest, Tensor, Variable
from keras_convinit.analysis import (
    BlockBegins,
    BlockEnds,
    KernelContext,
    LayerCall,
    ModelAnalysis,
    known_kernels,
    make_executable,
    takes_training,
)
from keras_convinit.kernels import Kernel, effective_kernel, output_norms
from keras_convinit.layers import WeightNorm
from keras_convinit.schemes._drawing import describe_unseeded, draw_copies
from keras_convinit.schemes._inference import uses_batch_statistics
from keras_convinit.schemes._others import (
    kept_kernels,
    reset_values,
    row_of_other,
    unknown_kernels,
)
from keras_convinit.schemes.base import InitRequest, Scheme, Seeds, ValueOverlay
from keras_convinit.schemes.report import (
    AS_ITS_LAYER,
    UNKNOWN_KERNEL,
    InitializationReport,
    Row,
    Skipped,
    std_of,
)

# Arrays may be a whole data set.
MOST_SAMPLES = 256


@dataclasses.dataclass
class LayerContext:
    """The first call of a layer, with the signal that reaches it.

    `run()` calls the layer with the values that its variables have in `overlay`, as
    often as wanted.

    Args:
        path: The path of the call.
        layer: The layer; in a stack, a layer of the template.
        run: Calls the layer on its inputs, and returns its outputs.
        kernels: The kernels of the layer that the scheme sets, each with its context in
            the model.
        overlay: The values of all variables.
        seeds: The source of seeds.
        issues: Takes pairs of a path and a sentence about what could not be done.
        owner: Returns the model's variable for a variable of a template.
        suffix: The end of the paths of variables in a block of a stack, such as "[2]".
        rows: Takes the rows of the report.
    """

    path: str
    layer: Any
    run: Callable[[], Any]
    kernels: list[tuple[Kernel, KernelContext]]
    overlay: ValueOverlay
    seeds: Seeds
    issues: list[tuple[str, str]]
    owner: Callable[[Any], Any]
    suffix: str
    rows: list[Row]

    def is_linear(self) -> bool:
        """Returns True if the outputs are linear in each kernel.

        Up to a bias and an activation.
        """
        return is_linear(self.layer)

    def bias(self) -> Any:
        """Returns the variable of the bias, None if there is none."""
        inner = unwrap(self.layer)
        # Convolutions have no attribute of that name without one.
        has_bias = getattr(inner, "use_bias", True)
        return getattr(inner, "bias", None) if has_bias else None

    @contextlib.contextmanager
    def without_activation(self) -> Iterator[Any]:
        """Takes the activation off the layer for a while.

        Nothing else shows the outputs of the kernel without a second product.

        Yields:
            The activation, a function; None if there is none.
        """
        inner = self.layer
        while isinstance(inner, keras.layers.Wrapper) and not hasattr(
            inner, "activation"
        ):
            inner = inner.layer
        activation = getattr(inner, "activation", None)
        if not callable(activation):
            yield None
            return
        # PyTorch takes no function in place of a module.
        is_layer = isinstance(activation, keras.layers.Layer)
        inner.activation = None if is_layer else keras.activations.linear
        try:
            yield activation
        finally:
            inner.activation = activation

    def draw(self, kernel: Kernel, initializer: Initializer) -> None:
        """Draws a kernel; gains become the norms of the direction.

        Args:
            kernel: The kernel.
            initializer: A Keras initializer.
        """
        (drawn,) = draw_copies(initializer, kernel, [self.seeds.next()])
        if kernel.gain is not None:
            axes = kernel.geometry.output_axes
            self.overlay.put(kernel.gain, output_norms(drawn, axes, drawn.dtype))
        self.overlay.put(kernel.variable, drawn)

    def scale(self, kernel: Kernel, factor: float) -> None:
        """Multiplies the effective kernel by a number.

        Args:
            kernel: The kernel.
            factor: The number.
        """
        variable = scaled_variable(kernel)
        self.overlay.put(variable, self.overlay.as_float(variable) * factor)

    def scale_outputs(self, outputs: Nest, factor: float) -> Any:
        """Returns the outputs of a linear layer for a kernel that has been scaled.

        Args:
            outputs: The outputs before, without an activation.
            factor: The factor of the kernel.
        """
        bias: Any = self.bias()
        if bias is not None:
            bias = broadcast(self.overlay.as_float(bias), self.layer)

        def scaled(y: Any) -> Any:
            product = wide(y) * factor
            if bias is not None:
                product = (wide(y) - bias) * factor + bias
            return ops.cast(product, y.dtype)

        return self.transform(outputs, scaled)

    def transform(self, outputs: Nest, function: Callable[[Any], Any]) -> Any:
        """Applies a function to outputs, which keep their mask.

        Args:
            outputs: The outputs of the layer.
            function: A function of a tensor.
        """
        return keep_mask(outputs, function)

    def report(
        self, kernel: Kernel, context: KernelContext, rule: str, **numbers: Any
    ) -> None:
        """Adds the rows of a kernel, and of its gain if it has one, to the report.

        Args:
            kernel: The kernel.
            context: Its context in the model.
            rule: The name of the rule.
            **numbers: More entries of the `Row`.
        """
        value = self.overlay.as_float(kernel.variable)
        if kernel.gain is None:
            self.add_row(kernel, kernel.variable, rule, value, **numbers)
            return
        self.add_row(kernel, kernel.variable, "direction", value)
        gain = self.overlay.as_float(kernel.gain)
        value = effective_kernel(value, gain, kernel.geometry.output_axes)
        self.add_row(kernel, kernel.gain, rule, value, **numbers)

    def add_row(
        self,
        kernel: Kernel,
        variable: Variable,
        rule: str,
        value: Tensor,
        **numbers: Any,
    ) -> None:
        """Adds the row of one variable to the report.

        Args:
            kernel: The kernel that the variable belongs to.
            variable: The variable.
            rule: The name of the rule.
            value: The value whose standard deviation the row has.
            **numbers: More entries of the `Row`.
        """
        path = self.owner(variable).path + self.suffix
        layer, fans = type(self.layer).__name__, kernel.geometry.fans()
        self.rows.append(Row(path, layer, *fans, rule, None, std_of(value), **numbers))


class LayerwiseScheme(Scheme):
    """Base of schemes that set kernels by the data that reach them.

    The model runs once, layer by layer. A subclass says which kernels it `treats`, and
    in `visit` sets those of a layer and returns its outputs, which the next layers get.
    Blocks of a stack are visited one by one. Batch normalization works with the
    statistics of the batch; everything else runs as in inference.

    Attributes:
        samples: The number of samples to look at. None for the batch size of a model
            that has one, the first batch of a data set, or at most 256 of arrays.
        initializer: The initializer that draws kernels, if the scheme has one.

    Example:
        >>> from keras_convinit.schemes import LayerwiseScheme
        >>> class UnitRange(LayerwiseScheme):
        ...     def treats(self, layer, kernels):
        ...         return len(kernels) == 1
        ...     def visit(self, layer):
        ...         [(kernel, context)] = layer.kernels
        ...         with layer.without_activation():
        ...             outputs = keras.ops.convert_to_numpy(layer.run())
        ...         layer.scale(kernel, 1 / abs(outputs).max())
        ...         layer.report(kernel, context, "unit range")
        ...         return layer.run()
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.normal(size=(32, 8)).astype("float32")
        >>> report = keras_convinit.initialize(model, UnitRange(), data=x)
        >>> round(float(abs(model.predict(x, verbose=0)).max()), 4)
        1.0
    """

    samples: int | None = None
    initializer: Any = None

    @abc.abstractmethod
    def treats(
        self, layer: KerasLayer, kernels: list[tuple[Kernel, KernelContext]]
    ) -> bool:
        """Returns True if the scheme sets these kernels of a layer.

        Args:
            layer: The layer.
            kernels: Its kernels that may be set, each with its context in the model.
        """

    @abc.abstractmethod
    def visit(self, layer: LayerContext) -> Any:
        """Sets the kernels of a layer, and returns its outputs.

        Args:
            layer: The layer, its kernels, and the signal that reaches it.

        Returns:
            The outputs of the layer for the new kernels.
        """

    def check(self, analysis: ModelAnalysis) -> None:
        """Refuses a model that the scheme is not made for; by default none.

        Args:
            analysis: The model.

        Raises:
            ValueError: The scheme is not made for the model.
        """

    def conclude(self, issues: list[tuple[str, str]]) -> None:
        """Receives at the end what could not be done; by default does nothing.

        Args:
            issues: Pairs of a path and a sentence.
        """

    def apply(self, request: InitRequest) -> InitializationReport:
        """Puts the kernels and, if asked, the other variables into the overlay.

        Args:
            request: What was asked.

        Returns:
            The report.

        Raises:
            ValueError: `data` are missing, are less than two samples, or do not give
                finite signals.
        """
        name = type(self).__name__
        inputs = _inputs(request, self.samples, name)
        analysis = request.analyze(inputs)
        self.check(analysis)
        forward = _Pass(self, request, analysis)
        forward.reset_others()
        forward.run(_data.to_tensors(inputs))
        self.conclude(forward.issues)
        notes = (
            *analysis.describe_doubts(),
            *forward.notes,
            *describe_unseeded([self.initializer]),
            *(f"{path}: {sentence}" for path, sentence in forward.issues),
        )
        return InitializationReport(
            name, tuple(forward.rows), tuple(forward.skipped), notes
        )


class _Pass:
    """One pass of one scheme through one model.

    Args:
        scheme: The scheme.
        request: What was asked.
        analysis: The model.
    """

    def __init__(
        self, scheme: LayerwiseScheme, request: InitRequest, analysis: ModelAnalysis
    ) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.issues: list[tuple[str, str]] = []
        self._kept = kept_kernels(analysis)
        self._unknown = unknown_kernels(analysis)
        self.skipped: list[Skipped] = list(self._kept.values())
        self._scheme = scheme
        self._request = request
        self._overlay = request.overlay
        self._program = program = make_executable(analysis.program, blocks=True)
        self._kernels = [known_kernels(call) or () for call in program.calls]
        # From a variable of a template to that of the stack.
        self._owners = {
            id(pair.template): pair.variable
            for call in program.calls
            if isinstance(call.layer, BlockBegins)
            for pair in call.layer.stack.stacked_variables
        }
        self._contexts = {
            id(context.kernel.variable): context for context in analysis.kernels
        }
        self._other_rows: list[Row] = []
        self._done: set[int] = set()
        self._block: list[int] = []
        self._rows_of_stacks: dict[int, list[Any]] = {}
        self._treated = self._choose()

    def _choose(self) -> set[int]:
        """Returns the identities of the kernels that the scheme sets."""
        treated: set[int] = set()
        for call, kernels in zip(self._program.calls, self._kernels, strict=True):
            chosen = [
                (kernel, context)
                for kernel in kernels
                if (context := self._context(kernel)) is not None
                and id(context.kernel.variable) not in self._kept
            ]
            if chosen and self._scheme.treats(call.layer, chosen):
                treated.update(id(context.kernel.variable) for _, context in chosen)
        return treated

    def reset_others(self) -> None:
        """Resets the variables that the scheme does not set, if asked."""
        request = self._request
        if request.others == "keep":
            self.skipped += self._unknown.values()
            return
        handled = set()
        for context in self._contexts.values():
            kernel = context.kernel
            if (
                id(kernel.variable) in self._treated
                or id(kernel.variable) in self._kept
            ):
                handled |= {id(kernel.variable), id(kernel.gain)}
        for layer, variable, value in reset_values(
            request.model, handled, request.seeds
        ):
            if isinstance(value, Skipped):
                self.skipped.append(value)
                continue
            self._overlay.put(variable, value)
            rule = UNKNOWN_KERNEL if id(variable) in self._unknown else AS_ITS_LAYER
            self._other_rows.append(row_of_other(layer, variable, value, rule))

    def run(self, inputs: Nest) -> None:
        """Runs the model, and sets kernels on the way.

        Args:
            inputs: A nest of tensors.

        Raises:
            ValueError: The outputs are not finite.
        """
        with self._overlay.in_scope():
            outputs = self._program.run(inputs, self._call)
        by_data = {row.path.partition("[")[0] for row in self.rows}
        self.rows += [row for row in self._other_rows if row.path not in by_data]
        for tensor in keras.tree.flatten(outputs):
            if not bool(ops.convert_to_numpy(ops.all(ops.isfinite(tensor)))):
                raise ValueError(
                    "`data` must give finite signals in all of the model. "
                    "Received: data that give outputs which are NaN or infinite"
                )

    def _call(self, call: LayerCall, *args: Any, **kwargs: Any) -> Any:
        layer = call.layer
        if isinstance(layer, BlockEnds):
            self._leave(layer)
        elif isinstance(layer, BlockBegins):
            self._enter(layer)
        if not call.fixed_training and takes_training(layer):
            kwargs["training"] = uses_batch_statistics(layer)
        kernels = []
        for kernel in self._kernels[call.index]:
            context = self._context(kernel)
            if context is None or id(context.kernel.variable) not in self._treated:
                continue
            if id(kernel.variable) in self._done:
                note = f"{call.path}: called again; its first call decided"
                if note not in self.notes:
                    self.notes.append(note)
                continue
            self._done.add(id(kernel.variable))
            kernels.append((kernel, context))
        if not kernels:
            return layer(*args, **kwargs)
        outputs = self._scheme.visit(
            LayerContext(
                call.path,
                layer,
                make_repeatable(layer, args, kwargs),
                kernels,
                self._overlay,
                self._request.seeds,
                self.issues,
                self._owner,
                "".join(f"[{index}]" for index in self._block),
                self.rows,
            )
        )
        if outputs is None:
            raise ValueError(
                f"`visit` of {type(self._scheme).__name__} must return the outputs of "
                f"the layer. Received: None for {call.path}"
            )
        return outputs

    def _context(self, kernel: Kernel) -> KernelContext | None:
        return self._contexts.get(id(self._owner(kernel.variable)))

    def _owner(self, variable: Variable) -> Any:
        while id(variable) in self._owners:
            variable = self._owners[id(variable)]
        return variable

    def _enter(self, block: BlockBegins) -> None:
        self._block.append(block.index)
        for pair in block.stack.stacked_variables:
            row = self._overlay.current(pair.variable)[block.index]
            self._overlay.lend(pair.template, row)
            self._done.discard(id(pair.template))

    def _leave(self, block: BlockEnds) -> None:
        self._block.pop()
        for pair in block.stack.stacked_variables:
            number = id(pair.variable)
            rows = self._rows_of_stacks.setdefault(number, [])
            rows.append(self._overlay.current(pair.template))
            if len(rows) == block.stack.num_blocks:
                del self._rows_of_stacks[number]
                # A stack may itself be in the template of another one.
                inside = number in self._owners
                put = self._overlay.lend if inside else self._overlay.put
                put(pair.variable, ops.stack(rows))


def _inputs(request: InitRequest, samples: int | None, scheme: str) -> Any:
    """Returns the inputs of the pass, a nest of arrays."""
    data = request.data
    if data is None:
        raise ValueError(
            f"`data` must be given for the scheme {scheme}: inputs, or a pair of "
            "inputs and labels, as arrays or a data set. Received: data=None"
        )
    if samples is None:
        samples = _data.get_batch_size(request.model)
    if samples is None and not _data.is_dataset(data):
        samples = MOST_SAMPLES
    batch = _data.take_first_batch(request.model, data, name="data", samples=samples)
    if batch.size < 2:
        raise ValueError(
            f"`data` must have two samples at least for the scheme {scheme}, which "
            "measures how they differ. "
            f"Received: data of shape {_data.show_shapes(batch.x)}"
        )
    _data.check_finite("data", batch.x)
    return batch.x


def scaled_variable(kernel: Kernel) -> Variable:
    """Returns the variable that the effective kernel is scaled by: its gain, or all."""
    return kernel.variable if kernel.gain is None else kernel.gain


def wide(x: Tensor) -> Any:
    """Returns a tensor in float32, or in its own wider dtype."""
    return ops.cast(x, promote_to_float32(x.dtype))


_CHANNELS_LAST = (keras.layers.Dense,)
_CONVOLUTIONS = tuple(
    getattr(keras.layers, f"{kind}{rank}D{suffix}")
    for kind, ranks, suffix in (
        ("Conv", (1, 2, 3), ""),
        ("Conv", (1, 2, 3), "Transpose"),
        ("DepthwiseConv", (1, 2), ""),
        ("SeparableConv", (1, 2), ""),
    )
    for rank in ranks
)
_LINEAR = (*_CHANNELS_LAST, keras.layers.EinsumDense, *_CONVOLUTIONS)
_WRAPPERS = (WeightNorm, keras.layers.TimeDistributed)


def unwrap(layer: KerasLayer) -> Any:
    """Returns the layer that multiplies, inside `WeightNorm` and `TimeDistributed`."""
    while any(calls_as(layer, wrapper) for wrapper in _WRAPPERS):
        layer = layer.layer
    return layer


def is_linear(layer: KerasLayer) -> bool:
    """Returns True if the outputs are linear in each kernel.

    Up to a bias and an activation.
    """
    inner = unwrap(layer)
    # A subclass with a `call` of its own may do anything.
    return any(calls_as(inner, cls) for cls in _LINEAR)


def broadcast(bias: Tensor, layer: KerasLayer) -> Any:
    """Returns a bias in a shape that can be added to the outputs of its layer."""
    inner = unwrap(layer)
    if getattr(inner, "data_format", None) != "channels_first":
        return bias
    return ops.reshape(bias, (-1, *[1] * _positions(inner)))


def channel_axes(layer: KerasLayer, kernel: Kernel, rank: int) -> tuple[int, ...]:
    """Returns the axes of the outputs that are those of a gain, in the gain's order.

    Args:
        layer: A layer that `is_linear`.
        kernel: Its kernel.
        rank: The rank of its outputs.

    Returns:
        Axes from 0. Of a depthwise convolution one, which holds both of the kernel's.
    """
    inner = unwrap(layer)
    if isinstance(inner, keras.layers.EinsumDense):
        return _of_equation(inner.equation, kernel, rank)
    if getattr(inner, "data_format", None) == "channels_first":
        return (rank - 1 - _positions(inner),)
    return (rank - 1,)


def _positions(convolution: Any) -> int:
    return len(convolution.kernel_size)


def _of_equation(equation: str, kernel: Kernel, rank: int) -> tuple[int, ...]:
    left, output = equation.replace(" ", "").split("->")
    names = left.split(",")[1]
    before, _, after = output.partition("...")
    place = {name: axis for axis, name in enumerate(before)}
    if "..." in output:
        first = rank - len(after)
        place.update({name: first + axis for axis, name in enumerate(after)})
    axes = sorted(axis % len(names) for axis in kernel.geometry.output_axes)
    return tuple(place[names[axis]] for axis in axes)
