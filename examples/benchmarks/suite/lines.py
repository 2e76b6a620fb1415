"""What a line of the table and of the figure is."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Line:
    """How long something takes, as a multiple of something else.

    Args:
        what: What is timed.
        against: What it is divided by.
        source: The measurement that has its numbers.
        row: The way to them in a file.
        limit: The largest ratio that the project allows itself.
        peer: Whether it is someone else's, beside ours in the same section.
        inverted: Whether the file has the ratio upside down.
        excerpt: What README calls it, which shows only those that have this.
        losing: By backend, why it loses there and what to do, as sentences.
    """

    what: str
    against: str
    source: str
    row: tuple[str, ...]
    limit: float | None = None
    peer: bool = False
    inverted: bool = False
    excerpt: str = ""
    losing: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Section:
    """Lines that belong together.

    Args:
        title: What they have in common.
        lines: These.
        contest: Whether both sides of a ratio do the same job, so that one of them
            loses; otherwise the ratio is a price in a unit.
        near_one: Whether the figure shows it where a hundredth can be seen.
    """

    title: str
    lines: tuple[Line, ...]
    contest: bool
    near_one: bool = False


@dataclasses.dataclass(frozen=True)
class Amount:
    """A number that is no ratio.

    Args:
        what: What it is.
        unit: Its unit.
        source: The measurement.
        row: The way to it in a file.
        limit: The largest that the project allows itself.
    """

    what: str
    unit: str
    source: str
    row: tuple[str, ...]
    limit: float | None = None
