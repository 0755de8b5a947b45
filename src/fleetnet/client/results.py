"""What a server answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetnet.errors import FleetnetError
from fleetnet.inference import prediction
from fleetnet.inference.prediction import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Prediction(prediction.Prediction):
    """The answer for one image, as :class:`fleetnet.Classifier` gives it, with what a server adds.

    Attributes:
        code: which kind of error it is, where the server says so: only of a request of one image.
        probabilities: of all classes, if asked for.
        embedding: the network's, if asked for.
        model: that answered; like the next two, empty if the image reached none.
        version: of the model.
        bundle: SHA-256 of the bundle's manifest.
    """

    code: str | None = None
    probabilities: tuple[float, ...] | None = field(default=None, repr=False)
    embedding: tuple[float, ...] | None = field(default=None, repr=False)
    model: str = ""
    version: str = ""
    bundle: str = ""


@dataclass(frozen=True)
class Timing:
    """Where a request's time went at the server, in milliseconds; of several images, the longest.

    Attributes:
        queue_ms: waiting.
        decode_ms: decoding and resizing.
        compute_ms: the network.
        batch: how many images were computed together, at most.
    """

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    compute_ms: float = 0.0
    batch: int = 0


@dataclass(frozen=True)
class Classification:
    """The answers to one request, in the order of its images; iterating gives the predictions.

    Attributes:
        predictions: one for each image.
        id: of the request, as the server's log has it.
        model: that answered; like the next two, empty if no image reached one.
        version: of the model.
        bundle: SHA-256 of the bundle's manifest.
        timing: where the time went.
    """

    predictions: tuple[Prediction, ...]
    id: str = ""
    model: str = ""
    version: str = ""
    bundle: str = ""
    timing: Timing = Timing()

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def prediction(self) -> Prediction:
        """The answer, where there is one image.

        Raises:
            FleetnetError: there are several.
        """
        if len(self.predictions) != 1:
            raise FleetnetError(f"this is the answer for {len(self.predictions)} images: iterate")
        return self.predictions[0]

    @property
    def top(self) -> tuple[Score, ...]:
        """The most probable classes of the only image, best first; empty if it is unreadable."""
        return self.prediction.top

    @property
    def label(self) -> str:
        """Name of the most probable class of the only image.

        Raises:
            ImageError: it could not be read.
            FleetnetError: there are several images.
        """
        return self.prediction.label

    @property
    def probability(self) -> float:
        """Probability of the most probable class of the only image.

        Raises:
            ImageError: it could not be read.
            FleetnetError: there are several images.
        """
        return self.prediction.probability


@dataclass(frozen=True)
class Inference:
    """The answer of the Open Inference Protocol; indexing gives an output.

    Attributes:
        model: that answered.
        version: of the model.
        outputs: arrays by name; those of BYTES are arrays of ``bytes`` objects.
        id: of the request, if it had one.
        parameters: what the server says beside; Fleetnet the bundle and the times.
    """

    model: str
    version: str
    outputs: Mapping[str, npt.NDArray[np.generic]]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        return self.outputs[name]


@dataclass(frozen=True)
class ModelEntry:
    """A version that the server has loaded, or could load.

    Attributes:
        name: of the model.
        version: of it.
        state: ``READY`` where it is loaded.
        reason: why it is not.
    """

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True)
class TensorMetadata:
    """An input or output; -1 in its shape stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """What a model takes and gives.

    Attributes:
        name: of the model.
        versions: that are loaded.
        platform: ``fleetnet``, or another server's.
        inputs: of the Open Inference Protocol.
        outputs: the same.
        parameters: what the server says beside; Fleetnet the bundle, the network and the engine.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty if the server does not say."""
        found = self.parameters.get("classes")
        return tuple(map(str, found)) if isinstance(found, list) else ()
