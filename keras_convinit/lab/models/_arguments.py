"""What the arguments of the networks are checked for."""

import numbers
from typing import Any

from keras_convinit.lab.checks import one_of, whole

NORMALIZATIONS = (None, "batch", "weight")


def normalization_with(
    normalization: Any,
    allowed: tuple[str | None, ...] = NORMALIZATIONS,
    **needs: tuple[Any, Any, tuple[str | None, ...]],
) -> str | None:
    """Checks `normalization`, and arguments which only some of its values allow.

    Args:
        normalization: The argument.
        allowed: Its values.
        **needs: By the name of another argument: its value, its default, and the
            normalizations with which it may be something else.

    Returns:
        `normalization`.

    Raises:
        ValueError: Something is not allowed.
    """
    one_of("normalization", normalization, allowed)
    for name, (value, default, where) in needs.items():
        if value != default and normalization not in where:
            raise ValueError(
                f"`{name}` must be {default!r} unless `normalization` is "
                f"{' or '.join(map(repr, where))}. "
                f"Received: {name}={value!r}, normalization={normalization!r}"
            )
    return normalization


def scaled_branches(
    normalization: Any, scaled: bool | None, stacks: bool, gain_mode: str
) -> bool:
    """Whether a network divides its residual branches, if it has such as can be.

    Args:
        normalization: What a network was given as `normalization`.
        scaled: And what as `scaled`.
        stacks: And as `stacks`.
        gain_mode: And as `gain_mode`.

    Returns:
        `scaled`, or what None stands for.

    Raises:
        ValueError: They do not go together.
    """
    without_batch = ("weight", None)
    normalization_with(
        normalization,
        scaled=(scaled or False, False, without_batch),
        stacks=(stacks, False, without_batch),
        gain_mode=(gain_mode, "forward", ("weight",)),
    )
    return normalization == "weight" if scaled is None else bool(scaled)


def branch_scale(
    blocks: int, scaled: bool, normalization: str | None, gain_mode: str
) -> tuple[int, float]:
    """Where the 1 / sqrt(B) of a stage's branches is: in their last gains, or outside.

    Arpit et al. have it in the gains, which learn it: a constant behind the branch
    gives the same function at the beginning, but its last gains and biases would learn
    B times more slowly. A kernel without a gain, or with that of its own norm, leaves
    it to the sum.

    Args:
        blocks: B, the number of blocks of the stage.
        scaled: Whether there is such a factor.
        normalization: `"weight"` for weight-normalized convolutions.
        gain_mode: `mode` of their gains.

    Returns:
        `num_blocks` for `ScaledResidual`, and the gamma of the branch's last gain.
    """
    if not scaled:
        return 1, 1.0
    if normalization == "weight" and gain_mode != "kernel":
        return 1, 1 / blocks
    return blocks, 1.0


def blocks_per_stage(family: str, depth: Any, others: int) -> int:
    """The n of a network whose depth is 6n and a few others.

    Args:
        family: What to call the network in an error.
        depth: How many layers with kernels it has.
        others: How many of them are not in the blocks of its three stages.

    Returns:
        n, at least 1.

    Raises:
        ValueError: There is none. The error tells the nearest depths.
    """
    depth = whole("depth", depth, 1)
    blocks, rest = divmod(depth - others, 6)
    if blocks >= 1 and rest == 0:
        return blocks
    nearest = [6 * n + others for n in sorted({max(blocks, 1), max(blocks + 1, 1)})]
    raise ValueError(
        f"`depth` of a {family} must be 6n + {others} for some n >= 1, such as "
        f"{' or '.join(map(str, nearest))}. Received: depth={depth}"
    )


def image_shape(input_shape: Any, downsampling: int) -> tuple[int, int, int]:
    """The shape of an image that is large enough.

    Args:
        input_shape: The argument.
        downsampling: By what factor the network makes its maps smaller.

    Returns:
        Height, width and channels.

    Raises:
        ValueError: It is something else, or too small.
    """
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    sizes = [int(n) for n in shape if isinstance(n, numbers.Integral) and int(n) >= 1]
    if len(shape) != 3 or len(sizes) != 3:
        raise ValueError(
            "`input_shape` must be height, width and channels of an image. "
            f"Received: input_shape={input_shape!r}"
        )
    height, width, channels = sizes
    if min(height, width) < downsampling:
        raise ValueError(
            f"`input_shape` must have a height and a width of at least {downsampling}, "
            "by which the network divides both. "
            f"Received: input_shape={input_shape!r}"
        )
    return height, width, channels
