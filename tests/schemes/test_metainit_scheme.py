"""MetaInit, beside dense Hessians and derivatives by automatic differentiation."""

import keras
import numpy as np
import pytest
import torch

from keras_convinit import backend, initialize
from keras_convinit._loss import list_variables, make_stateless_loss
from keras_convinit.analysis import trace
from keras_convinit.layers import ScaledResidualStack, WeightNormDense
from keras_convinit.schemes import MetaInit
from keras_convinit.schemes.metainit import RandomBatches, gradient_quotient

layers = keras.layers
SQUARES = keras.losses.MeanSquaredError()
EPSILON = 1e-5


def samples(count=8):
    generator = np.random.default_rng(5)
    x = generator.standard_normal((count, 3)).astype("float32")
    return x, generator.standard_normal((count, 2)).astype("float32")


def two_layers():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activation="tanh"),
            layers.Dense(2),
        ]
    )
    # The same on all backends.
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def quotient(vector, shapes, x, y, epsilon=EPSILON, product=None):
    """The gradient quotient of the network above, with all of its Hessian."""

    def loss(vector):
        sizes = [int(np.prod(shape)) for shape in shapes]
        parts = torch.split(vector, sizes)
        a, b, c, d = (p.reshape(s) for p, s in zip(parts, shapes, strict=True))
        return ((torch.tanh(x @ a + b) @ c + d - y) ** 2).mean()

    (gradient,) = torch.autograd.grad(loss(vector), vector, create_graph=True)
    hessian = torch.stack(
        [torch.autograd.grad(entry, vector, create_graph=True)[0] for entry in gradient]
    )
    curved = hessian @ gradient if product is None else product(hessian, gradient)
    sign = torch.where(gradient >= 0, 1.0, -1.0)
    return ((gradient - curved) / (gradient + epsilon * sign) - 1).abs().mean()


def as_torch(model, x, y):
    weights = model.get_weights()
    vector = np.concatenate([w.ravel() for w in weights]).astype("float64")
    vector = torch.tensor(vector, requires_grad=True)
    x, y = torch.tensor(x).double(), torch.tensor(y).double()
    return vector, [w.shape for w in weights], x, y


def own_quotient(g, h):
    return gradient_quotient(g, h, EPSILON)


def computed(model, x, y, statistic=own_quotient):
    value = make_stateless_loss(model, SQUARES)
    count = len(model.trainable_variables)

    def run(values, x, y):
        derive = backend.curvature_gradient(value, statistic)
        return derive(values[:count], values[count:], x, y)

    program = backend.compile_function(run, lambda: list_variables(model))
    _, found, gradients = program(*map(keras.ops.convert_to_tensor, (x, y)))
    gradients = [keras.ops.convert_to_numpy(g).ravel() for g in gradients]
    return float(keras.ops.convert_to_numpy(found)), np.concatenate(gradients)


def test_quotient_and_its_gradient_are_those_of_the_dense_hessian():
    model, (x, y) = two_layers(), samples()
    found, gradient = computed(model, x, y)
    vector, *rest = as_torch(model, x, y)
    expected = quotient(vector, *rest)
    (slope,) = torch.autograd.grad(expected, vector)
    assert found == pytest.approx(expected.item(), rel=1e-4)
    scale = slope.abs().max().item()
    np.testing.assert_allclose(gradient, slope.numpy(), atol=2e-3 * scale)


