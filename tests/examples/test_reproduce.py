"""The reproductions run, in small, and say what their runs say."""

import dataclasses
import importlib
import json
import math
import sys

import keras
import numpy as np
import pytest

from keras_convinit.lab.curves import style
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.scheme_source import scheme_from
from keras_convinit.lab.training.record import Epoch, Record
from keras_convinit.lab.training.result import Result

pytestmark = pytest.mark.once


@pytest.fixture
def module(root, monkeypatch):
    """Imports a module of the folder by name."""
    monkeypatch.syspath_prepend(str(root / "examples" / "reproduce"))
    return importlib.import_module


@pytest.fixture
def run(module, tmp_path):
    """Runs a command at the smallest scale."""

    def run(name, *arguments):
        options = ["--scale", "smoke", "--output", str(tmp_path), *arguments]
        return module(name).main(options)

    return run


@pytest.mark.everywhere
def test_figure_1_of_arpit(run, tmp_path, capsys):
    rows = run("arpit_figure1")
    # Two networks, three starts.
    assert len(rows) == 6
    (residual,) = (
        row
        for row in rows
        if (row["case"]["network"], row["case"]["start"])
        == ("residual", "proposed, orthogonal")
    )
    growth = math.sqrt((1 + 1 / 4) ** 4)
    # 40 samples of a deviation of some 20 % each.
    assert abs(residual["forward"]["mean"][-1] / growth - 1) < 0.16
    assert "1.562 and" in capsys.readouterr().out
    values = json.loads((tmp_path / "arpit_figure1.json").read_text())
    assert len(values["rows"]) == 6
    picture = (tmp_path / "arpit_figure1.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name",
    [
        # What all of them do is tested on every backend by these; schemes and networks
        # are so elsewhere.
        pytest.param("arpit_figure2", marks=pytest.mark.everywhere),
        pytest.param("zhang_figures2to7", marks=pytest.mark.everywhere),
        "arpit_figure3",
        "arpit_figure4",
        "arpit_table1",
        "arpit_table2",
        "zhang_tables",
        "plain_depth",
    ],
)
def test_in_small(name, module, run, tmp_path, capsys):
    rows = run(name)
    (experiment,) = (
        kind for kind in module("experiments").EXPERIMENTS if kind.name == name
    )
    assert len(rows) == len(experiment(experiment.scales["smoke"]).cases())
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert f"{len(rows)} of {len(rows)} runs" in capsys.readouterr().out
    # Nothing is run a second time.
    before = (tmp_path / f"{name}.json").read_bytes()
    assert run(name) == rows
    assert (tmp_path / f"{name}.json").read_bytes() == before


