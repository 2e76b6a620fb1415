"""What a scheme is: a way to set the variables of a built model.

A scheme is given an `InitRequest`, and puts values into its overlay. Three bases do
the rest for schemes of one's own:

- `PerKernelScheme`: a rule for each kernel, without data;
- `LayerwiseScheme`: a visit of each layer with the data that reach it;
- `ScaleSearchScheme`: a search for a scale of each variable.

`register_scheme` gives a class a name that `keras_convinit.initialize` takes.
"""

import abc
import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_convinit import _data
from keras_convinit._precision import promote_to_float32
from keras_convinit._types import KerasModel, Nest, Tensor, Variable
from keras_convinit.analysis import ModelAnalysis, analyze
from keras_convinit.schemes.report import InitializationReport

LARGEST_SEED = 2**31 - 1


class Seeds:
    """Draws seeds that follow from one seed, no two of them equal.

    Args:
        seed: An integer, or None for one that `keras.utils.set_random_seed` decides.

    Raises:
        ValueError: `seed` is neither an integer nor None.

    Example:
        >>> from keras_convinit.schemes import Seeds
        >>> Seeds(0).next() == Seeds(0).next()
        True
    """

    def __init__(self, seed: int | None) -> None:
        is_integer = isinstance(seed, int) and not isinstance(seed, bool)
        if not (seed is None or is_integer):
            raise ValueError(
                f"`seed` must be an integer or None. Received: seed={seed!r}"
            )
        self._start = random.getrandbits(64) if seed is None else seed
        self._random = random.Random(self._start)
        own = random.Random(f"{self._start} generators")
        self.generator_seed = own.randrange(LARGEST_SEED)
        self._given: set[int] = set()

    def next(self) -> int:
        """Returns a seed that has not been given yet, from 0 to 2^31 - 2."""
        while (number := self._random.randrange(LARGEST_SEED)) in self._given:
            pass
        self._given.add(number)
        return number

    @contextlib.contextmanager
    def decide_defaults(self) -> Iterator[None]:
        """Makes Python's and numpy's generators follow from the seed for a while.

        Where no seed is given, Keras takes one from Python's generator, and
        initializers of others may draw from numpy's. Both are restored afterwards.
        """
        before = random.getstate(), np.random.get_state()
        # Keras makes its own generator at the first use; not by this seed.
        with keras.StatelessScope():
            keras.random.uniform(())
        random.seed(f"{self._start} defaults")
        np.random.seed(random.randrange(2**32))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


class SeededScope(keras.StatelessScope):
    """A scope in which every generator of Keras that has no value begins at one seed.

    The generator that Keras draws from without a seed cannot be reached in public. In
    a scope its state has a value of the scope's, and afterwards the one it had.

    Args:
        seed: An integer.
        values: Pairs of a variable and its value in the scope.
    """

    def __init__(self, seed: int, values: Sequence[tuple[Variable, Any]] = ()) -> None:
        super().__init__(values, initialize_variables=False)
        self._seed = seed

    def get_current_value(self, variable: Variable) -> Any:
        """Returns the value in the scope; None for the variable's own."""
        value = super().get_current_value(variable)
        if value is None and variable.name == "seed_generator_state":
            return ops.convert_to_tensor([self._seed, 0], dtype=variable.dtype)
        return value


