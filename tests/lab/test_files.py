import errno
import os
import secrets
import tempfile

import pytest

from keras_convinit.lab import files
from keras_convinit.lab.differences import changed, differences
from keras_convinit.lab.errors import LabError

pytestmark = pytest.mark.once


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "earlier")
    files.write_text(path, "later")
    assert path.read_text() == "later"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_new_file_has_the_permissions_of_any(tmp_path, umask):
    path = tmp_path / "file"
    files.write_text(path, "new")
    (tmp_path / "ordinary").write_text("new")
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert path.stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_through_a_link(tmp_path, monkeypatch):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = tmp_path / "file"
    for name in ("file", "file.unfinished"):
        (tmp_path / name).symlink_to(precious)
    files.write_text(path, "new")
    assert precious.read_text() == "precious"
    assert path.read_text() == "new"
    assert not path.is_symlink()
    # Not even where the name has been foretold.
    monkeypatch.setattr(secrets, "token_hex", lambda size: "foretold")
    (tmp_path / f"{files.UNFINISHED}foretold").symlink_to(precious)
    with pytest.raises(LabError, match=r"file cannot be written \(File exists"):
        files.write_text(path, "newer")
    assert precious.read_text() == "precious"
    assert path.read_text() == "new"


def test_names_cannot_be_foretold_and_keep_their_ending(tmp_path):
    seen = []
    for _ in range(2):
        with files.written_beside(tmp_path / "model.keras") as unfinished:
            seen.append(unfinished)
            assert unfinished.parent == tmp_path
            assert unfinished.suffix == ".keras"
    assert len(set(seen)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_nothing_is_left(tmp_path, error):
    with pytest.raises(error), files.written_beside(tmp_path / "file") as unfinished:
        unfinished.write_text("half")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_to_do_is_advised_by_what_is_wrong(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(LabError, match=r"Is a directory.* mend that, .* again with it"):
        files.write_text(tmp_path / "file", "new", again="it")


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not an ordinary file"):
        files.read_text(tmp_path / "pipe")


def test_what_is_between_marks_is_replaced(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<begin>\nold\n<end>\nafter <end>\n")
    files.write_between(path, "<begin>", "<end>", "new")
    expected = "before\n<begin>\n\nnew\n\n<end>\nafter <end>\n"
    assert path.read_text() == expected
    with pytest.raises(ValueError, match=r"page\.md must have the lines '<begin>'"):
        files.write_between(path, "<begin>", "<none>", "new")
    assert path.read_text() == expected


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch, where):
    path = tmp_path / "file"
    files.write_text(path, "earlier")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(file):
        file.write(b"la")
        if where == "write":
            full()

    if where != "write":
        monkeypatch.setattr(os, where, full)
    with pytest.raises(LabError, match=r"be written \(No space left.* make room, "):
        files.write_whole(path, write)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(LabError, match=r"must be a folder.*Received: output="):
        files.folder_for(path / "within")


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    assert files.folder_for(tmp_path / "new") == tmp_path / "new"
    assert not list((tmp_path / "new").iterdir())

    def denied(**arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # Whoever runs tests in a container may write anywhere.
    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    with pytest.raises(LabError, match=r"must be a folder.*\(Read-only file system"):
        files.folder_for(tmp_path)


def test_differences_are_the_smallest():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": [1], "e": 0}
    other = {"a": {"b": 1, "c": [1, 3]}, "d": [1, 2], "f": 0}
    assert differences(one, other) == [
        ("a.c.1", 2, 3),
        ("d", [1], [1, 2]),
        ("e", 0, None),
        ("f", None, 0),
    ]
    assert changed({"a": 1}, {"a": 2}) == ["a is 1 in the file, 2 now"]
    assert differences(one, one) == []
