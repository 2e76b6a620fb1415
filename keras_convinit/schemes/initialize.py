"""The entrance: initializes a built model."""

import dataclasses
import functools
import operator
import warnings
from typing import Any

import keras

from keras_convinit import backend
from keras_convinit._types import DataLike, KerasModel, LossLike
from keras_convinit.schemes.base import InitRequest, Scheme, Seeds, ValueOverlay
from keras_convinit.schemes.report import InitializationReport
from keras_convinit.schemes.resolve import resolve_scheme

OTHERS = ("reset", "keep")


def initialize(
    model: KerasModel,
    scheme: Any = "auto",
    data: DataLike = None,
    *,
    loss: LossLike = None,
    seed: int | None = None,
    others: str = "reset",
    dry_run: bool = False,
    **scheme_args: Any,
) -> InitializationReport:
    """Initializes a built model in place, each kernel by its surroundings.

    An initializer sees the shape of a kernel; this sees the model: true fans of
    grouped, depthwise and transposed layers, which activation precedes and follows,
    where residual branches end and how many blocks a stage has. Each kernel has a seed
    of its own. Strides are ignored, as in the papers, unless the scheme is told
    otherwise (`stride_aware`); the notes name the layers that miss weights by that.

    Everything is computed first and assigned last: an error, or a key from the keyboard
    outside of a search, leaves the model as it was. What is frozen, be it a layer or a
    variable that is not trained, is left alone, and so are layers that are quantized or
    adapted by LoRA; the report names them.

    A model whose optimizer has taken steps is initialized with a warning. Weights that
    were loaded, or trained without the model's own optimizer, cannot be told from
    others: freeze what is to stay.

    Args:
        model: A built Keras model.
        scheme: `"auto"`, `"zhang_forward"`, `"zhang_backward"`, `"arpit"`, `"hanin"`,
            `"pytorch_weight_norm"` (also `"kernel"`), `"fixup"`, `"data_dependent"`,
            `"lsuv"`, `"gradinit"`, `"metainit"`, a name that `register_scheme` gave, an
            object of a class of `keras_convinit.schemes`, any Keras initializer, or a
            list of these, which run in order.
        data: For `"data_dependent"`, `"lsuv"`, and a model that cannot be read
            without: inputs such as an array of a few samples, or a pair of inputs and
            labels. For those two also a data set of batches of these. For
            `"gradinit"` inputs and labels, as such a pair or data set; for
            `"metainit"` the same, or None for noise.
        loss: For `"gradinit"` and `"metainit"`: the name of a Keras loss, a loss or a
            function of labels and outputs; None for that with which the model is
            compiled.
        seed: An integer; the same gives the same weights on one backend. None for one
            that `keras.utils.set_random_seed` decides. Initializers of others follow it
            if they draw from an attribute `seed`, from Keras' generators, Python's
            `random` or numpy's; all are left as they were. Where a layer must be made
            again for its values, what is drawn from Keras' own generator does not.
        others: What to do with biases, normalization and embeddings: `"reset"` gives
            them the values that their layers start from, `"keep"` leaves them alone.
        dry_run: Whether to change nothing, and report what would be: all is computed,
            and not assigned.
        **scheme_args: Arguments of the scheme's class, if `scheme` is a name.

    Returns:
        A row for each variable that was set, and what was skipped and why.

    Raises:
        ValueError: `model` is no Keras model, is not built, has no kernels, or is not
            one that the scheme is made for; `scheme` is unknown, does not take the
            arguments, or gives values that are not finite or of another shape; `data`
            or `loss` are missing, or not for the model.

    Example:
        >>> from keras_convinit import initialize
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((32, 32, 3)),
        ...         keras.layers.Conv2D(16, 3, activation="relu"),
        ...         keras.layers.Flatten(),
        ...         keras.layers.Dense(10),
        ...     ]
        ... )
        >>> report = initialize(model, "zhang_forward", seed=0)
        >>> [row.rule for row in report.rows[:2]]
        ['eq. 21 (first layer)', 'eq. 21 (classifier)']
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: model={model!r}")
    if others not in OTHERS:
        raise ValueError(
            f"`others` must be one of {', '.join(OTHERS)}. Received: others={others!r}"
        )
    seeds = Seeds(seed)
    overlay = ValueOverlay(model, seeds.generator_seed)
    request = InitRequest(model, data, loss, seeds, others, overlay)
    reports = []
    with backend.preserve_state(model), seeds.decide_defaults():
        # No comprehension: it is a frame of its own, which warnings would have to skip.
        for each in _schemes(scheme, scheme_args):
            reports.append(each.apply(request))
        overlay.check_finite()
    report = functools.reduce(operator.add, reports)
    report = dataclasses.replace(report, dry_run=dry_run)
    steps = _steps_trained(model)
    if steps and len(overlay):
        some = ", ".join(variable.path for variable in overlay.variables()[:3])
        note = (
            f"{model.name} was trained for {steps} steps, of which {len(overlay)} "
            f"variables keep nothing, such as {some}"
        )
        report = dataclasses.replace(report, notes=(note, *report.notes))
        if not dry_run:
            warnings.warn(
                f"`initialize` overwrites what was trained: {note}. Freeze layers that "
                "are to stay; to begin anew without this warning, call "
                "`model.compile` first, which also resets the optimizer",
                stacklevel=2,
            )
    if not dry_run:
        overlay.commit()
    return report


def _steps_trained(model: keras.Model) -> int:
    """Returns the number of steps that the model's own optimizer has taken."""
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    if iterations is None:
        return 0
    return int(keras.ops.convert_to_numpy(iterations))


def _schemes(scheme: Any, arguments: dict[str, Any]) -> list[Scheme]:
    if not isinstance(scheme, list | tuple):
        return [resolve_scheme(scheme, **arguments)]
    if not scheme:
        raise ValueError("`scheme` must not be empty. Received: scheme=[]")
    if arguments:
        raise ValueError(
            "The arguments of several schemes must be given to objects of "
            "`keras_convinit.schemes`. "
            f"Received: {', '.join(arguments)}, for {len(scheme)} schemes"
        )
    return [resolve_scheme(one) for one in scheme]
