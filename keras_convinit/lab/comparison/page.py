"""A comparison as one page that needs nothing else."""

import base64
import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence

from keras_convinit._printable import escape_lines
from keras_convinit.lab.comparison.plan import Plan
from keras_convinit.lab.comparison.ranking import Ranking
from keras_convinit.lab.comparison.run import Run
from keras_convinit.lab.comparison.table import (
    headings,
    refusals,
    rows_of,
)
from keras_convinit.lab.over_seeds import WINDOW

# What stands below the tables.
FOOTNOTE = (
    "Means over seeds, lowest to highest in brackets. A run that diverges, to a loss "
    "that is NaN or infinite, counts as accuracy 0. Steps are those until the training "
    "accuracy, in the mean over {window} of them, was at {threshold}. Seconds are of "
    "one run: initialization, and training with validation. The learning rate of the "
    "first table was chosen by the same validation images, which flatters all schemes."
)

# Colors for a light page and a dark one; the figure keeps its white ground.
STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --faint: #59636e;
  --line: #d1d9e0; --ground: #ffffff; --raised: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --faint: #9aa5b1;
  --line: #3d444d; --ground: #12161b; --raised: #1c2128; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 4rem;
  background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.note { color: var(--faint); font-size: .875rem; max-width: 48rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th { white-space: pre-line; font-weight: 600; color: var(--faint); font-size: .875rem;
  vertical-align: bottom; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
th:first-child, td:first-child { padding-left: 0; color: var(--faint); }
tr.first td { font-weight: 600; }
table.settings th { text-align: left; padding-left: 0; vertical-align: top; }
table.settings td { text-align: left; color: var(--text); white-space: normal;
  overflow-wrap: anywhere; }
img { display: block; width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
details { border-top: 1px solid var(--line); }
summary { cursor: pointer; padding: .5rem 0; overflow-wrap: anywhere; }
pre { margin: 0 0 1rem; padding: .75rem; overflow-x: auto;
  background: var(--raised); border-radius: 6px; font-size: .8125rem; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 45rem) {
  /* Small enough to see two columns, and a figure that is moved, not shrunk. */
  th, td { padding: .3rem .4rem; font-size: .875rem; }
  img { width: 46rem; max-width: none; }
}
"""


def comparison_page(
    plan: Plan,
    ranking: Ranking,
    runs: Sequence[Run],
    *,
    figure: bytes,
    threshold: float,
    command: str,
    settings: Mapping[str, object],
) -> str:
    """The page.

    Args:
        plan: What was asked.
        ranking: What came out.
        runs: All runs, of which each scheme's first one tells how it initialized.
        figure: The figure as PNG.
        threshold: The training accuracy to which steps are counted.
        command: With which all of it is made again.
        settings: What every run had in common, versions too.

    Returns:
        HTML without any reference to something outside.
    """
    best, others = rows_of(ranking)
    title = f"Which initialization suits {plan.model}?"
    finished = sum(run.case in set(plan.cases()) for run in runs)
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(_summary(plan, ranking, finished))}</p>",
        "<h2>Each scheme at its best learning rate</h2>",
        _table(best, threshold),
        *(
            f"<p><b>{_text(scheme)}</b> refused the model: {_text(reason)}</p>"
            for scheme, reason in refusals(ranking)
        ),
    ]
    if others:
        parts += ["<h2>The other learning rates</h2>", _table(others, threshold)]
    note = FOOTNOTE.format(window=WINDOW, threshold=f"{100 * threshold:g} %")
    image = base64.b64encode(figure).decode()
    parts += [
        f'<p class="note">{_text(note)}</p>',
        "<h2>Learning, and signals before the first step</h2>",
        f'<div class="wide"><img alt="{_text(_alternative(ranking))}"'
        f' src="data:image/png;base64,{image}"></div>',
        "<h2>What each scheme did</h2>",
        *_reports(plan, runs),
        "<h2>What was run</h2>",
        f'<pre class="command">{_text(command)}</pre>',
        _settings({**_asked(plan), **settings}),
    ]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return html.escape(escape_lines(value))


def _summary(plan: Plan, ranking: Ranking, finished: int) -> str:
    total = len(plan.cases())
    runs = f"{finished} runs" if finished == total else f"{finished} of {total} runs"
    epochs = "1 epoch" if plan.epochs == 1 else f"{plan.epochs} epochs"
    what = f"{runs} on {plan.dataset}, {epochs} each."
    first = ranking.best[0]
    if first.accuracy is None or first.refused == first.runs:
        return f"{what} No scheme was trained."
    return (
        f"{what} The best: {first.scheme} at the learning rate "
        f"{first.learning_rate:g}, {100 * first.accuracy.mean:.1f} % of the validation "
        f"images."
    )


def _alternative(ranking: Ranking) -> str:
    order = ", ".join(row.scheme for row in ranking.best)
    return (
        "Four panels: training accuracy by step, validation accuracy by learning rate, "
        "size of the signal by depth, size of the error signal by depth. "
        f"Schemes, the best first: {order}. The numbers are in the tables."
    )


def _table(rows: Sequence[Sequence[str]], threshold: float) -> str:
    head = "".join(
        f'<th scope="col">{_text(name)}</th>' for name in headings(threshold)
    )
    lines = []
    for row in rows:
        kind = ' class="first"' if row[0] == "1" else ""
        values = "".join(f"<td>{_text(value)}</td>" for value in row)
        lines.append(f"<tr{kind}>{values}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _reports(plan: Plan, runs: Sequence[Run]) -> Iterable[str]:
    for scheme in plan.schemes:
        own = [run for run in runs if run.case.scheme == scheme]
        if not own:
            continue
        # Another seed draws other numbers by the same rules.
        first = min(own, key=lambda run: run.case.seed)
        begun = first.beginning
        said = begun.verdict if begun.refusal is None else "refused the model"
        text = begun.report if begun.refusal is None else begun.refusal
        yield (
            f"<details><summary><b>{_text(scheme)}</b>: {_text(said)}</summary>"
            f"<pre>{_text(text)}</pre></details>"
        )


def _asked(plan: Plan) -> dict[str, object]:
    values = dataclasses.asdict(plan)
    names = ("schemes", "learning_rates", "seeds")
    return {name: values[name] for name in names}


def _settings(settings: Mapping[str, object]) -> str:
    lines = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        shown = "-" if value in (None, "") else value
        label = name.replace("_", " ")
        lines.append(
            f'<tr><th scope="row">{_text(label)}</th><td>{_text(shown)}</td></tr>'
        )
    rows = "\n".join(lines)
    return (
        f'<div class="wide"><table class="settings"><tbody>{rows}</tbody></table></div>'
    )
