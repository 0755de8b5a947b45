from pathlib import Path

import pytest
from PIL import Image

from fleetnet.cli.data_preview import preview
from fleetnet.errors import DataError, RecipeError


def test_preview_writes_a_picture(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "look.png"
    settings = ["augment.policy=trivialaugment", "augment.mixup=0.2", "augment.cutmix=1"]
    preview(str(shapes), settings=settings, images=3, variants=4, output=output)
    with Image.open(output) as picture:
        assert picture.size[0] == 1200
        assert picture.size[1] > 1000
    assert "3 images, 4 epochs" in capsys.readouterr().out


def test_bad_input_is_refused(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.png"):
        preview(str(shapes), output=tmp_path / "look.jpg")
    with pytest.raises(RecipeError, match=r"augment\.policy"):
        preview(str(shapes), settings=["augment.policy=best"], output=tmp_path / "a.png")
    with pytest.raises(DataError, match="does not exist"):
        preview(str(tmp_path / "none"), output=tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
