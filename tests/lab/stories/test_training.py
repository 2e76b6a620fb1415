import dataclasses

import keras
import numpy as np
import pytest

from keras_convinit.lab import models
from keras_convinit.lab.stories import training
from keras_convinit.lab.stories.training import _Batches

pytestmark = pytest.mark.once


def with_training(story, **changes):
    changed = dataclasses.replace(story.training, **changes)
    return dataclasses.replace(story, training=changed)


def numbers_of(run):
    """Everything but the time it took."""
    return dataclasses.replace(run, seconds=0.0)


def test_run_is_plain_data(story, dataset):
    run = training.run(story, story.contenders[0], dataset, seed=3)
    assert run.key == ("small", "he_normal", 3)
    assert len(run.losses) == len(run.accuracies) == 6
    assert len(run.signal) == len(run.error) == 2
    assert run.error[-1] == 1
    assert 0 <= run.held_out_accuracy <= 1
    assert not run.diverged
    assert {
        type(x) for x in (*run.losses, *run.accuracies, *run.signal, *run.error)
    } == {float}


@pytest.mark.everywhere
def test_run_depends_on_its_seed_alone(story, dataset):
    first, second = story.contenders
    alone = training.run(story, first, dataset, seed=1)
    other = training.run(story, first, dataset, seed=2)
    training.run(story, second, dataset, seed=5)
    again = training.run(story, first, dataset, seed=1)
    assert numbers_of(again) == numbers_of(alone)
    assert other.losses != alone.losses


def test_first_weights_and_batches_are_of_the_seed(story, dataset):
    first, second = story.contenders
    same = dataclasses.replace(second, arguments=first.arguments)
    one = training.run(story, first, dataset, seed=1)
    other = training.run(story, same, dataset, seed=1)
    assert one.losses == other.losses


@pytest.mark.everywhere
def test_losses_and_accuracies_are_those_of_single_batches(story, dataset):
    """Keras' own logs average from the first step on."""
    # A network that stands still says what each batch must have brought.
    still = with_training(story, learning_rate=1e-30)
    run = training.run(still, story.contenders[0], dataset, seed=1)

    keras.utils.set_random_seed(1)
    model = models.mlp(
        input_shape=(3, 3, 1), num_classes=4, **story.contenders[0].arguments
    )
    images = dataset.standardized(dataset.train_images)
    batches = _Batches(images, dataset.train_labels, still.training, seed=1)
    expected_losses, expected_accuracies = [], []
    for number in range(6):
        some, labels = batches[number]
        logits = keras.ops.convert_to_numpy(model(some)).astype(np.float64)
        chosen = logits[np.arange(8), labels]
        losses = np.log(np.exp(logits).sum(axis=1)) - chosen
        expected_losses.append(losses.mean())
        expected_accuracies.append((logits.argmax(axis=1) == labels).mean())
    # Rounded to five digits.
    np.testing.assert_allclose(run.losses, expected_losses, atol=2e-5)
    np.testing.assert_allclose(run.accuracies, expected_accuracies, atol=1e-5)
    running = np.cumsum(expected_losses) / np.arange(1, 7)
    assert np.abs(running - expected_losses).max() > 1e-2


@pytest.fixture
def made(monkeypatch):
    """The models that runs make, in order."""
    models_made = []

    def mlp(original=models.mlp, **arguments):
        models_made.append(original(**arguments))
        return models_made[-1]

    monkeypatch.setattr(models, "mlp", mlp)
    return models_made


@pytest.mark.everywhere
def test_held_out_accuracy_is_that_of_the_trained_network(story, dataset, made):
    long = with_training(story, epochs=20)
    run = training.run(long, story.contenders[0], dataset, seed=0)
    images = (dataset.test_images - dataset.mean) / dataset.deviation
    logits = keras.ops.convert_to_numpy(made[0](images.astype("float32")))
    right = np.mean(logits.argmax(axis=1) == dataset.test_labels)
    assert run.held_out_accuracy == pytest.approx(right)
    # Trained, that is: not the network it began with.
    untrained = training.run(
        with_training(story, learning_rate=1e-30), story.contenders[0], dataset, seed=0
    )
    assert untrained.held_out_accuracy != run.held_out_accuracy


