"""A deployable model on disk: a folder with ``fleetnet.json`` beside the artifacts it describes.

Any language with a JSON parser can read the manifest; ``docs/bundle.md`` describes each field. The
same manifest, without the list of artifacts, is in the metadata of the ONNX file, so
``model.onnx`` is enough to predict.
"""

from fleetnet.bundle.artifacts import (
    MANIFEST,
    TRAINED_IMAGES,
    Artifact,
    File,
    Judgement,
    Quantization,
    Verification,
)
from fleetnet.bundle.bundle import MAX_MANIFEST_BYTES, Bundle
from fleetnet.bundle.integrity import Content, all_there
from fleetnet.bundle.manifest import (
    FORMAT,
    Activation,
    Calibration,
    Manifest,
    ModelInfo,
    TensorInfo,
)
from fleetnet.bundle.onnx_metadata import (
    ONNX_METADATA_KEY,
    onnx_metadata,
    with_onnx_metadata,
)
from fleetnet.bundle.rejection import Certainty, Rejection
from fleetnet.bundle.replacement import while_replaced
from fleetnet.bundle.self_test import SelfTest, self_test_pixels
from fleetnet.bundle.versions import FORMAT_VERSION, REJECTING_VERSION
from fleetnet.bundle.writing import (
    check_only_listed,
    check_replaceable,
    write_bundle,
    write_rejection,
)

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "ONNX_METADATA_KEY",
    "REJECTING_VERSION",
    "TRAINED_IMAGES",
    "Activation",
    "Artifact",
    "Bundle",
    "Calibration",
    "Certainty",
    "Content",
    "File",
    "Judgement",
    "Manifest",
    "ModelInfo",
    "Quantization",
    "Rejection",
    "SelfTest",
    "TensorInfo",
    "Verification",
    "all_there",
    "check_only_listed",
    "check_replaceable",
    "onnx_metadata",
    "self_test_pixels",
    "while_replaced",
    "with_onnx_metadata",
    "write_bundle",
    "write_rejection",
]
