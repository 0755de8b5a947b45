import errno
import os
from pathlib import Path

import pytest

from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file, atomic_folder, write_error


class MishapError(Exception):
    """Something goes wrong in the middle of writing."""


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(MishapError), atomic_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise MishapError
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(MishapError), atomic_folder(path) as temporary:
        (temporary / "a").write_text("2")
        raise MishapError
    assert (path / "a").read_text() == "1"
    with atomic_folder(path) as temporary:
        (temporary / "b").write_text("3")
    assert [entry.name for entry in path.iterdir()] == ["b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "file"
    path.write_bytes(b"old")
    with pytest.raises(FleetnetError, match="no space left"), atomic_file(path) as temporary:
        temporary.write_bytes(os.urandom(2 * 2**20))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in small_disk.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_last_checkpoint(small_disk: Path, checkpoint: Path) -> None:
    from fleetnet.training.checkpoint import Checkpoint

    loaded = Checkpoint.load(checkpoint)
    (small_disk / "last.ckpt").write_bytes(b"the one before")
    with pytest.raises(FleetnetError, match="no space left"):
        loaded.save(small_disk / "last.ckpt")
    assert (small_disk / "last.ckpt").read_bytes() == b"the one before"
    assert len(list(small_disk.iterdir())) == 1


@pytest.mark.slow
def test_a_full_disk_leaves_no_bundle(small_disk: Path, checkpoint: Path) -> None:
    from fleetnet.export.pipeline import export_bundle

    with pytest.raises(FleetnetError, match="no space left"):
        export_bundle(checkpoint, small_disk / "new.bundle", limit=2)
    assert list(small_disk.iterdir()) == []


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetnetError, match="cannot write"), atomic_file(tmp_path / "file" / "x"):
        pass


def test_write_errors_say_what_to_do() -> None:
    path = Path("out")
    assert "choose another place" in str(
        write_error(path, OSError(errno.EACCES, "Permission denied"))
    )
    assert "free some" in str(write_error(path, OSError(errno.ENOSPC, "No space left on device")))
    assert "Input/output" in str(write_error(path, OSError(errno.EIO, "Input/output error")))
