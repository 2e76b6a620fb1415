"""The pages to read run, in small."""

import ast
import importlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


@pytest.fixture
def page(root, monkeypatch):
    """Imports a page by name, with the policy of Keras as it was afterwards."""
    monkeypatch.syspath_prepend(str(root / "examples"))
    # Processes that a page starts find what this one finds.
    monkeypatch.setenv("PYTHONPATH", str(root))
    policy = keras.config.dtype_policy()
    yield importlib.import_module
    keras.config.set_dtype_policy(policy)


def test_signal_report(page, tmp_path, monkeypatch, capsys):
    # A page and a benchmark have this name.
    monkeypatch.delitem(sys.modules, "signal_report", raising=False)
    before, after = page("signal_report").main(
        ["--depth", "12", "--width", "8", "--output", str(tmp_path)]
    )
    assert "vanishing from conv_" in before.verdict
    assert after.verdict == "steady"
    assert "After initialize(model): steady" in capsys.readouterr().out
    for name in ("signal_before.png", "signal_after.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.once
def test_augmentation(page, tmp_path, monkeypatch, capsys):
    # A page and a benchmark have this name.
    monkeypatch.delitem(sys.modules, "augmentation", raising=False)
    page("augmentation").main(["--columns", "3", "--output", str(tmp_path)])
    path = tmp_path / "augmentation.png"
    assert f"Figure: {path}" in capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")


SMALL = ["--limit", "64", "--epochs", "2"]


def test_string_initializer(page, tmp_path, capsys):
    # As on a GPU, but that `torch.compile` wants a compiler of C++.
    flags = ["--precision", "mixed_bfloat16", *(["--xla"] * (BACKEND != "torch"))]
    small = [*SMALL, "--layers", "3", "--width", "2", "--output", str(tmp_path)]
    page("string_initializer").main([*small, *flags])
    model = keras.models.load_model(tmp_path / "string_initializer.keras")
    kinds = {type(layer.kernel_initializer).__name__ for layer in model.layers[:3]}
    assert kinds == {"ZhangForward"}
    assert {layer.compute_dtype for layer in model.layers[:3]} == {"bfloat16"}
    assert model.layers[-1].compute_dtype == "float32"
    assert model.jit_compile == (BACKEND != "torch")
    assert "loaded: the same predictions" in capsys.readouterr().out


def test_weight_norm_wrn(page, capsys):
    small = ["--limit", "64", "--epochs", "1", "--depth", "10", "--batch", "32"]
    page("weight_norm_wrn").main(small)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "wide_resnet of 10 layers, weight normalization: " in line


def test_batch_norm_gamma(page, monkeypatch, capsys):
    module = page("batch_norm_gamma")

    def small(depth, input_shape):
        """Stands in for a network that JAX compiles for half a minute."""
        layers = [keras.Input(input_shape)]
        for _ in range(depth):
            layers += [
                keras.layers.Conv2D(8, 3, padding="same"),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
        return keras.Sequential(layers)

    monkeypatch.setattr(module.models, "resnet_cifar", small)
    suggestion, accuracies = module.main(["--limit", "64", "--depth", "2"])
    printed = capsys.readouterr().out
    assert str(suggestion) in printed
    # What it looks at is drawn with the paper's gamma.
    drawn = [row.gamma for row in suggestion.rows]
    assert len(drawn) == 2
    # The variance of 576 weights, up to five standard errors.
    assert drawn[1] == pytest.approx(0.4, rel=5 * (2 / 576) ** 0.5)
    assert "gamma 0.4, the paper's: after one epoch" in printed
    assert f"gamma {suggestion.gamma:.3g}, suggested: after one epoch" in printed
    assert list(accuracies) == ["the paper's", "suggested"]


def test_schemes_with_data(page, monkeypatch, capsys):
    module = page("schemes_with_data")

    def small(input_shape, **_):
        """Stands in for a network of `keras.applications`."""
        inputs = x = keras.Input(input_shape)
        for number in range(3):
            x = keras.layers.Conv2D(
                4,
                3,
                padding="same",
                activation="relu",
                # Smaller than Keras' default, to lose the signal in three layers.
                kernel_initializer={
                    "class_name": "VarianceScaling",
                    "config": {"scale": 0.1},
                },
                name=f"conv_{number}",
            )(x)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))

    monkeypatch.setattr(keras.applications, "Small", small, raising=False)
    reports = module.main(
        ["--network", "Small", "--size", "8", "--batch", "8", "--iterations", "2"]
    )
    assert list(reports) == ["LSUV", "GradInit", "MetaInit", "DataDependent"]
    printed = capsys.readouterr().out
    assert "Keras' default: vanishing from conv_" in printed
    for name in ("LSUV", "DataDependent"):
        done, _ = reports[name]
        stds = [
            row.output_std_after for row in done.rows if row.num_rescalings is not None
        ]
        assert len(stds) >= 3
        np.testing.assert_allclose(stds, 1, rtol=0.02)
    for name, measured in (("GradInit", "gradient_norm"), ("MetaInit", "quotient")):
        done, signal = reports[name]
        assert len(done.history[measured]) == 2
        assert signal.loss > 0
        assert f"{measured}: {done.history[measured][0]:.4g} at first" in printed


