"""Evaluating a classifier on labelled images, with the same code as prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError, nearest, the_first
from fleetnet.evaluation.losses import Labels
from fleetnet.evaluation.metrics import Metrics, chunks, measure
from fleetnet.evaluation.multilabel import MultiLabelMetrics, measure_multi_label
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Logits
from fleetnet.inference.probabilities import to_probabilities
from fleetnet.reporting import Advance
from fleetnet.text import first_few


@dataclass(frozen=True)
class Evaluation:
    """The network's answers with the true labels, and the images that could not be read.

    Attributes:
        classes: names of the classifier's ``K`` classes.
        logits: ``float32[N, K]``, as the network gives them.
        labels: indices into ``classes``, ``int64[N]``; of multi-label data ``bool[N, K]``.
        indices: the images' indices in the source, ``intp[N]``.
        unreadable: a line for each image that was left out.
        temperature: by which the classifier divides the logits.
    """

    classes: tuple[str, ...]
    logits: Logits
    labels: Labels
    indices: Indices
    unreadable: tuple[str, ...] = ()
    temperature: float = 1.0

    @property
    def multi_label(self) -> bool:
        """Whether an image may have any number of classes."""
        return self.labels.ndim == 2

    @cached_property
    def metrics(self) -> Metrics:
        """Accuracy and confusions, for single-label data."""
        return measure(self.logits, self._single(), self.classes)

    @cached_property
    def multi_label_metrics(self) -> MultiLabelMetrics:
        """The metrics for multi-label data."""
        return measure_multi_label(self.logits, self.labels, self.classes)

    def served_logits(self) -> Logits:
        """Return the logits divided by the temperature, from which probabilities are computed."""
        if self.temperature == 1.0:
            return self.logits
        return np.asarray(self.logits / self.temperature, np.float32)

    def probabilities(self) -> npt.NDArray[np.float32]:
        """Return the classifier's probabilities, ``float32[N, K]``."""
        activation: Activation = "sigmoid" if self.multi_label else "softmax"
        found = np.empty(self.logits.shape, np.float32)
        for rows in chunks(*self.logits.shape):
            found[rows] = to_probabilities(self.logits[rows], activation, self.temperature)
        return found

    def _single(self) -> npt.NDArray[np.int64]:
        if self.multi_label:
            raise ValueError("this is multi-label data: use multi_label_metrics")
        return self.labels.astype(np.int64)


def evaluate(
    classifier: Classifier,
    source: Source,
    indices: Indices,
    advance: Advance = lambda _: None,
) -> Evaluation:
    """Classify the samples ``indices`` of ``source`` and keep the answers with their labels.

    A classifier with softmax probabilities gives one class for each image, one with sigmoid
    probabilities any number, even for data with exactly one. Only logits and labels are kept.

    Args:
        classifier: to evaluate: a checkpoint, a bundle or any engine.
        source: labelled images, whose classes must be among the classifier's, by name.
        indices: of the images.
        advance: called with a count as images are done, for a progress bar.

    Raises:
        DataError: the source has a class that the classifier does not know, or images with several
            classes for a classifier of one, or no image could be read.
    """
    to_model = class_indices(source.classes, classifier.classes)
    multi_label = classifier.activation == "sigmoid"
    if source.multi_label and not multi_label:
        raise DataError(
            f"{source.description} has any number of classes per image, but the model was trained "
            "to give each image one class: train one on multi-label data"
        )
    shape = (len(indices), len(classifier.classes))
    logits = np.empty(shape, np.float32)
    labels = np.zeros(shape, np.bool_) if multi_label else np.empty(len(indices), np.int64)
    kept = np.empty(len(indices), np.intp)
    count = 0
    unreadable: list[str] = []
    read_errors: dict[int, str] = {}

    def readable() -> Iterator[bytes]:
        for index in indices:
            try:
                yield source.read(int(index))
            except ImageError as error:
                yield b""  # keeps the order; prediction reports it as unreadable
                read_errors[int(index)] = str(error)

    for index, prediction in zip(indices, classifier.predict(readable(), top_k=1), strict=True):
        sample = source.samples[int(index)]
        if prediction.logits is None:
            reason = read_errors.get(int(index), prediction.error)
            unreadable.append(f"{sample.name}: {reason}")
        else:
            logits[count] = prediction.logits
            if multi_label:
                labels[count, [to_model[label] for label in sample.labels]] = True
            else:
                labels[count] = to_model[sample.label]
            kept[count] = index
            count += 1
        advance(1)
    if not count:
        raise DataError(
            f"nothing to evaluate: no image of {source.description} could be read"
            f"{the_first(unreadable)}"
        )
    return Evaluation(
        classes=classifier.classes,
        logits=logits[:count],
        labels=labels[:count],
        indices=kept[:count],
        unreadable=tuple(unreadable),
        temperature=classifier.temperature,
    )


def class_indices(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the model's index of each of the data's class names.

    Raises:
        DataError: the model does not know one of them, or knows several of that name.
    """
    if tuple(names) == tuple(known):
        # By index, because names may repeat: ImageNet has two cranes.
        return list(range(len(known)))
    index = {name: position for position, name in enumerate(known)}
    counts = Counter(names) | Counter(known)
    for name in names:
        if counts[name] > 1:
            raise DataError(
                f"'{name}' names several classes: give the data all of the model's, in its order"
            )
        if name not in index:
            raise DataError(
                f"the data's class '{name}' is not among the model's{nearest(name, known)} "
                f"(the model knows: {first_few(known, 10)})"
            )
    return [index[name] for name in names]
