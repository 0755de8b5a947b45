"""Turn model.onnx, or the parts of a quantisation, into model.rknn."""

import sys
from pathlib import Path

from rknn_network import built

folder = Path(sys.argv[1])
built(folder).call("export_rknn", str(folder / "model.rknn"))
