"""Activations that are written as a product."""

import collections

import keras

from keras_convinit.graph._effect import Effect, OpKind
from keras_convinit.graph.program import Program


def with_self_gates(program: Program, effects: list[Effect]) -> list[Effect]:
    """Has x * sigmoid(x), in two calls, be the one activation that it is.

    Args:
        program: The program.
        effects: What each of its calls does by itself.

    Returns:
        The effects, changed where it is so.
    """
    effects = list(effects)
    producer = {n: c.index for c in program.calls for n in c.outputs}
    uses = collections.Counter(n for effect in effects for n in effect.inputs)
    for index, effect in enumerate(effects):
        if effect.kind is not OpKind.PRODUCT or len(effect.inputs) != 2:
            continue
        for signal, gate in (effect.inputs, effect.inputs[::-1]):
            inner = producer.get(gate)
            if (
                inner is not None
                and effects[inner].kind is OpKind.ACTIVATION
                and effects[inner].activation is keras.activations.sigmoid
                and effects[inner].inputs == (signal,)
                and uses[gate] == 1
            ):
                activation = keras.activations.silu
                effects[index] = Effect(OpKind.ACTIVATION, (signal,), activation)
                effects[inner] = Effect(OpKind.SOURCE, ())
    return effects
