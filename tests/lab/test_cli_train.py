import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_convinit.lab import cli, recipes
from keras_convinit.lab.training import train

pytestmark = pytest.mark.once

NAME = "arpit2019/figure2/mlp2/proposed"
SMALL = ["--dataset", "digits", "--subset", "200", "--batch-size", "32"]


def invoked(*arguments):
    return CliRunner().invoke(cli.app, ["train", *map(str, arguments)])


@pytest.mark.everywhere
def test_options_arrive(tmp_path):
    options = ["--epochs", 1, "--seed", 5, "--learning-rate", 0.2]
    options += ["--scheme", "he_normal", "--precision", "mixed_bfloat16", "--no-xla"]
    result = invoked(NAME, "--output", tmp_path, *SMALL, *options)
    assert result.exit_code == 0, result.output
    assert f"{NAME}: " in result.stdout
    assert "% of the test images, epochs: 1" in result.stdout
    values = json.loads((tmp_path / "result.json").read_text())
    assert values["overrides"] == {
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 0.2,
        "dataset": "digits",
        "scheme": "he_normal",
    }
    settings = values["settings"]
    assert settings["recipe"]["optimizer"]["learning_rate"] == 0.2
    assert settings["recipe"]["initialization"]["scheme"] == "he_normal"
    assert settings["seed"] == 5
    assert settings["subset"] == 200
    assert settings["precision"] == "mixed_bfloat16"
    assert settings["xla"] is False


def test_divergence_ends_well(tmp_path):
    wild = ["--learning-rate", 1e30, "--epochs", 2]
    result = invoked(NAME, "--output", tmp_path, *SMALL, *wild)
    assert result.exit_code == 0, result.output
    assert "diverged in epoch 1: accuracy 0" in result.stdout
    assert json.loads((tmp_path / "result.json").read_text())["test_accuracy"] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["arpit2019/figure2/mlp3/proposed"], 1, "The nearest: arpit2019/figure2/mlp2"),
        ([NAME, "--precision", "float8"], 2, "precision='float8'"),
        ([NAME, "--scheme", "best"], 2, "initializer 'best'"),
        ([NAME, "--distribute", "multi_worker"], 2, "mirrored, data_parallel"),
        (["arpit2019/table2/resnet56/he"], 1, "--epochs N"),
        (
            ["arpit2019/table2/resnet56/he"],
            1,
            "python -m keras_convinit hessian arpit2019/table2/resnet56/he",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, arguments, status, message):
    result = invoked(*arguments, "--output", tmp_path)
    assert result.exit_code == status
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    result = invoked(NAME, "--output", file / "within", *SMALL)
    assert result.exit_code == 1
    assert "must be a folder that can be written to" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_help_points_to_what_works():
    shown = " ".join(invoked("--help").stdout.split())
    assert "MultiWorkerMirroredStrategy" in shown
    assert "data_parallel" in shown


def state(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return {name: file[name] for name in file.files if name != "about"}


@pytest.fixture
def one_thread(monkeypatch):
    """PyTorch's threads wait for each other where others are at work, too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.process
@pytest.mark.everywhere
def test_a_killed_training_ends_like_another(tmp_path, root, one_thread):
    settings = {"dataset": "digits", "epochs": 4, "batch_size": 16}
    command = [sys.executable, "-m", "keras_convinit", "train", NAME]
    command += ["--dataset", "digits", "--epochs", "4", "--batch-size", "16"]
    command += ["--output", str(tmp_path / "killed")]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    where = {"cwd": root, "env": environment, "stdout": subprocess.DEVNULL}

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **where)
    log = tmp_path / "killed" / "log.csv"
    # After the first epoch, somewhere in what follows it.
    while process.poll() is None and not (
        log.exists() and len(log.read_text().splitlines()) > 1
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()

    again = subprocess.run(command, stderr=subprocess.PIPE, text=True, **where)
    assert again.returncode == 0, again.stderr
    values = json.loads((tmp_path / "killed" / "result.json").read_text())
    whole = train(recipes.get(NAME), output=tmp_path / "whole", **settings)
    epochs = values["record"]["epochs"]
    assert [epoch["number"] for epoch in epochs] == [1, 2, 3, 4]
    assert [epoch["loss"] for epoch in epochs] == [e.loss for e in whole.record.epochs]
    assert values["test_accuracy"] == whole.test_accuracy
    killed, uninterrupted = state(tmp_path / "killed"), state(tmp_path / "whole")
    assert killed.keys() == uninterrupted.keys()
    for name, value in killed.items():
        if not name.startswith("generator"):
            np.testing.assert_array_equal(value, uninterrupted[name])


def test_it_says_how_long_it_is_and_goes_on_as_asked(tmp_path):
    result = invoked(NAME, "--output", tmp_path, *SMALL, "--epochs", 2, "--resume")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{NAME}: mlp on digits, 2 epochs, by arpit, on ")
    assert lines[1].startswith("Epochs 1 to 2, each of 5 steps of 32 images.")
    assert lines[2].startswith("Epoch 1 of 2: loss ")
    assert "to go" in lines[2]
    assert lines[3].startswith("Epoch 2 of 2: loss ")
    # What has a result has nothing more to do.
    again = invoked(NAME, "--output", tmp_path, *SMALL, "--epochs", 2)
    assert again.exit_code == 0
    assert "Epoch 1" not in again.stdout


def test_a_preset_can_be_typed(tmp_path):
    scheme = "zhang_backward:gamma=zhang2022/cifar10/vgg19"
    options = [*SMALL, "--epochs", 1, "--scheme", scheme]
    result = invoked(NAME, "--output", tmp_path, *options)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "result.json").read_text())
    given = values["settings"]["recipe"]["initialization"]["arguments"]
    assert given == {"gamma": "zhang2022/cifar10/vgg19"}
