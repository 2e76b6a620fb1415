"""What commands do when they are killed, started twice, interrupted or damaged.

    python examples/stress.py --tries 3 --seed 0

Each try is drawn by the seed, and is held or failed: a training that is killed and
started again ends with the same weights, two at once do not mix, what is damaged is
told in one line, and so on. Ends with a table, and with status 1 where a try failed.
It takes about two minutes a try on an idle core with PyTorch, and writes into a
temporary folder alone.
"""

import argparse
import contextlib
import dataclasses
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from keras_convinit.lab.comparison.journal import Journal
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.model_source import model_from
from keras_convinit.lab.say import say
from keras_convinit.lab.stories.results import Results
from keras_convinit.lab.training import Result, checkpoint
from keras_convinit.lab.training.keeping import CHECKPOINT
from keras_convinit.lab.training.result import RESULT

ROOT = Path(__file__).parents[1]
INTERRUPTED = 130
# Damaged bytes that are looked at within this process, for each try.
BYTES = 40

RECIPE = ("train", "arpit2019/figure2/mlp10/proposed", "--dataset", "digits")
TRAIN = (*RECIPE, "--subset", "100", "--batch-size", "50", "--epochs", "4")
OTHER_TRAIN = (*TRAIN, "--seed", "1", "--learning-rate", "0.001")
SEARCH = (*TRAIN, "--scheme", "gradinit:iterations=12")
COMPARE = (
    *("compare", "--model", "plain_cnn:3,width=2,strides=()", "--dataset", "digits"),
    *("--subset", "100", "--batch-size", "50", "--epochs", "1", "--seeds", "3"),
    *("--schemes", "auto,he_normal", "--learning-rates", "0.1"),
)
OTHER_COMPARE = (*COMPARE, "--momentum", "0.5")
QUICKSTART = (
    *("quickstart", "--seeds", "1", "--epochs", "1", "--depth", "3", "--width", "2"),
    *("--blocks", "1", "--residual-epochs", "1", "--limit", "64"),
)


class FailedError(Exception):
    """A try that was not held."""


@dataclasses.dataclass(frozen=True)
class End:
    """How a command ended."""

    status: int
    output: str
    error: str

    def must_be(self, *statuses: int) -> None:
        """Without a traceback, and with one of some statuses."""
        if "Traceback" in self.error or self.status not in statuses:
            raise FailedError(f"status {self.status}: {self.error[-300:]}")


def start(command: tuple[str, ...], folder: Path, most: int | None = None) -> Any:
    """Starts a command, which may write files of so many bytes at most."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return subprocess.Popen(
        [sys.executable, "-m", "keras_convinit", *command, "--output", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if most is None else limit,
    )


def ended(process: Any) -> End:
    """Waits for it."""
    output, error = process.communicate()
    return End(process.returncode, output, error)


def run(command: tuple[str, ...], folder: Path, most: int | None = None) -> End:
    """Runs a command to its end."""
    return ended(start(command, folder, most))


@dataclasses.dataclass
class Bench:
    """Where tries take place, and what is right.

    Args:
        folder: For temporary files.
        draws: Decides all that is random in a kind of tries.
        known: The folders of commands that nothing happened to, and their seconds.
        count: Of folders that were made.
    """

    folder: Path
    draws: random.Random
    known: dict[tuple[str, ...], tuple[Path, float]] = dataclasses.field(
        default_factory=dict
    )
    count: int = 0

    def new(self) -> Path:
        """A folder that is not there yet."""
        self.count += 1
        return self.folder / str(self.count)

    def right(self, command: tuple[str, ...]) -> tuple[Path, float]:
        """The folder of a command that nothing happened to, and its seconds."""
        if command not in self.known:
            folder, began = self.new(), time.monotonic()
            run(command, folder).must_be(0)
            self.known[command] = folder, time.monotonic() - began
        return self.known[command]

    def equal(self, command: tuple[str, ...], folder: Path) -> None:
        """Fails unless a folder has what is right, to the bit."""
        there, here = numbers(self.right(command)[0]), numbers(folder)
        if there != here:
            differ = [k for k in {**there, **here} if there.get(k) != here.get(k)]
            raise FailedError(f"other numbers: {', '.join(map(str, differ))}")
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        if left:
            raise FailedError(f"left behind: {', '.join(left)}")


def numbers(folder: Path) -> dict[Any, Any]:
    """What a folder holds of a training or a comparison, without the seconds."""
    found: dict[Any, Any] = {}
    if (folder / RESULT).exists():
        result = Result.load(folder)
        found["settings"] = result.settings
        found["test"] = result.test_accuracy, result.test_loss
        found["epochs"] = [
            dataclasses.replace(one, seconds=0.0) for one in result.record.epochs
        ]
    if (folder / CHECKPOINT).exists():
        with np.load(folder / CHECKPOINT) as file:
            names = [name for name in file.files if name.isdigit()]
            found.update({name: file[name].tobytes() for name in names})
    if (folder / "runs.jsonl").exists():
        for run in journal_of(folder).runs:
            epochs = [dataclasses.replace(e, seconds=0.0) for e in run.record.epochs]
            found[run.case] = epochs, run.accuracies, run.beginning.signal
    return found


def journal_of(folder: Path) -> Journal:
    """The runs of a comparison, whatever it was asked."""
    path = folder / "runs.jsonl"
    about = json.loads(path.read_bytes().split(b"\n")[0])
    return Journal(path, about["settings"])


def killed(bench: Bench, command: tuple[str, ...]) -> None:
    """Killed at a random moment, and started again."""
    _, seconds = bench.right(command)
    folder = bench.new()
    for _ in range(2):
        process = start(command, folder)
        time.sleep(bench.draws.uniform(0.4, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run(command, folder).must_be(0)
    bench.equal(command, folder)


def two_at_once(bench: Bench, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Two in one folder; who is not refused has what it alone would have."""
    _, seconds = bench.right(first)
    folder = bench.new()
    one = start(first, folder)
    time.sleep(bench.draws.uniform(0, 0.5) * seconds)
    two = start(second, folder)
    ends = [ended(one), ended(two)]
    for end in ends:
        end.must_be(0, 1)
        if end.status == 1 and not (
            "in use" in end.error or "other settings" in end.error
        ):
            raise FailedError(end.error[-300:])
    finished = [end.status == 0 for end in ends]
    if not any(finished) or (all(finished) and first != second):
        raise FailedError(f"{sum(finished)} of two came to their end")
    bench.equal(first if finished[0] else second, folder)


