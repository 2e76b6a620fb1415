"""Data as people have them, with all that takes data."""

import itertools

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit import _data, hessian_norm, initialize, signal_report
from keras_convinit.analysis import trace
from keras_convinit.layers import WeightNormDense

COUNT = 12
X = np.random.default_rng(0).normal(size=(COUNT, 3))
Y = np.random.default_rng(1).normal(size=(COUNT, 1))


class Batches(keras.utils.PyDataset):
    """Batches as lists, which is what a loader of PyTorch gives."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return [X[rows], Y[rows]]


def network():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(6, use_bias=False, name="first"),
            layers.BatchNormalization(name="norm"),
            WeightNormDense(1, name="last"),
        ]
    )
    for index, weight in enumerate(model.trainable_variables):
        values = np.random.default_rng(index).normal(size=weight.shape)
        weight.assign(values)
    model.compile("sgd", "mean_squared_error")
    return model


def tables():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list("abc")), pandas.Series(Y[:, 0])


def tables_of_objects():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X).astype(object), pandas.DataFrame(Y)


def tensors_of_torch():
    torch = pytest.importorskip("torch")
    return torch.tensor(X, requires_grad=True), torch.tensor(Y)


def tensors_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    return tf.constant(X), tf.RaggedTensor.from_tensor(Y)


def tensors_of_jax():
    numpy = pytest.importorskip("jax.numpy")
    return numpy.asarray(X), numpy.asarray(Y)


def sparse():
    matrices = pytest.importorskip("scipy.sparse")
    return matrices.csr_matrix(X), Y


def loader():
    data = pytest.importorskip("torch.utils.data")
    torch = pytest.importorskip("torch")
    pairs = data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return data.DataLoader(pairs, batch_size=8)


def data_set_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


# What they hold is X and Y: all at once, or in batches of 8.
ARRAYS = {
    "arrays": lambda: (X, Y),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "single precision": lambda: (X.astype("float32"), Y),
    "tables": tables,
    "tables of objects": tables_of_objects,
    "PyTorch": tensors_of_torch,
    "TensorFlow": tensors_of_tensorflow,
    "JAX": tensors_of_jax,
    "tensors": lambda: tuple(map(keras.ops.convert_to_tensor, (X, Y))),
    "sparse": sparse,
}
SETS = {
    "PyDataset": Batches,
    "loader": loader,
    "tf.data": data_set_of_tensorflow,
    "generator": lambda: (tuple(Batches()[i]) for i in range(2)),
    "iterator of lists": lambda: iter([Batches()[i] for i in range(2)]),
}


def monitored(model, data):
    monitor = keras_convinit.SignalMonitor(data)
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[monitor])
    return [monitor.reports[0].loss, *monitor.reports[0].inputs]


def weights_after(scheme, **arguments):
    def run(model, data):
        initialize(model, scheme, data=data, seed=0, **arguments)
        return np.concatenate([np.ravel(w) for w in model.get_weights()])

    return run


CONSUMERS = {
    "report": lambda model, data: signal_report(model, data).loss,
    "monitor": monitored,
    "gamma": lambda model, data: (
        keras_convinit.suggest_gamma(model, data, None, 0.1).gamma
    ),
    "hessian": lambda model, data: hessian_norm(model, data, max_iterations=9).value,
    "lsuv": weights_after("lsuv"),
    "data_dependent": weights_after("data_dependent"),
    "gradinit": weights_after("gradinit", iterations=1, batch_size=8, verbose=False),
    "metainit": weights_after("metainit", steps=1, batch_size=8, verbose=False),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_kind_are_the_same_numbers(kind):
    batch = _data.take_first_batch(network(), ARRAYS[kind]())
    dtype = keras.config.floatx()
    assert (batch.x.dtype, batch.y.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(batch.x, X.astype(dtype))
    np.testing.assert_array_equal(batch.y, Y.astype(dtype))
    assert batch.weights is None


@pytest.mark.parametrize("kind", SETS)
def test_sets_of_every_kind_give_the_same_batches(kind):
    found = list(_data.iterate_batches(network(), SETS[kind]()))
    assert [batch.size for batch in found] == [8, 4]
    whole = _data.concatenate_batches(found)
    np.testing.assert_array_equal(whole.x, X.astype("float32"))
    np.testing.assert_array_equal(whole.y, Y.astype("float32"))
    gathered = _data.take_first_batch(network(), SETS[kind](), samples=10)
    np.testing.assert_array_equal(gathered.x, X[:10].astype("float32"))


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_all_that_takes_data_takes_every_kind(consumer):
    run = CONSUMERS[consumer]
    for kinds, names in ((ARRAYS, ["tables"]), (SETS, ["loader", "iterator of lists"])):
        rows = slice(None) if kinds is ARRAYS else slice(8)
        # A search goes on to the next batch of a set.
        expected = run(network(), (X[rows], Y[rows]) if kinds is ARRAYS else Batches())
        for name in names:
            np.testing.assert_array_equal(run(network(), kinds[name]()), expected)


@pytest.mark.parametrize("kind", [*ARRAYS, *SETS])
def test_the_loss_is_that_of_evaluate(kind):
    rows = slice(None) if kind in ARRAYS else slice(8)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    data = {**ARRAYS, **SETS}[kind]()
    expected = model.evaluate(X[rows], Y[rows], batch_size=COUNT, verbose=0)
    assert signal_report(model, data).loss == pytest.approx(expected, rel=1e-6)


def test_a_monitor_asks_a_set_once():
    asked = []

    def batches():
        for index in itertools.count():
            asked.append(index)
            yield [X + index, Y]

    monitor = keras_convinit.SignalMonitor(batches())
    network().fit(X, Y, epochs=2, verbose=0, callbacks=[monitor])
    assert asked == [0]
    assert len({report.inputs for report in monitor.reports.values()}) == 1


def house(taken):
    """price - 2 area, with inputs that are not in alphabetical order."""
    price, area = keras.Input((4,), name="price"), keras.Input((4,), name="area")
    outputs = keras.layers.Subtract(name="less")(
        [price, keras.layers.Rescaling(2.0, name="twice")(area)]
    )
    outputs = keras.layers.Dense(1, name="dense", use_bias=False)(outputs)
    model = keras.Model(taken(price, area), outputs)
    model.get_layer("dense").kernel.assign(np.arange(1.0, 5.0)[:, None])
    model.compile("sgd", "mean_squared_error")
    return model


TAKEN = {
    "list": lambda price, area: [price, area],
    "tuple": lambda price, area: (price, area),
    "dict": lambda price, area: {"price": price, "area": area},
    "other names": lambda price, area: {"b": price, "a": area},
    "nest": lambda price, area: [{"price": price}, [area]],
    "dict of lists": lambda price, area: {"q": [price], "b": area},
}
PRICE, AREA = np.random.default_rng(2).normal(size=(2, 8, 4)).astype("float32")
TARGET = np.random.default_rng(3).normal(size=(8, 1)).astype("float32")
RIGHT = PRICE @ np.arange(1.0, 5.0)[:, None] - 2 * AREA @ np.arange(1.0, 5.0)[:, None]


def forms(taken):
    """What Keras takes for it, and the numbers are `RIGHT`."""
    yield TAKEN[taken](PRICE, AREA)
    if taken in ("list", "tuple"):
        for one, other in (("list", "tuple"), ("tuple", "dict"), ("dict", "list")):
            yield from (TAKEN[each](PRICE, AREA) for each in (one, other))
        yield {"aaa": AREA, "price": PRICE, "area": AREA, "zzz": PRICE}
    if taken == "dict":
        yield dict(reversed(TAKEN[taken](PRICE, AREA).items()))


@pytest.mark.parametrize("taken", TAKEN)
def test_inputs_go_by_name(taken):
    model = house(TAKEN[taken])
    expected = np.mean((RIGHT - TARGET) ** 2)
    slope = 2 * (PRICE - 2 * AREA).T @ (PRICE - 2 * AREA) / 8
    for x in forms(taken):
        np.testing.assert_allclose(model.predict(x, verbose=0), RIGHT, rtol=1e-4)
        outputs = keras.ops.convert_to_numpy(trace(model).run(x))
        np.testing.assert_allclose(outputs, RIGHT, rtol=1e-4)
        report = signal_report(model, x, TARGET)
        assert report.loss == pytest.approx(expected, rel=1e-5)
    norm = hessian_norm(model, x, TARGET, tolerance=1e-5).value
    assert norm == pytest.approx(np.linalg.norm(slope, 2), rel=1e-4)
    initialize(model, "lsuv", data=x, seed=0, tolerance=1e-4)
    assert model.predict(x, verbose=0).std() == pytest.approx(1, rel=2e-4)


def test_names_that_keras_would_mistake_are_taken_or_refused():
    model = house(TAKEN["dict"])
    extra = {"aaa": AREA, "price": PRICE, "area": AREA}
    outputs = keras.ops.convert_to_numpy(trace(model).run(extra))
    np.testing.assert_allclose(outputs, RIGHT, rtol=1e-4)
    for x in ([PRICE, AREA], {"price": PRICE}, {"price": PRICE, "areas": AREA}):
        for call in (
            lambda x=x: signal_report(model, x),
            lambda x=x: initialize(model, "lsuv", data=x),
            lambda x=x: trace(model).run(x),
        ):
            with pytest.raises(ValueError, match="must be 2 tensors, as the model"):
                call()


@pytest.mark.parametrize("taken", TAKEN)
def test_models_inside_are_called_by_name(taken):
    inner = house(TAKEN[taken])
    price, area = keras.Input((4,)), keras.Input((4,))
    for x in forms(taken):
        named = keras.tree.map_structure(
            lambda leaf: price if leaf is PRICE else area, x
        )
        outer = keras.Model([price, area], inner(named))
        outputs = keras.ops.convert_to_numpy(trace(outer).run([PRICE, AREA]))
        np.testing.assert_allclose(outputs, RIGHT, rtol=1e-4)


class Own(keras.Model):
    """Takes a dictionary in a call of its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs["price"] - 2 * inputs["area"])


