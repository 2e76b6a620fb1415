"""Models by what people type: a file, or a function that makes one."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_convinit.lab import models
from keras_convinit.lab.call_text import like
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.module_source import made_by, module_of, thing_of


def model_from(source: str, imports: Sequence[str] = (), **shapes: Any) -> keras.Model:
    """The model that a name stands for.

    Args:
        source: A network of the lab, see `models.from_spec`; a `.keras` file; or
            `package.module:function`, where the function takes no arguments. Modules
            are also looked for in the current folder.
        imports: Modules to import before, for classes that a file needs.
        **shapes: `input_shape` and `num_classes` of a network of the lab.

    Returns:
        The model, built.

    Raises:
        LabError: There is no such thing, or a file needs classes that are not known.
    """
    for name in imports:
        module_of(name)
    if source.partition(":")[0] in models.NETWORKS:
        try:
            return models.from_spec(source, **shapes)
        except ValueError as error:
            raise LabError(str(error)) from error
    if ":" in source and not Path(source).exists():
        model = _made(source)
    else:
        model = _loaded(Path(source))
    if not (isinstance(model, keras.Model) and model.built):
        raise LabError(
            "MODEL must stand for a built Keras model. "
            f"Received: {source!r}, which gives {model!r}"
        )
    return model


def _made(source: str) -> Any:
    must_be = (
        "MODEL must be a network of the lab, a `.keras` file, or "
        "`package.module:function`."
    )
    thing = thing_of(source, must_be, models.NETWORKS)
    if isinstance(thing, keras.Model) or not callable(thing):
        return thing
    return made_by(thing, source, must_be)


def _loaded(path: Path) -> Any:
    if not path.is_file() or path.suffix != ".keras":
        raise LabError(
            "MODEL must be a network of the lab, a `.keras` file that exists, or "
            "`package.module:function`. "
            f"Received: {str(path)!r}{like(str(path), models.NETWORKS)}"
        )
    try:
        return keras.models.load_model(path)
    # Keras raises many kinds of errors, and hides those of imports in a TypeError.
    except Exception as error:
        missing = unknown_classes(path)
        if missing:
            raise LabError(
                f"{path} needs classes that are not known: {', '.join(missing)}. "
                "Name the modules that register them: --import NAME"
            ) from error
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise LabError(f"{path} cannot be loaded: {first[0]}") from error


def checksum(source: str) -> str | None:
    """Tells one `.keras` file from another in the same place.

    Args:
        source: As of `model_from`.

    Returns:
        A checksum; None for what is not a file.
    """
    path = Path(source)
    return f"{zlib.crc32(path.read_bytes()):08x}" if path.is_file() else None


def unknown_classes(path: Path) -> list[str]:
    """Classes that a `.keras` file needs and Keras cannot find.

    Args:
        path: The file.

    Returns:
        Their registered names, each once; none for what is not such a file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        return list(dict.fromkeys(_unknown(config)))
    # What a damaged or hostile archive may raise is listed nowhere.
    except Exception:
        return []


def _unknown(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for part in config:
            yield from _unknown(part)
    if not isinstance(config, dict):
        return
    name, module = config.get("registered_name"), config.get("module")
    # What comes with Keras has a public module and no registered name.
    ours = module is None or not str(module).startswith("keras.")
    if isinstance(name, str) and "class_name" in config and ours:
        known = keras.saving.get_registered_object(name)
        if known is None and name not in ("function", "builtins"):
            yield name
    for part in config.values():
        yield from _unknown(part)
