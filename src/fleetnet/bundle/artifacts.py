"""What a bundle holds besides its manifest: artifacts of one file or several."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fleetnet.bundle.strict import Strict

MANIFEST = "fleetnet.json"
TRAINED_IMAGES = "trained-images"
"""Format of the artifact that tells evaluation which images the network was trained on."""

Key = tuple[str, str | None, int | None]
"""What an artifact is found by: its format, precision and batch size."""


class Judgement(Strict):
    """What an artifact in fewer bits was allowed to lose, and what it lost.

    All losses are shares: 0.005 is half a point of accuracy. A negative loss is a gain.
    """

    metric: str = Field(min_length=1)
    """What it is the loss of: ``top1``, ``exact_match``, ``recall``, ``roc_auc``."""
    of_class: str | None = None
    """The class that ``metric`` is of, where it is of one."""
    judged_by: str = Field(min_length=1)
    """``labels``: what the labels say was lost; ``confidence``: what the probabilities in fp32 lead
    to expect; ``agreement``: the share of other answers, each of which counts as a loss."""
    images: int = Field(ge=1)
    loss: float
    low: float
    """The loss on all images is above this with 95 % confidence."""
    high: float
    """It is below this with 95 % confidence."""
    allowed: float = Field(ge=0, le=1)
    """The largest loss that passes."""
    fp32: float | None = None
    """The metric in fp32, as the labels say; null where there are none."""
    found: float | None = None
    """The metric in fewer bits."""
    fp32_nll: float | None = None
    """Negative log-likelihood of the labels in fp32."""
    nll: float | None = None
    """The same in fewer bits."""
    fp32_ece: float | None = None
    """Expected calibration error in fp32."""
    ece: float | None = None
    """The same in fewer bits."""


class Verification(Strict):
    """How much one engine's answers differed from the trained network's, as measured."""

    engine: str
    engine_version: str
    device: str = "cpu"
    """The device that computed, as the engine's runtime names it."""
    images: int = Field(ge=1)
    source: str
    max_abs_diff: float
    """Largest difference of a probability, over all images and classes."""
    top1_agreement: float
    """Share of the images on which the most probable class is the same."""
    tolerance: float
    """Largest ``max_abs_diff`` allowed; 1 where :class:`Quantization` sets the standard instead."""
    agreement: float | None = None
    """Share of the images with the same answer, where that decides whether the file is accepted."""
    mean_abs_diff: float | None = None
    """Mean difference of the probability of the network's most probable class."""
    judgement: Judgement | None = None
    """What it lost and was allowed to lose, where it has fewer bits than fp32."""
    latency_ms: float
    """Median time of one image, one thread, on ``machine``."""
    machine: str


class Quantization(Strict):
    """How an artifact in int8 was made, and the standard that its answers have to meet."""

    tool: str
    calibration_images: int = Field(ge=1)
    """How many real images the ranges of the activations were measured on."""
    weight_bits: Literal[7, 8]
    agreement: float = Field(gt=0, le=1)
    """Share of the images that must get the same answer as from the trained network.

    Where the record of verification has a judgement by something else than agreement, it is the
    share that was measured then, to which images without labels can be held."""
    layers: int = Field(ge=1)
    """How many layers with weights the network has."""
    kept_layers: tuple[str, ...] = ()
    """Which of them compute in fp32, because int8 changed the answers too much."""
    kept_macs: float = Field(ge=0, le=1)
    """Their share of the network's multiply-adds."""


class File(Strict):
    """A file of an artifact, by a plain name in the bundle's folder."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=1, lt=2**63)

    @classmethod
    def of(cls, name: str, content: builtins.bytes) -> File:  # here ``bytes`` is a field
        """Describe a file by its content."""
        return cls(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        apart = Path(name).name != name or any(sign in name for sign in "\\/:")
        if apart or name in ("", ".", "..") or not name.isprintable():
            raise ValueError(f"artifact file {name!r} is not a plain file name")
        if name.casefold() == MANIFEST:
            raise ValueError(f"artifact file {name!r} is the manifest itself")
        return name


class Artifact(Strict):
    """Something that an engine or an evaluation takes: a graph, weights, a list of images.

    It is found by format, precision and batch size. No two in a bundle have the same three.
    """

    format: str = Field(min_length=1)
    """Of the files: ``onnx``, ``openvino-ir``, ``safetensors``, ``trained-images``, or another."""
    precision: str | None = "fp32"
    """``fp32``, ``bf16``, ``fp16`` or ``int8``, which the network is stored in; None for other
    things.

    Engines may compute an fp32 network in other precisions."""
    batch: int | None = Field(default=None, ge=1)
    """The only batch size that a graph takes; None if it takes any."""
    files: tuple[File, ...] = Field(min_length=1)
    """In the order of the format: for ``openvino-ir`` the graph, then its weights."""
    verification: tuple[Verification, ...] = ()
    quantization: Quantization | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        contents: Mapping[str, builtins.bytes],
        *,
        precision: str | None = "fp32",
        batch: int | None = None,
        verification: tuple[Verification, ...] = (),
        quantization: Quantization | None = None,
    ) -> Artifact:
        """Describe an artifact in the format ``kind`` by its files' contents, by their names."""
        return cls(
            format=kind,
            precision=precision,
            batch=batch,
            files=tuple(File.of(name, content) for name, content in contents.items()),
            verification=verification,
            quantization=quantization,
        )

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.format, self.precision, self.batch

    @property
    def bytes(self) -> int:
        """Size of its files together."""
        return sum(file.bytes for file in self.files)

    def __str__(self) -> str:
        """Return its name for people."""
        return named(*self.key)


def named(kind: str, precision: str | None, batch: int | None) -> str:
    """Return the name, for people, of an artifact of this format, precision and batch size."""
    words = f"{kind} in {precision}" if precision else kind
    return f"{words} for batches of {batch}" if batch else words


def no_two_alike(artifacts: Iterable[Artifact]) -> None:
    """Refuse artifacts that could be mistaken for each other.

    Raises:
        ValueError: two have the same format, precision and size of batch, or a file in common.
    """
    keys: set[Key] = set()
    names: set[str] = set()
    for artifact in artifacts:
        if artifact.key in keys:
            raise ValueError(f"two artifacts are {artifact}")
        keys.add(artifact.key)
        for file in artifact.files:
            # On some file systems, names that differ only in case are the same file.
            if file.name.casefold() in names:
                raise ValueError(f"two artifacts are in the same file {file.name!r}")
            names.add(file.name.casefold())