def test_every_scale_can_be_planned(module):
    for kind in module("experiments").EXPERIMENTS:
        assert set(kind.scales) == {"smoke", "cpu", "paper"}
        for settings in kind.scales.values():
            experiment = kind(settings)
            cases = experiment.cases()
            keys = {json.dumps(case, sort_keys=True) for case in cases}
            assert len(keys) == len(cases) > 0
            # What is interrupted has all networks with the first seeds.
            seeds = [case["seed"] for case in cases]
            assert seeds == sorted(seeds)
            for case in cases[: len(cases) // len(set(seeds))]:
                scheme = getattr(experiment, "scheme", lambda _: "as made")(case)
                assert scheme == "as made" or scheme_from(scheme)


@pytest.fixture
def trainer(module):
    def make():
        from keras_convinit.lab import data
        from keras_convinit.lab.recipes import Optimizer

        images = data.load("digits", 96)
        return module("training").Trainer(images, 32, Optimizer(1.0, weight_decay=0.01))

    return make


def outcome(trainer, module, network, scheme, seed, rate=0.05):
    course = module("training").Course(rate, 2, evaluations=2)
    found = dataclasses.asdict(trainer.run(network, scheme, seed, course))
    return {name: value for name, value in found.items() if "seconds" not in name}


NETWORK = "residual_cnn:1,width=3,normalization=batch"


@pytest.mark.everywhere
def test_a_run_does_not_depend_on_those_before(trainer, module):
    one = trainer()
    first = outcome(one, module, NETWORK, "he_normal", 0)
    assert outcome(one, module, NETWORK, "auto", 1) != first
    # One that leaves nothing finite behind.
    assert outcome(one, module, NETWORK, "he_normal", 0, rate=1e20)["diverged"]
    assert outcome(one, module, NETWORK, "he_normal", 0) == first
    assert outcome(trainer(), module, NETWORK, "he_normal", 0) == first


@pytest.mark.everywhere
def test_as_made_is_what_keras_makes(trainer, module):
    network = "plain_cnn:3,width=3,strides=()"
    one = trainer()
    found = outcome(one, module, network, "as made", 3)
    assert outcome(one, module, network, "as made", 4) != found
    assert outcome(one, module, network, "as made", 3) == found
    assert outcome(trainer(), module, network, "as made", 3) == found


@pytest.mark.everywhere
def test_it_trains_as_fit_does(trainer, module):
    from keras_convinit import initialize
    from keras_convinit.lab import data, models
    from keras_convinit.optimizers import CoupledSGD

    one = trainer()
    found = outcome(one, module, NETWORK, "he_normal", 0)
    model = models.from_spec(NETWORK, input_shape=(8, 8, 1), num_classes=10)
    initialize(model, "he_normal", seed=0)
    model.compile(
        CoupledSGD(0.05, momentum=0.9, weight_decay=0.01),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data.batches(one.images, batch_size=32, epochs=2, seed=0), verbose=0)
    images, labels = one.images.part("test")
    logits = model.predict(one.images.standardized(images), verbose=0)
    right = np.mean(logits.argmax(axis=1) == labels)
    assert found["held_out"][-1] == [6, pytest.approx(right, abs=1e-4)]
    assert [step for step, _ in found["held_out"]] == [3, 6]


@pytest.mark.everywhere
def test_a_divergence_counts_as_nothing_learnt(trainer, module):
    found = outcome(trainer(), module, NETWORK, "he_normal", 0, rate=1e30)
    assert found["diverged"]
    assert found["loss"] is None
    assert found["held_out"][-1] == [found["steps"], 0.0]
    assert found["steps"] < 6


def test_it_goes_on_where_it_ended(module, run, tmp_path, monkeypatch):
    experiment = module("zhang_figures2to7").ZhangFigures2To7
    carried_out = experiment.run
    calls = []

    def run_one(self, case, after_step):
        calls.append(case["numerator"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return carried_out(self, case, after_step)

    monkeypatch.setattr(experiment, "run", run_one)
    with pytest.raises(SystemExit) as stopped:
        run("zhang_figures2to7")
    assert stopped.value.code == 130
    assert len(run("zhang_figures2to7")) == 2
    assert calls == [1.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:-30], "is damaged"),
        (lambda text: text.replace('"limit": 200', '"limit": 300'), "settings.limit"),
        (lambda text: text.replace('"keras": "', '"keras": "0.'), "versions.keras"),
    ],
)
def test_a_file_that_does_not_fit_is_left_alone(
    spoil, message, run, tmp_path, capsys, monkeypatch
):
    run("zhang_figures2to7")
    path = tmp_path / "zhang_figures2to7.json"
    path.write_text(spoil(path.read_text()))
    spoilt = path.read_bytes()
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit) as stopped:
        run("zhang_figures2to7")
    assert stopped.value.code == 2
    assert message in capsys.readouterr().out
    assert path.read_bytes() == spoilt


def test_seeds_in_portions(run, module, monkeypatch, tmp_path):
    experiment = module("zhang_figures2to7").ZhangFigures2To7
    smoke = experiment.scales["smoke"]
    scales = {"smoke": dataclasses.replace(smoke, seeds=2)}
    monkeypatch.setattr(experiment, "scales", scales)
    assert len(run("zhang_figures2to7", "--seeds", "1")) == 2
    assert len(run("zhang_figures2to7")) == 4


def row(case, accuracy=0.5, **outcome):
    """A run as it comes from a file."""
    found = {"diverged": False, "steps": 1, "held_out": [[1, accuracy]]}
    return {"case": case, **found, "initialization_seconds": 1.0, **outcome}


