import errno
import json
import os

import pytest

from keras_convinit.lab.comparison.journal import Journal
from keras_convinit.lab.errors import LabError

pytestmark = pytest.mark.once

SETTINGS = {"epochs": 1, "subset": None, "versions": {"keras": "3.12"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.jsonl"


@pytest.fixture
def runs(make_run):
    return [
        make_run(),
        make_run(seed=1, diverged=True, accuracy=None, signal=(1.0, None)),
        make_run("fixup", refusal="It has no branches: `x` ≠ 1"),
    ]


@pytest.fixture
def journal(path, runs):
    journal = Journal(path, SETTINGS)
    for run in runs:
        journal.append(run)
    return journal


def test_runs_come_back(path, runs, journal):
    again = Journal(path, SETTINGS)
    assert again.runs == journal.runs == runs
    assert not again.notes


def test_what_is_written_stays_as_it_is(path, journal, make_run):
    before = path.read_bytes()
    Journal(path, SETTINGS).append(make_run(seed=2))
    assert path.read_bytes().startswith(before)
    assert len(path.read_text().splitlines()) == 5


def test_half_a_line_at_the_end_is_dropped(path, runs, journal, make_run):
    whole = path.read_bytes()
    for missing in (1, 10):
        path.write_bytes(whole[:-missing])
        again = Journal(path, SETTINGS)
        assert again.runs == runs[:2]
        (note,) = again.notes
        assert "was not written to its end" in note
    again.append(make_run(seed=5))
    assert Journal(path, SETTINGS).runs == [*runs[:2], make_run(seed=5)]


def test_half_a_first_line_is_none(path, journal):
    path.write_bytes(path.read_bytes()[:20])
    assert not Journal(path, SETTINGS).runs
    assert not Journal(path, SETTINGS).notes


@pytest.mark.parametrize(
    "line",
    ["something else", '{"format": 0, "settings": {}}', "[" * 100_000],
)
def test_damage_of_what_all_have_in_common_is_told_and_left(path, journal, line):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([line, *lines[1:]]) + "\n")
    before = path.read_bytes()
    with pytest.raises(LabError, match=r"damaged \(line 1: .* left as it"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, b"{"),
        (1, b'{"case": {}}'),
        (2, b"[]"),
        (2, b"[" * 100_000),
        (3, b"\xff\xfe"),
    ],
)
def test_a_damaged_run_is_told_and_done_again(path, runs, journal, number, line):
    lines = path.read_bytes().splitlines()
    lines[number] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    again = Journal(path, SETTINGS)
    assert path.read_bytes() == before
    (note,) = again.notes
    assert f"Line {number + 1} of {path} does not count" in note
    assert "\n" not in note
    missing = runs[number - 1]
    assert again.runs == [run for run in runs if run is not missing]
    again.append(missing)
    assert path.read_bytes().startswith(before)
    assert {run.case for run in Journal(path, SETTINGS).runs} == {r.case for r in runs}


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ('"validation_accuracy": 0.75', '"validation_accuracy": 0.85'),
        ('"learning_rate": 0.1, "seed": 0', '"learning_rate": 0.1, "seed": 7'),
        ('"signal": [1.0', '"signal": [3.0'),
    ],
)
def test_a_changed_digit_is_told(path, runs, journal, there, here):
    first, second, *others = path.read_text().splitlines()
    assert there in second
    changed = second.replace(there, here, 1)
    path.write_text("\n".join([first, changed, *others]) + "\n")
    again = Journal(path, SETTINGS)
    assert again.runs == runs[1:]
    assert "Line 2 " in again.notes[0]
    assert "damaged, or changed by hand" in again.notes[0]


def test_a_changed_setting_is_told(path, journal):
    path.write_text(path.read_text().replace('"epochs": 1', '"epochs": 2', 1))
    with pytest.raises(LabError, match="damaged, or changed by hand"):
        Journal(path, {**SETTINGS, "epochs": 2})


def without_checksums(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for values in lines:
        del values["checksum"]
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))


def test_files_of_earlier_versions_are_read(path, runs, journal):
    without_checksums(path)
    again = Journal(path, SETTINGS)
    assert again.runs == runs
    assert not again.notes


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        ('"validation_accuracy": 0.75', '"validation_accuracy": 7.5', "from 0 to 1"),
        ('"seed": 0', '"seed": 0.5', "`case.seed` must be of the type int"),
        ('"diverged": false', '"diverged": "no"', "of the type bool"),
        ('"seconds": 0.25', '"seconds": -1', "from 0 to inf"),
        ('"signal": [1.0', '"signal": ["1"', "`beginning.signal.0` must be a number"),
        ('"loss": 1.5', '"loss": NaN', "NaN is no number of JSON"),
        ('"loss": 1.5', '"loss": 1e999', "must be a number. Received: inf"),
    ],
)
def test_types_and_ranges_are_looked_at(path, runs, journal, there, here, message):
    without_checksums(path)
    first, second, *others = path.read_text().splitlines()
    assert there in second
    changed = second.replace(there, here, 1)
    path.write_text("\n".join([first, changed, *others]) + "\n")
    again = Journal(path, SETTINGS)
    assert again.runs == runs[1:]
    assert message in again.notes[0]


def test_a_case_counts_once(path, runs, journal):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *lines[1:]]) + "\n")
    assert Journal(path, SETTINGS).runs == runs


def test_a_pipe_in_the_place_of_the_file(path):
    os.mkfifo(path)
    with pytest.raises(LabError, match="Not an ordinary file"):
        Journal(path, SETTINGS)


@pytest.mark.parametrize("content", [b"my own notes", b"\xff\xfe\n"])
def test_another_file_is_not_overwritten(path, content):
    path.write_bytes(content)
    with pytest.raises(LabError, match="is not a file of runs"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == content


def test_other_settings_are_named(path, journal):
    other = {**SETTINGS, "epochs": 2, "versions": {"keras": "3.13"}}
    before = path.read_bytes()
    with pytest.raises(
        LabError, match=r"epochs is 1 in the file, 2 now; versions\.keras is 3\.12"
    ):
        Journal(path, other)
    assert path.read_bytes() == before


def test_full_disk(path, runs, journal, make_run, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        LabError, match=r"with 3 runs, cannot be .*No space left.* still"
    ):
        journal.append(make_run(seed=9))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert Journal(path, SETTINGS).runs == runs


def test_a_folder_in_the_place_of_the_file(path):
    path.mkdir()
    with pytest.raises(LabError, match="Is a directory"):
        Journal(path, SETTINGS)


def test_lines_are_json(path, journal):
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
