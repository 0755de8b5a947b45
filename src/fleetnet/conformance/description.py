"""``conformance.json``: the set as any language reads it, checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from fleetnet.bundle import Certainty
from fleetnet.conformance.refusals import Kind
from fleetnet.geometry import Interpolation
from fleetnet.json_text import json_text
from fleetnet.preprocess import MAX_SIDE, Preprocess

DESCRIPTION = "conformance.json"
FORMAT: Literal["fleetnet-conformance"] = "fleetnet-conformance"
FORMAT_VERSION = 2
MAX_FILE_BYTES = 64 * 2**20
MAX_PICTURES = 10_000

Pixels = npt.NDArray[np.uint8]

_PART = "[a-z0-9][a-z0-9._-]{0,99}"
_PATH = re.compile(f"({_PART}/)?{_PART}")


def _inside(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("it is not a plain path below the set's folder")
    return path


File = Annotated[str, AfterValidator(_inside)]
"""A path below the set's folder, at most one folder deep, never outside of it."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Value = Number | Literal["NaN", "Infinity", "-Infinity"]
"""A number, or a word for what JSON has no number for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Strict):
    """What a picture becomes with one preprocessing."""

    interpolation: Interpolation
    resize: Side
    crop: Side
    exact: StrictBool
    """False if large JPEGs are to be decoded smaller."""
    sample_bits: int | None = Field(None, ge=8, le=16)
    sha256: Sha256
    """SHA-256 of the expected crop: rows of RGB, one byte per sample, nothing between them."""
    file: File | None = None
    """The file that holds these bytes."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"crop ({self.crop}) is larger than resize ({self.resize})")
        return self

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing as the package's own object."""
        return Preprocess(self.resize, self.crop, self.interpolation, sample_bits=self.sample_bits)

    @property
    def title(self) -> str:
        """A short name of the preprocessing, for people."""
        bits = f", {self.sample_bits} bits" if self.sample_bits else ""
        return f"{self.interpolation}{'' if self.exact else ', decoded smaller'}{bits}"


class Decoded(_Strict):
    """A whole picture, upright, at full size."""

    width: int = Field(ge=1, le=2**20)
    height: int = Field(ge=1, le=2**20)
    sha256: Sha256
    """SHA-256 of its pixels, as in :class:`Input`."""


class Refusal(_Strict):
    """The expected error for a picture."""

    kind: Kind
    message: str = ""
    """The message of the host that wrote the set, for information."""


class Entry(_Strict):
    """A picture of the set, with either its pixels or its error."""

    name: str = Field(pattern=f"^{_PART}$")
    note: str = ""
    file: File
    bytes: Bytes
    sha256: Sha256
    error: Refusal | None = None
    decoded: Decoded | None = None
    inputs: tuple[Input, ...] = Field((), max_length=1000)
    logits: tuple[Number, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.error is None) != (self.decoded is not None and bool(self.inputs)):
            raise ValueError("it needs either an error or what it is decoded to and its inputs")
        if self.error is not None and self.logits:
            raise ValueError("it has both an error and logits")
        return self


class Network(_Strict):
    """The network whose answers the set records: an ONNX file that describes itself."""

    file: File
    bytes: Bytes
    sha256: Sha256
    classes: tuple[str, ...] = Field(min_length=1, max_length=1000)
    interpolation: Interpolation
    resize: Side
    crop: Side
    tolerance: float = Field(gt=0, allow_inf_nan=False)
    """Largest allowed difference of a logit in fp32."""


class RejectionCase(_Strict):
    """A threshold of rejection, and what it does to answers."""

    name: str = Field(pattern=f"^{_PART}$")
    note: str = ""
    score: Certainty
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    threshold: Number
    logits: tuple[tuple[Value, ...], ...] = Field((), max_length=1000)
    """The answers, a row each; without any, those of the pictures that have logits, in turn."""
    scores: tuple[Value, ...]
    """Their scores, in single precision."""
    rejected: tuple[StrictBool, ...]


class RejectionCases(_Strict):
    """Whether a host rejects what it has to."""

    tolerance: float = Field(gt=0, allow_inf_nan=False)
    """Largest allowed difference of a score, as a share of it."""
    cases: tuple[RejectionCase, ...] = Field(min_length=1, max_length=100)


class Description(_Strict):
    """The content of ``conformance.json``."""

    format: Literal["fleetnet-conformance"] = FORMAT
    format_version: int
    written_by: dict[str, str] = Field({}, max_length=100)
    """Versions of the libraries that encoded and decoded the pictures."""
    network: Network
    pictures: tuple[Entry, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    rejection: RejectionCases

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, values: Any) -> Any:
        version = values.get("format_version", 1) if isinstance(values, dict) else FORMAT_VERSION
        if version != FORMAT_VERSION:
            shown = repr(version) if len(repr(version)) <= 20 else "unknown"
            older = isinstance(version, int) and version < FORMAT_VERSION
            advice = "take the set that comes with it" if older else "update fleetnet"
            raise ValueError(
                f"format version {shown}, but this fleetnet reads version {FORMAT_VERSION}; "
                f"{advice}"
            )
        return values

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [picture.name for picture in self.pictures]
        if len(set(names)) != len(names):
            raise ValueError("two pictures have the same name")
        for picture in self.pictures:
            if not picture.logits:
                continue
            if len(picture.logits) != len(self.network.classes):
                raise ValueError(f"'{picture.name}' has not a logit for each class")
            if self.network_input(picture) is None:
                raise ValueError(f"'{picture.name}' has logits, but no file of the network's input")
        return self

    @model_validator(mode="after")
    def _rejects_what_there_is(self) -> Self:
        cases = self.rejection.cases
        if len({case.name for case in cases}) != len(cases):
            raise ValueError("two cases of rejection have the same name")
        for case in cases:
            rows = self.judged(case)
            if not len(rows) == len(case.scores) == len(case.rejected):
                raise ValueError(f"'{case.name}' has not a score and a decision for each answer")
            if any(len(row) != len(self.network.classes) for _, row in rows):
                raise ValueError(f"'{case.name}' has not a logit for each class")
        return self

    def judged(self, case: RejectionCase) -> list[tuple[str, Sequence[Value]]]:
        """Return the answers that a case of rejection judges, and what each is called."""
        if case.logits:
            return [(f"{case.name}, row {place}", row) for place, row in enumerate(case.logits)]
        return [(picture.name, picture.logits) for picture in self.pictures if picture.logits]

    def network_input(self, picture: Entry) -> Input | None:
        """Return the input of a picture that the network gets; None if it is not recorded."""
        wanted = self.network.interpolation, self.network.resize, self.network.crop
        return next(
            (
                found
                for found in picture.inputs
                if (found.interpolation, found.resize, found.crop) == wanted
                and found.exact
                and found.sample_bits is None
                and found.file
            ),
            None,
        )

    def to_json(self) -> str:
        """Return it as indented JSON without unset fields, ending in a newline."""
        return json_text(_HEAD | self.model_dump(mode="json", exclude_defaults=True)) + "\n"


_HEAD = {"format": FORMAT, "format_version": FORMAT_VERSION}
