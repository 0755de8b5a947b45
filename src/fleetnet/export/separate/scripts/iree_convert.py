"""Turn model.onnx into model.vmfb, machine code for the kind of processor that this one is."""

import platform
import sys
from pathlib import Path

import onnx
from iree.compiler import tools
from iree.compiler.tools.import_onnx.__main__ import main, parse_arguments

folder = Path(sys.argv[1])
graph = onnx.load(folder / "model.onnx")
(logits,) = [output for output in graph.graph.output if output.name == "logits"]
del graph.graph.output[:], graph.metadata_props[:]
graph.graph.output.append(logits)
graph.graph.name = "logits"  # which becomes the function's
onnx.save(graph, folder / "logits.onnx")
main(parse_arguments([str(folder / "logits.onnx"), "-o", str(folder / "model.mlir")]))
# Not this very processor: the file may be copied to another one.
kind = "x86-64-v3" if platform.machine().lower() in ("x86_64", "amd64") else "generic"
tools.compile_file(
    str(folder / "model.mlir"),
    output_file=str(folder / "model.vmfb"),
    target_backends=["llvm-cpu"],
    extra_args=[f"--iree-llvmcpu-target-cpu={kind}", "--iree-opt-level=O3"],
)
