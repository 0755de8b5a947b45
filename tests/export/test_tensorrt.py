"""What TensorRT gets: its two graphs, and scripts that run here against what they call."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.converted import export_to
from fleetnet.export.fixed_batch import fix_batch
from fleetnet.export.targets.tensorrt import load
from fleetnet.inference.classifier import Classifier

pytestmark = pytest.mark.slow

STAND_IN = '''
"""TensorRT as the program calls it; a plan is an ONNX file, and the device is the processor."""

import ctypes
import numpy as np
import onnxruntime
import torch

class Stream:
    cuda_stream = 7
    def wait_stream(self, other): assert other is None
    def synchronize(self): pass

torch.cuda.Stream = Stream
torch.cuda.current_stream = lambda: None
moved, made = torch.Tensor.to, torch.empty
torch.Tensor.to = lambda tensor, device: {"cuda": tensor}[device]
torch.empty = lambda *shape, device, **more: {"cuda": made(*shape, **more)}[device]

class Logger:
    WARNING = 2
    def __init__(self, level): assert level == 2

class Runtime:
    def __init__(self, logger): assert isinstance(logger, Logger)
    def deserialize_cuda_engine(self, plan): return Engine(plan)

class Engine:
    def __init__(self, plan):
        self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
    def create_execution_context(self): return Context(self.session)

class Context:
    def __init__(self, session):
        self.session, self.places = session, {}
    def set_tensor_address(self, name, place): self.places[name] = place
    def execute_async_v3(self, stream):
        assert stream == 7
        (given,) = self.session.get_inputs()
        size = int(np.prod(given.shape))
        pixels = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.places["pixels"]))
        found = self.session.run(None, {"pixels": pixels.reshape(given.shape)})
        for output, values in zip(self.session.get_outputs(), found, strict=True):
            ctypes.memmove(self.places[output.name], values.ctypes.data, values.nbytes)
        return True
'''


@pytest.mark.parametrize("batch", [None, 2])
def test_two_graphs_and_what_builds_and_runs_them(
    batch: int | None, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    written = export_to(
        bundle.path, "tensorrt", tmp_path / "made", batch=batch, images=[str(shapes)], limit=5
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    size = batch or 1
    assert artifact.key == ("tensorrt-onnx", "fp32", size)
    assert (record.engine, record.images, record.top1_agreement) == ("onnxruntime", 5, 1.0)
    names = [path.name for path in written.files_of(artifact)]
    assert names == [f"model.batch{size}.onnx", "model.onnx"]
    crop = bundle.manifest.preprocess.crop
    sizes = [
        [one.dim_value for one in graph.graph.input[0].type.tensor_type.shape.dim]
        for graph in map(onnx.load, written.files_of(artifact))
    ]
    assert sizes == [[size, crop, crop, 3], [0, crop, crop, 3]]
    page = (written.path / "README.md").read_text("utf-8")
    assert "TensorRT did not run" in page
    assert f"Takes `uint8[{size}, {crop}, {crop}, 3]`" in page
    built = run_build(written.path, tmp_path, "--noTF32")
    assert built == [
        f"--onnx=model.batch{size}.onnx --saveEngine=model.batch{size}.plan --noTF32",
        f"--onnx=model.onnx --saveEngine=model.plan --minShapes=pixels:1x{crop}x{crop}x3 "
        f"--optShapes=pixels:8x{crop}x{crop}x3 --maxShapes=pixels:32x{crop}x{crop}x3 --noTF32",
    ]
    picture = sorted(shapes.glob("*/*"))[0]
    expected = next(Classifier(bundle, exact=True).predict(picture))
    name, probability = run_program(written.path, tmp_path, picture)
    assert name == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=1e-3)


def run_build(folder: Path, place: Path, *more: str) -> list[str]:
    """Run ``build.sh`` with a ``trtexec`` that copies the graph, and return what that was given."""
    tool = place / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" >> calls\ncp "${1#--onnx=}" "${2#--saveEngine=}"\n')
    tool.chmod(stat.S_IRWXU)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["/bin/sh", folder / "build.sh", *more], env={**os.environ, "PATH": path}, check=True
    )
    return (folder / "calls").read_text().splitlines()


def run_program(folder: Path, place: Path, picture: Path) -> tuple[str, str]:
    """Run ``classify.py`` against the stand-in, and return its first class and probability."""
    stand_in = place / "stand_in"
    stand_in.mkdir()
    (stand_in / "tensorrt.py").write_text(STAND_IN)
    told = subprocess.run(
        [sys.executable, "classify.py", picture],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(stand_in)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    name, _, probability = told.stdout.splitlines()[0].rpartition(" ")
    return name, probability


def test_graphs_that_differ_are_refused(bundle: Bundle) -> None:
    graph = bundle.content(format="onnx").data
    changed = onnx.load_from_string(graph)
    for weight in changed.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim == 4:
            weight.CopyFrom(onnx.numpy_helper.from_array(values * 2, weight.name))
    run = load({"a": fix_batch(graph, 1), "b": changed.SerializeToString()})
    crop = bundle.manifest.preprocess.crop
    with pytest.raises(FleetnetError, match="the two graphs differ: logits by up to"):
        run(np.zeros((1, crop, crop, 3), np.uint8))
