import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import DataError
from fleetnet.image_files import find_images, visible_folders, walk_images
from fleetnet.left_out import LeftOut


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def walked(root: Path, left_out: LeftOut | None = None, *, lenient: bool = False) -> list[str]:
    found = walk_images(root, left_out, lenient=lenient)
    return [path.relative_to(root).as_posix() for path in found]


@pytest.fixture
def denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that may not be read, also by who may read everything."""
    folder = touch(tmp_path / "d", "a.jpg", "locked/b.jpg", "z/c.jpg") / "locked"
    scandir = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if os.fspath(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    folder.chmod(0)
    yield folder
    folder.chmod(0o755)


def test_find_images_expands_folders_and_globs_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "sub/c.webp", ".cache/d.jpg")
    folder = [Path(path).relative_to(tmp_path).as_posix() for path in find_images([str(tmp_path)])]
    assert folder == ["a.PNG", "b.jpg", "sub/c.webp"]
    globbed = list(find_images([str(tmp_path / "**" / "*")]))
    assert [Path(path).name for path in globbed] == ["a.PNG", "b.jpg", "c.webp"]
    assert list(find_images(["-", "missing.jpg"])) == ["-", "missing.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "x/b.jpg", "x/y/c.jpg"]),
        ("**", ["a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/d.png"]),
        ("x/**", ["x/b.jpg", "x/y/c.jpg", "x/y/d.png"]),
        ("**/y/*", ["x/y/c.jpg", "x/y/d.png"]),
        ("**/x/**/y/**/*.png", ["x/y/d.png"]),
        ("?/**/[bc].jpg", ["x/b.jpg", "x/y/c.jpg"]),
    ],
)
def test_globs_of_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    monkeypatch.chdir(touch(tmp_path, "a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/d.png", "x/e.txt"))
    assert list(find_images([pattern])) == names
    assert list(find_images([str(tmp_path / pattern)])) == [str(tmp_path / name) for name in names]


def test_a_folder_without_images_says_so_and_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in the folder"):
        list(find_images([str(tmp_path)]))
    with pytest.raises(DataError, match="no images match"):
        list(find_images([str(tmp_path / "*.jpg")]))
    with pytest.raises(DataError, match="no images match"):
        list(find_images([str(tmp_path / "none" / "**" / "*.jpg")]))
    touch(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(DataError, match=r"no images in the folder .*; left out: 2 \.mp4"):
        list(find_images([str(tmp_path)]))


def test_a_path_that_cannot_be_looked_at_is_left_to_its_reader(tmp_path: Path) -> None:
    name = str(tmp_path / ("x" * 5000))
    assert list(find_images([name])) == [name]


@pytest.mark.parametrize("target", ["..", ".", "up"])
def test_links_that_go_round_in_a_circle_end(tmp_path: Path, target: str) -> None:
    root = touch(tmp_path / "d", "cat/a.jpg", "dog/b.jpg")
    (root / "cat" / "up").symlink_to(target)
    left_out = LeftOut()
    assert walked(root, left_out) == ["cat/a.jpg", "dog/b.jpg"]
    if target != "up":
        assert left_out.line == "1 link to folders that are looked into already"
    globbed = find_images([str(root / "**" / "*.jpg")])
    assert [Path(path).name for path in globbed] == ["a.jpg", "b.jpg"]


def test_a_link_out_of_the_folder_to_one_that_it_is_in_is_not_followed(tmp_path: Path) -> None:
    root = touch(tmp_path / "d", "cat/a.jpg", "dog/b.jpg")
    touch(tmp_path / "pool", "c.jpg")
    (root / "cat" / "up").symlink_to("..")
    (root / "cow").symlink_to(tmp_path / "pool")
    (tmp_path / "pool" / "back").symlink_to(root)
    assert walked(root / "cat") == ["a.jpg"]
    assert walked(root / "cow") == ["c.jpg"]


def test_a_link_to_a_folder_elsewhere_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "pool", "a.jpg")
    root = touch(tmp_path / "d", "b.jpg")
    (root / "one").symlink_to(tmp_path / "pool")
    (root / "two").symlink_to(tmp_path / "pool")
    left_out = LeftOut()
    assert walked(root, left_out) == ["b.jpg", "one/a.jpg"]
    assert left_out.links == 1


def test_an_image_that_is_a_link_to_nothing_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nothing")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert walked(tmp_path) == ["gone.jpg", "self.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are none")
def test_pipes_and_sockets_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(touch(tmp_path, "a.jpg"))
    os.mkfifo("pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.jpg")
        left_out = LeftOut()
        assert walked(tmp_path, left_out) == ["a.jpg"]
        assert list(find_images(["*.jpg", "**"])) == ["a.jpg", "a.jpg"]
    assert left_out.line == "3 pipes or the like"


def test_a_folder_that_cannot_be_read_is_named(denied: Path) -> None:
    with pytest.raises(
        DataError, match=f"cannot read the folder {denied}: Permission denied: make"
    ):
        walked(denied.parent)
    with pytest.raises(DataError, match="cannot read the folder"):
        visible_folders(denied)
    # Whoever reads the images one after another finds it among them.
    assert walked(denied.parent, lenient=True) == ["a.jpg", "locked", "z/c.jpg"]
    globbed = find_images([str(denied.parent / "**" / "*.jpg")], lenient=True)
    assert [Path(path).name for path in globbed] == ["a.jpg", "locked", "c.jpg"]


def test_a_tree_deeper_than_pythons_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Other tests may have raised the limit, and a path has at most 4096 bytes.
    depths = range(min(sys.getrecursionlimit() + 100, 2000))
    folders = ["d" + "/d" * depth for depth in depths]
    for folder in folders:
        Path(folder).mkdir()
    image = Path(folders[-1], "deep.jpg")
    image.touch()
    found = list(walk_images(Path("d")))
    image.unlink()  # as pytest could not
    for folder in reversed(folders):
        Path(folder).rmdir()
    assert found == [image]


def test_files_that_systems_leave_are_left_out_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path, "cat/a.jpg", "__MACOSX/cat/._a.jpg", "cat/@eaDir/a.jpg/x.jpg", "cat/Thumbs.db",
        "cat/.DS_Store", "cat/._a.jpg", "lost+found/b.jpg", "cat/.ipynb_checkpoints/a.jpg",
        "$RECYCLE.BIN/c.jpg", "System Volume Information/d.jpg", "#recycle/e.jpg",
    )  # fmt: skip
    left_out = LeftOut()
    assert walked(tmp_path, left_out) == ["cat/a.jpg"]
    assert left_out.line == (
        "the system's own #recycle, $RECYCLE.BIN, .ipynb_checkpoints, @eaDir, "
        "System Volume Information, __MACOSX, lost+found"
    )
    assert left_out.system["._"] == left_out.system["Thumbs.db"] == 1
    assert visible_folders(tmp_path) == ["cat"]


def test_leaving_out_only_system_files_is_not_reported(tmp_path: Path) -> None:
    left_out = LeftOut()
    touch(tmp_path, "a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg")
    assert walked(tmp_path, left_out) == ["a.jpg"]
    assert left_out.line == ""
    assert sum(left_out.to_json()["system"].values()) == 4


def test_what_is_left_out_is_counted_by_ending(tmp_path: Path) -> None:
    names = [f"{n}.MP4" for n in range(3)] + ["README", "b.zip", ".hidden", ".git/x.jpg"]
    names += ["Photo 12.03.2024 at noon", "a.jpg", *(f"x.{n}" for n in range(9))]
    left_out = LeftOut()
    assert walked(touch(tmp_path, *names), left_out) == ["a.jpg"]
    assert left_out.endings[".mp4"] == 3
    assert left_out.line == (
        "3 .mp4, 2 without an ending, 1 .0, 1 .1, 1 .2, 1 .3, 6 others (no images by their names); "
        "2 hidden"
    )


def test_images_beside_the_folders_are_counted(tmp_path: Path) -> None:
    left_out = LeftOut()
    touch(tmp_path, "cat/a.jpg", "b.jpg", "c.png", "README.md", ".hidden.jpg")
    assert visible_folders(tmp_path, left_out) == ["cat"]
    assert left_out.line == "2 images outside the class folders; 1 hidden"


FOLDERS = ("a", "a/b", "a/b/c", "d", "d/e")
LINKS = st.lists(
    st.tuples(st.sampled_from(FOLDERS), st.sampled_from(("", *FOLDERS))), max_size=8, unique=True
)


@given(st.lists(st.sampled_from(FOLDERS), max_size=6), LINKS)
def test_every_image_is_found_by_its_own_path_whatever_the_links(
    places: list[str], links: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in FOLDERS:
            (root / folder).mkdir()
        own = {f"{place}/{number}.jpg" for number, place in enumerate(places)}
        touch(root, *own)
        for number, (place, target) in enumerate(links):
            (root / place / f"link{number}").symlink_to(root / target)
        found = walked(root)
        assert own <= set(found)
        assert len(found) == len(set(found))
        # A link adds the images of its folder once at most.
        assert len(found) <= len(own) * (1 + len(links))
        assert all((root / name).is_file() for name in found)


def test_an_empty_folder_is_said_in_a_short_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        list(find_images([str(tmp_path)]))
    assert str(error.value).count(".") - str(tmp_path).count(".") < 9
    assert ".jpg, .png" in str(error.value)
    assert ".jpeg" not in str(error.value)