def finding(kind, value):
    """What an experiment finds if accuracies are a function of the case."""
    experiment = kind(kind.scales["cpu"])
    return experiment.finding([row(case, value(case)) for case in experiment.cases()])


def best_numerator(at):
    """The accuracy is highest at a numerator that depends on the learning rate."""

    def value(case):
        distance = math.log(case["numerator"] / at(case["learning_rate"]))
        return 0.5 - 0.01 * abs(distance)

    return value


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        (lambda rate: {0.1: 25, 0.01: 5, 0.001: 1}[rate], "confirmed"),
        (lambda rate: {0.1: 1, 0.01: 5, 0.001: 25}[rate], "contradicted"),
        (lambda rate: 5, "not at this scale"),
    ],
)
def test_what_figures_2_to_7_say(module, at, verdict):
    kind = module("zhang_figures2to7").ZhangFigures2To7
    assert finding(kind, best_numerator(at)).verdict == verdict


def test_what_figure_2_says(module):
    kind = module("arpit_figure2").ArpitFigure2

    def to_depth(deepest):
        return lambda case: 0.9 if case["depth"] <= deepest[case["start"]] else 0.1

    starts = list(module("arpit_figure2").SCHEMES)
    paper = dict(zip(starts, (200, 10, 50, 20), strict=True))
    found = finding(kind, to_depth(paper))
    assert found.verdict == "confirmed"
    assert "proposed: 200 layers; PyTorch default, orthogonal: 10" in found.here
    alike = dict(zip(starts, (200, 10, 200, 20), strict=True))
    assert finding(kind, to_depth(alike)).verdict == "partly"
    behind = dict(zip(starts, (10, 50, 200, 20), strict=True))
    assert finding(kind, to_depth(behind)).verdict == "contradicted"
    none = dict.fromkeys(starts, 0)
    assert finding(kind, to_depth(none)).verdict == "not at this scale"

    some = dict.fromkeys(starts, 20)
    assert finding(kind, to_depth(some)).verdict == "not at this scale"


def test_what_figure_1_says(module):
    kind = module("arpit_figure1").ArpitFigure1
    experiment = kind(kind.scales["cpu"])

    def found(factor):
        rows = []
        for case in experiment.cases():
            wrong = 1e3 if case["start"] == "He, gain 1" else factor(case)
            ratios = {
                way: {"mean": list(wrong * experiment.predicted(case["network"], way))}
                for way in ("forward", "backward")
            }
            rows.append({"case": case, **ratios})
        return experiment.finding(rows)

    assert found(lambda case: 1.05).verdict == "confirmed"
    assert "1e+03" in found(lambda case: 1.05).here
    assert found(lambda case: 1.2).verdict == "contradicted"
    # That of the squared norm, in the residual networks alone.
    squared = found(lambda case: 1.6 if case["network"] == "residual" else 1.0)
    assert squared.verdict == "partly"


@pytest.mark.parametrize(
    ("deepest", "verdict"),
    [
        ((166, 25, 25, 25, 1), "confirmed"),
        ((100, 25, 100, 25, 1), "partly"),
        ((25, 25, 100, 25, 1666), "contradicted"),
        ((1, 1, 1, 1, 1), "not at this scale"),
    ],
)
def test_what_figure_3_says(module, deepest, verdict):
    kind = module("arpit_figure3").ArpitFigure3
    experiment = kind(kind.scales["cpu"])
    starts = module("arpit_figure3").STARTS
    limits = dict(zip(starts, deepest, strict=True))

    def run(case):
        learns = case["size"] <= limits[case["start"]]
        # One that falls by a hundredth has not learnt.
        return row(case, loss=(0.9 if learns else 0.99) * math.log(10))

    rows = [run(case) for case in experiment.cases()]
    assert experiment.finding(rows).verdict == verdict


def test_depths_at_which_one_seed_diverges_do_not_count(module):
    kind = module("arpit_figure3").ArpitFigure3
    experiment = kind(kind.scales["cpu"])
    rows = [row(case, loss=1.0) for case in experiment.cases()]
    for one in rows:
        case = one["case"]
        if case["seed"] == 1 and case["size"] > 25 and case["start"] != "proposed":
            one.update(diverged=True, loss=None)
    found = experiment.finding(rows)
    # Of the deepest residual network there is one seed, and it learnt.
    assert "plain: proposed 100, PyTorch default, orthogonal 25" in found.here
    assert found.verdict == "partly"