def test_a_model_with_a_call_of_its_own_takes_what_it_takes():
    x = {"price": PRICE, "area": AREA}
    batches = [[x, np.zeros((8, 2))]]
    for data in ((x, np.zeros((8, 2))), iter(batches), x):
        model = Own()
        model(x)
        model.compile("sgd", "mean_squared_error")
        report = initialize(model, "orthogonal", data=data, seed=0)
        assert [row.path for row in report.rows][:1] == [model.dense.kernel.path]
        initialize(model, "lsuv", data=(x, None), seed=0)
        assert model.predict(x, verbose=0).std() == pytest.approx(1, rel=0.1)
    assert len(trace(Own(), x).calls) == len(trace(model, batches.__iter__()).calls)


def test_labels_and_outputs_by_name():
    inputs = keras.Input((3,))
    outputs = {
        "z": keras.layers.Dense(1, name="z")(inputs),
        "a": keras.layers.Dense(1, name="a")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"z": "mean_squared_error", "a": "mean_absolute_error"})
    y = {"z": 5 * Y, "a": Y}
    expected = model.evaluate(X, y, verbose=0)[0]
    assert signal_report(model, X, y).loss == pytest.approx(expected, rel=1e-5)
    assert signal_report(model, (X, y)).loss == pytest.approx(expected, rel=1e-5)


