"""Numbers of tensors, and random ones."""

import numpy as np
from keras import ops


def array(tensor):
    """Returns the values of a tensor or variable as an array that may be changed."""
    return np.array(ops.convert_to_numpy(tensor))


def gaussian(rng, *shape):
    """Returns standard normal numbers in float32."""
    return rng.standard_normal(shape).astype("float32")
