"""Reads each kernel of a model with its surroundings."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_convinit._types import DataLike, KerasLayer, KerasModel, Nest
from keras_convinit.analysis import _activation
from keras_convinit.analysis._activation import get_fused
from keras_convinit.analysis._blocks import Block, find_blocks, find_stages
from keras_convinit.analysis._effect import (
    Effect,
    classify_call,
    join_written_out,
    mark_self_gates,
    multiplies_by_variable,
)
from keras_convinit.analysis._flow import (
    Downstream,
    Upstream,
    add_factors,
    join_downstream,
    join_upstream,
    trace_downstream,
    trace_upstream,
)
from keras_convinit.analysis._own_layers import explain_whole
from keras_convinit.analysis.composites import is_rewritten
from keras_convinit.analysis.model_analysis import (
    Conflict,
    KernelContext,
    ModelAnalysis,
    Unread,
)
from keras_convinit.analysis.program import LayerCall, OpenedCall, Program, TensorRef
from keras_convinit.analysis.tracing import trace_opened
from keras_convinit.kernels import Kernel, kernels_of

# What an initial value depends on.
_DEMANDS = (
    "preceding",
    "following",
    "normalized",
    "first",
    "classifier",
    "last_in_branch",
    "branch_factor",
    "absorbed",
    "projection",
    "blocks",
)


def merge_contexts(
    sites: list[KernelContext],
) -> tuple[tuple[KernelContext, ...], list[Conflict]]:
    """Leaves one site for each variable, the first one.

    Args:
        sites: The sites of all calls, in order.

    Returns:
        The first of each variable, and where later ones ask for something else.
    """
    first: dict[int, KernelContext] = {}
    answers: dict[tuple[int, str], list[Any]] = {}
    for site in sites:
        key = id(site.kernel.variable)
        first.setdefault(key, site)
        for name in _DEMANDS:
            given = answers.setdefault((key, name), [])
            value = getattr(site, name)
            if not any(_same(value, other) for other in given):
                given.append(value)
    conflicts = [
        Conflict(
            first[key].path, name, tuple(values), "the kernel is used several times"
        )
        for (key, name), values in answers.items()
        if len(values) > 1
    ]
    return tuple(first.values()), conflicts


def _same(first: Any, second: Any) -> bool:
    return first == second or _activation.is_same(first, second)


@dataclasses.dataclass(frozen=True)
class Within:
    """One kernel, as it stands in its layer.

    Args:
        kernel: The kernel.
        begins: Whether it reads what comes into the layer.
        preceding: Otherwise, the activation of what it reads, None for the linear one.
        ends: Whether what it gives leaves the layer.
        following: The activation that the layer applies to what it gives.
    """

    kernel: Kernel
    begins: bool
    preceding: Any
    ends: bool
    following: Any


@functools.singledispatch
def split_kernels(layer: KerasLayer, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    """Tells how the kernels of a layer follow each other; side by side if unknown.

    Args:
        layer: The layer.
        kernels: Its kernels.

    Returns:
        One entry for each of them.
    """
    return tuple(Within(k, True, None, True, get_fused(layer)) for k in kernels)


def _separable(layer: KerasLayer, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    depthwise, pointwise = kernels
    return (
        Within(depthwise, True, None, False, None),
        Within(pointwise, False, None, True, get_fused(layer)),
    )


def _attention(layer: KerasLayer, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    *readers, output = kernels
    return (
        *(Within(kernel, True, None, False, None) for kernel in readers),
        Within(output, False, None, True, None),
    )


def _recurrent(layer: KerasLayer, kernels: tuple[Kernel, ...]) -> tuple[Within, ...]:
    cells = getattr(layer.cell, "cells", [layer.cell])
    number = len(kernels) // len(cells)
    found: list[Within] = []
    before, begins = None, True
    for index, cell in enumerate(cells):
        state, ends = get_fused(cell), cell is cells[-1]
        for kernel in kernels[index * number : (index + 1) * number]:
            if kernel.name.endswith("recurrent_kernel"):
                found.append(Within(kernel, False, state, ends, state))
            else:
                found.append(Within(kernel, begins, before, ends, state))
        before, begins = state, False
    return tuple(found)


def _bidirectional(
    layer: KerasLayer, kernels: tuple[Kernel, ...]
) -> tuple[Within, ...]:
    half = len(kernels) // 2
    return (
        *split_kernels(layer.forward_layer, kernels[:half]),
        *split_kernels(layer.backward_layer, kernels[half:]),
    )


split_kernels.register(keras.layers.SeparableConv1D, _separable)
split_kernels.register(keras.layers.SeparableConv2D, _separable)
split_kernels.register(keras.layers.MultiHeadAttention, _attention)
split_kernels.register(keras.layers.GroupQueryAttention, _attention)
split_kernels.register(keras.layers.RNN, _recurrent)
split_kernels.register(keras.layers.Bidirectional, _bidirectional)


@dataclasses.dataclass(frozen=True)
class Role:
    """What a call is in its model.

    Args:
        origin: What its inputs have gone through.
        fate: What becomes of its outputs.
        place: The attributes of a `KernelContext` that tell of residual blocks.
    """

    origin: Upstream
    fate: Downstream
    place: dict[str, Any]


def find_roles(
    program: Program, effects: list[Effect], kernels: list[tuple[Kernel, ...]]
) -> tuple[list[Role], tuple[int, ...], list[tuple[LayerCall, str]]]:
    """Finds the role of each call in its model.

    Args:
        program: The program.
        effects: What each of its calls does.
        kernels: The kernels of the layer of each call.

    Returns:
        A role for each call, the number of blocks of each stage, and the calls of which
        something is not counted, with the reason.
    """
    inputs = _numbers(program.inputs)
    before = trace_upstream(program, effects, inputs)
    effects, doubts = add_factors(program, effects, before)
    before = trace_upstream(program, effects, inputs)
    after = trace_downstream(program, effects, _numbers(program.outputs), before)
    blocks = find_blocks(program, effects, before, kernels)
    stages = find_stages(program, effects, blocks, kernels)
    sizes = [0] * len(set(stages))
    places: dict[int, dict[str, Any]] = {}
    firsts = []
    for block, stage in zip(blocks, stages, strict=True):
        firsts.append(sizes[stage])
        sizes[stage] += block.count
    branches = 0
    # What is inside of two blocks belongs to the inner one, whose sum comes first.
    for block, stage, first in zip(blocks, stages, firsts, strict=True):
        of_block = {"stage": stage, "block": first, "blocks": sizes[stage]}
        for index, place in _places(block, branches):
            places.setdefault(index, {**of_block, **place})
        branches += len(block.branches)
    roles = [
        Role(
            join_upstream([before[n] for n in effect.inputs]),
            join_downstream([after[n] for n in call.outputs if n in after]),
            places.get(call.index, {}),
        )
        for call, effect in zip(program.calls, effects, strict=True)
    ]
    return roles, tuple(sizes), doubts


def _places(block: Block, number: int) -> Any:
    for index in block.shortcut:
        yield index, {"projection": True}
    for offset, (branch, last) in enumerate(
        zip(block.branches, block.last, strict=True)
    ):
        for index in branch:
            is_last = index in last
            yield (
                index,
                {
                    "branch": number + offset,
                    "last_in_branch": is_last,
                    "branch_factor": block.factor,
                    "absorbed": block.absorbed if is_last else 1.0,
                },
            )


def _numbers(structure: Nest) -> set[int]:
    flat = keras.tree.flatten(structure)
    return {value.id for value in flat if isinstance(value, TensorRef)}


def analyze(model: KerasModel, data: DataLike = None) -> ModelAnalysis:
    """Reads each kernel of a model with its surroundings.

    Models inside it and layers that `expand` knows are opened: our residual layers,
    those that are registered, and those of somebody's own that are made of layers and
    `keras.ops`. The kernels of a layer are those that `kernels_of` gives.

    Args:
        model: A built model.
        data: For a model that is not Functional or Sequential, or not built: what it
            takes, such as an array of a few samples.

    Returns:
        A `KernelContext` for each kernel, the sizes of the stages, and doubts.

    Raises:
        ValueError: `model` is not a model, is not built, or does in its own `call`
            what cannot be seen.

    Example:
        >>> from keras_convinit.analysis import analyze
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
        ...         keras.layers.Flatten(),
        ...         keras.layers.Dense(2, name="dense"),
        ...     ]
        ... )
        >>> [(site.path, site.classifier) for site in analyze(model).kernels]
        [('conv', False), ('dense', True)]
    """
    return analyze_program(trace_opened(model, data), model)


def analyze_program(program: Program, model: KerasModel) -> ModelAnalysis:
    """Reads what stands around each kernel of a model that has been traced.

    Args:
        program: The program of the model, from `trace_opened`.
        model: The model.

    Returns:
        As `analyze`.

    Example:
        >>> from keras_convinit.analysis import analyze_program, trace_opened
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> len(analyze_program(trace_opened(model), model).kernels)
        1
    """
    owners = _owners(program.opened)
    unread: dict[int, Unread] = {}
    kernels = [_kernels(call, program, unread) for call in program.calls]
    effects = mark_self_gates(
        program,
        [
            _effect(call, program, found, set(unread))
            for call, found in zip(program.calls, kernels, strict=True)
        ],
    )
    effects = join_written_out(program, effects)
    roles, stages, uncounted = find_roles(program, effects, kernels)
    assumed = [
        (call, effect.assumed)
        for call, effect in zip(program.calls, effects, strict=True)
        if effect.assumed is not None
    ]
    for call, reason in (*assumed, *uncounted):
        unread.setdefault(id(call.layer), Unread(call.layer, call.path, reason))
    found = [
        _sites(call, kernels[call.index], role, owners)
        for call, role in zip(program.calls, roles, strict=True)
    ]
    doubts = [
        conflict
        for call, role in zip(program.calls, roles, strict=True)
        if kernels[call.index]
        for conflict in _disagreements(call.path, role)
    ]
    sites, conflicts = merge_contexts([site for sites in found for site in sites])
    return ModelAnalysis(
        sites,
        stages,
        (*doubts, *conflicts),
        (*unread.values(), *_never_called(model, program, sites)),
        program,
    )


# For the identity of a variable of a template: the stack, and its variable.
Owners = dict[int, tuple[Any, Any]]


def _owners(opened: Iterable[OpenedCall]) -> Owners:
    owners: Owners = {}
    for each in opened:
        if each.block is not None:
            stack = each.whole.layer
            for pair in stack.stacked_variables:
                owners[id(pair.template)] = stack, pair.variable
        owners.update(_owners(each.parts))
    return owners


def _owner(layer: KerasLayer, kernel: Kernel, owners: Owners) -> tuple[Any, Kernel]:
    """Returns the layer of the model that a kernel belongs to, and the kernel there."""
    while id(kernel.variable) in owners:
        layer, variable = owners[id(kernel.variable)]
        _, gain = owners.get(id(kernel.gain), (None, None))
        kernel = dataclasses.replace(
            kernel,
            name=f"branch.{kernel.name}",
            variable=variable,
            gain=gain,
            copies=layer.num_blocks * kernel.copies,
            stacked=True,
        )
    return layer, kernel


def _kernels(
    call: LayerCall, program: Program, unread: dict[int, Unread]
) -> tuple[Kernel, ...]:
    kernels = known_kernels(call)
    if kernels is None:
        reason = _why_unknown(call, program)
        unread.setdefault(id(call.layer), Unread(call.layer, call.path, reason))
    return kernels or ()


def known_kernels(call: LayerCall) -> tuple[Kernel, ...] | None:
    """Returns the kernels of the layer of a call, None if they are not known.

    Args:
        call: A call of a program.

    Example:
        >>> from keras_convinit.analysis import known_kernels, trace
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> [kernel.name for kernel in known_kernels(trace(model).calls[0])]
        ['kernel']
    """
    layer = call.layer
    is_layer = isinstance(layer, keras.layers.Layer)
    # A part that `expand` adds, such as a sum, has not been built.
    if not is_layer or not (layer.built or layer.variables):
        return ()
    return find_kernels(layer)


def find_kernels(layer: KerasLayer) -> tuple[Kernel, ...] | None:
    """Returns the kernels of a built layer, None if they are not known.

    Those of a residual layer of ours with a `call` of the user's own are not: where
    they stand is in that.

    Args:
        layer: The layer, which has not been opened.

    Example:
        >>> from keras_convinit.analysis import find_kernels
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 4))
        >>> [kernel.name for kernel in find_kernels(layer)]
        ['kernel']
    """
    try:
        kernels = kernels_of(layer)
        return None if kernels and is_rewritten(layer) else kernels
    except ValueError:
        return None


def _why_unknown(call: LayerCall, program: Program) -> str:
    name = type(call.layer).__name__
    args, kwargs = keras.tree.map_structure(
        lambda x: (
            keras.KerasTensor(program.shapes[x.id], program.dtypes[x.id])
            if isinstance(x, TensorRef)
            else x
        ),
        (call.arguments, call.keywords),
    )
    why = explain_whole(call.layer, args, kwargs)
    if why is None:
        return (
            f"{name} has kernels that are not known, and must be registered with "
            "`keras_convinit.kernels_of.register`"
        )
    return (
        f"{name} could not be opened ({why}), and must be registered with "
        "`keras_convinit.analysis.expand.register`, for what its parts do, or with "
        "`keras_convinit.kernels_of.register`"
    )


def _effect(
    call: LayerCall, program: Program, kernels: tuple[Kernel, ...], unread: set[int]
) -> Effect:
    # One that holds kernels of which nothing is known is one for its neighbors.
    known = not (id(call.layer) in unread or multiplies_by_variable(call))
    return classify_call(call, program, bool(kernels) or not known)


def _sites(
    call: LayerCall, kernels: tuple[Kernel, ...], role: Role, owners: "Owners"
) -> Iterator[KernelContext]:
    for part in split_kernels(call.layer, kernels) if kernels else ():
        layer, kernel = _owner(call.layer, part.kernel, owners)
        site = KernelContext(layer, call.path, kernel, **role.place)
        if part.begins:
            site = dataclasses.replace(
                site,
                preceding=role.origin.activation,
                preceded_by_normalization=role.origin.normalized,
                first=role.origin.raw,
            )
        else:
            site = dataclasses.replace(site, preceding=part.preceding)
        following = part.following
        if not part.ends:
            site = dataclasses.replace(site, last_in_branch=False)
        elif following is None:
            following = role.fate.activation
        leaves = role.fate.leaves and not role.fate.seen
        yield dataclasses.replace(
            site,
            following=following,
            normalized=part.ends and part.following is None and role.fate.normalized,
            classifier=part.ends and leaves,
        )


def _never_called(
    model: KerasModel, program: Program, sites: tuple[KernelContext, ...]
) -> Iterator[Unread]:
    owners = [*(site.layer for site in sites), *(call.layer for call in program.calls)]
    known = {id(v) for owner in owners for v in getattr(owner, "variables", ())}
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and id(variable) not in known:
            reason = f"{variable.path} is a variable of no layer that is called"
            yield Unread(model, "", reason)


def _disagreements(path: str, role: Role) -> Iterator[Conflict]:
    reason = "signals that are put together, or go several ways"
    if role.origin.disagreeing:
        yield Conflict(path, "preceding", role.origin.disagreeing, reason)
    if role.fate.disagreeing:
        yield Conflict(path, "following", role.fate.disagreeing, reason)
