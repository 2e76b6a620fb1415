import dataclasses
import io
import json
import signal
import zipfile

import keras
import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.ownership import owned
from keras_convinit.lab.recipes import Initialization, Optimizer
from keras_convinit.lab.training import Result, network, train
from keras_convinit.lab.training.keeping import Keeper
from keras_convinit.lab.training.settings import Settings
from keras_convinit.schemes import ScaleSearch

pytestmark = pytest.mark.once


@pytest.mark.everywhere
def test_a_recipe_is_carried_out(recipe, tmp_path):
    result = train(recipe, seed=3, epochs=3, output=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "settings.json",
        "checkpoint.npz",
        "log.csv",
        "events",
        "result.json",
    }
    # Chance is a tenth.
    assert result.test_accuracy > 0.3
    assert not result.diverged
    assert [epoch.number for epoch in result.record.epochs] == [1, 2, 3]
    assert result.watched == "validation"
    assert result.budget == {
        "epochs": 3,
        "steps_per_epoch": 10,
        "batch_size": 128,
        "train_images": 1293,
        "validation_images": 144,
        "test_images": 360,
        # Two hidden layers and a classifier.
        "parameters": 65 * 16 + 17 * 16 + 17 * 10,
        "devices": 1,
    }
    values = json.loads(
        (tmp_path / "result.json").read_text(), parse_constant=pytest.fail
    )
    assert values["recipe"] == "test/small/mlp"
    assert values["overrides"] == {"epochs": 3}
    assert values["settings"]["seed"] == 3
    assert values["settings"]["version of"]["backend"] == keras.backend.backend()
    # A second start finds it finished.
    assert train(recipe, seed=3, epochs=3, output=tmp_path) == Result.load(tmp_path)
    # And all that is random comes from the seed.
    again = train(recipe, seed=3, epochs=3)
    assert again.test_loss == pytest.approx(result.test_loss, rel=1e-6)


def test_other_settings_are_refused_and_named(recipe, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(LabError) as raised:
        train(recipe, seed=1, epochs=1, learning_rate=0.2, output=tmp_path)
    error = str(raised.value)
    assert "recipe.optimizer.learning_rate is 0.1 in the file, 0.2 now" in error
    assert "seed is 0 in the file, 1 now" in error
    assert "epochs" not in error
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_folder_with_nothing_finished_can_be_had(recipe, tmp_path):
    (tmp_path / "settings.json").write_text('{"seed": 7}')
    assert train(recipe, epochs=1, output=tmp_path).settings["seed"] == 0
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 0


@pytest.mark.everywhere
def test_divergence_is_a_result(recipe, tmp_path):
    wild = dataclasses.replace(recipe, optimizer=Optimizer(1e9), epochs=3)
    result = train(wild, output=tmp_path)
    assert result.diverged
    assert result.test_accuracy == 0
    assert result.test_loss is None
    values = json.loads(
        (tmp_path / "result.json").read_text(), parse_constant=pytest.fail
    )
    assert values["diverged"]
    assert Result.load(tmp_path) == result


def test_without_images_held_out_it_watches_the_test_images(recipe):
    result = train(dataclasses.replace(recipe, validation_fraction=0.0), epochs=1)
    assert result.watched == "test"
    last = result.record.epochs[-1]
    assert last.validation_accuracy == pytest.approx(result.test_accuracy, rel=1e-5)
    assert result.budget["train_images"] == 1437


@pytest.mark.parametrize("scheme", ["lsuv", "data_dependent", "gradinit"])
def test_schemes_look_at_the_first_batches(recipe, scheme, monkeypatch):
    seen, trained = [], []
    real, fit = network.initialize, keras.Model.fit

    def looked_at(model, scheme, batches, **arguments):
        # All that it takes of the data, one after the other.
        given = (seen.append([np.array(x) for x in each]) or each for each in batches)
        return real(model, scheme, given, **arguments)

    def fitted(self, x, *args, **arguments):
        trained.extend([np.array(part) for part in each] for each in x)
        return fit(self, x, *args, **arguments)

    monkeypatch.setattr(network, "initialize", looked_at)
    monkeypatch.setattr(keras.Model, "fit", fitted)
    short = {"iterations": 2, "batch_size": 32, "verbose": False}
    how = Initialization(scheme, short)
    if scheme != "gradinit":
        how = Initialization(scheme)
    # Small: what a search derives three times takes long to compile.
    arguments = {"depth": 2, "width": 4}
    if scheme == "data_dependent":
        arguments = {**arguments, "normalization": "weight"}
    changed = dataclasses.replace(recipe, initialization=how, arguments=arguments)
    train(changed, epochs=1, subset=200, batch_size=32)
    # 180 images are five batches.
    assert 1 <= len(seen) <= len(trained) == 5
    for before, after in zip(seen, trained, strict=False):
        assert before[0].shape == (32, 8, 8, 1)
        for one, same in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.everywhere
def test_schemes_decide_what_it_starts_from(recipe):
    # Without a step to speak of.
    still = dataclasses.replace(recipe, optimizer=Optimizer(1e-12))
    zeros = train(still, epochs=1, scheme="zeros")
    assert zeros.test_loss == pytest.approx(np.log(10), rel=1e-5)
    assert train(still, epochs=1).test_loss != pytest.approx(np.log(10), rel=1e-3)


def test_schemes_may_have_arguments(recipe):
    settings = Settings.of(recipe, scheme="zhang_backward:gamma=0.4,classifier=same")
    assert settings.recipe.initialization == Initialization(
        "zhang_backward", {"gamma": 0.4, "classifier": "same"}
    )
    assert settings.overrides == {"scheme": "zhang_backward:gamma=0.4,classifier=same"}
    for wrong in ("zhang_backward:0.4", "zhang_backwards:gamma=1", "lsuv:gamma=1"):
        with pytest.raises(ValueError, match="Received"):
            Settings.of(recipe, scheme=wrong)


@pytest.mark.everywhere
def test_mixed_precision_keeps_weights_and_logits(recipe, monkeypatch):
    from keras_convinit.lab import models

    built = []

    def kept(**arguments):
        built.append(mlp(**arguments))
        return built[0]

    mlp = models.mlp
    monkeypatch.setattr(models, "mlp", kept)
    before = keras.config.dtype_policy()
    result = train(recipe, epochs=3, precision="mixed_bfloat16")
    assert keras.config.dtype_policy() == before
    (model,) = built
    images = np.zeros((1, 8, 8, 1), "float32")
    assert keras.backend.standardize_dtype(model(images).dtype) == "float32"
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert model.get_layer("dense_1").compute_dtype == "bfloat16"
    assert result.test_accuracy > 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5000}, "at most the 1293 training images"),
        ({"dataset": "digits", "subset": 100}, "at most the 90 training images"),
        ({"subset": 4}, "train on and 10 % to validate with. Received: 4 training"),
    ],
)
def test_what_cannot_be_carried_out_is_told(recipe, change, message):
    with pytest.raises(LabError, match=message):
        train(recipe, **change)


