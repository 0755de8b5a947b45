"""A deployable model on disk: a folder with ``fleetnet.json`` beside the artifacts it describes.

The manifest can be read with a JSON parser alone, in any language; ``docs/bundle.md`` describes
each field. The same manifest, less the list of artifacts, is in the metadata of the ONNX file, so
that ``model.onnx`` alone is enough to predict.
"""

from __future__ import annotations

import builtins
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from fleetnet.errors import BundleError, FleetnetError
from fleetnet.files import Standing, atomic_folder, in_cache, json_text, sha256_of, standing
from fleetnet.preprocess import Preprocess
from fleetnet.schema import first_problem

MANIFEST = "fleetnet.json"
FORMAT: Literal["fleetnet-bundle"] = "fleetnet-bundle"
FORMAT_VERSION = 1
ONNX_METADATA_KEY = "fleetnet"
MAX_MANIFEST_BYTES = 64 * 2**20
TRAINED_IMAGES = "trained-images"
"""Name of the artifact by which evaluation knows images that the network was trained on."""

Activation = Literal["softmax", "sigmoid"]


def _preprocess(value: Any) -> Preprocess:
    if isinstance(value, Preprocess):
        return value
    if not isinstance(value, dict):
        raise ValueError("preprocess must be an object")  # noqa: TRY004 - pydantic wants ValueError
    try:
        return Preprocess.from_json(value)
    except FleetnetError as error:
        raise ValueError(str(error)) from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ModelInfo(_Strict):
    """Which network it is, and how its logits become probabilities.

    With ``softmax`` an image has one class, with ``sigmoid`` any number of them.
    """

    name: str
    num_classes: int = Field(ge=1)
    activation: Activation = "softmax"


class Calibration(_Strict):
    """The temperature that the logits are divided by before they become probabilities.

    Temperature scaling (Guo et al. 2017); the logits themselves are given out as they are.
    """

    temperature: float = Field(gt=0, allow_inf_nan=False)
    images: int = Field(ge=1)
    """How many it was fitted to."""
    ece_before: float = Field(ge=0, le=1)
    """Expected calibration error of those images without it."""
    ece_after: float = Field(ge=0, le=1)
    """The same with it, cross-fitted."""
    source: str
    """Where those images were from."""


