"""The loss that reports and Hessians are of is the one that `fit` minimizes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_convinit import hessian_norm, initialize, signal_report
from keras_convinit.layers import ScaledResidual, ScaledResidualStack
from keras_convinit.schemes import GradInit

layers = keras.layers
generator = np.random.default_rng(0)
X = generator.standard_normal((12, 6)).astype("float32")
Y = generator.standard_normal((12, 3)).astype("float32")
WEIGHTS = generator.uniform(0, 3, 12).astype("float32")
L2 = keras.regularizers.L2


class Divergence(layers.Layer):
    """Adds to the loss what a variational encoder does."""

    def call(self, x):
        self.add_loss(0.3 * ops.mean(ops.square(x) - 2 * x))
        return x


def activities():
    return [layers.Dense(6, activity_regularizer=L2(0.1)), layers.Dense(3)]


def added():
    return [layers.Dense(6, "tanh"), Divergence(), layers.Dense(3), Divergence()]


def kernels():
    return [
        layers.Dense(6, kernel_regularizer=L2(0.1), bias_regularizer=L2(0.1)),
        layers.Dense(3, kernel_regularizer=L2(0.2)),
    ]


def blocks():
    def branch():
        regularized = {"kernel_regularizer": L2(0.2), "activity_regularizer": L2(0.1)}
        return [layers.Dense(6, "tanh", **regularized), Divergence()]

    return [
        ScaledResidual(branch(), 2),
        ScaledResidualStack([layers.Dense(6, "tanh", kernel_regularizer=L2(0.2))], 3),
        layers.Dense(3),
    ]


def nested():
    inner = keras.Sequential([keras.Input((6,)), *activities()[:1], Divergence()])
    return [inner, layers.Dense(3)]


def stacks():
    branch = [layers.Dense(6, "tanh", activity_regularizer=L2(0.1)), Divergence()]
    return [ScaledResidualStack(branch, 3), layers.Dense(3)]


def shared():
    dense = layers.Dense(6, "tanh", activity_regularizer=L2(0.1))
    added, inputs = Divergence(), keras.Input((6,))
    return [keras.Model(inputs, added(dense(added(dense(inputs))))), layers.Dense(3)]


def regularized():
    """Blocks that are regularized themselves."""
    return [
        ScaledResidual([layers.Dense(6)], 2, activity_regularizer=L2(0.1)),
        ScaledResidualStack([layers.Dense(6)], 2, activity_regularizer=L2(0.2)),
        layers.Dense(3),
    ]


class OwnLoss(keras.Sequential):
    """As Keras has it without the argument `training`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        return 2 * loss + ops.mean(ops.square(x)) * ops.mean(y_pred)


def network(parts, kind=keras.Sequential, loss="mean_squared_error"):
    start = [] if kind is functional else [keras.Input((6,))]
    model = kind([*start, *parts()])
    model.compile(keras.optimizers.SGD(1.0), loss)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1)
    return model


def functional(parts):
    """A functional model, with another one in front."""
    inputs = keras.Input((6,))
    inner = keras.Model(inputs, layers.Dense(6)(inputs))
    x = again = keras.Input((6,))
    for part in (inner, *parts):
        x = part(x)
    return keras.Model(again, x)


def read(variables):
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


KINDS = [activities, added, kernels, blocks, nested, stacks, shared, regularized]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("parts", KINDS)
@pytest.mark.parametrize("kind", [keras.Sequential, OwnLoss, functional])
def test_a_report_is_of_what_fit_minimizes(parts, kind, weights):
    model = network(parts, kind)
    loss = model.evaluate(X, Y, sample_weight=weights, verbose=0)
    batch = (X, Y) if weights is None else (X, Y, weights)
    reports = [signal_report(model, batch) for _ in range(2)]
    before = read(model.trainable_variables)
    model.train_on_batch(X, Y, sample_weight=weights)
    after = read(model.trainable_variables)
    steps = [old - new for old, new in zip(before, after, strict=True)]
    gradient = np.sqrt(sum(np.square(step).sum() for step in steps))
    for report in reports:
        assert report.loss == pytest.approx(loss, rel=1e-5)
        # The second row of a shared layer has the same gradient as the first.
        rows = [row for row in report.rows if "#" not in row.path]
        found = np.sqrt(sum((row.gradient_norm or 0.0) ** 2 for row in rows))
        assert found == pytest.approx(gradient, rel=1e-4)


