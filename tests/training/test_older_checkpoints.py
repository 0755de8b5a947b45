"""Checkpoints of every format that was ever written are gone on from and exported.

``checkpoints/format-1.ckpt.xz`` is of a run that was stopped within its second of three epochs, of
``make_folder``'s shapes. Its backbone is frozen until then and of few different numbers, which is
why it takes so little room.
"""

import lzma
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from fleetnet.data.sources import open_source
from fleetnet.errors import Interrupted
from fleetnet.export.bundle import export_bundle
from fleetnet.inference.classifier import Classifier
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import DistillSettings
from fleetnet.training.trainer import Trainer, resume

PACKED = Path(__file__).with_name("checkpoints") / "format-1.ckpt.xz"
POSITION = {"epoch": 2, "batch": 2, "step": 6, "images": 16}


class StopAtOnce(Callback):
    def on_train_start(self, run: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(lzma.decompress(PACKED.read_bytes()))
    return folder


def test_training_goes_on_from_the_first_format(run: Path, shapes: Path) -> None:
    before = Checkpoint.load(run / "last.ckpt")
    result = resume(open_source(str(shapes)), run)
    assert [record.epoch for record in result.history] == [1, 2, 3]
    assert vars(result.history[0]) == before.history[0]
    after = Checkpoint.load(run / "last.ckpt")
    assert after.epoch == 3
    assert after.training["progress"]["step"] == 12
    assert after.classes == before.classes
    assert set(before.trained_images) <= set(after.trained_images)


def added(values: dict[str, Any], before: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Return what there was not before; everything else has to be as it was."""
    assert not before.keys() - values.keys()
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in before:
            found[place + name] = value
        elif isinstance(value, dict) and isinstance(before[name], dict):
            found |= added(value, before[name], f"{place}{name}.")
        else:
            assert value == before[name], place + name
    return found


def test_everything_in_the_first_format_is_kept_when_it_is_written_again(
    run: Path, shapes: Path
) -> None:
    """Stopped again at once, nothing has changed: not a key, not a number."""
    before = Checkpoint.load(run / "last.ckpt")
    with pytest.raises(Interrupted):
        resume(open_source(str(shapes)), run, callbacks=[StopAtOnce()])
    again = Checkpoint.load(run / "last.ckpt")
    assert POSITION.items() <= again.training["progress"].items()
    torch.testing.assert_close(again.training, before.training, rtol=0, atol=0)
    torch.testing.assert_close(again.state, before.state, rtol=0, atol=0)
    assert list(again.training) == list(before.training)
    # Settings that came later are there at what the run has done without them.
    assert added(again.recipe, before.recipe) == {
        "model.sync_norm": False,
        "optimizer.lr_scaling": "none",
        "optimizer.lr_images": 256,
        "distill": DistillSettings().model_dump(mode="json"),
    }
    for name in ("model", "classes", "preprocess", "activation", "epoch", "history"):
        assert getattr(again, name) == getattr(before, name), name
    assert again.trained_images.tolist() == before.trained_images.tolist()
    assert again.held_out_images.tolist() == before.held_out_images.tolist()


@pytest.mark.slow
def test_the_first_format_is_exported(run: Path, shapes: Path, tmp_path: Path) -> None:
    bundle = export_bundle(run / "last.ckpt", tmp_path / "old.bundle", images=[str(shapes)])
    (prediction,) = Classifier(bundle).predict(shapes / "circle" / "000.jpg")
    assert prediction.top[0].label in ("circle", "square", "stripes")
