"""A signal report of a model from the command line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from rich.console import Console

from keras_convinit import SignalReport, signal_report
from keras_convinit.lab import data
from keras_convinit.lab.compatibility import check_images, inputs_of
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import written_beside
from keras_convinit.lab.model_source import model_from
from keras_convinit.lab.models import NETWORKS
from keras_convinit.lab.say import say


def report(
    source: str,
    console: Console,
    *,
    dataset: str | None = None,
    batch_size: int = 64,
    imports: Sequence[str] = (),
    output: Path | None = None,
) -> SignalReport:
    """Prints the table of a model, and then writes its figure.

    Args:
        source: The model, see `model_from`.
        console: Where to print.
        dataset: Name of a data set, whose first images are standardized and sent
            through the model; their labels count where it is compiled with a loss.
            None for normal noise.
        batch_size: How many samples.
        imports: Modules to import before.
        output: The file of the figure, a PNG where its name has no ending; by default
            one in the current folder that is named after the model.

    Returns:
        The report.

    Raises:
        LabError: The model or the data cannot be had or do not fit, or the figure
            cannot be written.
    """
    path = _figure_file(output or Path(f"{_stem(source)}-signal.png"))
    model = model_from(source, imports)
    x: Any
    x, y = (
        (_noise(model, batch_size), None)
        if dataset is None
        else _images(model, dataset, batch_size)
    )
    try:
        found = signal_report(model, x, y)
    except ValueError as error:
        raise LabError(f"No report of {source}: {error}") from error
    # Before the figure, which may not find room.
    say(console, *str(found).split("\n"))
    with written_beside(path) as unfinished:
        found.plot(unfinished)
    say(console, f"Figure: {path}")
    return found


def _figure_file(path: Path) -> Path:
    """The file of a figure, with an ending; told before anything is computed."""
    kinds = FigureCanvasBase.get_supported_filetypes()
    is_name = path.name not in ("", "..") and not path.is_dir()
    if is_name and not path.suffix:
        path = path.with_name(f"{path.name}.png")
    if not is_name or path.is_dir() or path.suffix[1:].lower() not in kinds:
        raise LabError(
            "`output` must be a file for a figure, with an ending of "
            f"{', '.join(sorted(kinds))}. Received: output={str(path)!r}"
        )
    if not path.parent.is_dir():
        raise LabError(
            "The figure cannot be written: its folder must be there. "
            f"Received: output={str(path)!r}"
        )
    return path


def _stem(source: str) -> str:
    path = Path(source)
    if path.suffix == ".keras":
        return path.stem
    name, _, rest = source.partition(":")
    # Of a network of the lab what is behind the colon are arguments.
    return re.sub(r"[^\w.]+", "-", source if name in NETWORKS else rest).strip("-")


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
