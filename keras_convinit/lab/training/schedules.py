"""Learning rates that change with every step."""

from typing import Any

import keras
from keras import ops

from keras_convinit._checks import check_positive
from keras_convinit._registry import register
from keras_convinit.lab.recipes import Schedule

POWERS = {"linear": 1, "quadratic": 2}


@register()
class WarmUpSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to another schedule, and follows it from then on.

    With r the other schedule's rate, step s = 0, 1, ... has the learning rate
    start + (r - start) * a^power, where a = min(1, (s + 1) / steps): so the step that
    ends the warm-up is the first one at r, and there is none above it. Keras' own
    warm-up, that of `CosineDecay`, is linear, and puts off the cosine until its end.

    Args:
        after: A learning rate, or a schedule, that counts from the first step of the
            warm-up on.
        steps: Length of the warm-up; it may be a fraction.
        power: 1 for a linear warm-up, 2 for a quadratic one.
        start: The learning rate that it starts above.

    Raises:
        ValueError: `steps` or `power` is not a positive number.

    Example:
        >>> from keras_convinit.lab.training.schedules import WarmUpSchedule
        >>> schedule = WarmUpSchedule(0.1, steps=4, power=2)
        >>> [round(float(schedule(step)), 5) for step in range(5)]
        [0.00625, 0.025, 0.05625, 0.1, 0.1]

    Reference:
        Goyal et al. 2017, *Accurate, Large Minibatch SGD*, section 2.2, for the linear
        one; the code of Arpit, Campos, Bengio 2019 for the quadratic one, which goes on
        to rise above r where an epoch does not end with it.
    """

    def __init__(
        self, after: Any, steps: float, power: float = 1, start: float = 0.0
    ) -> None:
        super().__init__()
        self.after = after
        self.steps = check_positive("steps", steps)
        self.power = check_positive("power", power)
        self.start = start

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        after = self.after(step) if callable(self.after) else self.after
        after = ops.cast(after, "float32")
        share = (ops.cast(step, "float32") + 1) / self.steps
        risen = ops.minimum(share, 1.0) ** self.power
        return self.start + (after - self.start) * risen

    def get_config(self) -> dict[str, Any]:
        """The arguments with which to make this object again."""
        after = self.after
        if callable(after):
            after = keras.saving.serialize_keras_object(after)
        return {
            "after": after,
            "steps": self.steps,
            "power": self.power,
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUpSchedule":
        """The schedule that `get_config` described."""
        after = config["after"]
        if isinstance(after, dict):
            after = keras.saving.deserialize_keras_object(after)
        return cls(**{**config, "after": after})


def learning_rate(
    schedule: Schedule, peak: float, epochs: int, steps_per_epoch: int
) -> Any:
    """A schedule as Keras' optimizers take it.

    Args:
        schedule: The schedule as data.
        peak: The learning rate that it goes down from.
        epochs: Length of the run.
        steps_per_epoch: Steps of an epoch.

    Returns:
        A number, or a schedule by steps.
    """
    steps = max(1, epochs * steps_per_epoch)
    schedules = keras.optimizers.schedules
    found: Any = peak
    if schedule.kind == "cosine":
        found = schedules.CosineDecay(peak, steps)
    elif schedule.kind == "steps":
        values = [peak]
        for _, factor in schedule.drops:
            values.append(values[-1] * factor)
        # Keras' boundary is the last step before the drop.
        boundaries = [round(share * steps) - 1 for share, _ in schedule.drops]
        found = schedules.PiecewiseConstantDecay(boundaries, values)
    warm_up = schedule.warm_up
    if warm_up is None:
        return found
    return WarmUpSchedule(
        found,
        warm_up.epochs * steps_per_epoch,
        POWERS[warm_up.shape],
        start=warm_up.start * peak,
    )