def full_disk(bench: Bench, command: tuple[str, ...]) -> None:
    """Files may not grow beyond a random size; then they may."""
    there, _ = bench.right(command)
    largest = max(path.stat().st_size for path in there.iterdir())
    folder = bench.new()
    most = bench.draws.randrange(200, largest)
    end = run(command, folder, most)
    end.must_be(0, 1)
    if end.status == 1 and "cannot be written" not in end.error:
        raise FailedError(end.error[-300:])
    run(command, folder).must_be(0)
    bench.equal(command, folder)


def interrupted(bench: Bench, command: tuple[str, ...]) -> None:
    """Ctrl-C or SIGTERM at a random moment, and the same command again."""
    _, seconds = bench.right(command)
    folder = bench.new()
    process = start(command, folder)
    # When it has begun: before, Python itself may be interrupted.
    while process.poll() is None and not folder.exists():
        time.sleep(0.01)
    time.sleep(bench.draws.uniform(0, 0.6) * seconds)
    process.send_signal(bench.draws.choice([signal.SIGINT, signal.SIGTERM]))
    end = ended(process)
    end.must_be(0, INTERRUPTED)
    run(command, folder).must_be(0)
    bench.equal(command, folder)


def links(bench: Bench, command: tuple[str, ...]) -> None:
    """Links to a precious file at the names of all files, and beside them."""
    there, _ = bench.right(command)
    folder = bench.new()
    folder.mkdir()
    precious = bench.folder / "precious"
    precious.write_text("precious")
    dangling = bench.folder / "nowhere"
    names = [path.name for path in there.iterdir() if path.is_file()]
    names.remove(RESULT)
    for name in names:
        (folder / f"{name}.unfinished").symlink_to(precious)
        if name not in (CHECKPOINT, "runs.jsonl"):
            (folder / name).symlink_to(bench.draws.choice([precious, dangling]))
    run(command, folder).must_be(0, 1)
    if precious.read_text() != "precious" or dangling.exists():
        raise FailedError("written through a link")


@contextlib.contextmanager
def damaged(bench: Bench, path: Path) -> Iterator[Path]:
    """A copy of a file in a folder of its own, with one byte changed or lost."""
    folder = bench.new()
    shutil.copytree(path.parent, folder)
    content = bytearray(path.read_bytes())
    place = bench.draws.randrange(len(content))
    if bench.draws.random() < 0.1:
        content = content[:place]
    else:
        content[place] ^= 1 << bench.draws.randrange(8)
    (folder / path.name).write_bytes(content)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder)


