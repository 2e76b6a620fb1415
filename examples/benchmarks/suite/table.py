"""Writes what was measured as a page, and a part of it for README."""

from collections.abc import Mapping
from typing import Any

from examples.benchmarks.suite.amounts import AMOUNTS
from examples.benchmarks.suite.measurements import BACKENDS, MEASUREMENTS, NAMES
from examples.benchmarks.suite.reading import Ratio, Results
from examples.benchmarks.suite.sections import SECTIONS

PACKAGES = NAMES | {
    "keras": "Keras",
    "keras_convinit": "keras_convinit",
    "flax": "Flax",
    "optax": "optax",
    "python": "Python",
}
BEGIN = "<!-- Written by `python -m examples.benchmarks`: begin -->"
END = "<!-- end -->"
LEGEND = (
    "A cell has the median ratio of wall-clock time of neighboring runs with its "
    "quartiles, the ratio of processor time behind the stroke, and a verdict. A ratio "
    "of 2 is twice as long. *Slower* and *faster* where both quartiles say so, *even* "
    "otherwise. A limit is what the project set itself: *met*, *missed*, or *above, "
    "within noise* where the median is above it and the lower quartile is not. Lines "
    "in italics are of others."
)


def page(results: Results, figure: str) -> str:
    """The whole page.

    Args:
        results: What was measured.
        figure: The name of the picture beside it.
    """
    parts = ["# Benchmarks", _introduction(results), f"![Ratios]({figure})", LEGEND]
    backends = results.backends
    heads = [*(NAMES[backend] for backend in backends), "limit"]
    for section in SECTIONS:
        rows = [["time of", "in times of", *heads]]
        for line in filter(results.tried, section.lines):
            cells = [_cell(results, section, line, backend) for backend in backends]
            what = f"*{line.what}*" if line.peer else line.what
            rows.append([what, line.against, *cells, _limit(line.limit)])
        parts += _titled(section.title, rows)
    rows = [["what", *heads]]
    for amount in filter(results.tried, AMOUNTS):
        cells = [_amount(results, amount, backend) for backend in backends]
        limit = "" if amount.limit is None else f"{amount.limit:g} {amount.unit}"
        rows.append([amount.what, *cells, limit])
    parts += _titled("Seconds and gigabytes", rows)
    losses = [text for section in SECTIONS for text in results.losses(section)]
    parts.append("## Where ours is slower, or above its limit")
    parts.append("\n".join(f"- {text}" for text in losses) or "Nowhere.")
    parts += _titled("Commands", _commands(results))
    if results.untried:
        parts.append(f"Not measured here: {', '.join(results.untried)}.")
    return "\n\n".join(parts) + "\n"


def excerpt(results: Results) -> str:
    """The lines for README, medians only."""
    rows = [["time of", "in times of", *(NAMES[backend] for backend in BACKENDS)]]
    for section in SECTIONS:
        for line in section.lines:
            if not line.excerpt:
                continue
            cells = []
            for backend in BACKENDS:
                ratio = results.ratio(line, backend)
                if ratio is None:
                    cells.append(results.gap(line.source, backend))
                else:
                    words = ", ".join(_words(section, line, ratio))
                    cells.append(f"{_number(ratio.wall)} {words}".strip())
            rows.append([line.excerpt, line.against, *cells])
    return f"{_circumstances(results)}\n\n{_table(rows)}"


def _cell(results, section, line, backend):
    ratio = results.ratio(line, backend)
    if ratio is None:
        return results.gap(line.source, backend)
    numbers = (
        f"{_number(ratio.wall)} ({_number(ratio.low)} to {_number(ratio.high)})"
        f" / {_number(ratio.cpu)}"
    )
    return "<br>".join([numbers, *_words(section, line, ratio)])


def _words(section, line, ratio: Ratio) -> list[str]:
    words = [ratio.contest] if section.contest else []
    if line.limit is not None:
        words.append(ratio.against(line.limit))
    return words


def _amount(results, amount, backend):
    value = results.amount(amount, backend)
    if value is None:
        return results.gap(amount.source, backend)
    text = f"{value:.2g} {amount.unit}"
    if amount.limit is not None:
        text += f"<br>limit {'met' if value <= amount.limit else 'missed'}"
    return text


def _number(value: float) -> str:
    """A thousandth where it is about a few hundredths, a hundredth elsewhere."""
    return f"{value:.3f}" if value < 1.5 else f"{value:.2f}"


def _limit(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _titled(title: str, rows: list[list[str]]) -> list[str]:
    """A chapter, unless its table has but a head."""
    return [f"## {title}", _table(rows)] if len(rows) > 1 else []


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _introduction(results: Results) -> str:
    others = results.from_elsewhere()
    older = (
        f"\n\n**{others} of {len(results.records)} files of numbers were made by other "
        "commands than those of today, in small or with other settings.**"
    )
    turns = "so that a machine that changes its speed does not decide"
    if results.in_several_processes():
        turns = (
            "and where little is at stake in several, so that neither a machine that "
            "changes its speed nor chance decides"
        )
    return (
        "What this package costs, and what others cost beside it. What is compared "
        f"runs by turns in one process, {turns}. {_circumstances(results)}\n\n"
        "`python -m examples.benchmarks` measures what is missing and writes this "
        "page; `--help` says more." + (older if others else "")
    )


def _circumstances(results: Results) -> str:
    """When, where and with what."""
    records = results.records.values()
    if not records:
        return "Nothing is measured yet."
    dates = sorted({record["date"] for record in records})
    days = dates[0] if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}"
    machines = sorted({_place(record) for record in records})
    used: dict[str, set[str]] = {}
    for record in records:
        for package, version in record["versions"].items():
            used.setdefault(package, set()).add(version)
    versions = ", ".join(
        f"{name} {' and '.join(sorted(used[package]))}"
        for package, name in PACKAGES.items()
        if package in used
    )
    return f"Measured {days} on {'; '.join(machines)}: {versions}."


def _place(record: Mapping[str, Any]) -> str:
    accelerator = record.get("accelerator")
    return record["machine"] + (f", {accelerator}" if accelerator else "")


def _commands(results: Results) -> list[list[str]]:
    rows = [["command", "date", "took"]]
    for measurement in MEASUREMENTS:
        for backend in measurement.backends:
            record = results.records.get((measurement.name, backend))
            if record is not None:
                command = record.get("command", measurement.file(backend))
                seconds = record.get("seconds")
                took = "" if seconds is None else f"{seconds:.0f} s"
                rows.append([f"`{command}`", record["date"], took])
    return rows
