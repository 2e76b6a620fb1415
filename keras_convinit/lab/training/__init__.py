"""Trainings that can be killed at any moment, and leave a record.

`train` carries out a recipe; `fit_recorded` trains any model on any data. Both give
plain data: a `Result`, a `Record`.
"""

from keras_convinit.lab.training.fit import fit_recorded
from keras_convinit.lab.training.record import Epoch, Record
from keras_convinit.lab.training.result import Result
from keras_convinit.lab.training.schedules import WarmUpSchedule
from keras_convinit.lab.training.train import train

__all__ = ["Epoch", "Record", "Result", "WarmUpSchedule", "fit_recorded", "train"]