def damage(bench: Bench, path: Path, read: Callable[[Path], Any]) -> None:
    """Random damage: told in one line, or without a trace in what is read."""
    right = read(path)
    for _ in range(BYTES):
        with damaged(bench, path) as copy:
            try:
                found = read(copy)
            except LabError as error:
                if "\n" in str(error):
                    raise FailedError(f"several lines: {error}") from error
                continue
            except Exception as error:
                raise FailedError(f"{type(error).__name__}: {error}") from error
        if found != right:
            raise FailedError(f"{copy.name}: other content was believed")


def damaged_result(bench: Bench) -> None:
    folder, _ = bench.right(TRAIN)
    damage(bench, folder / RESULT, lambda path: Result.load(path.parent))


def damaged_checkpoint(bench: Bench) -> None:
    folder, _ = bench.right(TRAIN)
    damage(bench, folder / CHECKPOINT, checkpoint.settings_of)


def damaged_runs(bench: Bench) -> None:
    folder, _ = bench.right(COMPARE)
    about = json.loads((folder / "runs.jsonl").read_text().splitlines()[0])
    right = {run.case: run for run in journal_of(folder).runs}

    def read(path: Path) -> bool:
        journal = Journal(path, about["settings"])
        whole = len(journal.runs) == len(right) or bool(journal.notes)
        # An end of line may be gone: then the last run is done again.
        return whole and all(right.get(run.case) == run for run in journal.runs)

    damage(bench, folder / "runs.jsonl", read)


def damaged_quickstart(bench: Bench) -> None:
    folder, _ = bench.right(QUICKSTART)
    damage(bench, folder / "quickstart.json", Results.load)


def damaged_model(bench: Bench) -> None:
    folder = bench.new()
    folder.mkdir()
    path = folder / "model.keras"
    layers = [keras.layers.Dense(8, name=f"dense_{i}") for i in range(3)]
    keras.Sequential([keras.Input((8,)), *layers]).save(path)

    def read(path: Path) -> list[bytes]:
        # Keras warns of what it does not find.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = model_from(str(path)).get_weights()
        return [weight.tobytes() for weight in weights]

    damage(bench, path, read)


TRIES: dict[str, Callable[[Bench], None]] = {
    "train, killed twice": lambda bench: killed(bench, TRAIN),
    "compare, killed twice": lambda bench: killed(bench, COMPARE),
    "two equal train at once": lambda bench: two_at_once(bench, TRAIN, TRAIN),
    "two different train at once": lambda b: two_at_once(b, TRAIN, OTHER_TRAIN),
    "two equal compare at once": lambda b: two_at_once(b, COMPARE, COMPARE),
    "two different compare at once": lambda b: two_at_once(b, COMPARE, OTHER_COMPARE),
    "train, full disk": lambda bench: full_disk(bench, TRAIN),
    "compare, full disk": lambda bench: full_disk(bench, COMPARE),
    "train, interrupted": lambda bench: interrupted(bench, TRAIN),
    "search of train, interrupted": lambda bench: interrupted(bench, SEARCH),
    "compare, interrupted": lambda bench: interrupted(bench, COMPARE),
    "links in the way of train": lambda bench: links(bench, TRAIN),
    f"result.json, {BYTES} damages": damaged_result,
    f"checkpoint.npz, {BYTES} damages": damaged_checkpoint,
    f"runs.jsonl, {BYTES} damages": damaged_runs,
    f"quickstart.json, {BYTES} damages": damaged_quickstart,
    f"model.keras, {BYTES} damages": damaged_model,
}


def main(arguments: list[str] | None = None) -> int:
    """Makes the tries, and prints what became of them."""
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=summary, epilog=more.strip())
    parser.add_argument("--tries", type=int, default=3, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="decides all of them")
    parser.add_argument("--only", default="", help="kinds with this in their names")
    options = parser.parse_args(arguments)
    console = Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column(f"on {keras.backend.backend()}")
    for name in ("tries", "held", "failed"):
        table.add_column(name, justify="right")
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), random.Random())
        for name, attempt in TRIES.items():
            if options.only not in name:
                continue
            bench.draws = random.Random(f"{options.seed} {name}")
            failed = 0
            for number in range(options.tries):
                began = time.monotonic()
                try:
                    attempt(bench)
                    end = "held"
                except FailedError as error:
                    failed += 1
                    end = f"FAILED: {error}"
                seconds = time.monotonic() - began
                say(console, f"{name}, {number + 1}: {end} ({seconds:.0f} s)")
            worst = max(worst, failed)
            held = options.tries - failed
            table.add_row(name, str(options.tries), str(held), str(failed))
    console.print(table)
    return 1 if worst else 0


if __name__ == "__main__":
    # A shell that starts this in the background has Ctrl-C ignored, and that would be
    # inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
