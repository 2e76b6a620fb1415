"""The finished runs of an experiment in a file, with all that they depend on."""

import collections
import dataclasses
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiment import AbstractExperiment, Case, Row

from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_text
from keras_convinit.lab.versions import machine, versions

# Changed when a file of an earlier version could be misunderstood.
FORMAT = 1


def load(path: Path) -> dict[str, Any]:
    """What is in a file of results.

    Args:
        path: The file.

    Returns:
        Its values; `rows` are the finished runs.

    Raises:
        LabError: It is not such a file, or damaged.
    """
    try:
        values = json.loads(path.read_text())
        if values["format"] != FORMAT:
            raise ValueError("another version of the program wrote it")
        names = "name", "scale", "settings", "versions", "machine", "date", "planned"
        return {
            name: values[name] for name in (*names, "format", "seconds", "command")
        } | {"rows": [dict(row, case=dict(row["case"])) for row in values["rows"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path} is not a file of results, or is damaged "
            f"({type(error).__name__}: {error}). Delete it, or choose another --output."
        ) from error


def settings_of(experiment: AbstractExperiment) -> Any:
    """The settings as they come back from a file."""
    return json.loads(json.dumps(dataclasses.asdict(experiment.settings)))


def in_order(experiment: AbstractExperiment, rows: Iterable[Row]) -> list[Row]:
    """The runs that the experiment has, in its order."""
    by_key = {_key(row["case"]): row for row in rows}
    keys = map(_key, experiment.cases())
    return [by_key[key] for key in keys if key in by_key]


def whole_seeds(experiment: AbstractExperiment, rows: Iterable[Row]) -> list[Row]:
    """The runs of those seeds of which none is missing, in their order.

    The others would compare one network with another.
    """
    rows = in_order(experiment, rows)
    planned = collections.Counter(case["seed"] for case in experiment.cases())
    done = collections.Counter(row["case"]["seed"] for row in rows)
    return [row for row in rows if done[seed := row["case"]["seed"]] == planned[seed]]


class Results:
    """A file of finished runs, whole at every moment.

    Args:
        path: The file; it need not be there yet.
        experiment: Of which experiment.
        scale: At which scale.

    Attributes:
        rows: The finished runs that the experiment has, in its order.
        about: What all of them depend on.

    Raises:
        LabError: The file was made with other settings or versions, or is damaged.
    """

    def __init__(self, path: Path, experiment: AbstractExperiment, scale: str) -> None:
        self.path = path
        self.experiment = experiment
        self.about = {
            "format": FORMAT,
            "name": experiment.name,
            "scale": scale,
            "command": f"python examples/reproduce/{experiment.name}.py "
            f"--scale {scale}",
            "settings": settings_of(experiment),
            "versions": versions(),
        }
        self.machine = machine()
        self._rows: dict[str, Row] = {}
        if path.exists():
            self._read()

    @property
    def rows(self) -> list[Row]:
        """The finished runs, in the order of the cases."""
        return in_order(self.experiment, self._rows.values())

    def pending(self) -> list[Case]:
        """The cases that are not finished."""
        return [
            case for case in self.experiment.cases() if _key(case) not in self._rows
        ]

    def add(self, case: Case, outcome: Row, seconds: float) -> None:
        """Keeps a run, and writes the file.

        Raises:
            LabError: It cannot be written.
        """
        self._rows[_key(case)] = {
            "case": case,
            **outcome,
            "seconds": round(seconds, 1),
        }
        whole = {
            **self.about,
            "machine": self.machine,
            "date": time.strftime("%Y-%m-%d"),
            "planned": len(self.experiment.cases()),
            "seconds": round(sum(row["seconds"] for row in self.rows)),
        }
        # A line for each run: a file that people read and compare, too.
        head = json.dumps(whole, indent=1, allow_nan=False).rstrip("\n}")
        lines = ",\n".join(json.dumps(row, allow_nan=False) for row in self.rows)
        write_text(self.path, f'{head},\n "rows": [\n{lines}\n ]\n}}\n')

    def _read(self) -> None:
        values = load(self.path)
        earlier = {name: values[name] for name in self.about}
        changes = changed(earlier, self.about)
        if changes:
            raise LabError(
                f"{self.path} was made otherwise: {'; '.join(changes)}. Choose "
                "another --output, or delete it."
            )
        self._rows = {_key(row["case"]): row for row in values["rows"]}


def _key(case: Any) -> str:
    return json.dumps(case, sort_keys=True)
