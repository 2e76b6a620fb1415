"""Unit variance of every pre-activation, layer after layer."""

import warnings
from typing import Any

import keras

from keras_convinit._checks import positive, positive_integer
from keras_convinit.graph import Site
from keras_convinit.kernels import Kernel
from keras_convinit.schemes._forward import AbstractForward
from keras_convinit.schemes._named import named
from keras_convinit.schemes._visit import Visit, std_of

_STATES = (keras.layers.RNN, keras.layers.Bidirectional)


@named("lsuv")
class LSUV(AbstractForward):
    """Orthonormal kernels, each divided by what its outputs deviate by on real data.

    In one pass: what a layer gives is linear in its kernel, so that the outputs are
    scaled along with it and handed on. Of a weight-normalised layer the gain is
    scaled, of a separable convolution the pointwise kernel. A layer that is not known
    to be linear, such as attention, is run again after each try, and its last kernel is
    scaled. Of recurrent layers the kernels are orthonormal, and that is all.

    Batch normalisation works with the statistics of the batch, since its averages
    know nothing yet; dropout does nothing. A warning names the layers that could not
    be brought to unit variance.

    Args:
        tolerance: How far the variance may be from 1. A layer within it is not scaled.
            Public versions have 0.1; scaling once is exact for a linear layer.
        max_tries: How often a kernel is scaled at most.
        floor: A variance of the outputs below which the kernel is left as drawn:
            dividing by it would give weights of any size.
        initializer: Keras initializer of the kernels, drawn with the layer's true
            geometry; None for the kernels as they are.
        samples: How many samples to look at. None for the first batch of a data set,
            or the first 256 of arrays.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x = np.random.normal(size=(32, 8))
        >>> report = keras_convinit.initialize(model, "lsuv", data=x, seed=0)
        >>> round(float(np.std(model.predict(x, verbose=0))), 1)
        1.0

    Reference:
        Mishkin, Matas 2016, *All you need is a good init*, algorithm 1.
    """

    def __init__(
        self,
        tolerance: float = 0.02,
        max_tries: int = 10,
        floor: float = 1e-10,
        initializer: Any = "orthogonal",
        samples: int | None = None,
    ) -> None:
        self.tolerance = positive("tolerance", tolerance)
        self.max_tries = positive_integer("max_tries", max_tries)
        self.floor = positive("floor", floor)
        self.initializer = (
            None if initializer is None else keras.initializers.get(initializer)
        )
        self.samples = None if samples is None else positive_integer("samples", samples)

    def treats(self, layer: Any, sites: list[tuple[Kernel, Site]]) -> bool:
        """All kernels."""
        del layer, sites
        return True

    def visit(self, visit: Visit) -> Any:
        """Draws the kernels, and brings the outputs to unit variance."""
        if self.initializer is not None:
            for kernel, _ in visit.sites:
                visit.start(kernel, self.initializer)
        if isinstance(visit.layer, _STATES):
            visit.troubles.append((visit.path, "its outputs are states, not scaled"))
            for kernel, site in visit.sites:
                visit.report(kernel, site, self._label())
            return visit.run()
        with visit.bare() as activation:
            outputs = visit.run()
            before = after = std_of(outputs)
            tries = 0
            kernel, site = visit.sites[-1]
            while (
                self.floor < after**2 < float("inf")
                and abs(after**2 - 1) > self.tolerance
                and tries < self.max_tries
            ):
                visit.scale(kernel, 1 / after)
                if visit.linear:
                    outputs = _scaled(visit, outputs, 1 / after)
                else:
                    outputs = visit.run()
                after = std_of(outputs)
                tries += 1
        if not abs(after**2 - 1) <= self.tolerance:
            why = f"its outputs have the standard deviation {after:.3g}"
            visit.troubles.append((visit.path, why))
        rule = f"{self._label()}, unit variance"
        if site.absorbed != 1:
            # Its gain holds the factor of the branch, which no activation is behind.
            visit.scale(kernel, site.absorbed)
            outputs = _scaled(visit, outputs, site.absorbed)
            rule, after = f"{rule} * {site.absorbed:.4g}", after * site.absorbed
        for other, place in visit.sites[:-1]:
            visit.report(other, place, self._label())
        visit.report(
            kernel,
            site,
            rule,
            tries=tries,
            output_std_before=before,
            output_std_after=after,
        )
        return outputs if activation is None else visit.hand_on(outputs, activation)

    def conclude(self, troubles: list[tuple[str, str]]) -> None:
        """Warns of layers without unit variance."""
        if troubles:
            named = "; ".join(f"{path}: {why}" for path, why in troubles)
            warnings.warn(f"No unit variance of {named}", stacklevel=4)

    def _label(self) -> str:
        if self.initializer is None:
            return "as it was"
        if isinstance(self.initializer, keras.initializers.Orthogonal):
            return "orthonormal"
        return type(self.initializer).__name__


def _scaled(visit: Visit, outputs: Any, factor: float) -> Any:
    return visit.hand_on(outputs, lambda y: visit.scaled(y, factor))
