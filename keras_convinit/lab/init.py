"""Initializes a model from the command line and writes it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keras_convinit import InitializationReport, initialize
from keras_convinit._interruption import defer_interruption
from keras_convinit.lab import data
from keras_convinit.lab.call_text import like
from keras_convinit.lab.compatibility import check_classes, check_images
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import folder_for, written_beside
from keras_convinit.lab.model_source import model_from
from keras_convinit.lab.say import say
from keras_convinit.lab.scheme_source import scheme_from


@defer_interruption()
def init(
    source: str,
    scheme: str,
    output: Path,
    console: Console,
    *,
    dataset: str | None = None,
    loss: str | None = None,
    subset: int | None = None,
    seed: int = 0,
    imports: Sequence[str] = (),
    overwrite: bool = False,
) -> InitializationReport:
    """Writes an initialized `.keras` model, and beside it what was done.

    Args:
        source: The model, see `model_from`.
        scheme: The scheme, see `scheme_from`.
        output: The `.keras` file to write; the report lies beside it, as JSON.
        console: Where to print the report.
        dataset: Name of a data set, whose standardized training images and labels are
            the data of the scheme; None for a scheme without data.
        loss: Name of the loss for schemes that look at one. None for that with which
            the model is compiled, or else the cross-entropy of classes.
        subset: How many of the images at most.
        seed: Decides all that is random.
        imports: Modules to import before.
        overwrite: Whether files that are there may be replaced.

    Returns:
        The report.

    Raises:
        LabError: The model, the scheme or the data cannot be had or do not fit, or the
            output cannot be written.
    """
    report_path = output.with_suffix(".json")
    if output.suffix != ".keras":
        raise LabError(
            f"`output` must be a .keras file. Received: output={str(output)!r}"
        )
    for path in (output, report_path):
        if path.exists() and not overwrite:
            raise LabError(
                f"{path} is there already. Choose another --output, or --overwrite it."
            )
    try:
        chosen = scheme_from(scheme, defaults={})
    except ValueError as error:
        raise LabError(str(error)) from error
    images = None if dataset is None else data.load(dataset, subset)
    shapes: dict[str, Any] = {}
    if images is not None:
        shapes = {
            "input_shape": images.train_images.shape[1:],
            "num_classes": images.num_classes,
        }
    model = model_from(source, imports, **shapes)
    pair = None
    if images is not None:
        check_images(model, images)
        check_classes(model, images)
        pair = images.standardized(images.train_images), images.train_labels
    used, told = _loss_of(model, loss)
    try:
        report = initialize(model, chosen, pair, loss=used, seed=seed)
    except ValueError as error:
        advice = ""
        if images is None and str(error).startswith("`data` must"):
            advice = f" On the command line: --dataset {'|'.join(data.DATASETS)}"
        raise LabError(f"{source} was not initialized: {error}.{advice}") from error
    # A search that is interrupted is content with what it has; nobody else is.
    if report.interrupted:
        raise KeyboardInterrupt
    _write(model, report, output, report_path)
    lines = str(report).split("\n")
    if report.history:
        lines.append(f"Loss: {told}")
    say(console, *lines, f"Model: {output}", f"Report: {report_path}")
    return report


def _loss_of(model: keras.Model, name: str | None) -> tuple[Any, str]:
    """The loss for schemes that look at one, and what to call it."""
    if name is not None:
        try:
            return keras.losses.get(name), name
        except ValueError as error:
            known = [one for one in vars(keras.losses) if one.islower()]
            raise LabError(
                f"`loss` must be the name of a loss of Keras{like(name, known)}. "
                f"Received: loss={name!r}"
            ) from error
    if model.compiled:
        return None, "that with which the model is compiled"
    loss = _cross_entropy(model)
    kind = "logits" if loss.from_logits else "probabilities"
    return loss, f"cross-entropy of classes, from {kind}"


def _cross_entropy(model: keras.Model) -> keras.losses.SparseCategoricalCrossentropy:
    """That of classes, of logits unless the model ends in softmax."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    ends_in_softmax = isinstance(last, keras.layers.Softmax) or (
        activation is keras.activations.softmax
    )
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax)


def _write(
    model: keras.Model, report: InitializationReport, output: Path, beside: Path
) -> None:
    """Writes both files; at no moment is there half of one."""
    folder_for(output.parent)
    with written_beside(output) as file, written_beside(beside) as told:
        model.save(file)
        told.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
