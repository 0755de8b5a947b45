"""What a bundle holds beside its manifest: artifacts, each of one file or several."""

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
"""Format of the artifact by which evaluation knows images that the network was trained on."""

Key = tuple[str, str | None, int | None]
"""What an artifact is found by: its format, precision and size of batch."""


class Verification(Strict):
    """What one engine's answers differed by from the trained network's, as measured."""

    engine: str
    engine_version: str
    device: str = "cpu"
    """That computed, as the engine's runtime names it."""
    images: int = Field(ge=1)
    source: str
    max_abs_diff: float
    """Largest difference of a probability, over all images and classes."""
    top1_agreement: float
    """Share of the images on which the most probable class is the same."""
    tolerance: float
    """Largest ``max_abs_diff`` allowed; 1 where :class:`Quantization` sets the standard instead."""
    agreement: float | None = None
    """Share of the images with the same answer, where that is what the file is judged by."""
    mean_abs_diff: float | None = None
    """Mean difference of the probability of the network's most probable class."""
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
    """Share of the images that must get the same answer as from the trained network."""
    layers: int = Field(ge=1)
    """How many layers with weights the network has."""
    kept_layers: tuple[str, ...] = ()
    """Those of them that compute in fp32, because int8 disturbed the answers too much."""
    kept_macs: float = Field(ge=0, le=1)
    """Their share of the network's multiply-adds."""


class File(Strict):
    """A file of an artifact, by a plain name in the bundle's folder."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=1, lt=2**63)

    @classmethod
    def of(cls, name: str, content: builtins.bytes) -> File:  # the plain name is a field's here
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

    No two of a bundle have the same format, precision and size of batch: by these it is found.
    """

    format: str = Field(min_length=1)
    """Of the files: ``onnx``, ``openvino-ir``, ``safetensors``, ``trained-images``, or another."""
    precision: str | None = "fp32"
    """What is computed in, ``fp32``, ``bf16``, ``fp16`` or ``int8``; None for what is no network.

    Engines compute a network in fp32 in other precisions by themselves."""
    batch: int | None = Field(default=None, ge=1)
    """The one size of batch that a graph takes; None where it takes any."""
    files: tuple[File, ...] = Field(min_length=1)
    """In the order that the format has: of ``openvino-ir`` the graph, then its weights."""
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
        """Name it for a person."""
        return named(*self.key)


def named(kind: str, precision: str | None, batch: int | None) -> str:
    """Return what people call an artifact of this format, precision and size of batch."""
    words = f"{kind} in {precision}" if precision else kind
    return f"{words} for batches of {batch}" if batch else words


def no_two_alike(artifacts: Iterable[Artifact]) -> None:
    """Refuse artifacts of which one could be taken for another.

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
            # Some file systems take names that differ in case for one.
            if file.name.casefold() in names:
                raise ValueError(f"two artifacts are in the same file {file.name!r}")
            names.add(file.name.casefold())
