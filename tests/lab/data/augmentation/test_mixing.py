"""Mixup and CutMix. Image number i has the value i everywhere, and the label i."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_convinit.lab.data.augmentation import CutMix, Mixup

pytestmark = pytest.mark.once


def mixed(augmentation, count, seed=0, shape=(2, 2, 1)):
    values = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
    images = tf.constant(values * np.ones(shape, np.float32))
    images, labels = augmentation(images, tf.eye(count), tf.constant([seed, 7]))
    return images.numpy(), labels.numpy()


def weights_and_partners(labels):
    """What of each label is its own, and whose the rest is, by the labels alone."""
    own = np.diag(labels)
    others = labels - np.diag(own)
    partners = np.where(others.any(axis=1), others.argmax(axis=1), np.arange(len(own)))
    rest = others[np.arange(len(own)), partners]
    assert np.count_nonzero(others) == np.count_nonzero(rest)
    return own, rest, partners


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_mixup_is_a_weighted_sum_of_images_and_of_labels(per):
    images, labels = mixed(Mixup(per=per), 40)
    own, rest, partners = weights_and_partners(labels)
    # Of 40 about one is its own partner: its label is whole.
    np.testing.assert_allclose(own + rest, 1, atol=1e-6)
    assert sorted(partners) == list(range(40))
    assert (partners == np.arange(40)).sum() < 8
    expected = own * np.arange(40) + rest * partners
    np.testing.assert_allclose(
        images, np.broadcast_to(expected[:, None, None, None], images.shape), rtol=1e-5
    )
    lambdas = own[partners != np.arange(40)]
    if per == "batch":
        np.testing.assert_allclose(lambdas, lambdas[0], atol=1e-6)
    else:
        assert len(np.unique(lambdas)) == len(lambdas)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_lambda_is_drawn_from_beta(alpha):
    labels = mixed(Mixup(alpha, per="sample"), 2000, shape=(1, 1, 1))[1]
    own, _, partners = weights_and_partners(labels)
    lambdas = own[partners != np.arange(2000)]
    assert scipy.stats.kstest(lambdas, "beta", (alpha, alpha)).pvalue > 1e-3
    # The test would tell other numbers from these.
    assert scipy.stats.kstest(lambdas, "beta", (alpha, 1.3 * alpha)).pvalue < 1e-3


def test_one_lambda_a_batch_is_drawn_from_beta():
    mixup = tf.function(Mixup(0.5))
    labels = [mixed(mixup, 8, seed, (1, 1, 1))[1] for seed in range(150)]
    lambdas = []
    for label in labels:
        own, _, partners = weights_and_partners(label)
        lambdas.extend(own[partners != np.arange(8)][:1])
    assert scipy.stats.kstest(lambdas, "beta", (0.5, 0.5)).pvalue > 1e-3


def test_a_tiny_alpha_mixes_next_to_nothing():
    labels = mixed(Mixup(0.001, per="sample"), 500, shape=(1, 1, 1))[1]
    assert np.isfinite(labels).all()
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    assert (labels.max(axis=1) > 0.999).mean() > 0.95


@pytest.mark.parametrize("seed", range(20))
def test_the_area_cut_is_the_weight_of_the_label(seed):
    images, labels = mixed(CutMix(), 12, seed, (9, 6, 2))
    own, rest, partners = weights_and_partners(labels)
    assert sorted(partners) == list(range(12))
    strangers = np.flatnonzero(partners != np.arange(12))
    pieces = images == partners[:, None, None, None]
    for number in strangers:
        piece = pieces[number]
        assert np.array_equal(piece, pieces[strangers[0]])
        np.testing.assert_allclose(piece.mean(), rest[number], atol=1e-6)
        assert (images[number][~piece] == number).all()
        rows, columns = piece.any(axis=(1, 2)), piece.any(axis=(0, 2))
        assert np.array_equal(piece, (rows[:, None] & columns)[..., None] | [False] * 2)
        assert np.abs(np.diff(rows.astype(int))).sum() <= 2
        np.testing.assert_allclose(own[number] + rest[number], 1, atol=1e-6)


def test_pieces_are_as_large_as_in_the_paper():
    count, size = 300, 16
    cut = tf.function(CutMix())
    areas = []
    for seed in range(count):
        labels = mixed(cut, 8, seed, (size, size, 1))[1]
        areas.append(weights_and_partners(labels)[1].max())

    numbers = np.random.default_rng(0)
    expected = []
    for _ in range(20_000):
        side = int(size * np.sqrt(1 - numbers.beta(1, 1)))
        y, x = numbers.integers(size, size=2)
        ends = np.clip([y - side // 2, y - side // 2 + side], 0, size)
        sides = np.clip([x - side // 2, x - side // 2 + side], 0, size)
        expected.append(np.diff(ends)[0] * np.diff(sides)[0] / size**2)
    areas = np.array([a for a in areas if a > 0])
    expected = np.array([a for a in expected if a > 0])
    error = areas.std() / np.sqrt(len(areas))
    assert abs(areas.mean() - expected.mean()) < 5 * error
    assert len(areas) > 0.85 * count


@pytest.mark.parametrize("kind", [Mixup, CutMix])
@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), "1"])
def test_alpha_is_positive(kind, alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be .* Received: alpha="):
        kind(alpha)


def test_lambda_is_per_batch_or_per_sample():
    with pytest.raises(ValueError, match="`per` must be one of batch, sample"):
        Mixup(per="image")
