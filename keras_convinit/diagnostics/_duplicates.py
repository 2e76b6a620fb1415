"""Kernels with equal content, which learn the same."""

import collections
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from keras_convinit.diagnostics import _weights
from keras_convinit.diagnostics._measurement import Measurement


def duplicates_of(measurement: Measurement) -> tuple[tuple[str, ...], ...]:
    """Groups of kernels of the same shape and content, in order, by their paths.

    Constant ones, such as zeros, are no group: they may be meant so.
    """
    candidates = collections.defaultdict(list)
    for path, shape, norm, read in _kernels(measurement):
        if 0 < norm < math.inf:
            # What is not equal to five digits need not be compared.
            candidates[shape, f"{norm:.4e}"].append((path, read))
    groups: dict[Any, list[str]] = collections.defaultdict(list)
    for (shape, _), members in candidates.items():
        if len(members) > 1:
            for path, read in members:
                values = np.ascontiguousarray(read())
                if np.ptp(values) > 0:
                    groups[shape, values.tobytes()].append(path)
    return tuple(tuple(paths) for paths in groups.values() if len(paths) > 1)


def _kernels(measurement: Measurement) -> Iterator[tuple[str, Any, float, Any]]:
    seen = set()
    for step, weights in zip(measurement.steps, measurement.weights, strict=True):
        norms = weights[[_weights.FIRST, _weights.SECOND]]
        for kernel, norm in zip(_weights.kernels(step.layer), norms, strict=False):
            variable, number = kernel.variable, None
            if step.block is not None:
                variable, number = _of_stack(variable, *step.block)
            # A layer that is applied twice is no pair.
            if (id(variable), number) in seen:
                continue
            seen.add((id(variable), number))
            yield (
                f"{step.path}.{kernel.name}",
                tuple(kernel.variable.shape),
                float(norm),
                lambda v=variable, n=number: ops.convert_to_numpy(
                    v if n is None else v[n]
                ),
            )


def _of_stack(variable: Any, stack: Any, number: int) -> tuple[Any, int | None]:
    for own, stacked in zip(stack._branch.weights, stack._stacked, strict=True):
        if own is variable:
            return stacked, number
    return variable, None
