"""Adam for two aims that take turns."""

import numpy as np


class TwofoldAdam:
    """Adam for two aims by turns: a first moment for each, one second moment for both.

    Args:
        size: How many numbers there are.
        learning_rate: The learning rate.
        clip: The largest magnitude of a derivative.
        lowest: The least value of each number.
    """

    def __init__(
        self, size: int, learning_rate: float, clip: float, lowest: np.ndarray
    ) -> None:
        self._learning_rate = learning_rate
        self._clip = clip
        self._lowest = lowest
        self._first = {"norm": np.zeros(size), "loss": np.zeros(size)}
        self._steps = {"norm": 0, "loss": 0}
        self._second = np.zeros(size)

    def step(self, at: np.ndarray, slopes: np.ndarray, aim: str) -> np.ndarray:
        """The numbers after one step.

        Args:
            at: The numbers.
            slopes: The derivatives of the aim.
            aim: `"norm"` or `"loss"`.
        """
        slopes = np.clip(slopes, -self._clip, self._clip)
        self._steps[aim] += 1
        self._first[aim] = 0.9 * self._first[aim] + 0.1 * slopes
        self._second = 0.999 * self._second + 0.001 * slopes**2
        mean = self._first[aim] / (1 - 0.9 ** self._steps[aim])
        square = self._second / (1 - 0.999 ** sum(self._steps.values()))
        moved = at - self._learning_rate * mean / (np.sqrt(square) + 1e-8)
        return np.maximum(moved, self._lowest)
