"""What every registered initializer keeps to, one table for all."""

import copy
import inspect
import json
import pickle

import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit import Geometry, initializers
from keras_convinit.initializers import FanInitializer

ALIASES = {
    alias: cls
    for alias, cls in keras.saving.get_custom_objects().items()
    if ">" not in alias
    and inspect.isclass(cls)
    and issubclass(cls, keras.initializers.Initializer)
    and cls.__module__.startswith("keras_convinit.")
}

# Arguments other than the defaults, and a shape that suits every rule.
ARGUMENTS = {
    "delta_orthogonal": {"gain": 1.5},
    "weight_norm_gain": {"gamma": 0.5, "mode": "backward"},
    "zhang_backward": {"activation": "tanh", "gamma": 0.4, "variance": 0.5},
    "zhang_forward": {"activation": "gelu", "scale": 3.0, "variance": 2.0},
}
SHAPE = (3, 3, 8, 16)

# Those that draw kernels; the others say what a gain is.
SEEDED = [
    alias for alias in ALIASES if "seed" in inspect.signature(ALIASES[alias]).parameters
]

every_initializer = pytest.mark.parametrize("alias", sorted(ALIASES))
every_kernel_initializer = pytest.mark.parametrize("alias", sorted(SEEDED))


def made(alias):
    """An initializer with arguments of its own, and a seed where it takes one."""
    seed = {"seed": 7} if alias in SEEDED else {}
    return ALIASES[alias](**ARGUMENTS[alias], **seed)


def draw(initializer, shape=SHAPE, dtype="float32"):
    return keras.ops.convert_to_numpy(
        keras.ops.cast(initializer(shape, dtype=dtype), "float32")
    )


def test_the_table_is_complete():
    assert set(ARGUMENTS) == set(ALIASES)
    assert set(ALIASES.values()) == {
        cls
        for cls in map(vars(initializers).get, initializers.__all__)
        if not inspect.isabstract(cls)
    }


@every_initializer
def test_it_is_known_by_alias_name_and_config(alias):
    cls = ALIASES[alias]
    for identifier in (
        alias,
        f"keras_convinit>{cls.__name__}",
        {"class_name": alias, "config": ARGUMENTS[alias]},
        cls,
    ):
        assert type(keras.initializers.get(identifier)) is cls


@every_initializer
def test_names_take_nothing_from_keras(alias):
    assert not hasattr(keras.initializers, alias)
    assert not hasattr(keras.initializers, ALIASES[alias].__name__)


@every_initializer
def test_the_config_is_the_signature(alias):
    cls = ALIASES[alias]
    signature = inspect.signature(cls)
    defaults = {name: p.default for name, p in signature.parameters.items()}
    assert cls().get_config() == defaults
    initializer = made(alias)
    arguments = {**defaults, **ARGUMENTS[alias]}
    if alias in SEEDED:
        arguments["seed"] = 7
    assert initializer.get_config() == arguments
    for name, value in arguments.items():
        assert getattr(initializer, name) == value


@every_initializer
def test_copies_draw_the_same(alias):
    original = made(alias)
    serialized = keras.initializers.serialize(original)
    assert serialized["registered_name"] == f"keras_convinit>{type(original).__name__}"
    copies = {
        "json": keras.initializers.deserialize(json.loads(json.dumps(serialized))),
        "config": type(original).from_config(original.get_config()),
        "clone": original.clone(),
        "deepcopy": copy.deepcopy(original),
        "pickle": pickle.loads(pickle.dumps(original)),
    }
    for twin in copies.values():
        assert twin.get_config() == original.get_config()
        np.testing.assert_array_equal(draw(twin), draw(original))


@every_kernel_initializer
def test_a_seed_generator_moves_on_and_survives_the_config(alias):
    cls = ALIASES[alias]
    initializer = cls(seed=keras.random.SeedGenerator(3))
    first, second = draw(initializer), draw(initializer)
    assert (first != second).any()
    twin = cls.from_config(json.loads(json.dumps(initializer.get_config())))
    assert isinstance(twin.seed, keras.random.SeedGenerator)
    np.testing.assert_array_equal(draw(twin), first)