def test_third_derivatives_of_convolutions_with_biases():
    # TensorFlow's rewriting of graphs, for processors of Intel's kind, made a circle.
    generator = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, padding="same", activation="tanh"),
            layers.Conv2D(2, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    weights = [0.5 * generator.standard_normal(w.shape) for w in model.get_weights()]
    line = [generator.standard_normal(w.shape) for w in weights]
    x = generator.standard_normal((4, 4, 4, 1)).astype("float32")
    y = samples(4)[1]

    def at(shift):
        model.set_weights([w + shift * d for w, d in zip(weights, line, strict=True)])
        return computed(model, x, y, lambda g, h: sum(map(inner, g, h)))

    # The change along a line, by differences.
    slope = (at(1e-2)[0] - at(-1e-2)[0]) / 2e-2
    along = at(0.0)[1] @ np.concatenate([d.ravel() for d in line])
    assert along == pytest.approx(slope, rel=1e-2)


def inner(g, h):
    return keras.ops.sum(g * h)


@pytest.mark.parametrize(
    "wrong",
    [
        {"product": lambda hessian, gradient: 2 * hessian @ gradient},
        {"product": lambda hessian, gradient: hessian.diagonal() * gradient},
        {"epsilon": 1e-2},
    ],
)
def test_a_wrong_quotient_is_another(wrong):
    model, (x, y) = two_layers(), samples()
    found, _ = computed(model, x, y)
    vector, *rest = as_torch(model, x, y)
    assert abs(quotient(vector, *rest, **wrong).item() / found - 1) > 1e-2


def test_the_quotient_counts_a_gradient_of_zero_as_positive():
    zero, one = keras.ops.zeros((2,)), keras.ops.ones((1,))
    found = gradient_quotient([zero, one], [zero, 0.5 * one], 1e-5)
    # |0 / 1e-5 - 1| twice, and |0.5 / 1.00001 - 1|.
    assert float(keras.ops.convert_to_numpy(found)) == pytest.approx(2.5 / 3, rel=1e-5)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return samples()


def test_norms_move_as_the_algorithm_says():
    steps, rate, momentum = 6, 0.02, 0.9
    model = two_layers()
    vector, shapes, x, y = as_torch(model, *samples())
    start = vector.detach().numpy().copy()
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = list(map(slice, [0, *ends[:-1]], ends))
    kernels = parts[::2]
    norms = [np.linalg.norm(start[part]) for part in kernels]
    moves = [0.0, 0.0]
    quotients = []
    for _ in range(steps):
        now = start.copy()
        for part, norm in zip(kernels, norms, strict=True):
            now[part] *= norm / np.linalg.norm(start[part])
        point = torch.tensor(now, requires_grad=True)
        value = quotient(point, shapes, x, y)
        (slope,) = torch.autograd.grad(value, point)
        quotients.append(value.item())
        for k, part in enumerate(kernels):
            inner = float(np.dot(now[part], slope.numpy()[part]))
            moves[k] = momentum * moves[k] - rate * np.sign(inner)
            norms[k] += moves[k]

    report = initialize(
        model,
        MetaInit(steps, rate, momentum, 8, start=None, verbose=False),
        data=Batches(),
        loss=SQUARES,
    )
    np.testing.assert_allclose(report.history["quotient"], quotients, rtol=2e-3)
    found = [np.linalg.norm(w) for w in model.get_weights()[::2]]
    np.testing.assert_allclose(found, norms, rtol=1e-5)
    # Biases are no kernels.
    np.testing.assert_array_equal(model.get_weights()[1], start[parts[1]])


def test_a_norm_has_a_floor():
    model = two_layers()
    before = [np.linalg.norm(w) for w in model.get_weights()[::2]]
    initialize(
        model,
        MetaInit(40, 10.0, 0.9, 8, floor=0.5, start=None, verbose=False),
        data=samples(),
        loss=SQUARES,
    )
    after = [np.linalg.norm(w) for w in model.get_weights()[::2]]
    assert min(np.divide(after, before)) >= 0.5 - 1e-6


def test_of_a_weight_normalized_kernel_the_gain_is_moved(values):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            WeightNormDense(4, activation="tanh", name="normed"),
            ScaledResidualStack(WeightNormDense(4), 3, name="stack"),
            layers.Dense(2, name="last"),
        ]
    )
    before = values(model)
    report = initialize(
        model, MetaInit(4, start=None, verbose=False), data=samples(), loss=SQUARES
    )
    moved = [row.path.rpartition("sequential")[2] for row in report.rows]
    names = ["/".join(path.split("/")[-2:]) for path in moved]
    assert names == [
        "normed/weight_norm_gain",
        *(f"stack/weight_norm_gain[{block}]" for block in range(3)),
        "last/kernel",
    ]
    after = values(model)
    for path in before:
        same = (before[path] == after[path]).all()
        scaled = any(path == row.path.partition("[")[0] for row in report.rows)
        assert same != scaled, path


@pytest.mark.parametrize("blocks", [1, 2])
def test_biases_of_a_stack_are_no_kernels(blocks):
    dense = layers.Dense(3, bias_initializer="ones", activation="tanh")
    stack = ScaledResidualStack(dense, blocks)
    model = keras.Sequential([keras.Input((3,)), stack, layers.Dense(2)])
    report = initialize(
        model, MetaInit(2, start=None, verbose=False), data=samples(), loss=SQUARES
    )
    assert len(report.rows) == blocks + 1
    assert all("kernel" in row.path for row in report.rows)


LOSSES = {
    "sparse": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "one hot": keras.losses.CategoricalCrossentropy(from_logits=True),
    "numbers": "mean_squared_error",
}


@pytest.mark.parametrize("name", LOSSES)
def test_without_data_it_draws_them(name):
    ends = []
    for seed in (0, 0, 1):
        model = two_layers()
        report = initialize(
            model, MetaInit(3, verbose=False), loss=LOSSES[name], seed=seed
        )
        assert len(report.history["quotient"]) == 3
        ends.append(model.get_weights()[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def is_a_class(labels):
    return labels.shape == (8,) and set(labels.tolist()) <= {0, 1}


def is_one_hot(labels):
    return labels.shape == (8, 2) and (np.sort(labels, axis=1) == [0, 1]).all()


def is_a_number(labels):
    return labels.shape == (8, 2) and len(np.unique(labels)) == 16


losses = keras.losses
SAME_LOSSES = [
    ("sparse_categorical_crossentropy", is_a_class),
    ("SparseCategoricalCrossentropy", is_a_class),
    (losses.sparse_categorical_crossentropy, is_a_class),
    (losses.SparseCategoricalCrossentropy(), is_a_class),
    ("categorical_crossentropy", is_one_hot),
    ("CategoricalCrossentropy", is_one_hot),
    (losses.categorical_crossentropy, is_one_hot),
    (losses.CategoricalCrossentropy(), is_one_hot),
    ("mean_squared_error", is_a_number),
    ("MeanSquaredError", is_a_number),
    ("mse", is_a_number),
    (losses.mean_squared_error, is_a_number),
    (losses.MeanSquaredError(), is_a_number),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("loss", "fits"), SAME_LOSSES)
def test_each_name_of_a_loss_says_what_labels_are(loss, fits, compiled):
    model = two_layers()
    model.compile("sgd", loss)
    given = None if compiled else loss
    batch = RandomBatches(model, trace(model), given, seed=0).next(8)
    assert fits(np.asarray(batch.y))


def test_noise_is_refused_where_nobody_knows_the_labels():
    with pytest.raises(ValueError, match=r"`data` must be given.*loss="):
        initialize(two_layers(), MetaInit(2), loss=lambda y, p: p - y)
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(4, 2), layers.Flatten()]
    )
    model.add(layers.Dense(2))
    with pytest.raises(ValueError, match=r"no real numbers.*int32"):
        initialize(model, MetaInit(2), loss="mse")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"momentum": 1.0}, "`momentum` must be at least 0"),
        ({"epsilon": 0}, "`epsilon` must be"),
        ({"floor": -1}, "`floor` must be"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MetaInit(**arguments)