class ValueOverlay:
    """Holds new values of variables until all of them can be assigned.

    Schemes put values here, and read here what schemes before them have put. The model
    keeps its own until `commit`.

    Args:
        model: The model.
        seed: Where Keras' own generator begins while the model computes with the new
            values, an integer.

    Example:
        >>> from keras_convinit.schemes import ValueOverlay
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> overlay = ValueOverlay(model)
        >>> overlay.put(model.weights[0], np.ones((2, 1)))
        >>> overlay.commit()
        >>> float(keras.ops.convert_to_numpy(model.weights[0]).sum())
        2.0
    """

    def __init__(self, model: KerasModel, seed: int = 0) -> None:
        self._model = model
        self._seed = seed
        self._values: dict[int, tuple[Any, Any]] = {}
        self._scope: keras.StatelessScope | None = None

    def __len__(self) -> int:
        return len(self._values)

    def variables(self) -> list[Any]:
        """Returns the variables with a new value, in the order in which they got it."""
        return [variable for variable, _ in self._values.values()]

    @contextlib.contextmanager
    def in_scope(self) -> Iterator[None]:
        """Lets the model compute with the new values, in a scope without state.

        What layers update meanwhile, such as moving averages, is dropped.
        """
        # Detached: PyTorch would keep every activation for the gradient of a weight.
        values = [(v, ops.stop_gradient(self._known(v))) for v in self._model.variables]
        self._scope = SeededScope(self._seed, values)
        try:
            with self._scope:
                yield
        finally:
            self._scope = None

    def current(self, variable: Variable) -> Any:
        """Returns the value of a variable: the one put or lent, or else its own."""
        lent = None if self._scope is None else self._scope.get_current_value(variable)
        return self._known(variable) if lent is None else lent

    def as_float(self, variable: Variable) -> Any:
        """Returns the value in float32, or in the wider dtype of the variable."""
        return ops.cast(self.current(variable), promote_to_float32(variable.dtype))

    def put(self, variable: Variable, value: Tensor) -> None:
        """Sets the new value of a variable of the model.

        Args:
            variable: The variable.
            value: A tensor or array of its shape; cast to its dtype.

        Raises:
            ValueError: `value` has another shape, or is not of real numbers.
        """
        check_value(variable.path, value, variable.shape)
        value = ops.stop_gradient(ops.cast(value, variable.dtype))
        self._values[id(variable)] = variable, value
        if self._scope is not None:
            self._scope.add_update((variable, value))

    def lend(self, variable: Variable, value: Tensor) -> None:
        """Sets a value for the scope only, as of the template of a stack.

        Args:
            variable: The variable.
            value: A tensor of its shape.
        """
        assert self._scope is not None
        self._scope.add_update((variable, value))

    @contextlib.contextmanager
    def assigned(self) -> Iterator[None]:
        """Assigns the new values for a while, and then the old ones again."""
        before = _values_of(self._model.variables)
        try:
            self._assign()
            yield
        finally:
            _restore(before)

    def check_finite(self) -> None:
        """Refuses new values of variables that are trained if they are not finite.

        Raises:
            ValueError: A value is NaN or infinite, in the dtype of its variable.
        """
        for variable, value in self._values.values():
            if not variable.trainable:
                continue
            array = ops.convert_to_numpy(value)
            wrong = array.size - np.count_nonzero(np.isfinite(array))
            if wrong:
                raise ValueError(
                    "A scheme must give finite values in the dtype of the variable. "
                    f"Received: {wrong} of {array.size} of {variable.path} are NaN or "
                    f"infinite in {variable.dtype}"
                )

    def commit(self) -> None:
        """Assigns the new values: all of them, or, after an error, none."""
        before = _values_of(variable for variable, _ in self._values.values())
        try:
            self._assign()
        except BaseException:
            _restore(before)
            raise

    def _known(self, variable: Variable) -> Any:
        known = self._values.get(id(variable))
        return variable.value if known is None else known[1]

    def _assign(self) -> None:
        for variable, value in self._values.values():
            variable.assign(value)


def check_value(name: str, value: Any, shape: Sequence[int]) -> None:
    """Refuses a value that does not fit in the place it is for.

    Args:
        name: What the value is of.
        value: A tensor or array.
        shape: The shape that it must have.

    Raises:
        ValueError: `value` has another shape, or is not of real numbers.
    """
    found = tuple(getattr(value, "shape", np.shape(value)))
    if found != tuple(shape):
        raise ValueError(
            f"The value of {name} must have the shape {tuple(shape)}. "
            f"Received: a value of shape {found}"
        )
    dtype = keras.backend.standardize_dtype(getattr(value, "dtype", type(value)))
    if "complex" in dtype:
        raise ValueError(
            f"The value of {name} must be of real numbers. Received: dtype={dtype}"
        )


def _values_of(variables: Iterable[Any]) -> list[tuple[Any, np.ndarray]]:
    return [(v, np.array(ops.convert_to_numpy(v))) for v in variables]


def _restore(before: list[tuple[Any, np.ndarray]]) -> None:
    for variable, value in before:
        variable.assign(value)


