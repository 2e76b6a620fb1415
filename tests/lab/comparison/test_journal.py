import errno
import json
import os

import pytest

from keras_convinit.lab.comparison.journal import Journal
from keras_convinit.lab.errors import LabError

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
    assert not again.note


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
        assert "was not written to its end" in again.note
    again.append(make_run(seed=5))
    assert Journal(path, SETTINGS).runs == [*runs[:2], make_run(seed=5)]


def test_half_a_first_line_is_none(path, journal):
    path.write_bytes(path.read_bytes()[:20])
    assert not Journal(path, SETTINGS).runs
    assert not Journal(path, SETTINGS).note


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (0, "something else"),
        (0, '{"format": 0, "settings": {}}'),
        (1, "{"),
        (1, '{"case": {}}'),
        (2, "[]"),
    ],
)
def test_damage_is_told_and_left(path, journal, number, line):
    lines = path.read_text().splitlines()
    lines[number] = line
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(LabError, match=rf"damaged \(line {number + 1}: .* left as it"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == before


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
    with pytest.raises(LabError, match=r"No space left.* 3 runs .* still there"):
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
