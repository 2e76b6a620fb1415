"""A subclass with a `call` of its own is not opened as its base is."""

import warnings

import keras
import numpy as np
import pytest

from keras_convinit import initialize, signal_report
from keras_convinit.analysis import expand, trace, trace_opened
from keras_convinit.layers import ScaledResidual, ScaledResidualStack

layers = keras.layers
X = np.random.default_rng(0).normal(size=(16, 3, 6)).astype("float32")


class DoubledBlock(ScaledResidual):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


class DoubledStack(ScaledResidualStack):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class DoubledOverTime(layers.TimeDistributed):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class CalledTwice(ScaledResidual):
    def __call__(self, inputs, **kwargs):
        return super().__call__(super().__call__(inputs, **kwargs), **kwargs)


class RenamedBlock(ScaledResidual):
    """Says nothing about how it is called."""


SUBCLASSES = {
    "block": lambda: DoubledBlock([layers.Dense(6, name="part")], 2, name="whole"),
    "stack": lambda: DoubledStack([layers.Dense(6, name="part")], 2, name="whole"),
    "wrapper": lambda: DoubledOverTime(layers.Dense(6, name="part"), name="whole"),
}


def model_of(layer):
    last = layers.Dense(6, name="last")
    return keras.Sequential([keras.Input((3, 6)), layer, last])


def numbers(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("name", SUBCLASSES)
def test_what_it_does_itself_is_in_reports_and_schemes(name):
    layer = SUBCLASSES[name]()
    model = model_of(layer)
    program = trace(model, open_composites=True)
    np.testing.assert_allclose(numbers(program.run(X)), numbers(model(X)), rtol=1e-5)
    norm = np.sqrt(np.square(numbers(layer(X))).sum(-1).mean())
    report = signal_report(model, X)
    assert report.rows[-2].forward_norm == pytest.approx(norm, 1e-4)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "No unit variance")
        initialize(model, "lsuv", data=X, seed=0, tolerance=1e-3)
    assert numbers(model(X)).std() == pytest.approx(1, abs=1e-3)


def test_a_block_is_opened_by_its_own_call():
    paths = [call.path for call in trace_opened(model_of(SUBCLASSES["block"]())).calls]
    assert paths[0] == "whole/branch/part"
    # The sum of a block is no longer its end.
    assert "whole/scaled_sum" not in paths
    assert "whole/multiply#2" in paths


@pytest.mark.parametrize("others", ["reset", "keep"])
def test_a_stack_stays_whole_and_is_named(others):
    stack = SUBCLASSES["stack"]()
    model = model_of(stack)
    assert [call.path for call in trace_opened(model).calls] == ["whole", "last"]
    assert signal_report(model, X).unopened == ("whole",)
    before = [numbers(variable) for variable in stack.weights]
    report = initialize(model, "lsuv", data=X, seed=0, others=others)
    assert any("whole: DoubledStack could not be opened" in n for n in report.notes)
    same = [
        np.array_equal(*p)
        for p in zip(before, map(numbers, stack.weights), strict=True)
    ]
    assert same[0] == (others == "keep")
    if others == "keep":
        assert "whole" in report.skipped[0].path


def test_a_call_around_the_call_counts_as_well():
    block = CalledTwice([layers.Dense(6)], 2, name="whole")
    block.build((None, 3, 6))
    program = trace_opened(model_of(block))
    assert "whole" in [call.path for call in program.calls]


def test_without_a_call_of_its_own_it_is_what_its_base_is():
    block = RenamedBlock([layers.Dense(6, name="part")], 2, name="whole")
    paths = [call.path for call in trace_opened(model_of(block)).calls]
    assert paths == ["whole/branch/part", "whole/scaled_sum", "last"]


class Registered(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(6, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)


class Changed(Registered):
    def call(self, inputs):
        return -super().call(inputs)


class RegisteredAgain(Registered):
    def call(self, inputs):
        return -super().call(inputs)


class Abstract(layers.Layer):
    pass


class Concrete(Abstract):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(6, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return keras.ops.negative(self.inner(inputs))


@expand.register(Registered)
@expand.register(Abstract)
@expand.register(RegisteredAgain)
def _(layer, apply, inputs, **_):
    return apply(layers.Identity(name="as_registered"), apply(layer.inner, inputs))


@pytest.mark.parametrize(
    ("cls", "as_registered"),
    [(Registered, True), (Changed, False), (RegisteredAgain, True), (Concrete, True)],
)
def test_what_is_registered_holds_for_the_call_it_was_written_for(cls, as_registered):
    layer = cls(name="whole")
    paths = [call.path for call in trace_opened(model_of(layer)).calls]
    assert ("whole/as_registered" in paths) == as_registered
    assert "whole/inner" in paths
