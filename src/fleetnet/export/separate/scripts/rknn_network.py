"""A network built by RKNN-Toolkit2, of the files in a folder: for converting and for running it.

The simulator takes no ``.rknn`` file, only a network that was built in the same process.
"""

import json
import re

from rknn.api import RKNN

GRAPH = "model.onnx"
PARTS = ("model.model", "model.data", "model.quantization.cfg")
"""What the first step of a quantisation leaves for the second one."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Network:
    """RKNN's object, whose failures are exceptions with the reason that it logged.

    It answers with a number, prints the reason, and goes on.
    """

    def __init__(self, folder):
        self._log = folder / "rknn.log"
        self._rknn = RKNN(verbose=False, verbose_file=str(self._log))
        self.settings = json.loads((folder / "settings.json").read_text("utf-8"))
        # Pixels are bytes as they are: normalisation is in the graph.
        self.call("config", target_platform=self.settings["chip"])

    def call(self, step, *given, **named):
        """Call a method that returns 0 where it did what it should.

        Raises:
            RuntimeError: it did not.
        """
        if getattr(self._rknn, step)(*given, **named) != 0:
            raise RuntimeError(f"RKNN's {step} failed{self._reason()}")

    def logits(self, image):
        """Map ``uint8[1, crop, crop, 3]`` to ``float32[1, K]``.

        Raises:
            RuntimeError: the simulator computes nothing.
        """
        found = self._rknn.inference(inputs=[image], data_format=["nhwc"])
        if not found:
            raise RuntimeError(f"RKNN's simulator computes nothing of these pixels{self._reason()}")
        return found[0]

    def _reason(self):
        told = self._log.read_text("utf-8", "replace") if self._log.is_file() else ""
        lines = [_COLOURS.sub("", line).strip() for line in told.splitlines()]
        errors = [line for line in lines if re.match(r"E\b", line)]
        return f": {errors[-1][1:].strip()}" if errors else ""


def built(folder):
    """Return the network of a folder, in int8 where it has the parts of a quantisation."""
    network = Network(folder)
    if (folder / PARTS[0]).is_file():
        network.call("hybrid_quantization_step2", *(str(folder / part) for part in PARTS))
    else:
        network.call("load_onnx", str(folder / GRAPH))
        network.call("build", do_quantization=False)
    return network
