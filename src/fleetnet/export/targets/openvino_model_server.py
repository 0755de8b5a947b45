"""OpenVINO Model Server: version 1 of a model in OpenVINO's format, and its configuration."""

from __future__ import annotations

from fleetnet.bundle import Manifest
from fleetnet.export.targets.openvino import TARGET as OPENVINO
from fleetnet.export.targets.target import Files, Target, plain_name
from fleetnet.json_text import json_text

_HOW = """\
This folder is one model, and `config.json` names it as if it lay at `/models/{name}`. With Docker:

    docker run --rm -p 9000:9000 -p 8000:8000 -v $PWD:/models/{name}:ro openvino/model_server \\
        --config_path /models/{name}/config.json --port 9000 --rest_port 8000

The server takes batches of any size as they come; it makes none of single requests. It computes in
fp32, as `INFERENCE_PRECISION_HINT` says: without it, a processor that has bf16 would use that.

The server can decode and resize JPEG by itself, but not as the network was trained. So send pixels:
the client decodes, resizes and crops, as `preprocess` in the manifest says, and makes probabilities
of the logits. `1/` is a bundle, so Fleetnet does both:

    from pathlib import Path

    import numpy as np
    import tritonclient.http as client  # the server speaks the same protocol
    from fleetnet.bundle import Bundle
    from fleetnet.inference.probabilities import to_probabilities

    manifest = Bundle.load("1").manifest
    pixels = manifest.preprocess.from_bytes(Path("photo.jpg").read_bytes())[np.newaxis]
    given = client.InferInput("pixels", list(pixels.shape), "UINT8")
    given.set_data_from_numpy(pixels)
    answer = client.InferenceServerClient("127.0.0.1:8000").infer("{name}", [given])
    logits = answer.as_numpy("logits")
    print(to_probabilities(logits, manifest.model.activation, manifest.temperature))

`fleetnet export --fixed-batch N` makes files for batches of N alone, for devices that need it."""


def around(manifest: Manifest) -> Files:
    """Return the configuration of a server with this one model."""
    name = plain_name(manifest)
    configuration = {
        "model_config_list": [
            {
                "config": {
                    "name": name,
                    "base_path": f"/models/{name}",
                    "target_device": "CPU",
                    "layout": {manifest.input.name: "NHWC"},
                    "model_version_policy": {"latest": {"num_versions": 1}},
                    "plugin_config": {
                        "PERFORMANCE_HINT": "THROUGHPUT",
                        "INFERENCE_PRECISION_HINT": "f32",
                    },
                }
            }
        ]
    }
    return {"config.json": (json_text(configuration) + "\n").encode()}


TARGET = Target(
    name="openvino-model-server",
    title="OpenVINO Model Server",
    format=OPENVINO.format,
    precisions=OPENVINO.precisions,
    package=OPENVINO.package,
    command="ovms --config_path config.json --port 9000 --rest_port 8000",
    convert=OPENVINO.convert,
    load=OPENVINO.load,
    layers=OPENVINO.layers,
    needs=OPENVINO.needs,
    version_folder="1",
    around=around,
    how=_HOW,
)
