"""Making a checkpoint of weights from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import CheckpointError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.labels import imagenet_classes, read_labels
from fleetnet.models.registry import ModelEntry, build_model, is_described, told_model
from fleetnet.reporting import Note, Say
from fleetnet.training.checkpoint import Checkpoint, is_checkpoint
from fleetnet.weights.identify import Identity, to_ours
from fleetnet.weights.published import published_file, usual_preprocess
from fleetnet.weights.read import WeightsFile, read_content, weights_of
from fleetnet.weights.state import check_finite
from fleetnet.weights.subject import Subject


def read_checkpoint(
    path: str | Path,
    labels: Path | None = None,
    *,
    first: ModelEntry | None = None,
    say: Say = lambda _: None,
) -> Checkpoint:
    """Read a checkpoint, or make one of weights from elsewhere.

    Args:
        path: a checkpoint, or any file or folder that
            :func:`fleetnet.weights.read.read_weights` recognises.
        labels: a file of class names that replace the existing ones.
        first: as in :func:`fleetnet.weights.read.read_weights`.
        say: called with what weights from elsewhere were recognised as, in a line.

    Raises:
        CheckpointError: it is missing, damaged, without a known network, or with weights that are
            not numbers.
        FleetnetError: the labels are not of these classes.
    """
    if (Path(path) / MANIFEST).exists():
        raise CheckpointError(
            f"{path} is a bundle already, not weights or a checkpoint", file=str(path)
        )
    content = read_content(path)
    if is_checkpoint(content):
        ours = Checkpoint.of(content)
        check_finite(ours.state, str(path))
        if labels is None:
            return ours
        return replace(ours, classes=read_labels(labels, len(ours.classes)))
    file = weights_of(content, first)
    if file.remarks:
        say(f"left out: {file.remarks}")
    return as_checkpoint(file, labels, say=say)


def checkpoint_of(
    subject: Subject,
    file: Path,
    labels: Path | None = None,
    *,
    say: Say = lambda _: None,
) -> Checkpoint:
    """Make a checkpoint of any model.

    Args:
        subject: the model that was named.
        file: the file of its weights, on this machine.
        labels: a file of class names that replace the existing ones.
        say: as in :func:`read_checkpoint`.

    Raises:
        CheckpointError, FleetnetError: as in :func:`read_checkpoint`.
    """
    if subject.kind != "bundle":
        return read_checkpoint(file, labels, say=say)
    # A bundle's weights lack the information in its manifest.
    bundle = Bundle.load(subject.path)
    manifest = bundle.manifest
    if manifest.temperature != 1:
        say(
            Note(
                f"left out: the temperature {manifest.temperature:.3f}, for which a checkpoint has "
                "no place: 'fleetnet export' with calibrate= fits it anew",
                arguments=["calibrate"],
            )
        )
    entry = told_model(*manifest.network)
    checkpoint = read_checkpoint(file, labels, first=entry if is_described(entry) else None)
    return replace(
        checkpoint,
        model=entry.name,
        classes=checkpoint.classes if labels else manifest.classes,
        preprocess=manifest.preprocess,
        activation=manifest.model.activation,
        trained_images=trained_images_of(bundle),
    )


def as_checkpoint(
    file: WeightsFile, labels: Path | None = None, *, say: Say = lambda _: None
) -> Checkpoint:
    """Make a checkpoint of weights from elsewhere, to evaluate and to export.

    The preprocessing comes from a ``config.json`` beside the weights, else from the publisher if
    the file has the name of a published one, else it is the usual one of the layout. The class
    names come from ``labels``, else from ``config.json``, else they are ImageNet's if there are as
    many, else numbers.

    Raises:
        CheckpointError: the network takes images of other than three channels.
        FleetnetError: the labels are not of these classes.
    """
    identity = file.identity
    if identity.in_channels != 3:
        raise CheckpointError(
            f"{file.path} takes images of {identity.in_channels} channels: only networks of RGB "
            "images are run here",
            file=str(file.path),
        )
    published = published_file(file.path.name)
    model = identity.entry.name
    if published and published.model == model:
        usual = published.preprocess
    else:
        usual = usual_preprocess(model, identity.adapter.source)
    preprocess = file.config.preprocess or usual
    say(
        f"{model} from {identity.adapter.name} ({file.origin}); images are resized to "
        f"{preprocess.resize} ({preprocess.interpolation}), cropped to {preprocess.crop}"
    )
    return Checkpoint(
        model=model,
        classes=_classes(file, labels),
        preprocess=preprocess,
        state=_with_counters(identity, to_ours(file.state, identity)),
        recipe={},
        data={"spec": {}, "description": f"weights of {identity.adapter.name}"},
        epoch=0,
        metrics={},
    )


def _classes(file: WeightsFile, labels: Path | None) -> tuple[str, ...]:
    count = file.identity.num_classes
    if labels is not None:
        return read_labels(labels, count)
    if len(file.config.classes) == count:
        return file.config.classes
    if count == len(imagenet_classes()):
        return tuple(entry.name for entry in imagenet_classes())
    return tuple(f"class {index}" for index in range(count))


def _with_counters(identity: Identity, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add batch norm's counters, which weights from elsewhere lack."""
    fresh = build_model(identity.entry.name, identity.num_classes).state_dict()
    return {key: state.get(key, value) for key, value in fresh.items()}
