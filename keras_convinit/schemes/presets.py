"""What the first paper set for its networks: gamma, and the rule of the classifier.

gamma is no function of the learning rate in the paper: at one and the same rate it is
0.4 for one network and 1.67 for another. So there is a table, and no formula.
"""

import dataclasses
from typing import Any

import keras

from keras_convinit._checks import found, positive
from keras_convinit.initializers import ZhangForward


@dataclasses.dataclass(frozen=True)
class Preset:
    """One row of the paper's settings.

    Args:
        dataset: Name of the data set.
        network: Name of the network.
        learning_rate: The initial learning rate that it was used with.
        gamma: Of eq. 41; the paper states 2 / gamma, the numerator of the variance.
        classifier_scale: The variance of the classifier is that divided by its fan_in;
            None for N(0, 0.01^2).
    """

    dataset: str
    network: str
    learning_rate: float
    gamma: float
    classifier_scale: float | None

    def classifier(self) -> keras.initializers.Initializer:
        """The initializer of the classifier."""
        if self.classifier_scale is None:
            # The paper says "constant 0.01". With equal weights all logits are equal
            # and no gradient reaches the features; the code that it builds on draws.
            return keras.initializers.RandomNormal(stddev=0.01)
        return ZhangForward("linear", scale=self.classifier_scale)


# Reference: Zhang et al. 2022, section 5: the numerators 5, 5, 5, 3 for CIFAR-10 and
# 1.5, 1.5, 1.2, 2.5 for CIFAR-100. "0.25/m" of the classifier is called a forward
# formula there, so m is taken for its fan_in.
PRESETS = {
    "zhang2022/cifar10/vgg19": Preset("cifar10", "vgg19", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/resnet110": Preset("cifar10", "resnet110", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/densenet100": Preset("cifar10", "densenet100", 0.1, 2 / 5, 1.0),
    "zhang2022/cifar10/wrn28_10": Preset("cifar10", "wrn28_10", 0.1, 2 / 3, 0.25),
    "zhang2022/cifar100/vgg19": Preset("cifar100", "vgg19", 0.1, 2 / 1.5, None),
    "zhang2022/cifar100/resnet110": Preset("cifar100", "resnet110", 0.1, 2 / 1.5, None),
    "zhang2022/cifar100/densenet100": Preset(
        "cifar100", "densenet100", 0.1, 2 / 1.2, 0.25
    ),
    "zhang2022/cifar100/wrn28_10": Preset("cifar100", "wrn28_10", 0.1, 2 / 2.5, 1.0),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Args:
        name: Such as `"zhang2022/cifar10/vgg19"`.

    Returns:
        The preset.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> from keras_convinit.schemes import preset
        >>> preset("zhang2022/cifar10/vgg19").gamma
        0.4
    """
    return found("gamma", name, PRESETS, "a positive number or the name of a preset")


def gamma_and_classifier(gamma: float | str, classifier: Any) -> tuple[float, Any]:
    """A gamma as a number, and the classifier's rule that goes with it.

    Args:
        gamma: A positive number, or the name of a preset.
        classifier: What the caller wants; None for the preset's rule, if there is one.

    Returns:
        gamma, and the caller's or the preset's initializer, or None.
    """
    if isinstance(gamma, str):
        settings = preset(gamma)
        if classifier is None:
            classifier = settings.classifier()
        return settings.gamma, classifier
    return positive("gamma", gamma), classifier
