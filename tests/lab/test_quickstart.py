import dataclasses
import errno
import io
import json
import os
import re

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from keras_convinit.lab import quickstart as room
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.ownership import owned
from keras_convinit.lab.quickstart import Options, quickstart, stories, versions
from keras_convinit.lab.stories import experiment, training
from keras_convinit.lab.stories.results import Results

pytestmark = pytest.mark.once


@pytest.fixture
def options(tmp_path):
    return Options(
        seeds=1,
        epochs=1,
        depth=3,
        width=2,
        blocks=1,
        residual_epochs=1,
        limit=64,
        output=tmp_path / "out",
    )


def carried_out(options, resume=False):
    """Whether it came to its end, and what it said."""
    console = Console(file=io.StringIO(), width=80)
    complete = quickstart(options, resume, console)
    return complete, console.file.getvalue()


def loaded(options):
    return Results.load(options.output / "quickstart.json")


@pytest.fixture
def pretend(monkeypatch):
    """Runs and figures take no time; in a run somebody may press Ctrl-C."""
    monkeypatch.setattr(room, "results_figure", lambda results: Figure((1, 1)))

    def pretend(interrupted=None):
        done = []

        def run(story, contender, dataset, seed, observe):
            if len(done) + 1 == interrupted:
                raise KeyboardInterrupt
            done.append((contender.label, seed))
            return _run(story, contender, seed)

        monkeypatch.setattr(experiment.training, "run", run)
        return done

    return pretend


PLAIN = ["glorot_uniform", "he_normal", "zhang_forward", "zhang_backward"]
RESIDUAL = [
    "he_normal",
    "naive weight norm",
    "paper's gains",
    "batch norm",
]
LABELS = [*PLAIN, *RESIDUAL]


def test_small_quickstart(options):
    complete, text = carried_out(options)
    assert complete
    for label in LABELS:
        assert f"{label}, seed 0: " in text
        assert any(
            re.match(rf" *{re.escape(label)} +1 ", line) for line in text.splitlines()
        )
    # The titles stand in the first column, on several lines.
    titles = " ".join(line[:24].strip() for line in text.splitlines())
    assert "Plain ReLU network of 3 layers, no normalization, digits" in titles
    assert "Residual network of 1 blocks, digits" in titles
    assert "Interrupted" not in text

    picture = options.output / "quickstart.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    values = json.loads((options.output / "quickstart.json").read_text())
    assert values["stories"][0]["training"]["epochs"] == 1
    assert set(values["versions"]) > {"keras", "keras_convinit", "numpy", "backend"}
    assert [run["contender"] for run in values["runs"]] == LABELS
    assert all(len(run["losses"]) == 2 for run in values["runs"])


def test_resume_repeats_nothing(options, pretend):
    results = _made(options)
    results.save(_folder(options) / "quickstart.json")
    done = pretend()
    complete, text = carried_out(options, resume=True)
    assert complete
    assert not done
    assert "8 runs are taken over from" in text
    assert loaded(options) == results
    assert (options.output / "quickstart.png").exists()


def test_without_resume_everything_is_run(options, pretend):
    _made(options).save(_folder(options) / "quickstart.json")
    done = pretend()
    carried_out(options)
    assert len(done) == len(loaded(options).runs) == 8


def test_resume_takes_up_an_interrupted_quickstart(options, pretend):
    pretend(interrupted=3)
    complete, text = carried_out(options)
    assert not complete
    assert "Interrupted after 2 runs. To continue: the same command with --resume." in (
        " ".join(text.split())
    )
    rows = [line.split()[:2] for line in text.splitlines()]
    assert ["he_normal", "1"] in rows
    assert ["zhang_forward", "0"] in rows
    assert [run.contender for run in loaded(options).runs] == LABELS[:2]
    assert (options.output / "quickstart.png").exists()

    done = pretend()
    complete, text = carried_out(options, resume=True)
    assert complete
    assert "2 runs are taken over" in " ".join(text.split())
    assert done == [(label, 0) for label in LABELS[2:]]
    assert loaded(options) == _made(options)


def test_interruption_of_the_first_run(options, pretend):
    pretend(interrupted=1)
    complete, text = carried_out(options)
    assert not complete
    assert "Interrupted after 0 runs." in text
    assert not list(options.output.iterdir())
    # There is nothing to resume, which is no reason to fail.
    pretend()
    assert carried_out(options, resume=True)[0]


def test_resume_with_more_seeds_adds_to_them(options, pretend):
    _made(options).save(_folder(options) / "quickstart.json")
    done = pretend()
    carried_out(dataclasses.replace(options, seeds=2), resume=True)
    assert done == [(label, 1) for label in LABELS]
    assert len(loaded(options).runs) == 16


