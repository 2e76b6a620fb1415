"""Arpit, Campos, Bengio 2019: table 1, figures 2 to 4 and table 2.

*How to Initialize your Network? Robust Initialization for WeightNorm & ResNets*,
https://arxiv.org/abs/1906.02341. Settings are those of the text, and where it has none
those of the code that the authors published, which decays every variable, clips
nothing and warms up quadratically. Runs that diverge count as accuracy 0.
"""

from collections.abc import Mapping
from typing import Any

from keras_convinit.lab.recipes.recipe import Initialization, Optimizer, Recipe
from keras_convinit.lab.recipes.schedule import Schedule, WarmUp

CROP_FLIP = ("CropFlip", {"padding": 4})
# Also 16 for CIFAR-100, in their code.
CUTOUT = ("Cutout", {"size": 16})

PROPOSED = Initialization("arpit")
HE = Initialization("kernel", {"direction": "he_normal"})
ORTHOGONAL = Initialization("kernel", {"direction": "orthogonal"})
# By the first batch of training images.
DATA_DEPENDENT = Initialization("data_dependent")
HANIN = Initialization("hanin")

WEIGHT_NORM = {"normalization": "weight"}
# Only the paper's own gains divide branches by sqrt(B).
UNSCALED = {**WEIGHT_NORM, "scaled": False}

LENGTH = "the length of the warm-up: one epoch"
RATE = "the learning rate, of which the paper shows many: 0.01, as in the code"

# 32,000 and 48,000 steps of 64,000 after He et al. 2016: epochs 91 and 136 of 182.
HE_2016 = ((91 / 182, 0.1), (136 / 182, 0.1))


