import errno
import importlib
import os
import pathlib
import sys
import zipfile

import keras
import pytest
from typer.testing import CliRunner

import keras_convinit
from keras_convinit import SignalReport, signal_report
from keras_convinit.lab import cli
from keras_convinit.lab.cli import _app
from keras_convinit.lab.data import load
from keras_convinit.lab.model_source import unknown_classes

pytestmark = pytest.mark.once


def invoked(*arguments):
    return CliRunner().invoke(
        cli.app, ["report", *map(str, arguments)], env={"COLUMNS": "100"}
    )


def network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(10, name="dense"),
        ]
    )


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.everywhere
def test_a_file():
    model = network()
    model.save("small.keras")
    result = invoked("small.keras", "--dataset", "digits", "--batch", 16)
    assert result.exit_code == 0, result.output
    digits = load("digits", 16)
    expected = signal_report(model, digits.standardized(digits.train_images))
    assert str(expected) in result.stdout
    assert os.path.getsize("small-signal.png") > 10_000


@pytest.mark.everywhere
def test_a_compiled_file_takes_labels():
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    model.save("small.keras")
    result = invoked("small.keras", "--dataset", "digits", "--batch", 16)
    digits = load("digits", 16)
    x = digits.standardized(digits.train_images)
    assert str(signal_report(model, x, digits.train_labels)) in result.stdout


def test_a_function(tmp_path):
    (tmp_path / "my_networks.py").write_text(
        "import keras\n"
        "def small():\n"
        "    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])\n"
        "number = 3\n"
        "def wide(width):\n"
        "    pass\n"
    )
    result = invoked("my_networks:small", "--output", "figure.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("steady")
    assert (tmp_path / "figure.png").exists()
    result = invoked("my_networks:large")
    assert result.exit_code == _app.MISSING
    assert "package.module:function" in result.stderr
    assert "no attribute 'large'" in result.stderr
    result = invoked("my_networks:smal")
    assert "(did you mean small?)" in result.stderr
    result = invoked("my_networks:wide")
    assert result.exit_code == _app.MISSING
    assert "without arguments" in result.stderr
    assert "'width'" in result.stderr
    result = invoked("my_networks:number")
    assert "must stand for a built Keras model" in result.stderr


CLASSES = """
import keras

@keras.saving.register_keras_serializable("my_package")
class MyLayer(keras.layers.Layer):
    def call(self, x):
        return x
"""


def test_a_file_that_needs_classes(tmp_path, monkeypatch):
    (tmp_path / "my_classes.py").write_text(CLASSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    classes = importlib.import_module("my_classes")
    layers = [keras.Input((5,)), classes.MyLayer(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "custom.keras")
    # As in a process that has not heard of them.
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_classes")
    del keras.saving.get_custom_objects()["my_package>MyLayer"]

    assert unknown_classes(tmp_path / "custom.keras") == ["my_package>MyLayer"]
    result = invoked("custom.keras")
    assert result.exit_code == _app.MISSING
    assert "my_package>MyLayer" in result.stderr
    assert "--import NAME" in result.stderr
    result = invoked("custom.keras", "--import", "my_classes")
    assert result.exit_code == 0, result.output
    assert "MyLayer" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.keras"], "a `.keras` file that exists"),
        (["plain_cn"], "did you mean plain_cnn"),
        (["no_such_module:function"], "no_such_module"),
        ([":function"], "A module must be named as in an import"),
        ([".beside:function"], "A module must be named as in an import"),
        (["small.keras", "--import", "no_such_module"], "no_such_module"),
        (["small.keras", "--dataset", "nothing"], "must be one of digits"),
        (["small.keras", "--dataset", "digits"], "must have images of the shape"),
        (["broken.keras"], "cannot be loaded"),
        (["small.keras", "--output", "no/such/folder.png"], "cannot be written"),
    ],
)
def test_what_can_be_mended(arguments, message, tmp_path):
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]).save("small.keras")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    result = invoked(*arguments)
    assert result.exit_code in (_app.MISSING, _app.WRONG_OPTION)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_inputs_that_are_whole_numbers():
    layers = [keras.Input((5,), dtype="int32"), keras.layers.Embedding(7, 4)]
    keras.Sequential(layers).save("small.keras")
    result = invoked("small.keras")
    assert result.exit_code == _app.MISSING
    assert "no real numbers" in result.stderr