@every_kernel_initializer
def test_equal_seeds_repeat_and_others_do_not(alias):
    cls = ALIASES[alias]
    seeded = cls(seed=5)
    np.testing.assert_array_equal(draw(seeded), draw(seeded))
    np.testing.assert_array_equal(draw(seeded), draw(cls(seed=5)))
    assert (draw(seeded) != draw(cls(seed=6))).any()
    # As with Keras' own, an object without a seed repeats, another one differs.
    unseeded = cls()
    np.testing.assert_array_equal(draw(unseeded), draw(unseeded))
    assert (draw(unseeded) != draw(cls())).any()


@every_kernel_initializer
def test_a_draw_may_be_given_a_seed(alias):
    cls = ALIASES[alias]
    geometry = [Geometry.from_shape(SHAPE)] if issubclass(cls, FanInitializer) else []
    initializer = cls(seed=keras.random.SeedGenerator(1))
    drawn = initializer.draw(SHAPE, *geometry, dtype="float32", seed=5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(drawn), draw(cls(seed=5)))
    # Its own generator has not moved on.
    fresh = cls(seed=keras.random.SeedGenerator(1))
    np.testing.assert_array_equal(draw(initializer), draw(fresh))


class FanOut(FanInitializer):
    """What somebody else may write: a rule, and nothing more."""

    def kernel_variance(self, geometry, stride_aware=False):
        return 1 / geometry.fans(stride_aware)[1]


def test_a_rule_of_ones_own_knows_the_geometry_where_it_can():
    grouped = keras.layers.Conv2D(64, 3, groups=4, kernel_initializer=FanOut(seed=1))
    model = keras.Sequential([keras.Input((8, 8, 64)), grouped])
    # The shape says (3, 3, 16, 64): each input feeds 64 outputs.
    assert draw(lambda *_, **__: grouped.kernel).std() == pytest.approx(
        (9 * 64) ** -0.5, rel=0.05
    )
    keras_convinit.initialize(model, FanOut(), seed=1)
    # But it feeds those of its group alone.
    assert draw(lambda *_, **__: grouped.kernel).std() == pytest.approx(
        (9 * 16) ** -0.5, rel=0.05
    )


@every_kernel_initializer
def test_the_global_seed_is_obeyed(alias):
    keras.utils.set_random_seed(1)
    first = draw(ALIASES[alias]())
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(draw(ALIASES[alias]()), first)


@every_kernel_initializer
@pytest.mark.parametrize("seed", [1.5, "1", True, np.float32(1)])
def test_a_seed_is_an_integer_or_a_generator(alias, seed):
    with pytest.raises(ValueError, match="`seed` must be None, an integer") as caught:
        ALIASES[alias](seed=seed)
    assert f"Received: seed={seed!r}" in str(caught.value)


@every_initializer
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(alias, dtype):
    values = made(alias)(SHAPE, dtype=dtype)
    assert tuple(values.shape) == SHAPE
    # JAX has no float64 unless it is told to.
    assert values.dtype == keras.initializers.Ones()(SHAPE, dtype=dtype).dtype
    if dtype in ("float16", "bfloat16"):
        # Drawn in float32: half precision only rounds the result.
        np.testing.assert_allclose(
            draw(made(alias), dtype=dtype), draw(made(alias)), rtol=2**-7, atol=1e-6
        )


@every_initializer
def test_the_default_dtype_is_that_of_keras(alias):
    values = made(alias)(SHAPE)
    assert keras.backend.standardize_dtype(values.dtype) == keras.config.floatx()


@every_initializer
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_a_dtype_that_is_not_floating_is_refused(alias, dtype):
    with pytest.raises(ValueError, match=r"floating-point type\. Received: dtype="):
        made(alias)(SHAPE, dtype=dtype)


@every_kernel_initializer
@pytest.mark.parametrize("shape", [(), (8,), (3, 0), (None, 3), (3, 3, None, 8)])
def test_a_shape_that_is_not_a_kernel_is_refused(alias, shape):
    with pytest.raises(ValueError, match="at least two dimensions") as caught:
        ALIASES[alias]()(shape)
    assert f"Received: shape={shape!r}" in str(caught.value)


@every_initializer
@pytest.mark.parametrize(
    "value", [0, -1.0, float("nan"), float("inf"), "2", None, True]
)
def test_numbers_are_finite_and_positive(alias, value):
    names = [
        name
        for name, default in inspect.signature(ALIASES[alias]).parameters.items()
        if isinstance(default.default, float)
    ]
    assert names
    for name in names:
        with pytest.raises(
            ValueError, match=f"`{name}` must be a finite number"
        ) as caught:
            ALIASES[alias](**{name: value})
        assert f"Received: {name}={value!r}" in str(caught.value)


