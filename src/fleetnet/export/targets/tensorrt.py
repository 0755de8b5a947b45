"""TensorRT: the graph for one size of batch and for any, and what builds and runs engines of it."""

from __future__ import annotations

from fleetnet.bundle import Bundle, Manifest
from fleetnet.export.agreeing import Agreeing
from fleetnet.export.python_program import file
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine

ANY = "model.onnx"
BUILD, CLASSIFY = "build.sh", "classify.py"
_LARGEST, _USUAL = 32, 8
"""Batches that the engine for any size takes, and that it is fastest with."""
_HOW = """\
`model.batch{batch}.onnx` is for batches of {batch}, `model.onnx` for any size. On the machine whose
GPU will run them, with TensorRT 8.5 or newer:

    sh build.sh
    python classify.py photo.jpg

`build.sh` has the two lines of `trtexec`, which write `model.batch{batch}.plan` and `model.plan`,
and hands what it is given to both. An engine is for one kind of GPU and one version of TensorRT.
TensorRT computes fp32 with TF32, which has 10 bits in place of 23, where a GPU has it; `sh build.sh
--noTF32` keeps all, and up to TensorRT 10 `sh build.sh --fp16` computes with 16 bits. Judge the
answers of either on images of yours: the figures below are of fp32.

`classify.py` runs `model.batch{batch}.plan` (`pip install tensorrt torch fleetnet`; PyTorch holds
the memory on the GPU, so a build with CUDA is needed). In another program the input is `pixels`, of
bytes, and the outputs are `logits` and `probabilities`. The pixels stay bytes on their way to the
GPU.

No machine with CUDA was at hand: TensorRT did not run where this was made. The figures below are
from ONNX Runtime, which reads the same two files, and whose answers had to agree."""
_IMPORTS = """\
import tensorrt as trt
import torch
"""
_RUNS = """\
runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
engine = runtime.deserialize_cuda_engine(Path("model.batch{batch}.plan").read_bytes())
context = engine.create_execution_context()
memory = {"pixels": torch.from_numpy(pixels).to("cuda")}
for name in ("logits", "probabilities"):
    shape = (len(pixels), len(manifest.classes))
    memory[name] = torch.empty(shape, dtype=torch.float32, device="cuda")
for name, tensor in memory.items():
    context.set_tensor_address(name, tensor.data_ptr())
stream = torch.cuda.Stream()
stream.wait_stream(torch.cuda.current_stream())
if not context.execute_async_v3(stream.cuda_stream):
    raise SystemExit("TensorRT cannot run the engine")
stream.synchronize()
logits = memory["logits"].cpu().numpy()
"""


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Take the graph as it is, and once more for one size of batch."""
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.fixed_batch import file_name, graph_of

    size = batch or 1
    return {file_name(size): graph_of(bundle, size), ANY: graph_of(bundle, None)}


def load(files: Files) -> Run:
    """Open both graphs in ONNX Runtime, whose answers have to agree."""
    fixed, free = (OnnxRuntimeEngine(content, Setup()) for content in files.values())
    return Agreeing(fixed.run, free.run, "the two graphs")


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the first graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return OnnxRuntimeEngine(tapped(next(iter(files.values()))), Setup()).run


def programs(_files: Files, manifest: Manifest) -> Files:
    """Return what builds the engines, and what runs one of them."""
    return {
        BUILD: build(manifest.preprocess.crop, manifest.artifacts[0].batch or 1).encode(),
        CLASSIFY: file(_IMPORTS, _RUNS, manifest),
    }


def build(crop: int, batch: int) -> str:
    """Return the script that builds the engines, for a shell."""
    shapes = " ".join(
        f"--{bound}Shapes=pixels:{size}x{crop}x{crop}x3"
        for bound, size in (("min", 1), ("opt", _USUAL), ("max", _LARGEST))
    )
    return f"""\
#!/bin/sh
# Builds TensorRT's engines for this machine's GPU; what it is given goes to trtexec.
set -eu
cd "$(dirname "$0")"
trtexec --onnx=model.batch{batch}.onnx --saveEngine=model.batch{batch}.plan "$@"
trtexec --onnx=model.onnx --saveEngine=model.plan \\
    {shapes} "$@"
"""


TARGET = Target(
    name="tensorrt",
    title="TensorRT",
    format="tensorrt-onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    beside=programs,
    how=_HOW,
    needs={"onnx": "fleetnet[export]", "onnxruntime": "fleetnet[onnxruntime]"},
    one_size=True,
)
