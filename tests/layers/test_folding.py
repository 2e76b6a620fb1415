"""A folded model computes the same, and knows nothing of this package."""

import random
import re

import keras
import numpy as np
import pytest
from helpers.functions import tanh

from keras_convinit import layers as ours
from keras_convinit.initializers import DeltaOrthogonal, ZhangBackward, ZhangForward
from keras_convinit.layers.folding import fold
from keras_convinit.optimizers import CoupledSGD

layers = keras.layers
SHAPE = (8, 8, 4)


def images(count=4):
    generator = np.random.default_rng(0)
    return generator.standard_normal((count, *SHAPE)).astype("float32")


def assert_same_function(model, folded):
    expected = model.predict(images(), verbose=0)
    found = folded.predict(images(), verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


def assert_plain(model):
    assert "keras_convinit" not in model.to_json()


def scrambled(model):
    """The model with other values than it was initialized with."""
    generator = np.random.default_rng(1)
    model.set_weights(
        [
            weight + 0.1 * np.abs(generator.standard_normal(weight.shape))
            for weight in model.get_weights()
        ]
    )
    return model


ORDINARY = {
    "WeightNormConv2D": (
        lambda: ours.WeightNormConv2D(
            6, 3, strides=2, padding="same", groups=2, activation="relu", name="x"
        ),
        layers.Conv2D,
    ),
    "no bias": (
        lambda: ours.WeightNormConv2D(6, 3, use_bias=False, name="x"),
        layers.Conv2D,
    ),
    "WeightNormDense": (lambda: ours.WeightNormDense(5, name="x"), layers.Dense),
    "WeightNormConv2DTranspose": (
        lambda: ours.WeightNormConv2DTranspose(6, 3, strides=2, name="x"),
        layers.Conv2DTranspose,
    ),
    "WeightNormDepthwiseConv2D": (
        lambda: ours.WeightNormDepthwiseConv2D(3, depth_multiplier=2, name="x"),
        layers.DepthwiseConv2D,
    ),
    "WeightNorm": (
        lambda: ours.WeightNorm(layers.Conv2D(6, 3, dilation_rate=2), name="x"),
        layers.Conv2D,
    ),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_weight_normalized_layers_become_ordinary(name, capsys):
    factory, ordinary = ORDINARY[name]
    model = scrambled(keras.Sequential([keras.Input(SHAPE), factory()]))
    folded = fold(model)
    assert re.match(r"x: WeightNorm\w* -> \w+\n$", capsys.readouterr().out)
    assert type(folded.get_layer("x")) is ordinary
    assert_same_function(model, folded)
    assert_plain(folded)


def test_layers_of_rank_one_and_three():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Reshape((8, 8, 4, 1)),
            ours.WeightNormConv3D(3, 3),
            layers.Reshape((36, 6)),
            ours.WeightNormConv1D(3, 3),
        ]
    )
    folded = fold(scrambled(model), verbose=False)
    assert_same_function(model, folded)
    assert_plain(folded)