def damaged(offset, value):
    """A file of which one byte of the directory is wrong."""
    network().save("small.keras")
    content = bytearray(pathlib.Path("small.keras").read_bytes())
    place = content.find(b"PK\x01\x02")
    while b"config.json" not in content[place : place + 60]:
        place = content.find(b"PK\x01\x02", place + 1)
    content[place + offset] = value
    return bytes(content)


@pytest.mark.parametrize("command", ["report", "init", "compare"])
@pytest.mark.parametrize(
    "content",
    [
        lambda: damaged(10, 8),
        lambda: damaged(10, 99),
        lambda: damaged(8, 1),
        lambda: damaged(6, 99),
        lambda: damaged(45, 185),
        lambda: b"",
        lambda: b"PK",
    ],
)
def test_a_damaged_file_is_told_in_one_line(command, content):
    with open("bad.keras", "wb") as file:
        file.write(content())
    arguments = {
        "report": ["bad.keras"],
        "init": ["bad.keras", "--output", "new.keras"],
        "compare": ["--model", "bad.keras", "--dataset", "digits", "--output", "out"],
    }
    result = CliRunner().invoke(cli.app, [command, *arguments[command]])
    assert result.exit_code == _app.MISSING, result.output
    assert "bad.keras cannot be loaded" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_what_is_nested_without_end_is_told_in_one_line():
    with zipfile.ZipFile("deep.keras", "w") as archive:
        archive.writestr("config.json", '{"a":' * 100_000 + "1" + "}" * 100_000)
    result = invoked("deep.keras")
    assert result.exit_code == _app.MISSING
    assert "deep.keras cannot be loaded" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_table_is_shown_where_the_figure_finds_no_room(monkeypatch):
    network().save("small.keras")

    def full(report, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SignalReport, "plot", full)
    result = invoked("small.keras")
    assert result.exit_code == _app.MISSING
    assert "layer" in result.stdout
    assert "small-signal.png cannot be written (No space left" in result.stderr
    assert not [name for name in os.listdir() if "png" in name]


@pytest.mark.parametrize(
    ("output", "written"),
    [("s", "s.png"), ("s.v2.pdf", "s.v2.pdf"), ("there/s.svg", "there/s.svg")],
)
def test_the_figure_is_where_it_is_said_to_be(output, written):
    network().save("small.keras")
    os.mkdir("there")
    result = invoked("small.keras", "--output", output)
    assert result.exit_code == 0, result.output
    assert f"Figure: {written}" in result.stdout.splitlines()
    assert os.path.getsize(written) > 1000


@pytest.mark.parametrize("output", [".", "..", "a.bmp2", "there", ""])
def test_what_can_be_no_figure_is_told_before_anything(output, monkeypatch):
    network().save("small.keras")
    os.mkdir("there")
    monkeypatch.setattr("keras_convinit.lab.report.signal_report", None)
    result = invoked("small.keras", "--output", output)
    assert result.exit_code == _app.MISSING
    assert "`output` must be a file for a figure" in result.stderr


def test_the_help_says_what_runs_code():
    for command in ("report", "init", "compare"):
        shown = CliRunner().invoke(cli.app, [command, "--help"]).stdout
        words = " ".join(shown.replace("│", " ").split())
        assert "runs its code" in words
        assert "current folder is looked in first" in words


def test_the_version():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"keras_convinit {keras_convinit.__version__}"


def test_a_figure_is_not_written_through_a_link():
    network().save("small.keras")
    pathlib.Path("precious").write_text("precious")
    pathlib.Path("figure.png").symlink_to("precious")
    invoked("small.keras", "--output", "figure.png")
    assert pathlib.Path("precious").read_text() == "precious"
    assert not pathlib.Path("figure.png").is_symlink()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("plain_cnn:4,width=8", "plain_cnn-4-width-8-signal.png"),
        ("mlp:2,width=8", "mlp-2-width-8-signal.png"),
    ],
)
def test_a_figure_is_named_after_its_network(source, name):
    result = invoked(source)
    assert result.exit_code == 0, result.output
    assert f"Figure: {name}" in result.stdout.splitlines()
    assert os.path.getsize(name) > 1000