@pytest.mark.parametrize(
    ("rates", "warm", "verdict"),
    [
        # Up to which rate a start survives, and how much further with a warm-up.
        ((0.1, 0.03, 0.003, 0.0), (3, 3, 3, 3), "confirmed"),
        ((0.1, 0.03, 0.003, 0.0), (1, 1, 1, 1), "partly"),
        ((0.1, 0.03, 0.003, 0.0), (3, 0.1, 3, 3), "partly"),
        ((0.03, 0.1, 0.1, 0.0), (3, 3, 3, 3), "partly"),
        ((0.003, 0.03, 0.03, 0.1), (0.3, 0.3, 0.3, 0.3), "contradicted"),
        ((1, 1, 1, 1), (1, 1, 1, 1), "not at this scale"),
    ],
)
def test_what_figure_4_says(module, rates, warm, verdict):
    kind = module("arpit_figure4").ArpitFigure4
    experiment = kind(kind.scales["cpu"])
    starts = module("arpit_figure4").STARTS
    limits = dict(zip(starts, zip(rates, warm, strict=True), strict=True))

    def run(case):
        limit, factor = limits[case["start"]]
        limit *= factor if case["warm_up"] else 1
        return row(case, diverged=case["learning_rate"] > 1.01 * limit)

    found = experiment.finding([run(case) for case in experiment.cases()])
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("batch", "warm", "data", "verdict"),
    [
        (0.5, 0.46, 0.3, "confirmed"),
        (0.5, 0.44, 0.3, "partly"),
        (0.5, 0.46, 0.47, "partly"),
        (0.5, 0.44, 0.47, "contradicted"),
        (0.15, 0.15, 0.1, "not at this scale"),
    ],
)
def test_what_table_1_says(module, batch, warm, data, verdict):
    table = module("arpit_table1")
    means = {table.BATCH: batch, table.WARM: warm, table.DATA: data}

    def value(case):
        # Only the better of the rates counts.
        right = case["learning_rate"] == (0.1 if case["method"] == table.DATA else 0.02)
        return means.get(case["method"], 0.1) if right else 0.0

    assert finding(table.ArpitTable1, value).verdict == verdict


def test_seconds_until_batch_normalization_is_reached(module):
    table = module("arpit_table1")
    experiment = table.ArpitTable1(table.SCALES["cpu"])
    ends = {
        table.BATCH: [0.2, 0.4],
        table.WARM: [0.41, 0.42],
        table.PROPOSED: [0.3, 0.3],
    }
    rows = []
    for case in experiment.cases():
        found = list(zip((5, 10), ends.get(case["method"], [0.1, 0.1]), strict=True))
        # Of three days, on two of which the machine was slower.
        seconds = 80.0 * (2, 1, 3)[case["seed"]]
        rows.append(row(case, held_out=found, steps=10, processor_seconds=seconds))
    cells = {line[0]: line[4:] for line in experiment.table(rows).rows}
    assert cells[f"ResNet-20, {table.BATCH}"] == ("10.0", "80 (3 of 3)")
    assert cells[f"ResNet-20, {table.WARM}"] == ("10.0", "40 (3 of 3)")
    assert cells[f"ResNet-20, {table.PROPOSED}"] == ("10.0", "0 of 3")


