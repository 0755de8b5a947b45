"""What goes into the service and comes out of it, whatever the protocol."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import ImageError
from fleetnet.images import Pixels
from fleetnet.inference.prediction import Score
from fleetnet.serving.errors import RequestError

Picture = bytes | Pixels
"""An image file's content, or ``uint8[H, W, 3]`` in RGB, upright, of any size."""
Row = npt.NDArray[np.float32]
"""One image's share of an output, such as its logits, ``float32[K]``."""


class Prepared(np.ndarray[Any, np.dtype[np.uint8]]):
    """Pixels as a network takes them already, ``uint8[crop, crop, 3]``; no transport has these."""


def new_id() -> str:
    """Return a request id for a client that gave none."""
    return f"{random.getrandbits(64):016x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Images, and what is wanted of them.

    Attributes:
        images: each is prepared as :class:`fleetnet.Classifier` does it, so the answers are its.
        model: name or alias; empty for the only model.
        version: empty for the default, of which a canary takes its share.
        top_k: how many classes to name for an image; 0 for none.
        probabilities: whether to give the probabilities of all classes.
        embeddings: whether to give the network's embedding, which not every bundle can.
        scores: whether it has to be said what is rejected, which not every bundle can.
        id: the client's, or one of ours; it is in the logs and in the result.
        deadline: when the answer is worth nothing any more, by :func:`time.monotonic`.
        trace: the trace that the request belongs to, 32 hexadecimal digits; empty if none.
        traceparent: W3C's header that says the same and the caller's span, as it came, unchecked.
        protocol: that it came by, for the metrics.
        whole: whether one image that cannot be read fails the request.
    """

    images: tuple[Picture, ...]
    model: str = ""
    version: str = ""
    top_k: int = 5
    probabilities: bool = False
    embeddings: bool = False
    scores: bool = False
    id: str = field(default_factory=new_id)
    deadline: float | None = None
    trace: str = ""
    traceparent: str = ""
    protocol: str = ""
    whole: bool = False


def deadline_in(seconds: float) -> float:
    """Return the deadline of a request that may take so many seconds from now on."""
    return time.monotonic() + seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one image.

    Attributes:
        top: the most probable classes, best first.
        logits: ``float32[K]``; None if the image cannot be read.
        probabilities: ``float32[K]``, if asked for.
        embedding: ``float32[E]``, if asked for.
        error: why the image cannot be read, else None.
        rejected: whether the network is not certain enough of the image for the answer to count.
        score: how certain it is; None where the bundle has no rejection.
    """

    top: tuple[Score, ...] = ()
    logits: Row | None = None
    probabilities: Row | None = None
    embedding: Row | None = None
    error: ImageError | None = None
    rejected: bool = False
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a request's time went, in seconds; of several images, the longest.

    Attributes:
        queue: waiting, for a thread to decode and for a batch.
        decode: decoding and resizing.
        compute: the network, with the other images of its batch.
        batch: how many images were computed together, at most.
    """

    queue: float = 0.0
    decode: float = 0.0
    compute: float = 0.0
    batch: int = 0

    def to_json(self) -> dict[str, float]:
        """Return the times in milliseconds, as responses and logs have them."""
        return {
            "queue_ms": round(self.queue * 1e3, 3),
            "decode_ms": round(self.decode * 1e3, 3),
            "compute_ms": round(self.compute * 1e3, 3),
            "batch": self.batch,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """The answers to a request, in the order of its images.

    Attributes:
        id: of the request.
        model: the name under which the model is loaded, even if an alias was asked for.
        version: that computed all of these answers.
        bundle: SHA-256 of the bundle's manifest, which holds the hashes of all its files.
        classes: names of the version's classes.
        answers: one for each image.
        timing: where the time went.
    """

    id: str
    model: str
    version: str
    bundle: str
    classes: tuple[str, ...]
    answers: tuple[Answer, ...]
    timing: Timing


def require_answers(result: Result) -> None:
    """Refuse a whole request if one of its images cannot be read.

    Raises:
        RequestError: one cannot; the error names its number.
    """
    for number, answer in enumerate(result.answers):
        if answer.error is not None:
            raise RequestError(
                f"image {number}: {answer.error}", code=answer.error.code, image=number
            )
