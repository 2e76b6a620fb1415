"""Fans and output axes against brute force: a kernel of ones, and counting."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_convinit import Geometry, Kernel, initialize, kernels_of

# Layer, shape of one example, kernel size in each dimension.
LAYERS = [
    (lambda: layers.Dense(5), (7,)),
    (lambda: layers.Dense(5), (4, 7)),
    (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (4, 7)),
    (lambda: layers.EinsumDense("abcd,cde->abe", (None, 5)), (4, 2, 3)),
    (lambda: layers.EinsumDense("...x,xy->...y", 5), (4, 7)),
    (lambda: layers.EinsumDense("abc,bcd->abd", (3, 5)), (3, 4)),
    (lambda: layers.Conv1D(6, 3, padding="same"), (16, 4)),
    (lambda: layers.Conv1D(6, 3, padding="causal", dilation_rate=2), (16, 4)),
    (lambda: layers.Conv1D(6, 5, strides=2, padding="same"), (24, 4)),
    (lambda: layers.Conv1D(6, 3, groups=2, padding="same"), (16, 4)),
    (lambda: layers.Conv2D(6, 3, padding="same"), (12, 12, 4)),
    (lambda: layers.Conv2D(6, (3, 1), padding="valid"), (12, 12, 4)),
    (lambda: layers.Conv2D(6, 3, groups=2, padding="same"), (12, 12, 4)),
    (lambda: layers.Conv2D(6, 3, strides=2, padding="same"), (12, 12, 4)),
    (lambda: layers.Conv2D(6, 3, strides=(2, 1), padding="same"), (12, 12, 4)),
    (lambda: layers.Conv2D(2, 3, dilation_rate=2, padding="same"), (16, 16, 1)),
    (lambda: layers.Conv3D(3, 3, padding="same"), (8, 8, 8, 2)),
    (lambda: layers.DepthwiseConv1D(3, padding="same"), (16, 4)),
    (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        (12, 12, 4),
    ),
    (lambda: layers.DepthwiseConv2D(3, strides=2, padding="same"), (12, 12, 4)),
    (lambda: layers.Conv1DTranspose(6, 3, padding="same"), (16, 4)),
    (lambda: layers.Conv2DTranspose(6, 3, padding="same"), (12, 12, 4)),
    (lambda: layers.Conv2DTranspose(6, 4, strides=2, padding="same"), (8, 8, 4)),
    (lambda: layers.Conv3DTranspose(2, 2, padding="same"), (6, 6, 6, 1)),
]
IDS = [
    f"{index}-{type(factory()).__name__}" for index, (factory, _) in enumerate(LAYERS)
]


def middle(table, axes):
    """The positions that no border touches, a whole number of strides of them."""
    for axis in axes:
        size = table.shape[axis]
        if size < 6:
            continue
        third = size // 3 // 2 * 2
        table = np.take(table, range(third, 2 * third), axis=axis)
    return table


def counted_fans(layer, shape, contracted):
    """Counts connections: each input unit alone, through weights that are all one.

    `contracted` tells how many trailing axes of an example are channels.
    """
    units = int(np.prod(shape))
    outputs = keras.ops.convert_to_numpy(layer(np.eye(units).reshape(units, *shape)))
    count = outputs.reshape(*shape, *outputs.shape[1:])
    rank = len(shape)
    inputs_axes = tuple(range(rank))
    outputs_axes = tuple(range(rank, count.ndim))
    fan_in = middle(count.sum(inputs_axes), range(count.ndim - rank - 1)).mean()
    fan_out = middle(count.sum(outputs_axes), range(rank - contracted)).mean()
    return fan_in, fan_out


@pytest.mark.parametrize(("factory", "shape"), LAYERS, ids=IDS)
def test_fans_are_those_that_can_be_counted(factory, shape):
    layer = factory()
    layer.build((None, *shape))
    (kernel,) = kernels_of(layer)
    assert kernel.variable is layer.kernel
    layer.kernel.assign(np.ones(layer.kernel.shape))
    try:
        counted = counted_fans(layer, shape, contracted=1)
    except NotImplementedError as error:
        pytest.skip(f"not computed by this backend on a CPU: {error}")
    assert kernel.geometry.fans(stride_aware=True) == pytest.approx(counted)


@pytest.mark.parametrize(("factory", "shape"), LAYERS, ids=IDS)
def test_output_axes_tell_output_channels_apart(factory, shape):
    layer = factory()
    layer.build((None, *shape))
    (kernel,) = kernels_of(layer)
    geometry = kernel.geometry
    axes = [axis % len(kernel.variable.shape) for axis in geometry.output_axes]
    sizes = [kernel.variable.shape[axis] for axis in axes]
    assert np.prod(sizes) == geometry.total_out_channels
    inputs = np.ones((1, *shape))

    def outputs(weights):
        layer.kernel.assign(weights)
        return keras.ops.convert_to_numpy(layer(inputs))

    ones = np.ones(kernel.variable.shape)
    before = outputs(ones)
    moves = np.zeros(before.shape, int)
    for index in np.ndindex(*sizes):
        weights = ones.copy()
        place = [slice(None)] * weights.ndim
        for axis, position in zip(axes, index, strict=True):
            place[axis] = position
        weights[tuple(place)] *= 3
        moves += outputs(weights) != before
    # Each output unit has moved once.
    np.testing.assert_array_equal(moves, 1)


def test_keras_own_fans_are_wrong_where_ours_are_right():
    """The reason for this module, as the built-in rule shows it in its draws."""
    draw = keras.initializers.VarianceScaling(
        mode="fan_out", distribution="untruncated_normal", seed=1
    )
    layer = layers.Conv2D(64, 3, groups=32, kernel_initializer=draw)
    layer.build((None, 8, 8, 64))
    (kernel,) = kernels_of(layer)
    _, fan_out = kernel.geometry.fans()
    implied = 1 / np.var(keras.ops.convert_to_numpy(layer.kernel))
    assert fan_out == 18
    assert implied == pytest.approx(32 * fan_out, rel=0.2)


def test_separable_layers_have_two_kernels():
    layer = layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2)
    layer.build((None, 12, 12, 4))
    depthwise, pointwise = kernels_of(layer)
    assert (depthwise.name, pointwise.name) == ("depthwise_kernel", "pointwise_kernel")
    assert depthwise.variable is layer.depthwise_kernel
    assert depthwise.geometry.fans() == (9, 18)
    assert depthwise.geometry.fans(stride_aware=True) == (9, 4.5)
    assert depthwise.geometry.output_axes == (-2, -1)
    assert pointwise.variable is layer.pointwise_kernel
    assert pointwise.geometry.fans() == (8, 6)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (
            layers.LSTM(5),
            (None, 4, 3),
            {"cell.kernel": (3, 20), "cell.recurrent_kernel": (5, 20)},
        ),
        (
            layers.GRUCell(5),
            (None, 3),
            {"kernel": (3, 15), "recurrent_kernel": (5, 15)},
        ),
        (
            layers.Bidirectional(layers.SimpleRNN(5)),
            (None, 4, 3),
            {
                "forward_layer.cell.kernel": (3, 5),
                "forward_layer.cell.recurrent_kernel": (5, 5),
                "backward_layer.cell.kernel": (3, 5),
                "backward_layer.cell.recurrent_kernel": (5, 5),
            },
        ),
        (
            layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)]),
            (None, 4, 3),
            {
                "cell.cells[0].kernel": (3, 8),
                "cell.cells[0].recurrent_kernel": (2, 8),
                "cell.cells[1].kernel": (2, 12),
                "cell.cells[1].recurrent_kernel": (3, 12),
            },
        ),
        (
            layers.ConvLSTM2D(5, 3, strides=2),
            (None, 4, 8, 8, 2),
            {"cell.kernel": (18, 180), "cell.recurrent_kernel": (45, 180)},
        ),
        (
            layers.TimeDistributed(layers.Dense(5)),
            (None, 4, 3),
            {"layer.kernel": (3, 5)},
        ),
        (
            layers.SpectralNormalization(layers.Dense(5)),
            (None, 3),
            {"layer.kernel": (3, 5)},
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layers_made_of_layers(layer, shape, expected):
    layer.build(shape)
    found = {kernel.name: kernel.geometry.fans() for kernel in kernels_of(layer)}
    assert found == expected


def test_attention_counts_heads_as_outputs():
    layer = layers.MultiHeadAttention(num_heads=2, key_dim=3)
    layer.build((None, 5, 8), (None, 5, 8))
    found = {kernel.name: kernel.geometry.fans() for kernel in kernels_of(layer)}
    assert found == {
        "query_dense.kernel": (8, 6),
        "key_dense.kernel": (8, 6),
        "value_dense.kernel": (8, 6),
        "output_dense.kernel": (6, 8),
    }


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.BatchNormalization(), (None, 4, 4, 3)),
        (layers.LayerNormalization(axis=[1, 2, 3]), (None, 4, 4, 3)),
        (layers.Embedding(10, 3), (None,)),
        (layers.PReLU(), (None, 4, 4, 3)),
        (layers.Dropout(0.5), (None, 3)),
        (layers.ReLU(), (None, 3)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layers_without_kernels(layer, shape):
    layer.build(shape)
    assert kernels_of(layer) == ()


class Bilinear(layers.Layer):
    """A third-party layer whose kernel nobody can guess."""

    def build(self, input_shape):
        self.form = self.add_weight(shape=(input_shape[-1], input_shape[-1], 5))

    def call(self, inputs):
        return keras.ops.einsum("bi,ijk,bj->bk", inputs, self.form, inputs)


def test_a_third_party_layer_joins_by_one_call():
    class Registered(Bilinear):
        pass

    layer = Registered()
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"kernels_of\.register") as caught:
        kernels_of(layer)
    assert "of class Registered" in str(caught.value)

    @kernels_of.register
    def _(layer: Registered):
        return (Kernel("form", layer.form, Geometry(1, 9, 5)),)

    (kernel,) = kernels_of(layer)
    assert kernel.geometry.fans() == (9, 5)


def test_a_subclass_needs_no_registration():
    class Mine(layers.Conv2D):
        pass

    layer = Mine(6, 3)
    layer.build((None, 8, 8, 4))
    assert kernels_of(layer)[0].geometry.fans() == (36, 54)


@pytest.mark.parametrize(
    "layer", [layers.Dense(3), layers.Conv2D(3, 3), layers.LSTM(3), Bilinear()]
)
def test_a_layer_must_be_built(layer):
    with pytest.raises(ValueError, match=r"must be built\. Received: layer="):
        kernels_of(layer)


def test_a_grouped_attention_has_four_kernels():
    # Four heads ask two that answer; each has three numbers.
    layer = layers.GroupQueryAttention(
        head_dim=3, num_query_heads=4, num_key_value_heads=2
    )
    x = np.zeros((2, 5, 8), "float32")
    layer(x, x)
    found = {kernel.variable.path: kernel.geometry for kernel in kernels_of(layer)}
    assert len(found) == 4
    fans = sorted(geometry.fans() for geometry in found.values())
    assert fans == [(8, 6), (8, 6), (8, 12), (12, 8)]
    model = keras.Sequential([keras.Input((5, 8)), layers.Dense(8)])
    attended = layer(model.outputs[0], model.outputs[0])
    report = initialize(keras.Model(model.inputs, attended), seed=0)
    assert {row.path for row in report.rows if row.fan_in} >= set(found)