@dataclasses.dataclass
class InitRequest:
    """What `initialize` was asked to do, apart from the scheme.

    Args:
        model: The model.
        data: Inputs, or inputs and labels, as the scheme needs them; None for none.
        loss: A loss, for schemes that need one.
        seeds: The source of all random numbers.
        others: `"reset"` if variables that are no kernels get the values that their
            layers start from, `"keep"` if they are left alone.
        overlay: Takes the new values.

    Example:
        >>> from keras_convinit.schemes import InitRequest, Seeds, ValueOverlay
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> overlay = ValueOverlay(model)
        >>> request = InitRequest(model, None, None, Seeds(0), "reset", overlay)
        >>> [context.path for context in request.analyze().kernels]
        ['dense']
    """

    model: Any
    data: Any
    loss: Any
    seeds: Seeds
    others: str
    overlay: ValueOverlay
    _analysis: ModelAnalysis | None = dataclasses.field(
        default=None, init=False, repr=False
    )

    def analyze(self, inputs: Nest = None) -> ModelAnalysis:
        """Reads the model, once for all schemes of the request.

        Args:
            inputs: A nest of arrays, for a model that cannot be read without. None for
                the first batch of `data`, if it is needed.

        Returns:
            The analysis, with at least one kernel.

        Raises:
            ValueError: The model has no kernels that are known, or cannot be read.
        """
        if self._analysis is None:
            if inputs is None:
                inputs = self._inputs()
            analysis = analyze(self.model, inputs)
            _check_kernels(analysis, self.model)
            self._analysis = analysis
        return self._analysis

    def _inputs(self) -> Any:
        if self.data is None or _data.get_input_names(self.model) is not None:
            return None
        return _data.take_first_batch(self.model, self.data, name="data").x


def _check_kernels(analysis: ModelAnalysis, model: KerasModel) -> None:
    if analysis.kernels:
        return
    unread = "; ".join(analysis.describe_unread())
    known = f" that could be read: {unread}" if unread else ""
    raise ValueError(
        "`model` must have kernels, such as those of Dense or Conv layers. "
        f"Received: the model {model.name!r}, which has none{known}"
    )


class Scheme(abc.ABC):
    """A way to initialize a built model.

    Example:
        >>> class Zeros(keras_convinit.schemes.Scheme):
        ...     def apply(self, request):
        ...         for context in request.analyze().kernels:
        ...             variable = context.kernel.variable
        ...             zeros = keras.ops.zeros(variable.shape)
        ...             request.overlay.put(variable, zeros)
        ...         return keras_convinit.InitializationReport("Zeros", (), (), ())
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> report = keras_convinit.initialize(model, Zeros())
        >>> bool(np.any(keras.ops.convert_to_numpy(model.weights[0])))
        False
    """

    @abc.abstractmethod
    def apply(self, request: InitRequest) -> InitializationReport:
        """Puts new values into `request.overlay`; the model stays as it is.

        A scheme may be one of several in a list: the values of the model are those of
        the overlay. They are assigned when the last scheme is done.

        Args:
            request: What was asked.

        Returns:
            A row for each variable that was set, and what was skipped and why.
        """


SCHEMES: dict[str, type[Scheme]] = {}

_Class = TypeVar("_Class", bound=type[Scheme])


def register_scheme(*names: str) -> Callable[[_Class], _Class]:
    """Gives a class of schemes a name that `keras_convinit.initialize` takes.

    Args:
        *names: The name, and others that mean the same.

    Returns:
        A decorator of the class.

    Raises:
        ValueError: Another class has the name.

    Example:
        >>> from keras_convinit.schemes import Arpit, register_scheme
        >>> @register_scheme("backward_gains")
        ... class BackwardGains(Arpit):
        ...     def __init__(self):
        ...         super().__init__(mode="backward")
        >>> layer = keras_convinit.layers.WeightNormDense(4)
        >>> model = keras.Sequential([keras.Input((8,)), layer])
        >>> keras_convinit.initialize(model, "backward_gains").scheme
        'BackwardGains'
    """

    def register(cls: _Class) -> _Class:
        for name in names:
            known = SCHEMES.get(name)
            # A cell of a notebook may run twice.
            same = known is not None and (known.__module__, known.__qualname__) == (
                cls.__module__,
                cls.__qualname__,
            )
            if known is not None and not same:
                raise ValueError(
                    "`names` must be new. "
                    f"Received: {name!r}, the name of {known.__qualname__}"
                )
            SCHEMES[name] = cls
        return cls

    return register