def test_the_numbers_are_kept_when_the_figure_cannot_be(options, pretend):
    folder = _folder(options)
    (folder / "quickstart.png").mkdir()
    pretend()
    console = Console(file=io.StringIO(), width=80)
    with pytest.raises(LabError, match=r"quickstart\.png cannot .* with --resume\."):
        quickstart(options, False, console)
    assert loaded(options) == _made(options)
    # The table does not need the disk.
    assert "held-out" in console.file.getvalue()


def test_a_full_disk_advises_what_keeps_the_runs(options, pretend, monkeypatch):
    done, fsync = pretend(), os.fsync

    def full(descriptor):
        if len(done) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabError, match=r"make room, .* same command with --resume\."):
        carried_out(options)
    monkeypatch.undo()
    again = pretend()
    monkeypatch.setattr(room, "results_figure", lambda results: Figure((1, 1)))
    carried_out(options, resume=True)
    assert again == [(label, 0) for label in LABELS[2:]]


def test_a_folder_that_is_in_use_is_refused(options, pretend):
    done = pretend()
    with owned(options.output), pytest.raises(LabError, match="is in use"):
        carried_out(options, resume=True)
    assert not done


def test_resume_refuses_other_settings(options):
    _made(options).save(_folder(options) / "quickstart.json")
    before = (options.output / "quickstart.json").read_bytes()
    with pytest.raises(LabError, match=r"plain\.training\.epochs is 1 .*, 2 now"):
        carried_out(dataclasses.replace(options, epochs=2), resume=True)
    assert (options.output / "quickstart.json").read_bytes() == before


def test_resume_refuses_a_damaged_file(options):
    (_folder(options) / "quickstart.json").write_text("{")
    with pytest.raises(LabError, match="is damaged"):
        carried_out(options, resume=True)


def test_output_must_be_a_folder(options, tmp_path):
    (tmp_path / "file").write_text("")
    inside = dataclasses.replace(options, output=tmp_path / "file" / "out")
    with pytest.raises(LabError, match=r"`output` must be a folder .* Received: out"):
        carried_out(inside)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset", "svhn", "must be one of digits, mnist, cifar10, cifar100"),
        ("seeds", 0, "must be an integer of at least 1"),
        ("epochs", 0, "must be an integer of at least 1"),
        ("depth", 1, "must be an integer of at least 2"),
        ("width", 0, "must be an integer of at least 1"),
        ("blocks", 0, "must be an integer of at least 1"),
        ("residual_epochs", 0, "must be an integer of at least 1"),
        ("learning_rate", -1.0, "must be a finite number greater than 0"),
        ("limit", 0, "must be an integer of at least 1"),
    ],
)
def test_impossible_options_are_refused(name, value, message):
    with pytest.raises(ValueError, match=f"`{name}` {message}.* Received: {name}="):
        Options(**{name: value})


def test_contenders_differ_in_the_convolutions_alone():
    story, _ = stories(Options())
    without = [
        {k: v for k, v in contender.arguments.items() if k != "kernel_initializer"}
        for contender in story.contenders
    ]
    assert all(arguments == without[0] for arguments in without)
    assert [c.arguments["kernel_initializer"] for c in story.contenders] == PLAIN


@pytest.mark.parametrize(("dataset", "strides"), [("digits", []), ("mnist", [2, 2])])
def test_small_images_keep_their_size(dataset, strides):
    story, residual = stories(Options(dataset=dataset))
    stem_strides = {c.arguments["stem_stride"] for c in residual.contenders}
    assert stem_strides == {2 if dataset == "digits" else 4}
    assert story.contenders[0].arguments["strides"] == strides


def _folder(options):
    options.output.mkdir()
    return options.output


def _made(options):
    """Finished results without the work."""
    results = Results(stories(options), versions())
    for story in results.stories:
        for contender in story.contenders:
            results = results.with_run(_run(story, contender, seed=0))
    return results


def _run(story, contender, seed):
    one = (1.0,)
    return training.Run(
        story.name, contender.label, seed, 0.5, False, one, one, one, one, 0.1
    )


@pytest.mark.parametrize("name", ["runs[/bold]", "runs[red]1", "runs:smile:"])
def test_paths_are_told_as_they_are(options, pretend, tmp_path, name):
    pretend()
    output = tmp_path / name
    _, text = carried_out(dataclasses.replace(options, output=output))
    assert f"Figure: {output / 'quickstart.png'}\n" in text
    assert f"Numbers: {output / 'quickstart.json'}\n" in text
