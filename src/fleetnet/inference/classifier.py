"""What users call: images in, classes out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import operator
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.bundle import Activation, Bundle, Rejection, while_replaced
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference.certainty import judge
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
from fleetnet.inference.prediction import Prediction, Score
from fleetnet.inference.prefetch import Ready, look_ahead, make_ready
from fleetnet.inference.probabilities import Probabilities, to_probabilities
from fleetnet.preprocess import Preprocess

__all__ = ["AUTO", "DEFAULT_ENGINE", "Classifier", "ImageLike", "Prediction", "Score"]

AUTO = "auto"
"""Stands for the engine that tuning chose."""
PYTORCH_BATCH = 8
"""PyTorch's threads share a batch, so it should have several images."""
LOW_PRECISION_BATCH = 4
"""If each thread computes its own batch, fp32 is fastest with one image, whose feature maps stay in
the cache. With fewer bits, several images fit, and weights are fetched once for all of them
(docs/prediction.md)."""


class Classifier(Closable):
    """A bundle made ready to answer on this machine, for any number of threads.

    Calls of :meth:`predict` do not affect each other. At the end of a ``with`` block, a classifier
    is closed.

    Args:
        bundle: a :class:`Bundle`, or the path of one or of its ``.onnx`` file. If that is replaced
            at this moment, it is the old one or the new one, whole.
        engine: ``openvino``, ``onnxruntime``, ``torch``, ``torch-compiled``, or ``auto`` for what
            ``fleetnet tune`` chose on this machine, or OpenVINO in fp32 if it chose nothing.
        threads: how many to compute with; None for all available processors.
        batch_size: how many images the engine gets at once. None for what was chosen, else for one;
            in throughput mode for :data:`LOW_PRECISION_BATCH` with fewer bits than fp32 and for
            :data:`PYTORCH_BATCH` with PyTorch.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``, where the engine offers it; None for
            fp32, or for what was chosen.
        mode: ``latency`` for each answer as soon as possible, or ``throughput`` for as many as
            possible per second: then images are read and decoded ahead, by as many threads as
            compute.
        labels: names of the classes, instead of the bundle's.
        device: to compute on, named as by :func:`fleetnet.inference.engines.devices`; None for the
            processor, or for what was chosen.
        exact: decode every image in full size. Otherwise JPEGs much larger than the network needs
            are decoded smaller, which takes much less time and gives nearly the same answers
            (docs/prediction.md).
        reject: answers that the network is not certain enough of, by the bundle's threshold if it
            has one (True), by this threshold for the bundle's score, or none (False). A rejected
            answer says so and keeps its classes (docs/rejection.md).

    Raises:
        BundleError: the bundle is missing or damaged.
        FleetnetError: the engine is unknown, not installed, or does not offer the device or the
            precision; or one of these is named with ``auto``, which chooses them.
    """

    rejection: Rejection | None
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
        reject: bool | float = True,
    ) -> None:
        open_it = functools.partial(
            self._open,
            engine=engine,
            threads=threads,
            batch_size=batch_size,
            labels=None if labels is None else tuple(labels),
            precision=precision,
            mode=mode,
            device=device,
            reject=reject,
        )
        if isinstance(bundle, Bundle):
            open_it(bundle)
        else:
            while_replaced(self._load(bundle), open_it)
        self.exact = exact

    def _load(self, word: str | os.PathLike[str]) -> Bundle:
        return Bundle.load(Path(word))

    def _open(
        self,
        bundle: Bundle,
        *,
        engine: str,
        threads: int | None,
        batch_size: int | None,
        labels: tuple[str, ...] | None,
        precision: Precision | None,
        mode: Mode,
        device: str | None,
        reject: bool | float,
    ) -> None:
        rejection = _rejection_of(bundle, reject)
        classes = bundle.manifest.classes if labels is None else labels
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
        precision, device = precision or "fp32", CPU if device is None else device
        opened = open_engine(engine, bundle, threads, precision=precision, mode=mode, device=device)
        self._set_up(
            opened,
            bundle.manifest.preprocess,
            classes,
            _usual_batch(engine, precision, mode) if batch_size is None else batch_size,
            bundle.manifest.model.activation,
            bundle.manifest.temperature,
        )
        self.rejection = rejection
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

        It decodes every image in full size. Closing the classifier leaves the engine open.
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
        self.rejection = None

    def close(self) -> None:
        """Take no more calls, and close the engine that was opened; may be called again.

        Predictions that have begun are finished; later calls of :meth:`predict` raise
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
            images: one image or many: paths, encoded bytes and buffers of them (``bytearray``,
                ``memoryview``, ``mmap``, ``uint8[N]``), files opened in binary mode, Pillow images,
                arrays ``uint8[H, W, 3]`` in RGB (``uint8[H, W]`` for grey; of ``uint16`` the upper
                eight of the bits that the preprocessing says are used), PyTorch's tensors of that
                shape or ``uint8[3, H, W]``. From an iterable, only the current batch is taken ahead
                of its answers; in throughput mode a few more, for the engine and the threads that
                decode, a number that does not grow. An image may be changed or closed when the
                next one is asked for.
            top_k: how many classes to name, at most all of them.

        An image that cannot be read gets a prediction with its ``error``; the others get their
        answers. What an iterable raises is raised after the answers to its earlier images.

        Raises:
            BundleError: the network does not give one logit for each class.
            FleetnetError: the classifier is closed, ``top_k`` is below 1, or an object is of no
                type that images have; in an iterable, after the answers to its earlier images.
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
                f"the network gives {logits.shape[-1]} logits per image for {len(self.classes)} "
                "classes: the bundle is not what its manifest says; export it anew"
            )

    def _stack(self, batch: list[Ready], size: int) -> npt.NDArray[np.uint8]:
        """Return ``uint8[size, crop, crop, 3]``, black where there is no readable image.

        Engines compile for each batch size, which takes longer than computing unused images.
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
        top = self.top(logits, top_k)
        rejected, score = self.judge(logits)
        return Prediction(image.source, top, logits=logits, rejected=rejected, score=score)

    def probabilities(self, logits: Logits) -> Probabilities:
        """Return the probabilities of logits, ``float32[..., K]``, as the bundle defines them."""
        return to_probabilities(logits, self.activation, self.temperature)

    def judge(self, logits: Logits) -> tuple[bool, float | None]:
        """Return whether one image's logits, ``float32[K]``, are rejected, and their score.

        The score is None where the classifier rejects nothing.
        """
        if self.rejection is None:
            return False, None
        return judge(logits, self.rejection.score, self.rejection.threshold, self.temperature)

    def top(self, logits: Logits, top_k: int) -> tuple[Score, ...]:
        """Return the most probable classes of one image's logits, ``float32[K]``, best first."""
        probabilities = self.probabilities(logits)
        best = np.argsort(-logits, kind="stable")[:top_k]
        return tuple(
            Score(self.classes[index], int(index), float(probabilities[index])) for index in best
        )


