"""Writes RESULTS.md, its pictures and README's share of it from the finished runs.

    python examples/reproduce/write_results.py

Nothing in them is typed in: figures, verdicts and pictures come from the files in
`results/cpu`, which the commands of this folder write.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from command import HERE
from experiment import AbstractExperiment, Row, Table
from experiments import EXPERIMENTS
from results import load, settings_of, whole_seeds

from keras_convinit.lab.differences import changed
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import write_text, write_whole

BEGIN = "<!-- Written by `python examples/reproduce/write_results.py`: begin -->"
END = "<!-- end of claims -->"

OPENING = """\
# What the papers claim, and what happens here

Each claim is a command, a file of runs and a picture. This page is written by
`python examples/reproduce/write_results.py` from the files in `results/cpu`: no figure
is typed in. Data are real: MNIST and CIFAR-10 by tensorflow-datasets, and
scikit-learn's digits. Budgets are those of two CPU cores, a hundredth or a thousandth
of the papers'. They show what happens early in training, which is where an
initialisation acts, and not final accuracies: `--scale paper` has the papers' settings,
for a GPU, and has not been run.

*Confirmed*: the order that the paper claims, in the mean over seeds. *Partly*: some of
it. *Not at this scale*: too little happens to tell. *Contradicted*: the other way
round. Brackets give the lowest and the highest seed; diverged runs count as accuracy 0.
Seeds of which runs are missing are left out until they are whole.
"""


def main(arguments: Sequence[str] | None = None) -> str:
    """The command; it gives the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results" / "cpu")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--readme", type=Path, default=HERE.parent.parent / "README.md")
    options = parser.parse_args(arguments)
    page = results_page(options.results, options.output.parent)
    write_text(options.output, page)
    for experiment, _, rows in _kept(options.results):
        figure = experiment.figure(rows)
        path = options.results / f"{experiment.name}.png"
        write_whole(path, lambda file, f=figure: f.savefig(file, format="png", dpi=110))
    if options.readme.exists():
        text = options.readme.read_text()
        write_text(options.readme, with_share(text, readme_share(options.results)))
    return page


def readme_share(folder: Path) -> str:
    """What README tells: claims and verdicts."""
    told = [
        (
            experiment.source,
            experiment.claim,
            experiment.finding(rows).verdict,
            f"{len(rows)} of {values['planned']}",
        )
        for experiment, values, rows in _kept(folder)
    ]
    return _markdown(Table(("source", "claim", "here", "runs"), tuple(told)))


def with_share(text: str, share: str) -> str:
    """README with that share in its place; as it is where it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{share}\n\n{end}{after}" if end else text


def results_page(folder: Path, beside: Path) -> str:
    """The page as Markdown.

    Args:
        folder: Where the files of results are.
        beside: Where the page will be, which links to pictures are relative to.

    Returns:
        The page.

    Raises:
        LabError: A file is damaged, or was made with other settings than the
            experiment has now.
    """
    overview, chapters = [], []
    for experiment, values, rows in _kept(folder):
        finding = experiment.finding(rows)
        budget = f"{len(rows)} of {values['planned']}"
        anchor = experiment.title.lower().replace(" ", "-").replace(",", "")
        overview.append(
            (
                f"[{experiment.source}](#{anchor})",
                experiment.claim,
                f"**{finding.verdict}**",
                budget,
                f"{values['seconds'] / 60:.0f}",
            )
        )
        picture = (folder / f"{experiment.name}.png").relative_to(beside)
        chapters.append(
            f"## {experiment.title}\n\n"
            f"{experiment.source}. Claim: {experiment.claim}\n\n"
            f"**{finding.verdict.capitalize()}.** {finding.here}\n\n"
            f"{finding.conclusion}\n\n"
            f"![{experiment.title}]({picture.as_posix()})\n\n"
            f"{_markdown(experiment.table(rows))}\n\n"
            f"{_provenance(values, rows)}\n"
        )
    heads = ("source", "claim", "verdict", "runs", "minutes")
    return "\n".join([OPENING, _markdown(Table(heads, tuple(overview))), "", *chapters])


def _kept(
    folder: Path,
) -> Iterator[tuple[AbstractExperiment, dict[str, Any], list[Row]]]:
    """Experiments with what is in their files, and the runs of whole seeds."""
    for kind in EXPERIMENTS:
        path = folder / f"{kind.name}.json"
        if not path.exists():
            continue
        values = load(path)
        experiment = kind(kind.scales[values["scale"]])
        changes = changed(values["settings"], settings_of(experiment))
        if changes:
            raise LabError(f"{path} was made otherwise: {'; '.join(changes)}")
        rows = whole_seeds(experiment, values["rows"])
        if rows:
            yield experiment, values, rows


def _markdown(table: Table) -> str:
    lines = [table.heads, ("---",) * len(table.heads), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _provenance(values: dict[str, Any], rows: Sequence[Any]) -> str:
    seeds = len({row["case"]["seed"] for row in rows})
    missing = values["planned"] - len(rows)
    versions = ", ".join(
        f"{name} {version}"
        for name, version in values["versions"].items()
        if name != "backend"
    )
    settings = ", ".join(
        f"{name} {value}" for name, value in values["settings"].items()
    )
    return (
        f"`{values['command']}`: {len(rows)} of {values['planned']} runs"
        + (", the same command adds the others" if missing else "")
        + f"; seeds: {seeds}; {values['seconds'] / 60:.0f} minutes of a machine that "
        f"did other things too, {values['machine']}, {values['date']}; {versions}.\n\n"
        f"<details><summary>Settings</summary>\n\n{settings}\n\n</details>"
    )


if __name__ == "__main__":
    main()