def test_saving(page):
    small = ["--width", "2", "--blocks", "1", "--epochs", "1"]
    differences = page("saving").main(small)
    steps = ["loaded", "folded"]
    if BACKEND == "tensorflow":
        steps += ["SavedModel", "ONNX"]
    assert list(differences) == steps
    assert all(difference < 1e-3 for difference in differences.values())


@pytest.mark.once
def test_numbers_that_are_none_do_not_pass_for_equal(page):
    outputs = np.array([np.nan], "float32")
    with pytest.raises(AssertionError):
        page("saving").compared("A step", outputs, outputs)


@pytest.mark.process
@pytest.mark.once
def test_a_process_that_does_not_know_us_cannot(page):
    code = f"{page('saving').KNOWS_NOT}\nimport keras_convinit"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert process.returncode == 1
    assert "import of keras_convinit halted" in process.stderr


def test_training_loop(page):
    small = ["--width", "8", "--blocks", "3", "--epochs", "3"]
    losses, accuracy = page("training_loop").main(small)
    assert len(losses) == 3 * (1437 // 32)
    # Ten classes: a chance of a tenth. What has been learnt is in the model.
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert accuracy > 0.6


@pytest.mark.skipif(BACKEND == "jax", reason="this is the one")
def test_jax_data_parallel_on_another_backend(page, monkeypatch, capsys):
    # The page sets them.
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    assert page("jax_data_parallel").main([]) is None
    said = "`keras.distribution` runs on JAX: set KERAS_BACKEND=jax\n"
    assert capsys.readouterr().out == said


@pytest.mark.process
@pytest.mark.skipif(BACKEND != "jax", reason="`keras.distribution` runs on JAX")
def test_jax_data_parallel(root):
    small = ["--depth", "2", "--width", "8", "--epochs", "2"]
    script = root / "examples" / "jax_data_parallel.py"
    process = subprocess.run(
        [sys.executable, script, *small],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": str(root)},
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    one, two = ([float(loss) for loss in line.split()[2:]] for line in lines[-2:])
    assert len(one) == len(two) == 2
    assert one == pytest.approx(two, rel=1e-3)


@pytest.mark.once
def test_the_index_names_every_page(root):
    folder = root / "examples"
    index = (folder / "README.md").read_text()
    scripts = (path for path in folder.rglob("*.py") if path.name != "__main__.py")
    pages = [p for p in scripts if '__name__ == "__main__"' in p.read_text()]
    assert len(pages) > 30
    for path in pages:
        assert f"]({path.relative_to(folder)})" in index, path
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        command = f"python examples/{path.relative_to(folder)}"
        assert command in docstring, path
        assert command in index, path
