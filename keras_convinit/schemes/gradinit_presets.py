"""What the authors of GradInit set for their networks on CIFAR-10."""

import dataclasses

from keras_convinit._checks import found


@dataclasses.dataclass(frozen=True)
class GradInitPreset:
    """One row of the settings.

    Args:
        network: Name of the network.
        batch_normalized: Whether it has batch normalisation.
        learning_rate: Of the scales.
        iterations: How many.
        batch_size: Samples of an iteration, two halves.
    """

    network: str
    batch_normalized: bool
    learning_rate: float
    iterations: int
    batch_size: int


# Reference: Zhu et al. 2021, section 4 and the scripts of its code. Common to all: the
# form for SGD, step 0.1, largest gradient norm 1, smallest scale 0.01, clipped at 1.
GRADINIT_PRESETS = {
    "zhu2021/cifar10/vgg19_bn": GradInitPreset("vgg19", True, 1e-1, 390, 128),
    "zhu2021/cifar10/vgg19": GradInitPreset("vgg19", False, 1e-2, 390, 128),
    "zhu2021/cifar10/resnet110_bn": GradInitPreset("resnet110", True, 1e-3, 390, 128),
    "zhu2021/cifar10/resnet110": GradInitPreset("resnet110", False, 5e-2, 390, 128),
    "zhu2021/cifar10/densenet100_bn": GradInitPreset(
        "densenet100", True, 1e-2, 780, 64
    ),
    "zhu2021/cifar10/densenet100": GradInitPreset("densenet100", False, 5e-3, 780, 64),
    "zhu2021/cifar10/wrn28_10_bn": GradInitPreset("wrn28_10", True, 3e-3, 780, 64),
}


def gradinit_preset(name: str) -> GradInitPreset:
    """The preset of that name.

    Args:
        name: Such as `"zhu2021/cifar10/vgg19_bn"`.

    Returns:
        The preset.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> from keras_convinit.schemes import gradinit_preset
        >>> gradinit_preset("zhu2021/cifar10/vgg19_bn").learning_rate
        0.1
    """
    return found("preset", name, GRADINIT_PRESETS, "the name of a preset")
