"""Labelled images, ready to judge with what fewer bits cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetnet.bundle import Bundle, Judgement, Manifest
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.evaluation.evaluate import class_indices
from fleetnet.evaluation.labelled_judge import LabelledJudge
from fleetnet.evaluation.losses import Labels
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.evaluation.selection import Selection, select_images
from fleetnet.inference.engines import Pixels
from fleetnet.inference.judging import MAX_LOSS
from fleetnet.inference.metric import TOP1, Metric
from fleetnet.inference.verify import JudgeOf
from fleetnet.reporting import Advance

SEED = 0


@dataclass(frozen=True)
class LabelledImages:
    """Preprocessed images with their labels.

    Attributes:
        pixels: ``uint8[N, crop, crop, 3]``.
        labels: ``int64[N]``, indices into the network's classes; with ``sigmoid`` ``bool[N, K]``.
        part: which images they are, in words.
        unreadable: a line for each that was left out.
    """

    pixels: Pixels
    labels: Labels
    part: str
    unreadable: tuple[str, ...] = ()


def held_out_images(
    source: Source, bundle: Bundle, limit: int, advance: Advance = lambda _: None
) -> LabelledImages:
    """Return images that a bundle's network was not trained on, at most ``limit`` of them.

    Args:
        source: the data that it was trained on, of which the held-out part is taken, or any other
            with the same classes.
        bundle: tells what it was trained on, as far as that is known.
        limit: if there are more, that many are drawn at random, with a fixed seed.
        advance: called with a count as images are read.

    Raises:
        DataError: the classes do not fit, all images were trained on, or none can be read.
    """
    selection = unseen(source, bundle)
    indices = np.random.default_rng(SEED).permutation(selection.indices)
    return read_labelled(source, indices, bundle.manifest, limit, selection.description, advance)


def unseen(source: Source, bundle: Bundle) -> Selection:
    """Return the images of a source that a bundle's network was not trained on.

    Raises:
        DataError: as :func:`fleetnet.evaluation.selection.select_images`; or the classes do not
            fit.
    """
    manifest = bundle.manifest
    class_indices(source.classes, manifest.classes)
    if source.multi_label and manifest.model.activation != "sigmoid":
        raise DataError(
            f"{source.description} has any number of classes per image, but the network gives each "
            "image one class"
        )
    return select_images(source, "auto", trained_on(manifest), trained_images_of(bundle))


def trained_on(manifest: Manifest) -> dict[str, Any]:
    """Return what a manifest says of the data that its network was trained on."""
    data = manifest.provenance.get("data")
    return data if isinstance(data, dict) else {}


def read_labelled(
    source: Source,
    indices: Indices,
    manifest: Manifest,
    limit: int,
    part: str,
    advance: Advance = lambda _: None,
) -> LabelledImages:
    """Read images in the order of ``indices``, at most ``limit`` of them; see above.

    Raises:
        DataError: none can be read.
    """
    pixels: list[Pixels] = []
    taken: list[int] = []
    unreadable: list[str] = []
    for index in indices:
        if len(taken) >= limit:
            break
        try:
            pixels.append(manifest.preprocess.from_bytes(source.read(int(index))))
        except ImageError as error:
            unreadable.append(f"{source.samples[int(index)].name}: {error}")
            continue
        taken.append(int(index))
        advance(1)
    if not taken:
        raise DataError(f"no image of {source.description} could be read{the_first(unreadable)}")
    labels = labels_of(source, taken, manifest)
    return LabelledImages(np.stack(pixels), labels, part, tuple(unreadable))


def labels_of(source: Source, indices: Iterable[int], manifest: Manifest) -> Labels:
    """Return the labels of images as a network numbers them; see :class:`LabelledImages`."""
    to_model = class_indices(source.classes, manifest.classes)
    samples = [source.samples[index] for index in indices]
    if manifest.model.activation == "softmax":
        return np.array([to_model[sample.label] for sample in samples], np.int64)
    labels = np.zeros((len(samples), len(manifest.classes)), np.bool_)
    for row, sample in zip(labels, samples, strict=True):
        row[[to_model[label] for label in sample.labels]] = True
    return labels


def labelled_judge(
    labels: Labels, manifest: Manifest, metric: str = TOP1, max_loss: float = MAX_LOSS
) -> LabelledJudge:
    """Return what judges a bundle's answers by labels.

    Args:
        labels: of the images, in their order; see :class:`LabelledImages`.
        manifest: the bundle's.
        metric: what may be lost, see :meth:`fleetnet.inference.metric.Metric.of`.
        max_loss: how much of it, as a share.

    Raises:
        FleetnetError: there is no such metric or class.
    """
    activation = manifest.model.activation
    return LabelledJudge(
        labels,
        Metric.of(metric, manifest.classes, activation),
        max_loss,
        activation,
        manifest.temperature,
    )


def judge_again(labels: Labels) -> JudgeOf:
    """Return what repeats a bundle's judgement on images with these labels."""

    def judge_of(judgement: Judgement, manifest: Manifest) -> LabelledJudge:
        activation = manifest.model.activation
        metric = Metric.judged(judgement, manifest.classes, activation)
        return LabelledJudge(labels, metric, judgement.allowed, activation, manifest.temperature)

    return judge_of
