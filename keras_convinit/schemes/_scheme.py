"""What every scheme of initialisation is: something that sets a model's variables."""

import abc
import dataclasses
import random
from typing import Any

from keras_convinit.schemes.report import InitializationReport

LARGEST_SEED = 2**31 - 1


class Seeds:
    """Seeds that follow from one, no two of them equal.

    Args:
        seed: An integer, or None for one that `keras.utils.set_random_seed` decides.
    """

    def __init__(self, seed: int | None) -> None:
        is_integer = isinstance(seed, int) and not isinstance(seed, bool)
        if not (seed is None or is_integer):
            raise ValueError(
                f"`seed` must be an integer or None. Received: seed={seed!r}"
            )
        self._random = random.Random(random.getrandbits(64) if seed is None else seed)
        self._given: set[int] = set()

    def next(self) -> int:
        """One that has not been given yet."""
        while (number := self._random.randrange(LARGEST_SEED)) in self._given:
            pass
        self._given.add(number)
        return number


@dataclasses.dataclass(frozen=True)
class Task:
    """What `initialize` was asked to do, apart from the scheme.

    Args:
        model: The model.
        data: Inputs, or inputs and labels, as the scheme needs them; None for none.
        loss: A loss, for schemes that need one.
        seeds: Where all random numbers come from.
        others: `"reset"` for variables that are no kernels to get the values that their
            layers give them, `"keep"` for leaving them alone.
        dry_run: Whether to leave the model as it is.
    """

    model: Any
    data: Any
    loss: Any
    seeds: Seeds
    others: str
    dry_run: bool


class AbstractScheme(abc.ABC):
    """A way to initialise a model that is built.

    Example:
        >>> isinstance(keras_convinit.schemes.Auto(), AbstractScheme)
        True
    """

    @abc.abstractmethod
    def apply(self, task: Task) -> InitializationReport:
        """Sets the variables of the model, and says what it set."""
