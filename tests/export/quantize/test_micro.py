"""LiteRT for microcontrollers: the program, its memory, and the answers of its interpreter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.micro_program import FACTS, program
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.targets import TARGETS, litert, micro
from users_environments import borrowed

pytestmark = pytest.mark.slow

STAND_INS = Path(__file__).parents[1] / "stand_ins" / "micro"
OPERATORS = ["Add", "Conv2D", "DepthwiseConv2D", "FullyConnected", "Mean", "Pad", "Transpose"]
WITH_ALL = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)
LITERT = """
import numpy, sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kind = OpResolverType.BUILTIN_REF
network = Interpreter(sys.argv[1], experimental_op_resolver_type=kind)
network.allocate_tensors()
(given,), (made,) = network.get_input_details(), network.get_output_details()
answers = []
for image in numpy.load(sys.argv[2]):
    network.set_tensor(given["index"], image[None])
    network.invoke()
    answers.append(network.get_tensor(made["index"])[0].tolist())
print(answers)
"""
MICRO = """
import numpy, sys
from tflite_micro.python.tflite_micro import runtime
network = runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[3]))
answers = []
for image in numpy.load(sys.argv[2]):
    network.set_input(image[None], 0)
    network.invoke()
    answers.append(network.get_output(0)[0].tolist())
print(answers)
"""


def needs_environments() -> None:
    """Have the environments in the cache of the tests; without them, skip the test."""
    for environment in (micro.ENVIRONMENT, litert.ENVIRONMENT):
        if not borrowed(environment):
            pytest.skip(f"no environment '{environment.name}': fleetnet export --to micro makes it")


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler of C++")
def test_the_program_compiles(bundle: Bundle, tmp_path: Path) -> None:
    content = bytes(range(256)) * 3
    facts = {"arena": 175104, "scale": 0.03125, "zero": -9, "operators": OPERATORS}
    files = {"model.tflite": content, "network.json": json.dumps(facts).encode()}
    for name, written in program(files, bundle.manifest).items():
        (tmp_path / name).write_bytes(written)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-c", f"-I{STAND_INS}"]
    for source in ("main.cpp", "model_data.cpp"):
        subprocess.run([*command, source], cwd=tmp_path, check=True)
    array = (tmp_path / "model_data.cpp").read_text().partition("{")[2]
    assert bytes(map(int, re.findall(r"\d+", array))) == content
    values = (tmp_path / "model.h").read_text()
    assert "arena_bytes = 175104;" in values
    assert "zero_point = -9;" in values
    assert all(f'"{name}"' in values for name in bundle.manifest.classes)


def test_only_int8_of_one_image(bundle: Bundle) -> None:
    with pytest.raises(FleetnetError, match="unknown precision 'fp32'"):
        export_to(str(bundle.path), "micro:fp32", "made")
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(FleetnetError, match="one image at a time: leave out fixed_batch="):
        micro.calibrate(bundle, 2, pixels, ())


@WITH_ALL
def test_answers_are_those_of_the_reference_kernels_to_the_bit(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleetnet.export import int8
    from fleetnet.export.shown import Allowed

    needs_environments()
    monkeypatch.setattr(int8, "LEAST", 40)
    # The network has seen two epochs: what rounding leaves of its answers is not what is looked at.
    written = export_to(
        str(taught.path), "micro", tmp_path / "made", images=[str(others)], limit=40,
        allowed=Allowed(agreement=0.01),
    )  # fmt: skip
    (artifact,) = written.artifacts
    assert artifact.key == (TARGETS["micro"].format, "int8", 1)
    (record,) = artifact.verification
    assert record.agreement is not None
    assert artifact.quantization is not None
    assert not artifact.quantization.kept_layers
    network, facts = written.files_of(artifact)
    arena = json.loads(facts.read_text())["arena"]
    images = tmp_path / "images.npy"
    crop = taught.manifest.preprocess.crop
    np.save(images, np.random.default_rng(0).integers(-128, 128, (4, crop, crop, 3), np.int8))
    told = [
        subprocess.run(
            [environment.program, "-c", script, network, images, str(arena)],
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()[-1]
        for environment, script in ((micro.ENVIRONMENT, MICRO), (litert.ENVIRONMENT, LITERT))
    ]  # fmt: skip
    assert told[0] == told[1]


@WITH_ALL
def test_bytes_go_in_and_out_though_all_layers_are_kept(taught: Bundle, drawn: Samples) -> None:
    path, content = taught.content(format="onnx")
    layers = layers_of(read_graph(content, str(path)), str(path))
    quantize = micro.calibrate(taught, None, drawn.calibration, layers)
    kept = [layer.name for layer in layers]
    files = quantize(kept)
    scale = float(json.loads(files[FACTS])["scale"])
    pixels = drawn.validation[:4]
    imitated = replace(TARGETS["micro"], load=lambda _: quantize.imitate(kept))
    found = []
    for target in (TARGETS["micro"], imitated):
        with ConvertedEngine(target, files, "int8", 1) as engine:
            found.append(engine.run(pixels) / scale)
        # The logits are whole numbers of steps: they left the network as bytes.
        np.testing.assert_allclose(found[-1], found[-1].round(), atol=1e-3)
        assert found[-1].any()
    # What is between is computed in floating point, so one more rounding is all that differs.
    np.testing.assert_allclose(found[0], found[1], atol=1.001)
