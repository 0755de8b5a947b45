"""One image explained: the class, and where the network finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.errors import DataError, unknown
from fleetnet.evaluation.heatmap import overlay
from fleetnet.images import Pixels, decode
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.prediction import Prediction, Score
from fleetnet.text import first_few

if TYPE_CHECKING:
    from fleetnet.evaluation.explain import GradCam


@dataclass(frozen=True)
class Explanation:
    """Where a network finds a class in an image.

    Attributes:
        score: the class that was looked for, with its probability.
        prediction: the whole answer.
        picture: ``uint8[crop, 2 * crop, 3]``, the image as the network gets it, and beside it the
            same under a heat map of the places that speak for the class.
    """

    score: Score
    prediction: Prediction
    picture: Pixels


def class_index(name: str, classes: tuple[str, ...]) -> int:
    """Return the index of a class.

    Raises:
        DataError: there is no such class.
    """
    if name not in classes:
        raise unknown("class", name, classes, DataError, shown=first_few(classes, 10))
    return classes.index(name)


def explain_image(
    classifier: Classifier, grad_cam: GradCam, data: bytes, index: int | None = None
) -> Explanation:
    """Explain one encoded image.

    Args:
        classifier: answers; of the same network as ``grad_cam``.
        grad_cam: looks into the network.
        data: the image file's content.
        index: of the class to look for; None for the most probable one.

    Raises:
        ImageError: the image cannot be decoded.
    """
    image = decode(data, classifier.preprocess.sample_bits)
    pixels = classifier.preprocess(image)
    (prediction,) = classifier.predict(image, top_k=len(classifier.classes))
    score = next(one for one in prediction.top if index in (None, one.index))
    (heat,) = grad_cam(pixels[None], [score.index])
    return Explanation(score, prediction, np.concatenate([pixels, overlay(pixels, heat)], axis=1))