def classes(dataset: str) -> str:
    """The data set as papers write it."""
    return {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST"}[dataset]


# Table 1: ResNets of 6n + 2 layers. The methods by the name of the row.
ROWS: dict[str, tuple[Mapping[str, Any], Initialization, WarmUp | None]] = {
    "datadependent": (UNSCALED, DATA_DEPENDENT, None),
    "hanin": (UNSCALED, HANIN, None),
    "proposed": (WEIGHT_NORM, PROPOSED, None),
    "proposed_warmup": (WEIGHT_NORM, PROPOSED, WarmUp(1.0, "quadratic")),
    "batchnorm": ({"normalization": "batch"}, HE, None),
}
# Their code has 0.856, 1.731 and 2.612 million parameters.
NETWORKS = (
    (56, "cifar10", 855_770),
    (110, "cifar10", 1_730_714),
    (164, "cifar100", 2_611_508),
)


def table_1(depth: int, dataset: str, parameters: int, row: str, cut: bool) -> Recipe:
    """A row of table 1."""
    arguments, initialization, warm_up = ROWS[row]
    batch = row == "batchnorm"
    if batch:
        initialization = Initialization("he_normal")
    method = f"{row}_cutout" if cut else row
    return Recipe(
        name=f"arpit2019/table1/resnet{depth}/{method}",
        source=(
            f"Arpit, Campos, Bengio 2019, table 1, {classes(dataset)}, "
            f"ResNet-{depth}, {method.replace('_', ' + ')}"
        ),
        network="resnet_cifar",
        arguments={"depth": depth, **arguments},
        dataset=dataset,
        augmentations=(CROP_FLIP, CUTOUT) if cut else (CROP_FLIP,),
        optimizer=Optimizer(
            # Hanin's branches grow, and want a rate that is ten times smaller.
            0.01 if row == "hanin" else 0.1,
            momentum=0.9,
            weight_decay=1e-4,
        ),
        schedule=Schedule("steps", HE_2016, warm_up),
        epochs=182,
        batch_size=128,
        initialization=initialization,
        parameters=None if batch else parameters,
        assumed=(
            "the learning rate, momentum, weight decay, and that the steps of the "
            "schedule are those of He et al. 2016",
            *((LENGTH,) if warm_up else ()),
            *(("the blocks, which are those of He et al. 2016",) if batch else ()),
        ),
    )


TABLE_1 = tuple(
    table_1(*network, row, cut)
    for network in NETWORKS
    for row in ROWS
    for cut in (False, True)
)


# Figure 2: MLPs on MNIST, from 2 to 200 layers.
PLAIN = {
    "he": HE,
    "orthogonal": ORTHOGONAL,
    "datadependent": DATA_DEPENDENT,
    "proposed": PROPOSED,
}
MLP_DEPTHS = (2, 10, 20, 50, 100, 200)


def figure_2(depth: int, method: str) -> Recipe:
    """A curve of figure 2 at one depth."""
    return Recipe(
        name=f"arpit2019/figure2/mlp{depth}/{method}",
        source=f"Arpit, Campos, Bengio 2019, figure 2, {depth} layers, {method}",
        network="mlp",
        arguments={"depth": depth, "width": 512, **WEIGHT_NORM},
        dataset="mnist",
        augmentations=(),
        optimizer=Optimizer(0.01, momentum=0.0),
        schedule=Schedule("steps", ((1 / 3, 0.1), (2 / 3, 0.1))),
        epochs=150,
        batch_size=128,
        initialization=PLAIN[method],
        assumed=(RATE, "the depths between 2 and 200, and no momentum"),
    )


FIGURE_2 = tuple(figure_2(depth, method) for depth in MLP_DEPTHS for method in PLAIN)


# Figure 3, left: CNNs of width 512 on CIFAR-10, up to 100 layers.
CNN_DEPTHS = (5, 25, 100)


def figure_3_left(depth: int, method: str) -> Recipe:
    """A curve of the left part of figure 3 at one depth."""
    return Recipe(
        name=f"arpit2019/figure3/cnn{depth}/{method}",
        source=f"Arpit, Campos, Bengio 2019, figure 3, left, {depth} layers, {method}",
        network="plain_cnn",
        arguments={"depth": depth, "width": 512, "strides": (2, 2), **WEIGHT_NORM},
        dataset="cifar10",
        augmentations=(CROP_FLIP,),
        optimizer=Optimizer(0.01, momentum=0.9, weight_decay=1e-4),
        # The text has one step at epoch 166; their code has a second one at 333.
        schedule=Schedule("steps", ((166 / 500, 0.1),)),
        epochs=500,
        batch_size=128,
        initialization=PLAIN[method],
        assumed=(
            RATE,
            "the depths up to 100, the augmentation, the momentum and the weight decay",
        ),
    )


# Figure 3, right: WRN-(6N + 4)-1 for one epoch, up to ten thousand layers.
RESIDUAL: dict[str, tuple[Mapping[str, Any], Initialization]] = {
    "he": (UNSCALED, HE),
    "orthogonal": (UNSCALED, ORTHOGONAL),
    "datadependent": (UNSCALED, DATA_DEPENDENT),
    "hanin": (UNSCALED, HANIN),
    "proposed": (WEIGHT_NORM, PROPOSED),
}
WRN_BLOCKS = (1, 16, 166, 1666)


def figure_3_right(blocks: int, method: str) -> Recipe:
    """A curve of the right part of figure 3 at one depth."""
    arguments, initialization = RESIDUAL[method]
    depth = 6 * blocks + 4
    deep = {"stacks": True, "stem_stride": 2} if blocks > 1000 else {}
    return Recipe(
        name=f"arpit2019/figure3/wrn{depth}_1/{method}",
        source=(
            f"Arpit, Campos, Bengio 2019, figure 3, right, {blocks} blocks a stage, "
            f"{method}"
        ),
        network="wide_resnet",
        arguments={"depth": depth, "k": 1, **arguments, **deep},
        dataset="cifar10",
        augmentations=(CROP_FLIP,),
        optimizer=Optimizer(0.01, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule("constant"),
        epochs=1,
        batch_size=128,
        initialization=initialization,
        assumed=(RATE, "the augmentation, the momentum and the weight decay"),
    )


FIGURE_3 = (
    *(figure_3_left(depth, method) for depth in CNN_DEPTHS for method in PLAIN),
    *(figure_3_right(blocks, method) for blocks in WRN_BLOCKS for method in RESIDUAL),
)


def figure_4(method: str, warm_up: bool) -> Recipe:
    """WRN-40-10 for three epochs: which share of the seeds survives."""
    arguments, initialization = RESIDUAL[method]
    label = f"{method}_warmup" if warm_up else method
    return Recipe(
        name=f"arpit2019/figure4/wrn40_10/{label}",
        source=f"Arpit, Campos, Bengio 2019, figure 4, {label.replace('_', ' + ')}",
        network="wide_resnet",
        arguments={"depth": 40, "k": 10, **arguments},
        dataset="cifar10",
        augmentations=(CROP_FLIP,),
        optimizer=Optimizer(0.1, momentum=0.9, weight_decay=5e-4),
        schedule=Schedule(
            "constant", warm_up=WarmUp(1.0, "quadratic") if warm_up else None
        ),
        epochs=3,
        batch_size=128,
        initialization=initialization,
        seeds=20,
        parameters=55_843_994,
        assumed=(
            "the learning rate, of which the paper shows many, the momentum and the "
            "weight decay",
            *((LENGTH,) if warm_up else ()),
        ),
    )


FIGURE_4 = tuple(
    figure_4(method, warm_up) for method in RESIDUAL for warm_up in (False, True)
)


def table_2(depth: int, dataset: str, parameters: int, method: str) -> Recipe:
    """The largest eigenvalue of the Hessian before the first step."""
    arguments, initialization = RESIDUAL[method]
    return Recipe(
        name=f"arpit2019/table2/resnet{depth}/{method}",
        source=(
            f"Arpit, Campos, Bengio 2019, table 2, {classes(dataset)}, "
            f"ResNet-{depth}, {method}"
        ),
        network="resnet_cifar",
        arguments={"depth": depth, **arguments},
        dataset=dataset,
        augmentations=(),
        optimizer=Optimizer(0.1),
        schedule=Schedule(),
        epochs=0,
        batch_size=128,
        initialization=initialization,
        parameters=parameters,
        unit="log10 of the spectral norm of the Hessian",
        assumed=("that the networks are those of table 1",),
    )


TABLE_2 = tuple(
    table_2(*network, method) for network in NETWORKS for method in RESIDUAL
)

RECIPES = (*TABLE_1, *FIGURE_2, *FIGURE_3, *FIGURE_4, *TABLE_2)