@contextlib.contextmanager
def _ended(answers: Iterator[Logits]) -> Iterator[Iterator[Logits]]:
    """End an engine's computation with the block, even if an error keeps a reference to it."""
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


def _rejection_of(bundle: Bundle, reject: bool | float) -> Rejection | None:
    """Return what a caller wants rejected.

    Raises:
        FleetnetError: a threshold that is no number, or of a bundle that has no score or gives an
            image any number of classes.
    """
    found = bundle.manifest.rejection
    if isinstance(reject, bool):
        return found if reject else None
    try:
        threshold = float(reject)
    except (TypeError, ValueError):
        threshold = math.nan
    if not math.isfinite(threshold):
        raise FleetnetError(f"reject is {reject!r}; it must be True, False or a threshold")
    if bundle.manifest.model.activation != "softmax":
        raise FleetnetError(
            f"{bundle.path} gives an image any number of classes, none included: no threshold "
            "rejects its answers"
        )
    if found is None:
        raise FleetnetError(
            f"{bundle.path} has no rejection, so that nothing says what {threshold:g} is a "
            "threshold of: 'fleetnet reject' adds one"
        )
    return found.model_copy(update={"threshold": threshold})


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
    # Imported here, because most callers name an engine and need nothing of tuning.
    from fleetnet.inference.tuning_cache import load_tuned

    choice = load_tuned(bundle, mode, threads)
    if choice is None:
        return DEFAULT_ENGINE, "fp32", threads, None, CPU
    return choice.engine, choice.precision, choice.threads, choice.batch, choice.device
