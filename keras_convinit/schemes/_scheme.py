"""What every scheme of initialisation is: something that sets a model's variables."""

import abc
import contextlib
import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_convinit.graph import Graph, read
from keras_convinit.schemes._pending import Pending
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
        self._start = random.getrandbits(64) if seed is None else seed
        self._random = random.Random(self._start)
        self._given: set[int] = set()

    def next(self) -> int:
        """One that has not been given yet."""
        while (number := self._random.randrange(LARGEST_SEED)) in self._given:
            pass
        self._given.add(number)
        return number

    @contextlib.contextmanager
    def decide_defaults(self) -> Iterator[None]:
        """While it lasts, what is random without a seed follows from this one.

        Where none is given, Keras takes one from Python's generator, and initializers
        of others may draw from numpy's. Both go on as if nothing had been drawn.
        """
        before = random.getstate(), np.random.get_state()
        random.seed(f"{self._start} defaults")
        np.random.seed(random.randrange(2**32))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@dataclasses.dataclass
class Task:
    """What `initialize` was asked to do, apart from the scheme.

    Args:
        model: The model.
        data: Inputs, or inputs and labels, as the scheme needs them; None for none.
        loss: A loss, for schemes that need one.
        seeds: Where all random numbers come from.
        others: `"reset"` for variables that are no kernels to get the values that their
            layers give them, `"keep"` for leaving them alone.
        pending: Where the values go.
    """

    model: Any
    data: Any
    loss: Any
    seeds: Seeds
    others: str
    pending: Pending
    _graph: Graph | None = dataclasses.field(default=None, init=False, repr=False)

    def read(self, inputs: Any) -> Graph:
        """Reads the model, once for all schemes.

        Args:
            inputs: What it takes, for a model that cannot be read without.

        Returns:
            What stands around each kernel, and the program of the model.
        """
        if self._graph is None:
            self._graph = read(self.model, inputs)
        return self._graph


class AbstractScheme(abc.ABC):
    """A way to initialise a model that is built.

    Example:
        >>> from keras_convinit.schemes import AbstractScheme
        >>> isinstance(keras_convinit.schemes.Auto(), AbstractScheme)
        True
    """

    @abc.abstractmethod
    def apply(self, task: Task) -> InitializationReport:
        """Puts values into `task.pending`, and says which; the model stays as it is.

        Schemes may be one of several: what the model has is what is read there. All
        is assigned when the last of them is done.
        """