@pytest.fixture
def mixed_model():
    """Everything at once: nested, shared, wrapped, with a state and an operation."""
    shared = ours.WeightNormConv2D(4, 3, padding="same", name="shared")
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            ours.WeightNormConv2D(4, 3, padding="same", name="deep"),
            layers.BatchNormalization(name="averages"),
            layers.ReLU(),
        ],
        name="inner",
    )
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, padding="same", kernel_initializer="zhang_backward")(inputs)
    x = inner(shared(x)) + shared(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Reshape((64, 4))(x)
    x = layers.TimeDistributed(ours.WeightNormDense(3), name="wrapped")(x)
    outputs = ours.WeightNormDense(2, name="head")(layers.Flatten()(x))
    return keras.Model(inputs, outputs, name="mixed")


def test_models_fold_to_the_bottom(mixed_model):
    mixed_model.compile("sgd", "mse")
    mixed_model.fit(images(8), np.zeros((8, 2)), batch_size=4, verbose=0)
    before = mixed_model.get_weights()
    folded = fold(mixed_model, verbose=False)
    assert_same_function(mixed_model, folded)
    assert_plain(folded)
    assert [layer.name for layer in folded.layers] == [
        layer.name for layer in mixed_model.layers
    ]
    assert folded.name == "mixed"
    # The given model is as it was, and the two share nothing.
    for now, then in zip(mixed_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    folded.compile("sgd", "mse")
    folded.fit(images(8), np.zeros((8, 2)), batch_size=4, verbose=0)
    for now, then in zip(mixed_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def residual_branch():
    return [
        ours.WeightNormConv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(4, 3, padding="same", kernel_initializer="zhang_forward"),
    ]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_residuals_are_written_out(policy):
    projection = ours.WeightNormConv2D(6, 1, strides=2, name="projection")
    branch = ours.WeightNormConv2D(6, 3, strides=2, padding="same", name="absorbed")
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            ours.ScaledResidual(residual_branch(), 4, name="plain", dtype=policy),
            ours.ScaledResidual(branch, 4, projection, absorb=True, name="projected"),
        ]
    )
    folded = fold(scrambled(model), verbose=False)
    assert_plain(folded)
    assert [layer.name for layer in folded.layers] == ["plain", "projected"]
    if policy == "float32":
        assert_same_function(model, folded)
    else:
        assert folded.layers[0].output.dtype == "bfloat16"
        np.testing.assert_allclose(
            folded.predict(images(), verbose=0),
            model.predict(images(), verbose=0),
            rtol=2**-6,
            atol=2**-5,
        )


def test_stacks_are_written_out(capsys):
    inner = [*residual_branch(), layers.Dropout(0.5)]
    model = keras.Sequential(
        [keras.Input(SHAPE), ours.ScaledResidualStack(inner, 3, name="stage")]
    )
    folded = fold(scrambled(model))
    assert capsys.readouterr().out == "stage: ScaledResidualStack -> 3 models\n"
    assert_plain(folded)
    assert len(folded.get_layer("stage").layers) == 1 + 3
    assert_same_function(model, folded)


def test_it_says_what_it_folded(mixed_model, capsys):
    fold(mixed_model)
    printed = capsys.readouterr().out
    assert "shared: WeightNormConv2D -> Conv2D\n" in printed
    assert "deep: WeightNormConv2D -> Conv2D\n" in printed
    assert "head: WeightNormDense -> Dense\n" in printed
    assert "conv2d: initializers -> built-in\n" in re.sub(r"_\d+:", ":", printed)
    assert printed.count("->") == 5


def test_inputs_and_outputs_keep_their_structure():
    inputs = {"a": keras.Input(SHAPE, name="a"), "b": keras.Input(SHAPE, name="b")}
    layer = ours.WeightNormConv2D(4, 1)
    outputs = {"sum": layers.add([layer(inputs["a"]), inputs["b"]]), "b": inputs["b"]}
    model = keras.Model(inputs, outputs)
    folded = fold(model, verbose=False)
    batch = {"a": images(), "b": 2 * images()}
    found, expected = folded(batch), model(batch)
    assert found.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found[key]),
            keras.ops.convert_to_numpy(expected[key]),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "initializer",
    [
        ZhangForward("tanh", scale=3.0, variance=0.5, seed=4),
        ZhangBackward("gelu", gamma=0.4, seed=4),
    ],
    ids=["forward", "backward"],
)
def test_our_initializers_become_built_in_ones_of_the_same_law(initializer):
    layer = layers.Conv2D(6, 3, kernel_initializer=initializer)
    folded = fold(keras.Sequential([keras.Input(SHAPE), layer]), verbose=False)
    replaced = folded.layers[0].kernel_initializer
    assert type(replaced).__module__.startswith("keras.")
    shape = (3, 3, 4, 6)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(replaced(shape)),
        keras.ops.convert_to_numpy(initializer(shape)),
        rtol=1e-5,
    )


def test_delta_orthogonal_becomes_orthogonal():
    layer = layers.Conv2D(6, 3, kernel_initializer=DeltaOrthogonal(gain=2.0))
    model = keras.Sequential([keras.Input(SHAPE), layer])
    folded = fold(model, verbose=False)
    assert folded.layers[0].kernel_initializer.gain == 2.0
    assert_same_function(model, folded)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_policies_are_kept(policy):
    model = keras.Sequential(
        [keras.Input(SHAPE), ours.WeightNormConv2D(4, 3, dtype=policy)]
    )
    folded = fold(model, verbose=False)
    assert folded.layers[0].dtype_policy.name == policy
    np.testing.assert_array_equal(
        folded.predict(images(), verbose=0), model.predict(images(), verbose=0)
    )


