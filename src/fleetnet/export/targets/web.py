"""The browser: a folder for any web server, a single file, and a module for other pages."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.separate import NodePackage, Worker
from fleetnet.export.targets.target import Files, Run, Target, any_batch
from fleetnet.export.web.folder import HOW, RUNTIME, folder_of

ENVIRONMENT = NodePackage(
    "web",
    megabytes=41,
    integrity="sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    kept=tuple(f"dist/{name}" for name in RUNTIME),
)
FILE = "model.onnx"


def convert(bundle: Bundle, precision: str, batch: int | None) -> Files:
    """Take the graph as it is.

    Raises:
        FleetnetError: one size of batch was asked for, or int8 of a bundle that has none.
    """
    any_batch(batch, "the browser takes any batch")
    if bundle.find(format="onnx", precision=precision) is None:
        raise FleetnetError(
            f"{bundle.path} has no ONNX graph in {precision}: 'fleetnet quantize' makes one for "
            "ONNX Runtime"
        )
    return {FILE: bundle.content(format="onnx", precision=precision).data}


def load(files: Files) -> Run:
    """Run the graph in Node.js, by the WebAssembly that browsers run."""
    return Worker(ENVIRONMENT, "web_run", files, {"runtime": str(ENVIRONMENT.folder)})


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return load({FILE: tapped(files[FILE])})


TARGET = Target(
    name="web",
    title="the browser",
    format="onnx",
    precisions=("fp32", "int8"),
    package="onnxruntime-web",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    needs={"onnx": "fleetnet[export]"},
    beside=lambda files, manifest: folder_of(files, manifest, ENVIRONMENT.read),
    environment=ENVIRONMENT,
    how=HOW,
    rejects=True,
)
