"""The recipe of the solar cells, as docs/elpv.md's two commands give it, on a few cells."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run
from fleetnet.training.checkpoint import Checkpoint
from samples import SMALL_LR

CELLS = 24


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a few cells of our own, grey and square, in the place of the package's."""
    package = tmp_path / "elpv_dataset"
    (package / "data" / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(CELLS):
        name = f"images/cell{number:04d}.png"
        pixels = rng.integers(0, 256, (48, 48), dtype=np.uint8)
        Image.fromarray(pixels, "L").save(package / "data" / name)
        rows.append(f"{name}  {(0, 1 / 3, 2 / 3, 1)[number % 4]}  {('mono', 'poly')[number % 2]}\n")
    (package / "data" / "labels.csv").write_text("".join(rows))
    find = importlib.util.find_spec

    def found(name: str, parent: str | None = None) -> ModuleSpec | None:
        if name != "elpv_dataset":
            return find(name, parent)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(package)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", found)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("ReXNet_1_0", ("--epochs", "1", "--set", "input.resize=32", "--set", "input.crop=32")),
        (
            "EfficientNet_Lite0",
            (*("--size", "32", "--epochs", "1", "--set", "model.zero_init=false"),
             *("--set", "schedule.warmup_epochs=1")),
        ),
    ],
)  # fmt: skip
def test_the_recipe_of_the_solar_cells_trains(
    fleetnet: Run, tmp_path: Path, model: str, more: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    result = fleetnet(
        *("train", "elpv", "--label", "defect", "--model", model, "--recipe", "elpv-defect"),
        *("--set", "seed=0", "--set", f"optimizer.lr={SMALL_LR}", "--log", "none", "-o", out),
        *more,
    )
    assert result.code == 0, result
    trained = Checkpoint.load(out / "last.ckpt")
    assert (trained.recipe["name"], trained.epoch) == ("elpv-defect", 1)
    assert trained.classes == ("functional", "defective")
    assert trained.preprocess.crop == 32
    assert trained.data["train_images"] + trained.data["val_images"] == CELLS
    assert trained.recipe["augment"]["quarter_turns"]
    assert trained.recipe["model"]["zero_init"] == (model == "ReXNet_1_0")
    assert np.isfinite(trained.history[0]["train_loss"])
