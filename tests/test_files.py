import errno
import functools
import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from at_once import at_once
from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file, atomic_folder, write_error
from fleetnet.json_text import json_text


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


def test_a_folder_may_have_folders_in_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "a").write_text("1")
    assert (tmp_path / "folder" / "inner" / "a").read_text() == "1"


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
    from fleetnet.export.bundle import export_bundle

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


def test_writing_in_threads_leaves_the_umask_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = os.umask

    def ask_slowly(mask: int) -> int:
        before = ask(mask)
        time.sleep(0.005)
        return before

    def write(number: int) -> None:
        with atomic_file(tmp_path / str(number)) as path:
            path.write_bytes(b"new")

    before = ask(0o077)
    try:
        monkeypatch.setattr(os, "umask", ask_slowly)
        at_once([functools.partial(write, number) for number in range(8)])
        assert ask(0o077) == 0o077
    finally:
        ask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_longest_file_names_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "\N{PILE OF POO}" * 63):
        with atomic_file(tmp_path / name) as temporary:
            temporary.write_text("1")
        with atomic_folder(tmp_path / "folder" / name) as folder:
            (folder / "a").touch()
    assert len(list(tmp_path.iterdir())) == 3


@given(st.text(st.characters(exclude_categories=())))
def test_json_is_valid_wherever_it_goes(name: str) -> None:
    assume(not re.search("[\ud800-\udbff][\udc00-\udfff]", name))  # which is one character
    text = json_text({name: [name]})
    assert json.loads(text.encode("utf-8", "strict")) == {name: [name]}
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", text)
