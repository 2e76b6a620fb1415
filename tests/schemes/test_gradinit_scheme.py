"""GradInit, step for step beside a transcription of its formulas."""

import keras
import numpy as np
import pytest
import torch

from keras_convinit import initialize
from keras_convinit.layers import ScaledResidualStack
from keras_convinit.schemes import (
    GRADINIT_PRESETS,
    BatchSampler,
    GradInit,
    gradinit_preset,
)

layers = keras.layers
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

ITERATIONS = 12
HALF = 4


class Batches(keras.utils.PyDataset):
    """Samples in an order that is known, three at a time."""

    def __init__(self, count=60):
        super().__init__()
        generator = np.random.default_rng(5)
        self.x = generator.standard_normal((count, 3)).astype("float32")
        self.y = generator.integers(0, 4, count)

    def __len__(self):
        return len(self.x) // 3

    def __getitem__(self, index):
        rows = slice(3 * index, 3 * index + 3)
        return self.x[rows], self.y[rows]


def two_layers():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(5, activation="tanh"),
            layers.Dense(4),
        ]
    )
    # The same on all backends. A bias that is zero has no scale.
    generator = np.random.default_rng(1)
    weights = [generator.normal(0, 1.0, w.shape) for w in model.get_weights()]
    model.set_weights([*weights[:3], np.zeros(4)])
    return model


def transcribed(
    weights,
    samples,
    *,
    optimizer="sgd",
    bound=2.0,
    step_size=0.1,
    clip=0.5,
    rate=0.05,
    overlap=True,
    normalized=True,
    divided=True,
    own_second_moments=False,
):
    """The paper's algorithm in PyTorch, by derivatives with respect to the scales."""
    start = [torch.tensor(w, dtype=torch.float64) for w in weights]
    scaled = [i for i, w in enumerate(start) if w.norm() > 0]
    lowest = [0.0 if start[i].ndim == 1 else 0.01 for i in scaled]
    x, y = torch.tensor(samples.x, dtype=torch.float64), torch.tensor(samples.y)
    taken = 0

    def half():
        nonlocal taken
        rows = [(taken + i) % len(x) for i in range(HALF)]
        taken += HALF
        return x[rows], y[rows]

    def loss(points, batch):
        hidden = torch.tanh(batch[0] @ points[0] + points[1])
        logits = hidden @ points[2] + points[3]
        return torch.nn.functional.cross_entropy(logits, batch[1])

    def together(one, other):
        return [torch.cat(pair) for pair in zip(one, other, strict=True)]

    at = [1.0] * len(scaled)
    first = {True: [0.0] * len(at), False: [0.0] * len(at)}
    second = {True: [0.0] * len(at), False: [0.0] * len(at)}
    counts = {True: 0, False: 0}
    norms = []
    for _ in range(ITERATIONS):
        alphas = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in at]
        points = [w.clone() for w in start]
        for alpha, i in zip(alphas, scaled, strict=True):
            points[i] = alpha * start[i]
        points = [p if p.requires_grad else p.requires_grad_() for p in points]
        one, two = half(), half()
        slopes = torch.autograd.grad(
            loss(points, together(one, two)), points, create_graph=True
        )
        if optimizer == "sgd":
            norm = torch.sqrt(sum((g * g).sum() for g in slopes))
        else:
            norm = sum(g.abs().sum() for g in slopes)
        norms.append(norm.item())
        constrained = norm.item() > bound
        if constrained:
            aim = norm
        else:
            step = [
                g.detach() / norm.detach() if optimizer == "sgd" else g.sign()
                for g in slopes
            ]
            if not normalized:
                step = [g.detach() for g in slopes]
            moved = [
                p - step_size * d.detach() for p, d in zip(points, step, strict=True)
            ]
            kept = one if overlap else half()
            aim = loss(moved, together(kept, half()))
            if divided:
                aim = aim / step_size
        found = torch.autograd.grad(aim, alphas)
        counts[constrained] += 1
        for k, slope in enumerate(found):
            slope = float(np.clip(slope.item(), -clip, clip))
            first[constrained][k] = 0.9 * first[constrained][k] + 0.1 * slope
            key = constrained if own_second_moments else True
            second[key][k] = 0.999 * second[key][k] + 0.001 * slope**2
            total = counts[key] if own_second_moments else sum(counts.values())
            mean = first[constrained][k] / (1 - 0.9 ** counts[constrained])
            square = second[key][k] / (1 - 0.999**total)
            at[k] = max(at[k] - rate * mean / (square**0.5 + 1e-8), lowest[k])
    ends = [w.numpy() for w in start]
    for a, i in zip(at, scaled, strict=True):
        ends[i] = a * ends[i]
    return ends, norms


def ours(optimizer="sgd", bound=2.0, overlap=True):
    model = two_layers()
    report = initialize(
        model,
        GradInit(
            ITERATIONS,
            0.05,
            2 * HALF,
            optimizer=optimizer,
            max_gradient_norm=bound,
            overlap=overlap,
            clip=0.5,
            start=None,
            verbose=False,
        ),
        data=Batches(),
        loss=CROSS_ENTROPY,
    )
    return model.get_weights(), report


FORMS = {
    "sgd": {"optimizer": "sgd", "bound": 1.0},
    "adam": {"optimizer": "adam", "bound": 5.0},
    "all new": {"optimizer": "sgd", "bound": 1.0, "overlap": False},
}


