"""A bundle made ready to serve: what a lane of the batcher works with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from fleetnet.bundle import Bundle, while_replaced
from fleetnet.errors import BundleError, ImageError
from fleetnet.evaluation.drift.statistics import measure, prepare_and_measure
from fleetnet.images import Pixels, from_array
from fleetnet.inference.automatic import check_asked
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import ENGINES, Mode, Precision
from fleetnet.serving.batching import Queueing
from fleetnet.serving.drift import Watch
from fleetnet.serving.requests import Picture, Prepared, Row

LOGITS = "logits"
EMBEDDING = "embedding"


@dataclass(frozen=True)
class Opening:
    """How a bundle is opened; as the arguments of :class:`fleetnet.Classifier`.

    Attributes:
        max_batch: images computed together; None for what suits the engine, or was chosen.
        max_pixels: width times height of an image, at most.
    """

    engine: str = "openvino"
    precision: Precision | None = None
    threads: int | None = None
    device: str | None = None
    mode: Mode = "throughput"
    exact: bool = False
    max_batch: int | None = None
    max_pixels: int = 50_000_000


class _Outputs(Protocol):
    """An engine that returns more of its graph's outputs than the logits."""

    def outputs(self, pixels: Pixels) -> dict[str, Row]: ...


class LoadedModel:
    """A version of a model, in memory.

    Attributes:
        bundle: that it is of.
        hash: SHA-256 of the bundle's manifest, which holds the hashes of its files; of an ONNX file
            its own.
        classifier: which says what logits mean.
        embeddings: whether the network gives them.
        watch: sees what is prepared and answered; None if nobody wants to know.
        streams: how many batches the engine computes at the same time.
    """

    def __init__(
        self, bundle: Bundle, classifier: Classifier, *, streams: int, max_pixels: int
    ) -> None:
        self.streams = streams
        self.bundle = bundle
        self.hash = bundle.hash
        self.classifier = classifier
        self.max_pixels = max_pixels
        self.watch: Watch | None = None
        names = {output.name for output in bundle.manifest.outputs}
        self.embeddings = EMBEDDING in names and hasattr(classifier.engine, "outputs")

    @classmethod
    def open(cls, path: Path, opening: Opening) -> LoadedModel:
        """Load a bundle and its engine.

        Raises:
            FleetnetError: as :class:`fleetnet.Classifier`.
        """
        check_asked(opening.engine, opening.precision, opening.device)
        return while_replaced(Bundle.load(path), functools.partial(cls._open, opening=opening))

    @classmethod
    def _open(cls, bundle: Bundle, opening: Opening) -> LoadedModel:
        classifier = Classifier(
            bundle,
            engine=opening.engine,
            precision=opening.precision,
            threads=opening.threads,
            device=opening.device,
            mode=opening.mode,
            exact=opening.exact,
            batch_size=opening.max_batch,
        )
        engine = classifier.engine
        several = opening.mode == "throughput" and not ENGINES[engine.name].shares_batches
        return cls(
            bundle,
            classifier,
            streams=engine.threads if several else 1,
            max_pixels=opening.max_pixels,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.classifier.classes

    def warm_up(self, queueing: Queueing) -> None:
        """Compute a batch of every size that is going to be used, so that no request waits for it.

        Raises:
            BundleError: the network does not answer as its manifest says.
        """
        side = self.classifier.preprocess.crop
        for size in queueing.sizes:
            outputs = self.compute(np.zeros((size, side, side, 3), np.uint8))
            shape = outputs[LOGITS].shape
            if shape != (size, len(self.classes)):
                raise BundleError(
                    f"{self.bundle.path}: the network gives logits of {'×'.join(map(str, shape))} "
                    f"for {size} images of {len(self.classes)} classes: export the bundle anew"
                )

    def prepare(self, picture: Picture, *, watched: bool = True) -> Pixels:
        """Return an image as the network takes it, exactly as a classifier would.

        Args:
            picture: what came in.
            watched: whether it counts among the requests that are compared with the reference.

        Raises:
            ImageError: it cannot be read, or has more pixels than are allowed.
        """
        if isinstance(picture, Prepared):
            return np.asarray(picture)
        preprocess, exact, watch = (
            self.classifier.preprocess,
            self.classifier.exact,
            self.watch if watched else None,
        )
        if isinstance(picture, bytes):
            if watch is not None:
                pixels, figures = prepare_and_measure(
                    picture, preprocess, exact=exact, max_pixels=self.max_pixels
                )
                watch.saw(figures)
                return pixels
            return preprocess.from_bytes(picture, exact=exact, max_pixels=self.max_pixels)
        if picture.size > 3 * self.max_pixels:
            size = "×".join(map(str, picture.shape[1::-1]))
            raise ImageError(f"{size} is more than {self.max_pixels / 10**6:g} million pixels")
        pixels = preprocess(from_array(picture))
        if watch is not None:
            watch.saw(measure(pixels, picture.shape[1], picture.shape[0]))
        return pixels

    def compute(self, pixels: Pixels) -> Mapping[str, Row]:
        """Return the outputs by name of ``uint8[N, crop, crop, 3]``."""
        engine = self.classifier.engine
        if self.embeddings:
            outputs = cast("_Outputs", engine).outputs(pixels)
            return {LOGITS: outputs[LOGITS], EMBEDDING: outputs[EMBEDDING]}
        return {LOGITS: engine.run(pixels)}

    def close(self) -> None:
        """Release the engine; what is being computed is finished."""
        self.classifier.close()


Open = Callable[[Path, Opening], LoadedModel]