class TensorInfo(_Strict):
    """An input or output of the graph; None in ``shape`` is the free batch dimension."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int | None, ...]
    layout: str | None = None
    color: str | None = None


class Verification(_Strict):
    """What one engine's answers differed by from the trained network's, as measured."""

    engine: str
    engine_version: str
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


class Quantization(_Strict):
    """How a file in int8 was made, and the standard that its answers have to meet."""

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


class Artifact(_Strict):
    """A file of the bundle."""

    name: str
    file: str
    format: str
    precision: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    verification: tuple[Verification, ...] = ()
    quantization: Quantization | None = None

    @classmethod
    def of(
        cls,
        name: str,
        file: str,
        kind: str,
        content: builtins.bytes,  # the plain name is a field's here
        *,
        precision: str = "fp32",
        verification: tuple[Verification, ...] = (),
        quantization: Quantization | None = None,
    ) -> Artifact:
        """Describe a file by its content, in the format ``kind``."""
        return cls(
            name=name,
            file=file,
            format=kind,
            precision=precision,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            verification=verification,
            quantization=quantization,
        )

    @model_validator(mode="after")
    def _plain_file_name(self) -> Artifact:
        if Path(self.file).name != self.file or self.file in ("", ".", "..") or "\\" in self.file:
            raise ValueError(f"artifact file {self.file!r} is not a plain file name")
        return self


class SelfTest(_Strict):
    """Answers of the trained network to made-up images, with which any host can check itself.

    Pixel ``k`` of image ``n``, counted along height, width and channel, is the top byte of the
    32-bit product ``(k + 1 + n * 1000003) * 2654435761``: a line of code in any language.
    """

    logits: tuple[tuple[float, ...], ...]

    def pixels(self, crop: int) -> npt.NDArray[np.uint8]:
        """Return the made-up images, ``uint8[N, crop, crop, 3]``."""
        return self_test_pixels(len(self.logits), crop)


def self_test_pixels(count: int, crop: int) -> npt.NDArray[np.uint8]:
    """Return the first ``count`` made-up images of :class:`SelfTest`."""
    k = np.arange(crop * crop * 3, dtype=np.uint64)
    n = np.arange(count, dtype=np.uint64)[:, None]
    product = (k + np.uint64(1) + n * np.uint64(1000003)) * np.uint64(2654435761)
    top = (product & np.uint64(0xFFFFFFFF)) >> np.uint64(24)
    return top.astype(np.uint8).reshape(count, crop, crop, 3)


class Manifest(_Strict):
    """The content of ``fleetnet.json``."""

    format: Literal["fleetnet-bundle"] = FORMAT
    format_version: int = FORMAT_VERSION
    model: ModelInfo
    classes: tuple[str, ...] = Field(min_length=1)
    preprocess: Annotated[
        Preprocess, PlainValidator(_preprocess), PlainSerializer(lambda value: value.to_json())
    ]
    input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    metrics: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    self_test: SelfTest | None = None
    calibration: Calibration | None = None
    artifacts: tuple[Artifact, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, values: Any) -> Any:
        """Say that a file is newer before finding fault with fields that this version lacks."""
        if isinstance(values, dict) and values.get("format_version", 1) != FORMAT_VERSION:
            raise ValueError(
                f"format version {values['format_version']!r}, but this fleetnet reads version "
                f"{FORMAT_VERSION}; update fleetnet"
            )
        return values

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        if len(self.classes) != self.model.num_classes:
            raise ValueError(
                f"{len(self.classes)} class names for {self.model.num_classes} classes"
            )
        crop = self.preprocess.crop
        if self.input.shape[1:] == (crop, crop, 3) and self.input.shape[0] is not None:
            raise ValueError(
                f"the graph takes batches of {self.input.shape[0]} alone, for other runtimes: give "
                "the bundle, or its model.onnx"
            )
        if self.input.shape != (None, crop, crop, 3):
            raise ValueError(f"input shape {self.input.shape} does not fit a crop of {crop}")
        names = [artifact.name for artifact in self.artifacts]
        rows = self.self_test.logits if self.self_test else ()
        if any(len(row) != self.model.num_classes for row in rows):
            raise ValueError("self_test has rows of another length than the classes")
        if len(set(names)) != len(names):
            raise ValueError("two artifacts have the same name")
        return self

    @property
    def temperature(self) -> float:
        """What the logits are divided by before they become probabilities."""
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Manifest:
        """Parse and check a manifest; ``where`` names its file in errors.

        Raises:
            BundleError: not JSON, or not a manifest that this version understands.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise BundleError(f"{where} is not valid JSON: the bundle is damaged") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise BundleError(f"{where} is not a Fleetnet manifest")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            place, text = first_problem(error)
            raise BundleError(f"{where}: {place + ': ' if place else ''}{text}") from None

    def to_json(self) -> str:
        """Return the manifest as indented JSON, ending in a newline."""
        return json_text(self.model_dump(mode="json")) + "\n"


