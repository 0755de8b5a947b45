"""Make the archive of a bundle in today's format, for tests that keep reading it.

    .venv/bin/python tests/bundles/make.py tests/bundles/version2_1.tar.xz

The network is small, and nearly all of its weights are zero, so that the archive is small too.
"""

import io
import json
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.cli import main
from fleetnet.data.sources import open_source
from fleetnet.export.bundle import export_bundle
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import train
from samples import make_folder

CLASSES = ("circle", "stripes")
RECIPE = ("input.resize=36", "input.crop=32", "batch_size=8", "data.workers=0", "epochs=1")
WEIGHTS = (1.5, -1.0)
"""Of each output of a layer, the only ones that are not zero."""


def sparse(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights of few values, nearly all zero, that still tell images apart."""
    made = {}
    for key, value in state.items():
        if key.endswith(("norm.weight", "running_var", "num_batches_tracked")):
            made[key] = torch.ones_like(value)
            continue
        made[key] = torch.full_like(value, 0.25 if key.endswith("norm.bias") else 0.0)
        if value.ndim > 1:
            rows = made[key].view(len(value), -1)
            for output, row in enumerate(rows):
                for number, weight in enumerate(WEIGHTS):
                    row[(5 * output + 4 * number) % len(row)] = weight
    # So that both classes are answered, and more images right than wrong.
    made["classifier.weight"] = made["classifier.weight"].flip(0)
    made["classifier.bias"][1] = 2.25
    return made


def make(folder: Path, name: str) -> Bundle:
    """Train, export and quantise, and return the bundle with everything that one can hold."""
    images = make_folder(folder / "images", 40, CLASSES)
    others = make_folder(folder / "others", 60, CLASSES, seed=7)
    run = train(open_source(str(images)), "mobilenetv2_x0_25", Recipe.load(overrides=RECIPE),
                folder / "run")  # fmt: skip
    trained = Checkpoint.load(run.last)
    replace(trained, state=sparse(trained.state), metrics={}, history=[]).save(folder / "it.ckpt")
    path = folder / f"{name}.bundle"
    export_bundle(folder / "it.ckpt", path, calibrate=True, fixed_batches=[2])
    try:
        main(["quantize", str(path), "--data", str(others), "--max-loss", "50"])
    except SystemExit as ended:
        if ended.code:
            raise
    values = json.loads((path / MANIFEST).read_text("utf-8"))
    for artifact in values["artifacts"]:
        for record in artifact["verification"]:
            record["machine"] = "some machine"
    (path / MANIFEST).write_text(json.dumps(values, indent=2), "utf-8")
    return Bundle.load(path)


def pack(bundle: Bundle, archive: Path) -> None:
    """Write a bundle's folder to an archive that tells nothing of whoever made it."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for file in sorted(bundle.path.iterdir()):
            content = file.read_bytes()
            member = tarfile.TarInfo(f"{bundle.path.name}/{file.name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(sys.argv[1])
        pack(make(Path(temporary), archive.name.partition(".")[0]), archive)
