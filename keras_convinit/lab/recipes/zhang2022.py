"""Zhang, Feng, Zhang, Yang, Li 2022: tables 1 to 3 and figures 2 to 7.

*Necessary conditions for convergence of CNNs and initialization of convolution
kernels*. The paper trains its own rows with Nesterov's momentum and its own weight
decay, and takes over the rows of Kaiming, MetaInit and GradInit from Zhu et al. 2021,
*GradInit*, who trained with another recipe; so do the recipes here. Its figure is the
test accuracy of the best epoch of one run.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_convinit.lab.recipes.recipe import Initialization, Optimizer, Recipe
from keras_convinit.lab.recipes.schedule import Schedule

UNIT = "test accuracy of the best epoch, %"

CROP_FLIP = ("CropFlip", {"padding": 4})
CUTOUT = ("Cutout", {"size": 16})
MIXUP = ("Mixup", {"alpha": 1.0, "per": "batch"})
AUTO_AUGMENT: tuple[str, Mapping[str, Any]] = ("AutoAugment", {})
# Weight decay spares what Zhu et al. call "bn"; biases of convolutions decay.
NORMALIZATION = ("gamma", "beta")

CUTOUT_SIZE = "the size of Cutout: 16, as in the code of Zhu et al."
EPOCHS = "whether this row was trained for 200 or 300 epochs"


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of table 1 and how it was trained.

    Args:
        name: What recipes and presets call it.
        function: Name of a function in `keras_convinit.lab.models`.
        arguments: What to call it with.
        parameters: Trainable parameters with 10 and with 100 classes. Table 3 repeats
            the former; these are counted.
        weight_decay: Of the paper, on CIFAR-10 and on CIFAR-100.
        kaiming: What Zhu et al. call Kaiming: their code's default.
        batch_size: Of Zhu et al.
        mixup: Whether they mix.
    """

    name: str
    function: str
    arguments: Mapping[str, Any]
    parameters: tuple[int, int]
    weight_decay: tuple[float, float]
    kaiming: Mapping[str, Any]
    batch_size: int = 128
    mixup: bool = False


def variance_scaling(scale: float, mode: str, distribution: str) -> dict[str, Any]:
    """A Keras initializer as data."""
    config = {"scale": scale, "mode": mode, "distribution": distribution}
    return {"class_name": "VarianceScaling", "config": config}


FAN_OUT = variance_scaling(2.0, "fan_out", "untruncated_normal")
# PyTorch's default: their code sets nothing for the wide network.
PYTORCH = variance_scaling(1 / 3, "fan_in", "uniform")

NETWORKS = (
    Network(
        "vgg19",
        "vgg19",
        {},
        (20_040_522, 20_086_692),
        (2e-4, 3e-4),
        FAN_OUT,
    ),
    Network(
        "resnet110",
        "resnet_cifar",
        {"depth": 110},
        (1_728_058, 1_733_908),
        (2e-4, 3e-4),
        FAN_OUT,
    ),
    Network(
        "densenet100",
        "densenet",
        {"depth": 100, "growth": 12},
        (769_162, 800_032),
        (2e-4, 3e-4),
        FAN_OUT,
        batch_size=64,
    ),
    Network(
        "wrn28_10",
        "wide_resnet",
        {"depth": 28, "k": 10},
        (36_489_290, 36_546_980),
        (1.25e-4, 1e-4),
        PYTORCH,
        mixup=True,
    ),
)


def ours(network: Network, dataset: str, table: str, name: str) -> Recipe:
    """The paper's own row: its preset for gamma, its own training."""
    hundred = dataset == "cifar100"
    preset = f"zhang2022/{dataset}/{network.name}"
    return Recipe(
        name=f"zhang2022/{name}/{network.name}/ours",
        source=f"Zhang et al. 2022, {table}, {network.name}, proposed initialization",
        network=network.function,
        arguments=network.arguments,
        dataset=dataset,
        augmentations=(CROP_FLIP, CUTOUT) + ((MIXUP,) if network.mixup else ()),
        optimizer=Optimizer(
            0.1, nesterov=True, weight_decay=network.weight_decay[hundred]
        ),
        schedule=Schedule("cosine"),
        epochs=200,
        batch_size=128,
        initialization=Initialization("zhang_backward", {"gamma": preset}),
        validation_fraction=0.0,
        parameters=network.parameters[hundred],
        seeds=1,
        unit=UNIT,
        assumed=(
            EPOCHS,
            CUTOUT_SIZE,
            "that every variable decays",
            *(("that the mixup is that of Zhu et al.",) if network.mixup else ()),
        ),
    )


