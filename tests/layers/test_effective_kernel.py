import itertools

import keras
import numpy as np
import pytest

from keras_convinit.kernels import effective_kernel, gain_shape, output_norms

CASES = {
    "dense": ((5, 4), (-1,)),
    "convolution": ((3, 2, 5, 4), (-1,)),
    "transposed": ((3, 2, 5, 4), (-2,)),
    "depthwise": ((3, 2, 5, 4), (-2, -1)),
    "attention": ((5, 2, 4), (1, 2)),
}
every_case = pytest.mark.parametrize(
    ("shape", "axes"), CASES.values(), ids=CASES.keys()
)


def draw(shape, axes):
    generator = np.random.default_rng(0)
    direction = generator.standard_normal(shape).astype("float32")
    gain = generator.uniform(0.5, 2, gain_shape(shape, axes)).astype("float32")
    return direction, gain


def input_axes(shape, axes):
    return tuple(set(range(len(shape))) - {axis % len(shape) for axis in axes})


def by_loop(direction, gain, axes):
    """One filter after the other, one weight after the other."""
    axes = [axis % direction.ndim for axis in axes]
    kernel = np.zeros(direction.shape)
    positions = list(itertools.product(*map(range, direction.shape)))
    for output in itertools.product(*map(range, gain.shape)):
        weights = [p for p in positions if tuple(p[a] for a in axes) == output]
        norm = sum(float(direction[p]) ** 2 for p in weights) ** 0.5
        for p in weights:
            kernel[p] = float(gain[output]) * float(direction[p]) / norm
    return kernel


def computed(direction, gain, axes):
    kernel = effective_kernel(
        keras.ops.convert_to_tensor(direction), keras.ops.convert_to_tensor(gain), axes
    )
    return keras.ops.convert_to_numpy(kernel)


@every_case
def test_it_is_what_a_loop_computes(shape, axes):
    direction, gain = draw(shape, axes)
    kernel = computed(direction, gain, axes)
    np.testing.assert_allclose(kernel, by_loop(direction, gain, axes), rtol=1e-5)


@every_case
def test_norms(shape, axes):
    direction, gain = draw(shape, axes)
    lengths = keras.ops.convert_to_numpy(output_norms(direction, axes, "float32"))
    assert lengths.shape == gain.shape
    ones = by_loop(direction, np.ones_like(gain), axes)
    lengths = np.expand_dims(lengths, input_axes(shape, axes))
    np.testing.assert_allclose(direction / lengths, ones, rtol=1e-5)


@pytest.mark.parametrize("name", ["transposed", "depthwise"])
def test_all_axes_but_the_last_would_be_wrong(name):
    shape, axes = CASES[name]
    direction, _ = draw(shape, axes)
    right = computed(direction, np.ones(gain_shape(shape, axes), "float32"), axes)
    wrong = computed(direction, np.ones(shape[-1:], "float32"), (-1,))
    inputs = input_axes(shape, axes)
    np.testing.assert_allclose(np.square(right).sum(inputs), 1, rtol=1e-5)
    assert np.abs(np.square(wrong).sum(inputs) - 1).max() > 0.1


@every_case
@pytest.mark.parametrize("factor", [3.0, 1e-8])
def test_the_length_of_the_direction_has_no_effect(shape, axes, factor):
    direction, gain = draw(shape, axes)
    np.testing.assert_allclose(
        computed(np.float32(factor) * direction, gain, axes),
        computed(direction, gain, axes),
        rtol=1e-5,
    )


@every_case
def test_filters_of_zeros(shape, axes, differentiate):
    slopes, gain = draw(shape, axes)
    variables = [keras.Variable(np.zeros(shape, "float32")), keras.Variable(gain)]
    value, (of_direction, of_gain) = differentiate(
        lambda: effective_kernel(*variables, axes), variables, slopes
    )
    np.testing.assert_array_equal(value, 0)
    # That of a filter of norm 1, which moves on.
    filters = np.expand_dims(gain, input_axes(shape, axes))
    np.testing.assert_allclose(of_direction, slopes * filters, rtol=1e-6)
    np.testing.assert_array_equal(of_gain, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened_first(dtype):
    # 4608 squares of 40 are 7e6, and the largest float16 is 65504.
    direction = keras.ops.full((3, 3, 512, 2), 40.0, dtype=dtype)
    gain = keras.ops.ones((2,), dtype="float32")
    kernel = keras.ops.convert_to_numpy(effective_kernel(direction, gain, (-1,)))
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, 4608**-0.5, rtol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX has no float64 unless it is told to"
)
def test_double_precision_stays():
    direction, gain = (array.astype("float64") for array in draw((3, 2, 5, 4), (-1,)))
    kernel = computed(direction, gain, (-1,))
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(kernel, by_loop(direction, gain, (-1,)), rtol=1e-14)


def test_float64_is_exact_to_its_own_precision(fresh_process):
    printed = fresh_process(
        """
        import keras
        import numpy as np

        if keras.backend.backend() == "jax":
            import jax

            jax.config.update("jax_enable_x64", True)
        keras.config.set_floatx("float64")
        from keras_convinit.layers import WeightNorm, WeightNormConv2D

        wrapped = WeightNorm(keras.layers.Conv2D(4, 3))
        for layer in (WeightNormConv2D(4, 3), wrapped):
            layer.build((None, 8, 8, 2))
            v, g = layer.weight_norm_direction, layer.weight_norm_gain
            assert {v.dtype, g.dtype} == {"float64"}, (v.dtype, g.dtype)
            v, g = keras.ops.convert_to_numpy(v), keras.ops.convert_to_numpy(g)
            exact = g * v / np.sqrt((v**2).sum((0, 1, 2)))
            found = keras.ops.convert_to_numpy(layer.effective_kernel())
            assert found.dtype == "float64"
            print("ERROR", np.abs(found - exact).max())
        """
    )
    errors = [
        float(line.split()[1]) for line in printed.splitlines() if "ERROR" in line
    ]
    assert len(errors) == 2
    assert max(errors) < 1e-15
