"""What users call: images in, classes out."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.bundle import Activation, Bundle
from fleetnet.errors import BundleError, FleetnetError, ImageError
from fleetnet.inference.engines import (
    CPU,
    DEFAULT_ENGINE,
    ENGINES,
    Closable,
    Engine,
    Logits,
    Mode,
    Precision,
    open_engine,
)
from fleetnet.inference.inputs import ImageLike, is_one
from fleetnet.inference.prefetch import Ready, look_ahead, make_ready
from fleetnet.inference.probabilities import to_probabilities
from fleetnet.preprocess import Preprocess

__all__ = ["AUTO", "DEFAULT_ENGINE", "Classifier", "ImageLike", "Prediction", "Score"]

AUTO = "auto"
"""In place of an engine's name: the one that tuning chose."""
PYTORCH_BATCH = 8
"""PyTorch's threads share a batch, so that it should have several images."""
LOW_PRECISION_BATCH = 4
"""Where a thread computes a batch of its own, fp32 is quickest with one image, whose feature maps
stay in the cache; with fewer bits several fit, and weights are fetched once for all of them
(docs/prediction.md)."""


@dataclass(frozen=True)
class Score:
    """One class and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        source: the path, or ``image 0``, ``image 1``, … where the image had none.
        top: the most probable classes, best first; empty where the image could not be read.
        error: why it could not, else None.
        logits: ``float32[K]`` as the network gives them, whatever the temperature; None where the
            image could not be read.
    """

    source: str
    top: tuple[Score, ...] = ()
    error: str | None = None
    logits: Logits | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def label(self) -> str:
        """Name of the most probable class.

        Raises:
            ImageError: the image could not be read.
        """
        return self._best().label

    @property
    def probability(self) -> float:
        """Probability of the most probable class.

        Raises:
            ImageError: the image could not be read.
        """
        return self._best().probability

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values, as ``fleetnet predict --json`` prints it."""
        return {
            "image": self.source,
            "top": [
                {"class": score.label, "index": score.index, "probability": score.probability}
                for score in self.top
            ],
            "error": self.error,
        }

    def _best(self) -> Score:
        if self.error is not None:
            raise ImageError(f"{self.source}: {self.error}")
        return self.top[0]


class Classifier(Closable):
    """A bundle made ready to answer on this machine, for any number of threads.

    Each call of :meth:`predict` is answered for itself. At the end of a ``with`` block, a
    classifier is closed.

    Args:
        bundle: a :class:`Bundle`, or the path of one, or of its ``.onnx`` file alone.
        engine: ``openvino``, ``onnxruntime``, ``torch``, ``torch-compiled``, or ``auto`` for what
            ``fleetnet tune`` chose on this machine, and OpenVINO in fp32 where it chose nothing.
        threads: how many to compute with; None for all the processors at hand.
        batch_size: how many images the engine gets at once; None for what was chosen, else one,
            in throughput mode :data:`LOW_PRECISION_BATCH` with fewer bits than fp32 and
            :data:`PYTORCH_BATCH` for PyTorch.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``, where the engine offers it; None for
            fp32, or for what was chosen.
        mode: ``latency``, to have each answer soon, or ``throughput``, to have many a second:
            then as many threads as compute read and decode images ahead of the network.
        labels: names of the classes in place of the bundle's.
        device: to compute on, as :func:`fleetnet.inference.engines.devices` names those of the
            engine; None for the processor, or for what was chosen.
        exact: decode every image whole; else JPEGs whose sides are several times what the network
            needs are decoded smaller, for much less time and nearly the same answers
            (docs/prediction.md).

    Raises:
        BundleError: the bundle is missing or damaged.
        FleetnetError: the engine is unknown, not installed, or does not offer the device or the
            precision; or one of these is named beside ``auto``, which chooses them too.
    """

    _owned: Engine | None

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        *,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        batch_size: int | None = None,
        labels: Sequence[str] | None = None,
        precision: Precision | None = None,
        mode: Mode = "latency",
        exact: bool = False,
        device: str | None = None,
    ) -> None:
        if not isinstance(bundle, Bundle):
            bundle = Bundle.load(Path(bundle))
        classes = bundle.manifest.classes if labels is None else tuple(labels)
        if len(classes) != len(bundle.manifest.classes):
            known = count(len(bundle.manifest.classes), "class")
            raise FleetnetError(f"{count(len(classes), 'label')} for a model of {known}")
        if engine == AUTO:
            for word, named in (("precision", precision), ("device", device)):
                if named is not None:
                    raise FleetnetError(
                        f"engine '{AUTO}' chooses the {word}: name one or the other"
                    )
            engine, precision, threads, chosen_batch, device = _chosen(bundle, mode, threads)
            batch_size = batch_size or chosen_batch
        precision, device = precision or "fp32", device or CPU
        opened = open_engine(engine, bundle, threads, precision=precision, mode=mode, device=device)
        self._set_up(
            opened,
            bundle.manifest.preprocess,
            classes,
            _usual_batch(engine, precision, mode) if batch_size is None else batch_size,
            bundle.manifest.model.activation,
            bundle.manifest.temperature,
        )
        self.exact = exact
        self._workers = opened.threads if mode == "throughput" else 0
        self._owned = opened

    @classmethod
    def from_engine(
        cls,
        engine: Engine,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        *,
        batch_size: int = 1,
        activation: Activation = "softmax",
    ) -> Classifier:
        """Make a classifier of an engine that is open already, such as a network in training.

        It decodes every image whole. The engine stays its opener's: closing the classifier leaves
        it open.
        """
        classifier = cls.__new__(cls)
        classifier._set_up(engine, preprocess, classes, batch_size, activation, 1.0)
        return classifier

    def _set_up(
        self,
        engine: Engine,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        batch_size: int,
        activation: Activation,
        temperature: float,
    ) -> None:
        batch_size = _whole("batch size", batch_size)
        if not 1 <= batch_size <= 4096:
            raise FleetnetError(f"batch size is {batch_size}; it must be from 1 to 4096")
        self.exact = True
        self._workers = 0
        self._owned = None
        self._closed = False
        self.engine = engine
        self.preprocess = preprocess
        self.classes = classes
        self.batch_size = batch_size
        self.activation = activation
        self.temperature = temperature

    def close(self) -> None:
        """Take no more calls, and close the engine that was opened; again, it changes nothing.

        Predictions that are being made are finished, and any other call of :meth:`predict` raises
        :class:`fleetnet.errors.FleetnetError`.
        """
        self._closed = True
        if self._owned is not None:
            self._owned.close()

    def predict(
        self, images: ImageLike | Iterable[ImageLike], top_k: int = 5
    ) -> Iterator[Prediction]:
        """Yield one :class:`Prediction` an image, in order, lazily.

        Args:
            images: one image or many: paths, encoded bytes and what holds such (``bytearray``,
                ``memoryview``, ``mmap``, ``uint8[N]``), files opened in binary mode, Pillow images,
                arrays ``uint8[H, W, 3]`` in RGB (``uint8[H, W]`` for grey; of ``uint16`` the upper
                eight of the bits that the preprocessing says are used), PyTorch's tensors of that
                shape or ``uint8[3, H, W]``. Of an iterable no more is taken ahead of its answers
                than the batch at hand; in throughput mode, some batches for the engine and the
                threads that decode, a number that does not grow. Any image may be changed or
                closed when the next one is asked for.
            top_k: how many classes to name, at most all.

        An image that cannot be read gets a prediction with its ``error``; the others get their
        answers. What an iterable raises is raised after the answers to what it gave before.

        Raises:
            BundleError: the network does not give as many figures as there are classes.
        FleetnetError: the classifier is closed, ``top_k`` is below 1, or something is no image
                by its type; of an iterable, after the answers to what it gave before.
        """
        if self._closed:
            raise FleetnetError("this classifier is closed: open another")
        top_k = _whole("top_k", top_k)
        if top_k < 1:
            raise FleetnetError(f"top_k is {top_k}; it must be at least 1")
        one = is_one(images)
        workers = 0 if one else self._workers
        stream = make_ready(
            [images] if one else images,  # type: ignore[arg-type,list-item]
            self.preprocess,
            exact=self.exact,
            workers=workers,
            ahead=look_ahead(workers, self.batch_size),
        )
        running: deque[list[Ready]] = deque()

        def batches() -> Iterator[npt.NDArray[np.uint8]]:
            size = 0
            while batch := list(itertools.islice(stream, self.batch_size)):
                running.append(batch)
                size = size or len(batch)
                yield self._stack(batch, size)

        with contextlib.closing(stream), _ended(self.engine.run_all(batches())) as answers:
            for logits in answers:
                self._check(logits)
                batch = running.popleft()
                for image, row in zip(batch, logits[: len(batch)], strict=True):
                    yield self._answer(image, row, top_k)

    def _check(self, logits: Logits) -> None:
        if logits.shape[1:] != (len(self.classes),):
            raise BundleError(
                f"the network gives {logits.shape[-1]} figures an image for {len(self.classes)} "
                "classes: the bundle is not what its manifest says; export it anew"
            )

    def _stack(self, batch: list[Ready], size: int) -> npt.NDArray[np.uint8]:
        """Return ``uint8[size, crop, crop, 3]``, black where there is no image or none to read.

        Engines compile each size of a batch, which takes longer than to compute some for nothing.
        """
        crop = self.preprocess.crop
        pixels = np.zeros((size, crop, crop, 3), np.uint8)
        for place, image in zip(pixels, batch, strict=False):
            if image.pixels is not None:
                place[:] = image.pixels
        return pixels

    def _answer(self, image: Ready, logits: Logits, top_k: int) -> Prediction:
        if image.failure is not None:
            raise image.failure
        if image.error is not None:
            return Prediction(image.source, error=image.error)
        return Prediction(image.source, self._top(logits, top_k), logits=logits)

    def _top(self, logits: Logits, top_k: int) -> tuple[Score, ...]:
        probabilities = to_probabilities(logits, self.activation, self.temperature)
        best = np.argsort(-logits, kind="stable")[:top_k]
        return tuple(
            Score(self.classes[index], int(index), float(probabilities[index])) for index in best
        )


@contextlib.contextmanager
def _ended(answers: Iterator[Logits]) -> Iterator[Iterator[Logits]]:
    """End what an engine computes with the block, also where an error keeps hold of it."""
    try:
        yield answers
    finally:
        if isinstance(answers, Generator):
            answers.close()


def _whole(name: str, value: object) -> int:
    """Return a caller's whole number, NumPy's too.

    Raises:
        FleetnetError: it is none.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise FleetnetError(f"{name} is {value!r}; it must be a whole number") from None


def _usual_batch(engine: str, precision: Precision, mode: Mode) -> int:
    if mode == "latency":
        return 1
    if ENGINES[engine].shares_batches:
        return PYTORCH_BATCH
    return 1 if precision == "fp32" else LOW_PRECISION_BATCH


def _chosen(
    bundle: Bundle, mode: Mode, threads: int | None
) -> tuple[str, Precision, int | None, int | None, str]:
    """Return the engine, precision, threads, batch and device that tuning chose, if it did."""
    # Tuning opens engines and compares them: whoever names an engine need not load all that.
    from fleetnet.inference.tuning_cache import load_tuned

    choice = load_tuned(bundle, mode, threads)
    if choice is None:
        return DEFAULT_ENGINE, "fp32", threads, None, CPU
    return choice.engine, choice.precision, choice.threads, choice.batch, choice.device