WEIGHTS = np.random.default_rng(6).uniform(0.1, 4, COUNT)


@pytest.mark.parametrize(
    "loss",
    [None, "mean_squared_error", keras.losses.MeanSquaredError()],
    ids=["own", "name", "object"],
)
def test_sample_weights_are_counted_in_a_hessian(loss):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mean_squared_error")
    exact = np.linalg.norm(2 * X.T @ (WEIGHTS[:, None] * X) / COUNT, 2)
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        for size in (5, COUNT):
            found = hessian_norm(
                model, (X, Y, weights), loss=loss, batch_size=size, tolerance=1e-5
            )
            assert found.value == pytest.approx(exact, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["gradinit", "metainit"])
def test_sample_weights_are_counted_in_a_search(scheme):
    settings = {"gradinit": {"iterations": 1}, "metainit": {"steps": 1}}[scheme]

    def loss_at_start(*parts, **arguments):
        report = initialize(
            network(),
            scheme,
            data=iter([list(parts)] * 2),
            seed=0,
            start=None,
            batch_size=COUNT,
            verbose=False,
            **settings,
            **arguments,
        )
        return report.history["loss"][0]

    plain = loss_at_start(X, Y)
    assert loss_at_start(X, Y, np.full(COUNT, 3.0)) == pytest.approx(3 * plain, 1e-5)
    first = loss_at_start(X, Y, np.eye(COUNT)[0], loss="mean_squared_error")
    rest = loss_at_start(X, Y, 1 - np.eye(COUNT)[0], loss="mean_squared_error")
    assert first + rest == pytest.approx(plain, rel=1e-5)
    assert first != pytest.approx(plain, rel=0.01)


