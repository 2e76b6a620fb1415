"""Kernels of layers, with the geometry that their shapes alone do not tell.

The fans that Keras computes are wrong for grouped, strided, depthwise and transposed
convolutions. Register third-party layers with `kernels_of.register`.
"""

# Imported for its registrations.
from keras_convinit.kernels import _keras_layers  # noqa: F401
from keras_convinit.kernels._kernel import (
    Kernel,
    effective_kernel,
    gain_shape,
    kernels_of,
    output_norms,
    prefix_names,
)

__all__ = [
    "Kernel",
    "effective_kernel",
    "gain_shape",
    "kernels_of",
    "output_norms",
    "prefix_names",
]
