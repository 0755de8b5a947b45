"""From a checkpoint to a bundle on disk, verified on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors.torch import save

from fleetnet.amounts import count
from fleetnet.bundle import (
    MANIFEST,
    Artifact,
    Bundle,
    check_replaceable,
    write_bundle,
)
from fleetnet.evaluation.overlap import remembered
from fleetnet.export.calibration import fit_calibration
from fleetnet.export.fixed_batch import check_batch, file_name, fix_batch
from fleetnet.export.graph_verification import Standard, verify_graph
from fleetnet.export.held_out import held_out_part
from fleetnet.export.manifest import manifest_of
from fleetnet.export.onnx import to_onnx
from fleetnet.export.verification_images import IMAGES, images_to_verify_with
from fleetnet.image_files import check_given
from fleetnet.inference.comparison import probabilities_of
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.inference.verify import TOLERANCE
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Say
from fleetnet.training.adopt import read_checkpoint
from fleetnet.training.checkpoint import Checkpoint

Part = tuple[Artifact, dict[str, bytes]]
"""An artifact with its files' contents, by their names."""


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
        manifest = manifest_of(trained, checkpoint, reference)
        if calibrate:
            fitted = fit_calibration(trained, reference, held_out)
            say(
                f"temperature {fitted.temperature:.3f}: calibration error {fitted.ece_before:.2%} "
                f"before, {fitted.ece_after:.2%} with it on images that it was not fitted to"
            )
            manifest = manifest.model_copy(update={"calibration": fitted})
    graph = to_onnx(network, trained.preprocess, manifest)
    standard = Standard(network, trained.preprocess, pixels, tolerance, probabilities_of(manifest))
    parts = [*_graphs(graph, sizes, standard, origin, say), *_weights_and_images(trained)]
    manifest = manifest.model_copy(update={"artifacts": tuple(artifact for artifact, _ in parts)})
    files = {name: content for _, inside in parts for name, content in inside.items()}
    bundle = write_bundle(output, manifest, files, replacing)
    if older:
        say(f"{output} replaces the bundle that was there")
    return bundle


def _graphs(
    graph: bytes, sizes: Iterable[int], standard: Standard, origin: str, say: Say
) -> Iterator[Part]:
    """Yield the graph for any batch size and those for fixed ones, each verified."""
    for size in (None, *sizes):
        file = file_name(size)
        content = graph if size is None else fix_batch(graph, size)
        say(f"verifying {file} on {count(len(standard.pixels), 'image')} ({origin})")
        comparisons = verify_graph(content, standard, size)
        records = tuple(found.record(origin, standard.tolerance) for found in comparisons)
        files = {file: content}
        yield Artifact.of("onnx", files, batch=size, verification=records), files


def _weights_and_images(trained: Checkpoint) -> Iterator[Part]:
    """Yield the weights and, where it is known, the list of images that they were trained on."""
    weights = save({key: value.contiguous() for key, value in trained.state.items()})
    files = {"model.safetensors": weights}
    yield Artifact.of("safetensors", files), files
    if len(trained.trained_images):
        yield remembered(trained.trained_images)
