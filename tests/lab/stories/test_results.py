import dataclasses
import json
import os
import re

import pytest

from keras_convinit.lab.errors import LabError
from keras_convinit.lab.stories.results import Results

pytestmark = pytest.mark.once


def test_results_survive_a_file(results, make_run, tmp_path):
    exploding = make_run("zhang_forward", 1, signal=(1.0, None), diverged=True)
    results = results.with_run(exploding)
    path = tmp_path / "results.json"
    results.save(path)
    assert Results.load(path) == results
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_file_is_strict_json(results, make_run, tmp_path):
    path = tmp_path / "results.json"
    results.save(path)
    json.loads(path.read_text(), parse_constant=pytest.fail)
    with pytest.raises(ValueError):
        results.with_run(make_run(seed=5, losses=(float("nan"),))).save(path)
    assert Results.load(path) == results


def test_interruption_while_writing_leaves_the_earlier_file(
    results, make_run, tmp_path, monkeypatch
):
    path = tmp_path / "results.json"
    results.save(path)

    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        results.with_run(make_run(seed=5)).save(path)
    assert Results.load(path) == results


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"format": 1, "stor',
        "[]",
        "{}",
        '{"format": 0}',
        '{"format": 1, "stories": []}',
        '{"format": 1, "stories": [{}], "versions": {}, "runs": []}',
        '{"format": 1, "stories": [], "versions": {}, "runs": [{"seed": 1}]}',
    ],
)
def test_damaged_files_are_told(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(LabError, match="is not a file of results, or is damaged") as e:
        Results.load(path)
    assert str(path) in str(e.value)
    assert "without --resume" in str(e.value)
    assert "\n" not in str(e.value)


def test_binary_files_are_told(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabError, match="UnicodeDecodeError"):
        Results.load(path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_told(make, tmp_path):
    path = tmp_path / "results.json"
    make(path)
    with pytest.raises(LabError, match="is not a file of results"):
        Results.load(path)


@pytest.mark.parametrize("entry", ["held_out_accuracy", "seed", "losses"])
def test_a_changed_digit_is_told(results, entry, tmp_path):
    path = tmp_path / "results.json"
    results.save(path)
    before, found, after = path.read_text().rpartition(f'"{entry}": ')
    assert found
    digit = re.search(r"[0-8]", after)
    more = str(int(digit[0]) + 1)
    changed = f"{after[: digit.start()]}{more}{after[digit.end() :]}"
    path.write_text(before + found + changed)
    with pytest.raises(LabError, match="damaged, or changed by hand"):
        Results.load(path)


def test_files_of_earlier_versions_are_read_and_looked_at(results, tmp_path):
    path = tmp_path / "results.json"
    results.save(path)
    values = json.loads(path.read_text())
    del values["checksum"]
    path.write_text(json.dumps(values))
    assert Results.load(path) == results
    values["runs"][0]["held_out_accuracy"] = 7.0
    path.write_text(json.dumps(values))
    with pytest.raises(LabError, match=r"`runs\.0\.held_out_accuracy` must be from 0"):
        Results.load(path)


def test_a_run_counts_once(results, tmp_path):
    path = tmp_path / "results.json"
    results.with_run(results.runs[0]).save(path)
    with pytest.raises(LabError, match="a run is there twice"):
        Results.load(path)


def test_runs_of_a_contender(results):
    assert [run.seed for run in results.of("small", "he_normal")] == [0, 1]
    assert not results.of("other", "he_normal")


def test_equal_settings_continue_after_a_file(results, tmp_path):
    path = tmp_path / "results.json"
    results.save(path)
    dataclasses.replace(results, runs=()).check_continues(Results.load(path), path)


def different_story(results, **changes):
    story = dataclasses.replace(results.stories[0], **changes)
    return dataclasses.replace(results, stories=(story,))


def test_different_settings_are_named(results, tmp_path):
    story = results.stories[0]
    longer = dataclasses.replace(story.training, epochs=9)
    wider = dataclasses.replace(
        story.contenders[1], arguments={**story.contenders[1].arguments, "width": 7}
    )
    cases = [
        ({"training": longer}, "small.training.epochs is 2 in the file, 9 now"),
        ({"limit": 50}, "small.limit is None in the file, 50 now"),
        (
            {"contenders": (story.contenders[0], wider)},
            "small.contenders.1.arguments.width is 16 in the file, 7 now",
        ),
    ]
    for changes, message in cases:
        with pytest.raises(LabError, match=message) as caught:
            different_story(results, **changes).check_continues(results, tmp_path)
        # Nothing but the difference.
        assert str(caught.value).count("in the file") == 1


def test_different_versions_are_named(results, tmp_path):
    newer = dataclasses.replace(results, versions={"keras": "3.15.1"})
    with pytest.raises(
        LabError, match=r"version of.keras is 3.12.0 in the file, 3.15.1 now"
    ):
        newer.check_continues(results, tmp_path)


def test_another_number_of_contenders_is_a_difference(results, tmp_path):
    fewer = different_story(results, contenders=results.stories[0].contenders[:1])
    with pytest.raises(LabError, match=r"small\.contenders is"):
        fewer.check_continues(results, tmp_path)
