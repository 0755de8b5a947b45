from pathlib import Path

import pytest

from fleetnet.errors import DataError
from fleetnet.image_files import find_images


def test_find_images_expands_folders_and_globs_sorted(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "sub/c.webp", ".cache/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = [Path(path).relative_to(tmp_path).as_posix() for path in find_images([str(tmp_path)])]
    assert folder == ["a.PNG", "b.jpg", "sub/c.webp"]
    globbed = list(find_images([str(tmp_path / "**" / "*")]))
    assert [Path(path).name for path in globbed] == ["a.PNG", "b.jpg", "c.webp"]
    assert list(find_images(["-", "missing.jpg"])) == ["-", "missing.jpg"]


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images in the folder"):
        list(find_images([str(tmp_path)]))
    with pytest.raises(DataError, match="no images match"):
        list(find_images([str(tmp_path / "*.jpg")]))
