"""Takes the numbers of lines out of the files of measurements, and judges them."""

import dataclasses
import json
import pathlib

from examples.benchmarks.suite.lines import Amount, Line, Section
from examples.benchmarks.suite.measurements import BACKENDS, MEASUREMENTS, NAMES

_MEASUREMENTS = {measurement.name: measurement for measurement in MEASUREMENTS}


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One measured ratio.

    Args:
        wall: Median of the ratios of wall-clock time.
        low: Their lower quartile.
        high: Their upper quartile.
        cpu: Median of the ratios of processor time.
    """

    wall: float
    low: float
    high: float
    cpu: float

    @property
    def contest(self) -> str:
        """Who wins: a quartile on the other side of 1 leaves it open."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "even"

    def against(self, limit: float) -> str:
        """Whether a limit is kept: a quartile below it leaves it open."""
        if self.wall <= limit:
            return "limit met"
        return "above limit, within noise" if self.low <= limit else "limit missed"


class Results:
    """The files of one folder.

    Args:
        folder: Where they lie.

    Attributes:
        records: What they hold, by measurement and backend.
        failed: Measurements and backends of which the last try failed.
        backends: Those on which something was tried.
        untried: Measurements that were tried on none.
    """

    def __init__(self, folder: pathlib.Path):
        self.records = {}
        self.failed = set()
        for measurement in MEASUREMENTS:
            for backend in measurement.backends:
                key = measurement.name, backend
                path = folder / measurement.file(backend)
                if path.exists():
                    self.records[key] = json.loads(path.read_text())
                if path.with_suffix(".failed").exists():
                    self.failed.add(key)
        keys = self.records.keys() | self.failed
        self._tried = {name for name, _ in keys}
        self.backends = [b for b in BACKENDS if b in {backend for _, backend in keys}]
        self.untried = [name for name in _MEASUREMENTS if name not in self._tried]

    def tried(self, line: Line | Amount) -> bool:
        """Whether a line was, on any backend."""
        return line.source in self._tried

    def in_several_processes(self) -> bool:
        """Whether anything was timed in more than one."""
        settings = (record.get("settings", {}) for record in self.records.values())
        return any(values.get("processes", 1) > 1 for values in settings)

    def ratio(self, line: Line, backend: str) -> Ratio | None:
        """What a line has for a backend; None where it was not measured."""
        row = self._value((line.source, backend), line.row)
        if row is None:
            return None
        wall, cpu = row["wall"], row["cpu"]
        low, high = row["wall_quartiles"]
        if line.inverted:
            return Ratio(1 / wall, 1 / high, 1 / low, 1 / cpu)
        return Ratio(wall, low, high, cpu)

    def amount(self, amount: Amount, backend: str) -> float | None:
        """A number that is no ratio; None where it was not measured."""
        return self._value((amount.source, backend), amount.row)

    def gap(self, source: str, backend: str) -> str:
        """Why a number is not there."""
        if backend not in _MEASUREMENTS[source].backends:
            return ""
        return "failed" if (source, backend) in self.failed else "not measured"

    def from_elsewhere(self) -> int:
        """How many files were made by other commands than those of today."""
        return sum(
            record.get("command") != _MEASUREMENTS[name].command(backend, "full")
            for (name, backend), record in self.records.items()
        )

    def losses(self, section: Section) -> list[str]:
        """Sentences about where ours is slower or over its limit."""
        found = []
        for backend in BACKENDS:
            measured = [
                (line, ratio)
                for line in section.lines
                if (ratio := self.ratio(line, backend)) is not None
            ]
            peers = [pair for pair in measured if pair[0].peer]
            for line, ratio in measured:
                if line.peer:
                    continue
                words = []
                if section.contest and ratio.contest == "slower":
                    words.append(f"slower than {line.against}")
                words += [
                    f"adds more than {peer.what}"
                    for peer, other in peers
                    if ratio.low > other.high
                ]
                if line.limit is not None and ratio.wall > line.limit:
                    noise = ", within noise" if ratio.low <= line.limit else ""
                    words.append(f"above its limit of {line.limit:g}{noise}")
                if words:
                    why = line.losing.get(backend, "")
                    found.append(
                        f"{NAMES[backend]}: {section.title}: {line.what} "
                        f"({ratio.wall:.3g}): {', '.join(words)}."
                        f"{why and f' {why}'}"
                    )
        return found

    def _value(self, key, way):
        value = self.records.get(key, {}).get("rows")
        for name in way:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value
