import numpy as np
import pytest
import tensorflow as tf

from keras_convinit.lab.comparison.data_source import images_of
from keras_convinit.lab.comparison.own_images import OwnImages
from keras_convinit.lab.errors import LabError

pytestmark = pytest.mark.once

NUMBERS = np.random.default_rng(0)
IMAGES = NUMBERS.normal(size=(10, 4, 4, 1)).astype("float32")
LABELS = np.array([0, 1, 2, 1, 0, 1, 2, 1, 0, 1])


def batched(images=IMAGES, labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Images from a function of a module in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_data.py").write_text(
        "given = None\ndef sets(): return given\ndef less(much): return given\n"
    )
    import importlib
    import sys

    sys.modules.pop("their_data", None)
    module = importlib.import_module("their_data")

    def make(given):
        module.given = given
        return OwnImages("their_data:sets")

    yield make
    del sys.modules["their_data"]


def gathered(batches):
    pairs = list(batches.as_numpy_iterator())
    return tuple(np.concatenate(parts) for parts in zip(*pairs, strict=True))


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS[:, None].astype("uint8"), np.eye(3)[LABELS]]
)
def test_labels_become_one_hot(own, labels):
    images = own((batched(labels=labels), batched(IMAGES[:5], labels[:5])))
    assert images.counts == {"training": 10, "validation": 5}
    assert images.steps_per_epoch == 3
    assert images.sample.num_classes == 3
    for batches, count in ((images.training(0), 10), (images.validation(), 5)):
        some, their = gathered(batches)
        np.testing.assert_array_equal(some, IMAGES[:count])
        np.testing.assert_array_equal(their, np.eye(3)[LABELS[:count]])
        assert some.dtype == their.dtype == np.float32
    some, their = images.batch()
    np.testing.assert_array_equal(some, IMAGES[:4])
    np.testing.assert_array_equal(their, np.eye(3)[LABELS[:4]])


def test_a_model_may_know_more_classes_than_there_are_numbers(own):
    images = own((batched(), batched()))
    images.meet(2)
    assert images.sample.num_classes == 3
    images.meet(5)
    assert gathered(images.training(0))[1].shape == (10, 5)
    assert images.batch()[1].shape == (4, 5)


def test_one_hot_labels_say_how_many_classes_there_are(own):
    hot = batched(labels=np.eye(3)[LABELS])
    images = own((hot, hot))
    images.meet(5)
    assert images.sample.num_classes == 3


def test_pixels_become_floats(own):
    pixels = batched((IMAGES * 50 + 100).astype("uint8"))
    images = own((pixels, pixels))
    assert images.sample.train_images.dtype == np.float32
    assert gathered(images.training(0))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Received: None"),
        ((batched(),), "Received: "),
        ((IMAGES, LABELS), "ndarray in the pair"),
        ((batched().map(lambda x, y: x),) * 2, "batches of TensorSpec"),
        ((batched().map(lambda x, y: ({"x": x}, y)),) * 2, "batches of .*'x'"),
        ((batched().repeat(),) * 2, "a data set without end"),
        ((batched(), batched().take(0)), "a data set without images"),
        ((batched(labels=LABELS - 1),) * 2, "the label -1"),
        ((batched(labels=LABELS / 2),) * 2, r"labels of shape \(4,\), float64"),
        ((batched(labels=np.eye(3)[LABELS]), batched()), "labels of two kinds"),
        ((batched(IMAGES * np.nan),) * 2, "images that are NaN or infinite"),
    ],
)
def test_what_is_expected_is_said(own, given, message):
    with pytest.raises(LabError, match=f"must give a pair of tf.data sets.*{message}"):
        own(given)


def test_a_function_that_wants_arguments_is_told(own, tmp_path):
    own((batched(), batched()))
    with pytest.raises(
        LabError, match=r"without arguments.* 'their_data:less'.*'much'"
    ):
        OwnImages("their_data:less")


def test_names(make_plan, own):
    with pytest.raises(LabError, match=r"no data set 'mnit' \(did you mean mnist\?"):
        images_of(make_plan(dataset="mnit"))
    with pytest.raises(LabError, match="Received: 'their_data:no', but"):
        images_of(make_plan(dataset="their_data:no", subset=None))
    with pytest.raises(LabError, match=r"DATA must .* Received: None"):
        images_of(make_plan(dataset="their_data:given", subset=None))
    with pytest.raises(LabError, match="`subset` is for data sets by name"):
        images_of(make_plan(dataset="their_data:sets"))
    plan = make_plan(dataset="their_data:sets", subset=None, augment=("cutout",))
    with pytest.raises(LabError, match="`augment` is for data sets by name"):
        images_of(plan)