def test_sample_weights_need_losses_of_samples():
    with pytest.raises(ValueError, match="must give a number for each sample"):
        hessian_norm(
            network(), (X, Y, WEIGHTS), loss=lambda y, out: keras.ops.mean(out - y)
        )
    with pytest.raises(ValueError, match="its sample weights must have the same"):
        hessian_norm(network(), (X, Y, WEIGHTS[:3]))


def stateful(size):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(size, 5, 3)),
            keras.layers.LSTM(4, stateful=size is not None),
            keras.layers.Dense(1),
        ]
    )
    for index, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(index).normal(size=weight.shape))
    model.compile("sgd", "mean_squared_error")
    return model


@pytest.mark.slow
def test_a_model_of_a_fixed_batch_size():
    x = np.random.default_rng(4).normal(size=(8, 5, 3))
    y = np.random.default_rng(5).normal(size=(8, 1))
    free = stateful(None)
    expected = free.evaluate(x[:4], y[:4], verbose=0)
    for data in ((x[:4], y[:4]), iter([(x[:4], y[:4])])):
        report = signal_report(stateful(4), data)
        assert report.loss == pytest.approx(expected, rel=1e-5)
    found = hessian_norm(stateful(4), x, y, tolerance=1e-5).value
    whole = hessian_norm(free, x, y, tolerance=1e-5).value
    assert found == pytest.approx(whole, rel=1e-4)
    model = keras.Sequential(
        [keras.Input(batch_shape=(4, 3)), keras.layers.Dense(6), keras.layers.Dense(1)]
    )
    initialize(model, "lsuv", data=X, seed=0, tolerance=1e-4)
    outputs = model.predict(X[:4], batch_size=4, verbose=0)
    assert outputs.std() == pytest.approx(1, rel=2e-4)
    for scheme, settings in (
        ("gradinit", {"iterations": 1}),
        ("metainit", {"steps": 1}),
    ):
        ends = []
        for size, batch_size in ((4, 128), (None, 4)):
            model = stateful(size)
            initialize(
                model,
                scheme,
                data=iter([(x, y)]),
                seed=0,
                verbose=False,
                batch_size=batch_size,
                **settings,
            )
            ends.append([np.array(v) for v in map(_numpy, model.trainable_variables)])
        for one, other in zip(*ends, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    for call, message in (
        (lambda: signal_report(stateful(4), x), "`x` must have 4 samples, the batch"),
        (lambda: hessian_norm(stateful(4), x[:6], y[:6]), "`x` must have a multiple"),
        (
            lambda: initialize(stateful(4), "lsuv", data=x[:3]),
            "`data` must have 4 samples, the batch size of the model",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def _numpy(variable):
    return keras.ops.convert_to_numpy(variable)


@pytest.fixture
def double():
    """float64 everywhere; on JAX numbers have it only if asked."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    is_jax = keras.backend.backend() == "jax"
    if is_jax:
        import jax

        was = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    if is_jax:
        jax.config.update("jax_enable_x64", was)


@pytest.mark.slow
def test_double_precision_everywhere(double):
    model = network()
    assert model.weights[0].dtype == "float64"
    inference = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    inference.compile("sgd", "mean_squared_error")
    kernel, bias = map(_numpy, inference.weights)
    expected = np.mean((X @ kernel + bias - Y) ** 2)
    for _ in range(2):
        # Keras itself computes parts of a loss in float32 on JAX and PyTorch.
        assert signal_report(inference, X, Y).loss == pytest.approx(expected, rel=1e-6)
    design = np.concatenate([X, np.ones((COUNT, 1))], axis=1)
    norm = hessian_norm(inference, X, Y, tolerance=1e-8).value
    exact = np.linalg.norm(2 * design.T @ design / COUNT, 2)
    assert norm == pytest.approx(exact, rel=1e-6)
    for consumer in CONSUMERS:
        found = CONSUMERS[consumer](network(), (X, Y))
        assert np.isfinite(found).all(), consumer


@pytest.mark.slow
def test_searches_find_in_double_precision_what_they_find_in_single(request):
    def ends():
        found = []
        for scheme, settings in (
            ("gradinit", {"iterations": 2, "batch_size": 8}),
            ("gradinit", {"iterations": 2, "max_gradient_norm": 1e6}),
            ("gradinit", {"iterations": 2, "optimizer": "adam"}),
            ("metainit", {"steps": 2}),
        ):
            model = network()
            report = initialize(
                model,
                scheme,
                data=(X, Y),
                seed=0,
                start=None,
                verbose=False,
                **settings,
            )
            found += [np.ravel(v) for v in map(_numpy, model.trainable_variables)]
            found += [np.array(v) for v in report.history.values()]
        return np.concatenate(found)

    single = ends()
    request.getfixturevalue("double")
    np.testing.assert_allclose(ends(), single, rtol=1e-3)


def test_text_for_a_model_that_reads_it():
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(ValueError, match="only TensorFlow has tensors of"):
            _data.take_first_batch(network(), np.array([["a"]]))
        return
    words = keras.layers.TextVectorization(8, output_sequence_length=4)
    words.adapt(["a b c", "b c d"])
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            words,
            keras.layers.Embedding(8, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mean_squared_error")
    x, y = np.array([["a b"], ["d c b a"]]), np.ones((2, 1))
    expected = model.evaluate(keras.ops.convert_to_tensor(x), y, verbose=0)
    assert signal_report(model, x, y).loss == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"`x` must be numbers.*with strings"):
        signal_report(network(), np.array([["a"] * 3] * 2))


BAD = {
    "nothing": (None, "must be numbers.*Received: (x|data)=None|must be given"),
    "an object": (object(), "must be numbers.*with objects"),
    "a function": (lambda: X, "must be numbers.*with objects"),
    "complex": (X + 0j, "must be numbers.*with complex128"),
    "rows of several lengths": ([[1.0, 2.0], [3.0]], "must be numbers.*of list"),
    "no samples": (X[:0], r"at least one sample.*of shape \(0, 3\)"),
    "no batches": (iter([]), "at least one batch"),
    "too many parts": ((X, Y, Y, Y), "Received: 4 parts"),
    "wrong shape": (X[:, :2], r"shapes \[\(None, 3\)\].*of shape \(12, 2\)"),
    "two inputs": ([X, X], r"shapes \[\(None, 3\)\]"),
    "labels of another length": ((X, Y[:3]), "same number of samples.*labels of shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name):
    data, message = BAD[name]
    with pytest.raises(ValueError, match=f"(?s)`x`.*({message})"):
        signal_report(network(), data)
    if isinstance(data, tuple) or not hasattr(data, "__next__"):
        with pytest.raises(ValueError, match=f"(?s)`data`.*({message})"):
            initialize(network(), "lsuv", data=data)


def test_labels_are_given_once():
    with pytest.raises(ValueError, match="`y` must be None where `x` has labels"):
        signal_report(network(), (X, Y), Y)
