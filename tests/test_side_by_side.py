"""Several processes that write one place at once: whole or absent, and nobody's work is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pytest

from fleetnet.benchmark.report import check_output
from fleetnet.bundle import MANIFEST, Bundle, check_replaceable, write_bundle
from fleetnet.errors import FleetnetError, OvertakenError
from fleetnet.files import NOTHING, atomic_file, atomic_folder, new_folder, standing
from processes import started, wait_to_be_killed

PROCESSES = 4
CONTEXT = multiprocessing.get_context("spawn")


def together(work: Callable[..., None], *arguments: Any, count: int = PROCESSES) -> list[Any]:
    """Run the work in several processes that begin at once; return what each put into its queue."""
    barrier, answers = CONTEXT.Barrier(count), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=work, args=(barrier, answers, number, *arguments))
        for number in range(count)
    ]
    with started(*processes):
        found = [answers.get() for _ in processes]
        for process in processes:
            process.join()
            assert process.exitcode == 0
    return found


def make_folder(barrier: Barrier, answers: Any, number: int, path: Path, rounds: int) -> None:
    won = []
    for turn in range(rounds):
        place = path / str(turn)
        replacing = standing(place)
        barrier.wait()
        try:
            with atomic_folder(place, replacing) as folder:
                for name in "abc":
                    (folder / name).write_text(str(number))
                barrier.wait()
            won.append(turn)
        except OvertakenError as error:
            assert "\n" not in str(error)  # noqa: PT017
    answers.put((number, won))


@pytest.mark.slow
@pytest.mark.parametrize("existing", [False, True])
def test_the_first_process_to_make_a_folder_keeps_it(tmp_path: Path, existing: bool) -> None:
    rounds = 15
    if existing:
        for turn in range(rounds):
            (tmp_path / str(turn)).mkdir()
            (tmp_path / str(turn) / "old").touch()
    winners = {
        turn: number for number, won in together(make_folder, tmp_path, rounds) for turn in won
    }
    assert sorted(winners) == list(range(rounds))
    for turn, number in winners.items():
        files = {file.name: file.read_text() for file in (tmp_path / str(turn)).iterdir()}
        assert files == dict.fromkeys("abc", str(number))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(map(str, range(rounds)))


def test_a_folder_that_was_added_to_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "sub").mkdir(parents=True)
    replacing = standing(path)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(OvertakenError), atomic_folder(path, replacing) as folder:
        (folder / "a").touch()
    assert (path / "notes.txt").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_appeared_between_check_and_rename_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    real = Path.rename

    def rename(source: Path, target: Path) -> Path:
        if source == path:
            real(path, tmp_path / "gone")
            path.mkdir()
            (path / "of another").touch()
            monkeypatch.undo()
        return real(source, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OvertakenError), atomic_folder(path) as folder:
        (folder / "a").touch()
    assert [entry.name for entry in path.iterdir()] == ["of another"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "gone"]


def test_an_error_between_the_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    real = Path.rename

    def rename(source: Path, target: Path) -> Path:
        if target == path and source.suffix == ".part":
            raise OSError(5, "Input/output error")
        return real(source, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(FleetnetError, match="Input/output"), atomic_folder(path) as folder:
        (folder / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_link_to_a_folder_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "old").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "real"]


def write_over_and_over(
    barrier: Barrier, answers: Any, number: int, path: Path, rounds: int
) -> None:
    barrier.wait()
    for turn in range(rounds):
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps({"by": number, "turn": turn, "text": "x" * 9000}))
        json.loads(path.read_text())  # somebody's, and whole
    answers.put(number)


@pytest.mark.slow
def test_a_file_is_whole_whoever_wrote_it_last(tmp_path: Path) -> None:
    """As reports, and choices of tuning in the cache."""
    path = tmp_path / "deep" / "choice.json"
    assert sorted(together(write_over_and_over, path, 60)) == list(range(PROCESSES))
    assert len(json.loads(path.read_text())["text"]) == 9000
    assert [entry.name for entry in path.parent.iterdir()] == ["choice.json"]


def look_over_and_over(barrier: Barrier, answers: Any, number: int, path: Path) -> None:
    barrier.wait()
    for _ in range(100):
        check_output(path)
    answers.put(number)


@pytest.mark.slow
def test_two_benchmarks_may_look_at_one_folder(tmp_path: Path) -> None:
    """Each writes a file to see that it can, and takes it away again."""
    assert len(together(look_over_and_over, tmp_path / "results")) == PROCESSES
    assert list((tmp_path / "results").iterdir()) == []


def take_new_folders(barrier: Barrier, answers: Any, number: int, path: Path) -> None:
    barrier.wait()
    answers.put([str(new_folder(path)) for _ in range(10)])


@pytest.mark.slow
def test_no_two_processes_get_the_same_new_folder(tmp_path: Path) -> None:
    found = [
        name for names in together(take_new_folders, tmp_path / "runs" / "run") for name in names
    ]
    assert len(found) == len(set(found)) == 10 * PROCESSES
    assert str(tmp_path / "runs" / "run") in found


def test_a_new_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetnetError, match="cannot write"):
        new_folder(tmp_path / "file" / "run")


def hang_in_the_middle(path: Path, inside: Event) -> None:
    with atomic_folder(path) as folder:
        (folder / "half").touch()
        inside.set()
        wait_to_be_killed()


@pytest.mark.slow
def test_a_process_killed_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    inside = CONTEXT.Event()
    process = CONTEXT.Process(target=hang_in_the_middle, args=(path, inside))
    with started(process):
        inside.wait()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    with atomic_folder(path) as folder:
        (folder / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_what_is_written_has_the_usual_permissions_whatever_other_threads_do(
    tmp_path: Path,
) -> None:
    before = os.umask(0o027)
    try:

        def write(number: int) -> None:
            for turn in range(50):
                with atomic_file(tmp_path / f"{number}-{turn}"):
                    pass

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        assert os.umask(before) == 0o027
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir() if entry.is_file()}
    assert modes == {0o640}
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_a_bundle_made_meanwhile_is_left_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for a in bundle.artifacts for path in bundle.files_of(a)}
    path = tmp_path / "new.bundle"
    for _ in range(2):  # where there is none, and where there is one
        begun = check_replaceable(path)
        first = write_bundle(path, bundle.manifest, files)
        with pytest.raises(OvertakenError, match="another process has written"):
            write_bundle(path, bundle.manifest, files, begun)
        assert standing(path) == first.found != NOTHING
    (tmp_path / "photos").mkdir()
    begun = check_replaceable(tmp_path / "photos")
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(FleetnetError, match="is not a bundle"):
        write_bundle(tmp_path / "photos", bundle.manifest, files, begun)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new.bundle", "photos"]


def test_int8_is_not_put_over_a_bundle_that_another_has_changed(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Or what the other added would be lost."""
    from fleetnet.export.quantize.bundle import check_request

    files = {path.name: path.read_bytes() for a in bundle.artifacts for path in bundle.files_of(a)}
    mine = write_bundle(tmp_path / "b.bundle", bundle.manifest, files)
    loaded = Bundle.load(mine.path)
    write_bundle(mine.path, bundle.manifest.model_copy(update={"metrics": {"a": 1}}), files)
    replacing = check_request(loaded, None, ("openvino",), 0.9)
    with pytest.raises(OvertakenError):
        write_bundle(mine.path, loaded.manifest, files, replacing)
    assert '"a": 1' in (mine.path / MANIFEST).read_text()
