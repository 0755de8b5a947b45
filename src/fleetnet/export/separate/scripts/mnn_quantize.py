"""Turn plain.onnx into model.mnn in int8, calibrated on the pictures, but for the layers kept."""

import json
import sys
from pathlib import Path

# Not by MNN's own commands: those install a package for logging, and report that they were used.
import _tools

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
crop, batch = settings["crop"], 4
pictures = folder / "pictures"
pictures.mkdir()
for picture in sorted(folder.glob("*.png")):
    picture.rename(pictures / picture.name)
plain, rounded = str(folder / "plain.mnn"), str(folder / "rounded.mnn")
command = ["mnnconvert", "-f", "ONNX", "--modelFile", str(folder / "plain.onnx")]
_tools.mnnconvert([*command, "--MNNModel", plain, "--bizCode", "fleetnet"])
# KL and ADMM, the tool's other methods, end with a segmentation fault or an abort in MNN 3.6.1.
config = {
    "format": "RGB",
    "mean": [0, 0, 0],
    "normal": [1, 1, 1],
    "width": crop,
    "height": crop,
    "path": f"{pictures}/",
    "used_image_num": len(list(pictures.iterdir())) // batch * batch,
    "feature_quantize_method": "EMA",
    "weight_quantize_method": "MAX_ABS",
    "feature_clamp_value": 127,
    "weight_clamp_value": 127,
    "batch_size": batch,
    "quant_bits": 8,
    "skip_quant_op_names": settings["kept"],
    "input_type": "image",
    "debug": False,
}
(folder / "config.json").write_text(json.dumps(config), "utf-8")
_tools.mnnquant(["mnnquant", plain, rounded, str(folder / "config.json")])
if not Path(rounded).is_file():
    sys.exit("MNN's tool made no network in int8 of these pictures")

import MNN  # noqa: E402 - it prints when it is imported

# The tool takes planes of numbers alone. Before them come bytes in rows, as our graph takes them.
expr = MNN.expr
tensors = expr.load_as_dict(rounded)
planes = tensors["pixels"]
pixels = expr.placeholder([1, crop, crop, 3], expr.NCHW, expr.uint8)
given = expr.transpose(expr.cast(pixels, expr.float), [0, 3, 1, 2])
planes.name, pixels.name = "planes", "pixels"
planes.replace(given)
expr.save([tensors["logits"]], str(folder / "model.mnn"))
