"""What a command of this folder is: cases to run, what they show, and a picture."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure

from keras_convinit.lab.progress import AfterStep

VERDICTS = ("confirmed", "partly", "not at this scale", "contradicted")

# Plain data: what tells a run from the others, and what came out.
Case = dict[str, Any]
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What some runs say of a claim.

    Args:
        verdict: One of `VERDICTS`.
        here: What came out, in one or two sentences with figures.
        conclusion: Why, and what to do about it.
    """

    verdict: str
    here: str
    conclusion: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(
                f"`verdict` must be one of {', '.join(VERDICTS)}. "
                f"Received: verdict={self.verdict!r}"
            )


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows for people.

    Args:
        heads: What the columns are called.
        rows: As many words in each.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table for a page."""
        lines = [self.heads, ("---",) * len(self.heads), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class AbstractExperiment(abc.ABC):
    """One claim of a paper, and the runs that test it.

    Args:
        settings: How large everything is: one of `scales`, a frozen dataclass.

    Attributes:
        name: That of the command and of its files.
        title: Of the picture and of the chapter.
        source: Paper, and figure or table.
        claim: What the paper says, in one sentence.
        scales: `"smoke"`, `"cpu"` and `"paper"`.
        data: How the command says what it needs: nothing, or a data set.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    claim: ClassVar[str]
    scales: ClassVar[Mapping[str, Any]]

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abc.abstractmethod
    def cases(self) -> list[Case]:
        """All runs, seeds first, so that what is interrupted is of use."""

    def steps(self, case: Case) -> int:
        """How many steps a run has at most, for the display of progress."""
        del case
        return 1

    @abc.abstractmethod
    def run(self, case: Case, after_step: AfterStep) -> Row:
        """Carries out one run; what comes back goes into a file.

        The result depends on the case and the settings alone.
        """

    @abc.abstractmethod
    def table(self, rows: Sequence[Row]) -> Table:
        """What came out, over the seeds."""

    @abc.abstractmethod
    def finding(self, rows: Sequence[Row]) -> Finding:
        """What it says of the claim."""

    @abc.abstractmethod
    def figure(self, rows: Sequence[Row]) -> Figure:
        """The picture."""
