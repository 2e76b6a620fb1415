import json
import pathlib

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from keras_convinit import initialize
from keras_convinit.lab import cli
from keras_convinit.lab.cli import _app
from keras_convinit.lab.data import load
from keras_convinit.lab.scheme_source import scheme_call, scheme_from
from keras_convinit.schemes import ScaleSearch

pytestmark = pytest.mark.once

SMALL = "plain_cnn:3,width=4,strides=()"


def invoked(*arguments):
    return CliRunner().invoke(
        cli.app, ["init", *map(str, arguments)], env={"COLUMNS": "100"}
    )


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def network(classes=10):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )


@pytest.mark.everywhere
def test_a_file_is_initialized_and_written():
    model = network()
    model.save("small.keras")
    arguments = ["--scheme", "lsuv:tolerance=0.1", "--dataset", "digits"]
    arguments += ["--limit", 64, "--output", "out/ready.keras", "--seed", 3]
    result = invoked("small.keras", *arguments)
    assert result.exit_code == 0, result.output
    digits = load("digits", 64)
    x = digits.standardized(digits.train_images)
    report = initialize(model, "lsuv", data=x, seed=3, tolerance=0.1)
    written = keras.models.load_model("out/ready.keras")
    for one, other in zip(written.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    told = json.loads(pathlib.Path("out/ready.json").read_text())
    assert told["scheme"] == "LSUV"
    deviations = [row["output_std_before"] for row in told["rows"]]
    assert deviations == [row.output_std_before for row in report.rows]
    assert str(report).splitlines()[0] in result.stdout


def test_a_network_of_the_lab_by_a_scheme_that_searches():
    arguments = ["--scheme", "gradinit:iterations=2,batch_size=8", "--dataset"]
    result = invoked(SMALL, *arguments, "digits", "--output", "ready.keras")
    assert result.exit_code == 0, result.output
    told = json.loads(pathlib.Path("ready.json").read_text())
    assert len(told["history"]["gradient_norm"]) == 2
    assert keras.models.load_model("ready.keras").input_shape == (None, 8, 8, 1)


def test_a_keras_initializer_and_no_data():
    network().save("small.keras")
    result = invoked(
        "small.keras", "--scheme", "orthogonal:gain=0.0", "--output", "a.keras"
    )
    assert result.exit_code == 0, result.output
    assert not keras.models.load_model("a.keras").get_weights()[0].any()


def test_what_is_there_is_not_lost():
    network().save("small.keras")
    before = pathlib.Path("small.keras").read_bytes()
    result = invoked("small.keras", "--output", "small.keras")
    assert result.exit_code == _app.MISSING
    assert "--overwrite" in result.stderr
    assert pathlib.Path("small.keras").read_bytes() == before
    result = invoked("small.keras", "--output", "small.keras", "--overwrite")
    assert result.exit_code == 0, result.output
    assert pathlib.Path("small.keras").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheme", "lsvu"], "no scheme or Keras initializer 'lsvu' (did you mean"),
        (["--scheme", "lsuv:tolerance=-1"], "`tolerance` must be"),
        (["--scheme", "lsuv:tolerence=1"], "no argument 'tolerence' (did you mean tol"),
        (["--scheme", "lsuv:1"], "Arguments of a scheme must have names"),
        (["--scheme", "he_normal:gain=2"], "must be given arguments that it takes"),
        (["--scheme", "lsuv"], "`data` must be given"),
        (["--scheme", "gradinit"], "On the command line: --dataset digits|"),
        (["--scheme", "constant"], "must be given arguments that it takes"),
        (["--loss", "sparse_categorical"], "(did you mean sparse_categorical_crosse"),
        (["--scheme", "fixup"], "was not initialized"),
        (["--dataset", "mnist "], "`dataset` must be one of"),
        (["--output", "a.h5"], "`output` must be a .keras file"),
        (["--output", "small.keras/a.keras"], "`output` must be a fo"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message):
    network().save("small.keras")
    result = invoked("small.keras", "--output", "a.keras", *arguments)
    assert result.exit_code in (_app.MISSING, _app.WRONG_OPTION)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


def test_a_model_for_other_data_is_refused():
    network(classes=7).save("small.keras")
    options = ["--scheme", "lsuv", "--dataset", "digits", "--output", "a.keras"]
    result = invoked("small.keras", *options)
    assert "one output of 10 classes" in result.stderr
    result = invoked("resnet_cifar:21", *options)
    assert "`depth` of a resnet_cifar must be 6n" in result.stderr


def test_ctrl_c_in_a_search_writes_nothing(press, monkeypatch):
    (kind,) = (
        each
        for each in ScaleSearch.__subclasses__()
        if each.__module__.endswith("gradinit")
    )
    step, seen = kind.step, []

    def pressed(self):
        seen.append(self)
        if len(seen) == 2:
            press()
        return step(self)

    monkeypatch.setattr(kind, "step", pressed)
    scheme = ["--scheme", "gradinit:iterations=3,batch_size=8"]
    arguments = [*scheme, "--dataset", "digits", "--limit", 64]
    result = invoked(SMALL, *arguments, "--output", "ready.keras")
    assert result.exit_code == 130
    assert not list(pathlib.Path().iterdir())


def test_a_loss_is_found_or_named():
    network().save("small.keras")
    search = ["--scheme", "metainit:steps=1,batch_size=8"]
    result = invoked("small.keras", *search, "--output", "a.keras")
    assert result.exit_code == 0, result.output
    assert "Loss: cross-entropy of classes, from logits" in result.stdout
    result = invoked("small.keras", *search, "--loss", "mse", "--output", "b.keras")
    assert result.exit_code == 0, result.output
    assert "Loss: mse" in result.stdout
    losses = [
        json.loads(pathlib.Path(f"{name}.json").read_text())["history"]["loss"]
        for name in "ab"
    ]
    assert losses[0] != losses[1]


def test_arguments_that_an_initializer_cannot_do_without_can_be_given():
    network().save("small.keras")
    scheme = ["--scheme", "constant:value=0.5"]
    result = invoked("small.keras", *scheme, "--output", "a.keras")
    assert result.exit_code == 0, result.output
    kernel = keras.models.load_model("a.keras").get_weights()[0]
    np.testing.assert_array_equal(kernel, 0.5)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (
            "zhang_backward:gamma=zhang2022/cifar100/resnet110",
            {"gamma": "zhang2022/cifar100/resnet110"},
        ),
        (
            "gradinit:preset=zhu2021/cifar10/vgg19_bn,iterations=3",
            {"preset": "zhu2021/cifar10/vgg19_bn", "iterations": 3},
        ),
    ],
)
def test_presets_can_be_typed(text, arguments):
    assert scheme_call(text) == (text.partition(":")[0], arguments)
    scheme_from(text)
