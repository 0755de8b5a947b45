"""Turn model.onnx into model.mnn."""

import json
import sys
from pathlib import Path

# Not by MNN's own commands: those install a package for logging, and report that they were used.
import _tools

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
given, made = str(folder / "model.onnx"), str(folder / "model.mnn")
options = ["--fp16"] if settings["precision"] == "fp16" else []
command = ["mnnconvert", "-f", "ONNX", "--modelFile", given, "--MNNModel", made]
_tools.mnnconvert([*command, "--bizCode", "fleetnet", *options])
