from pathlib import Path

import pytest
from PIL import Image

from conftest import Run


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
    assert "3 images, 4 epochs" in done.out


def test_bad_input_is_refused(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    refused = fleetnet("data", "preview", shapes, "-o", tmp_path / "look.jpg")
    refused.assert_one_line("must end in .png")
    settings = ["--set", "augment.policy=best"]
    fleetnet("data", "preview", shapes, *settings, "-o", picture).assert_one_line("augment.policy")
    missing = fleetnet("data", "preview", tmp_path / "none", "-o", picture)
    missing.assert_one_line("does not exist")
    assert list(tmp_path.iterdir()) == []