def test_nothing_to_fold():
    model = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="with nothing to fold"):
        fold(model)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = ours.WeightNormDense(3)

    def call(self, inputs):
        return self.dense(inputs)


class Holder(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = ours.WeightNormDense(4)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.dense)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config):
        del config["inner"]
        return cls(**config)


def test_what_has_no_graph_is_refused():
    model = Subclassed()
    model(images())
    for received in (model, keras.Sequential([ours.WeightNormDense(3)])):
        with pytest.raises(ValueError, match="Functional or Sequential model"):
            fold(received)


def test_what_is_out_of_reach_is_refused():
    model = keras.Sequential([keras.Input(SHAPE), Holder(name="holder")])
    with pytest.raises(ValueError, match="out of reach") as caught:
        fold(model)
    assert "name=holder" in str(caught.value)


def test_the_file_is_read_where_the_package_is_not(
    mixed_model, tmp_path, fresh_process
):
    path = str(tmp_path / "folded.keras")
    fold(mixed_model, verbose=False).save(path)
    printed = fresh_process(
        f"""
        import sys
        sys.modules["keras_convinit"] = None  # An import of it fails.
        import keras
        import numpy as np
        model = keras.models.load_model({path!r})
        images = np.random.default_rng(0).standard_normal((4, 8, 8, 4))
        outputs = model.predict(images.astype("float32"), verbose=0)
        print("OUTPUT", outputs.tolist())
        """
    )
    outputs = re.search(r"^OUTPUT (.*)$", printed, re.MULTILINE).group(1)
    np.testing.assert_allclose(
        np.array(eval(outputs)),
        mixed_model.predict(images(), verbose=0),
        rtol=1e-5,
        atol=1e-5,
    )


class Maker(layers.Layer):
    """Makes its layers itself, and does not say so."""

    def __init__(self, make=None, **kwargs):
        super().__init__(**kwargs)
        self.inside = {"list": [(make or ours.WeightNormConv2D)(4, 1)]}

    def build(self, input_shape):
        self.inside["list"][0].build(input_shape)

    def call(self, inputs):
        return inputs + self.inside["list"][0](inputs)

    def get_config(self):
        return super().get_config()


