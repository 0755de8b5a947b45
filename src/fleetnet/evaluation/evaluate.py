"""Evaluating a classifier on labelled images, with the same code as prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation, Rejection
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError, nearest, the_first
from fleetnet.evaluation.losses import Labels
from fleetnet.evaluation.metrics import Metrics, chunks, measure
from fleetnet.evaluation.multilabel import MultiLabelMetrics, measure_multi_label
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Logits
from fleetnet.inference.prediction import Prediction
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
        rejection: when the classifier's answers do not count; None where all do.
    """

    classes: tuple[str, ...]
    logits: Logits
    labels: Labels
    indices: Indices
    unreadable: tuple[str, ...] = ()
    temperature: float = 1.0
    rejection: Rejection | None = None

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
    if source.multi_label and classifier.activation != "sigmoid":
        raise DataError(
            f"{source.description} has any number of classes per image, but the model was trained "
            "to give each image one class: train one on multi-label data"
        )
    answers = _Answers(classifier, source, to_model, len(indices))
    read_errors: dict[int, str] = {}

    def readable() -> Iterator[bytes]:
        for index in indices:
            try:
                yield source.read(int(index))
            except ImageError as error:
                yield b""  # keeps the order; prediction reports it as unreadable
                read_errors[int(index)] = str(error)

    for index, prediction in zip(indices, classifier.predict(readable(), top_k=1), strict=True):
        answers.add(int(index), prediction, read_errors.get(int(index)))
        advance(1)
    return answers.evaluation()


class _Answers:
    """The answers and labels of the images that could be read, in arrays of full length."""

    def __init__(
        self, classifier: Classifier, source: Source, to_model: list[int], images: int
    ) -> None:
        self._classifier, self._source, self._to_model = classifier, source, to_model
        self._multi_label = classifier.activation == "sigmoid"
        shape = (images, len(classifier.classes))
        self._logits = np.empty(shape, np.float32)
        self._labels: Labels = np.empty(images, np.int64)
        if self._multi_label:
            self._labels = np.zeros(shape, np.bool_)
        self._indices = np.empty(images, np.intp)
        self._count = 0
        self._unreadable: list[str] = []

    def add(self, index: int, prediction: Prediction, read_error: str | None) -> None:
        """Add the answer for a sample; ``read_error`` is why its bytes could not be read."""
        sample = self._source.samples[index]
        if prediction.logits is None:
            self._unreadable.append(f"{sample.name}: {read_error or prediction.error}")
            return
        row = self._count
        self._logits[row] = prediction.logits
        if self._multi_label:
            self._labels[row, [self._to_model[label] for label in sample.labels]] = True
        else:
            self._labels[row] = self._to_model[sample.label]
        self._indices[row] = index
        self._count += 1

    def evaluation(self) -> Evaluation:
        """Return what was added.

        Raises:
            DataError: no image could be read.
        """
        if not self._count:
            raise DataError(
                f"nothing to evaluate: no image of {self._source.description} could be read"
                f"{the_first(self._unreadable)}"
            )
        return Evaluation(
            classes=self._classifier.classes,
            logits=self._logits[: self._count],
            labels=self._labels[: self._count],
            indices=self._indices[: self._count],
            unreadable=tuple(self._unreadable),
            temperature=self._classifier.temperature,
            rejection=self._classifier.rejection,
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
