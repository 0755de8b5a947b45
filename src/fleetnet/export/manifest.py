"""The manifest of an exported checkpoint: what it answers, and where it comes from."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import Any

import onnx
import torch

import fleetnet
from fleetnet.bundle import Manifest, ModelInfo, SelfTest, self_test_pixels
from fleetnet.export.onnx import graph_input, graph_outputs
from fleetnet.files import sha256_of
from fleetnet.inference.engines import Engine
from fleetnet.training.checkpoint import Checkpoint, described
from fleetnet.weights.folder import weights_in

SELF_TEST_IMAGES = 2


def manifest_of(trained: Checkpoint, checkpoint: Path, reference: Engine) -> Manifest:
    """Return a checkpoint's manifest, as yet without artifacts and calibration.

    Args:
        trained: the checkpoint.
        checkpoint: its file or folder, for the hash.
        reference: the network in PyTorch, which answers the self-test.
    """
    classes, crop = len(trained.classes), trained.preprocess.crop
    logits = reference.run(self_test_pixels(SELF_TEST_IMAGES, crop))
    return Manifest(
        model=ModelInfo(name=trained.model, num_classes=classes, activation=trained.activation),
        classes=trained.classes,
        preprocess=trained.preprocess,
        input=graph_input(crop),
        outputs=graph_outputs(classes),
        metrics={"held_out": trained.metrics},
        provenance=_provenance(trained, checkpoint),
        self_test=SelfTest(logits=tuple(tuple(map(float, row)) for row in logits)),
    )


def _provenance(trained: Checkpoint, checkpoint: Path) -> dict[str, Any]:
    # Without the data's spec, which holds a path of the training machine.
    data = {key: value for key, value in trained.data.items() if key != "spec"}
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fleetnet": fleetnet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "checkpoint_sha256": sha256_of(weights_in(checkpoint)[0]),
        "epoch": trained.epoch,
        "recipe": trained.recipe,
        "history": trained.history,
        "data": data,
        **described(trained.model),
    }