class Carrier(layers.Layer):
    """Holds a layer that its configuration speaks of."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return 2.0 * self.inner(inputs)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config):
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


class Unmakeable(layers.Layer):
    """Cannot be made again."""

    def __init__(self, width):
        super().__init__(name="unmakeable")
        self.inner = layers.Conv2D(width, 1)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "hide",
    [
        lambda layer: layer,
        lambda layer: layers.SpectralNormalization(Carrier(layer)),
        lambda layer: ours.ScaledResidual([layer], 2),
        lambda layer: ours.ScaledResidualStack([layer], 2),
    ],
    ids=["bare", "wrapped", "branch", "stack"],
)
def test_what_a_layer_makes_itself_is_refused(hide, capsys):
    hidden = hide(Maker(name="maker"))
    if isinstance(hidden, layers.SpectralNormalization):
        hidden = Carrier(Carrier(Maker(name="maker")))
    model = keras.Sequential([keras.Input(SHAPE), ours.WeightNormConv2D(4, 1), hidden])
    with pytest.raises(ValueError, match="out of reach") as caught:
        fold(model)
    assert "name=maker" in str(caught.value)
    assert not capsys.readouterr().out


def test_what_a_configuration_holds_is_folded():
    inner = ours.WeightNormConv2D(4, 1, activation=tanh)
    model = keras.Sequential([keras.Input(SHAPE), Carrier(Carrier(inner))])
    folded = fold(scrambled(model), verbose=False)
    assert type(folded.layers[0].inner.inner) is layers.Conv2D
    assert_same_function(model, folded)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ours.WeightNormConv2D(4, 1, activation=tanh),
        lambda: ours.WeightNorm(layers.Conv2D(4, 1, activation=tanh)),
        lambda: ours.ScaledResidual(ours.WeightNormConv2D(4, 1, activation=tanh), 2),
        lambda: ours.ScaledResidualStack(layers.Conv2D(4, 1, activation=tanh), 2),
        lambda: ours.WeightNormConv2D(4, 1, activation=lambda x: x - keras.ops.cos(x)),
    ],
    ids=["drop-in", "wrapper", "residual", "stack", "lambda"],
)
def test_functions_of_ones_own_are_kept(make):
    model = keras.Sequential([keras.Input(SHAPE), make()])
    assert_same_function(model, fold(scrambled(model), verbose=False))


def test_what_cannot_be_made_again_is_shared(capsys):
    unmakeable = Unmakeable(4)
    model = keras.Sequential(
        [keras.Input(SHAPE), unmakeable, ours.WeightNormConv2D(4, 1)]
    )
    folded = fold(scrambled(model))
    assert folded.layers[0] is unmakeable
    assert "unmakeable: cannot be made again" in capsys.readouterr().out
    assert_same_function(model, folded)


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["drop-in", "residual", "initializer"])
def test_low_precision(kind, policy, tmp_path):
    layer = {
        "drop-in": lambda: ours.WeightNormConv2D(4, 1, dtype=policy),
        "residual": lambda: ours.ScaledResidual(
            [ours.WeightNormConv2D(4, 1, dtype=policy)], 2, dtype=policy
        ),
        "initializer": lambda: layers.Conv2D(
            4, 1, kernel_initializer="delta_orthogonal", dtype=policy
        ),
    }[kind]()
    inputs = keras.Input(SHAPE, dtype=policy)
    model = keras.Model(inputs, layer(inputs))
    folded = fold(model, verbose=False)
    path = str(tmp_path / "folded.keras")
    folded.save(path)
    expected = keras.ops.cast(model(images()), "float32")
    for plain in (folded, keras.models.load_model(path)):
        assert {variable.dtype for variable in plain.weights} == {policy}
        # A plain layer may round the factor of a branch in another place.
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(keras.ops.cast(plain(images()), "float32")),
            keras.ops.convert_to_numpy(expected),
            rtol=2**-6,
            atol=2**-6,
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda: ours.ScaledResidual(residual_branch(), 2),
        lambda: ours.ScaledResidual(ours.WeightNormConv2D(4, 1), 2),
        lambda: ours.ScaledResidualStack(residual_branch(), 2),
    ],
    ids=["list", "layer", "stack"],
)
def test_one_block_for_several_sizes(make):
    block = make()
    inputs = [keras.Input((8, 8, 4)), keras.Input((5, 7, 4))]
    model = scrambled(keras.Model(inputs, [block(x) for x in inputs]))
    folded = fold(model, verbose=False)
    batch = [images(), images()[:, :5, :7]]
    for found, expected in zip(folded(batch), model(batch), strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found),
            keras.ops.convert_to_numpy(expected),
            rtol=1e-5,
            atol=1e-5,
        )


def test_a_block_that_wants_to_know_its_positions():
    branch = [
        layers.Flatten(),
        ours.WeightNormDense(8 * 8 * 4),
        layers.Reshape(SHAPE),
    ]
    model = keras.Sequential([keras.Input(SHAPE), ours.ScaledResidual(branch, 2)])
    assert_same_function(model, fold(scrambled(model), verbose=False))


def doubled(base):
    """A subclass that computes twice what its base does."""

    @keras.saving.register_keras_serializable("test_folding")
    class Doubled(base):
        def call(self, inputs, **kwargs):
            return 2.0 * super().call(inputs, **kwargs)

    return Doubled


SUBCLASSED = {
    "drop-in": lambda change: change(ours.WeightNormDense)(4, name="it"),
    "wrapper": lambda change: change(ours.WeightNorm)(layers.Dense(4), name="it"),
    "residual": lambda change: change(ours.ScaledResidual)(
        ours.WeightNormDense(4), 2, name="it"
    ),
    "stack": lambda change: change(ours.ScaledResidualStack)(
        ours.WeightNormDense(4), 2, name="it"
    ),
    "bias": lambda change: change(ours.ScalarBias)(0.5, name="it"),
    "multiplier": lambda change: change(ours.ScalarMultiplier)(0.5, name="it"),
    "sequential": lambda change: change(keras.Sequential)(
        [keras.Input((8, 8, 4)), ours.WeightNormDense(4)], name="it"
    ),
    "in a residual": lambda change: ours.ScaledResidual(
        change(keras.Sequential)([ours.WeightNormDense(4)], name="it"), 2
    ),
    "in a stack": lambda change: ours.ScaledResidualStack(
        change(ours.WeightNormDense)(4, name="it"), 2
    ),
}


@pytest.mark.parametrize("kind", SUBCLASSED)
def test_a_subclass_with_its_own_call_is_refused(kind, capsys):
    model = keras.Sequential([keras.Input(SHAPE), SUBCLASSED[kind](doubled)])
    with pytest.raises(ValueError, match="with its own `call`") as caught:
        fold(model)
    assert "name=it" in str(caught.value)
    assert not capsys.readouterr().out


def test_a_model_with_its_own_call_is_refused_or_keeps_it():
    parts = [keras.Input(SHAPE), ours.WeightNormDense(4)]
    with pytest.raises(ValueError, match="with its own `call`"):
        fold(doubled(keras.Sequential)(parts))

    inputs = keras.Input(SHAPE)
    outputs = ours.WeightNormDense(4)(inputs)
    kept = scrambled(doubled(keras.Model)(inputs, outputs))
    folded = fold(kept, verbose=False)
    assert_same_function(kept, folded)
    nested = keras.Sequential([keras.Input(SHAPE), kept])
    assert_same_function(nested, fold(nested, verbose=False))

    class OwnArguments(keras.Model):
        """Cannot be made of inputs and outputs, as a copy would have to be."""

        def __init__(self, factor):
            inputs = keras.Input(SHAPE)
            super().__init__(inputs, ours.WeightNormDense(4)(inputs))
            self.factor = factor

        def call(self, inputs):
            return self.factor * super().call(inputs)

    with pytest.raises(ValueError, match="with its own `call`"):
        fold(OwnArguments(3.0))


def test_what_a_method_other_than_call_changes_is_refused():
    class Halved(ours.WeightNormDense):
        def effective_kernel(self):
            return 0.5 * super().effective_kernel()

    class Unscaled(ours.ScaledResidualStack):
        @property
        def branch_factor(self):
            return 1.0

    class Shifted(ours.ScalarBias):
        @property
        def value(self):
            return super().value + 1.0

    class Convolved(ours.WeightNormConv2D):
        def convolution_op(self, inputs, kernel):
            return 2.0 * super().convolution_op(inputs, kernel)

    for layer, name in (
        (Halved(4), "effective_kernel"),
        (Unscaled(ours.WeightNormDense(4), 2), "branch_factor"),
        (Shifted(0.5), "value"),
        (Convolved(4, 3), "convolution_op"),
    ):
        with pytest.raises(ValueError, match=f"with its own `{name}`"):
            fold(keras.Sequential([keras.Input(SHAPE), layer]))
    layer = ours.WeightNormDense(4)
    layer.call = lambda inputs: inputs
    with pytest.raises(ValueError, match="with its own `call`"):
        fold(keras.Sequential([keras.Input(SHAPE), layer]))


@pytest.mark.parametrize("kind", SUBCLASSED)
def test_a_subclass_that_computes_what_its_base_does_folds_as_that(kind):
    def renamed(base):
        class Renamed(base):
            def build(self, input_shape=None):
                super().build(input_shape)

            def get_config(self):
                return super().get_config()

            def describe(self):
                return "a method of its own"

        return keras.saving.register_keras_serializable("test_folding")(Renamed)

    model = keras.Sequential([keras.Input(SHAPE), SUBCLASSED[kind](renamed)])
    folded = fold(scrambled(model), verbose=False)
    assert_same_function(model, folded)
    assert_plain(folded)
    assert "Renamed" not in folded.to_json()


def test_an_ordinary_subclass_is_kept_and_its_drop_in_folds_to_it():
    ordinary = doubled(layers.Dense)

    class DropIn(ours.WeightNormDense, ordinary):
        pass

    model = keras.Sequential([keras.Input(SHAPE), ordinary(4), DropIn(4)])
    folded = fold(scrambled(model), verbose=False)
    assert [type(layer) for layer in folded.layers] == [ordinary, ordinary]
    assert_same_function(model, folded)


def test_a_sequential_subclass_with_nothing_to_fold_stays_as_it_is():
    kept = doubled(keras.Sequential)([keras.Input(SHAPE), layers.Dense(4)])
    model = keras.Sequential([keras.Input(SHAPE), kept, ours.WeightNormDense(4)])
    assert_same_function(model, fold(scrambled(model), verbose=False))


class Unknown(keras.losses.Loss):
    """Known to no file."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("loss", [Unknown(), "mse"], ids=["unknown", "mse"])