@pytest.mark.parametrize(
    ("logarithms", "verdict"),
    [
        ((1, 2, 3, 4, 9), "confirmed"),
        ((1, 2, 4, 3, 9), "partly"),
        ((2, 1, 4, 3, 9), "contradicted"),
        ((1, 2, 3, None, 9), "confirmed"),
    ],
)
def test_what_table_2_says(module, logarithms, verdict):
    table = module("arpit_table2")
    experiment = table.ArpitTable2(table.SCALES["cpu"])
    values = dict(zip(table.STARTS, logarithms, strict=True))
    rows = [{"case": c, "log10": values[c["start"]]} for c in experiment.cases()]
    assert experiment.finding(rows).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "searched", "verdict"),
    [
        (0.05, 0.02, "confirmed"),
        (0.05, 0.08, "partly"),
        (-0.05, 0.02, "contradicted"),
        # Less than twice the standard error of five seeds that differ.
        (0.01, 0.005, "not at this scale"),
    ],
)
def test_what_the_tables_of_zhang_say(module, ours, searched, verdict):
    tables = module("zhang_tables")

    def value(case):
        noise = 0.02 * (-1) ** case["seed"] if case["start"] == tables.OURS else 0.0
        gains = {tables.KAIMING: 0.0, tables.OURS: ours + noise}
        return 0.5 + 0.1 * case["seed"] + gains.get(case["start"], searched)

    found = finding(tables.ZhangTables, value)
    assert found.verdict == verdict
    # Paired: what all seeds have in common is not in the error.
    assert f"MetaInit {100 * searched:+.1f} +- 0.0" in found.here


@pytest.mark.parametrize(
    ("glorot", "others", "verdict"),
    [
        (10, 18, "confirmed"),
        (18, 10, "contradicted"),
        (18, 18, "not at this scale"),
    ],
)
def test_what_plain_depth_says(module, glorot, others, verdict):
    depth = module("plain_depth")

    def value(case):
        deepest = glorot if case["scheme"] == depth.GLOROT else others
        return 0.3 if case["depth"] <= deepest else 0.1

    assert finding(depth.PlainDepth, value).verdict == verdict


def test_no_two_curves_of_a_panel_look_alike(module):
    grid = module("depth_grid")
    for schemes in grid.SCHEMES.values():
        looks = [str(style(grid.LOOKS.index(one), "")) for one in schemes]
        assert len(set(looks)) == len(schemes)


def test_seeds_with_a_gap_are_not_told(module, run, tmp_path, capsys, monkeypatch):
    kind = module("zhang_figures2to7").ZhangFigures2To7
    experiment = kind(kind.scales["cpu"])
    rows = [row(case) for case in experiment.cases()]
    whole = module("results").whole_seeds
    assert whole(experiment, reversed(rows)) == rows
    (gap,) = (
        number
        for number, one in enumerate(rows)
        if one["case"]
        == {
            "seed": 1,
            "network": "resnet_cifar:20",
            "learning_rate": 0.01,
            "numerator": 1.0,
        }
    )
    told = whole(experiment, rows[:gap] + rows[gap + 1 :])
    assert {one["case"]["seed"] for one in told} == {0, 2}

    monkeypatch.setattr(kind, "run", lambda self, case, after_step: {"diverged": 0})
    assert run("zhang_figures2to7", "--minutes", "1e-9") == []
    assert "0 of 2 runs" in capsys.readouterr().out
    assert not (tmp_path / "zhang_figures2to7.png").exists()
    assert module("write_results").told_by(tmp_path) == []


def test_curves_by_epoch(module):
    rows = [
        {"diverged": False, "steps": 8, "held_out": [[4, 0.1], [8, 0.2]]},
        {"diverged": False, "steps": 8, "held_out": [[4, 0.3], [8, 0.4]]},
        {"diverged": True, "steps": 4, "held_out": [[4, 0.9], [4, 0.0]]},
    ]
    assert module("runs").by_epoch(rows, 2) == {1.0: [0.1, 0.3], 2.0: [0.2, 0.4]}


def test_the_page_of_results_is_what_the_files_say(root, module):
    """After a run, `python examples/reproduce/write_results.py`."""
    folder = root / "examples" / "reproduce"
    writer = module("write_results")
    kept = folder / "results" / "cpu"
    told = writer.told_by(kept)
    page = writer.results_page(told, kept, folder)
    gpu = folder / "results" / "gpu"
    full_size = module("full_size")
    page += full_size.chapter(full_size.trained_in(gpu), gpu, folder)
    assert page == (folder / "RESULTS.md").read_text()
    readme = (root / "README.md").read_text()
    shown = readme.partition(writer.BEGIN)[2].partition(writer.END)[0]
    assert shown == f"\n\n{writer.readme_share(told)}\n\n"


