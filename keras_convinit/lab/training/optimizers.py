"""The optimizer of a recipe as Keras has it."""

from keras_convinit.lab.recipes import Optimizer, Schedule
from keras_convinit.lab.training.schedules import learning_rate
from keras_convinit.optimizers import CoupledSGD


def made(
    optimizer: Optimizer, schedule: Schedule, epochs: int, steps_per_epoch: int
) -> CoupledSGD:
    """The optimizer that data describe, for a run of a certain length.

    Args:
        optimizer: The optimizer as data.
        schedule: Its learning rate's way through the run.
        epochs: Length of the run.
        steps_per_epoch: Steps of an epoch.

    Returns:
        An optimizer for one model.
    """
    return CoupledSGD(
        learning_rate(schedule, optimizer.learning_rate, epochs, steps_per_epoch),
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov,
        weight_decay=optimizer.weight_decay or None,
        undecayed=optimizer.undecayed,
        global_clipnorm=optimizer.clip_norm,
    )