class Bundle:
    """A bundle on disk, or a lone ``.onnx`` file that carries the same metadata.

    Attributes:
        path: the folder, or the ``.onnx`` file.
        manifest: what it holds, checked.
        found: what stood at ``path`` when the manifest was read, so that nothing newer is replaced.
    """

    def __init__(self, path: Path, manifest: Manifest, found: Standing | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.found = found or standing(path)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and check the manifest of a bundle, or the metadata of an ONNX file.

        Raises:
            BundleError: missing, damaged, newer than this version, or no bundle at all.
        """
        path = Path(path)
        if path.name == MANIFEST:
            path = path.parent
        if path.is_file() and path.suffix == ".onnx":
            return cls(path, _manifest_of_onnx(path))
        if not path.exists():
            raise BundleError(f"no such bundle: {path}")
        file, found = path / MANIFEST, standing(path)
        if not path.is_dir() or not file.is_file():
            raise BundleError(
                f"{path} is not a bundle: a bundle is a folder with {MANIFEST} in it, as "
                "'fleetnet export' writes it"
            )
        try:
            if file.stat().st_size > MAX_MANIFEST_BYTES:
                raise BundleError(f"{file} is larger than {MAX_MANIFEST_BYTES // 2**20} MiB")
            text = file.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {file}: {error.strerror}") from None
        return cls(path, Manifest.from_json(text, str(file)), found)

    def has(self, name: str) -> bool:
        """Tell whether the bundle has an artifact of this name, without looking at its file."""
        if self.path.is_file():
            return name == "onnx"
        return any(artifact.name == name for artifact in self.manifest.artifacts)

    def artifact(self, name: str) -> Path:
        """Return the path of an artifact after checking its content against the manifest.

        Raises:
            BundleError: no such artifact, or the file is missing or not the one it was.
        """
        if self.path.is_file():
            if name == "onnx":
                return self.path
            raise BundleError(
                f"{self.path} is an ONNX file alone, without '{name}': give the bundle's folder"
            )
        for artifact in self.manifest.artifacts:
            if artifact.name == name:
                return self._checked(artifact)
        names = ", ".join(artifact.name for artifact in self.manifest.artifacts) or "none"
        raise BundleError(f"{self.path} has no artifact '{name}' (it has: {names})")

    def _checked(self, artifact: Artifact) -> Path:
        path = self.path / artifact.file
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} is missing: the bundle is incomplete; {self._way_out}")
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise BundleError(f"cannot read {path}: {error.strerror}") from None
        if digest != artifact.sha256:
            raise BundleError(
                f"{path} is not the file that was exported: its SHA-256 is {digest[:12]}…, the "
                f"manifest says {artifact.sha256[:12]}…; {self._way_out}"
            )
        return path

    @property
    def _way_out(self) -> str:
        """What to do where a file is damaged."""
        if in_cache(self.path):
            return f"remove {self.path}, and it is made anew"
        return "copy or export the bundle anew"


def write_bundle(
    path: Path, manifest: Manifest, files: dict[str, bytes], replacing: Standing | None = None
) -> Bundle:
    """Write a bundle so that it is whole or absent, replacing an older bundle at ``path``.

    Args:
        path: the folder to make.
        manifest: what to say of it; its artifacts' files must be the keys of ``files``.
        files: the artifacts' contents by file name.
        replacing: what :func:`check_replaceable` returned when the work began; None if it begins
            now.

    Raises:
        OvertakenError: another process has written there since.
        FleetnetError: ``path`` holds something that is not a bundle, the disk is full, or the
            place cannot be written to.
    """
    found = check_replaceable(path)
    with atomic_folder(path, replacing or found) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return Bundle(path, manifest)


def check_replaceable(path: Path) -> Standing:
    """Refuse to put a bundle where something else stands, and return what does.

    Raises:
        FleetnetError: ``path`` exists and is neither a bundle nor an empty folder.
    """
    found = standing(path)
    if not path.exists():
        return found
    empty = path.is_dir() and not any(path.iterdir())
    if not empty and not (path / MANIFEST).is_file():
        raise FleetnetError(f"{path} exists and is not a bundle: choose another place")
    return found


def _manifest_of_onnx(path: Path) -> Manifest:
    try:
        text = onnx_metadata(path.read_bytes()).get(ONNX_METADATA_KEY)
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {path}: {error}") from None
    if text is None:
        raise BundleError(
            f"{path} has no Fleetnet metadata: it was not written by 'fleetnet export'"
        )
    return Manifest.from_json(text, str(path))


_METADATA_FIELD = 14
"""Number of ``metadata_props`` in ONNX's ``ModelProto``."""


def onnx_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX model.

    A walk over the outermost level of its protobuf encoding, because neither the base install nor
    every engine reads metadata, and parsing the whole graph for a few strings is slow.

    Raises:
        ValueError: ``data`` is not a protobuf message.
    """
    found: dict[str, str] = {}
    for number, value in _protobuf_fields(memoryview(data)):
        if number == _METADATA_FIELD and isinstance(value, memoryview):
            entry = dict(_protobuf_fields(value))
            key, text = entry.get(1), entry.get(2)
            if isinstance(key, memoryview) and isinstance(text, memoryview):
                found[str(key, "utf-8")] = str(text, "utf-8")
    return found


def _protobuf_fields(data: memoryview) -> list[tuple[int, int | memoryview]]:
    fields: list[tuple[int, int | memoryview]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            fields.append((number, value))
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("not an ONNX file")
        if position + length > len(data):
            raise ValueError("the ONNX file is truncated")
        fields.append((number, data[position : position + length]))
        position += length
    return fields


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            raise ValueError("the ONNX file is truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("not an ONNX file")
