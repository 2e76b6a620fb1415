"""Schemes that need no data: a rule for each kernel, from its surroundings."""

import abc
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_convinit._types import InitializerLike, Tensor, Variable
from keras_convinit.analysis import KernelContext, ModelAnalysis
from keras_convinit.initializers import WeightNormGain
from keras_convinit.kernels import (
    Kernel,
    effective_kernel,
    gain_shape,
    output_norms,
)
from keras_convinit.schemes._drawing import describe_unseeded, draw_copies, target_std
from keras_convinit.schemes._others import (
    kept_kernels,
    reset_values,
    row_of_other,
    unknown_kernels,
)
from keras_convinit.schemes.base import InitRequest, Scheme, ValueOverlay
from keras_convinit.schemes.report import (
    AS_ITS_LAYER,
    UNKNOWN_KERNEL,
    InitializationReport,
    Row,
    Skipped,
    std_of,
)

AS_DRAWN = WeightNormGain(mode="kernel")


@dataclasses.dataclass(frozen=True)
class KernelInit:
    """The distribution and scale that one kernel is given.

    Args:
        label: The name of the rule in the report.
        initializer: A Keras initializer, as an object or by name, which draws the
            kernel, or the direction v where `gains` is given. It sees the true fans of
            the layer.
        gains: A function of the number of the copy, from 0, that gives the
            `WeightNormGain` of the kernel. None for a kernel as it is drawn, whether or
            not its layer stores it as direction and gain.
        factor: A factor of the kernel, a finite number.

    Raises:
        ValueError: `initializer` is not known to Keras, or `factor` is not finite.

    Example:
        >>> from keras_convinit.schemes import KernelInit
        >>> KernelInit("He", "he_normal").factor
        1.0
    """

    label: str
    initializer: Any
    gains: Callable[[int], WeightNormGain] | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        initializer = keras.initializers.get(self.initializer)
        if not callable(initializer):
            raise ValueError(
                "`initializer` must be a Keras initializer or the name of one. "
                f"Received: initializer={self.initializer!r}"
            )
        if not math.isfinite(self.factor):
            raise ValueError(
                f"`factor` must be a finite number. Received: factor={self.factor!r}"
            )
        # The class is frozen.
        object.__setattr__(self, "initializer", initializer)


