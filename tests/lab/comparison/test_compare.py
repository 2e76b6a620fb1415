import importlib
import json
import signal
import sys

import keras
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from keras_convinit.lab import cli
from keras_convinit.lab.cli import _app
from keras_convinit.lab.comparison import compare as room
from keras_convinit.lab.comparison.run import Runner
from keras_convinit.lab.ownership import owned

pytestmark = pytest.mark.once

SMALL = {
    "model": "plain_cnn:3,width=4,strides=()",
    "dataset": "digits",
    "schemes": "he_normal,auto",
    "learning-rates": "0.1",
    "seeds": "1",
    "epochs": "1",
    "subset": "64",
    "batch-size": "8",
}
FILES = {"runs.jsonl", "compare.png", "report.html"}


@pytest.fixture
def invoked(tmp_path, monkeypatch):
    """Calls the command, with some of its options changed, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(**changes):
        given = {name.replace("_", "-"): value for name, value in changes.items()}
        options = {**SMALL, "output": "out", **given}
        words = [
            word
            for name, value in options.items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]
        return CliRunner().invoke(cli.app, ["compare", *words])

    return invoke


@pytest.fixture
def pretend(monkeypatch, make_run):
    """Runs and figures take no time; in a run somebody may press Ctrl-C."""
    monkeypatch.setattr(room, "comparison_figure", lambda *results: Figure((1, 1)))

    def pretend(interrupted=None):
        done = []

        def run(self, case, after_step):
            if len(done) + 1 == interrupted:
                raise KeyboardInterrupt
            done.append(str(case))
            return make_run(case.scheme, case.learning_rate, case.seed)

        monkeypatch.setattr(Runner, "__call__", run)
        return done

    return pretend


@pytest.mark.everywhere
def test_from_end_to_end_and_again(invoked, tmp_path, monkeypatch):
    result = invoked(schemes="he_normal,auto,fixup")
    assert result.exit_code == 0, result.output
    assert "he_normal, learning rate 0.1, seed 0: " in result.stdout
    assert "fixup, learning rate 0.1, seed 0: refused" in result.stdout
    assert "fixup refused: `model` must have residual blocks" in result.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    path = tmp_path / "out" / "runs.jsonl"
    settings, *runs = map(json.loads, path.read_text().splitlines())
    assert settings["settings"]["images"] == {"training": 58, "validation": 6}
    assert [len(run["accuracies"]) for run in runs] == [7, 7, 0]
    assert "fixup" in (tmp_path / "out" / "report.html").read_text()

    # Somebody pulls the plug while the last two lines are written.
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:-40])
    result = invoked(schemes="he_normal,auto,fixup")
    assert result.exit_code == 0
    assert "that run is done again" in result.stdout
    assert "1 of 3 runs are taken over" in result.stdout
    again = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [run["case"] for run in again] == [run["case"] for run in runs]
    for one, other in zip(runs, again, strict=True):
        assert other["accuracies"] == pytest.approx(one["accuracies"], abs=0.01)
        assert other["beginning"]["report"] == one["beginning"]["report"]

    monkeypatch.setattr(Runner, "__call__", None)
    before = path.read_bytes()
    result = invoked(schemes="he_normal,auto,fixup")
    assert result.exit_code == 0
    assert "3 of 3 runs are taken over" in result.stdout
    assert path.read_bytes() == before


def test_interruption(invoked, pretend, tmp_path):
    pretend(interrupted=2)
    result = invoked()
    assert result.exit_code == _app.INTERRUPTED
    assert "Interrupted after 1 of 2 runs, which are kept. To go on: the same" in (
        result.stdout
    )
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    done = pretend()
    assert invoked().exit_code == 0
    assert done == ["auto, learning rate 0.1, seed 0"]


def test_interruption_of_the_first_run(invoked, pretend, tmp_path):
    pretend(interrupted=1)
    result = invoked()
    assert result.exit_code == _app.INTERRUPTED
    assert "Interrupted after 0 of 2 runs" in result.stdout
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["runs.jsonl"]


def test_more_of_the_same_is_added(invoked, pretend):
    pretend()
    invoked()
    done = pretend()
    result = invoked(schemes="auto,lsuv", learning_rates="0.1,1", seeds="2")
    assert "1 of 8 runs are taken over" in result.stdout
    assert len(done) == 7
    assert "auto, learning rate 0.1, seed 0" not in done
    # One of the two of the first start is not among what was asked for now.
    assert "1 more runs of runs.jsonl are not shown" in result.stdout


def test_other_settings_are_refused(invoked, pretend, tmp_path):
    pretend()
    invoked()
    before = {file: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    result = invoked(epochs="2", clip_norm="1")
    assert result.exit_code == _app.MISSING
    assert "clip_norm is None in the file, 1.0 now" in result.stderr
    assert "epochs is 1 in the file, 2 now" in result.stderr
    result = invoked(model="plain_cnn:3,width=5,strides=()")
    assert "parameters is" in result.stderr
    assert before == {file: file.read_bytes() for file in before}


def test_another_model_in_the_same_file_is_refused(invoked, pretend):
    def saved(activation):
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten()]
        layers.append(keras.layers.Dense(10, activation))
        keras.Sequential(layers).save("small.keras")

    pretend()
    saved(None)
    assert invoked(model="small.keras").exit_code == 0
    result = invoked(model="small.keras")
    assert "2 of 2 runs are taken over" in result.stdout
    # With as many parameters.
    saved("tanh")
    result = invoked(model="small.keras")
    assert result.exit_code == _app.MISSING
    assert "checksum is" in result.stderr


def test_options_arrive(invoked, monkeypatch):
    plans = []

    def compare(plan, output, console, **others):
        plans.append((plan, str(output), others["threshold"]))

    monkeypatch.setattr(cli.compare, "run_compare", compare)
    result = invoked(
        schemes="gradinit:iterations=5,learning_rate=0.1,auto",
        learning_rates="0.5, 1e-3",
        seeds="4",
        momentum="0.5",
        weight_decay="1e-4",
        clip_norm="2",
        schedule="cosine",
        augment="crop_flip:padding=1,flip=False,cutout:size=2",
        threshold="0.75",
    )
    assert result.exit_code == _app.INTERRUPTED
    ((plan, output, threshold),) = plans
    assert plan.schemes == ("gradinit:iterations=5,learning_rate=0.1", "auto")
    assert plan.learning_rates == (0.5, 0.001)
    assert (plan.seeds, plan.momentum, plan.weight_decay) == (4, 0.5, 1e-4)
    assert (plan.clip_norm, plan.schedule) == (2.0, "cosine")
    assert plan.augment == ("crop_flip:padding=1,flip=False", "cutout:size=2")
    assert (output, threshold) == ("out", 0.75)


def test_somebody_s_own_model_and_data(invoked, tmp_path, monkeypatch):
    # Whole numbers as labels, a softmax, and no shape in common with the lab's data.
    (tmp_path / "their_own.py").write_text(
        "import keras\n"
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "def model():\n"
        "    return keras.Sequential([\n"
        "        keras.Input((5, 3, 2)),\n"
        "        keras.layers.Flatten(),\n"
        "        keras.layers.Dense(4, activation='softmax'),\n"
        "    ])\n"
        "def sets():\n"
        "    numbers = np.random.default_rng(0)\n"
        "    x = numbers.normal(size=(22, 5, 3, 2)).astype('float32')\n"
        "    y = numbers.integers(0, 3, 22)\n"
        "    both = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(22)\n"
        "    return both.batch(8), both.batch(8)\n"
    )
    own = {"dataset": "their_own:sets", "subset": None, "schemes": "lsuv"}
    result = invoked(model="their_own:model", **own)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    settings, run = map(json.loads, lines)
    assert settings["settings"]["images"] == {"training": 22, "validation": 22}
    assert len(run["accuracies"]) == 3
    # Not the 128 of the option, which a data set of one's own does not have.
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    assert '<th scope="row">batch size</th><td>8</td>' in page
    assert run["record"]["epochs"][0]["validation_accuracy"] is not None

    result = invoked(model="their_own:model")
    assert result.exit_code == _app.MISSING
    assert "must have images of the shape that the model takes" in result.stderr
    sys.modules.pop("their_own")
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "plain_cn:3"}, 1, "did you mean plain_cnn"),
        ({"model": "plain_cnn:3,widht=4"}, 1, "did you mean width"),
        ({"model": "missing.keras"}, 1, "a `.keras` file that exists"),
        ({"model": "small.keras"}, 1, "images of the shape that the model takes"),
        ({"model": "five.keras"}, 1, "one output of 10 classes"),
        ({"model": "shares.keras"}, 1, "whose outputs are probabilities"),
        ({"dataset": "digit"}, 1, "did you mean digits"),
        ({"schemes": "autoo"}, 2, "did you mean auto"),
        ({"learning_rates": "0.1,fast"}, 2, "must be numbers with commas"),
        ({"batch_size": "59"}, 1, "at most 58, the number of training images"),
        ({"augment": "cutout,crop_flip"}, 1, "in the order of their stages"),
        ({"threshold": "50"}, 2, "`threshold` must be above 0 and at most 1"),
        ({"output": "small.keras"}, 1, "`output` must be a folder"),
    ],
)
def test_what_can_be_mended(invoked, changes, status, message):
    layers = [keras.Input((5,)), keras.layers.Dense(3)]
    keras.Sequential(layers).save("small.keras")
    images, flat = keras.Input((8, 8, 1)), keras.layers.Flatten()
    keras.Sequential([images, flat, keras.layers.Dense(5)]).save("five.keras")
    shares = keras.layers.Dense(10, "softmax")
    end = keras.layers.Rescaling(1.0)
    keras.Sequential([images, flat, shares, end]).save("shares.keras")
    result = invoked(**changes)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_the_numbers_are_kept_when_the_figure_cannot_be(
    invoked, pretend, tmp_path, monkeypatch
):
    def full(path, write):
        raise room.LabError(f"{path} cannot be written (No space left on device).")

    pretend()
    monkeypatch.setattr(room, "write_whole", full)
    result = invoked()
    assert result.exit_code == _app.MISSING
    assert "compare.png cannot be written" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    done = pretend()
    assert invoked().exit_code == 0
    assert not done


def test_a_folder_that_is_in_use_is_refused(invoked, pretend, tmp_path):
    done = pretend()
    with owned(tmp_path / "out"):
        result = invoked()
    assert result.exit_code == _app.MISSING
    assert "out is in use" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not done


def test_a_case_counts_once(invoked, pretend, tmp_path):
    pretend()
    invoked(seeds=2)
    path = tmp_path / "out" / "runs.jsonl"
    first, *runs = path.read_text().splitlines()
    path.write_text("\n".join([first, *runs, *runs]) + "\n")
    result = invoked(seeds=2)
    assert "4 of 4 runs are taken over" in result.stdout
    assert "0 of 2" in result.stdout
    assert "0 of 4" not in result.stdout


def test_signals_are_looked_at_between_runs(invoked, pretend, press, monkeypatch):
    done = pretend()
    run = Runner.__call__

    def pressed(self, case, after_step):
        found = run(self, case, after_step)
        press(signal.SIGTERM)
        return found

    monkeypatch.setattr(Runner, "__call__", pressed)
    result = invoked()
    assert result.exit_code == _app.INTERRUPTED
    assert len(done) == 1
    assert "Interrupted after 1 of 2 runs" in result.stdout
