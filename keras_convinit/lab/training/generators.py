"""Random state that lies in no variable of a model."""

from typing import Any

import keras
import numpy as np


def state() -> dict[str, np.ndarray]:
    """The state of the generators that Keras leaves to the backend.

    PyTorch's dropout draws from its own; on TensorFlow and JAX all is in variables.

    Returns:
        By the names of devices.
    """
    if keras.backend.backend() != "torch":
        return {}
    import torch

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states = {"cpu": torch.get_rng_state()}
    states.update({f"cuda_{number}": one for number, one in enumerate(cuda)})
    return {name: one.numpy() for name, one in states.items()}


def restore(states: dict[str, Any]) -> None:
    """Puts back what `state` gave; of devices that are not here, nothing."""
    if keras.backend.backend() != "torch":
        return
    import torch

    torch.set_rng_state(torch.from_numpy(states["cpu"]))
    for number in range(torch.cuda.device_count()):
        if f"cuda_{number}" in states:
            found = torch.from_numpy(states[f"cuda_{number}"])
            torch.cuda.set_rng_state(found, number)
