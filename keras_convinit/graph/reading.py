"""Reads what stands around each kernel of a model."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_convinit.graph._effect import Effect, effect_of, multiplies_by_variable
from keras_convinit.graph._merge import merged
from keras_convinit.graph._own_layers import why_whole
from keras_convinit.graph._roles import Role, roles_of
from keras_convinit.graph._self_gates import with_self_gates
from keras_convinit.graph._within import within
from keras_convinit.graph._written_out import with_written_out
from keras_convinit.graph.program import LayerCall, OpenedCall, Program, TensorRef
from keras_convinit.graph.site import Conflict, KernelContext, ModelAnalysis, Unread
from keras_convinit.graph.tracing import trace_opened
from keras_convinit.kernels import Kernel, kernels_of


def analyze(model: Any, data: Any = None) -> ModelAnalysis:
    """Reads what stands around each kernel of a model, which is left as it is.

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
        >>> from keras_convinit.graph import analyze
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
    program = trace_opened(model, data)
    owners = _owners(program.opened)
    unread: dict[int, Unread] = {}
    kernels = [_kernels(call, program, unread) for call in program.calls]
    effects = with_self_gates(
        program,
        [
            _effect(call, program, found, set(unread))
            for call, found in zip(program.calls, kernels, strict=True)
        ],
    )
    effects = with_written_out(program, effects)
    roles, stages, uncounted = roles_of(program, effects, kernels)
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
    sites, conflicts = merged([site for sites in found for site in sites])
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


def _owner(layer: Any, kernel: Kernel, owners: Owners) -> tuple[Any, Kernel]:
    """The layer of the user's that a kernel belongs to, and the kernel there."""
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
    layer = call.layer
    is_layer = isinstance(layer, keras.layers.Layer)
    # A part that `expand` adds, such as a sum, has not been built.
    if not is_layer or not (layer.built or layer.variables):
        return ()
    try:
        return kernels_of(layer)
    except ValueError:
        reason = _why_unknown(call, program)
        unread.setdefault(id(layer), Unread(layer, call.path, reason))
        return ()


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
    why = why_whole(call.layer, args, kwargs)
    if why is None:
        return (
            f"{name} has kernels that are not known, and must be registered with "
            "`keras_convinit.kernels_of.register`"
        )
    return (
        f"{name} could not be opened ({why}), and must be registered with "
        "`keras_convinit.graph.expand.register`, for what its parts do, or with "
        "`keras_convinit.kernels_of.register`"
    )


def _effect(
    call: LayerCall, program: Program, kernels: tuple[Kernel, ...], unread: set[int]
) -> Effect:
    # One that holds kernels of which nothing is known is one for its neighbours.
    known = not (id(call.layer) in unread or multiplies_by_variable(call))
    return effect_of(call, program, bool(kernels) or not known)


def _sites(
    call: LayerCall, kernels: tuple[Kernel, ...], role: Role, owners: "Owners"
) -> Iterator[KernelContext]:
    for part in within(call.layer, kernels) if kernels else ():
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
    model: Any, program: Program, sites: tuple[KernelContext, ...]
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
