from pathlib import Path

import pytest
from PIL import Image

from conftest import Run
from fleetnet.data.sources import Source
from samples import make_folder


@pytest.mark.slow
def test_preview_writes_a_picture(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "look.png"
    settings = ["augment.policy=trivialaugment", "augment.mixup=0.2", "augment.cutmix=1"]
    options = [word for setting in settings for word in ("--set", setting)]
    done = fleetnet(
        "data", "preview", shapes, *options, "--images", "3", "--variants", "4", "-o", output
    )
    assert done.code == 0, done
    with Image.open(output) as picture:
        assert picture.size[0] == 1200
        assert picture.size[1] > 1000
    assert "3 training images, 4 epochs" in done.out


def test_images_of_training_alone_are_shown(
    fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of data that cannot be split none that is held out or to test on."""
    shown: list[str] = []

    def draw(source: Source, indices: list[int], *_: object, **__: object) -> Image.Image:
        shown[:] = [source.samples[index].name for index in indices]
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr("fleetnet.data.preview.preview", draw)
    for part in ("train", "test"):
        make_folder(tmp_path / "own" / part, 3)
    assert fleetnet("data", "preview", tmp_path / "own", "-o", tmp_path / "a.png").code == 0
    assert shown
    assert {name.partition("/")[0] for name in shown} == {"train"}
    make_folder(tmp_path / "single", 1)
    assert fleetnet("data", "preview", tmp_path / "single", "-o", tmp_path / "a.png").code == 0
    assert len(shown) == 3


def test_bad_input_is_refused(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    refused = fleetnet("data", "preview", shapes, "-o", tmp_path / "look.jpg")
    refused.assert_one_line("must end in .png")
    settings = ["--set", "augment.policy=best"]
    fleetnet("data", "preview", shapes, *settings, "-o", picture).assert_one_line("augment.policy")
    missing = fleetnet("data", "preview", tmp_path / "none", "-o", picture)
    missing.assert_one_line("does not exist")
    assert list(tmp_path.iterdir()) == []
