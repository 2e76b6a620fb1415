"""Ours, PyTorch's and Flax's weight normalization are one function of v and g."""

import importlib
import itertools
import types

import keras
import numpy as np
import pytest
from helpers.values import array

OPTIONS = types.SimpleNamespace(width=4, layers=2, size=5, batch=3)


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "examples" / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def batch():
    shape = (OPTIONS.batch, OPTIONS.size, OPTIONS.size, OPTIONS.width)
    images = np.random.default_rng(1).standard_normal(shape).astype("float32")
    return images, np.array([3, 0, 9])


def filled(model):
    """Gives every variable numbers of its own, none of them special."""
    numbers = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(numbers.uniform(0.2, 1.5, variable.shape) - 0.4)
    *convolutions, _, classifier = model.layers
    return convolutions, classifier


def direction_and_gain(layer, kind):
    if kind == "plain":
        return array(layer.kernel), None
    return array(layer.weight_norm_direction), array(layer.weight_norm_gain)


@pytest.mark.parametrize("kind", ["plain", "weight norm"])
def test_torch(benchmark, batch, kind):
    torch = pytest.importorskip("torch")
    ours = benchmark("weight_norm_step").network(kind, OPTIONS)
    convolutions, classifier = filled(ours)
    theirs = benchmark("pure_torch").network(kind, OPTIONS)
    # Images are (batch, channels, height, width), kernels (outputs, inputs, ...).
    with torch.no_grad():
        for layer, other in zip(convolutions, theirs[::2], strict=False):
            v, g = direction_and_gain(layer, kind)
            if kind == "weight norm":
                other = _put(other, torch.tensor(g.ravel()[:, None, None, None]), v)
            else:
                other.weight.copy_(torch.tensor(v.transpose(3, 2, 0, 1).copy()))
            other.bias.copy_(torch.tensor(array(layer.bias)))
        theirs[-1].weight.copy_(torch.tensor(array(classifier.kernel).T.copy()))
        theirs[-1].bias.copy_(torch.tensor(array(classifier.bias)))
        images = torch.tensor(batch[0].transpose(0, 3, 1, 2).copy())
        logits = theirs(images).numpy()
    np.testing.assert_allclose(array(ours(batch[0])), logits, rtol=1e-4, atol=1e-4)


def _put(convolution, g, v):
    import torch

    gain, direction = (
        convolution.parametrizations.weight.original0,
        convolution.parametrizations.weight.original1,
    )
    gain.copy_(g)
    direction.copy_(torch.tensor(v.transpose(3, 2, 0, 1).copy()))
    return convolution


@pytest.mark.parametrize("kind", ["plain", "weight norm"])
def test_flax(benchmark, batch, kind):
    pytest.importorskip("flax")
    ours = benchmark("weight_norm_step").network(kind, OPTIONS)
    convolutions, classifier = filled(ours)
    theirs = benchmark("pure_flax").Network(kind, OPTIONS.width, OPTIONS.layers)
    parameters = {"Dense_0": {"kernel": array(classifier.kernel)}}
    parameters["Dense_0"]["bias"] = array(classifier.bias)
    for index, layer in enumerate(convolutions):
        v, g = direction_and_gain(layer, kind)
        name = f"Conv_{index}"
        parameters[name] = {"kernel": v, "bias": array(layer.bias)}
        if g is not None:
            scale = {f"{name}/kernel/scale": g.ravel()}
            parameters[f"WeightNorm_{index}"] = scale
    logits = np.asarray(theirs.apply({"params": parameters}, batch[0]))
    np.testing.assert_allclose(array(ours(batch[0])), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("kind", ["plain", "weight norm"])
@pytest.mark.parametrize("peer", ["torch", "flax"])
def test_their_steps_learn(benchmark, batch, peer, kind):
    pytest.importorskip(peer)
    step = benchmark(f"pure_{peer}").training_step(kind, OPTIONS, *batch)
    losses = [step() for _ in range(30)]
    assert all(after < before for before, after in itertools.pairwise(losses))


def test_measured_where_they_are(benchmark, capsys):
    small = ["--layers", "1", "--width", "2", "--batch", "2", "--size", "4"]
    peers = benchmark("weight_norm_peers")
    if keras.backend.backend() not in peers.PEERS:
        with pytest.raises(SystemExit, match="KERAS_BACKEND=tensorflow"):
            peers.main(small)
        return
    peers.main([*small, "--steps", "2", "--processes", "1"])
    assert "weight norm" in capsys.readouterr().out