@pytest.mark.parametrize("functional", [True, False])
def test_what_is_folded_is_not_compiled(loss, functional, tmp_path, fresh_process):
    inner = keras.Sequential([keras.Input(SHAPE), ours.WeightNormDense(4)])
    inputs = keras.Input(SHAPE)
    if functional:
        model = keras.Model(inputs, inner(inputs))
    else:
        model = keras.Sequential([inputs, inner])
    for each in (inner, model):
        each.compile(CoupledSGD(0.01), loss)
    model.fit(images(), images(), verbose=0)
    folded = fold(model, verbose=False)
    assert model.compiled
    assert not folded.compiled
    assert not any(getattr(layer, "compiled", False) for layer in folded.layers)
    assert_same_function(model, folded)
    path = str(tmp_path / "folded.keras")
    folded.save(path)
    if functional and loss == "mse":
        printed = fresh_process(
            f"""
            import keras
            print("LOADED", keras.models.load_model({path!r}).count_params())
            """
        )
        assert f"LOADED {folded.count_params()}" in printed


def test_inputs_keep_what_is_said_of_them():
    inputs = keras.Input(SHAPE, name="image", optional=True)
    for model in (
        keras.Model(inputs, ours.WeightNormDense(4)(inputs)),
        keras.Sequential([inputs, ours.WeightNormDense(4)]),
        keras.Sequential([keras.Input(SHAPE, 2, name="two"), ours.WeightNormDense(4)]),
    ):
        folded = fold(model, verbose=False)
        (of_folded,), (of_model,) = (
            keras.Model(each.inputs, each.inputs).layers for each in (folded, model)
        )
        assert of_folded is not of_model
        assert of_folded.get_config() == of_model.get_config()


