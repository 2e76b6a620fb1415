"""Kernels with equal content, which learn the same."""

import collections
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from keras_convinit.diagnostics._measurement import Measurement


def duplicates_of(measurement: Measurement) -> tuple[tuple[str, ...], ...]:
    """Groups of kernels of the same shape and content, in order, by their paths.

    Constant ones, such as zeros, are no group: they may be meant so.
    """
    found: dict[Any, list[tuple[float, str, Any]]] = collections.defaultdict(list)
    for path, shape, norm, read in _kernels(measurement):
        if 0 < norm < math.inf:
            found[shape].append((norm, path, read))
    groups: dict[Any, list[str]] = collections.defaultdict(list)
    for shape, members in found.items():
        norms = np.array([norm for norm, *_ in members])
        for norm, path, read in members:
            # What is not equal but for rounding need not be compared.
            if np.sum(np.abs(norms - norm) < 1e-6 * norm) > 1:
                values = np.ascontiguousarray(read())
                if np.ptp(values) > 0:
                    groups[shape, values.tobytes()].append(path)
    return tuple(tuple(paths) for paths in groups.values() if len(paths) > 1)


def _kernels(measurement: Measurement) -> Iterator[tuple[str, Any, float, Any]]:
    seen = set()
    for index, step in enumerate(measurement.steps):
        for place, kernel in enumerate(step.kernels):
            variable, number = kernel.variable, None
            if step.block is not None:
                variable, number = _of_stack(variable, *step.block)
            # A layer that is applied twice is no pair. Without the others that it is
            # computed with, a variable does not say what a kernel is.
            if (id(variable), number) in seen or kernel.computed:
                continue
            seen.add((id(variable), number))
            yield (
                f"{step.path}.{kernel.name}",
                tuple(kernel.variable.shape),
                measurement.numbers[index, f"weights {place}"],
                lambda v=variable, n=number: ops.convert_to_numpy(
                    v if n is None else v[n]
                ),
            )


def _of_stack(variable: Any, stack: Any, number: int) -> tuple[Any, int | None]:
    for pair in stack.stacked_variables:
        if pair.template is variable:
            return pair.variable, number
    return variable, None
