"""The benchmarks run, in small. What they measure is of no interest here."""

import importlib
import itertools
import json
import sys

import keras
import pytest


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "examples" / "benchmarks"))
    return importlib.import_module


SMALL = ["--layers", "1", "--width", "2", "--batch", "2", "--size", "4", "--steps", "2"]


@pytest.mark.parametrize("name", ["weight_norm_step", "folded_inference"])
def test_layers(benchmark, name, tmp_path, capsys):
    path = tmp_path / "results" / "kept.json"
    benchmark(name).main([*SMALL, "--processes", "1", "--json", str(path)])
    printed = capsys.readouterr().out
    kept = json.loads(path.read_text())
    assert kept["settings"]["width"] == 2
    for kind, row in kept["rows"].items():
        assert kind in printed
        assert row["pairs"] == 2
        assert row["wall"] > 0
    assert kept["rows"]["plain"]["wall"] == 1


def test_schemes_that_look_at_data(benchmark, tmp_path, capsys):
    path = tmp_path / "kept.json"
    small = ["--layers", "1", "--width", "2", "--batch", "2", "--size", "4"]
    benchmark("data_schemes").main([*small, "--rounds", "2", "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert "data_dependent" in capsys.readouterr().out
    for scheme in ("lsuv", "data_dependent"):
        assert rows[f"{scheme}: model(x)"]["wall"] == 1
        assert rows[f"{scheme}: {scheme}"]["wall"] > 0


def test_stack(benchmark, root, tmp_path, monkeypatch):
    # What it measures, it measures in processes of its own.
    monkeypatch.setenv("PYTHONPATH", str(root))
    path = tmp_path / "kept.json"
    arguments = ["--blocks", "2", "--width", "2", "--repeats", "1", "--kinds", "stack"]
    arguments += ["--weight-norm", "--steps", "1", "--json", str(path)]
    benchmark("stack_first_step").main(arguments)
    (row,) = json.loads(path.read_text())["rows"].values()
    assert row["first_step"] > row["step"] > 0
    assert row["sooner"] == 1


@pytest.mark.once
def test_what_a_process_does_to_all_its_runs_does_not_decide(
    benchmark, tmp_path, monkeypatch, capsys
):
    over = benchmark("over_processes")
    np = importlib.import_module("numpy")
    # By chance B is slow in two of four processes, and fast in the others.
    chance = iter([1.25, 0.8, 1.25, 0.8])

    def run(command, **_):
        assert command[1:] == ["script", "--steps", "6", "--measure"]
        slow = next(chance)
        times = {"a": [[1.0, 1.0]] * 6, "b": [[slow, slow]] * 6}
        printed = f"by the way\n{json.dumps(times)}\n"
        return type("Done", (), {"stdout": printed})

    monkeypatch.setattr(over.subprocess, "run", run)
    options = type("Options", (), {"steps": 6, "processes": 4, "measure": False})
    rows = over.compare_over_processes("script", ["--steps", "6"], options, dict)
    assert rows["b"].pairs == 24
    assert rows["b"].wall_quartiles == (0.8, 1.25)
    monkeypatch.undo()

    options = type("Options", (), {"steps": 3, "processes": 4, "measure": True})
    assert over.compare_over_processes("", [], options, lambda: {"a": int}) is None
    assert np.shape(json.loads(capsys.readouterr().out)["a"]) == (3, 2)


@pytest.mark.once
def test_everyone_comes_after_everyone(benchmark):
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    benchmark("paired").compare_all(functions, 30, warm_up=0)
    assert all(calls.count(name) == 30 for name in functions)
    before = list(itertools.pairwise(calls))
    # Taking turns in one order, rolled or not, nearly all come after the same one.
    for first in functions:
        for then in functions:
            if first != then:
                assert before.count((first, then)) >= 5


@pytest.mark.once
def test_pairs_cancel_what_both_meet(benchmark):
    np = importlib.import_module("numpy")
    paired = benchmark("paired").paired
    speed = np.array([1.0, 2.0, 1.0, 4.0, 1.0])[:, None]
    comparison = paired(speed * [1.0, 2.0], speed * [1.5, 2.0])
    assert comparison.wall == 1.5
    assert comparison.cpu == 1.0
    assert comparison.b_seconds == 1.5


def test_initializing_a_model(benchmark, capsys):
    small = ["--network", "MobileNetV2", "--size", "32", "--rounds", "1"]
    benchmark("initialize_model").main(small)
    assert "initialize auto" in capsys.readouterr().out


def small_network(size):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Conv2D(2, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


@pytest.mark.parametrize(
    ("name", "row"), [("signal_report", "report"), ("hessian_norm", "iteration")]
)
def test_looking_inside(benchmark, tmp_path, capsys, monkeypatch, name, row):
    module = benchmark(name)
    monkeypatch.setitem(module.NETWORKS, "plain", small_network)
    path = tmp_path / "kept.json"
    small = ["--network", "plain", "--size", "4", "--batch", "2", "--rounds", "1"]
    module.main([*small, "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert rows["training step"]["wall"] == 1
    assert rows[row]["wall"] > 0
    assert row in capsys.readouterr().out


def test_initializers(benchmark, tmp_path, capsys):
    path = tmp_path / "kept.json"
    small = ["--width", "2", "--pairs", "1", "--processes", "1"]
    benchmark("initializers").main([*small, "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert {"ZhangForward", "ZhangBackward"} < set(rows)
    assert rows["import_seconds"] > 0
    assert "ZhangBackward" in capsys.readouterr().out


@pytest.mark.once
def test_augmentation(benchmark, tmp_path, monkeypatch, capsys):
    # A page and a benchmark have this name.
    monkeypatch.delitem(sys.modules, "augmentation", raising=False)
    path = tmp_path / "kept.json"
    small = ["--images", "4", "--size", "8", "--batch", "2", "--rounds", "1"]
    benchmark("augmentation").main([*small, "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert capsys.readouterr().out.count("images/s") == len(rows) == 5
    assert rows["AutoAugment: lab"]["wall"] == 1
    assert rows["Crop, flip, Cutout: tf.image, image by image"]["wall"] > 0


def test_schemes_that_search(benchmark, tmp_path, capsys):
    path = tmp_path / "kept.json"
    small = ["--network", "plain_cnn:2,width=2", "--size", "8", "--batch", "4"]
    benchmark("search_schemes").main([*small, "--rounds", "1", "--json", str(path)])
    rows = json.loads(path.read_text())["rows"]
    assert "MetaInit" in capsys.readouterr().out
    assert set(rows) > {"training step", "GradInit, the norm", "GradInit, the loss"}


def test_first_hundred_steps(benchmark, tmp_path, capsys, monkeypatch):
    module = benchmark("first_hundred_steps")
    monkeypatch.setattr(module, "NETWORKS", {"none": "plain_cnn:2,width=2,strides=()"})
    path = tmp_path / "kept.json"
    small = ["--dataset", "digits", "--limit", "64", "--steps", "3", "--batch", "8"]
    small += ["--networks", "none", "--seeds", "1", "--json", str(path)]
    searching = "gradinit:iterations=1,batch_size=4"
    first = module.main([*small, "--schemes", "he_normal"])
    both = module.main([*small, "--schemes", "he_normal", searching])
    # What was there is not run again.
    assert both[0] == first[0]
    assert [row["scheme"] for row in both] == ["he_normal", searching]
    assert len(both[1]["losses"]) == 3
    assert "gradinit" in capsys.readouterr().out