def test_a_network_that_does_not_fit_is_told(recipe):
    strange = dataclasses.replace(
        recipe, network="resnet_cifar", arguments={"depth": 9}
    )
    with pytest.raises(LabError, match="resnet_cifar cannot be built for digits"):
        train(strange)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"seed": -1},
        {"subset": 0},
        {"precision": "float8"},
        {"distribute": "horovod"},
        {"dataset": "svhn"},
        {"scheme": "hee_normal"},
        {"learning_rate": -0.1},
        {"batch_size": 0},
    ],
)
def test_wrong_settings_are_refused(recipe, change):
    ((name, value),) = change.items()
    received = repr(value) if name == "scheme" else f"{name}={value!r}"
    with pytest.raises(ValueError, match=f"Received: {received}"):
        Settings.of(recipe, **change)


def test_a_damaged_result_is_told(recipe, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    (tmp_path / "result.json").write_text('{"recipe": ')
    with pytest.raises(LabError, match=r"result\.json is damaged.*Delete it"):
        train(recipe, epochs=1, output=tmp_path)
    (tmp_path / "result.json").unlink()
    again = train(recipe, epochs=1, output=tmp_path)
    assert again == Result.load(tmp_path)
    assert len(again.record.epochs) == 1


@pytest.fixture
def searching(recipe):
    """Three iterations of GradInit on a network that is quickly compiled."""
    how = Initialization("gradinit", {"iterations": 3, "verbose": False})
    small = {"depth": 2, "width": 4}
    return dataclasses.replace(recipe, initialization=how, arguments=small)


@pytest.mark.filterwarnings("ignore:GradInit ended after 1 of 3 iterations")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_search_ends_the_training(
    searching, presses, press, tmp_path, monkeypatch
):
    seen = []
    (kind,) = (
        each
        for each in ScaleSearch.__subclasses__()
        if each.__module__.endswith("gradinit")
    )
    step = kind.step

    def pressed(self):
        seen.append(self)
        for _ in range(presses if len(seen) == 2 else 0):
            press()
        return step(self)

    monkeypatch.setattr(kind, "step", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(searching, epochs=1, subset=200, batch_size=32, output=tmp_path)
    assert len(seen) == 2
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & {"checkpoint.npz", "result.json"}


@pytest.mark.everywhere
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_after_its_step(
    recipe, number, press, tmp_path, monkeypatch
):
    epochs = []
    on_epoch_begin = Keeper.on_epoch_begin

    def pressed(self, epoch, logs=None):
        epochs.append(epoch)
        if epochs == [0, 1]:
            press(number)
        on_epoch_begin(self, epoch, logs)

    monkeypatch.setattr(Keeper, "on_epoch_begin", pressed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, epochs=3, output=tmp_path)
    assert epochs == [0, 1]
    assert (tmp_path / "checkpoint.npz").exists()
    assert not (tmp_path / "result.json").exists()
    ended = train(recipe, epochs=3, output=tmp_path)
    assert epochs == [0, 1, 1, 2]
    assert [epoch.number for epoch in ended.record.epochs] == [1, 2, 3]


def forget(folder, *names):
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize("gone", [(), ("checkpoint.npz",), ("result.json",)])
def test_without_its_settings_a_folder_is_of_one_training(recipe, gone, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    forget(tmp_path, "settings.json", *gone)
    # A link to nowhere is as good as nothing.
    (tmp_path / "settings.json").symlink_to(tmp_path / "nowhere")
    kept = [path for path in tmp_path.glob("*.*") if path.exists()]
    before = [path.stat().st_mtime_ns for path in kept]
    with pytest.raises(LabError, match="seed is 0 in the file, 9 now"):
        train(recipe, epochs=1, seed=9, output=tmp_path)
    assert before == [path.stat().st_mtime_ns for path in kept]
    # Who it belongs to has it as before.
    assert train(recipe, epochs=1, output=tmp_path) == Result.load(tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 0


def of_an_earlier_version(folder):
    """Takes the settings out of a checkpoint."""
    path = folder / "checkpoint.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays["about"]))
    del about["settings"]
    arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **arrays)


def test_checkpoints_of_earlier_versions_rest_on_the_file(recipe, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    of_an_earlier_version(tmp_path)
    forget(tmp_path, "result.json")
    with pytest.raises(LabError, match="seed is 0 in the file, 9 now"):
        train(recipe, epochs=1, seed=9, output=tmp_path)
    assert len(train(recipe, epochs=1, output=tmp_path).record.epochs) == 1
    forget(tmp_path, "settings.json", "result.json")
    with pytest.raises(LabError, match=r"settings\.json is gone, and checkpoint\.npz"):
        train(recipe, epochs=1, output=tmp_path)


@pytest.mark.parametrize("content", ["null", "[1]", "{", "[" * 100_000])
def test_damaged_settings_are_told_in_short(recipe, content, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(LabError, match=r"settings\.json cannot be read") as raised:
        train(recipe, epochs=1, output=tmp_path)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("seed", [0, 1])
def test_a_folder_that_is_in_use_is_refused(recipe, seed, tmp_path):
    with owned(tmp_path), pytest.raises(LabError, match="is in use"):
        train(recipe, epochs=1, seed=seed, output=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ('"seed": 0', '"seed": 1'),
        ('"diverged": false', '"diverged": true'),
        ('"name": "test', '"name": "tent'),
    ],
)
def test_a_changed_result_is_told(recipe, there, here, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    path = tmp_path / "result.json"
    assert there in path.read_text()
    path.write_text(path.read_text().replace(there, here, 1))
    with pytest.raises(LabError, match="damaged, or changed by hand"):
        Result.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("test_accuracy", 7.0, "`test_accuracy` must be from 0 to 1"),
        ("test_accuracy", "high", "`test_accuracy` must be a number"),
        ("budget", {"epochs": "x"}, "`budget.epochs` must be of the type int"),
        ("record", {"epochs": 3}, "`record.epochs` must be a list"),
        ("accuracy", 1.0, "`accuracy` must be left out"),
    ],
)
def test_types_and_ranges_of_a_result(recipe, name, value, message, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    path = tmp_path / "result.json"
    values = json.loads(path.read_text())
    # As earlier versions wrote it.
    del values["checksum"]
    path.write_text(json.dumps(values))
    assert Result.load(tmp_path).recipe == recipe.name
    path.write_text(json.dumps({**values, name: value}))
    with pytest.raises(LabError, match=message):
        Result.load(tmp_path)


def damaged_header(path):
    """Spoils the text that says what an array is, with its checksum put right."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            content = buffer.getvalue()
            if name == "0":
                content = content.replace(b"{'descr", b"{(descr", 1)
            archive.writestr(f"{name}.npy", content)


def test_damage_within_a_checkpoint_is_told(recipe, tmp_path):
    train(recipe, epochs=1, output=tmp_path)
    forget(tmp_path, "result.json")
    damaged_header(tmp_path / "checkpoint.npz")
    with pytest.raises(LabError, match="Delete it to train from the begin"):
        train(recipe, epochs=1, output=tmp_path)


def a_file(path):
    path.write_text("")


def a_link_to_nowhere(path):
    path.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize("damage", [a_file, a_link_to_nowhere])
def test_events_that_cannot_be_written_are_told(recipe, damage, tmp_path):
    damage(tmp_path / "events")
    with pytest.raises(LabError, match=r"events cannot be written"):
        train(recipe, epochs=1, output=tmp_path)


def test_a_full_disk_under_the_events_is_told(recipe, tmp_path, monkeypatch):
    class FullError(Exception):
        """What TensorFlow raises is no OSError."""

    def full(self):
        raise FullError("No space left on device")

    monkeypatch.setattr(RecordWriter, "flush", full)
    with pytest.raises(LabError, match=r"events cannot be written \(No space left"):
        train(recipe, epochs=1, output=tmp_path)
    monkeypatch.undo()
    assert len(train(recipe, epochs=1, output=tmp_path).record.epochs) == 1