@pytest.mark.parametrize("form", FORMS)
def test_it_goes_the_way_of_the_formulas(form):
    weights, report = ours(**FORMS[form])
    expected, norms = transcribed(two_layers().get_weights(), Batches(), **FORMS[form])
    np.testing.assert_allclose(report.history["gradient_norm"], norms, rtol=2e-4)
    # Both aims were met with.
    assert set(report.history["constrained"]) == {0.0, 1.0}
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)


WRONG = {
    "a step that is not normalized": {"normalized": False},
    "an objective not over the step": {"divided": False},
    "no clipping": {"clip": np.inf},
    "new samples only": {"overlap": False},
    "second moments apart": {"own_second_moments": True},
    "the other norm": {"optimizer": "adam"},
    "another bound": {"bound": 100.0},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_formulas_go_elsewhere(name):
    weights, _ = ours(**FORMS["sgd"])
    wrong, _ = transcribed(
        two_layers().get_weights(), Batches(), **{"bound": 1.0, **WRONG[name]}
    )
    pairs = zip(weights[::2], wrong[::2], strict=True)
    apart = max(np.abs(a / b - 1).max() for a, b in pairs)
    assert apart > 2e-3


def test_a_scale_has_a_least_value(values):
    model = two_layers()
    before = values(model)
    arguments = {"iterations": 60, "learning_rate": 0.2, "batch_size": 8}
    # Nothing but the norm of the gradient counts, which weights of zero would end.
    initialize(
        model,
        "gradinit",
        data=Batches(),
        loss=CROSS_ENTROPY,
        start=None,
        max_gradient_norm=1e-9,
        min_scale=0.3,
        verbose=False,
        **arguments,
    )
    after = values(model)
    kernels = [path for path in before if path.endswith("kernel")]
    shrunk = [np.linalg.norm(after[p]) / np.linalg.norm(before[p]) for p in kernels]
    assert min(shrunk) == pytest.approx(0.3, rel=1e-5)


def test_normalization_sees_the_batch_and_keeps_its_averages():
    def made(mean):
        keras.utils.set_random_seed(2)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(5),
                layers.BatchNormalization(name="norm"),
                layers.Dropout(0.9),
                layers.Dense(4),
            ]
        )
        model.get_layer("norm").moving_mean.assign(np.full(5, mean))
        return model

    ends = []
    for mean in (0.0, 50.0):
        model = made(mean)
        initialize(
            model,
            GradInit(5, batch_size=8, start=None, verbose=False),
            data=Batches(),
            loss=CROSS_ENTROPY,
        )
        norm = model.get_layer("norm")
        assert (keras.ops.convert_to_numpy(norm.moving_mean) == mean).all()
        assert not (keras.ops.convert_to_numpy(norm.gamma) == 1).any()
        ends.append([keras.ops.convert_to_numpy(v) for v in model.trainable_variables])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_blocks_of_a_stack_have_scales_of_their_own():
    keras.utils.set_random_seed(3)
    branch = [layers.Dense(3, activation="tanh"), layers.Dense(3)]
    stack = ScaledResidualStack(branch, 4, name="stack")
    looped = keras.Sequential([keras.Input((3,)), stack, layers.Dense(4)])
    unrolled = keras.Sequential([keras.Input((3,)), *stack.unrolled(), layers.Dense(4)])
    unrolled.layers[-1].set_weights(looped.layers[-1].get_weights())
    ends = []
    for model in (looped, unrolled):
        report = initialize(
            model,
            GradInit(6, 0.05, 8, start=None, verbose=False),
            data=Batches(),
            loss=CROSS_ENTROPY,
        )
        ends.append([row.measured_std for row in report.rows])
    # The stack has first all first kernels, then all second ones.
    blocks = np.reshape(ends[1][:-1], (4, 2))
    np.testing.assert_allclose(ends[0], [*blocks.T.ravel(), ends[1][-1]], rtol=1e-4)
    assert len(set(np.round(ends[0], 6))) == 9


def test_presets():
    scheme = GradInit(preset="zhu2021/cifar10/densenet100_bn")
    settings = (scheme.learning_rate, scheme.iterations, scheme.batch_size)
    assert settings == (0.01, 780, 64)
    assert GradInit(7, preset="zhu2021/cifar10/vgg19").iterations == 7
    assert len(GRADINIT_PRESETS) == 7
    with pytest.raises(ValueError, match=r"such as .*vgg19.*preset='vgg19'"):
        gradinit_preset("vgg19")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "`iterations` must be a positive integer"),
        ({"batch_size": 1}, "`batch_size` must be at least 2"),
        ({"optimizer": "rmsprop"}, "`optimizer` must be one of sgd, adam"),
        ({"step_size": -1}, "`step_size` must be"),
        ({"max_gradient_norm": 0}, "`max_gradient_norm` must be"),
        ({"clip": None}, "`clip` must be"),
        ({"start": "nobody"}, "`scheme` must be the name"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradInit(**arguments)


@pytest.mark.parametrize(("overlap", "taken"), [(True, [2, 3, 3]), (False, [2, 3] * 2)])
def test_the_second_batch_is_as_large_as_the_first(overlap, taken, monkeypatch):
    counts = []
    draw = BatchSampler.next

    def counted(self, count):
        counts.append(count)
        return draw(self, count)

    monkeypatch.setattr(BatchSampler, "next", counted)
    # A model for batches of an odd number.
    inputs = keras.Input((3,), batch_size=5)
    model = keras.Model(inputs, layers.Dense(4)(inputs))
    scheme = GradInit(1, overlap=overlap, max_gradient_norm=1e9, verbose=False)
    samples = Batches()
    data = samples.x, samples.y
    initialize(model, scheme, data=data, loss=CROSS_ENTROPY, seed=0)
    assert counts == taken
