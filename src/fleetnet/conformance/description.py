"""``conformance.json``: the set as any language reads it, checked before it is used."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from fleetnet.conformance.refusals import Kind
from fleetnet.errors import FleetnetError
from fleetnet.files import json_text
from fleetnet.geometry import Interpolation
from fleetnet.preprocess import MAX_SIDE, Preprocess
from fleetnet.schema import first_problem

DESCRIPTION = "conformance.json"
FORMAT: Literal["fleetnet-conformance"] = "fleetnet-conformance"
FORMAT_VERSION = 1
MAX_DESCRIPTION_BYTES = 16 * 2**20
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


class Description(_Strict):
    """The content of ``conformance.json``."""

    format: Literal["fleetnet-conformance"] = FORMAT
    format_version: int = FORMAT_VERSION
    written_by: dict[str, str] = Field({}, max_length=100)
    """Versions of the libraries that encoded and decoded the pictures."""
    network: Network
    pictures: tuple[Entry, ...] = Field(min_length=1, max_length=MAX_PICTURES)

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("format_version", 1) != FORMAT_VERSION:
            raise ValueError(
                f"format version {values['format_version']!r}, but this fleetnet reads version "
                f"{FORMAT_VERSION}; update fleetnet"
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


class ConformanceSet:
    """The set on disk.

    Attributes:
        path: its folder.
        description: what is in it, checked.
    """

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description

    @classmethod
    def load(cls, folder: Path | None = None) -> ConformanceSet:
        """Read and check a set's description, but none of its other files yet.

        Args:
            folder: where it is; None for the set that comes with this package.

        Raises:
            FleetnetError: it is missing, damaged, or newer than this version.
        """
        path = find_set() if folder is None else folder
        file = path / DESCRIPTION
        if not file.is_file():
            raise FleetnetError(
                f"{path} is no conformance set: that is a folder with {DESCRIPTION} in it",
                file=str(path),
            )
        try:
            if file.stat().st_size > MAX_DESCRIPTION_BYTES:
                raise FleetnetError(
                    f"{file} is larger than {MAX_DESCRIPTION_BYTES // 2**20} MiB",
                    code="too-large",
                    file=str(file),
                )
            text = file.read_bytes()
        except OSError as error:
            raise FleetnetError(
                f"cannot read {file}: {error.strerror}", code="unreadable", file=str(file)
            ) from None
        return cls(path, _parsed(text, file))

    def read(self, file: str, sha256: str, size: int) -> bytes:
        """Return the content of one of the set's files.

        Raises:
            FleetnetError: it is missing or has changed since the set was written.
        """
        content = self._content(self.path / file, size)
        digest = hashlib.sha256(content).hexdigest()
        if digest != sha256:
            raise FleetnetError(
                f"{self.path / file} is not the file that the set was written with: its SHA-256 is "
                f"{digest[:12]}…, {DESCRIPTION} says {sha256[:12]}…"
            )
        return content

    def crop(self, found: Input) -> Pixels | None:
        """Return the expected pixels, ``uint8[crop, crop, 3]``; None if the set has only a hash.

        Raises:
            FleetnetError: as :meth:`read`.
        """
        if found.file is None:
            return None
        content = self.read(found.file, found.sha256, found.crop**2 * 3)
        return np.frombuffer(content, np.uint8).reshape(found.crop, found.crop, 3)

    def check_files(self) -> int:
        """Compare every file of the set with its hash.

        Returns:
            How many there are.

        Raises:
            FleetnetError: as :meth:`read`.
        """
        network = self.description.network
        files = {network.file: (network.sha256, network.bytes)}
        for picture in self.description.pictures:
            files[picture.file] = (picture.sha256, picture.bytes)
            for found in picture.inputs:
                if found.file:
                    files[found.file] = (found.sha256, found.crop**2 * 3)
        for file, (sha256, size) in files.items():
            self.read(file, sha256, size)
        return len(files)

    def _content(self, path: Path, size: int) -> bytes:
        try:
            # A link may lead out of the folder, and a pipe may have no end.
            if path.is_symlink() or not path.is_file():
                raise FleetnetError(
                    f"{path} is missing: the conformance set is incomplete", file=str(path)
                )
            actual = path.stat().st_size
            if actual != size:
                raise FleetnetError(
                    f"{path} is not the file that the set was written with: it has {actual} bytes, "
                    f"{DESCRIPTION} says {size}",
                    file=str(path),
                )
            return path.read_bytes()
        except OSError as error:
            raise FleetnetError(
                f"cannot read {path}: {error.strerror}", code="unreadable", file=str(path)
            ) from None


def find_set() -> Path:
    """Return the folder of the set that comes with this package, installed or in a checkout.

    Raises:
        FleetnetError: this package has none.
    """
    room = Path(__file__).resolve().parent
    for folder in (room / "set", room.parents[2] / "conformance"):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise FleetnetError(
        "the conformance set does not come with this installation: give its folder, set_folder=",
        arguments=["set_folder"],
    )


def _parsed(text: bytes, file: Path) -> Description:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise FleetnetError(f"{file} is not valid JSON", file=str(file)) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FleetnetError(f"{file} does not describe a Fleetnet conformance set", file=str(file))
    try:
        return Description.model_validate(values)
    except ValidationError as error:
        place, said = first_problem(error)
        raise FleetnetError(
            f"{file}: {place + ': ' if place else ''}{said}", file=str(file)
        ) from None
