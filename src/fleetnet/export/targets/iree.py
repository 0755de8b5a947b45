"""IREE: a network as machine code, made by the compiler of the MLIR project of that name."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.python_program import program
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Run, Target

ENVIRONMENT = Environment("iree", megabytes=480)
FILE = "model.vmfb"
_HOW = (
    """\
The module is `module`, its only function `logits`. It is machine code for the kind of processor
that made it: on x86 one of 2013 or newer, with AVX2 (`x86-64-v3`). In Python (`pip install
iree-base-runtime fleetnet`), in this folder:

"""
    + program(
        "import iree.runtime as iree",
        """\
        settings = iree.Config("local-sync")  # or "local-task", for more threads than one
        content = Path("model.vmfb").read_bytes()
        module = iree.load_vm_module(
            iree.VmModule.copy_buffer(settings.vm_instance, content), settings
        )
        logits = np.array(module["logits"](pixels).to_host())""",
    )
    + """

`to_host` gives a view of memory that the next call writes into, so it is copied. In C, the function
is `module.logits` of IREE's runtime API, whose call takes and gives a buffer view.

For another processor, make the module there or here, of the graph that `fleetnet export --to onnx
--fixed-batch {batch}` writes (`pip install iree-base-compiler[onnx]`); its function is then
`main_graph`, and gives the probabilities too:

    iree-import-onnx model.batch{batch}.onnx -o model.mlir
    iree-compile model.mlir -o model.vmfb --iree-opt-level=O3 \\
        --iree-hal-target-device=local --iree-hal-local-target-device-backends=llvm-cpu \\
        --iree-llvmcpu-target-triple=aarch64-linux-gnu --iree-llvmcpu-target-cpu=cortex-a72"""
)


def to_vmfb(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Compile the ONNX graph for the kind of processor that this one is."""
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.fixed_batch import graph_of

    graph = {"model.onnx": graph_of(bundle, batch or 1)}
    return convert(ENVIRONMENT, "iree_convert", graph, (FILE,))


def load(files: Files) -> Run:
    """Run a module in IREE's runtime, on one thread."""
    return Worker(ENVIRONMENT, "iree_run", files)


def layers(bundle: Bundle, _files: Files, batch: int | None) -> Run:
    """Compile the network anew, with its layers as its output: machine code cannot be asked."""
    from fleetnet.export.fixed_batch import graph_of
    from fleetnet.export.tapped_graph import tapped

    graph = {"model.onnx": tapped(graph_of(bundle, batch or 1))}
    return load(convert(ENVIRONMENT, "iree_convert", graph, (FILE,)))


TARGET = Target(
    name="iree",
    title="IREE",
    format="iree",
    precisions=("fp32",),
    package="iree-base-runtime",
    command="",
    convert=to_vmfb,
    load=load,
    layers=layers,
    anew=True,
    needs={"onnx": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("iree-base-compiler",),
    one_size=True,
    how=_HOW,
)