class PerKernelScheme(Scheme):
    """Base of schemes that give each kernel a rule, without data.

    A subclass says `rule`; reading the model, drawing, gains, factors that are
    absorbed, resetting of other variables and the report are done here.

    Attributes:
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.
        zero_biases: Whether biases of layers with kernels become zero, instead of what
            their layers start from.

    Example:
        >>> from keras_convinit.schemes import KernelInit, PerKernelScheme
        >>> class DeeperIsSmaller(PerKernelScheme):
        ...     def rule(self, context, analysis):
        ...         depth = analysis.kernels.index(context) + 1
        ...         he = keras.initializers.HeNormal()
        ...         return KernelInit("He / sqrt(depth)", he, factor=depth**-0.5)
        >>> dense = [keras.layers.Dense(64) for _ in range(4)]
        >>> model = keras.Sequential([keras.Input((64,)), *dense])
        >>> report = keras_convinit.initialize(model, DeeperIsSmaller(), seed=0)
        >>> [round(row.target_std, 3) for row in report.rows[:4]]
        [0.177, 0.125, 0.102, 0.088]
    """

    stride_aware: bool = False
    zero_biases: bool = False

    @abc.abstractmethod
    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns the rule of a kernel.

        Args:
            context: The kernel and its surroundings.
            analysis: The model that it belongs to.
        """

    def check(self, analysis: ModelAnalysis) -> None:
        """Refuses a model that the scheme is not made for; by default none.

        Args:
            analysis: The model.

        Raises:
            ValueError: The scheme is not made for the model.
        """

    def name(self) -> str:
        """Returns the name of the scheme in reports."""
        return type(self).__name__.removesuffix("Scheme")

    def apply(self, request: InitRequest) -> InitializationReport:
        """Puts the kernels and, if asked, the other variables into the overlay.

        Args:
            request: What was asked.

        Returns:
            The report.
        """
        analysis, overlay = request.analyze(), request.overlay
        self.check(analysis)
        kept = kept_kernels(analysis)
        planned: list[tuple[KernelContext, list[int]]] = []
        for context in analysis.kernels:
            if id(context.kernel.variable) not in kept:
                seeds = [request.seeds.next() for _ in range(context.kernel.copies)]
                planned.append((context, seeds))
        others = self._reset_others(request, analysis)
        # A rule may ask for the slopes that an activation starts with.
        with overlay.in_scope():
            rules = [
                _absorb(self._checked_rule(context, analysis), context)
                for context, _ in planned
            ]
        rows: list[Row] = []
        for (context, seeds), rule in zip(planned, rules, strict=True):
            self._put(overlay, context.kernel, rule, seeds)
            rows += self._rows(overlay, context, rule)
        rows += [row for row in others if isinstance(row, Row)]
        skipped = [*kept.values(), *(row for row in others if isinstance(row, Skipped))]
        doubts = describe_unseeded(rule.initializer for rule in rules)
        strides = self._describe_strides([context for context, _ in planned])
        notes = (*analysis.describe_doubts(), *strides, *doubts)
        return InitializationReport(self.name(), tuple(rows), tuple(skipped), notes)

    def _checked_rule(
        self, context: KernelContext, analysis: ModelAnalysis
    ) -> KernelInit:
        rule = self.rule(context, analysis)
        if not isinstance(rule, KernelInit):
            raise ValueError(
                f"`rule` of {type(self).__name__} must return a `KernelInit`. "
                f"Received: {rule!r} for {context.path}"
            )
        return rule

    def _put(
        self, overlay: ValueOverlay, kernel: Kernel, rule: KernelInit, seeds: list[int]
    ) -> None:
        drawn = draw_copies(rule.initializer, kernel, seeds, self.stride_aware)
        if kernel.gain is not None:
            gains = _gains(kernel, rule, drawn)
            overlay.put(kernel.gain, _stack([g * rule.factor for g in gains], kernel))
        else:
            if rule.gains is not None:
                axes = kernel.geometry.output_axes
                pairs = zip(drawn, _gains(kernel, rule, drawn), strict=True)
                drawn = [effective_kernel(v, g, axes) for v, g in pairs]
            drawn = [value * rule.factor for value in drawn]
        overlay.put(kernel.variable, _stack(drawn, kernel))

    def _describe_strides(self, contexts: list[KernelContext]) -> Iterator[str]:
        """Yields a note of layers whose outputs get fewer weights than `fan_in`.

        That is so where a transposed window moves by strides: the signal shrinks.
        """
        if self.stride_aware:
            return
        takes = "stride_aware" in inspect.signature(type(self)).parameters
        advice = "; `stride_aware=True` counts those" if takes else ""
        for context in contexts:
            geometry = context.kernel.geometry
            (most, _), (met, _) = geometry.fans(), geometry.fans(stride_aware=True)
            if met != most:
                yield (
                    f"{context.path}: {met:.4g} of {most} weights meet in an output, "
                    f"as its window moves by strides, which the rule ignores{advice}"
                )

    def _reset_others(
        self, request: InitRequest, analysis: ModelAnalysis
    ) -> list[Row | Skipped]:
        unknown = unknown_kernels(analysis)
        if request.others == "keep":
            return list(unknown.values())
        kernels = [context.kernel for context in analysis.kernels]
        handled = {id(v) for kernel in kernels for v in (kernel.variable, kernel.gain)}
        zeros = _biases(analysis) if self.zero_biases else set()
        rows: list[Row | Skipped] = []
        for layer, variable, value in reset_values(
            request.model, handled, request.seeds
        ):
            if isinstance(value, Skipped):
                rows.append(value)
                continue
            rule = UNKNOWN_KERNEL if id(variable) in unknown else AS_ITS_LAYER
            if id(variable) in zeros:
                rule, value = "0", ops.zeros(variable.shape, variable.dtype)
            request.overlay.put(variable, value)
            rows.append(row_of_other(layer, variable, value, rule))
        return rows

    def _rows(
        self, overlay: ValueOverlay, context: KernelContext, rule: KernelInit
    ) -> Iterator[Row]:
        kernel = context.kernel
        fans = kernel.geometry.fans(self.stride_aware)
        layer = type(context.layer).__name__
        target = target_std(rule.initializer, kernel, self.stride_aware)
        if rule.gains is not None:
            gains = [rule.gains(copy) for copy in range(kernel.copies)]
            if all(gain.mode != "kernel" for gain in gains):
                # The root mean square of weights that meet in an output.
                fan_in = kernel.geometry.fans()[0]
                squares = [gain.gain(kernel.geometry) ** 2 for gain in gains]
                target = math.sqrt(sum(squares) / len(squares) / fan_in)
        if target is not None:
            target *= rule.factor
        direction = overlay.as_float(kernel.variable)
        path, std = kernel.variable.path, std_of(direction)
        if kernel.gain is None:
            yield Row(path, layer, *fans, rule.label, target, std)
            return
        drawn_by = f"direction: {type(rule.initializer).__name__}"
        yield Row(path, layer, *fans, drawn_by, None, std)
        std = _effective_std(kernel, direction, overlay.as_float(kernel.gain))
        yield Row(kernel.gain.path, layer, *fans, rule.label, target, std)


def _gains(kernel: Kernel, rule: KernelInit, drawn: list[Any]) -> Iterator[Any]:
    """Yields the gains of each copy; without `rule.gains`, the norms of the copy."""
    axes = kernel.geometry.output_axes
    for copy, direction in enumerate(drawn):
        law = AS_DRAWN if rule.gains is None else rule.gains(copy)
        yield law.draw(
            gain_shape(direction.shape, axes),
            kernel.geometry,
            functools.partial(output_norms, direction, axes, direction.dtype),
            direction.dtype,
        )


def _biases(analysis: ModelAnalysis) -> set[int]:
    """Returns the identities of the biases that are added to the outputs of kernels."""
    return {
        id(variable)
        for context in analysis.kernels
        for variable in context.layer.weights
        if variable.name.endswith("bias")
        and _parent(variable) == _parent(context.kernel.variable)
    }


def _parent(variable: Variable) -> str:
    return str(getattr(variable, "path", "")).rpartition("/")[0]


def _absorb(rule: KernelInit, context: KernelContext) -> KernelInit:
    """Multiplies a rule by the factor of the branch that the gain holds, if any."""
    if context.absorbed == 1:
        return rule
    label = f"{rule.label} * {context.absorbed:.4g}"
    return dataclasses.replace(rule, label=label, factor=rule.factor * context.absorbed)


def _stack(values: list[Any], kernel: Kernel) -> Any:
    return ops.stack(values) if kernel.stacked else values[0]


def _effective_std(kernel: Kernel, direction: InitializerLike, gain: Tensor) -> float:
    pairs = [(direction, gain)]
    if kernel.stacked:
        pairs = [(direction[i], gain[i]) for i in range(kernel.copies)]
    axes = kernel.geometry.output_axes
    squares = [ops.mean(ops.square(effective_kernel(v, g, axes))) for v, g in pairs]
    return float(ops.convert_to_numpy(ops.sqrt(sum(squares) / len(squares))))


class KerasInitializer(PerKernelScheme):
    """Draws all kernels by one Keras initializer, with the true fans of their layers.

    Args:
        initializer: A Keras initializer, as an object or by name.
        stride_aware: Whether fans count only the taps of a strided window that meet an
            input.

    Raises:
        ValueError: `initializer` is not known to Keras.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> scheme = keras_convinit.schemes.KerasInitializer("he_normal")
        >>> report = keras_convinit.initialize(model, scheme, seed=0)
        >>> report.rows[0].target_std
        0.5
    """

    def __init__(
        self, initializer: InitializerLike, stride_aware: bool = False
    ) -> None:
        self.initializer = keras.initializers.get(initializer)
        if not isinstance(self.initializer, keras.initializers.Initializer):
            raise ValueError(
                "`initializer` must be a Keras initializer or the name of one. "
                f"Received: initializer={initializer!r}"
            )
        self.stride_aware = stride_aware

    def name(self) -> str:
        """Returns the name of the initializer."""
        return type(self.initializer).__name__

    def rule(self, context: KernelContext, analysis: ModelAnalysis) -> KernelInit:
        """Returns the initializer as a rule."""
        del context, analysis
        return KernelInit(self.name(), self.initializer)
