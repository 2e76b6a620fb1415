import keras
import numpy as np
import pytest

import keras_convinit
from keras_convinit.lab import data
from keras_convinit.lab.comparison.data_source import images_of
from keras_convinit.lab.comparison.model import ModelSource, without_softmax
from keras_convinit.lab.comparison.named_images import NamedImages
from keras_convinit.lab.comparison.plan import Case
from keras_convinit.lab.comparison.run import Runner
from keras_convinit.lab.errors import LabError
from keras_convinit.schemes import gradinit


def silent(accuracy):
    pass


@pytest.fixture
def runner(make_plan):
    """Makes a runner of a plan."""

    def make(**fields):
        plan = make_plan(**fields)
        shapes = {"input_shape": (8, 8, 1), "num_classes": 10}
        source = ModelSource(plan.model, (), **shapes)
        return Runner(plan, source, images_of(plan))

    return make


def assert_same(run, other):
    """Equal in all but the time that they took."""
    for one, same in (
        (run.accuracies, other.accuracies),
        (run.record.epochs[0].loss, other.record.epochs[0].loss),
        (
            run.record.epochs[-1].validation_loss,
            other.record.epochs[-1].validation_loss,
        ),
        (run.beginning.signal, other.beginning.signal),
        (run.beginning.error, other.beginning.error),
    ):
        np.testing.assert_allclose(one, same, rtol=1e-5)


def test_a_run_depends_on_its_case_alone(runner):
    make = runner()
    alone = make(Case("he_normal", 0.01, 3), silent)
    other = make(Case("he_normal", 0.1, 3), silent)
    again = make(Case("he_normal", 0.01, 4), silent)
    third = runner()(Case("he_normal", 0.01, 3), silent)
    assert len(alone.accuracies) == 7
    assert alone.accuracy == alone.record.epochs[-1].validation_accuracy
    assert_same(alone, third)
    # `other` began with what was kept, this one with its own.
    fourth = runner()(Case("he_normal", 0.1, 3), silent)
    assert_same(other, fourth)
    # The same weights to begin with, another training.
    assert other.beginning is alone.beginning
    assert other.record.epochs[0].loss != alone.record.epochs[0].loss
    assert again.beginning.signal != alone.beginning.signal


class Shuffled(NamedImages):
    """Images that somebody's own pipeline shuffles."""

    def training(self, seed):
        return super().training(seed)(0).unbatch().shuffle(64).batch(8)

    def for_scheme(self, seed):
        return self.training(seed)


@pytest.mark.once
def test_shuffling_goes_by_the_seed(runner, make_plan):
    make, alone = runner(), runner()
    make.images, alone.images = Shuffled(make_plan()), Shuffled(make_plan())
    make(Case("he_normal", 0.1, 0), silent)
    # The pipeline for the scheme was made for the first of them alone.
    second = make(Case("he_normal", 0.01, 0), silent)
    assert_same(second, alone(Case("he_normal", 0.01, 0), silent))


def test_dropout_goes_by_the_seed(make_plan):
    def source():
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(10),
            ]
        )

    plan = make_plan()
    make = Runner(plan, source, images_of(plan))
    case = Case("he_normal", 0.1, 0)
    first = make(case, silent)
    # It draws a seed from what `set_random_seed` sets.
    keras.layers.Dropout(0.5)
    assert_same(first, Runner(plan, source, images_of(plan))(case, silent))
    other = make(Case("he_normal", 0.1, 1), silent)
    assert other.record.epochs[0].loss != first.record.epochs[0].loss


def test_what_is_before_the_first_step(runner):
    make = runner()
    beginning = make(Case("zhang_forward", 0.1, 0), silent).beginning
    # Two convolutions and the classifier.
    assert len(beginning.signal) == len(beginning.error) == 3
    model = make.source()
    keras_convinit.initialize(model, "zhang_forward", seed=0)
    images, labels = make.images.batch()
    assert labels.shape == (58, 10)
    outputs = keras.ops.convert_to_numpy(model(images))
    size = np.sqrt(np.mean(np.square(outputs)) / np.mean(np.square(images)))
    assert beginning.signal[-1] == pytest.approx(size, rel=1e-4)
    assert beginning.error[-1] == 1
    assert "eq. 21 (classifier)" in beginning.report
    assert beginning.seconds > 0


def test_divergence_is_a_result(runner):
    run = runner(epochs=2)(Case("he_normal", 1e30, 0), silent)
    assert run.record.diverged
    assert len(run.record.epochs) == 1
    assert run.accuracy == 0


@pytest.mark.once
@pytest.mark.parametrize("scheme", ["fixup", "data_dependent", "identity"])
def test_a_refusal_is_a_result(runner, scheme):
    run = runner()(Case(scheme, 0.1, 0), silent)
    assert run.beginning.refusal
    assert not run.accuracies
    assert run.accuracy == 0


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:GradInit ended after 1 of 3 iterations")
def test_a_search_that_is_interrupted_ends_the_comparison(runner, monkeypatch):
    steps = []

    def step(self):
        if steps:
            raise KeyboardInterrupt
        steps.append(self)
        return search(self)

    (kind,) = (
        thing
        for thing in vars(gradinit).values()
        if isinstance(thing, type)
        and issubclass(thing, gradinit.ScaleSearch)
        and thing is not gradinit.ScaleSearch
    )
    search = kind.step
    monkeypatch.setattr(kind, "step", step)
    with pytest.raises(KeyboardInterrupt):
        runner()(Case("gradinit:iterations=3,batch_size=8", 0.1, 0), silent)
    assert steps


@pytest.mark.once
def test_a_tenth_of_the_training_images_validates(runner):
    images = runner(subset=None).images
    assert images.counts == {"training": 1293, "validation": 144}
    held_out = [labels for _, labels, _ in images.validation().as_numpy_iterator()]
    weights = [count for _, _, count in images.validation().as_numpy_iterator()]
    assert sum(map(len, held_out)) == 144
    assert np.sum(weights) == 144
    shown = np.concatenate(held_out).argmax(axis=1)
    expected = data.load("digits").with_validation().validation_labels
    np.testing.assert_array_equal(shown, expected)


def dense(last):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="classifier")(inputs)
    return keras.Model(inputs, last(hidden))


@pytest.mark.parametrize(
    "last",
    [
        keras.layers.Softmax(),
        keras.layers.Activation("softmax"),
        lambda x: keras.layers.Dense(3, "softmax")(x),
    ],
)
def test_a_softmax_is_taken_away(last):
    model = dense(last)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    shares = keras.ops.convert_to_numpy(model(x))
    logits = keras.ops.convert_to_numpy(without_softmax(model)(x))
    np.testing.assert_allclose(
        np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), shares, rtol=1e-5
    )
    assert not np.allclose(logits.sum(axis=1), 1)


def test_another_end_stays():
    model = dense(keras.layers.ReLU())
    assert without_softmax(model) is model
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    assert keras.ops.convert_to_numpy(model(x)).min() == 0


@pytest.mark.once
def test_models_are_made_anew(tmp_path, monkeypatch):
    dense(keras.layers.ReLU()).save(tmp_path / "small.keras")
    source = ModelSource(str(tmp_path / "small.keras"), ())
    assert source() is not source()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_model.py").write_text(
        "import keras\n"
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])\n"
    )
    source = ModelSource("their_model:model", ())
    source()
    with pytest.raises(LabError, match="MODEL must be made anew for every run"):
        source()
