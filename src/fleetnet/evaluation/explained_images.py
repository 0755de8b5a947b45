"""Images explained one after another, each as a picture in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from fleetnet.errors import FleetnetError, ImageError
from fleetnet.evaluation.explanation import explain_image
from fleetnet.files import atomic_file
from fleetnet.formats import is_image_name
from fleetnet.image_bytes import STDIN, read_bytes
from fleetnet.images import Pixels
from fleetnet.inference.classifier import Classifier

if TYPE_CHECKING:
    from fleetnet.evaluation.explain import GradCam

FOLDER = Path("explained")
"""Where pictures go if no place is named."""
ENDING = ".png"
LONGEST = 240
"""Bytes of a picture's name, so that there is room for a number and an ending."""
SIDE = 384
"""Pictures of a small input are enlarged to about this, by a whole factor."""
_DOCUMENTS = (".pdf", ".svg", ".html")
"""Endings of what people may ask for beside images."""


@dataclass(frozen=True)
class ExplainedImage:
    """What became of one image.

    Attributes:
        image: its path.
        label: the class that was looked for; None if the image could not be read, as in the next.
        probability: of that class.
        top: the most probable class.
        output: the file of the picture.
        error: why the image could not be read; None if it could.
    """

    image: str
    label: str | None = None
    probability: float | None = None
    top: str | None = None
    output: Path | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "image": self.image,
            "class": self.label,
            "probability": self.probability,
            "top": self.top,
            "output": None if self.output is None else str(self.output),
            "error": self.error,
        }


def explain_images(
    classifier: Classifier,
    grad_cam: GradCam,
    images: Sequence[str],
    index: int | None = None,
    output: Path | None = None,
) -> Iterator[ExplainedImage]:
    """Explain images in order, and write a picture of each that can be read.

    Args:
        classifier: answers; of the same network as ``grad_cam``.
        grad_cam: looks into the network.
        images: paths.
        index: of the class to look for; None for the most probable one of each image.
        output: see :func:`picture_files`.

    Raises:
        FleetnetError: a file for several images, or a picture cannot be written.
    """
    for image, file in zip(images, picture_files(images, output), strict=True):
        try:
            found = explain_image(classifier, grad_cam, read_bytes(image), index)
        except ImageError as error:
            yield ExplainedImage(image, error=str(error))
            continue
        save_picture(file, found.picture)
        yield ExplainedImage(
            image, found.score.label, found.score.probability, found.prediction.label, file
        )


def check_output(output: Path | None) -> None:
    """Refuse a file of another kind, which would become the name of a folder.

    Raises:
        FleetnetError: it ends as other images and documents do.
    """
    if output is None or output.is_dir() or output.suffix.lower() == ENDING:
        return
    if is_image_name(output.name) or output.suffix.lower() in _DOCUMENTS:
        raise FleetnetError(
            f"{output}: pictures are PNG files: name one that ends in .png, or a folder"
        )


def picture_files(images: Sequence[str], output: Path | None = None) -> Iterator[Path]:
    """Return where each image's picture goes; no two go to the same place.

    Args:
        images: paths.
        output: a ``.png`` file for one image, or a folder for any number; None for
            :data:`FOLDER`.

    Raises:
        FleetnetError: a file for several images.
    """
    folder = output or FOLDER
    if folder.suffix.lower() == ENDING and not folder.is_dir():
        if len(images) > 1:
            raise FleetnetError(
                f"{len(images)} images do not fit into {folder}: name a folder with output=",
                arguments=["output"],
            )
        return iter([folder])
    return _in_folder(images, folder)


def _in_folder(images: Iterable[str], folder: Path) -> Iterator[Path]:
    taken: set[str] = set()
    for image in images:
        stem = "stdin" if image == STDIN else Path(image).stem
        while len(os.fsencode(stem)) > LONGEST:
            stem = stem[:-1]
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield folder / f"{name}{ENDING}"


def save_picture(path: Path, pixels: Pixels) -> None:
    """Write an explanation's picture, ``uint8[H, W, 3]``, as a PNG file, enlarged if it is small.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    factor = max(SIDE // pixels.shape[0], 1)
    picture = Image.fromarray(pixels)
    picture = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC
    )
    with atomic_file(path) as file:
        picture.save(file, "PNG")
