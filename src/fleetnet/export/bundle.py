"""From a checkpoint to a bundle on disk, verified on the way."""

from __future__ import annotations

import contextlib
import datetime
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.torch import save
from torch import nn

import fleetnet
from fleetnet.amounts import count
from fleetnet.bundle import (
    MANIFEST,
    TRAINED_IMAGES,
    Artifact,
    Bundle,
    Calibration,
    Manifest,
    ModelInfo,
    SelfTest,
    check_replaceable,
    self_test_pixels,
    write_bundle,
)
from fleetnet.data import contents
from fleetnet.data.sources import Source, fingerprint, open_source_spec
from fleetnet.data.splits import Indices, split
from fleetnet.errors import DataError, FleetnetError, VerificationError
from fleetnet.evaluation.calibration import cross_fit
from fleetnet.evaluation.evaluate import evaluate
from fleetnet.export.divergence import first_divergence
from fleetnet.export.fixed_batch import InWholeBatches, check_batch, file_name, fix_batch
from fleetnet.export.onnx import graph_input, graph_outputs, to_onnx
from fleetnet.files import sha256_of
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Engine, graph_engines, open_graph
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.inference.pictures import MADE_UP, made_up_pictures
from fleetnet.inference.probabilities import softmax
from fleetnet.inference.verify import (
    BATCH,
    TOLERANCE,
    Comparison,
    ToProbabilities,
    compare,
    prepare,
    probabilities_of,
    run_in_batches,
)
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Say
from fleetnet.training.adopt import read_checkpoint
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.folder import weights_in

IMAGES = 64
"""Default of how many images export verifies with."""
SELF_TEST_IMAGES = 2

HeldOut = tuple[Source, Indices]


