import errno
import os
import signal
import subprocess
import sys
import types

import pytest

from keras_convinit.lab import ownership
from keras_convinit.lab.errors import LabError
from keras_convinit.lab.files import UNFINISHED
from keras_convinit.lab.ownership import LOCK, owned

pytestmark = pytest.mark.once


def test_a_folder_belongs_to_one_at_a_time(tmp_path):
    folder = tmp_path / "new"
    with owned(folder) as found:
        assert found == folder
        with pytest.raises(LabError, match=r"new is in use: another process") as raised:
            owned(folder).__enter__()
        assert "\n" not in str(raised.value)
        # It is the owner's as before.
        with pytest.raises(LabError, match="in use"):
            owned(folder).__enter__()
    assert not list(folder.iterdir())
    with owned(folder):
        pass


def test_an_error_ends_it(tmp_path):
    with pytest.raises(ValueError), owned(tmp_path):
        raise ValueError
    with owned(tmp_path):
        pass


HOLDING = """
import sys, time
from pathlib import Path
from keras_convinit.lab.ownership import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(600)
"""


@pytest.mark.process
def test_it_dies_with_its_owner(tmp_path, root):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    owner = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "owned\n"
    (tmp_path / f"{UNFINISHED}0123").write_text("half")
    with pytest.raises(LabError, match="in use"), owned(tmp_path):
        pass
    assert (tmp_path / f"{UNFINISHED}0123").exists()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    assert (tmp_path / LOCK).exists()
    with owned(tmp_path):
        # What it left is removed.
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_one_that_is_removed_in_between_is_not_taken(tmp_path, monkeypatch):
    lock, calls = ownership._lock, []

    def slow(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            # Its owner ends, and another one begins.
            (tmp_path / LOCK).unlink()
            (tmp_path / LOCK).write_text("")
        lock(descriptor)

    monkeypatch.setattr(ownership, "_lock", slow)
    with owned(tmp_path):
        assert len(calls) == 2
        with pytest.raises(LabError, match="in use"):
            owned(tmp_path).__enter__()


def test_nothing_is_made_through_a_link(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match=r"can be the owner. Received: output="):
        owned(folder).__enter__()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.filterwarnings("default")
def test_where_there_are_no_locks_it_is_told(tmp_path, monkeypatch):
    def unknown(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(ownership, "_lock", unknown)
    with pytest.warns(UserWarning, match="cannot be locked"), owned(tmp_path):
        assert not list(tmp_path.iterdir())


def test_without_fcntl_msvcrt_locks(tmp_path, monkeypatch):
    held = set()

    def locking(descriptor, mode, count):
        file = os.fstat(descriptor).st_ino
        if mode == "lock" and file in held:
            raise PermissionError(errno.EACCES, "Permission denied")
        (held.add if mode == "lock" else held.discard)(file)

    fake = types.SimpleNamespace(locking=locking, LK_NBLCK="lock", LK_UNLCK="unlock")
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(ownership, "fcntl", None)
    with owned(tmp_path):
        assert held
        with pytest.raises(LabError, match="in use"):
            owned(tmp_path).__enter__()
    assert not held
