"""What a training is asked to do, and whether a folder was asked the same."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_convinit.lab.checks import one_of, whole
from keras_convinit.lab.data import DATASETS
from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import read_text, write_text
from keras_convinit.lab.recipes import Initialization, Recipe
from keras_convinit.lab.scheme_source import scheme_call
from keras_convinit.lab.sealed import unsealed
from keras_convinit.lab.training import checkpoint
from keras_convinit.lab.training.distribution import STRATEGIES
from keras_convinit.lab.training.keeping import CHECKPOINT
from keras_convinit.lab.training.precision import PRECISIONS
from keras_convinit.lab.training.result import RESULT, Result
from keras_convinit.schemes import resolve_scheme

SETTINGS = "settings.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """A recipe, and how it is carried out.

    Args:
        recipe: The recipe, with whatever overrides are in it.
        overrides: What in it is not the paper's: name -> value.
        seed: All randomness of the run comes from it.
        subset: How many training images, and how many held-out ones, at most; None for
            all.
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        xla: Whether to compile by XLA; None for Keras' choice.
        distribute: `"mirrored"`, `"data_parallel"`, or None.

    Raises:
        ValueError: An argument is not what is said here.
    """

    recipe: Recipe
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    subset: int | None = None
    precision: str = "float32"
    xla: bool | None = None
    distribute: str | None = None

    def __post_init__(self) -> None:
        whole("seed", self.seed, 0)
        one_of("dataset", self.recipe.dataset, DATASETS)
        if self.subset is not None:
            whole("subset", self.subset, 1)
        one_of("precision", self.precision, PRECISIONS)
        one_of("distribute", self.distribute, (None, *STRATEGIES))

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        dataset: str | None = None,
        scheme: Any = None,
        **others: Any,
    ) -> "Settings":
        """Settings with something in the recipe that is not the paper's.

        Args:
            recipe: The recipe.
            epochs: In place of its epochs. What happens at a share of the run still
                does.
            batch_size: In place of its batch size.
            learning_rate: In place of its learning rate.
            dataset: In place of its data set.
            scheme: In place of its initialization: a scheme, or a Keras initializer, by
                name, perhaps with arguments, such as `"zhang_backward:gamma=0.4"`.
            **others: Those of `Settings`.

        Returns:
            The settings.

        Raises:
            ValueError: An argument is not what is said here.
        """
        if epochs is not None:
            whole("epochs", epochs, 1)
        given = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "dataset": dataset,
            "scheme": scheme,
        }
        given = {name: value for name, value in given.items() if value is not None}
        changes: dict[str, Any] = {
            name: given[name]
            for name in ("epochs", "batch_size", "dataset")
            if name in given
        }
        if learning_rate is not None:
            changes["optimizer"] = dataclasses.replace(
                recipe.optimizer, learning_rate=learning_rate
            )
        if scheme is not None:
            changes["initialization"] = _initialization(scheme)
        return cls(dataclasses.replace(recipe, **changes), overrides=given, **others)

    def as_data(self, versions: Mapping[str, str]) -> dict[str, Any]:
        """The settings as they come back from a file.

        Without the overrides, which are in the recipe.
        """
        values = {**dataclasses.asdict(self), "version of": dict(versions)}
        del values["overrides"]
        return json.loads(json.dumps(values))


def _initialization(scheme: Any) -> Initialization:
    if isinstance(scheme, str):
        scheme, arguments = scheme_call(scheme)
    else:
        arguments = {}
    # To be told of what is refused before anything is loaded.
    resolve_scheme(scheme, **arguments)
    return Initialization(scheme, arguments)


def claim(folder: Path, settings: dict[str, Any], writes: bool) -> None:
    """Writes settings into a folder, or checks that what is there has the same.

    A checkpoint and a result hold those of their training. The file of settings is for
    people, and for checkpoints of earlier versions, which do not.

    Args:
        folder: The folder.
        settings: `Settings.as_data`.
        writes: Whether this process may write.

    Raises:
        LabError: The folder belongs to a training with other settings, which the
            message names, or nobody knows to which.
    """
    path = folder / SETTINGS
    found: dict[str, Any] = {}
    if (folder / RESULT).exists():
        found[RESULT] = Result.load(folder).settings
    if (folder / CHECKPOINT).exists():
        found[CHECKPOINT] = checkpoint.settings_of(folder / CHECKPOINT)
    known = [earlier for earlier in found.values() if earlier is not None]
    if found and path.exists():
        known.append(_settings_in(path))
    if found and not known:
        raise LabError(
            f"{path} is gone, and {', '.join(found)} beside it does not say to which "
            "training it belongs. Choose another --output."
        )
    for earlier in known:
        changes = changed(earlier, settings)
        if changes:
            raise LabError(
                f"{folder} belongs to a training with other settings: "
                f"{'; '.join(changes)}. Repeat the options that it was started with, "
                "or choose another --output."
            )
    if writes and not (found and path.exists()):
        write_text(path, json.dumps(settings, indent=1) + "\n")


def _settings_in(path: Path) -> dict[str, Any]:
    try:
        return unsealed(read_text(path))
    except (OSError, ValueError) as error:
        raise LabError(
            f"{path} cannot be read ({error}). Choose another --output."
        ) from error