def test_recipes_at_full_size(module, tmp_path):
    """The chapter is what `train` wrote, whatever that is."""
    full_size = module("full_size")
    recipe = "arpit2019/table1/resnet56/{}"
    epochs = (Epoch(1, 0.1, 2.0, 0.2, 1.9, 0.25, 3.0), Epoch(2, 0.1, 1, 0.6, 1, 0.5, 3))
    made = [
        ("batchnorm", 0, Record(epochs), 0.75),
        ("batchnorm", 1, Record(epochs[:1]), 0.25),
        ("datadependent", 0, Record(epochs[:1], diverged=True), None),
    ]
    for start, seed, record, accuracy in made:
        folder = tmp_path / f"{start}-{seed}"
        folder.mkdir()
        Result(
            recipe=recipe.format(start),
            overrides={"batch_size": 64},
            settings={"seed": seed, "version of": {"backend": "jax"}},
            budget={"epochs": 2, "train_images": 100},
            machine="Abacus",
            record=record,
            watched="test",
            test_accuracy=accuracy or 0.0,
            test_loss=accuracy,
        ).save(folder)
    trained = full_size.trained_in(tmp_path)
    chapter = full_size.chapter(trained, tmp_path, tmp_path)
    lines = [line for line in chapter.splitlines() if line.startswith("| arpit")]
    assert lines == [
        f"| {recipe.format('datadependent')} | 2 | 182 | 1 | 0.0 (0.0 to 0.0), "
        "1 diverged |",
        f"| {recipe.format('batchnorm')} | 2 | 182 | 2 | 50.0 (25.0 to 75.0) |",
    ]
    assert "Training images: 100; Abacus. Highest mean: batchnorm (arpit" in chapter
    assert "optimizers" not in chapter
    assert (
        f"KERAS_BACKEND=jax python -m keras_convinit train {recipe.format('batchnorm')}"
        " --seed 1 --batch-size 64 --output " in chapter
    )
    diverged, batch_norm = trained
    assert batch_norm.by_epoch() == {1: [0.25, 0.25], 2: [0.5]}
    assert diverged.by_epoch() == {}
    full_size.figure(trained).savefig(tmp_path / "picture.png")

    # Rows that were not trained alike are not left to be taken for it.
    kaiming, ours = (f"zhang2022/table1/vgg19/{start}" for start in ("kaiming", "ours"))
    mixed = [
        dataclasses.replace(batch_norm, recipe=kaiming),
        dataclasses.replace(batch_norm, recipe=ours),
    ]
    said = full_size.words(mixed)
    assert "Rows of zhang2022/table1/vgg19 differ in their optimizers" in said
    assert "a constant" not in said

    # Nor those of another network than the recipe has now.
    (folder, *_) = full_size.DIVIDED
    earlier = [dataclasses.replace(batch_norm, folders=(folder,)), diverged]
    said = full_size.words(earlier)
    assert f"Branches of {batch_norm.recipe} were divided by a constant" in said


def test_results_of_other_settings_are_not_told(run, module, tmp_path):
    run("zhang_figures2to7")
    path = tmp_path / "zhang_figures2to7.json"
    writer = module("write_results")
    page = writer.results_page(writer.told_by(tmp_path), tmp_path, tmp_path)
    assert "## The best initial variance by learning rate" in page
    assert "2 of 2 runs; seeds: 1" in page
    path.write_text(path.read_text().replace('"limit": 200', '"limit": 300'))
    with pytest.raises(LabError, match=r"limit is 300 in the file, 200 now"):
        writer.told_by(tmp_path)


def test_all_of_them_run_in_processes_of_their_own(module, monkeypatch, capsys):
    run_all = module("run_all")
    commands = []

    def run(command, check=False):
        commands.append(command)
        failed = "arpit_figure4" in command[1]
        return type("Done", (), {"returncode": int(failed)})

    monkeypatch.setattr(run_all.subprocess, "run", run)
    failed = run_all.main(["--scale", "smoke", "--seeds", "1"])
    assert failed == ["arpit_figure4"]
    assert len(commands) == len(module("experiments").EXPERIMENTS)
    assert commands[0][0] == sys.executable
    assert commands[0][2:] == ["--scale", "smoke", "--seeds", "1"]
