"""What `plain_depth.py` trains: networks, schemes and images, at three scales."""

import dataclasses

GLOROT = "glorot_uniform"
# The gain that ReLU asks for.
SQRT_2 = 1.4142
ORTHOGONAL, DELTA = f"orthogonal:gain={SQRT_2}", "delta_orthogonal"
NO_DATA = (GLOROT, "he_normal", ORTHOGONAL, DELTA, "zhang_forward", "zhang_backward")
SEARCHES = (
    "metainit:steps=20,batch_size=32",
    "gradinit:iterations=40,batch_size=32",
)
PLAIN, RESIDUAL = "plain", "residual"
NONE, BATCH, WEIGHT = "no normalization", "batch normalization", "weight normalization"
# What trains what: by kind of network and normalization.
SCHEMES = {
    (PLAIN, NONE): (*NO_DATA, "lsuv", *SEARCHES),
    (PLAIN, BATCH): (GLOROT, "he_normal", "auto", "zhang_backward:gamma=0.4"),
    (PLAIN, WEIGHT): ("arpit", "kernel:direction=he_normal", "data_dependent"),
    (RESIDUAL, NONE): (GLOROT, "he_normal", "auto", "fixup", "lsuv", *SEARCHES),
    (RESIDUAL, BATCH): (GLOROT, "he_normal", "auto"),
    (RESIDUAL, WEIGHT): (
        "arpit",
        "hanin",
        "kernel:direction=he_normal",
        "data_dependent",
    ),
}
# The order that decides what they look like: those of one kind of network differ.
LOOKS = (
    *SCHEMES[PLAIN, NONE],
    *("auto", "zhang_backward:gamma=0.4", "fixup", "data_dependent", "arpit"),
    *("kernel:direction=he_normal", "hanin"),
)
ARGUMENTS = {NONE: "None", BATCH: "batch", WEIGHT: "weight"}


@dataclasses.dataclass(frozen=True)
class Images:
    """Images, and the networks for them.

    Args:
        dataset: Their name.
        limit: Training images, and held-out ones, at most.
        width: Channels of a convolution.
        strides: Of the first convolutions of a plain network, and of the stem.
        depths: Convolutions of a network, about.
        kinds: With shortcuts, without, or both.
        epochs: Of each run.
        batch_size: Images in a step.
        learning_rate: Of all schemes.
    """

    dataset: str
    limit: int | None
    width: int
    strides: tuple[int, ...]
    depths: tuple[int, ...]
    kinds: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        images: What to train on.
        seeds: Runs of each.
    """

    images: tuple[Images, ...]
    seeds: int


BOTH = (PLAIN, RESIDUAL)
SCALES = {
    "smoke": Settings((Images("digits", 96, 2, (), (4,), (PLAIN,), 1, 32, 0.01),), 1),
    "cpu": Settings(
        (
            Images("digits", None, 16, (), (10, 18, 34, 50), BOTH, 6, 32, 0.01),
            Images("cifar10", 4000, 32, (2, 2), (10, 18, 34), (PLAIN,), 3, 64, 0.01),
        ),
        3,
    ),
    "paper": Settings(
        (
            Images("digits", None, 16, (), (10, 18, 34, 50, 100), BOTH, 50, 32, 0.01),
            Images("cifar10", None, 64, (2, 2), (10, 18, 34, 50), BOTH, 50, 128, 0.01),
        ),
        5,
    ),
}
