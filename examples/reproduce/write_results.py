"""Writes RESULTS.md, its pictures and README's share of it from the finished runs.

    python examples/reproduce/write_results.py

Nothing in them is typed in: figures, verdicts and pictures come from the files in
`results/cpu`, which the commands of this folder write, and in `results/gpu`, which
`python -m keras_convinit train` does.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import full_size
from command import HERE
from experiment import AbstractExperiment, Finding, Row, Table
from experiments import EXPERIMENTS
from matplotlib.figure import Figure
from results import load, settings_of, whole_seeds

from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_between, write_text, write_whole

BEGIN = "<!-- Written by `python examples/reproduce/write_results.py`: begin -->"
END = "<!-- end of claims -->"

OPENING = """\
# What the papers claim, and what happens here

Each claim is a command, a file of runs and a picture. This page is written by
`python examples/reproduce/write_results.py` from the files in `results`: no figure is
typed in. Data are real: MNIST and CIFAR-10 by tensorflow-datasets, and
scikit-learn's digits. Budgets are those of two CPU cores, a hundredth or a thousandth
of the papers'. They show what happens early in training, which is where an
initialization acts, and not final accuracies: `--scale paper` has the papers' settings,
for a GPU, and has not been run. What recipes of the papers did on a GPU is told
[at the end](#recipes-at-full-size-on-a-gpu).

*Confirmed*: the order that the paper claims, in the mean over seeds. *Partly*: some of
it. *Not at this scale*: too little happens to tell. *Contradicted*: the other way
round. Brackets give the lowest and the highest seed; diverged runs count as accuracy 0.
Seeds of which runs are missing are left out until they are whole.
"""


def main(arguments: Sequence[str] | None = None) -> str:
    """The command; it gives the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results" / "cpu")
    parser.add_argument("--trained", type=Path, default=HERE / "results" / "gpu")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--readme", type=Path, default=HERE.parent.parent / "README.md")
    options = parser.parse_args(arguments)
    told = told_by(options.results)
    page = results_page(told, options.results, options.output.parent)
    trained = full_size.trained_in(options.trained)
    if trained:
        page += full_size.chapter(trained, options.trained, options.output.parent)
        _draw(full_size.figure(trained), options.trained / full_size.PICTURE)
    write_text(options.output, page)
    for one in told:
        path = options.results / f"{one.experiment.name}.png"
        _draw(one.experiment.figure(one.rows), path)
    if options.readme.exists():
        write_between(options.readme, BEGIN, END, readme_share(told))
    return page


@dataclasses.dataclass(frozen=True)
class Told:
    """An experiment of which there is something to tell.

    Args:
        experiment: At the scale of its file.
        kept: What is in the file.
        rows: The runs of whole seeds.
        finding: What they say.
    """

    experiment: AbstractExperiment
    kept: dict[str, Any]
    rows: list[Row]
    finding: Finding

    @property
    def runs(self) -> str:
        """How many there are, of how many."""
        return f"{len(self.rows)} of {self.kept['planned']}"

    @property
    def minutes(self) -> str:
        """What all of the file's runs took."""
        return f"{self.kept['seconds'] / 60:.0f}"


def told_by(folder: Path) -> list[Told]:
    """Reads the files of results of a folder.

    Raises:
        LabError: A file is damaged, or was made with other settings than the
            experiment has now.
    """
    told = []
    for kind in EXPERIMENTS:
        path = folder / f"{kind.name}.json"
        if not path.exists():
            continue
        kept = load(path)
        experiment = kind(kind.scales[kept["scale"]])
        changes = changed(kept["settings"], settings_of(experiment))
        if changes:
            raise LabError(f"{path} was made otherwise: {'; '.join(changes)}")
        rows = whole_seeds(experiment, kept["rows"])
        if rows:
            told.append(Told(experiment, kept, rows, experiment.finding(rows)))
    return told


def readme_share(told: Sequence[Told]) -> str:
    """What README tells: claims and verdicts."""
    rows = (
        (one.experiment.source, one.experiment.claim, one.finding.verdict, one.runs)
        for one in told
    )
    return Table(("source", "claim", "here", "runs"), tuple(rows)).markdown()


def results_page(told: Sequence[Told], folder: Path, beside: Path) -> str:
    """The page as Markdown.

    Args:
        told: What to tell.
        folder: Where pictures are.
        beside: Where the page will be, which links to pictures are relative to.

    Returns:
        The page.
    """
    overview, chapters = [], []
    for one in told:
        experiment, finding = one.experiment, one.finding
        anchor = experiment.title.lower().replace(" ", "-").replace(",", "")
        overview.append(
            (
                f"[{experiment.source}](#{anchor})",
                experiment.claim,
                f"**{finding.verdict}**",
                one.runs,
                one.minutes,
            )
        )
        picture = (folder / f"{experiment.name}.png").relative_to(beside)
        chapters.append(
            f"## {experiment.title}\n\n"
            f"{experiment.source}. Claim: {experiment.claim}\n\n"
            f"**{finding.verdict.capitalize()}.** {finding.here}\n\n"
            f"{finding.conclusion}\n\n"
            f"![{experiment.title}]({picture.as_posix()})\n\n"
            f"{experiment.table(one.rows).markdown()}\n\n"
            f"{_provenance(one)}\n"
        )
    heads = ("source", "claim", "verdict", "runs", "minutes")
    summary = Table(heads, tuple(overview)).markdown()
    return "\n".join([OPENING, summary, "", *chapters])


def _draw(figure: Figure, path: Path) -> None:
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _provenance(one: Told) -> str:
    seeds = len({row["case"]["seed"] for row in one.rows})
    missing = len(one.rows) < one.kept["planned"]
    versions = ", ".join(
        f"{name} {version}"
        for name, version in one.kept["versions"].items()
        if name != "backend"
    )
    settings = ", ".join(
        f"{key} {value}" for key, value in one.kept["settings"].items()
    )
    return (
        f"`{one.kept['command']}`: {one.runs} runs"
        + (", the same command adds the others" if missing else "")
        + f"; seeds: {seeds}; {one.minutes} minutes of a machine that did other things "
        f"too, {one.kept['machine']}, {one.kept['date']}; {versions}.\n\n"
        f"<details><summary>Settings</summary>\n\n{settings}\n\n</details>"
    )


if __name__ == "__main__":
    main()
