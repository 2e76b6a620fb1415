"""All that a training needs to go on, in one file."""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_whole
from keras_convinit.lab.plain_data import from_plain
from keras_convinit.lab.training import generators
from keras_convinit.lab.training.record import Record

# Changed when a file of an earlier version could be misunderstood.
FORMAT = 1
GENERATOR = "generator "


def save(
    path: Path,
    model: keras.Model,
    record: Record,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes weights, the state of the optimizer and of random generators, and record.

    Args:
        path: The file.
        model: A compiled model whose optimizer is built.
        record: What the training brought until now.
        settings: What it depends on, to tell it from others.

    Raises:
        LabError: It cannot be written. An earlier checkpoint is still there.
    """
    arrays = {
        str(number): keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(_variables(model))
    }
    arrays |= {GENERATOR + name: one for name, one in generators.state().items()}
    told = {"format": FORMAT, "record": dataclasses.asdict(record)}
    if settings is not None:
        told["settings"] = settings
    about = json.dumps(told)

    def write(file: BinaryIO) -> None:
        np.savez(file, about=np.array(about), **arrays)

    write_whole(path, write)


def load(path: Path, model: keras.Model) -> tuple[Record, dict[str, np.ndarray]]:
    """Puts the state of a training back.

    Args:
        path: The file.
        model: A model like the one that was saved, compiled, its optimizer built.

    Returns:
        The record, and what `generators.restore` needs when the training begins: `fit`
        draws random numbers before its first step.

    Raises:
        LabError: The file is damaged, or is that of another model.
    """
    with _opened(path) as (file, about):
        variables = _variables(model)
        # Read and checked as a whole before anything is assigned.
        values = [file[str(number)] for number in range(len(variables))]
        if str(len(variables)) in file.files:
            raise ValueError("it has the variables of another model")
        states = {
            name.removeprefix(GENERATOR): file[name]
            for name in file.files
            if name.startswith(GENERATOR)
        }
        record = from_plain(Record, about["record"])
        for variable, value in zip(variables, values, strict=True):
            if tuple(variable.shape) != value.shape:
                raise ValueError(
                    f"{variable.path} has shape {tuple(variable.shape)}, and "
                    f"{value.shape} in the file"
                )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return record, states


def settings_of(path: Path) -> Any:
    """What a training depends on whose checkpoint it is.

    Args:
        path: The file.

    Returns:
        What was given to `save`; None for a file of an earlier version.

    Raises:
        LabError: The file is damaged.
    """
    with _opened(path) as (_, about):
        return about.get("settings")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Gives the arrays, and what is told of them; whatever fails within is damage."""
    try:
        # numpy would propose to load it as a pickle.
        if not (path.is_file() and zipfile.is_zipfile(path)):
            raise ValueError("it is no zip archive")
        # numpy leaves a file open that it cannot read.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != FORMAT:
                raise ValueError("another version of the program wrote it")
            yield file, about
    # What reads zip archives, headers of arrays and JSON raises a dozen kinds.
    except Exception as error:
        raise LabError(
            f"{path} is not a checkpoint of this training, or is damaged "
            f"({type(error).__name__}: {error}). Delete it to train from the "
            "beginning, or choose another --output."
        ) from error


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
