"""What `arpit_figure3.py` trains: networks and steps, at three scales."""

import dataclasses

PLAIN, RESIDUAL = "plain", "residual"


@dataclasses.dataclass(frozen=True)
class Depth:
    """One network.

    Args:
        size: Layers of a plain one, blocks in a stage of a residual one.
        steps: Of training.
        seeds: Runs of each start.
        batch_size: Images in a step.
        stem_stride: Of a residual one: 2 for maps of half the size.
    """

    size: int
    steps: int
    seeds: int
    batch_size: int
    stem_stride: int = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large everything is.

    Args:
        dataset: Name of the images.
        limit: Training images, and held-out ones, at most.
        width: Channels of the plain networks.
        strides: Of their first layers.
        stacks_from: Blocks in a stage from which on they run as stacks.
        plain: The plain networks.
        residual: The residual ones.
        learning_rate: Of all.
    """

    dataset: str
    limit: int | None
    width: int
    strides: tuple[int, ...]
    stacks_from: int
    plain: tuple[Depth, ...]
    residual: tuple[Depth, ...]
    learning_rate: float = 0.01


SCALES = {
    "smoke": Settings(
        "digits",
        200,
        4,
        (2,),
        2,
        (Depth(3, 2, 1, 50),),
        (Depth(1, 2, 1, 50), Depth(2, 2, 1, 50)),
    ),
    "cpu": Settings(
        "cifar10",
        6400,
        64,
        (2, 2),
        100,
        tuple(Depth(layers, 150, 3, 64) for layers in (5, 25, 50, 100)),
        (
            Depth(1, 150, 3, 64, stem_stride=2),
            Depth(16, 150, 3, 64, stem_stride=2),
            Depth(166, 50, 3, 32, stem_stride=2),
            Depth(1666, 40, 1, 16, stem_stride=2),
        ),
    ),
    "paper": Settings(
        "cifar10",
        None,
        512,
        (2, 2),
        1000,
        tuple(Depth(layers, 500 * 390, 3, 128) for layers in (5, 25, 100)),
        (
            *(Depth(blocks, 390, 3, 128) for blocks in (1, 16, 166)),
            Depth(1666, 390, 3, 128, stem_stride=2),
        ),
    ),
}
