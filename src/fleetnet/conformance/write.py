"""Writing the set: with the same versions of the libraries, the same bytes each time."""

from __future__ import annotations

import hashlib
import platform
import zlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
from PIL import features

import fleetnet
from fleetnet.conformance import rejections
from fleetnet.conformance.description import (
    DESCRIPTION,
    FORMAT_VERSION,
    Decoded,
    Description,
    Entry,
    Input,
    Network,
    Refusal,
)
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.pictures import Picture, all_pictures
from fleetnet.conformance.reference import reference_input
from fleetnet.conformance.refusals import Kind, fits, kind_of
from fleetnet.errors import GRAPHS, FleetnetError, ImageError, require_all
from fleetnet.files import atomic_folder, check_folder, standing
from fleetnet.geometry import Interpolation
from fleetnet.image_bytes import read_bytes
from fleetnet.images import OpenImage
from fleetnet.preprocess import Preprocess

RESIZE, CROP = 27, 24
"""Small, because raw pixels are stored; odd, so that offsets have to be rounded."""
TOLERANCE = 1e-3
"""For logits: 100 times the difference between engines, 1/1000 of that between pictures."""
NETWORK = "network.onnx"
PICTURES, CROPS = "pictures", "crops"
_LIBRARIES = ("pillow", "simplejpeg", "numpy", *GRAPHS)

Pixels = npt.NDArray[np.uint8]


def write_set(folder: Path) -> ConformanceSet:
    """Write the set so that it is whole or absent, replacing an older one.

    The reference in Python computes the expected pixels, never the C core.

    Args:
        folder: to make.

    Raises:
        OvertakenError: another process has written there in the meantime.
        FleetnetError: what exports networks is not installed, ``folder`` holds something else, or
            it cannot be written to.
    """
    require_all(GRAPHS, "export", "writing the conformance set")
    _check_replaceable(folder)
    with atomic_folder(folder, standing(folder)) as place:
        for name in (PICTURES, CROPS):
            (place / name).mkdir()
        description = Writer(place).write()
        (place / DESCRIPTION).write_text(description.to_json(), "utf-8", newline="\n")
    return ConformanceSet(folder, description)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that encode and decode, and the kind of processor."""
    found = {name: metadata.version(name) for name in _LIBRARIES}
    for name, version in (
        ("libjpeg-turbo", features.version_feature("libjpeg_turbo")),
        ("libtiff", features.version_codec("libtiff")),
        ("libwebp", features.version_module("webp")),
        ("zlib", features.version_codec("zlib")),
        ("zlib of Python", zlib.ZLIB_RUNTIME_VERSION),
    ):
        found[name] = version or "absent"
    return {"fleetnet": fleetnet.__version__, **found, "processor": platform.machine()}


def _check_replaceable(folder: Path) -> None:
    check_folder(folder)
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / DESCRIPTION).is_file()):
        raise FleetnetError(f"{folder} exists and is not a conformance set: choose another place")


class Writer:
    """Writes into a folder with one subfolder for pictures and one for crops."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crops: dict[str, str] = {}
        """Files of crops by their content: pictures with equal pixels share them."""

    def write(self) -> Description:
        """Write every file except the description, and return the description."""
        from fleetnet.conformance import network

        preprocess = Preprocess(RESIZE, CROP)
        graph = network.graph(preprocess)
        (self.folder / NETWORK).write_bytes(graph)
        pictures = all_pictures()
        decodable = [picture for picture in pictures if picture.error is None]
        crops = np.stack([reference_input(picture.data, preprocess) for picture in decodable])
        logits = network.logits(preprocess, crops)
        answers = iter(logits)
        return Description(
            format_version=FORMAT_VERSION,
            written_by=versions(),
            network=Network(
                file=NETWORK,
                bytes=len(graph),
                sha256=hashlib.sha256(graph).hexdigest(),
                classes=network.CLASSES,
                interpolation=preprocess.interpolation,
                resize=RESIZE,
                crop=CROP,
                tolerance=TOLERANCE,
            ),
            pictures=tuple(
                self.entry(picture, () if picture.error else next(answers)) for picture in pictures
            ),
            rejection=rejections.cases(logits),
        )

    def entry(self, picture: Picture, logits: Sequence[float] = ()) -> Entry:
        """Write a picture and its crops, and return their description."""
        file = self.folder / PICTURES / picture.file
        file.write_bytes(picture.data)
        error, decoded = None, None
        inputs: tuple[Input, ...] = ()
        if picture.error is not None:
            error = _refusal(picture.error, file)
        else:
            pixels = OpenImage(picture.data).decode()
            height, width = pixels.shape[:2]
            decoded = Decoded(width=width, height=height, sha256=_digest(pixels))
            inputs = tuple(self._inputs(picture))
        return Entry(
            name=picture.name,
            note=picture.note,
            file=f"{PICTURES}/{picture.file}",
            bytes=len(picture.data),
            sha256=hashlib.sha256(picture.data).hexdigest(),
            error=error,
            decoded=decoded,
            inputs=inputs,
            logits=tuple(logits),
        )

    def _inputs(self, picture: Picture) -> list[Input]:
        inputs = []
        for kind in get_args(Interpolation):
            inputs.append(self._input(picture, kind))
            if picture.sample_bits is not None:
                inputs.append(self._input(picture, kind, bits=picture.sample_bits))
            if picture.large:
                inputs.append(self._input(picture, kind, exact=False))
        return inputs

    def _input(
        self,
        picture: Picture,
        kind: Interpolation,
        *,
        exact: bool = True,
        bits: int | None = None,
    ) -> Input:
        preprocess = Preprocess(RESIZE, CROP, kind, sample_bits=bits)
        pixels = reference_input(picture.data, preprocess, exact=exact)
        digest = _digest(pixels)
        parts = (picture.name, kind, "" if exact else "smaller", f"{bits}-bits" if bits else "")
        file = f"{CROPS}/{'.'.join(part for part in parts if part)}.rgb"
        if digest not in self.crops:
            self.crops[digest] = file
            (self.folder / file).write_bytes(pixels.tobytes())
        return Input(
            interpolation=kind,
            resize=RESIZE,
            crop=CROP,
            exact=exact,
            sample_bits=bits,
            sha256=digest,
            file=self.crops[digest],
        )


def _refusal(kind: Kind, file: Path) -> Refusal:
    """Return the error of a file that has to be refused for this reason.

    Raises:
        FleetnetError: it is not refused for this reason.
    """
    try:
        Preprocess(RESIZE, CROP).from_bytes(read_bytes(file))
    except ImageError as error:
        if fits(kind_of(error), kind):
            return Refusal(kind=kind, message=str(error))
        raise FleetnetError(f"{file.name} is not refused as {kind}: {error}") from None
    raise FleetnetError(f"{file.name} is not refused")


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
