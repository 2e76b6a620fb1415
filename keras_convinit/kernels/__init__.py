"""The kernels of a layer and their true geometry, which the shapes alone do not tell.

Keras' own fans are wrong for grouped, strided, depthwise and transposed convolutions.
A layer of somebody else's joins with `kernels_of.register`.
"""

# They make layers known.
from keras_convinit.kernels import _composite, _linear, _recurrent  # noqa: F401
from keras_convinit.kernels._kernel import Kernel, kernels_of, prefixed

__all__ = ["Kernel", "kernels_of", "prefixed"]