@every_initializer
def test_numpy_numbers_become_plain_ones(alias):
    cls = ALIASES[alias]
    for name, default in inspect.signature(cls).parameters.items():
        if isinstance(default.default, float):
            config = cls(**{name: np.float32(0.5)}).get_config()
            assert type(config[name]) is float
            assert config[name] == 0.5


LAYERS = {
    "Dense": (lambda **k: keras.layers.Dense(16, **k), (8,), "kernel"),
    "EinsumDense": (
        lambda **k: keras.layers.EinsumDense("abc,cd->abd", (None, 16), **k),
        (4, 8),
        "kernel",
    ),
    "Conv1D": (lambda **k: keras.layers.Conv1D(16, 3, **k), (8, 8), "kernel"),
    "Conv2D": (lambda **k: keras.layers.Conv2D(16, 3, **k), (8, 8, 8), "kernel"),
    "Conv3D": (lambda **k: keras.layers.Conv3D(16, 2, **k), (4, 4, 4, 8), "kernel"),
    # Two axes of a transposed kernel stand the other way round.
    "Conv2DTranspose": (
        lambda **k: keras.layers.Conv2DTranspose(8, 3, **k),
        (4, 4, 16),
        "kernel",
    ),
    "DepthwiseConv2D": (
        lambda **k: keras.layers.DepthwiseConv2D(3, depth_multiplier=8, **k),
        (8, 8, 4),
        "depthwise",
    ),
    "SeparableConv2D": (
        lambda **k: keras.layers.SeparableConv2D(16, 3, depth_multiplier=4, **k),
        (8, 8, 2),
        "depthwise",
    ),
    "LSTM": (lambda **k: keras.layers.LSTM(8, **k), (4, 8), "kernel"),
    "GRU": (lambda **k: keras.layers.GRU(8, **k), (4, 8), "kernel"),
}


@every_kernel_initializer
@pytest.mark.parametrize("name", LAYERS)
def test_wherever_keras_takes_an_initializer(alias, name):
    factory, shape, prefix = LAYERS[name]
    argument = f"{prefix}_initializer"
    cls = ALIASES[alias]
    for initializer in (
        alias,
        cls(**ARGUMENTS[alias]),
        {"class_name": alias, "config": ARGUMENTS[alias]},
    ):
        layer = factory(**{argument: initializer})
        outputs = layer(np.ones((2, *shape), "float32"))
        assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()
        twin = type(layer).from_config(layer.get_config())
        assert type(getattr(twin, argument)) is cls


@every_kernel_initializer
def test_in_attention_the_kernels_differ(alias):
    layer = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=alias)
    layer(np.ones((2, 3, 8), "float32"), np.ones((2, 3, 8), "float32"))
    query, key = layer.query_dense.kernel, layer.key_dense.kernel
    assert (keras.ops.convert_to_numpy(query) != keras.ops.convert_to_numpy(key)).any()


@every_kernel_initializer
def test_a_string_gives_every_layer_its_own_kernel(alias):
    model = keras.Sequential(
        [keras.Input((8, 8, 8))]
        + [
            keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=alias)
            for _ in range(4)
        ]
    )
    kernels = [keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers]
    for index, kernel in enumerate(kernels):
        for other in kernels[:index]:
            assert (kernel != other).any()


@every_kernel_initializer
def test_a_layer_of_half_precision(alias):
    layer = keras.layers.Conv2D(16, 3, dtype="bfloat16", kernel_initializer=alias)
    layer.build((None, 8, 8, 8))
    assert layer.kernel.dtype == "bfloat16"


@every_kernel_initializer
def test_clone_model_draws_anew_by_the_same_rule(alias):
    model = keras.Sequential(
        [keras.Input((8, 8, 8)), keras.layers.Conv2D(8, 3, kernel_initializer=alias)]
    )
    clone = keras.models.clone_model(model)
    assert type(clone.layers[0].kernel_initializer) is ALIASES[alias]
    assert (
        keras.ops.convert_to_numpy(model.layers[0].kernel)
        != keras.ops.convert_to_numpy(clone.layers[0].kernel)
    ).any()
