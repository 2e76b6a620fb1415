"""All that a training needs to go on, in one file."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_whole
from keras_convinit.lab.training import generators
from keras_convinit.lab.training.record import Record

# Changed when a file of an earlier version could be misunderstood.
FORMAT = 1
# What numpy and zipfile raise for damage; RuntimeError where a flag looks like
# encryption, or like a compression that is not known.
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
)
GENERATOR = "generator "


def save(path: Path, model: keras.Model, record: Record) -> None:
    """Writes weights, the state of the optimizer and of random generators, and record.

    Args:
        path: The file.
        model: A compiled model whose optimizer is built.
        record: What the training brought until now.

    Raises:
        LabError: It cannot be written. An earlier checkpoint is still there.
    """
    arrays = {
        str(number): keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(_variables(model))
    }
    arrays |= {GENERATOR + name: one for name, one in generators.state().items()}
    about = json.dumps({"format": FORMAT, "record": dataclasses.asdict(record)})

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
    try:
        # numpy would propose to load it as a pickle.
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        # numpy leaves a file open that it cannot read.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != FORMAT:
                raise ValueError("another version of the program wrote it")
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
            record = Record.from_dict(about["record"])
        for variable, value in zip(variables, values, strict=True):
            if tuple(variable.shape) != value.shape:
                raise ValueError(
                    f"{variable.path} has shape {tuple(variable.shape)}, and "
                    f"{value.shape} in the file"
                )
    except UNREADABLE as error:
        raise LabError(
            f"{path} is not a checkpoint of this training, or is damaged "
            f"({type(error).__name__}: {error}). Delete it to train from the "
            "beginning, or choose another --output."
        ) from error
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return record, states


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