def test_observer_is_called_after_every_step(story, dataset):
    seen = []
    run = training.run(
        story,
        story.contenders[0],
        dataset,
        seed=0,
        observe=lambda loss, accuracy: seen.append((loss, accuracy)),
    )
    pairs = zip(run.losses, run.accuracies, strict=True)
    assert seen == [pytest.approx(pair, abs=1e-5) for pair in pairs]


@pytest.mark.everywhere
def test_divergence_ends_a_run(story, dataset):
    wild = with_training(story, epochs=20, learning_rate=1e25)
    run = training.run(wild, story.contenders[0], dataset, seed=0)
    assert run.diverged
    assert run.held_out_accuracy == 0
    assert 1 <= len(run.losses) < 20 * 3
    assert np.isfinite(run.losses).all()


def test_network_that_says_nothing_finite_at_the_end_has_diverged(
    story, dataset, monkeypatch
):
    def only_in_training(input_shape, num_classes, **arguments):
        nonsense = keras.initializers.Constant(-1e3)
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Flatten(name="activation_1"),
                keras.layers.BatchNormalization(moving_variance_initializer=nonsense),
                keras.layers.Dense(num_classes),
            ]
        )

    monkeypatch.setattr(models, "mlp", only_in_training)
    run = training.run(story, story.contenders[0], dataset, seed=0)
    assert len(run.losses) == 6
    assert run.diverged
    assert run.held_out_accuracy == 0


@pytest.mark.everywhere
def test_gradient_is_clipped(story, dataset, made):
    one_step = with_training(
        story,
        epochs=1,
        batch_size=29,
        learning_rate=2.0,
        momentum=0.0,
        clip_norm=1e-3,
    )
    training.run(one_step, story.contenders[0], dataset, seed=0)
    keras.utils.set_random_seed(0)
    before = models.mlp(
        input_shape=(3, 3, 1), num_classes=4, **story.contenders[0].arguments
    )
    moved = [
        np.sum(np.square(new - old))
        for new, old in zip(made[0].get_weights(), before.get_weights(), strict=True)
    ]
    # float32 weights of about 1 carry a movement of 2e-3 to about 1e-4 of it.
    assert np.sqrt(np.sum(moved)) == pytest.approx(2e-3, rel=1e-2)


class TestBatches:
    @pytest.fixture
    def batches(self, story):
        images = np.arange(29)[:, None]
        return _Batches(images, np.arange(29), story.training, seed=4)

    def test_each_epoch_takes_images_once_in_a_new_order(self, batches):
        assert len(batches) == training.steps(batches.training, 29) == 6
        epochs = [
            np.concatenate([batches[number][1] for number in numbers])
            for numbers in (range(3), range(3, 6))
        ]
        assert all(len(set(epoch)) == 24 for epoch in epochs)
        assert not np.array_equal(*epochs)

    def test_images_keep_their_labels(self, batches):
        images, labels = batches[5]
        assert np.array_equal(images[:, 0], labels)

    def test_order_is_of_the_seed(self, batches, story):
        same = _Batches(batches.images, batches.labels, story.training, seed=4)
        other = _Batches(batches.images, batches.labels, story.training, seed=5)
        assert np.array_equal(batches[4][1], same[4][1])
        assert not np.array_equal(batches[4][1], other[4][1])

    def test_fewer_images_than_a_batch(self, batches, story):
        few = _Batches(batches.images[:5], batches.labels[:5], story.training, 0)
        assert len(few) == 2
        assert sorted(few[0][1]) == sorted(few[1][1]) == list(range(5))
