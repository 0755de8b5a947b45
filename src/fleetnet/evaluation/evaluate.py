"""A classifier against labelled images, through the same road as prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError, nearest
from fleetnet.evaluation.metrics import Metrics, measure
from fleetnet.inference.classifier import Classifier


@dataclass(frozen=True)
class Evaluation:
    """The figures, and the images that could not be read."""

    metrics: Metrics
    unreadable: tuple[str, ...]


def evaluate(
    classifier: Classifier,
    source: Source,
    indices: Indices,
    advance: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Classify the samples ``indices`` of ``source`` and compare with their labels.

    Args:
        classifier: what to judge; a checkpoint, a bundle or any engine.
        source: labelled images, whose classes must be among the classifier's, by name.
        indices: which of them.
        advance: called with a count as images are done, for a progress bar.

    Raises:
        DataError: the source has a class that the classifier does not know, or no image could be
            read.
    """
    to_model = class_indices(source.classes, classifier.classes)
    unreadable: list[str] = []
    logits: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    labels: list[int] = []

    def readable() -> Iterator[bytes]:
        for index in indices:
            try:
                yield source.read(int(index))
            except ImageError as error:
                yield b""  # keeps the order; prediction names it as unreadable
                read_errors[int(index)] = str(error)

    read_errors: dict[int, str] = {}
    for index, prediction in zip(indices, classifier.predict(readable(), top_k=1), strict=True):
        sample = source.samples[int(index)]
        if prediction.logits is None:
            reason = read_errors.get(int(index), prediction.error)
            unreadable.append(f"{sample.name}: {reason}")
        else:
            logits.append(prediction.logits)
            labels.append(to_model[sample.label])
        advance(1)
    if not labels:
        raise DataError(f"nothing to evaluate: no image of {source.description} could be read")
    metrics = measure(np.stack(logits), np.array(labels), classifier.classes)
    return Evaluation(metrics, tuple(unreadable))


def class_indices(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the model's index of each of the data's class names.

    Raises:
        DataError: the model does not know one of them.
    """
    index = {name: position for position, name in enumerate(known)}
    for name in names:
        if name not in index:
            shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            raise DataError(
                f"the data's class '{name}' is not among the model's{nearest(name, known)} "
                f"(the model knows: {shown})"
            )
    return [index[name] for name in names]
