import dataclasses
import inspect
import itertools
import re

import keras
import pytest

from keras_convinit.lab import models, recipes
from keras_convinit.lab.data import DATASETS, augmentation
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.recipes import arpit2019, zhang2022
from keras_convinit.schemes import resolve_scheme

pytestmark = pytest.mark.once

ALL = [recipes.get(name) for name in recipes.names()]


def convolution(kernel, inputs, outputs, each=0):
    """Parameters of a convolution, with so many more for each output."""
    return kernel * kernel * inputs * outputs + each * outputs


def vgg19(classes):
    # A bias, and scale and shift of the normalization.
    widths = [3, 64, 64, 128, 128, *[256] * 4, *[512] * 8]
    pairs = itertools.pairwise(widths)
    return sum(convolution(3, *pair, each=3) for pair in pairs) + 513 * classes


def stages(stem, widths, counts):
    for width, count in zip(widths, counts, strict=True):
        for _ in range(count):
            yield stem, width
            stem = width


def resnet(depth, classes, weight_norm):
    blocks = list(stages(16, (16, 32, 64), [(depth - 2) // 6] * 3))
    # Scale and shift of the normalization, or gain and bias.
    total = convolution(3, 3, 16, each=2)
    for before, width in blocks:
        total += convolution(3, before, width, 2) + convolution(3, width, width, 2)
        if before != width:
            # Its normalization, or all of a projection.
            total += (
                convolution(1, before, width, each=2) if weight_norm else 2 * before
            )
    return total + 65 * classes


def resnet34(classes):
    total = convolution(3, 3, 64, each=2)
    for before, width in stages(64, (64, 128, 256, 512), (3, 4, 6, 3)):
        total += convolution(3, before, width, 2) + convolution(3, width, width, 2)
        total += convolution(1, before, width, each=2) if before != width else 0
    return total + 513 * classes


def wide_resnet(depth, k, classes, weight_norm):
    total = convolution(3, 3, 16, each=2 if weight_norm else 1)
    width = 16
    for before, width in stages(16, (16 * k, 32 * k, 64 * k), [(depth - 4) // 6] * 3):
        each = 2 if weight_norm else 1
        total += convolution(3, before, width, each) + convolution(
            3, width, width, each
        )
        total += convolution(1, before, width, each) if before != width else 0
        total += 0 if weight_norm else 2 * before + 2 * width
    return total + (0 if weight_norm else 2 * width) + (width + 1) * classes


def densenet100(classes):
    channels, growth = 24, 12
    total = convolution(3, 3, channels)
    for stage in range(3):
        for _ in range(16):
            total += 2 * channels + convolution(1, channels, 4 * growth)
            total += 8 * growth + convolution(3, 4 * growth, growth)
            channels += growth
        if stage < 2:
            total += 2 * channels + convolution(1, channels, channels // 2)
            channels //= 2
    return total + 2 * channels + (channels + 1) * classes


def counted(recipe):
    """Trainable parameters by hand."""
    classes = 100 if recipe.dataset == "cifar100" else 10
    weight_norm = recipe.arguments.get("normalization") == "weight"
    arguments = recipe.arguments
    return {
        "vgg19": lambda: vgg19(classes),
        "resnet34": lambda: resnet34(classes),
        "resnet_cifar": lambda: resnet(arguments["depth"], classes, weight_norm),
        "densenet": lambda: densenet100(classes),
        "wide_resnet": lambda: wide_resnet(
            arguments["depth"], arguments["k"], classes, weight_norm
        ),
    }[recipe.network]()


def test_names_are_found_and_unique():
    everything = (*zhang2022.RECIPES, *arpit2019.RECIPES)
    assert len(everything) == len(set(recipes.names())) == len(ALL)
    assert [recipes.get(name).name for name in recipes.names()] == list(recipes.names())
    assert set(recipes.names("arpit2019")) == {r.name for r in arpit2019.RECIPES}


def test_every_table_and_figure_is_there():
    found = {recipe.name.split("/")[1] for recipe in zhang2022.RECIPES}
    assert found == {f"table{n}" for n in (1, 2, 3)} | {
        f"figure{n}" for n in range(2, 8)
    }
    found = {recipe.name.split("/")[1] for recipe in arpit2019.RECIPES}
    assert found == {"table1", "table2", "figure2", "figure3", "figure4"}


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_recipes_are_whole(recipe):
    paper, place, network_name, method = recipe.name.split("/")
    assert network_name and method
    authors = {"zhang2022": "Zhang et al. 2022", "arpit2019": "Arpit, Campos, Bengio"}
    kind, number = re.fullmatch(r"(table|figure)(\d)", place).groups()
    assert recipe.source.startswith(authors[paper])
    assert f"{kind} {number}," in recipe.source
    assert recipe.dataset in DATASETS
    network = inspect.signature(getattr(models, recipe.network))
    network.bind(**recipe.arguments, input_shape=(32, 32, 3), num_classes=10)
    stages = []
    for name, arguments in recipe.augmentations:
        stages.append(getattr(augmentation, name)(**arguments).stage)
    assert stages == sorted(stages, key=augmentation.STAGES.index)
    resolve_scheme(recipe.initialization.scheme, **recipe.initialization.arguments)
    if recipe.parameters is not None:
        assert counted(recipe) == recipe.parameters
    # What is reported comes with its unit.
    assert recipe.reported is None or recipe.unit


def test_networks_are_those_of_the_papers():
    millions = {
        "zhang2022/table1/vgg19/ours": 20.04,
        "zhang2022/table1/resnet110/ours": 1.73,
        "zhang2022/table1/densenet100/ours": 0.77,
        "zhang2022/table1/wrn28_10/ours": 36.49,
        "arpit2019/table1/resnet56/proposed": 0.86,
        "arpit2019/table1/resnet164/proposed": 2.61,
        "arpit2019/figure4/wrn40_10/proposed": 55.84,
    }
    for name, count in millions.items():
        assert round(recipes.get(name).parameters / 1e6, 2) == count


@pytest.mark.everywhere
@pytest.mark.parametrize("weight_norm", [True, False])
def test_a_small_one_of_them_is_built(weight_norm):
    # Those of the papers take seconds, and are counted in the tests of the networks.
    normalization = "weight" if weight_norm else "batch"
    model = models.resnet_cifar(
        8,
        normalization=normalization,
        num_classes=7,
        # What is quickest to draw.
        kernel_initializer="zeros",
        classifier_initializer="zeros",
    )
    built = sum(int(keras.ops.size(v)) for v in model.trainable_variables)
    assert built == resnet(8, 7, weight_norm)


def test_settings_of_the_papers():
    ours = recipes.get("zhang2022/table1/wrn28_10/ours")
    assert ours.optimizer == recipes.Optimizer(0.1, 0.9, True, 1.25e-4)
    assert ours.batch_size == 128
    dense = recipes.get("zhang2022/table3/densenet100/gradinit")
    assert (dense.batch_size, dense.optimizer.learning_rate) == (64, 0.05)
    assert dense.optimizer.undecayed == ("gamma", "beta")
    gradinit = resolve_scheme(
        dense.initialization.scheme, **dense.initialization.arguments
    )
    assert (gradinit.iterations, gradinit.learning_rate) == (780, 0.01)
    wide = recipes.get("zhang2022/table1/wrn28_10/kaiming").initialization.scheme
    # PyTorch's default has variance 1 / (3 fan_in).
    assert wide["config"]["scale"] == pytest.approx(1 / 3)
    deep = recipes.get("arpit2019/figure3/wrn10000_1/proposed")
    assert (deep.arguments["depth"] - 4) // 6 == 1666
    assert deep.arguments["stacks"]


def test_figures_show_the_variance_that_they_say():
    for recipe in zhang2022.FIGURES:
        numerator = float(re.search(r"Var\(w\) = ([\d.]+)/m", recipe.source)[1])
        initializer = keras.initializers.get(
            {
                "class_name": recipe.initialization.scheme,
                "config": dict(recipe.initialization.arguments),
            }
        )
        kernel = keras.ops.convert_to_numpy(initializer((3, 3, 64, 64)))
        # Five standard errors of a variance.
        error = 5 * (2 / kernel.size) ** 0.5
        assert kernel.var() * 9 * 64 == pytest.approx(numerator, rel=error)


def test_near_names_are_told():
    with pytest.raises(LabError, match="arpit2019/table1/resnet56/proposed"):
        recipes.get("arpit2019/table1/resnet56/propsed")
    with pytest.raises(LabError, match="keras-convinit recipes"):
        recipes.get("quite another thing")
    with pytest.raises(LabError, match="zhang2022, arpit2019"):
        recipes.names("zhang2023")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "square"},
        {"kind": "steps"},
        {"kind": "cosine", "drops": ((0.5, 0.1),)},
    ],
)
def test_wrong_schedules_are_refused(change):
    with pytest.raises(ValueError, match="Received"):
        recipes.Schedule(**change)


def test_wrong_warm_ups_are_refused():
    with pytest.raises(ValueError, match="shape='cubic'"):
        recipes.WarmUp(1.0, "cubic")
    with pytest.raises(ValueError, match="epochs=0"):
        recipes.WarmUp(0)


def test_recipes_are_plain_data():
    recipe = ALL[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1
    with pytest.raises(ValueError, match="batch_size=0"):
        dataclasses.replace(recipe, batch_size=0)
