"""A signal report of a model from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from keras_convinit import SignalReport, signal_report
from keras_convinit.lab import data
from keras_convinit.lab.compatibility import check_images, inputs_of
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.model_source import model_from


def report(
    source: str,
    console: Console,
    *,
    dataset: str | None = None,
    batch: int = 64,
    imports: Sequence[str] = (),
    output: Path | None = None,
) -> SignalReport:
    """Prints the table of a model and writes its figure.

    Args:
        source: The model, see `model_from`.
        console: Where to print.
        dataset: Name of a data set, whose first images are standardised and sent
            through the model; their labels count where it is compiled with a loss.
            None for normal noise.
        batch: How many samples.
        imports: Modules to import before.
        output: The file of the figure; by default one in the current folder that is
            named after the model.

    Returns:
        The report.

    Raises:
        LabError: The model or the data cannot be had or do not fit.
    """
    model = model_from(source, imports)
    x: Any
    x, y = (
        (_noise(model, batch), None)
        if dataset is None
        else _images(model, dataset, batch)
    )
    try:
        found = signal_report(model, x, y)
    except ValueError as error:
        raise LabError(f"No report of {source}: {error}") from error
    path = output or Path(f"{_stem(source)}-signal.png")
    try:
        found.plot(path)
    except OSError as error:
        raise LabError(
            f"The figure cannot be written. Received: output={str(path)!r} ({error})"
        ) from error
    console.print(str(found), markup=False, highlight=False, soft_wrap=True)
    console.print(f"Figure: {path}", markup=False, highlight=False, soft_wrap=True)
    return found


def _stem(source: str) -> str:
    path = Path(source)
    return path.stem if path.suffix == ".keras" else source.partition(":")[2]


def _images(
    model: keras.Model, dataset: str, batch: int
) -> tuple[np.ndarray, np.ndarray | None]:
    images = data.load(dataset, batch)
    x = images.standardized(images.train_images)
    check_images(model, images)
    return x, images.train_labels if model.compiled else None


def _noise(model: keras.Model, batch: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    found = []
    for tensor in inputs_of(model):
        if not keras.backend.is_float_dtype(tensor.dtype):
            raise LabError(
                "A model whose inputs are no real numbers needs data that only it "
                "knows; `keras_convinit.signal_report` takes them. "
                f"Received: the input {tensor.name!r} of dtype {tensor.dtype}"
            )
        # What may have any size has that of an image of CIFAR.
        shape = [32 if size is None else size for size in tensor.shape[1:]]
        found.append(generator.standard_normal((batch, *shape)).astype("float32"))
    return found
