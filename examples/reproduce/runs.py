"""Finished runs: chosen by their cases, and summed up."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiment import Row

from keras_convinit.lab.over_seeds import Spread

# What a run brought, as a number.
Value = Callable[[Row], float]


def accuracy(row: Row) -> float:
    """The held-out accuracy at the end, 0 after a divergence."""
    return row["held_out"][-1][1]


def of(rows: Iterable[Row], **case: Any) -> list[Row]:
    """The runs with these values in their cases."""
    wanted = case.items()
    return [row for row in rows if all(row["case"][key] == v for key, v in wanted)]


def values(
    rows: Sequence[Row], over: str, places: Iterable[Any], value: Value = accuracy
) -> dict[Any, list[float]]:
    """Numbers of all seeds at each place of a setting, as `charts.ranges` draws them.

    Args:
        rows: Runs.
        over: The setting, such as the depth.
        places: Its values.
        value: The number of a run.
    """
    return {place: [*map(value, of(rows, **{over: place}))] for place in places}


def by_epoch(rows: Sequence[Row], epochs: int) -> dict[float, list[float]]:
    """Held-out accuracies on the way, of the runs that got to the end.

    Args:
        rows: Runs that were looked at equally often.
        epochs: How long each was.
    """
    points: dict[float, list[float]] = {}
    for row in rows:
        if not row["diverged"]:
            for step, found in row["held_out"]:
                epoch = round(epochs * step / row["steps"], 3)
                points.setdefault(epoch, []).append(found)
    return points


def spread(rows: Iterable[Row], value: Value = accuracy) -> Spread | None:
    """Mean and range of something over runs; None where there are none."""
    return Spread.of(map(value, rows))


def best(rows: Sequence[Row], over: str) -> tuple[Any, list[Row]]:
    """The runs at that value of a setting where they are most accurate in the mean.

    Args:
        rows: Runs, at least one.
        over: The setting, such as the learning rate.

    Returns:
        The value of the setting, and the runs with it.
    """
    places = dict.fromkeys(row["case"][over] for row in rows)
    means = {place: spread(of(rows, **{over: place})).mean for place in places}
    found = max(places, key=means.__getitem__)
    return found, of(rows, **{over: found})


def fastest(rows: Iterable[Row]) -> float | None:
    """Processor seconds of the fastest run that got to its end."""
    seconds = [row["processor_seconds"] for row in rows if not row["diverged"]]
    return min(seconds, default=None)


def shares_until(rows: Iterable[Row], goal: float) -> list[float]:
    """Which share of its steps each run took to a held-out accuracy.

    Args:
        rows: Runs.
        goal: The accuracy.

    Returns:
        A number for each run that reached it and did not diverge.
    """
    shares = []
    for row in rows:
        done = [step for step, found in row["held_out"] if found >= goal]
        if done and not row["diverged"]:
            shares.append(done[0] / row["steps"])
    return shares


def diverged(rows: Iterable[Row]) -> int:
    """How many of them did."""
    return sum(row["diverged"] for row in rows)


def percent(rows: Sequence[Row], digits: str = ".1f") -> str:
    """For a cell of a table: mean, lowest and highest accuracy in percent."""
    found = spread(rows)
    return "-" if found is None else found.text(100, digits)


def and_diverged(text: str, rows: Sequence[Row]) -> str:
    """The text, and how many runs diverged if any did."""
    count = diverged(rows)
    return f"{text}, {count} diverged" if count else text
