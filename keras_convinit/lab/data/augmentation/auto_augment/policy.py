"""What was found to help on CIFAR, as data."""

from typing import NamedTuple


class Operation(NamedTuple):
    """One step of a sub-policy.

    Args:
        name: What to do, one of `OPERATIONS`.
        probability: Of doing it.
        level: How strongly, from 0 to 10; of no meaning to some.
    """

    name: str
    probability: float
    level: int


SubPolicy = tuple[Operation, Operation]
Policy = tuple[SubPolicy, ...]


def _policy(text: str) -> Policy:
    """Reads lines of `name probability level, name probability level`."""

    def operation(words: str) -> Operation:
        name, probability, level = words.split()
        return Operation(name, float(probability), int(level))

    pairs = (line.split(",") for line in text.strip().splitlines())
    return tuple((operation(first), operation(second)) for first, second in pairs)


# Cubuk et al. 2019, Table 7.
CIFAR = _policy(
    """
    Invert 0.1 7, Contrast 0.2 6
    Rotate 0.7 2, TranslateX 0.3 9
    Sharpness 0.8 1, Sharpness 0.9 3
    ShearY 0.5 8, TranslateY 0.7 9
    AutoContrast 0.5 8, Equalize 0.9 2
    ShearY 0.2 7, Posterize 0.3 7
    Color 0.4 3, Brightness 0.6 7
    Sharpness 0.3 9, Brightness 0.7 9
    Equalize 0.6 5, Equalize 0.5 1
    Contrast 0.6 7, Sharpness 0.6 5
    Color 0.7 7, TranslateX 0.5 8
    Equalize 0.3 7, AutoContrast 0.4 8
    TranslateY 0.4 3, Sharpness 0.2 6
    Brightness 0.9 6, Color 0.2 8
    Solarize 0.5 2, Invert 0.0 3
    Equalize 0.2 0, AutoContrast 0.6 0
    Equalize 0.2 8, Equalize 0.6 4
    Color 0.9 9, Equalize 0.6 6
    AutoContrast 0.8 4, Solarize 0.2 8
    Brightness 0.1 3, Color 0.7 0
    Solarize 0.4 5, AutoContrast 0.9 3
    TranslateY 0.9 9, TranslateY 0.7 9
    AutoContrast 0.9 2, Solarize 0.8 3
    Equalize 0.8 8, Invert 0.1 3
    TranslateY 0.7 9, AutoContrast 0.9 1
    """
)
