"""What a bundle says of itself: the content of ``fleetnet.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from fleetnet.bundle.artifacts import Artifact, no_two_alike
from fleetnet.bundle.rejection import Rejection
from fleetnet.bundle.self_test import SelfTest
from fleetnet.bundle.strict import Strict
from fleetnet.bundle.versions import FORMAT_VERSION, REJECTING_VERSION, to_current, without
from fleetnet.errors import BundleError, FleetnetError, one_line
from fleetnet.json_text import json_text
from fleetnet.preprocess import Preprocess
from fleetnet.schema import facts_of, first_problem

FORMAT: Literal["fleetnet-bundle"] = "fleetnet-bundle"
MAX_DEPTH = 64
"""How deep objects and lists of a manifest may be nested."""

Activation = Literal["softmax", "sigmoid"]


class ModelInfo(Strict):
    """Which network it is, and how its logits become probabilities.

    With ``softmax`` an image has one class, with ``sigmoid`` any number of them.
    """

    name: str
    num_classes: int = Field(ge=1)
    activation: Activation = "softmax"


class Calibration(Strict):
    """The temperature that the logits are divided by before they become probabilities.

    Temperature scaling (Guo et al. 2017). The logits that the graph returns are not divided.
    """

    temperature: float = Field(ge=1e-6, allow_inf_nan=False)
    images: int = Field(ge=1)
    """How many images it was fitted to."""
    ece_before: float = Field(ge=0, le=1)
    """Expected calibration error on those images without it."""
    ece_after: float = Field(ge=0, le=1)
    """The same with the temperature, cross-fitted."""
    source: str
    """Where those images came from."""


class TensorInfo(Strict):
    """An input or output of the graph; None in ``shape`` is the free batch dimension."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int | None, ...]
    layout: str | None = None
    color: str | None = None


def _preprocess(value: Any) -> Preprocess:
    if isinstance(value, Preprocess):
        return value
    if not isinstance(value, dict):
        raise ValueError("preprocess must be an object")  # noqa: TRY004 - pydantic wants ValueError
    try:
        return Preprocess.from_json(value)
    except FleetnetError as error:
        raise ValueError(str(error)) from None


class Manifest(Strict):
    """The content of ``fleetnet.json``, whatever version it was read from."""

    format: Literal["fleetnet-bundle"] = FORMAT
    format_version: Literal["2.1", "3.0"] = FORMAT_VERSION
    model: ModelInfo
    classes: tuple[str, ...] = Field(min_length=1)
    preprocess: Annotated[
        Preprocess, PlainValidator(_preprocess), PlainSerializer(lambda value: value.to_json())
    ]
    input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    metrics: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
    self_test: SelfTest | None = None
    calibration: Calibration | None = None
    rejection: Rejection | None = None
    artifacts: tuple[Artifact, ...] = ()

    @property
    def network(self) -> tuple[str, object]:
        """The network's name, and the settings that describe it; None where the name says all."""
        return self.model.name, self.provenance.get("network")

    _passed_over: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        if len(self.classes) != self.model.num_classes:
            raise ValueError(
                f"{len(self.classes)} class names for {self.model.num_classes} classes"
            )
        crop = self.preprocess.crop
        if self.input.shape[1:] == (crop, crop, 3) and self.input.shape[0] is not None:
            raise ValueError(
                f"the graph takes only batches of {self.input.shape[0]}, for other runtimes: give "
                "the bundle, or its model.onnx"
            )
        if self.input.shape != (None, crop, crop, 3):
            raise ValueError(f"input shape {self.input.shape} does not fit a crop of {crop}")
        rows = self.self_test.logits if self.self_test else ()
        if any(len(row) != self.model.num_classes for row in rows):
            raise ValueError("self_test has rows of another length than the classes")
        if self.rejection is not None and self.model.activation != "softmax":
            raise ValueError("a rejection is for networks that give an image one class")
        no_two_alike(self.artifacts)
        return self

    @property
    def temperature(self) -> float:
        """What the logits are divided by before they become probabilities."""
        return self.calibration.temperature if self.calibration else 1.0

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Fields of a newer version that were ignored; they are not written again."""
        return self._passed_over

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Manifest:
        """Parse and check a manifest; ``where`` names its file in errors.

        Fields that a newer minor version has added are ignored. In what determines the answers,
        ``preprocess`` and ``model.activation``, anything unknown is refused.

        Raises:
            BundleError: not JSON, or not a manifest that this version understands.
        """
        try:
            values = json.loads(text, object_pairs_hook=_each_once)
        except _Twice as error:
            raise BundleError(
                f"{where}: {error}: the bundle is damaged", code="damaged", file=where
            ) from None
        except (ValueError, RecursionError):
            raise BundleError(
                f"{where} is not valid JSON: the bundle is damaged", code="damaged", file=where
            ) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise BundleError(f"{where} is not a Fleetnet manifest", file=where)
        facts: dict[str, Any] = {"file": where}
        try:
            _check_depth(values)
            current, newer = to_current(values)
            return cls._of(current, newer=newer)
        except ValidationError as error:
            place, text = first_problem(error)
            said = f"{place + ': ' if place else ''}{text}"
            facts |= {"key": place, **facts_of(error)}
        except ValueError as error:
            said = str(error)
        raise BundleError(f"{where}: {one_line(said)}", code="manifest", **facts)

    @classmethod
    def _of(cls, values: dict[str, Any], *, newer: bool) -> Manifest:
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            unknown = [
                found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"
            ]
            if not newer or not unknown:
                raise
        manifest = cls.model_validate(without(values, unknown))
        manifest._passed_over = tuple(".".join(map(str, place)) for place in unknown)
        return manifest

    def with_artifacts(self, artifacts: Iterable[Artifact], where: str) -> Manifest:
        """Return a copy with other artifacts; ``where`` names its bundle in errors.

        Raises:
            BundleError: two could be mistaken for each other.
        """
        chosen = tuple(artifacts)
        try:
            no_two_alike(chosen)
        except ValueError as error:
            raise BundleError(f"{where}: {error}", file=where) from None
        return self.model_copy(update={"artifacts": chosen})

    def with_rejection(self, rejection: Rejection | None) -> Manifest:
        """Return a copy with another rejection or none, of the version that such a bundle has.

        Raises:
            BundleError: an image may have several classes.
        """
        if rejection is not None and self.model.activation != "softmax":
            raise BundleError(
                "a network that gives an image any number of classes rejects none: it gives none"
            )
        version = FORMAT_VERSION if rejection is None else REJECTING_VERSION
        return self.model_copy(update={"rejection": rejection, "format_version": version})

    def to_json(self) -> str:
        """Return the manifest as indented JSON, ending in a newline."""
        # Readers of version 2.1 refuse a field that they do not know, even if it is null.
        absent = {"rejection"} if self.rejection is None else set()
        return json_text(self.model_dump(mode="json", exclude=absent)) + "\n"


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _within(outer)]
    if level:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class _Twice(Exception):  # noqa: N818 - names what it found
    """A field is in a manifest twice: readers differ in which of the two they take."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _Twice(f"{name[:80]!r} is there twice")
        values[name] = value
    return values
