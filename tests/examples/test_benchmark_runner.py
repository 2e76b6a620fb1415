"""`python -m examples.benchmarks`: what it runs, keeps and writes."""

import importlib
import json
import subprocess
import sys

import keras
import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.once

SCRIPT = """
import json, os, pathlib, platform, sys
*arguments, _, path = sys.argv[1:]
if "fail" in arguments:
    sys.exit("no numbers today")
calls = pathlib.Path(__file__).with_name("calls")
with calls.open("a") as file:
    print(os.environ["KERAS_BACKEND"], *arguments, file=file)
sys.path.insert(0, "examples/benchmarks")
from paired import machine
pathlib.Path(path).write_text(json.dumps({
    "rows": {"weight norm": {"wall": 1.5, "cpu": 1.4, "wall_quartiles": [1.4, 1.6]}},
    "versions": {"python": platform.python_version(), "keras": %r},
    "machine": machine(),
    "date": "2026-01-02",
}))
"""


@pytest.fixture
def suite(root, monkeypatch):
    """Imports a module of the suite."""
    monkeypatch.syspath_prepend(str(root))
    return lambda name: importlib.import_module(f"examples.benchmarks.suite.{name}")


@pytest.fixture
def script(tmp_path):
    """A script that keeps made-up numbers, or fails if its arguments say so."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT % keras.__version__)
    return path


@pytest.fixture
def made_up(suite, script):
    """A measurement by that script."""
    name = str(script.with_suffix(""))
    return suite("measurements").Measurement("made_up", name, "--a 1", "--a 0")


def calls(script):
    return script.with_name("calls").read_text().splitlines()


def test_what_is_there_is_not_measured_again(suite, script, made_up, tmp_path):
    run = suite("running").run
    folder = tmp_path / "results"
    assert run(made_up, "jax", "smoke", folder).state == "measured"
    assert run(made_up, "jax", "smoke", folder).state == "kept"
    assert calls(script) == ["jax --a 0"]
    record = json.loads((folder / "made_up_jax.json").read_text())
    assert record["command"].startswith("KERAS_BACKEND=jax python ")
    assert record["command"].endswith("script.py --a 0")
    assert record["seconds"] > 0
    # Neither other backends nor other arguments are there.
    assert run(made_up, "torch", "smoke", folder).state == "measured"
    assert run(made_up, "jax", "full", folder).state == "measured"
    assert run(made_up, "jax", "full", folder, again=True).state == "measured"
    assert calls(script)[1:] == ["torch --a 0", "jax --a 1", "jax --a 1"]


@pytest.mark.parametrize("changed", ["machine", "keras", "python", "not installed"])
def test_numbers_of_elsewhere_are_measured_again(suite, made_up, tmp_path, changed):
    running = suite("running")
    running.run(made_up, "jax", "smoke", tmp_path)
    path = tmp_path / "made_up_jax.json"
    command = made_up.command("jax", "smoke")
    assert running.is_current(path, command)
    record = json.loads(path.read_text())
    place = record if changed == "machine" else record["versions"]
    place[changed] = "another"
    path.write_text(json.dumps(record))
    assert not running.is_current(path, command)


def test_a_failure_stops_nobody(suite, script, made_up, tmp_path, capsys):
    main = importlib.import_module("examples.benchmarks.__main__")
    broken = suite("measurements").Measurement("broken", made_up.script, "", "fail")
    plan = [(broken, "torch"), (made_up, "torch")]
    assert main.measure(plan, "smoke", tmp_path, False) == 1
    printed = capsys.readouterr().out
    assert "1/2 broken, torch: failed: no numbers today" in printed
    assert "2/2 made_up, torch: measured" in printed
    assert "no numbers today" in (tmp_path / "broken_torch.failed").read_text()
    assert not (tmp_path / "broken_torch.json").exists()
    # What failed is tried again, what succeeded is not.
    assert main.measure(plan, "smoke", tmp_path, False) == 1
    assert calls(script) == ["torch --a 0"]


def test_a_failure_leaves_earlier_numbers_and_is_forgotten(suite, made_up, tmp_path):
    measurements, run = suite("measurements"), suite("running").run
    run(made_up, "jax", "smoke", tmp_path)
    before = (tmp_path / "made_up_jax.json").read_text()
    broken = measurements.Measurement("made_up", made_up.script, "", "fail")
    assert run(broken, "jax", "smoke", tmp_path).state == "failed"
    assert (tmp_path / "made_up_jax.json").read_text() == before
    assert run(made_up, "jax", "smoke", tmp_path).state == "measured"
    assert not (tmp_path / "made_up_jax.failed").exists()


def test_ended_by_the_user(suite, made_up, tmp_path, monkeypatch, capsys):
    main = importlib.import_module("examples.benchmarks.__main__")
    run = main.run

    def ended(measurement, backend, *arguments):
        if backend == "torch":
            raise KeyboardInterrupt
        return run(measurement, backend, *arguments)

    monkeypatch.setattr(main, "run", ended)
    plan = [(made_up, "jax"), (made_up, "torch"), (made_up, "tensorflow")]
    assert main.measure(plan, "smoke", tmp_path, False) == 130
    assert "goes on from here" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.json")] == ["made_up_jax.json"]


def record(rows, command="", **changes):
    """A file of numbers as scripts write it."""
    return {
        "command": command,
        "seconds": 12.3,
        "rows": rows,
        "versions": {"keras": "3.15.1", "jax": "0.10.2"},
        "machine": "Abacus, 2 cores",
        "date": "2026-01-02",
        **changes,
    }


def ratio(wall, low, high, cpu=1.0):
    return {"wall": wall, "cpu": cpu, "wall_quartiles": [low, high]}


@pytest.fixture
def results(suite, tmp_path):
    """Results of files that a test writes."""

    def read(**files):
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return suite("reading").Results(tmp_path)

    return read


def cells(text, *words):
    """The cells of the one line that has all words."""
    (line,) = [
        line
        for line in text.splitlines()
        if all(f"| {word} |" in line for word in words)
    ]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_loss_is_told_with_its_reason_where_there_is_one(suite, results):
    rows = {"stack": {"compared": {"step": ratio(2.0, 1.9, 2.1)}}}
    found = results(stack_30_jax=record(rows), stack_30_torch=record(rows))
    sections = suite("sections").SECTIONS
    (section,) = [s for s in sections if s.lines[0].source == "stack_30"]
    jax, torch = found.losses(section)
    assert jax.startswith("JAX: ")
    assert "slower than layer by layer. XLA is slow at gradients" in jax
    assert torch.endswith("(2): slower than layer by layer.")


def test_a_line_of_the_table(suite, results):
    rows = {
        "weight norm": ratio(1.02, 0.98, 1.04, 1.01),
        "batch norm": ratio(1.2, 1.1, 1.3),
        "spectral norm": ratio(0.9, 0.8, 0.95),
    }
    slow = {"weight norm": ratio(1.25, 1.21, 1.3)}
    # Two whose quartiles overlap: nobody loses.
    close = {
        "weight norm": ratio(1.02, 0.98, 1.04),
        "batch norm": ratio(1.01, 0.97, 1.03),
    }
    text = suite("table").page(
        results(
            weight_norm_step_xla_64_tensorflow=record(close),
            weight_norm_step_64_jax=record(rows),
            weight_norm_step_64_torch=record(slow),
            weight_norm_peers_64_torch=record({"weight norm": ratio(1.1, 1.05, 1.2)}),
        ),
        "f.png",
    )
    section = text.partition("batch 64\n")[2].partition("##")[0]
    assert cells(section, "weight norm, ours")[2:] == [
        "not measured",
        "1.020 (0.980 to 1.040) / 1.010<br>even<br>limit met",
        "1.250 (1.210 to 1.300) / 1.000<br>slower<br>limit missed",
        "1.03",
    ]
    jax = 3
    assert cells(section, "*Keras' BatchNormalization*")[jax].endswith("<br>slower")
    assert cells(section, "*Keras' SpectralNormalization*")[jax].endswith("<br>faster")
    # TensorFlow has none of its own.
    assert cells(section, "plain convolutions of theirs")[2] == ""
    losses = text.partition("## Where ours is slower")[2].partition("##")[0]
    jax, torch = sorted(losses.split("\n\n")[1].splitlines())
    assert "PyTorch" in torch
    assert torch.endswith(
        "(1.25): slower than plain Conv2D, adds more than weight norm of Flax (JAX) "
        "and of PyTorch, above its limit of 1.03."
    )
    assert jax.endswith("(1.02): adds more than Keras' SpectralNormalization.")
    assert "Measured 2026-01-02 on Abacus, 2 cores: JAX 0.10.2, Keras 3.15.1." in text
    assert "4 of 4 files" in text
    assert "in several" not in text


def test_the_page_says_where_and_how(suite, results):
    read = results(
        folded_inference_jax=record(
            {}, accelerator="Babbage", settings={"processes": 4}
        )
    )
    text = suite("table").page(read, "f.png")
    assert "Measured 2026-01-02 on Abacus, 2 cores, Babbage: JAX" in text
    assert "in one process, and where little is at stake in several" in text


@pytest.mark.parametrize(
    ("wall", "low", "expected"),
    [
        (1.1, 1.05, "limit met"),
        (1.11, 1.09, "above limit, within noise"),
        (1.2, 1.11, "limit missed"),
    ],
)
def test_limits(suite, wall, low, expected):
    assert suite("reading").Ratio(wall, low, 9, 1).against(1.1) == expected


def test_ours_comes_first_whatever_the_file_divides_by(suite, results):
    row = {"AutoAugment: RandAugment of batches": ratio(10.0, 8.0, 20.0, 16.0)}
    read = results(augmentation_tensorflow=record(row))
    text = suite("table").page(read, "f.png")
    cell = cells(text, "Keras' RandAugment, batch by batch")[2]
    assert cell == "0.100 (0.050 to 0.125) / 0.062<br>faster"


def test_amounts_and_failures(suite, results, tmp_path):
    (tmp_path / "initializers_torch.failed").write_text("why")
    rows = {"import_seconds": 0.25, "ZhangForward": ratio(1.0, 0.9, 1.2)}
    text = suite("table").page(results(initializers_jax=record(rows)), "f.png")
    imported = cells(text, "`import keras_convinit` after `import keras`")
    assert imported[1:] == ["0.25 s<br>limit missed", "failed", "0.1 s"]
    assert cells(text, "ZhangForward")[3] == "failed"
    # Nothing of TensorFlow, of layers and of depth, for which there is nothing.
    assert "TensorFlow" not in text.partition("##")[2].partition("Not measured")[0]
    assert "blocks" not in text
    _, _, missing = text.partition("Not measured here: ")
    assert "stack_1666" in missing
    assert "initializers" not in missing


def test_commands_of_today_are_not_called_others(suite, results):
    measurements = {m.name: m for m in suite("measurements").MEASUREMENTS}
    command = measurements["weight_norm_step_256"].command("jax", "full")
    rows = {"weight norm": ratio(1.0, 1.0, 1.0)}
    text = suite("table").page(
        results(weight_norm_step_256_jax=record(rows, command)), "f.png"
    )
    assert "other commands" not in text
    assert f"| `{command}` | 2026-01-02 | 12 s |" in text
    assert "width 256 --batch 8" in command


def test_lines_are_of_measurements_that_exist(suite):
    measurements = {m.name: m for m in suite("measurements").MEASUREMENTS}
    sections = suite("sections").SECTIONS
    used = {line.source for section in sections for line in section.lines}
    used |= {amount.source for amount in suite("amounts").AMOUNTS}
    assert used == set(measurements)
    scripts = suite("running").SCRIPTS
    for measurement in measurements.values():
        assert (scripts / f"{measurement.script}.py").exists()


def test_the_repository_shows_what_it_keeps(suite, root):
    table, folder = suite("table"), root / "examples" / "benchmarks"
    for place in (folder / "gpu", folder):
        kept = suite("reading").Results(place / "results")
        written = (place / "RESULTS.md").read_text()
        assert written == table.page(kept, "benchmarks.png")
    readme = (root / "README.md").read_text()
    shown = readme.partition(table.BEGIN)[2].partition(table.END)[0]
    assert shown == f"\n\n{table.excerpt(kept)}\n\n"


@pytest.fixture
def command(suite):
    """Runs the command in this process."""
    app = importlib.import_module("examples.benchmarks.__main__").app
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.process
def test_the_command(root, command, tmp_path):
    """One real measurement, in small, from the command to page and figure."""
    backend = keras.backend.backend()
    place = ("--output", str(tmp_path))
    arguments = ["--scale", "smoke", "--only", "folded_inference", *place]
    done = subprocess.run(
        [sys.executable, "-m", "examples.benchmarks", *arguments, "--backend", backend],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1/1 folded_inference" in done.stdout
    name = f"folded_inference_{backend}.json"
    kept = json.loads((tmp_path / "results" / name).read_text())
    assert kept["versions"]["keras"] == keras.__version__
    text = (tmp_path / "RESULTS.md").read_text()
    shown = "".join(cells(text, "weight norm, folded", "plain Conv2D"))
    cpu = kept["rows"]["folded weight norm"]["cpu"]
    assert f"/ {cpu:.3f}" in shown or f"/ {cpu:.2f}" in shown
    assert "1 of 1 files" in text
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")

    (tmp_path / "RESULTS.md").unlink()
    assert command("--report-only", *place).exit_code == 0
    assert (tmp_path / "RESULTS.md").read_text() == text


def test_names_that_are_none(command, tmp_path):
    wrong = command("--only", "nothing", "--output", str(tmp_path / "new"))
    assert wrong.exit_code == 2
    assert "Received: only=nothing" in " ".join(wrong.output.split())
    assert not (tmp_path / "new").exists()
