"""What a training ends with, as plain data that goes into a file and back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import read_text, write_text
from keras_convinit.lab.plain_data import Count, Share, from_plain
from keras_convinit.lab.sealed import sealed, unsealed
from keras_convinit.lab.training.record import Record

RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished training.

    Args:
        recipe: Name of the recipe.
        overrides: What was not as in the recipe: name -> value.
        settings: All settings, the recipe's too, and versions.
        budget: Epochs, steps of an epoch, images of a step, images to train on, to
            validate and to test with, trainable parameters, and devices.
        machine: Where it was trained, at its end.
        record: The epochs.
        watched: Which images the epochs were validated on: `"validation"`, or `"test"`
            where the recipe holds none out; nothing was chosen by them.
        test_accuracy: Share of the test images that the network classifies rightly
            after the last epoch; 0 for a diverged run, as Arpit et al. count it.
        test_loss: Its cross-entropy there; None for a diverged run.
    """

    recipe: str
    overrides: Mapping[str, Any]
    settings: Mapping[str, Any]
    budget: Mapping[str, Count]
    machine: str
    record: Record
    watched: str
    test_accuracy: Share
    test_loss: float | None

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite."""
        return self.test_loss is None

    def save(self, folder: Path) -> None:
        """Writes `result.json`; at no moment is there half of one."""
        values = {
            **dataclasses.asdict(self),
            "diverged": self.diverged,
            "seconds": self.record.seconds,
        }
        write_text(folder / RESULT, sealed(values, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Result":
        """Reads what `save` wrote.

        Raises:
            LabError: The file is damaged, or was changed by hand.
        """
        path = folder / RESULT
        try:
            values = unsealed(read_text(path))
            for told in ("diverged", "seconds"):
                values.pop(told, None)
            return from_plain(cls, values)
        except (OSError, ValueError) as error:
            raise LabError(
                f"{path} is damaged ({type(error).__name__}: {error}). Delete it: the "
                "checkpoint beside it is evaluated once more."
            ) from error
