"""Coupled weight decay, step for step against PyTorch."""

import inspect

import keras
import numpy as np
import pytest

from keras_convinit.layers import WeightNormDense
from keras_convinit.optimizers import CoupledSGD

RATE, DECAY = 0.1, 0.05


def by_pytorch(values, slopes, steps, clip=None, **arguments):
    """Minimizes sums of slope * w^2 / 2 of each weight."""
    import torch

    weights = [torch.tensor(value, requires_grad=True) for value in values]
    optimizer = torch.optim.SGD(weights, lr=RATE, **arguments)
    for _ in range(steps):
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = torch.tensor(slope) * weight.detach()
        if clip:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
    return [weight.detach().numpy() for weight in weights]


def by_keras(optimizer, values, slopes, steps):
    weights = [keras.Variable(value, name="kernel") for value in values]
    for _ in range(steps):
        gradients = [
            keras.ops.convert_to_tensor(slope) * weight.value
            for slope, weight in zip(slopes, weights, strict=True)
        ]
        optimizer.apply(gradients, weights)
    return [keras.ops.convert_to_numpy(weight) for weight in weights]


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    values = [generator.standard_normal(s).astype("float32") for s in [(3, 4), (4,)]]
    slopes = [generator.uniform(0.1, 1, v.shape).astype("float32") for v in values]
    return values, slopes, 20


def far(actual, expected):
    return max(np.abs(a - b).max() for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)]
)
def test_it_is_pytorch_step_for_step(momentum, nesterov, problem):
    arguments = {"momentum": momentum, "nesterov": nesterov, "weight_decay": DECAY}
    expected = by_pytorch(*problem, **arguments)
    actual = by_keras(CoupledSGD(RATE, **arguments), *problem)
    assert far(actual, expected) < 1e-6
    # Keras' own decay is another one, wherever there is momentum.
    decoupled = by_keras(keras.optimizers.SGD(RATE, **arguments), *problem)
    assert (far(decoupled, expected) > 1e-2) == (momentum > 0)
    none = by_keras(CoupledSGD(RATE, momentum, nesterov), *problem)
    plain = by_keras(keras.optimizers.SGD(RATE, momentum, nesterov), *problem)
    assert far(none, plain) < 1e-7


def test_the_decay_is_not_clipped(problem):
    arguments = {"momentum": 0.9, "weight_decay": DECAY}
    expected = by_pytorch(*problem, clip=0.1, **arguments)
    optimizer = CoupledSGD(RATE, global_clipnorm=0.1, **arguments)
    assert far(by_keras(optimizer, *problem), expected) < 1e-5


@pytest.mark.parametrize("undecayed", [(), ("bias", "weight_norm_gain")])
def test_a_nested_model_trains_as_in_pytorch(undecayed):
    import torch
    from torch.nn.utils.parametrizations import weight_norm

    generator = np.random.default_rng(0)
    x = generator.standard_normal((4, 6)).astype("float32")
    y = generator.standard_normal((4, 3)).astype("float32")
    layers = [
        WeightNormDense(5, activation="tanh", kernel_initializer="zeros"),
        WeightNormDense(3, kernel_initializer="zeros"),
    ]
    inner = keras.Sequential([keras.Input((5,)), layers[1]])
    model = keras.Sequential([keras.Input((6,)), layers[0], inner])
    model.set_weights(
        [generator.standard_normal(value.shape) for value in model.get_weights()]
    )

    modules = [weight_norm(torch.nn.Linear(*shape)) for shape in [(6, 5), (5, 3)]]
    named = {}
    for index, (layer, module) in enumerate(zip(layers, modules, strict=True)):
        direction, bias, gain = (torch.tensor(v) for v in layer.get_weights())
        with torch.no_grad():
            module.parametrizations.weight.original1.copy_(direction.T)
            module.parametrizations.weight.original0.copy_(gain[:, None])
            module.bias.copy_(bias)
        named[index, "weight_norm_direction"] = module.parametrizations.weight.original1
        named[index, "bias"] = module.bias
        named[index, "weight_norm_gain"] = module.parametrizations.weight.original0

    model.compile(
        CoupledSGD(RATE, momentum=0.9, weight_decay=DECAY, undecayed=undecayed), "mse"
    )
    model.fit(x, y, batch_size=4, epochs=5, verbose=0)
    optimizer = torch.optim.SGD(
        [
            {"params": [p], "weight_decay": 0 if name in undecayed else DECAY}
            for (_, name), p in named.items()
        ],
        lr=RATE,
        momentum=0.9,
    )
    for _ in range(5):
        optimizer.zero_grad()
        outputs = modules[1](torch.tanh(modules[0](torch.tensor(x))))
        torch.square(outputs - torch.tensor(y)).mean().backward()
        optimizer.step()
    expected = [p.detach().numpy().T.squeeze() for p in named.values()]
    actual = [value for layer in layers for value in layer.get_weights()]
    assert far(actual, expected) < 1e-5


def test_the_config_is_the_signature():
    optimizer = CoupledSGD(
        0.2, 0.9, True, weight_decay=1e-3, undecayed=["bias"], global_clipnorm=2.0
    )
    config = optimizer.get_config()
    own = set(inspect.signature(CoupledSGD).parameters) - {"kwargs"}
    assert set(config) == own | set(keras.optimizers.SGD().get_config())
    twin = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(twin) is CoupledSGD
    assert twin.get_config() == config
    assert (config["weight_decay"], config["undecayed"]) == (1e-3, ["bias"])
    # Else Keras would decay once more.
    assert optimizer.weight_decay is None
    assert optimizer.coupled_weight_decay == 1e-3


@pytest.mark.parametrize("decay", [0, -1e-4, float("nan"), "1e-4"])
def test_a_decay_is_positive(decay):
    with pytest.raises(ValueError, match="`weight_decay` must be a finite") as caught:
        CoupledSGD(weight_decay=decay)
    assert f"Received: weight_decay={decay!r}" in str(caught.value)


@pytest.mark.parametrize("undecayed", ["bias", [1]])
def test_undecayed_are_names(undecayed):
    with pytest.raises(ValueError, match="collection of names") as caught:
        CoupledSGD(undecayed=undecayed)
    assert f"Received: undecayed={undecayed!r}" in str(caught.value)