def test_a_loss_that_is_given_stands_alone():
    for loss in ("mean_squared_error", keras.losses.MeanSquaredError()):
        model = network(added)
        expected = np.square(ops.convert_to_numpy(model(X)) - Y).mean(axis=1)
        assert signal_report(model, X, Y, loss).loss == pytest.approx(
            expected.mean(), rel=1e-5
        )
        weighted = signal_report(model, (X, Y, WEIGHTS), loss=loss)
        assert weighted.loss == pytest.approx((WEIGHTS * expected).mean(), rel=1e-5)


def quadratic(loss, **settings):
    """The Hessian of a linear model is known, with that of a regularizer."""
    last = layers.Dense(1, use_bias=False, name="age", **settings)
    inputs = keras.Input((6,))
    several = isinstance(loss, dict)
    model = keras.Model(inputs, {"age": last(inputs)} if several else last(inputs))
    model.compile("sgd", loss)
    return model, {"age": Y[:, :1]} if several else Y[:, :1]


SUM = keras.losses.MeanSquaredError(reduction="sum")


@pytest.mark.parametrize(
    "loss", [SUM, {"age": SUM}, "mse"], ids=["sum", "dict", "mean"]
)
@pytest.mark.parametrize("batch_size", [12, 5])
def test_a_hessian_is_the_same_in_any_number_of_batches(loss, batch_size):
    model, y = quadratic(loss, kernel_regularizer=L2(3.0))
    share = 1 if loss != "mse" else 1 / len(X)
    exact = 2 * np.linalg.norm(X.T @ X * share + 3 * np.eye(6), 2)
    found = hessian_norm(model, X, y, batch_size=batch_size, tolerance=1e-5)
    assert found.value == pytest.approx(exact, rel=1e-4)


def test_errors_of_a_sum_are_those_of_samples():
    for loss in (SUM, {"age": SUM}, "mse"):
        model, y = quadratic(loss)
        outputs = model.predict(X, verbose=0)
        outputs = outputs["age"] if isinstance(loss, dict) else outputs
        expected = 2 * np.sqrt(np.square(outputs - Y[:, :1]).mean())
        row = signal_report(model, X, y).rows[-1]
        assert row.error_norm == pytest.approx(expected, rel=1e-5)


def test_losses_that_batches_do_not_give_are_refused():
    inputs = keras.Input((6,))
    heads = {name: layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model, y = keras.Model(inputs, heads), {"a": Y[:, :1], "b": Y[:, 1:2]}
    mean = keras.losses.MeanSquaredError()
    model.compile("sgd", {"a": SUM, "b": mean})
    assert hessian_norm(model, X, y).converged
    with pytest.raises(ValueError, match=r"reductions \['mean', 'sum'\]"):
        hessian_norm(model, X, y, batch_size=5)
    reduction = "mean_with_sample_weight"
    weighted = keras.losses.MeanSquaredError(reduction=reduction)
    model.compile("sgd", {"a": weighted, "b": weighted})
    with pytest.raises(ValueError, match=reduction):
        hessian_norm(model, X, y, batch_size=5)
    single, y = quadratic(keras.losses.MeanSquaredError(reduction="none"))
    with pytest.raises(ValueError, match="loss has the shape"):
        hessian_norm(single, X, y)


def test_a_hessian_of_masked_outputs_is_that_of_all_samples():
    tokens = np.array([[1, 2, 0], [1, 0, 0], [2, 2, 2]])
    parts = [layers.Embedding(3, 4, mask_zero=True), layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,), dtype="int32"), *parts])
    model.compile("sgd", "mse")
    assert hessian_norm(model, tokens, np.ones((3, 3, 2))).converged
    with pytest.raises(ValueError, match="`batch_size` must be that of all samples"):
        hessian_norm(model, tokens, np.ones((3, 3, 2)), batch_size=2)


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_model_itself_would_add_is_refused(inside):
    part = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    model = network(lambda: [part, layers.Dense(3)])
    (part if inside else model).activity_regularizer = L2(0.1)
    with pytest.raises(ValueError, match="`activity_regularizer` must be that of a l"):
        signal_report(model, X, Y)
    with pytest.raises(ValueError, match="`activity_regularizer` must be that of a l"):
        initialize(model, GradInit(1, batch_size=12, verbose=False), data=(X, Y))
    assert signal_report(model, X, Y, "mean_squared_error").loss > 0


@pytest.mark.parametrize("parts", [blocks, regularized])
def test_a_search_is_of_what_fit_minimizes(parts):
    model = network(parts)
    loss = model.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0)
    scheme = GradInit(1, batch_size=12, start=None, verbose=False)
    report = initialize(model, scheme, data=(X, Y, WEIGHTS), others="keep", seed=0)
    assert report.history["loss"][0] == pytest.approx(loss, rel=1e-5)
