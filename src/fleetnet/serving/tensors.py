"""What the tensors of the Open Inference Protocol mean here, whatever carries them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.serving.errors import RequestError, TooLargeError
from fleetnet.serving.loaded import EMBEDDING, LOGITS
from fleetnet.serving.models import Version
from fleetnet.serving.requests import Answer, Picture, Result, Row

IMAGE, PIXELS = "image", "pixels"
PROBABILITIES = "probabilities"
REJECTED, SCORE = "rejected", "score"
SCORES = (REJECTED, SCORE)
OUTPUTS = (LOGITS, PROBABILITIES, EMBEDDING, *SCORES)
DEFAULT_OUTPUTS = (LOGITS, PROBABILITIES)
EXTENSIONS = ("model_repository", "classification")
MAX_RANK = 8
MAX_OUTPUTS = 16
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input tensor as a client gave it.

    Attributes:
        shape: as it was given, checked by nobody yet.
        raw: its content as bytes, where each element of BYTES stands after its length; None where
            the message has values of their own type.
        files: returns the values of a BYTES tensor that is not raw.
        numbers: returns the values of a UINT8 tensor that is not raw, flat.
        bare: whether the only element of a BYTES tensor may be raw without its length.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    raw: memoryview | None
    files: Callable[[], Sequence[bytes]]
    numbers: Callable[[], npt.NDArray[np.uint8]]
    bare: bool = False

    def images(self, limit: int) -> tuple[Picture, ...]:
        """Return the tensor's images.

        Args:
            limit: of their number.

        Raises:
            RequestError: it is not what the models take, or its content does not fit its shape.
            TooLargeError: too many images.
        """
        if not 1 <= len(self.shape) <= MAX_RANK:
            raise self._wrong(f"its shape must have 1 to {MAX_RANK} dimensions")
        if self.shape[0] > limit:
            raise TooLargeError(f"{self.shape[0]} images are more than {limit} in a request")
        if min(self.shape) < 1:
            raise self._wrong(f"its shape {list(self.shape)} has no image")
        kind = (self.name, self.datatype)
        if kind == (IMAGE, "BYTES"):
            return tuple(self._files())
        if kind == (PIXELS, "UINT8"):
            return tuple(self._pixels())
        raise RequestError(
            f"there is no input '{self.name[:100]}' of {self.datatype[:100]}: give '{IMAGE}', "
            f"BYTES, or '{PIXELS}', UINT8"
        )

    def _files(self) -> Sequence[bytes]:
        number = math.prod(self.shape)
        if number != self.shape[0]:
            raise self._wrong("its shape must be [N] or [N, 1]")
        if self.bare and number == 1 and self.raw is not None and not _is_element(self.raw):
            return [bytes(self.raw)]
        found = self.files() if self.raw is None else self._elements(self.raw)
        if len(found) != number:
            raise self._wrong(f"{len(found)} images in a shape of {number}")
        return found

    def _elements(self, raw: memoryview) -> list[bytes]:
        """Return the elements of a BYTES tensor, each after its length."""
        found, place = [], 0
        while place < len(raw):
            if place + _LENGTH.size > len(raw):
                raise self._wrong("the binary data end within a length")
            (length,) = _LENGTH.unpack_from(raw, place)
            place += _LENGTH.size
            if place + length > len(raw):
                raise self._wrong("the binary data end within an image")
            found.append(bytes(raw[place : place + length]))
            place += length
        return found

    def _pixels(self) -> Iterable[Picture]:
        if len(self.shape) != 4 or self.shape[3] != 3:
            raise self._wrong("its shape must be [N, height, width, 3]")
        number = math.prod(self.shape)
        flat = self.numbers() if self.raw is None else np.frombuffer(self.raw, np.uint8)
        if flat.size != number:
            raise self._wrong(f"{flat.size} values in a shape of {number}")
        return flat.reshape(self.shape)

    def _wrong(self, why: str) -> RequestError:
        return RequestError(f"input '{self.name[:100]}': {why}")


def _is_element(raw: memoryview) -> bool:
    """Tell whether bytes are one element after its length: no image file begins with its own."""
    return raw[: _LENGTH.size] == _LENGTH.pack(max(len(raw) - _LENGTH.size, 0))


def only_input(number: int) -> None:
    """Refuse a request of any other number of inputs than one.

    Raises:
        RequestError: it is another.
    """
    if number != 1:
        raise RequestError(f"give one input, '{IMAGE}' or '{PIXELS}', not {number}")


def known_outputs(names: Iterable[str]) -> None:
    """Refuse a request for outputs that there are not.

    Raises:
        RequestError: there is no such output.
    """
    for name in names:
        if name not in OUTPUTS:
            known = ", ".join(OUTPUTS)
            raise RequestError(f"there is no output '{name[:100]}' (known: {known})")


def byte_values(values: Any) -> npt.NDArray[np.uint8]:
    """Return numbers, nested or not, as ``uint8[size]``.

    Raises:
        RequestError: they are not whole numbers from 0 to 255.
    """
    try:
        numbers = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        numbers = np.empty(0)
    if (
        numbers.dtype.kind not in "iu"
        or not numbers.size
        or numbers.min() < 0
        or numbers.max() > 255
    ):
        raise RequestError(f"input '{PIXELS}': its data must be whole numbers from 0 to 255")
    return numbers.astype(np.uint8).reshape(-1)


@dataclass(frozen=True, slots=True)
class Output:
    """An output tensor.

    Attributes:
        rows: ``float32[N, K]`` of an FP32 tensor; None of one of texts.
        texts: the elements of a BYTES tensor, such as ``0.98:1:square``.
    """

    name: str
    shape: list[int]
    rows: Row | None
    texts: list[str]

    @property
    def datatype(self) -> str:
        """The protocol's name of the elements' type."""
        return "BYTES" if self.rows is None else "FP32"

    def raw(self) -> bytes:
        """Return the content as bytes, where each text stands after its length."""
        if self.rows is not None:
            return np.ascontiguousarray(self.rows, "<f4").tobytes()
        encoded = [text.encode() for text in self.texts]
        return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)

    def values(self) -> list[Any]:
        """Return the elements, flat."""
        flat: list[Any] = self.texts if self.rows is None else self.rows.reshape(-1).tolist()
        return flat


def output_of(result: Result, name: str, top: int | None) -> Output:
    """Return an output of a result whose images all have answers.

    Args:
        result: in which the output was asked for.
        name: of the output.
        top: how many classes to give as texts instead of all values; None for the values.
    """
    rows = np.stack([_row(answer, name) for answer in result.answers])
    if top is None:
        return Output(name, list(rows.shape), rows, [])
    texts = [_best(row, result.classes, top) for row in rows]
    return Output(name, [len(rows), len(texts[0])], None, [text for row in texts for text in row])


def _row(answer: Answer, name: str) -> Row:
    row = {
        LOGITS: answer.logits,
        PROBABILITIES: answer.probabilities,
        EMBEDDING: answer.embedding,
        REJECTED: np.array([answer.rejected], np.float32),
        SCORE: None if answer.score is None else np.array([answer.score], np.float32),
    }[name]
    assert row is not None  # noqa: S101 - it was asked for
    return row


def _best(row: Row, classes: tuple[str, ...], top: int) -> list[str]:
    best = np.argsort(-row, kind="stable")[:top]
    named = len(classes) == len(row)
    return [f"{row[i]:f}:{i}" + (f":{classes[i]}" if named else "") for i in map(int, best)]


def facts_of(result: Result) -> dict[str, str | float | int]:
    """Return a response's parameters: which bundle computed it, and where the time went.

    If the bundle has a rejection, also of how many images the answer does not count, so that those
    hear of it who ask for other outputs only.
    """
    scored = any(answer.score is not None for answer in result.answers)
    rejected = {"rejected": sum(answer.rejected for answer in result.answers)} if scored else {}
    return {"bundle": result.bundle, **rejected, **result.timing.to_json()}


class Description(NamedTuple):
    """A tensor that a model takes or gives; -1 stands for any size."""

    name: str
    datatype: str
    shape: list[int]


INPUTS = (Description(IMAGE, "BYTES", [-1]), Description(PIXELS, "UINT8", [-1, -1, -1, 3]))


def outputs_of(version: Version) -> list[Description]:
    """Return what a version of a model gives."""
    loaded = version.loaded
    found = [Description(name, "FP32", [-1, len(loaded.classes)]) for name in DEFAULT_OUTPUTS]
    if loaded.classifier.rejection is not None:
        found += [Description(name, "FP32", [-1, 1]) for name in SCORES]
    return found + [
        Description(EMBEDDING, "FP32", [-1, output.shape[-1] or -1])
        for output in loaded.bundle.manifest.outputs
        if output.name == EMBEDDING and loaded.embeddings
    ]