def export_bundle(
    checkpoint: str | Path,
    output: str | Path,
    *,
    images: Iterable[str] = (),
    limit: int = IMAGES,
    tolerance: float = TOLERANCE,
    calibrate: bool = False,
    fixed_batches: Iterable[int] = (),
    made_up: bool = False,
    labels: Path | None = None,
    left_out: LeftOut | None = None,
    say: Say = lambda _: None,
) -> Bundle:
    """Export a checkpoint to a bundle; if its answers differ, nothing is written.

    Args:
        checkpoint: a file that training wrote, or weights from elsewhere, a file or a folder, as
            :func:`fleetnet.weights.read.read_weights` recognises them.
        output: folder to make; an older bundle there is replaced.
        images: files, folders and globs to verify with; if empty, held-out images of the data
            that the checkpoint was trained on.
        limit: verify with at most this many images.
        tolerance: largest difference of a probability to allow.
        calibrate: fit a temperature (Guo et al. 2017) to the held-out images of the data that the
            checkpoint was trained on, which then is part of the graph and the manifest.
        fixed_batches: batch sizes; for each, the bundle gets a graph that takes only that size,
            for runtimes that need it.
        made_up: verify with made-up pictures if the held-out images are gone, and in addition to
            ``images``. If the training images are unknown, they are used in any case.
        labels: a file of the classes' names, instead of the checkpoint's own.
        left_out: counts what is skipped in ``images``.
        say: called with what is being done, in a line.

    Raises:
        VerificationError: an engine's answers differ from PyTorch's by more than ``tolerance`` or
            in their top-1; the message names the first layer that diverges.
        OvertakenError: another process has written to ``output`` in the meantime.
        FleetnetError: the checkpoint, the images or the output cannot be used.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    sizes = sorted(set(fixed_batches))
    for size in sizes:
        check_batch(size)
    replacing = check_replaceable(output)
    older = (output / MANIFEST).is_file()
    images = tuple(images)
    if not made_up:
        check_given(images)
    trained = read_checkpoint(checkpoint, labels, say=say)
    network = trained.network()
    # Found once for both: that reads all names, and the contents of files of equal size.
    held_out = held_out_part(trained) if calibrate or not images else None
    pixels, origin = images_to_verify_with(
        trained, images, limit, held_out, left_out, made_up=made_up
    )

    say(f"exporting {trained.model} to ONNX")
    with TorchEngine(network, trained.preprocess) as reference:
        manifest = _manifest(trained, checkpoint, reference)
        fitted = _calibration(trained, reference, held_out) if calibrate else None
    if fitted is not None:
        say(
            f"temperature {fitted.temperature:.3f}: calibration error {fitted.ece_before:.2%} "
            f"before, {fitted.ece_after:.2%} with it on images that it was not fitted to"
        )
        manifest = manifest.model_copy(update={"calibration": fitted})
    graph = to_onnx(network, trained.preprocess, manifest)

    artifacts: list[Artifact] = []
    files: dict[str, bytes] = {}

    def add_graph(file: str, content: bytes, batch: int | None = None) -> None:
        say(f"verifying {file} on {count(len(pixels), 'image')} ({origin})")
        comparisons = verify_graph(
            content, network, trained, pixels, tolerance, probabilities_of(manifest), batch
        )
        records = tuple(comparison.record(origin, tolerance) for comparison in comparisons)
        artifacts.append(Artifact.of("onnx", {file: content}, batch=batch, verification=records))
        files[file] = content

    add_graph(file_name(None), graph)
    for size in sizes:
        add_graph(file_name(size), fix_batch(graph, size), size)
    weights = save({key: value.contiguous() for key, value in trained.state.items()})
    files["model.safetensors"] = weights
    artifacts.append(Artifact.of("safetensors", {"model.safetensors": weights}))
    if len(trained.trained_images):
        file, images_seen = f"{TRAINED_IMAGES}.bin", contents.to_bytes(trained.trained_images)
        files[file] = images_seen
        artifacts.append(Artifact.of(TRAINED_IMAGES, {file: images_seen}, precision=None))
    manifest = manifest.model_copy(update={"artifacts": tuple(artifacts)})
    bundle = write_bundle(output, manifest, files, replacing)
    if older:
        say(f"{output} replaces the bundle that was there")
    return bundle


def verify_graph(
    graph: bytes,
    network: nn.Module,
    trained: Checkpoint,
    pixels: npt.NDArray[np.uint8],
    tolerance: float,
    probabilities: ToProbabilities = softmax,
    batch: int | None = None,
) -> list[Comparison]:
    """Compare an ONNX graph, in every engine that runs one, with the network in PyTorch.

    Args:
        graph: the content of an ``.onnx`` file.
        network: in PyTorch.
        trained: the checkpoint it comes from.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
        tolerance: largest difference of a probability to allow.
        probabilities: how logits become probabilities.
        batch: the only batch size that the graph takes; None if it takes any.

    Raises:
        VerificationError: a difference is too large; the message names the engine, the figures and
            the first layer that diverges.
    """
    with TorchEngine(network, trained.preprocess) as reference:
        expected = run_in_batches(reference, pixels)
    comparisons: list[Comparison] = []
    for name in graph_engines():
        with open_graph(name, graph) as engine:
            whole = InWholeBatches(engine, batch) if batch else engine
            comparison = compare(whole, pixels, expected, probabilities)
        if not comparison.passes(tolerance):
            some = np.resize(pixels, (batch, *pixels.shape[1:])) if batch else pixels[:BATCH]
            layer = first_divergence(graph, name, network, trained.preprocess, some)
            raise VerificationError(
                divergence_message(comparison, tolerance, layer),
                tolerance=tolerance,
                layer=layer.layer if layer else None,
                **comparison.facts,
            )
        comparisons.append(comparison)
    return comparisons


def divergence_message(
    comparison: Comparison, tolerance: float, layer: tuple[str, float] | None
) -> str:
    """Return the line that says how much an engine differs, and from which layer on."""
    where = (
        f"the first layer that diverges is '{layer[0]}' (by {layer[1]:.2g} of its largest value)"
        if layer
        else "no single layer diverges: the difference builds up gradually"
    )
    return (
        f"{comparison.engine} {comparison.engine_version} does not answer as PyTorch does: "
        f"probabilities differ by up to {comparison.max_abs_diff:.2g} (allowed: {tolerance:g}), "
        f"top-1 agrees on {comparison.top1_agreement:.1%} of "
        f"{count(comparison.images, 'image')}; {where}"
    )


def training_source(checkpoint: Checkpoint) -> Source | None:
    """Open a checkpoint's training data, if it is still there; it may have changed."""
    try:
        return open_source_spec(checkpoint.data.get("spec", {}))
    except FleetnetError:
        return None


def images_to_verify_with(
    trained: Checkpoint,
    images: Sequence[str],
    limit: int,
    held_out: HeldOut | None,
    left_out: LeftOut | None,
    *,
    made_up: bool,
) -> tuple[npt.NDArray[np.uint8], str]:
    """Return ``uint8[N, crop, crop, 3]`` and what a record of a comparison calls them.

    Raises:
        DataError: none can be read, or there are none; see :func:`export_bundle`.
    """
    if limit < 1:
        raise DataError(f"cannot verify with {limit} images: at least one is needed")
    if images and not made_up:
        origin = printable(", ".join(Path(image).name or image for image in images))
        return prepare(find_images(images, left_out), trained.preprocess, limit), origin
    if held_out is None and (made_up or "fingerprint" not in trained.data):
        return _with_made_up(images, trained.preprocess, limit)
    if held_out is None:
        raise DataError(
            f"{_gone(trained)}: give some to verify with, images=", arguments=["images"]
        )
    source, indices = held_out
    spread = indices[np.linspace(0, len(indices) - 1, min(limit, len(indices))).astype(int)]
    pixels = prepare(_read(source, spread), trained.preprocess, limit)
    return pixels, f"held-out images of {source.description}"