def theirs(
    network: Network, dataset: str, table: str, name: str, method: str
) -> Recipe:
    """A row that the paper takes over from Zhu et al.: their training."""
    start = {"start": network.kaiming, "verbose": False}
    preset = {"preset": f"zhu2021/cifar10/{network.name}_bn"}
    initialization = {
        "kaiming": Initialization(network.kaiming),
        # One pass over the training images.
        "metainit": Initialization("metainit", {"steps": 390, **start}),
        "gradinit": Initialization("gradinit", {**preset, **start}),
    }[method]
    own = ours(network, dataset, table, name)
    recipe = dataclasses.replace(
        own,
        name=f"zhang2022/{name}/{network.name}/{method}",
        source=f"Zhang et al. 2022, {table}, {network.name}, {method}",
        optimizer=Optimizer(
            # 0.1 * batch size / 128
            0.1 * network.batch_size / 128,
            weight_decay=1e-4,
            undecayed=NORMALIZATION,
        ),
        batch_size=network.batch_size,
        initialization=initialization,
        seeds=None,
        assumed=(
            "that the row is that of Zhu et al. with batch normalization",
            "that the classifier is drawn by the rule of all kernels, unlike in the "
            "code of Zhu et al.",
        ),
    )
    if dataset == "cifar100":
        open_question = "the training of this row: that of Zhu et al. for CIFAR-10"
        return dataclasses.replace(recipe, assumed=(*recipe.assumed, open_question))
    return recipe


METHODS = ("kaiming", "metainit", "gradinit")

TABLE_1 = tuple(
    recipe
    for network in NETWORKS
    for recipe in (
        *(theirs(network, "cifar10", "table 1", "table1", m) for m in METHODS),
        ours(network, "cifar10", "table 1", "table1"),
    )
)

TABLE_3 = tuple(
    recipe
    for network in NETWORKS
    for recipe in (
        *(theirs(network, "cifar100", "table 3", "table3", m) for m in METHODS),
        ours(network, "cifar100", "table 3", "table3"),
    )
)


def stronger(network: Network, method: str) -> Recipe:
    """A row of table 2: more augmentation, for longer."""
    own = ours(network, "cifar10", "table 2", "table2")
    kaiming = Initialization(network.kaiming)
    return dataclasses.replace(
        own,
        name=f"zhang2022/table2/{network.name}/{method}",
        source=f"Zhang et al. 2022, table 2, {network.name}, {method}",
        augmentations=(CROP_FLIP, AUTO_AUGMENT, CUTOUT),
        epochs=300,
        initialization=own.initialization if method == "ours" else kaiming,
        assumed=(
            "which augmentations this row has, and in which order: AutoAugment after "
            "crop and flip, then Cutout",
            EPOCHS,
            CUTOUT_SIZE,
            "that both rows were trained alike",
        ),
    )


TABLE_2 = tuple(
    stronger(network, method) for network in NETWORKS for method in ("kaiming", "ours")
)


def figure(number: int, network: str, rate: float, numerator: float) -> Recipe:
    """One curve of figures 2 to 7: a variance of numerator / fan_out at a rate."""
    label = f"{numerator:g}".replace(".", "_")
    return Recipe(
        name=f"zhang2022/figure{number}/{network}/variance{label}",
        source=(
            f"Zhang et al. 2022, figure {number}, {network}, learning rate {rate:g}, "
            f"Var(w) = {numerator:g}/m"
        ),
        network=network,
        arguments={},
        dataset="cifar10",
        augmentations=(CROP_FLIP,),
        optimizer=Optimizer(rate, nesterov=True, weight_decay=2e-4),
        schedule=Schedule("cosine"),
        epochs=200,
        batch_size=128,
        # backward_scale of ReLU is 2: the numerator of eq. 41 is 2 / gamma.
        initialization=Initialization("zhang_backward", {"gamma": 2 / numerator}),
        validation_fraction=0.0,
        # With a stem of 3x3; only this ResNet-34 fits what the paper says of it.
        parameters=20_040_522 if network == "vgg19" else 21_282_122,
        unit="test accuracy of the epochs, %",
        assumed=(
            "the numerators of the variances, the augmentation, the epochs",
            "which of the rates 0.1, 0.01 and 0.001 is in which figure: in this order",
        ),
    )


RATES = (0.1, 0.01, 0.001)
NUMERATORS = (1.0, 2.0, 3.0, 5.0)

FIGURES = tuple(
    figure(first + offset, network, rate, numerator)
    for first, network in ((2, "vgg19"), (5, "resnet34"))
    for offset, rate in enumerate(RATES)
    for numerator in NUMERATORS
)

RECIPES = (*TABLE_1, *TABLE_2, *TABLE_3, *FIGURES)