def test_folding_draws_nothing_from_the_generators():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            ours.WeightNormDense(4),
            layers.Dropout(0.5),
            ours.ScaledResidualStack([ours.WeightNormDense(4), layers.Dropout(0.5)], 2),
        ]
    )
    states = random.getstate(), np.random.get_state()[1].tolist()
    fold(model, verbose=False)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def freeze_layer(layer):
    layer.trainable = False


FROZEN = {
    "stack": (
        lambda: ours.ScaledResidualStack(ours.WeightNormDense(4), 3),
        freeze_layer,
        0,
    ),
    "part of a stack": (
        lambda: ours.ScaledResidualStack(
            [layers.Dense(4, trainable=False), ours.WeightNormDense(4)], 3
        ),
        lambda layer: None,
        3 * 2,
    ),
    "bias of a stack": (
        lambda: ours.ScaledResidualStack([ours.WeightNormDense(4)], 3),
        lambda layer: setattr(
            next(v for v in layer.weights if "bias" in v.name), "trainable", False
        ),
        3,
    ),
    "residual": (
        lambda: ours.ScaledResidual([ours.WeightNormDense(4)], 2),
        freeze_layer,
        0,
    ),
    "kernel": (
        lambda: layers.Dense(4),
        lambda layer: freeze_layer(layer.kernel),
        1,
    ),
    "bias of a drop-in": (
        lambda: ours.WeightNormDense(4),
        lambda layer: freeze_layer(layer.bias),
        1,
    ),
    "direction": (
        lambda: ours.WeightNormDense(4),
        lambda layer: freeze_layer(layer.weight_norm_direction),
        2,
    ),
    "direction and gain": (
        lambda: ours.WeightNormDense(4),
        lambda layer: [
            freeze_layer(layer.weight_norm_direction),
            freeze_layer(layer.weight_norm_gain),
        ],
        1,
    ),
    "wrapped": (
        lambda: ours.WeightNorm(layers.Dense(4)),
        lambda layer: [freeze_layer(v) for v in layer.weights],
        0,
    ),
    "nested": (
        lambda: keras.Sequential([keras.Input(SHAPE), ours.WeightNormDense(4)]),
        freeze_layer,
        0,
    ),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_what_is_frozen_stays_so(kind):
    make, freeze, trainable = FROZEN[kind]
    layer = make()
    model = keras.Sequential([keras.Input(SHAPE), layer, ours.ScalarBias(0.5)])
    freeze(layer)
    folded = fold(model, verbose=False)
    assert len(folded.layers[0].trainable_weights) == trainable
    assert len(folded.trainable_weights) == trainable
    assert folded.layers[0].trainable == layer.trainable
    assert folded.trainable
    assert_same_function(model, folded)


def test_a_frozen_model_stays_so():
    inputs = keras.Input(SHAPE)
    for model in (
        keras.Sequential([inputs, ours.WeightNormDense(4)]),
        keras.Model(inputs, ours.WeightNormDense(4)(inputs)),
    ):
        model.trainable = False
        folded = fold(model, verbose=False)
        assert not folded.trainable
        assert len(folded.non_trainable_weights) == 2


def shared_between(kind):
    shared = ours.WeightNormDense(4, activation="tanh", name="shared")
    inputs = keras.Input(SHAPE)
    x = inputs
    if kind == "two residuals":
        for name in "ab":
            x = ours.ScaledResidual([shared], 2, name=name)(x)
    elif kind == "a model and outside":
        x = shared(keras.Sequential([keras.Input(SHAPE), shared])(x))
    elif kind == "a residual and outside":
        x = shared(ours.ScaledResidual(shared, 2)(x))
    elif kind == "outside and a residual":
        x = ours.ScaledResidual([shared], 2)(shared(x))
    else:
        model = keras.Sequential([keras.Input(SHAPE), shared])
        x = model(ours.ScaledResidual(model, 2)(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "kind",
    [
        "two residuals",
        "a model and outside",
        "a residual and outside",
        "outside and a residual",
        "a model in a residual and outside",
    ],
)
def test_a_layer_in_several_models_is_one_in_each(kind, tmp_path):
    model = scrambled(shared_between(kind))
    folded = fold(model, verbose=False)
    assert [tuple(v.shape) for v in folded.weights] == 2 * [(4, 4), (4,)]
    assert_same_function(model, folded)
    path = str(tmp_path / "folded.keras")
    folded.save(path)
    assert_same_function(model, keras.models.load_model(path))


@pytest.mark.parametrize(
    "hold",
    [
        lambda inner: keras.Sequential([keras.Input(SHAPE), *inner]),
        lambda inner: ours.ScaledResidual(inner, 2),
        lambda inner: ours.ScaledResidualStack(inner, 2),
    ],
    ids=["sequential", "residual", "stack"],
)
def test_a_layer_that_is_used_twice_in_one_model_stays_one(hold):
    twice = ours.WeightNormDense(4)
    held = hold([twice, layers.ReLU(), twice])
    model = scrambled(keras.Sequential([keras.Input(SHAPE), held]))
    folded = fold(model, verbose=False)
    blocks = 2 if isinstance(held, ours.ScaledResidualStack) else 1
    assert [tuple(v.shape) for v in folded.weights] == blocks * [(4, 4), (4,)]
    assert_same_function(model, folded)


def test_a_number_that_no_argument_names_is_not_lost(capsys):
    class Gained(layers.Layer):
        gain = 1.0

        def call(self, inputs):
            return self.gain * inputs

    class Own(keras.Model):
        gain = 1.0

        def call(self, inputs):
            return self.gain * super().call(inputs)

    layer = Gained(name="gained")
    layer.gain = 3.0
    model = keras.Sequential([keras.Input(SHAPE), ours.WeightNormDense(4), layer])
    folded = fold(model)
    assert folded.layers[1] is layer
    assert "gained: cannot be made again" in capsys.readouterr().out
    assert_same_function(model, folded)

    inputs = keras.Input(SHAPE)
    model = Own(inputs, ours.WeightNormDense(4)(inputs))
    assert_same_function(model, fold(model, verbose=False))
    model.gain = 3.0
    with pytest.raises(ValueError, match="another `gain`"):
        fold(model)
