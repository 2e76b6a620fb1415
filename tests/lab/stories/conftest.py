import numpy as np
import pytest

from keras_convinit.lab.data import ImageDataset
from keras_convinit.lab.stories.results import Results, Run
from keras_convinit.lab.stories.story import Contender, Story, Training


@pytest.fixture
def story():
    """Two small fully connected networks, six steps of eight images."""
    # Wide enough that no image meets dead units alone: equal logits have no largest.
    network = {"depth": 3, "width": 16}
    return Story(
        name="small",
        title="Small networks",
        dataset="noise",
        limit=None,
        contenders=tuple(
            Contender(label, "mlp", {**network, "kernel_initializer": label})
            for label in ("he_normal", "zhang_forward")
        ),
        training=Training(epochs=2, batch_size=8, learning_rate=0.05),
    )


@pytest.fixture
def dataset():
    """29 images to train on, three batches of eight and five left over."""
    numbers = np.random.default_rng(0)
    return ImageDataset(
        "noise",
        numbers.normal(size=(29, 3, 3, 1)).astype("float32"),
        numbers.integers(0, 4, 29),
        numbers.normal(size=(11, 3, 3, 1)).astype("float32"),
        numbers.integers(0, 4, 11),
        num_classes=4,
    )


def made_run(contender="he_normal", seed=0, **fields):
    return Run(
        **{
            "story": "small",
            "contender": contender,
            "seed": seed,
            "held_out_accuracy": 0.75,
            "diverged": False,
            "losses": (1.5, 1.25),
            "accuracies": (0.0, 0.5),
            "signal": (1.0, 0.5),
            "error": (4.0, 1.0),
            "seconds": 0.1,
            **fields,
        }
    )


@pytest.fixture
def make_run():
    """Makes a run out of nothing, with any of its fields set."""
    return made_run


@pytest.fixture
def results(story):
    """Of one contender both runs are finished, of the other one."""
    runs = (made_run(), made_run(seed=1), made_run("zhang_forward"))
    return Results((story,), {"keras": "3.12.0"}, runs)
