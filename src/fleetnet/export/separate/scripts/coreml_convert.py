"""Turn program.pt2, which takes planes of colours, into the packed model.mlpackage.zip."""

import json
import sys
import zipfile
from pathlib import Path

import coremltools
import torch

WHEN = (1980, 1, 1, 0, 0, 0)
"""Of every file in it, whenever it is made."""

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
crop, classes = settings["crop"], settings["classes"]
program = torch.export.load(folder / "program.pt2").run_decompositions({})
made = coremltools.convert(
    program,
    convert_to="mlprogram",
    inputs=[
        coremltools.ImageType(
            name="pixels", shape=(1, 3, crop, crop), color_layout=coremltools.colorlayout.RGB
        )
    ],
    outputs=[coremltools.TensorType(name="logits")],
    compute_precision=coremltools.precision.FLOAT32,
    minimum_deployment_target=coremltools.target.iOS15,
    skip_model_load=True,
)
package = folder / "model.mlpackage"
made.save(str(package))

# What was written, not what was meant: only Apple's systems can run it.
written = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
(taken,), (given,) = written.description.input, written.description.output
image, array = taken.type.imageType, given.type.multiArrayType
found = (taken.name, image.width, image.height, image.colorSpace, given.name, list(array.shape))
wanted = ("pixels", crop, crop, image.RGB, "logits", [1, classes])
if found != wanted:
    sys.exit(f"the package is not as it should be: {found} in place of {wanted}")

# Without what is beside these for people who look for faults.
files = [package / "Manifest.json", *sorted((package / "Data").rglob("*"))]
with zipfile.ZipFile(folder / "model.mlpackage.zip", "w", zipfile.ZIP_STORED) as packed:
    for file in files:
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            packed.writestr(zipfile.ZipInfo(name, WHEN), file.read_bytes())
