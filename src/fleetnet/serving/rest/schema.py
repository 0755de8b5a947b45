"""The JSON that goes over HTTP; the OpenAPI document is written from these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fleetnet.serving.changes import LoadParameters
from fleetnet.serving.tensors import MAX_OUTPUTS, MAX_RANK

Datatype = Literal["BYTES", "UINT8", "FP32"]


class _Open(BaseModel):
    """The protocol lets clients send fields that a server does not know."""

    model_config = ConfigDict(extra="ignore")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TensorParameters(_Open):
    """Of an input: how many of the bytes after the JSON are its."""

    binary_data_size: int | None = Field(None, ge=0, strict=True)


class InputTensor(_Open):
    """An input: ``image``, BYTES, encoded images (base64 in JSON), or ``pixels``, UINT8."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=MAX_RANK)
    datatype: str
    parameters: TensorParameters = TensorParameters()
    data: list[Any] | None = None


class OutputParameters(_Open):
    """Of an output that is asked for; ``classification`` gives that many classes as text."""

    binary_data: bool | None = None
    classification: int | None = Field(None, ge=1)


class WantedOutput(_Open):
    """``logits``, ``probabilities`` or ``embedding``."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(_Open):
    """``timeout`` is in microseconds; ``binary_data_output`` is for all outputs."""

    timeout: int | None = Field(None, ge=0)
    binary_data_output: bool = False


class InferRequest(_Open):
    """A request of the Open Inference Protocol."""

    id: str = ""
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=16)
    outputs: list[WantedOutput] = Field(default_factory=list, max_length=MAX_OUTPUTS)


class OutputTensor(BaseModel):
    """An output."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    """The answers; ``parameters.bundle`` is the SHA-256 of the bundle that computed them."""

    id: str
    model_name: str
    model_version: str
    parameters: dict[str, Any]
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """An input or output; -1 stands for any size."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class IndexRequest(_Open):
    """``ready`` leaves out what is not loaded."""

    ready: bool = False


class IndexEntry(BaseModel):
    """A version that is loaded or could be."""

    name: str
    version: str
    state: str
    reason: str


class LoadRequest(_Strict):
    """What to load or unload."""

    parameters: LoadParameters = LoadParameters()


class ClassifyRequest(_Strict):
    """Images in base64, for those who must; raw bytes and forms are a third smaller."""

    image: str | None = None
    images: list[str] = Field(default_factory=list)
    model: str = ""
    version: str = ""
    top_k: int = Field(5, ge=1)
    probabilities: bool = False
    embeddings: bool = False


class ClassScore(BaseModel):
    """A class and its probability."""

    model_config = ConfigDict(populate_by_name=True)

    class_: str = Field(alias="class")
    index: int
    probability: float


class ImageAnswer(BaseModel):
    """The answer for one image, or why it cannot be read.

    ``rejected`` and ``score`` are there if the bundle has a rejection.
    """

    top: list[ClassScore]
    error: str | None
    rejected: bool | None = None
    score: float | None = None
    probabilities: list[float] | None = None
    embedding: list[float] | None = None


class Milliseconds(BaseModel):
    """Where the time went."""

    queue_ms: float
    decode_ms: float
    compute_ms: float
    batch: int


class ClassifyResponse(BaseModel):
    """The answers in the order of the images."""

    id: str
    model: str
    version: str
    bundle: str
    predictions: list[ImageAnswer]
    timing: Milliseconds


class ExplainQuery(_Strict):
    """Of which model and class; without a class, the most probable one."""

    model: str = ""
    version: str = ""
    class_: int | None = Field(None, alias="class")


class Rectangle(BaseModel):
    """A part of the upright image, in shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


class ExplainResponse(BaseModel):
    """Where in an image a class is found: ``heat[row][column]`` is from 0 to 1.

    ``frame`` is what the network sees of the image; the heat's cells are spread evenly over it.
    ``lowest`` is the probability with the place hidden that lowers it most.
    """

    model_config = ConfigDict(populate_by_name=True)

    id: str
    model: str
    version: str
    bundle: str
    method: Literal["occlusion"]
    class_: str = Field(alias="class")
    index: int
    probability: float
    lowest: float
    heat: list[list[float]]
    frame: Rectangle


class EngineInUse(BaseModel):
    """What computes a model here."""

    name: str
    precision: str
    device: str
    threads: int
    batch: int


class Limits(BaseModel):
    """What a client may send at once."""

    body: int
    pixels: int
    images: int


class ModelCard(BaseModel):
    """What a bundle says of itself, and what computes it; docs/bundle.md describes its fields."""

    model: str
    version: str
    versions: list[str]
    bundle: str
    network: str
    activation: str
    classes: list[str]
    preprocess: dict[str, Any]
    calibration: dict[str, Any] | None
    rejection: dict[str, Any] | None
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    artifacts: list[dict[str, Any]]
    engine: EngineInUse
    embeddings: bool
    explains: bool
    limits: Limits


class ErrorResponse(BaseModel):
    """Why there is no answer; the code is for programs, the text for people."""

    error: str
    code: str
    fields: dict[str, Any]
