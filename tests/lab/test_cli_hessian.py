import dataclasses
import re

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_convinit import hessian_norm, initialize
from keras_convinit.lab import cli, data, models, recipes
from keras_convinit.lab.training.curvature import curvature
from keras_convinit.lab.training.settings import Settings

pytestmark = pytest.mark.once

NAME = "arpit2019/figure2/mlp2/proposed"
SMALL = ("--dataset", "digits", "--subset", 50)


def invoked(*arguments):
    return CliRunner().invoke(cli.app, ["hessian", *map(str, arguments)])


@pytest.mark.everywhere
def test_it_measures_the_network_as_its_recipe_starts_it():
    done = invoked(NAME, *SMALL, "--seed", 3, "--batch-size", 25)
    assert done.exit_code == 0, done.output
    images = data.load("digits", 50)
    x = images.standardized(images.train_images)
    y = np.eye(10, dtype="float32")[images.train_labels]
    recipe = recipes.get(NAME)
    keras.utils.set_random_seed(3)
    model = models.mlp(input_shape=x.shape[1:], num_classes=10, **recipe.arguments)
    initialize(model, "arpit", seed=3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    expected = hessian_norm(model, x, y, loss, seed=3)
    found = re.fullmatch(
        rf"{NAME}: log10 of the spectral norm of the Hessian (\S+) "
        r"\(eigenvalue \S+, residual \S+; 50 images\)\n",
        done.stdout,
    )
    assert float(found[1]) == pytest.approx(expected.log10, abs=2e-3)
    # Another start has another norm.
    other = invoked(
        NAME, *SMALL, "--batch-size", 25, "--scheme", "kernel:direction=he_normal"
    )
    assert other.exit_code == 0, other.output
    assert f" {found[1]} " not in other.stdout


def test_a_tenth_of_the_images_is_looked_at_where_nothing_is_said():
    recipe = recipes.get("arpit2019/figure2/mlp2/datadependent")
    settings = Settings.of(recipe, dataset="digits")
    _, images = curvature(settings, tolerance=0.1)
    assert images == len(data.load("digits").train_images) // 10


def test_a_recipe_of_table_2_gives_its_number():
    # By a scheme that looks at data, of which a recipe without epochs has none.
    recipe = recipes.get("arpit2019/table2/resnet56/datadependent")
    assert recipe.epochs == 0
    small = {**recipe.arguments, "depth": 8, "width": 2}
    recipe = dataclasses.replace(recipe, arguments=small, parameters=None)
    settings = Settings.of(recipe, dataset="digits", subset=32, batch_size=32)
    norm, images = curvature(settings, tolerance=0.05)
    assert norm.converged and norm.value > 0
    assert images == 32


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["arpit2019/table2/resnet20/he"], 1, "The nearest: arpit2019/table2/resnet"),
        ([NAME, "--dataset", "imagenet"], 2, "dataset='imagenet'"),
        ([NAME, *SMALL], 1, "`batch_size` must be at most 50"),
        ([NAME, *SMALL, "--batch-size", 25, "--tolerance", -1], 1, "tolerance=-1"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, status, message):
    done = invoked(*arguments)
    assert done.exit_code == status
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
