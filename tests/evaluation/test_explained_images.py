"""Explaining images one after another: where the pictures go, and what is said of each."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetnet.errors import FleetnetError, ImageError
from fleetnet.evaluation import explained_images
from fleetnet.evaluation.explained_images import (
    LONGEST,
    SIDE,
    ExplainedImage,
    check_output,
    explain_images,
    picture_files,
    save_picture,
)


def test_no_two_images_have_one_picture() -> None:
    images = ["a/x.jpg", "b/X.png", "x-2.png", "-"]
    names = [str(file) for file in picture_files(images, Path("out"))]
    assert names == ["out/x.png", "out/X-2.png", "out/x-2-2.png", "out/stdin.png"]
    assert list(picture_files(["x.jpg"])) == [Path("explained/x.png")]


def test_a_long_name_leaves_room_for_a_number_and_an_ending() -> None:
    (file,) = picture_files(["ä" * 200 + ".jpg"], Path("out"))
    assert len(os.fsencode(file.stem)) <= LONGEST


def test_a_file_takes_one_image_and_a_folder_any_number(tmp_path: Path) -> None:
    assert list(picture_files(["x.jpg"], Path("one.png"))) == [Path("one.png")]
    with pytest.raises(FleetnetError, match=r"2 images do not fit into one\.png.* output="):
        picture_files(["x.jpg", "y.jpg"], Path("one.png"))
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert len(list(picture_files(["x.jpg", "y.jpg"], folder))) == 2


@pytest.mark.parametrize("name", ["x.jpg", "x.svg", "x.PDF"])
def test_a_file_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(FleetnetError, match="pictures are PNG files"):
        check_output(Path(name))


@pytest.mark.parametrize("output", [None, Path("x.png"), Path("x.PNG"), Path("x"), Path("x.y")])
def test_a_picture_or_a_folder_is_taken(output: Path | None) -> None:
    check_output(output)


def test_a_small_picture_is_enlarged_by_a_whole_factor(tmp_path: Path) -> None:
    save_picture(tmp_path / "small.png", np.zeros((100, 200, 3), np.uint8))
    save_picture(tmp_path / "large.png", np.zeros((SIDE + 1, 9, 3), np.uint8))
    with Image.open(tmp_path / "small.png") as small, Image.open(tmp_path / "large.png") as large:
        assert small.size == (600, 300)
        assert large.size == (9, SIDE + 1)


def test_an_image_that_cannot_be_read_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explained(_: object, __: object, data: bytes, index: int | None) -> Any:
        if data == b"bad":
            raise ImageError("it is bad")
        return SimpleNamespace(
            score=SimpleNamespace(label=f"class {index}", probability=0.75),
            prediction=SimpleNamespace(label="cat"),
            picture=np.zeros((8, 16, 3), np.uint8),
        )

    monkeypatch.setattr(explained_images, "explain_image", explained)
    for name, content in (("good.jpg", b"good"), ("bad.jpg", b"bad")):
        (tmp_path / name).write_bytes(content)
    images = [str(tmp_path / "bad.jpg"), str(tmp_path / "good.jpg")]
    made: Any = None
    bad, good = explain_images(made, made, images, 3, tmp_path / "out")
    assert bad == ExplainedImage(images[0], error="it is bad")
    assert bad.to_json() == {
        "image": images[0], "class": None, "probability": None, "top": None, "output": None,
        "error": "it is bad",
    }  # fmt: skip
    assert good.to_json() == {
        "image": images[1], "class": "class 3", "probability": 0.75, "top": "cat",
        "output": str(tmp_path / "out" / "good.png"), "error": None,
    }  # fmt: skip
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["good.png"]
