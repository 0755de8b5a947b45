"""Turn network.pt, TorchScript, into model.ncnn.param and model.ncnn.bin."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
crop = settings["crop"]
parameters, weights = "model.ncnn.param", "model.ncnn.bin"
# The program beside the package, which cannot be imported without PyTorch.
(package,) = importlib.util.find_spec("pnnx").submodule_search_locations
program = Path(package) / ("pnnx.exe" if sys.platform == "win32" else "pnnx")
done = subprocess.run(  # noqa: S603 - the package's own
    [
        program,
        "network.pt",
        f"inputshape=[1,3,{crop},{crop}]f32",
        f"fp16={int(settings['precision'] == 'fp16')}",
        f"ncnnparam={parameters}",
        f"ncnnbin={weights}",
    ],
    cwd=folder,
    check=False,
)
if done.returncode:
    sys.exit(f"pnnx ended with {done.returncode}")
layers = (folder / parameters).read_text("utf-8").splitlines()[2:]
unknown = sorted({line.split()[0] for line in layers if line.startswith(("pnnx.", "aten::"))})
if unknown:
    sys.exit(f"ncnn has no layer for {', '.join(unknown)}")