def _with_made_up(
    images: Sequence[str], preprocess: Preprocess, limit: int
) -> tuple[npt.NDArray[np.uint8], str]:
    """Return those of the images that can be read, and made-up pictures up to the limit."""
    given = np.empty((0, preprocess.crop, preprocess.crop, 3), np.uint8)
    if images:
        # The command that wanted answers reports which images are unreadable.
        with contextlib.suppress(DataError):
            given = prepare(find_images(images), preprocess, max(limit // 2, 1))
    pictures = made_up_pictures(max(limit - len(given), 1), preprocess.crop)
    origin = f"{len(pictures)} {MADE_UP}" + (
        f", {count(len(given), 'image')}" if len(given) else ""
    )
    return np.concatenate([pictures, given]), origin


def _gone(trained: Checkpoint) -> str:
    if "fingerprint" not in trained.data:
        return "weights from elsewhere come without the images that they were trained on"
    return "the images that this checkpoint was trained on are not here any more"


def held_out_part(trained: Checkpoint) -> HeldOut | None:
    """Return the data that a checkpoint was trained on and its held-out part, if still there.

    If names or classes have changed since, held-out images are recognised by their content; those
    that the weights had been trained on earlier are left out.
    """
    source = training_source(trained)
    if source is None:
        return None
    if fingerprint(source) == trained.data.get("fingerprint"):
        return source, split(source, trained.data["val_fraction"], trained.data["seed"]).val
    known = np.setdiff1d(trained.held_out_images, trained.trained_images)
    if not len(known):
        return None
    everything = np.arange(len(source.samples))
    held_out = everything[contents.are_among(source, everything, known)]
    return (source, held_out) if len(held_out) else None


def _calibration(trained: Checkpoint, reference: Engine, held_out: HeldOut | None) -> Calibration:
    if held_out is None:
        raise DataError(
            f"{_gone(trained)}: export where they are, or without calibrate=",
            arguments=["calibrate"],
        )
    source, indices = held_out
    classifier = Classifier.from_engine(
        reference,
        trained.preprocess,
        trained.classes,
        batch_size=BATCH,
        activation=trained.activation,
    )
    evaluation = evaluate(classifier, source, indices)
    fit = cross_fit(evaluation.logits, evaluation.labels)
    if fit is None:
        raise DataError(
            f"{len(evaluation.indices)} held-out images are too few to fit a temperature to, or "
            "their logits are not numbers: export without calibrate=",
            arguments=["calibrate"],
        )
    return Calibration(
        temperature=fit.temperature,
        images=fit.images,
        ece_before=fit.ece_before,
        ece_after=fit.ece_after,
        source=f"held-out images of {source.description}",
    )


def _read(source: Source, indices: Iterable[int]) -> Iterator[bytes]:
    for index in indices:
        yield source.read(int(index))


def _manifest(trained: Checkpoint, checkpoint: Path, reference: Engine) -> Manifest:
    classes, crop = len(trained.classes), trained.preprocess.crop
    logits = reference.run(self_test_pixels(SELF_TEST_IMAGES, crop))
    return Manifest(
        model=ModelInfo(name=trained.model, num_classes=classes, activation=trained.activation),
        classes=trained.classes,
        preprocess=trained.preprocess,
        input=graph_input(crop),
        outputs=graph_outputs(classes),
        metrics={"held_out": trained.metrics},
        provenance=_provenance(trained, checkpoint),
        self_test=SelfTest(logits=tuple(tuple(map(float, row)) for row in logits)),
    )


def _provenance(trained: Checkpoint, checkpoint: Path) -> dict[str, Any]:
    # Without the data's spec, which holds a path of the training machine.
    data = {key: value for key, value in trained.data.items() if key != "spec"}
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fleetnet": fleetnet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "checkpoint_sha256": sha256_of(weights_in(checkpoint)[0]),
        "epoch": trained.epoch,
        "recipe": trained.recipe,
        "history": trained.history,
        "data": data,
    }
